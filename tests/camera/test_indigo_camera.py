"""The camera's state machine against every hazard of the protocol reference."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits

from allsky360.camera.errors import (
    BadProperty,
    CameraAlert,
    CameraError,
    CameraTimeout,
    DeviceGone,
    DroppedRequest,
    ExposureAborted,
    ForeignUse,
    MislabelledImage,
    NoImage,
    NotConnected,
    OversizedImage,
    ServerGone,
    StaleImage,
    TruncatedImage,
    UnknownDevice,
    UnsupportedImage,
)
from allsky360.camera.indigo import IndigoCamera
from allsky360.camera.indigo import camera as camera_module
from allsky360.camera.indigo import capabilities as capabilities_module
from allsky360.camera.indigo import client as client_module
from allsky360.clock import rehearsal
from allsky360.config import CameraSettings, CoolerSettings
from tests.camera.fake_indigo import CAM, FakeIndigo, Script, expose_forever, expose_normally

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RECONNECT_PAUSE_S", 0.0)
    monkeypatch.setattr(client_module, "MISMATCH_GRACE_S", 0.3)
    monkeypatch.setattr(capabilities_module, "QUIET_S", 0.05)
    monkeypatch.setattr(camera_module, "BUSY_WAIT_S", 0.4)
    monkeypatch.setattr(camera_module, "STALL_WAIT_S", 0.8)
    monkeypatch.setattr(camera_module, "ABORT_WAIT_S", 0.4)
    monkeypatch.setattr(camera_module, "_AFTER_EXPOSURE_S", 0.3)


@pytest.fixture
async def server() -> AsyncIterator[FakeIndigo]:
    async with FakeIndigo() as fake:
        yield fake


def settings(**values: object) -> CameraSettings:
    """Settings with a time-out shorter than a person may set."""
    return CameraSettings(**values).model_copy(update={"timeout_s": 0.5})  # type: ignore[arg-type]


def camera_of(server: FakeIndigo, device: str = CAM, **values: object) -> IndigoCamera:
    return IndigoCamera("127.0.0.1", server.port, device, settings(**values))


@pytest.fixture
async def camera(server: FakeIndigo) -> AsyncIterator[IndigoCamera]:
    opened = camera_of(server)
    await opened.open()
    yield opened
    await opened.close()


def fits_image(
    server: FakeIndigo, exptime: float, date: str, shape: tuple[int, int] = (12, 16)
) -> bytes:
    hdu = fits.PrimaryHDU(np.random.default_rng(len(date)).integers(0, 99, shape, dtype=np.uint16))
    hdu.header["EXPTIME"] = exptime
    hdu.header["DATE-OBS"] = date
    hdu.header["CCD-TEMP"] = -5.5
    hdu.header["BAYERPAT"] = "GRBG"
    out = io.BytesIO()
    hdu.writeto(out)
    return out.getvalue()


def serving(*images: bytes) -> Script:
    queue = list(images)

    async def script(server: FakeIndigo, target: float) -> None:
        server.busy(target)
        await asyncio.sleep(0.01)
        server.image = queue.pop(0)
        server.done()

    return script


class TestOpen:
    async def test_applies_the_settings_in_order(self, server: FakeIndigo) -> None:
        camera = camera_of(
            server, mode="RAW16 label", binning=2, offset=30, roi=(3, 5, 9, 7),
            cooler=CoolerSettings(enabled=True, target_c=-15),
        )  # fmt: skip
        await camera.open()
        sent = [(name, values) for _, name, values in server.requests]
        assert sent == [
            ("CONNECTION", {"CONNECTED": True}),
            ("CCD_UPLOAD_MODE", {"CLIENT": True}),
            ("CCD_IMAGE_FORMAT", {"RAW": True}),
            ("CCD_BIN", {"HORIZONTAL": 2, "VERTICAL": 2}),
            ("CCD_FRAME", {"LEFT": 2, "TOP": 4, "WIDTH": 8, "HEIGHT": 6}),
            ("CCD_OFFSET", {"OFFSET": 30}),
            ("CCD_COOLER", {"ON": True}),
            ("CCD_TEMPERATURE", {"TEMPERATURE": -15}),
        ]
        exposure = await camera.expose(0.01)
        assert exposure.pixels.shape == (3, 4)
        assert (exposure.binning, exposure.offset) == (2, 30)
        await camera.close()

    async def test_a_binning_that_undoes_the_mode_is_refused(
        self, server: FakeIndigo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take = server._set

        def couple(kind: str, name: str, values: dict[str, object]) -> None:
            if name == "CCD_BIN":  # as INDIGO's base driver does
                server.send(server.message("CCD_MODE", RAW16=False, RAW8=True))
            take(kind, name, values)

        monkeypatch.setattr(server, "_set", couple)
        with pytest.raises(BadProperty, match=r"left mode 'RAW16' for 'RAW8'.*camera\.binning"):
            await camera_of(server, mode="RAW16", binning=2).open()

    async def test_a_region_off_the_sensor_names_the_setting(self, server: FakeIndigo) -> None:
        server.alert["CCD_FRAME"] = "out of range"
        with pytest.raises(CameraAlert, match=r"refuses CCD_FRAME.*out of range.*camera\.roi"):
            await camera_of(server, roi=(8, 0, 16, 12)).open()

    async def test_an_offset_another_client_changed_is_put_back(self, server: FakeIndigo) -> None:
        camera = camera_of(server, offset=30)
        await camera.open()
        server.send(server.message("CCD_OFFSET", OFFSET=7))
        await asyncio.sleep(0.05)
        assert (await camera.expose(0.01)).offset == 30
        await camera.close()

    async def test_8_bits(self, server: FakeIndigo) -> None:
        camera = camera_of(server, bits_per_pixel=8)
        await camera.open()
        exposure = await camera.expose(0.01)
        assert exposure.pixels.dtype == np.uint8
        assert exposure.saturation_adu == 255
        await camera.close()

    async def test_depth_between_8_and_16_sets_the_saturation(self, server: FakeIndigo) -> None:
        camera = camera_of(server, bits_per_pixel=12)
        await camera.open()
        assert (await camera.expose(0.01)).saturation_adu == 4095
        await camera.close()

    async def test_unknown_device_names_those_that_exist(self, server: FakeIndigo) -> None:
        with pytest.raises(UnknownDevice, match=f"no device 'Other'.*{CAM}"):
            await camera_of(server, "Other").open()

    async def test_only_camera_is_taken_and_two_are_not(self, server: FakeIndigo) -> None:
        server.extra_devices = {"Wheel": "16"}
        camera = camera_of(server, "")
        await camera.open()
        assert camera.device == CAM
        assert camera.is_open
        await camera.close()
        assert not camera.is_open
        server.extra_devices = {"Second": "2"}
        with pytest.raises(UnknownDevice, match=r"2 cameras.*Second"):
            await camera_of(server, "").open()

    async def test_camera_that_does_not_connect(self, server: FakeIndigo) -> None:
        server.connect_state = "Alert"
        with pytest.raises(CameraAlert, match="does not connect"):
            await camera_of(server).open()

    async def test_fresh_connection_may_die_once(self, server: FakeIndigo) -> None:
        server.close_first = 1
        camera = camera_of(server)
        await camera.open()
        assert server.connections == 2
        await camera.close()
        server.close_first = 2
        with pytest.raises(ServerGone):
            await camera.open()

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"image_format": "FITS", "mode": "nope"}, "no mode 'nope'.*RAW16"),
            ({"binning": 8}, "cannot bin 8x8"),
        ],
    )
    async def test_settings_the_camera_cannot_do(
        self, server: FakeIndigo, values: dict[str, object], words: str
    ) -> None:
        with pytest.raises(BadProperty, match=words):
            await camera_of(server, **values).open()

    @pytest.mark.parametrize(
        ("missing", "values", "words"),
        [
            ("CCD_COOLER", {"cooler": CoolerSettings(enabled=True)}, "no cooler"),
            ("CCD_OFFSET", {"offset": 1}, "no offset"),
            ("CCD_FRAME", {"roi": (0, 0, 8, 8)}, "part of its sensor"),
            ("CCD_BIN", {"binning": 2}, "cannot bin"),
        ],
    )
    async def test_cameras_without(
        self, server: FakeIndigo, missing: str, values: dict[str, object], words: str
    ) -> None:
        del server.props[missing]
        with pytest.raises(BadProperty, match=words):
            await camera_of(server, **values).open()

    async def test_format_not_on_offer(self, server: FakeIndigo) -> None:
        server.props["CCD_IMAGE_FORMAT"]["items"].pop()
        with pytest.raises(BadProperty, match="does not deliver RAW; it has FITS"):
            await camera_of(server).open()

    async def test_bare_camera(self, server: FakeIndigo) -> None:
        for name in ("CCD_UPLOAD_MODE", "CCD_FRAME", "CCD_BIN", "CCD_GAIN", "CCD_OFFSET",
                     "CCD_EGAIN", "CCD_FRAME_TYPE", "CCD_TEMPERATURE", "CCD_COOLER",
                     "CCD_MODE"):  # fmt: skip
            if name not in ("CCD_FRAME", "CCD_BIN"):
                del server.props[name]
            else:
                server.props[name]["perm"] = "ro"
        camera = camera_of(server)
        await camera.open()
        exposure = await camera.expose(0.01, gain=100)
        assert exposure.gain is None
        assert exposure.temperature_c is None
        assert camera.capabilities.gain is None
        await camera.close()


class TestExpose:
    async def test_raw_takes_metadata_from_the_properties(
        self, camera: IndigoCamera, server: FakeIndigo
    ) -> None:
        before = datetime.now(UTC)
        exposure = await camera.expose(0.02, gain=120, frame_type="dark")
        assert before <= exposure.start <= datetime.now(UTC) - timedelta(seconds=0.02)
        assert exposure.pixels.shape == (12, 16)
        assert (exposure.exposure_s, exposure.gain, exposure.offset) == (0.02, 120, 0)
        assert (exposure.temperature_c, exposure.egain) == (21.5, 0.8)
        assert (exposure.frame_type, exposure.camera) == ("dark", CAM)
        assert exposure.saturation_adu == 65535
        assert server.http_gets == ["/blob/0xabc.raw"]
        again = await camera.expose(0.02)
        assert (again.gain, again.frame_type) == (120, "light")

    async def test_exposure_is_brought_within_limits(self, camera: IndigoCamera) -> None:
        assert (await camera.expose(1e-6)).exposure_s == 0.001

    async def test_fits(self, server: FakeIndigo) -> None:
        camera = camera_of(server, image_format="FITS")
        await camera.open()
        server.on_expose = serving(fits_image(server, 0.5, "2026-01-01T00:00:00"))
        exposure = await camera.expose(0.5)
        assert exposure.pattern == "GRBG"
        assert exposure.temperature_c == -5.5
        assert exposure.metadata["cards"]["DATE-OBS"] == "2026-01-01T00:00:00"
        assert exposure.start.year >= 2026  # our own clock, not DATE-OBS
        assert exposure.start > datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
        assert camera.capabilities.bayer == "GRBG"
        await camera.close()

    async def test_override_of_a_pattern_we_do_not_know(self, server: FakeIndigo) -> None:
        server.new_raw = (  # type: ignore[method-assign]
            lambda make=server.new_raw: make() + b"SIMPLE=T;BAYERPAT='CYGM';"
        )
        camera = camera_of(server)
        await camera.open()
        with pytest.raises(UnsupportedImage, match=r"'CYGM'.*camera\.bayer_pattern"):
            await camera.expose(0.01)
        await camera.close()
        camera = camera_of(server, bayer_pattern="MONO")
        await camera.open()
        assert (await camera.expose(0.01)).pattern is None
        await camera.close()

    async def test_pattern_override(self, server: FakeIndigo) -> None:
        for wanted, got in (("BGGR", "BGGR"), ("MONO", None)):
            camera = camera_of(server, image_format="FITS", bayer_pattern=wanted)
            await camera.open()
            server.on_expose = serving(fits_image(server, 0.5, f"2026-01-01T00:00:0{len(wanted)}"))
            assert (await camera.expose(0.5)).pattern == got
            await camera.close()

    async def test_bias_takes_whatever_the_camera_makes_of_it(
        self, camera: IndigoCamera, server: FakeIndigo
    ) -> None:
        async def shortest(server: FakeIndigo, target: float) -> None:
            await expose_normally(server, 0.001)

        server.on_expose = shortest
        exposure = await camera.expose(5, frame_type="bias")
        assert (exposure.exposure_s, exposure.frame_type) == (0.001, "bias")

    async def test_all_events_in_one_piece_with_countdown_and_redefinitions(
        self, camera: IndigoCamera, server: FakeIndigo
    ) -> None:
        async def at_once(server: FakeIndigo, target: float) -> None:
            server.image = server.new_raw()
            item = server.item("CCD_EXPOSURE", "EXPOSURE")
            item["target"] = target
            server.send(
                {"message": "Exposing"},
                server.message("CCD_EXPOSURE", "Busy", EXPOSURE=target),
                server.message("CCD_EXPOSURE", "Busy", EXPOSURE=target),
                server.image_message("Busy"),
                *server.define(),  # another client asks
                server.message("CCD_EXPOSURE", "Busy", EXPOSURE=3),
                '{"setTextVector": {"device": broken}}',
                server.image_message("Ok"),
                server.message("CCD_EXPOSURE", "Ok", EXPOSURE=0),
            )

        server.on_expose = at_once
        assert (await camera.expose(2.5)).exposure_s == 2.5

    async def test_absolute_url_of_a_chained_server(
        self, camera: IndigoCamera, server: FakeIndigo
    ) -> None:
        server.url = f"http://127.0.0.1:{server.port}/blob/0x1.raw?x=1"
        await camera.expose(0.01)
        assert server.http_gets == ["/blob/0x1.raw?x=1"]

    async def test_rehearsal_clock_shortens_waiting_and_dates_the_start(
        self, server: FakeIndigo
    ) -> None:
        clock = rehearsal(datetime(2027, 1, 1, tzinfo=UTC), rate=1000)
        camera = IndigoCamera("127.0.0.1", server.port, CAM, settings(), clock)
        await camera.open()
        server.on_expose = expose_forever
        started = time.monotonic()
        with pytest.raises(CameraTimeout):
            await camera.expose(100)
        assert time.monotonic() - started < 60
        server.on_expose = expose_normally
        camera.settings = camera.settings.model_copy(update={"timeout_s": 30.0})
        assert (await camera.expose(100)).start.year == 2027
        await camera.close()

    async def test_callers_wait_for_one_another(self, camera: IndigoCamera) -> None:
        first, second = await asyncio.gather(camera.expose(0.03), camera.expose(0.02))
        assert {first.exposure_s, second.exposure_s} == {0.03, 0.02}
        assert first.end <= second.start or second.end <= first.start

    async def test_not_open(self, server: FakeIndigo) -> None:
        with pytest.raises(NotConnected):
            await camera_of(server).expose(1)


class TestAbort:
    async def test_abort_ends_the_exposure_and_the_next_works(
        self, camera: IndigoCamera, server: FakeIndigo
    ) -> None:
        server.on_expose = expose_forever
        running = asyncio.create_task(camera.expose(50))
        await asyncio.sleep(0.1)
        await camera.abort()
        with pytest.raises(ExposureAborted):
            await running
        await camera.abort()  # idle: nothing to do
        server.on_expose = expose_normally
        assert (await camera.expose(0.01)).pixels.shape == (12, 16)

    async def test_cancelled_caller_aborts(self, camera: IndigoCamera, server: FakeIndigo) -> None:
        server.on_expose = expose_forever
        running = asyncio.create_task(camera.expose(50))
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.1)
        assert server.requests[-1][1] == "CCD_ABORT_EXPOSURE"
        server.on_expose = expose_normally
        assert (await camera.expose(0.01)).exposure_s == 0.01


async def no_answer(server: FakeIndigo, target: float) -> None:
    pass


async def fails(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    alert = server.message("CCD_EXPOSURE", "Alert", EXPOSURE=0)
    alert["setNumberVector"]["message"] = "Exposure failed"
    server.send(server.image_message("Busy"), alert)


async def unplugged(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    await asyncio.sleep(0.02)
    server.send({"deleteProperty": {"device": CAM}}, {"deleteProperty": {"device": CAM}})


async def disconnected(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    await asyncio.sleep(0.02)
    server.disconnect()


async def crash(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    await asyncio.sleep(0.02)
    server.drop_clients()


async def without_value(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    server.url = ""
    server.done()


async def local_only(server: FakeIndigo, target: float) -> None:
    server.item("CCD_EXPOSURE", "EXPOSURE")["target"] = target
    server.send(server.message("CCD_EXPOSURE", "Busy", EXPOSURE=target))
    server.send(server.message("CCD_EXPOSURE", "Ok", EXPOSURE=0))


async def http_404(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    server.image = None
    server.done()


async def stale_ok_only(server: FakeIndigo, target: float) -> None:
    """An Ok that followed no Busy is no new image."""
    server.image = server.new_raw()
    server.send(server.image_message("Ok"), server.message("CCD_EXPOSURE", "Ok", EXPOSURE=0))


async def foreign_target(server: FakeIndigo, target: float) -> None:
    server.busy(target * 3)


async def foreign_change(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    server.send(server.message("CCD_GAIN", GAIN=333))
    server.image = server.new_raw()
    server.done()


async def truncated(server: FakeIndigo, target: float) -> None:
    server.cut_body = 50
    await expose_normally(server, target)


async def cut_on_disk(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    server.image = server.new_raw()[:-50]
    server.done()


async def wrong_length(server: FakeIndigo, target: float) -> None:
    server.content_length = 100
    await expose_normally(server, target)


async def gigantic(server: FakeIndigo, target: float) -> None:
    server.content_length = 10**12
    await expose_normally(server, target)


async def other_size(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    server.image = b"RAW2" + bytes([8, 0, 0, 0, 6, 0, 0, 0]) + bytes(96)
    server.done()


async def other_depth(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    server.image = b"RAW1" + bytes([16, 0, 0, 0, 12, 0, 0, 0]) + bytes(192)
    server.done()


async def other_format(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    server.image = fits_image(server, target, "2026-01-01T00:00:00")
    server.done()


async def jpeg(server: FakeIndigo, target: float) -> None:
    server.busy(target)
    server.image = b"\xff\xd8\xff\xe0" + bytes(300)
    server.done()


async def odd_url(server: FakeIndigo, target: float) -> None:
    server.url = "ftp://elsewhere/blob"
    await expose_normally(server, target)


FAULTS: list[tuple[Script, type[CameraError], str]] = [
    (no_answer, DroppedRequest, "dropped-request"),
    (stale_ok_only, DroppedRequest, "dropped-request"),
    (fails, CameraAlert, "alert"),
    (expose_forever, CameraTimeout, "timeout"),
    (unplugged, DeviceGone, "device-gone"),
    (disconnected, DeviceGone, "device-gone"),
    (crash, ServerGone, "server-gone"),
    (without_value, NoImage, "no-image"),
    (local_only, NoImage, "no-image"),
    (http_404, NoImage, "no-image"),
    (foreign_target, ForeignUse, "foreign-use"),
    (foreign_change, ForeignUse, "foreign-use"),
    (truncated, TruncatedImage, "truncated-image"),
    (cut_on_disk, TruncatedImage, "truncated-image"),
    (wrong_length, TruncatedImage, "truncated-image"),
    (gigantic, OversizedImage, "oversized-image"),
    (other_size, MislabelledImage, "mislabelled-image"),
    (other_depth, MislabelledImage, "mislabelled-image"),
    (other_format, MislabelledImage, "mislabelled-image"),
    (jpeg, UnsupportedImage, "unsupported-image"),
    (odd_url, UnsupportedImage, "unsupported-image"),
]


class TestFaults:
    @pytest.mark.parametrize(
        ("script", "error", "name"), FAULTS, ids=[script.__name__ for script, _, _ in FAULTS]
    )
    async def test_each_fault_has_its_name_and_is_recovered_from(
        self, server: FakeIndigo, script: Script, error: type[CameraError], name: str
    ) -> None:
        camera = camera_of(server)
        await camera.open()
        await camera.expose(0.01)
        server.on_expose = script
        with pytest.raises(error) as caught:
            await camera.expose(0.02)
        assert caught.value.name == name
        assert CAM in str(caught.value) or "127.0.0.1" in str(caught.value)
        await self._mend(server)
        await camera.open()
        exposure = await camera.expose(0.01)
        assert exposure.pixels.shape == (12, 16)
        await camera.close()

    async def _mend(self, server: FakeIndigo) -> None:
        server.on_expose = expose_normally
        server.cut_body, server.content_length, server.url = 0, None, "/blob/0xabc.raw"
        if server.exposing is not None:
            server.exposing.cancel()
        if server.props["CCD_EXPOSURE"]["state"] != "Ok":
            server.send(server.message("CCD_EXPOSURE", "Ok", EXPOSURE=0))
        await asyncio.sleep(0.05)

    async def test_stalled_server_is_waited_for(
        self, camera: IndigoCamera, server: FakeIndigo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def stalled(server: FakeIndigo, target: float) -> None:
            await asyncio.sleep(0.6)
            await expose_normally(server, target)

        monkeypatch.setattr(camera_module, "STALL_WAIT_S", 5.0)
        monkeypatch.setattr(server, "define", lambda names=None: [])  # answers nothing meanwhile
        server.on_expose = stalled
        assert (await camera.expose(0.01)).exposure_s == 0.01

    async def test_server_that_answers_nothing_has_dropped_the_request(
        self, camera: IndigoCamera, server: FakeIndigo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "define", lambda names=None: [])
        server.on_expose = no_answer
        with pytest.raises(DroppedRequest):
            await camera.expose(0.01)

    async def test_timeout_aborts_the_exposure(
        self, camera: IndigoCamera, server: FakeIndigo
    ) -> None:
        server.on_expose = expose_forever
        with pytest.raises(CameraTimeout):
            await camera.expose(0.02)
        assert server.requests[-1][1] == "CCD_ABORT_EXPOSURE"
        server.on_expose = expose_normally
        await camera.expose(0.01)

    async def test_camera_that_does_not_even_abort_is_disconnected(
        self, camera: IndigoCamera, server: FakeIndigo
    ) -> None:
        server.on_expose = expose_forever
        server.ignore.add("CCD_ABORT_EXPOSURE")
        with pytest.raises(CameraTimeout):
            await camera.expose(0.02)
        assert server.requests[-1][1:] == ("CONNECTION", {"DISCONNECTED": True})
        assert not camera.is_open

    async def test_stalled_download(
        self, camera: IndigoCamera, server: FakeIndigo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def stall(*_: object) -> None:
            await asyncio.sleep(30)

        monkeypatch.setattr(server, "_http", stall)
        with pytest.raises(CameraTimeout, match="did not arrive"):
            await camera.expose(0.01)

    async def test_someone_else_is_exposing(self, camera: IndigoCamera, server: FakeIndigo) -> None:
        server.busy(60)
        await asyncio.sleep(0.05)
        with pytest.raises(ForeignUse, match="CCD_EXPOSURE is Busy"):
            await camera.expose(0.01)

    async def test_settings_changed_by_others_are_put_back(
        self, camera: IndigoCamera, server: FakeIndigo, caplog: pytest.LogCaptureFixture
    ) -> None:
        await camera.expose(0.01)
        server.send(server.message("CCD_IMAGE_FORMAT", RAW=False, FITS=True))
        await asyncio.sleep(0.05)
        exposure = await camera.expose(0.01)
        assert exposure.metadata["format"] == "RAW"
        assert server.value("CCD_IMAGE_FORMAT", "RAW") is True
        assert "CCD_IMAGE_FORMAT" in caplog.text

    async def test_unplugged_while_idle(self, camera: IndigoCamera, server: FakeIndigo) -> None:
        server.send({"deleteProperty": {"device": CAM}})
        await asyncio.sleep(0.05)
        with pytest.raises(DeviceGone):
            await camera.expose(0.01)
        assert not camera.is_open
        assert camera.capabilities.width == 16  # as last seen

    async def test_stale_url_after_reconnect_is_no_new_image(self, server: FakeIndigo) -> None:
        camera = camera_of(server)
        await camera.open()
        await camera.expose(0.01)
        server.disconnect()
        await camera.close()
        await camera.open()  # defBLOBVector now shows Ok with the old URL
        server.on_expose = no_answer
        with pytest.raises(DroppedRequest):
            await camera.expose(0.01)
        await camera.close()


class TestStale:
    async def test_same_bytes_twice(self, camera: IndigoCamera, server: FakeIndigo) -> None:
        image = server.new_raw()
        server.on_expose = serving(image, image, server.new_raw())
        await camera.expose(0.01)
        with pytest.raises(StaleImage, match="twice"):
            await camera.expose(0.01)
        await camera.expose(0.01)

    async def test_saturated_frames_are_equal_without_being_stale(
        self, camera: IndigoCamera, server: FakeIndigo
    ) -> None:
        white = server.new_raw()[:12] + b"\0\0" * 5 + b"\xff\xff" * (16 * 12 - 5)
        server.on_expose = serving(white, white)
        await camera.expose(0.01)
        assert (await camera.expose(0.01)).pixels.max() == 65535

    async def test_same_date_or_other_exposure_time(self, server: FakeIndigo) -> None:
        camera = camera_of(server, image_format="FITS")
        await camera.open()
        server.on_expose = serving(
            fits_image(server, 0.5, "2026-01-01T00:00:00"),
            fits_image(server, 0.5, "2026-01-01T00:00:00"),
            fits_image(server, 0.25, "2026-01-01T00:00:02.5"),
            fits_image(server, 0.5, "2026-01-01T00:00:04.25"),
        )
        await camera.expose(0.5)
        with pytest.raises(StaleImage, match="twice"):
            await camera.expose(0.5)
        with pytest.raises(StaleImage, match=r"0\.25 s"):
            await camera.expose(0.5)
        await camera.expose(0.5)
        await camera.close()
