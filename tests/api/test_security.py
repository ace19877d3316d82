"""The door: tokens, scopes, public mode, rounding, rates, and requests that mean no good."""

from __future__ import annotations

import base64
import io
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from allsky360.api.app import create_app
from allsky360.api.arrays import KEY, read_key
from allsky360.api.secrets import without_secrets
from allsky360.api.security.guard import is_local, right_for
from allsky360.api.security.privacy import rounded_site, without_exif
from allsky360.api.security.rate import RateLimit
from allsky360.api.security.tokens import (
    TokenFileError,
    digest_of,
    find_grant,
    grants_of,
    new_token,
    token_from,
)
from allsky360.cli import app as cli
from allsky360.config import ApiSettings, Settings
from allsky360.imaging.encode import encode_jpeg
from allsky360.model import Site
from tests.api.conftest import DUSK, SLUG, House
from tests.api.running import serving
from tests.api.sky_house import process_sky, write_camera_lens

API = "/api/v1"
READ, LINE = new_token("reader", ["read"])
RAW, RAW_LINE = new_token("scientist", ["read", "raw"])
SYSTEM, SYSTEM_LINE = new_token("operator", ["system"])


def changed(settings: Settings, **api: Any) -> Settings:
    return settings.model_copy(update={"api": settings.api.model_copy(update=api)})


@asynccontextmanager
async def elsewhere(
    settings: Settings, token: str | None = None, address: str = "203.0.113.9", **api: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client on another machine."""
    app = create_app(changed(settings, **api))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 4000))
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://sky.example", headers=headers
    ) as client:
        yield client


@pytest.fixture
def tokens() -> dict[str, Any]:
    return {"tokens": (LINE, RAW_LINE, SYSTEM_LINE)}


async def test_nobody_elsewhere_reads_without_a_token(
    house: House, settings: Settings, tokens: dict[str, Any]
) -> None:
    ref = house.shoot(DUSK)
    private = [
        f"{API}/latest",
        f"{API}/latest/picture",
        f"{API}/frames/{ref.id}/raw.fits",
        f"{API}/events",
        f"{API}/configuration",
        "/metrics",
        f"/zarr/{SLUG}/{ref.night}/v0001.zarr/zarr.json",
        f"{API}//latest",
        "/api/v2/latest",
    ]
    async with elsewhere(settings, **tokens) as client:
        for address in private:
            reply = await client.get(address)
            assert reply.status_code == 401, address
            assert "Bearer" in reply.headers["www-authenticate"]
            assert reply.json()["type"].endswith("unauthorized")
            assert (await client.head(address)).status_code == 401
        assert (await client.get(f"{API}/health")).status_code == 200
        assert (await client.get("/")).status_code == 200


async def test_a_token_reads_what_its_scopes_say(
    house: House, settings: Settings, tokens: dict[str, Any]
) -> None:
    ref = house.shoot(DUSK)
    raw = f"{API}/frames/{ref.id}/raw.fits"
    zarr = f"/zarr/{SLUG}/{ref.night}/raw.zarr/zarr.json"
    for token, statuses in (
        (READ, (200, 403, 403, 403)),
        (RAW, (200, 200, 200, 403)),
        (SYSTEM, (403, 403, 403, 200)),
    ):
        async with elsewhere(settings, token, **tokens) as client:
            addresses = (f"{API}/latest", raw, zarr, "/metrics")
            assert tuple([(await client.get(a)).status_code for a in addresses]) == statuses
    async with elsewhere(settings, **tokens) as client:
        login = httpx.BasicAuth("any", READ)
        assert (await client.get(f"{API}/latest", auth=login)).status_code == 200


@pytest.mark.parametrize(
    "forged",
    [
        READ[:-1],
        READ + "x",
        READ.upper(),
        digest_of(READ),
        LINE,
        "a360_",
        "",
        "é",
        "a360_" + "A" * 43,
        " " * 20,
    ],
    ids=range(10),  # made anew in every process, so that they can name nothing
)
async def test_forged_tokens_are_refused(
    house: House, settings: Settings, tokens: dict[str, Any], forged: str
) -> None:
    house.shoot(DUSK)
    async with elsewhere(settings, **tokens, public=("read",)) as client:
        header = f"Bearer {forged}".encode()
        reply = await client.get(f"{API}/latest", headers={b"authorization": header})  # type: ignore[dict-item]
        if forged.strip():  # not even what is public: whoever sends a token means it
            assert reply.status_code == 401
        else:
            assert reply.status_code == 200


async def test_this_machine_needs_no_token_unless_asked_to(
    house: House, settings: Settings, client: httpx.AsyncClient
) -> None:
    house.shoot(DUSK)
    assert (await client.get(f"{API}/configuration")).status_code == 200
    for headers in (
        {"x-forwarded-for": "127.0.0.1"},  # a proxy speaks for somebody
        {"host": "evil.example"},  # a foreign name was pointed here
        {"host": "evil.example:8360"},
        {"host": "127.0.0.1.evil.example"},
    ):
        assert (await client.get(f"{API}/latest", headers=headers)).status_code == 401
    app = create_app(changed(settings, require_token=True, tokens=(LINE,)))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as strict:
        assert (await strict.get(f"{API}/latest")).status_code == 401


async def test_the_public_sees_pictures_and_a_rounded_site(
    house: House, settings: Settings
) -> None:
    write_camera_lens(house)
    ref = house.capture(DUSK)
    exposure = house.brackets[ref].exposures[0]
    jpeg = encode_jpeg(np.full((96, 144, 3), 60, np.uint8), exposure=exposure, site=house.site)
    house.process(ref, picture=jpeg, sun_altitude_deg=-31.234567, sidereal_time_h=3.4567891)
    exact = house.site
    async with elsewhere(settings, public=("read", "raw"), public_location_deg=0.5) as client:
        site = (await client.get(f"{API}/site")).json()
        assert (site["latitude_deg"], site["longitude_deg"]) == (29.0, -18.0)
        frame = (await client.get(f"{API}/frames/{ref.id}")).json()
        assert frame["measurements"]["sun_altitude_deg"] == -31.0
        assert frame["measurements"]["background_green"] == 0.05
        stored = await client.get(f"{API}/frames/{ref.id}/picture")
        assert not Image.open(io.BytesIO(stored.content)).getexif()
        raw = await client.get(f"{API}/frames/{ref.id}/raw.fits")
        header = fits.open(io.BytesIO(raw.content))[0].header
        assert (header["SITELAT"], header["SITELONG"]) == (29.0, -18.0)
        series = (await client.get(f"{API}/series?variables=sun_altitude_deg")).json()
        assert series["variables"]["sun_altitude_deg"] == [-31.0]
        whole = ""
        for part in (
            "",
            "/site",
            "/status",
            "/latest",
            "/nights",
            "/ephemeris",
            f"/frames/{ref.id}",
            "/ephemeris/nights/2026-11-22",
            "/openapi.json",
            "/safety",
        ):
            whole += (await client.get(f"{API}{part}")).text
        for number in (exact.latitude_deg, exact.longitude_deg):
            assert f"{abs(number):.3f}" not in whole
        for secret in ("/configuration", "/system", "/storage"):
            assert (await client.get(f"{API}{secret}")).status_code == 401
        assert (await client.get("/metrics")).status_code == 401
    with Image.open(io.BytesIO(jpeg)) as before, Image.open(io.BytesIO(stored.content)) as after:
        assert before.getexif()
        assert before.tobytes() == after.tobytes()


async def test_public_provenance_leaves_out_what_headers_say(
    house: House, settings: Settings
) -> None:
    ref = process_sky(house, house.capture(DUSK))
    async with elsewhere(settings, public=("read",)) as client:
        text = (await client.get(f"{API}/frames/{ref.id}")).text
        assert "28.7606" not in text
        assert '"stretch"' in text
        assert (await client.get(f"{API}/frames/{ref.id}/raw.fits")).status_code == 401


async def test_too_many_requests_from_one_address(house: House, settings: Settings) -> None:
    house.shoot(DUSK)
    async with elsewhere(settings, public=("read",), rate_per_s=1.0, rate_burst=5) as client:
        replies = [await client.get(f"{API}/site") for _ in range(8)]
    assert [r.status_code for r in replies[:5]] == [200] * 5
    assert replies[-1].status_code == 429
    assert int(replies[-1].headers["retry-after"]) >= 1
    assert replies[-1].json()["type"].endswith("too-many-requests")


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.integers(1, 5))
def test_a_bucket_never_lets_more_pass_than_burst_and_rate(gaps: list[float], burst: int) -> None:
    limit, now, passed = RateLimit(2.0, burst), 0.0, 0
    for gap in gaps:
        now += gap
        passed += limit.wait_s("a", now) == 0
    assert passed <= burst + 2.0 * sum(gaps[1:]) + 1e-6


def test_the_addresses_remembered_are_bounded() -> None:
    limit = RateLimit(2.0, 5)
    for k in range(12_000):
        limit.wait_s(str(k), 0.0)
    assert len(limit._buckets) <= 10_000


async def test_cors_is_for_the_origins_of_the_settings(house: House, settings: Settings) -> None:
    house.shoot(DUSK)
    origins = ("https://sky.example.org",)
    async with elsewhere(settings, public=("read",), cors_origins=origins) as client:
        good = await client.get(f"{API}/latest", headers={"origin": origins[0]})
        assert good.headers["access-control-allow-origin"] == origins[0]
        other = await client.get(f"{API}/latest", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        ask = {
            "origin": origins[0],
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        }
        assert (await client.options(f"{API}/latest", headers=ask)).status_code == 200
    with pytest.raises(ValidationError, match="no origin"):
        ApiSettings(cors_origins=("https://a/b",))


TRAVERSALS = (
    "/static/../app.py",
    "/static/..%2f..%2fapp.py",
    "/static/%2e%2e/app.py",
    "/static//etc/passwd",
    f"{API}/frames/2026-11-22/../../etc/passwd",
    f"{API}/nights/..%2f..%2fetc",
    f"{API}/frames/..%00/0",
    "/zarr/..%2f..%2fetc/2026-11-22/raw.zarr/zarr.json",
    f"/zarr/{SLUG}/2026-11-22/raw.zarr/..%2f..%2f..%2fexposure-control.json",
    f"/zarr/{SLUG}/2026-11-22/raw.zarr/../../exposure-control.json",
    f"/zarr/{SLUG}/2026-11-22/..%2fraw.zarr/zarr.json",
    f"/zarr/{SLUG}/2026-11-22/raw.zarr/raw%2fc.0.0.0.0%00",
    f"/zarr/{SLUG}/2026-11-22/.state/zarr.json",
    f"/zarr/{SLUG}/2026-11-22/raw.zarr//etc/passwd",
    f"{API}/cameras/..%2f..%2fetc",
    f"{API}/latest?camera=..%2f..%2fetc",
    f"{API}/lens?camera=%2e%2e",
    f"{API}/nights/2026-11-22/products/..%2f..%2fcurrent",
    f"{API}/nights/2026-11-22/products/x/files/%2e%2e",
)


def test_paths_that_lead_elsewhere_and_malformed_requests_over_the_wire(
    house: House, settings: Settings
) -> None:
    house.shoot(DUSK)
    (house.root / SLUG / "exposure-control.json").write_text('{"secret": "kept"}')
    (house.root / "secret.txt").write_text("kept")
    with serving(settings) as base:
        port = settings.api.port
        for path in TRAVERSALS:
            reply = _ask(
                port, f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            )
            assert _status(reply) in (400, 404, 422), path
            assert b"kept" not in reply
            assert b"def create_app" not in reply
        for request, statuses in (
            ("GET /" + "a" * 70_000 + " HTTP/1.1\r\nhost: localhost\r\n\r\n", {0, 400, 414, 431}),
            ("GET / HTTP/1.1\r\nhost: localhost\r\n" + "x-y: z\r\n" * 20_000 + "\r\n", {0, 431}),
            ("GET / HTTP/1.1\r\nhost: localhost\r\nx: " + "a" * 200_000 + "\r\n\r\n", {0, 431}),
            ("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", {400}),
            ("GET / HTTP/9.9\r\n\r\n", {400}),
            ("get\r\n\r\n", {400}),
            ("GET / HTTP/1.1\r\ncontent-length: -1\r\nhost: x\r\n\r\n", {400}),
            (
                "GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
                "content-length: 3\r\n\r\n",
                {400},
            ),
            (f"POST {API}/latest HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n", {405}),
            (f"DELETE {API}/frames/2026-11-22/0 HTTP/1.1\r\nhost: localhost\r\n\r\n", {405}),
            (f"GET {API}/frames?cursor=%ff%fe HTTP/1.1\r\nhost: localhost\r\n\r\n", {400}),
            (f"GET {API}/frames?start=%00 HTTP/1.1\r\nhost: localhost\r\n\r\n", {422}),
            (
                f"GET {API}/series?variables=a&points=99999999999 HTTP/1.1\r\n"
                "host: localhost\r\n\r\n",
                {422},
            ),
            (
                f"GET {API}/latest/picture?width=100000000 HTTP/1.1\r\nhost: localhost\r\n\r\n",
                {422},
            ),
        ):
            assert _status(_ask(port, request)) in statuses, request[:80]
        assert httpx.get(f"{base}{API}/health").status_code == 200


def test_a_request_that_never_ends_is_hung_up_on(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allsky360.api.protocol.HEAD_WITHIN_S", 0.4)
    with serving(settings) as base:
        with socket.create_connection(("127.0.0.1", settings.api.port)) as slow:
            slow.settimeout(10)
            slow.sendall(b"GET / HTTP/1.1\r\nhost: ")
            begin = time.monotonic()
            try:
                for _ in range(100):  # a byte now and then does not help
                    slow.sendall(b"a")
                    time.sleep(0.05)
            except OSError:
                pass
            assert time.monotonic() - begin < 4.0
        with socket.create_connection(("127.0.0.1", settings.api.port)) as silent:
            silent.settimeout(10)
            assert _received(silent) == b""
        assert httpx.get(f"{base}{API}/health").status_code == 200


def _ask(port: int, request: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(request.encode("latin-1"))
        except OSError:
            return b""  # hung up on while it was sending
        return _received(connection, until=b"" if "connection: close" in request else b"\r\n\r\n")


def _received(connection: socket.socket, until: bytes = b"") -> bytes:
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
            if until and until in data:
                break
    except OSError:
        return data
    return data


def _status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/") else 0


def test_addresses_and_their_rights() -> None:
    assert right_for("/") is None
    assert right_for("/static/live.js") is None
    assert right_for(f"{API}/health/ready") is None
    assert right_for(f"{API}/healthy") == "read"
    assert right_for(f"{API}/frames/2026-11-22/000001/raw.fits") == "raw"
    assert right_for("/zarr/a/b") == "raw"
    assert right_for(f"{API}/configuration") == "system"
    assert right_for(f"{API}/") == "read"


@dataclass(frozen=True)
class Peer:
    client: str
    host: str
    local: bool


@pytest.mark.parametrize(
    "peer",
    [
        Peer("127.0.0.1", "localhost:8360", True),
        Peer("::1", "[::1]:8360", True),
        Peer("127.0.0.1", "127.0.0.1", True),
        Peer("127.0.0.1", "allsky.example:8360", False),
        Peer("192.0.2.7", "192.0.2.1", False),
        Peer("192.0.2.1", "192.0.2.1:8360", True),  # from this machine, by its own address
        Peer("", "localhost", False),
    ],
)
def test_who_is_on_this_machine(peer: Peer) -> None:
    scope = {"client": (peer.client, 1), "server": ("192.0.2.1", 8360)}
    assert is_local(scope, {"host": peer.host}) is peer.local


def test_tokens_are_kept_as_hashes_and_found_again(tmp_path: Path) -> None:
    assert READ not in LINE
    assert digest_of(READ) in LINE
    file = tmp_path / "tokens"
    file.write_text(f"# the dome\n{LINE}  # reads\n\n{RAW_LINE}\n")
    grants = grants_of(ApiSettings(token_file=file, tokens=(SYSTEM_LINE,)))
    assert [g.name for g in grants] == ["operator", "reader", "scientist"]
    found = find_grant(grants, RAW)
    assert found is not None
    assert found.scopes == {"read", "raw"}
    assert find_grant(grants, "a360_nothing") is None
    file.write_text("reader:read:abc\n")
    with pytest.raises(TokenFileError, match="line 1"):
        grants_of(ApiSettings(token_file=file))
    with pytest.raises(TokenFileError, match="cannot read"):
        grants_of(ApiSettings(token_file=tmp_path / "none"))
    with pytest.raises(TokenFileError, match="cannot name"):
        new_token("a b", ["read"])
    with pytest.raises(ValidationError, match="number 1"):
        ApiSettings(tokens=("secret",))


def test_the_command_makes_a_token() -> None:
    shown = CliRunner().invoke(cli, ["api-token", "dome", "--scope", "read", "--scope", "raw"])
    token = shown.output.splitlines()[0].rpartition(" ")[2]
    line = shown.output.splitlines()[1].rpartition(" ")[2]
    assert line == f"dome:read,raw:{digest_of(token)}"


@given(st.text(max_size=60))
def test_no_authorization_header_is_trouble(text: str) -> None:
    token = token_from(text)
    assert token is None or token
    encoded = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    token_from(f"Basic {encoded}")


def test_settings_are_shown_without_secrets() -> None:
    tree = {
        "api": {"tokens": ["a:read:b"], "require_token": False, "token_file": "/x"},
        "prefect": {"url": "http://u:p@host:4200/api?key=1"},
        "site": {"name": "s"},
    }
    assert without_secrets(tree) == {
        "api": {"tokens": "***", "require_token": False, "token_file": "***"},
        "prefect": {"url": "http://***@host:4200/api"},
        "site": {"name": "s"},
    }


@given(st.floats(-90, 90), st.floats(-180, 180), st.sampled_from([0.01, 0.1, 0.5, 1.0, 10.0]))
def test_a_rounded_site_is_near_and_says_no_more(lat: float, lon: float, step: float) -> None:
    site = rounded_site(Site("s", lat, lon, 1234.0), step)
    assert abs(site.latitude_deg - lat) <= step / 2 + 1e-6
    assert -90 <= site.latitude_deg <= 90
    assert site.elevation_m == 1200.0
    moved = rounded_site(Site("s", site.latitude_deg, lon, 1234.0), step)
    assert moved == site


@given(st.binary(max_size=400))
def test_no_bytes_make_stripping_exif_fail(data: bytes) -> None:
    without_exif(data)
    without_exif(b"\xff\xd8" + data)


@given(st.text(max_size=60))
def test_only_keys_of_a_store_are_looked_up(text: str) -> None:
    match = KEY.fullmatch(text)
    assert match is None or (".." not in text and not text.startswith("/"))
    assert read_key(Path("/nonexistent"), "cam", DUSK.date(), text, "zarr.json") is None
