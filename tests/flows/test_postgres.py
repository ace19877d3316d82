"""Prefect's server on a real PostgreSQL, with a password, through a crash of the database."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from allsky360.config import PrefectSettings, Settings, StorageSettings
from allsky360.errors import SettingsError
from allsky360.supervisor.prefect_env import (
    prefect_environment,
    prefect_secrets,
    refuse_open_server,
)

REPOSITORY = Path(__file__).parents[2]
FLOW = """
from prefect import flow, task
@task
def one(): return 1
@flow(name="counted")
def counted(): return one()
counted()
"""


def test_secrets_come_from_files_and_wrong_ones_are_told(tmp_path: Path) -> None:
    database, word = tmp_path / "database", tmp_path / "word"
    database.write_text("postgresql://a:b@host/prefect\n")
    word.write_text("admin:secret\n")
    settings = Settings(prefect=PrefectSettings(database_file=database, auth_file=word))
    assert prefect_secrets(settings) == {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://a:b@host/prefect",
        "PREFECT_SERVER_API_AUTH_STRING": "admin:secret",
        "PREFECT_API_AUTH_STRING": "admin:secret",
    }
    assert not any("secret" in v for v in prefect_environment(settings).values())
    for file, content in ((database, "mysql://x"), (word, "no colon")):
        good = file.read_text()
        file.write_text(content)
        with pytest.raises(SettingsError, match=file.name):
            prefect_secrets(settings)
        file.write_text(good)
    database.unlink()
    with pytest.raises(SettingsError, match=r"prefect\.database_file"):
        prefect_secrets(settings)


@pytest.mark.parametrize(("host", "open_"), [("127.0.0.1", False), ("::1", False), ("::", True)])
def test_no_server_without_a_password_for_other_machines(host: str, open_: bool) -> None:
    settings = Settings(prefect=PrefectSettings(host=host))
    if open_:
        with pytest.raises(SettingsError, match="auth_file"):
            refuse_open_server(settings)
    else:
        refuse_open_server(settings)


class Postgres:
    """A cluster of PostgreSQL in a folder, run by a user without privileges."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port, self.data, self._folder = port, folder / "data", folder
        self._as = []
        if os.geteuid() == 0:  # it refuses to run as root
            self._as = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            user = pwd.getpwnam("nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
        password = folder / "password"
        password.write_text("word\n")
        password.chmod(0o644)
        self._run("initdb", "-D", str(self.data), "-U", "allsky360", "--auth=scram-sha-256",
                  f"--pwfile={password}", "--no-sync", "-E", "UTF8", "--locale=C")  # fmt: skip
        self.start()

    def _run(self, *command: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        done = subprocess.run(
            [*self._as, *command], cwd=self._folder, env=environment, timeout=120, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", "100", "-l", log, "-o", options, "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")


@pytest.fixture
def postgres(free_port: Callable[[], int]) -> Iterator[Postgres]:
    missing = [n for n in ("initdb", "pg_ctl", "postgres") if shutil.which(n) is None]
    if missing:
        pytest.skip(f"no PostgreSQL server here: {missing[0]} is not installed")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and setpriv is not installed")
    folder = Path("/tmp") / f"allsky360-postgres-{os.getpid()}"
    folder.mkdir()
    made = Postgres(folder, free_port())
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.long
def test_prefect_runs_on_postgresql_and_survives_its_crash(
    postgres: Postgres, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    (tmp_path / "database").write_text(
        f"postgresql://allsky360:word@127.0.0.1:{postgres.port}/postgres"
    )
    (tmp_path / "word").write_text("admin:secret")
    port = free_port()
    (tmp_path / "allsky360.toml").write_text(
        f'[storage]\nroot = "{tmp_path / "archive"}"\n[prefect]\nport = {port}\n'
        f'database_file = "{tmp_path / "database"}"\nauth_file = "{tmp_path / "word"}"\n'
    )
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment = {
        **plain, "ALLSKY360_CONFIG": str(tmp_path / "allsky360.toml"), "PYTHONPATH": str(REPOSITORY)
    }  # fmt: skip
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.server"], cwd=tmp_path, env=environment, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
    api = f"http://127.0.0.1:{port}/api"
    settings = Settings(
        storage=StorageSettings(root=tmp_path / "archive"),
        prefect=PrefectSettings(
            port=port, database_file=tmp_path / "database", auth_file=tmp_path / "word"
        ),
    )

    def run_flow() -> None:
        client = {**plain, **prefect_environment(settings), **prefect_secrets(settings)}
        del client["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
        subprocess.run([sys.executable, "-c", FLOW], env=client, check=True, timeout=300)

    def counted() -> int:
        asked = {"flows": {"name": {"any_": ["counted"]}}}
        asked["flow_runs"] = {"state": {"type": {"any_": ["COMPLETED"]}}}  # type: ignore[dict-item]
        answer = httpx.post(
            f"{api}/flow_runs/count", json=asked, auth=("admin", "secret"), timeout=60
        )
        answer.raise_for_status()
        return int(answer.text)

    try:
        wait_until(lambda: httpx.get(f"{api}/health", timeout=10).status_code == 200, server)
        assert httpx.post(f"{api}/flow_runs/count", json={}, timeout=60).status_code == 401
        run_flow()
        assert counted() == 1
        postgres.stop()  # at once, as in a crash
        postgres.start()
        wait_until(lambda: counted() == 1, server)
        run_flow()
        assert counted() == 2
        assert not (tmp_path / "archive" / "prefect" / "prefect.db").exists()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until(check: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            if check():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError("it did not come to pass")
