"""A damaged Prefect database costs a restart and nobody's night."""

from __future__ import annotations

import io
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.server_keeper import (
    DOUBTS_IN_A_ROW,
    Words,
    answers_with_error,
    damage,
    put_aside_if_damaged,
    why_anew,
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "prefect.db"
    with sqlite3.connect(file) as opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("create table run (id integer primary key, words text)")
        opened.executemany("insert into run (words) values (?)", [("w" * 200,)] * 500)
    opened.close()
    return file


def test_a_good_a_missing_and_a_locked_database_stay(database: Path, tmp_path: Path) -> None:
    assert put_aside_if_damaged(tmp_path / "none.db") is None
    assert put_aside_if_damaged(database) is None
    with sqlite3.connect(database) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        assert damage(database) == ""
    busy.close()
    assert database.exists()


@pytest.mark.parametrize("name", ["a#b", "a?b", "50%20"])
def test_it_is_found_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "prefect.db"
    file.parent.mkdir()
    file.write_bytes(b"no database at all" * 300)
    assert "not a database" in damage(file)


@pytest.mark.parametrize("where", ["header", "middle", "short"])
def test_a_damaged_one_is_put_aside_with_its_journals(database: Path, where: str) -> None:
    data = bytearray(database.read_bytes())
    if where == "header":
        data[:64] = b"\xff" * 64
    elif where == "middle":
        data[4096 : len(data) // 2] = b"\xa5" * (len(data) // 2 - 4096)
    else:
        del data[len(data) // 2 :]
    database.write_bytes(data)
    (database.parent / "prefect.db-wal").write_bytes(b"journal")
    aside = put_aside_if_damaged(database)
    assert aside is not None
    assert aside.read_bytes() == bytes(data)
    assert not list(database.parent.glob("prefect.db*-wal")) or not database.exists()
    assert not database.exists()
    assert not (database.parent / "prefect.db-wal").exists()
    database.write_bytes(b"junk again")
    again = put_aside_if_damaged(database)
    assert again is not None
    assert again.name == "prefect.db.damaged-2"


@pytest.fixture
def server() -> Iterator[tuple[str, list[int]]]:
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(answers.pop(0))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/api", answers
    http.shutdown()
    http.server_close()


def test_only_errors_of_the_server_itself_count(server: tuple[str, list[int]]) -> None:
    url, answers = server
    answers += [200, 422, 500]
    assert [answers_with_error(url) for _ in range(3)] == [False, False, True]
    assert answers_with_error("http://127.0.0.1:9/api") is False


def test_what_the_server_prints_is_passed_on_and_its_complaints_are_noted() -> None:
    read, write = os.pipe()
    target = io.BytesIO()
    words = Words(os.fdopen(read, "rb"), target)
    said = b"started\n", b"sqlite3.DatabaseError: database disk image is malformed\n", b"going on\n"
    for number, line in enumerate(said):
        os.write(write, line)
        while not target.getvalue().endswith(line):
            time.sleep(0.005)
        assert words.complained() == (number == 1)
    os.close(write)
    words.end()
    assert target.getvalue() == b"".join(said)


def test_a_server_that_only_fails_is_left_alone_and_one_that_complains_is_not(
    database: Path,
) -> None:
    assert why_anew(database, 0, failing=True) == ""  # the disk is full, say
    assert why_anew(database, DOUBTS_IN_A_ROW - 1, failing=True) == ""
    assert why_anew(database, DOUBTS_IN_A_ROW, failing=False)
    database.write_bytes(b"\xff" * 8192)
    assert why_anew(database, 0, failing=False) == ""
    assert why_anew(database, 0, failing=True)
    assert why_anew(database, 1, failing=False)
