"""The decoders: everything that reads bytes which others wrote."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import struct
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
from astropy.io import fits

from allsky360.camera.decode import decode_fits, decode_image
from allsky360.camera.files import read_exposures
from allsky360.camera.indi import IndiDialect
from allsky360.camera.indigo import http
from allsky360.camera.indigo.properties import PropertyStore
from allsky360.camera.indigo.wire import MessageStream
from allsky360.errors import AllskyError
from allsky360.model import Site
from tests.fuzz.hunt import Target

RNG = np.random.default_rng(7)
MOSAIC = RNG.integers(0, 65536, (6, 8), dtype=np.uint16)
SITE = Site("La Palma", 28.7606, -17.8816, 2396.0)


def raw(folder: Path) -> Target:
    """INDIGO RAW, as a camera's image arrives."""

    def run(data: bytes) -> None:
        decode_image(data)
        decode_image(data, image_format="RAW", shape=(6, 8), bits=16, read_pattern=False)

    body = MOSAIC.tobytes()
    return Target(
        run,
        [
            b"RAW1" + struct.pack("<II", 8, 6) + body[:48],
            b"RAW2" + struct.pack("<II", 8, 6) + body,
            b"RAW2" + struct.pack("<II", 8, 6) + body + b"SIMPLE=T;BAYERPAT='GRBG';EXPTIME=1.5;",
            b"RAW3" + struct.pack("<II", 4, 4) + body[:48],
            b"RAW6" + struct.pack("<II", 4, 4) + body,
            b"RGB6" + struct.pack("<II", 4, 3) + body[:48],
            b"BGR6" + struct.pack("<II", 4, 3) + body[:48],
        ],
        [
            b"RAW1",
            b"RAW2",
            b"RAW6",
            b"SIMPLE=T;",
            b"BAYERPAT='",
            b"XBAYROFF=1;",
            b"YBAYROFF=",
            b";",
        ],
    )


def _fits(data: np.ndarray[Any, Any], **cards: Any) -> bytes:
    unit = fits.PrimaryHDU(data)
    unit.header.update({k.replace("_", "-"): v for k, v in cards.items()})
    out = io.BytesIO()
    unit.writeto(out)
    return out.getvalue()


def fits_images(folder: Path) -> Target:
    """FITS from a camera server and from a file, compressed extensions among them."""
    path = folder / "wild.fits"

    def run(data: bytes) -> None:
        for decode in (decode_image, lambda d: decode_fits(d, from_camera=False)):
            with contextlib.suppress(AllskyError):
                decode(data)
        path.write_bytes(data)
        for exposure in read_exposures(path):
            assert exposure.pixels.dtype in (np.uint8, np.uint16)

    packed = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(MOSAIC, compression_type="RICE_1")]).writeto(
        packed
    )
    cards = {"EXPTIME": 2.5, "BAYERPAT": "BGGR", "DATE_OBS": "2026-11-22T20:00:00", "GAIN": 120}
    whole = _fits(MOSAIC, **cards)
    return Target(
        run,
        [
            whole,
            _fits(MOSAIC.astype(np.uint8)),
            _fits(np.stack([MOSAIC] * 3)),
            _fits(MOSAIC.astype(np.float32)),
            _fits(MOSAIC.astype(np.int16) // 2, ROWORDER="BOTTOM-UP", XBAYROFF=1, YBAYROFF=0),
            packed.getvalue(),
            gzip.compress(whole),
        ],
        [b"SIMPLE  =", b"BITPIX  =", b"NAXIS   =", b"NAXIS1  =", b"BZERO   =", b"BSCALE  =", b"END",
         b"DATE-OBS=", b"EXPTIME =", b"XTENSION= 'IMAGE   '", b"ZIMAGE  =", b"TFIELDS =", b"'"],
    )  # fmt: skip


def files(folder: Path) -> Target:
    """Pictures, camera raw and CDF files; the first byte says the ending."""
    from tests.camera.test_files import write_dng

    endings = (".dng", ".tif", ".png", ".jpg", ".cdf", ".fits.gz")

    def run(data: bytes) -> None:
        path = folder / f"wild{endings[(data or b'!')[0] % len(endings)]}"
        path.write_bytes(data[1:])
        for exposure in read_exposures(path):
            assert exposure.pixels.dtype in (np.uint8, np.uint16)

    deep = RNG.integers(0, 4000, (64, 96), dtype=np.uint16)
    seeds = [write_dng(folder / "seed.dng", deep).read_bytes()]
    for number, ending in ((1, ".tif"), (2, ".png"), (3, ".jpg")):
        picture = deep if number < 3 else (deep // 16).astype(np.uint8)
        seeds.append(bytes([number]) + cv2.imencode(ending, picture)[1].tobytes())
    seeds[0] = b"\0" + seeds[0]
    seeds.append(b"\5" + gzip.compress(_fits(MOSAIC)))
    seeds.append(b"\4" + _cdf(folder))
    return Target(run, seeds, [b"II*\0", b"MM\0*", b"\x89PNG", b"IHDR", b"IDAT", b"\xff\xd8\xff"])


def _cdf(folder: Path) -> bytes:
    from cdflib import cdfwrite

    path = folder / "seed.cdf"
    made = cdfwrite.CDF(path, cdf_spec={"Compressed": 0}, delete=True)
    made.write_var(
        {
            "Variable": "Epoch",
            "Data_Type": 31,
            "Num_Elements": 1,
            "Rec_Vary": True,
            "Dim_Sizes": [],
        },
        var_data=np.array([63e12, 63e12 + 1000]),
    )
    made.write_var(
        {"Variable": "image", "Data_Type": 12, "Num_Elements": 1, "Rec_Vary": True,
         "Dim_Sizes": [6, 8]},
        var_data=np.stack([MOSAIC, MOSAIC]),
    )  # fmt: skip
    made.close()
    return path.read_bytes()


_INDIGO = [
    {"defTextVector": {"device": "Cam", "name": "INFO", "state": "Ok", "perm": "ro",
                       "items": [{"name": "MODEL", "label": "Model", "value": "ASI"}]}},
    {"defNumberVector": {"device": "Cam", "name": "CCD_EXPOSURE", "state": "Idle", "perm": "rw",
                         "items": [{"name": "EXPOSURE", "value": 1.0, "min": 0, "max": 3600,
                                    "target": 1}]}},
    {"defSwitchVector": {"device": "Cam", "name": "CONNECTION", "rule": "OneOfMany",
                         "state": "Ok", "items": [{"name": "CONNECTED", "value": True}]}},
    {"defBLOBVector": {"device": "Cam", "name": "CCD_IMAGE", "state": "Ok",
                       "items": [{"name": "IMAGE", "value": "/blob/0x1.raw"}]}},
    {"setNumberVector": {"device": "Cam", "name": "CCD_EXPOSURE", "state": "Busy",
                         "items": [{"name": "EXPOSURE", "value": 0.5}]}},
    {"setBLOBVector": {"device": "Cam", "name": "CCD_IMAGE", "state": "Ok",
                       "items": [{"name": "IMAGE", "value": "/blob/0x2.raw"}]}},
    {"deleteProperty": {"device": "Cam", "name": "INFO"}},
    {"message": "hello"},
]  # fmt: skip


def _pieces(data: bytes) -> list[bytes]:
    """Cut as TCP would: at places that follow from the bytes themselves."""
    step = 1 + (sum(data[:64]) * 7 + len(data)) % max(1, len(data))
    return [data[k : k + step] for k in range(0, len(data), step)]


def indigo(folder: Path) -> Target:
    """INDIGO's JSON stream, and what is remembered of it."""
    from allsky360.camera.indigo.capabilities import camera_info, camera_names, capabilities_of

    def run(data: bytes) -> None:
        stream, store = MessageStream(), PropertyStore()
        for message in _INDIGO[:4]:
            store.apply(message)
        for piece in _pieces(data):
            for message in stream.feed(piece):
                store.apply(message)
        camera_names(store)
        for device in list(store.devices):
            with contextlib.suppress(AllskyError):
                capabilities_of(store, device)
            camera_info(store, device)
            for prop in store.devices[device].values():
                prop.selected()
                for item in prop.items.values():
                    if prop.kind == "BLOB" and item.value:
                        with contextlib.suppress(AllskyError):
                            http.resolve(str(item.value), "cam", 7624)

    texts = [json.dumps(m).encode() for m in _INDIGO]
    return Target(
        run,
        [*texts, b"".join(texts), b"\n".join(texts[3:])],
        [b'{"setNumberVector":', b'"items":[', b'{"message":"', b"\\x", b": inf", b": nan", b"}{",
         b'"CCD_INFO"', b'"CCD_FRAME"', b'"CCD_GAIN"', b'"CCD_MODE"', b'"name"', b'"value"'],
    )  # fmt: skip


def indi(folder: Path) -> Target:
    """INDI's XML stream with the images in it."""
    from tests.camera.test_indi_wire import DEFINED, EXPOSURE, blob

    def run(data: bytes) -> None:
        dialect, store, urls = IndiDialect(), PropertyStore(), []
        for piece in (DEFINED.encode(), *_pieces(data)):
            for message in dialect.feed(piece):
                store.apply(message)
                items = message.get("setBLOBVector", {}).get("items", ())
                urls += [i["value"] for i in items if i.get("value")]
        for url in urls:
            with contextlib.suppress(AllskyError):
                dialect.take_image(url)

    import zlib

    image = _fits(MOSAIC)
    busy = EXPOSURE.format(tag="set", state="Busy", value="0.5").encode()
    return Target(
        run,
        [
            DEFINED.encode(),
            busy,
            blob(image),
            blob(zlib.compress(image), ".fits.z", size=len(image)),
            busy + blob(MOSAIC.tobytes()) + b"<delProperty device='CCD Simulator'/>",
            b"<message device='x' message='hello'/>",
            b"<defNumberVector device='c' name='CCD_CONTROLS'><defNumber name='Gain' min='0'"
            b" max='9'>1:30:5</defNumber></defNumberVector>",
        ],
        [b"<setBLOBVector ", b"</setBLOBVector>", b"<oneBLOB ", b" size='", b" format='.fits.z'",
         b"<!ENTITY", b"<![CDATA[", b"&amp;", b"<defSwitchVector ", b"device='", b"/>",
         b"len='-1'"],
    )  # fmt: skip


def image_http(folder: Path) -> Target:
    """The HTTP answer that an INDIGO image comes in."""

    async def read(data: bytes) -> None:
        reader = asyncio.StreamReader(limit=1 << 16)
        reader.feed_data(data)
        reader.feed_eof()
        _, headers = await http._read_head(reader, "here")
        length = http._length(headers, "here")
        if length < 1 << 24:
            await http._read_body(reader, length, "here")

    loop = asyncio.new_event_loop()
    return Target(
        lambda data: loop.run_until_complete(read(data)),
        [
            b"HTTP/1.1 200 OK\r\nContent-Type: image/raw\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 404 Not found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ],
        [b"\r\n", b"\r\n\r\n", b"Content-Length: ", b"HTTP/1.1 ", b"identity", b"gzip", b": "],
    )


def settings(folder: Path) -> Target:
    """The settings file, and its translation into words for people."""
    from allsky360.config import Settings, load_settings
    from allsky360.config_text import default_text

    path = folder / "allsky360.toml"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        load_settings(path)

    whole = default_text(Settings, Settings.model_construct()).encode()
    tables = [b"[" + t for t in whole.split(b"\n[")[1:]]
    return Target(
        run,
        [
            b"[site]\nlatitude_deg = 48.1\nlongitude_deg = 11.6\n",
            b"[exposure.night]\nmax_exposure_s = 30\n[api]\ntokens = []\n",
            b'[processing.profiles]\nclear = ["stretch", ["acdnr", {amount = 0.5}]]\n',
            *tables,
        ],
        [b"[processing.filters.", b" = ", b"[[", b"]", b'"""', b"2026-11-22T20:00:00Z", b"inf",
         b"{ a = 1 }", b"\n[site]\n", b"#", b"'''", b"0x", b"true", b"profiles", b"stretch"],
    )  # fmt: skip


def masters(folder: Path) -> Target:
    """Master frames in a folder of the user's."""
    from allsky360.masters import read_master

    path = folder / "master.fits"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        np.asarray(read_master(path).pixels)

    about = {"IMAGETYP": "dark", "EXPTIME": 10.0, "GAIN": 120, "CCD_TEMP": -9.5, "NCOMBINE": 16}
    unit = fits.PrimaryHDU(MOSAIC.astype(np.float32))
    unit.header.update({k.replace("_", "-"): v for k, v in about.items()})
    table = fits.BinTableHDU.from_columns(
        [fits.Column("ROW", "J", array=[1, 2]), fits.Column("COLUMN", "J", array=[3, 4])],
        name="UNSTABLE",
    )
    whole = io.BytesIO()
    fits.HDUList([unit, table]).writeto(whole)
    packed = io.BytesIO()
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(MOSAIC, fits.Header({"IMAGETYP": "bias"}))]
    ).writeto(packed)
    return Target(
        run,
        [whole.getvalue(), _fits(MOSAIC, **about), _fits(np.stack([MOSAIC] * 3), IMAGETYP="flat"),
         packed.getvalue()],
        [b"IMAGETYP= 'dark    '", b"NAXIS   =", b"BITPIX  =", b"END", b"XTENSION=", b"TFORM1  =",
         b"UNSTABLE", b"ROWORDER= 'BOTTOM'", b"TTYPE1  =", b"TFIELDS =", b"ZCMPTYPE="],
    )  # fmt: skip


def lens(folder: Path) -> Target:
    """Lens files, overlay figures and two-line elements."""
    from allsky360.lens_solutions import solution_of
    from allsky360.sky.lens import fisheye
    from allsky360.sky.lens_file import LensFile, read_lens, write_lens
    from allsky360.sky.satellites import parse_elements

    path = folder / "lens.json"

    def run(data: bytes) -> None:
        if data[:1] in b"{[":
            path.write_bytes(data)
            content = read_lens(path)
            solution_of(content)
            content.lens.project(np.array([90.0, 45.0]), np.array([0.0, 180.0]))
        else:
            parse_elements(data.decode("latin-1"))

    write_lens(
        path,
        LensFile(
            lens=fisheye(144, 96, rotation_deg=12.0),
            camera="cam",
            serial=1,
            solved=datetime(2026, 11, 20, tzinfo=UTC),
            site=SITE,
            frames=(datetime(2026, 11, 19, 23, tzinfo=UTC),),
            sigma={"rotation_deg": 0.01},
            quality={
                "stars": 40,
                "held_out_stars": 12,
                "rings": [
                    {"altitude_deg": [60.0, 90.0], "stars": 20, "rms_px": 0.3, "median_px": 0.2}
                ],
                "covariance": {"of": [], "upper": []},
            },
            warnings=("few stars",),
        ),
    )
    iss = (
        b"ISS\n1 25544U 98067A   26320.51782528  .00016717  00000-0  30000-3 0  9993\n"
        b"2 25544  51.6400 208.9163 0006317  69.9862  25.2906 15.50000000000009\n"
    )
    return Target(run, [path.read_bytes(), iss], [b'"lens"', b'"equidistant"', b"1 ", b"2 ", b"\n"])


def archive(folder: Path) -> Target:
    """A night's folder: one of its files is replaced, and everything that reads is asked."""
    from tests.fuzz.night import Night

    night = Night(folder)
    return Target(
        night.run,
        night.seeds(),
        [b"zarr.json", b'"shape"', b'"attributes"', b'"rows"', b"NaN", b'"first_index"', b"c.0"],
    )


def records(folder: Path) -> Target:
    """Small JSON files that parts keep for themselves; the first line names which."""
    from tests.fuzz.night import keepers

    known = keepers(folder)

    def run(data: bytes) -> None:
        name, _, content = data.partition(b"\n")
        keeper = (
            known[sum(name) % len(known)]
            if name.decode("latin-1") not in _names
            else (known[_names[name.decode("latin-1")]])
        )
        keeper.read(content)

    _names = {k.name: i for i, k in enumerate(known)}
    return Target(
        run,
        [k.name.encode() + b"\n" + k.seed for k in known],
        [b"null", b"[]", b"{}", b'"version"', b'"files"', b"2026-11-22", b"T20:00:00+00:00"],
    )


def api(folder: Path) -> Target:
    """Requests of the read service: method, address, heads and body."""
    from tests.api.contract import TOKEN, app_with_everything

    app = app_with_everything(folder / "archive")
    loop = asyncio.new_event_loop()

    def run(data: bytes) -> None:
        head, _, body = data.partition(b"\n\n")
        lines = head.split(b"\n")
        method, _, target = lines[0].partition(b" ")
        heads = [
            (k.strip().lower(), v.strip()) for k, _, v in (x.partition(b":") for x in lines[1:])
        ]
        heads = [(b"host", b"localhost"), *heads]
        if b"!" not in method:
            heads.append((b"authorization", b"Bearer " + TOKEN.encode()))
        status = loop.run_until_complete(_ask(app, method.strip(b"!"), target, heads, body))
        assert status != 500, "the service answers 500"

    return Target(
        run,
        [f"GET {p}\naccept: */*".encode() for p in _addresses(app)],
        [b"?", b"&", b"=", b"%00", b"%2e%2e/", b"..", b"latest", b"2026-11-22", b"/000001",
         b"width=", b"format=", b"start=", b"end=", b"limit=", b"fields=", b"variables=",
         b"cursor=",
         b"\nrange: bytes=0-5", b"\nif-none-match: *", b"\nif-modified-since: x", b"\naccept: ",
         b"camera=", b"filter=", b"\naccept-encoding: br, gzip;q=0", b"nan", b"inf", b"1e999",
         b"\nlast-event-id: ", b"box=", b"overlay=", b"POST", b"HEAD", b"OPTIONS"],
        input_s=40.0,
    )  # fmt: skip


def _addresses(app: Any) -> list[str]:
    """Every address of the service's own document, its placeholders filled."""
    good = {
        "night": "2026-11-22", "index": "0", "camera": "zwo-asi294mc-1", "name": "timelapse",
        "file": "timelapse.mp4", "variable": "transients", "hip": "32349", "star": "32349",
        "frame": "0", "exposure": "0", "path": "v0001.zarr/zarr.json",
        "key": "v0001.zarr/zarr.json",
        "product": "timelapse", "id": "t", "version": "v0001",
    }  # fmt: skip
    found = []
    for path, operations in app.openapi()["paths"].items():
        for operation in operations.values():
            query = []
            address = path
            for p in operation.get("parameters", ()):
                schema = p.get("schema", {})
                example = schema.get("default", schema.get("enum", [good.get(p["name"], "1")])[0])
                if p["in"] == "path":
                    address = address.replace("{" + p["name"] + "}", good.get(p["name"], "1"))
                elif p["in"] == "query":
                    query.append(f"{p['name']}={example}")
            found += [address, f"{address}?{'&'.join(query[:4])}"] if query else [address]
    return sorted(set(found))


async def _ask(
    app: Any, method: bytes, target: bytes, heads: list[tuple[bytes, bytes]], body: bytes
) -> int:
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": method.decode("latin-1").upper(), "scheme": "http", "raw_path": path,
        "path": unquote(path.decode("latin-1"), errors="replace"), "query_string": query,
        "root_path": "", "headers": heads, "client": ("127.0.0.1", 9999),
        "server": ("localhost", 80), "state": {}, "extensions": {},
    }  # fmt: skip
    status, sent = 0, 0
    over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        if sent == 1:
            return {"type": "http.request", "body": body, "more_body": False}
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = int(message["status"])

    try:
        async with asyncio.timeout(60):
            await app(scope, receive, send)
    finally:
        over.set()
    return status


TARGETS: dict[str, Callable[[Path], Target]] = {
    "raw": raw,
    "fits": fits_images,
    "files": files,
    "indigo": indigo,
    "indi": indi,
    "image-http": image_http,
    "settings": settings,
    "masters": masters,
    "lens": lens,
    "archive": archive,
    "records": records,
    "api": api,
}


def open_target(name: str, folder: Path) -> Target:
    """Return a decoder by name; libraries' warnings about damaged files are kept quiet."""
    import logging

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    folder.mkdir(parents=True, exist_ok=True)
    return TARGETS[name](folder)
