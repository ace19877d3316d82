"""Nights made again: as frame after frame, whatever the workers; resumed; never half shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from allsky360.archive import Archive, FrameRef, group
from allsky360.archive.layout import current_version, night_folder
from allsky360.archive.versions import read_record, versions, write_record
from allsky360.config import Settings
from allsky360.errors import AllskyError
from allsky360.model import Site
from allsky360.processing import process_archived_frame
from allsky360.reprocess import remote
from allsky360.reprocess.places import Places
from allsky360.reprocess.plan import NightJob, plan_night, plan_nights
from allsky360.reprocess.remote import Recipe
from allsky360.reprocess.run import Progress, reprocess
from tests.reprocess.conftest import append_frames

Give = Callable[[int], Any]
CLEAR = {"processing.profile": "clear"}


def plan(settings: Settings, ref: FrameRef, changes: Any = CLEAR, again: bool = False) -> NightJob:
    job = plan_night(settings.storage.root, ref.camera, ref.night, settings, changes, again=again)
    assert job is not None
    return job


def frame_of(root: Path, version: str, ref: FrameRef) -> tuple[Any, ...]:
    archive = Archive(root, version)
    record = archive.record(ref)
    picture = archive.picture(ref)
    assert picture is not None
    return record["scalars"], record["provenance"]["tone"], picture.read_bytes()


def test_the_result_is_that_of_frame_after_frame_whatever_the_workers(
    settings: Settings, night: list[FrameRef], cluster: Give
) -> None:
    root, ref = settings.storage.root, night[0]
    for frame in night:
        process_archived_frame(root, frame, settings)
    before = [frame_of(root, "v0001", r) for r in night]
    made = {}
    for workers in (1, 3):
        job = plan(settings, ref, {}, again=True)
        (result,) = reprocess(cluster(workers), root, [job])
        assert (result.made, result.failed, result.switched) == (len(night), {}, True)
        made[workers] = [frame_of(root, job.version, r) for r in night]
    assert made[1] == made[3] == before
    assert current_version(night_folder(root, ref.camera, ref.night)) == "v0003"
    tones = [tone["radiance"] for _, tone, _ in made[3]]
    assert len(set(tones)) == len(tones)


def test_a_frame_begun_again_elsewhere_is_the_same(
    settings: Settings, night: list[FrameRef]
) -> None:
    root, first, ref = settings.storage.root, night[0], night[1]
    recipe = Recipe(root, plan(settings, ref, {}).version, settings, 0)
    piece = remote.begin(recipe, first)
    memory = remote.measure(recipe, piece, None)
    tone = remote.picture(recipe, piece, None, None)
    piece = remote.begin(recipe, ref)
    stages = (remote.measure(recipe, piece, memory), remote.picture(recipe, piece, memory, tone))
    remote.store(recipe, piece, memory, tone)
    stored = frame_of(root, recipe.version, ref)
    for function in (remote.store, remote.picture):  # where its worker died before this stage
        function(recipe, remote.begin(recipe, ref), memory, tone)
    assert frame_of(root, recipe.version, ref) == stored
    assert remote.measure(recipe, remote.begin(recipe, ref), memory) == stages[0]
    assert remote.picture(recipe, remote.begin(recipe, ref), memory, tone) == stages[1]


def test_frames_go_where_the_fewest_are(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cluster:
        workers: ClassVar[list[str]] = []

        def scheduler_info(self, n_workers: int) -> dict[str, Any]:
            return {"workers": dict.fromkeys(self.workers)}

    monkeypatch.setattr("allsky360.reprocess.places.FRESH_S", 0.0)
    places = Places(Cluster())  # type: ignore[arg-type]
    assert places.take() is None
    places.free(None)
    Cluster.workers = ["a", "b"]
    assert [places.take() for _ in range(4)] == ["a", "b", "a", "b"]
    places.free("b")
    assert places.take() == "b"
    Cluster.workers = ["b", "c"]  # one died, another came
    assert [places.take() for _ in range(3)] == ["c", "c", "b"]


def test_readers_see_the_old_version_until_the_new_one_is_whole(
    settings: Settings, night: list[FrameRef], cluster: Give
) -> None:
    root, ref = settings.storage.root, night[0]
    folder = night_folder(root, ref.camera, ref.night)
    for frame in night:
        process_archived_frame(root, frame, settings)
    seen = []

    def look(progress: Progress) -> None:
        seen.append((current_version(folder), progress.done, progress.total))

    job = plan(settings, ref)
    reprocess(cluster(3), root, [job], report=look)
    assert {version for version, done, _ in seen if done < len(night)} == {"v0001"}
    assert [done for _, done, _ in seen] == list(range(1, len(night) + 1))
    assert current_version(folder) == "v0002"
    record = read_record(folder, "v0002")
    assert record is not None
    assert record.whole_at is not None
    assert (record.frames, record.failed, record.overrides) == (len(night), (), CLEAR)
    steps = Archive(root).record(ref)["provenance"]["steps"]
    tone = next(s for s in steps if s["name"] == "tone")
    assert tone["parameters"]["profiles"] == {"clear": 1.0}
    assert versions(folder) == ["v0001", "v0002"]


class Stopped(Exception):
    """Stands for a kill."""


def test_a_killed_run_goes_on_and_ends_with_the_same_frames(
    settings: Settings, night: list[FrameRef], cluster: Give
) -> None:
    root, ref = settings.storage.root, night[0]
    whole = plan(settings, ref, {})
    reprocess(cluster(3), root, [whole])

    def stop(progress: Progress) -> None:
        if progress.done == 3:
            raise Stopped

    job = plan(settings, ref, {}, again=True)
    with pytest.raises(Stopped):
        reprocess(cluster(3), root, [job], report=stop)
    folder = night_folder(root, ref.camera, ref.night)
    assert current_version(folder) == whole.version
    # a frame in the middle was lost with its worker: later ones are there already
    store = folder / f"{job.version}.zarr"
    times = group.chunk_path(store, "time", 0, group.Root.load(store).arrays["time"])
    data = bytearray(times.read_bytes())
    data[8:16] = (-1).to_bytes(8, "little", signed=True)
    times.write_bytes(bytes(data))

    resumed = plan(settings, ref, {}, again=True)
    assert (resumed.version, resumed.resumed) == (job.version, True)
    (result,) = reprocess(cluster(1), root, [resumed])
    assert 0 < result.made < len(night)
    assert result.switched
    for frame in night:
        assert frame_of(root, job.version, frame) == frame_of(root, whole.version, frame)


def test_other_settings_begin_a_version_of_their_own_and_equal_ones_nothing(
    settings: Settings, night: list[FrameRef], cluster: Give
) -> None:
    root, ref = settings.storage.root, night[0]
    job = plan(settings, ref)
    reprocess(cluster(1), root, [job])
    assert plan_night(root, ref.camera, ref.night, settings, CLEAR) is None
    other = plan(settings, ref, {"processing.profile": "moonlit"})
    assert (other.version, other.resumed) == ("v0002", False)
    assert plan(settings, ref, {"processing.profile": "moonlit"}).resumed
    assert plan(settings, ref, {"processing.debayer": "bilinear"}).version == "v0003"


def test_frames_that_come_meanwhile_are_made_too_and_later_ones_as_the_version_is(
    settings: Settings, night: list[FrameRef], site: Site, cluster: Give
) -> None:
    root, ref = settings.storage.root, night[0]
    for frame in night:
        process_archived_frame(root, frame, settings)
    came: list[FrameRef] = []

    def arrive(progress: Progress) -> None:
        if not came:
            came.extend(append_frames(root, site, len(night), 2))

    (result,) = reprocess(cluster(3), root, [plan(settings, ref)], report=arrive)
    assert (result.frames, result.switched) == (len(night) + 2, True)
    (late,) = append_frames(root, site, len(night) + 2, 1)
    process_archived_frame(root, late, settings)
    archive = Archive(root)
    assert archive.unprocessed(ref.camera, ref.night) == []
    steps = archive.record(late)["provenance"]["steps"]
    assert next(s for s in steps if s["name"] == "tone")["parameters"]["profiles"] == {"clear": 1.0}


def test_a_frame_that_cannot_be_read_is_named_and_keeps_what_is_shown(
    settings: Settings, night: list[FrameRef], cluster: Give
) -> None:
    root, ref = settings.storage.root, night[0]
    folder = night_folder(root, ref.camera, ref.night)
    for frame in night:
        process_archived_frame(root, frame, settings)
    group.image_path(folder / "raw.zarr", "raw", 2, 0, bands=False).write_bytes(b"broken")
    (result,) = reprocess(cluster(3), root, [plan(settings, ref)])
    assert list(result.failed) == [2]
    assert "damaged" in result.failed[2]
    assert (result.lost, result.switched, result.made) == ((2,), False, len(night) - 1)
    assert current_version(folder) == "v0001"
    (result,) = reprocess(
        cluster(3), root, [plan(settings, ref)], switch_anyway=True, drop_old=True
    )
    assert result.switched
    assert versions(folder) == ["v0002"]
    record = read_record(folder, "v0002")
    assert record is not None
    assert [f.index for f in record.failed] == [2]


def test_a_night_that_lost_its_raw_frames_holds_up_no_other(
    settings: Settings, night: list[FrameRef], site: Site
) -> None:
    from datetime import UTC, datetime

    from allsky360.archive.removed import note_removed

    root = settings.storage.root
    (other,) = append_frames(root, site, 0, 1, days=1)
    note_removed(night_folder(root, night[0].camera, night[0].night), "raw", datetime.now(UTC))
    nights = [(night[0].camera, night[0].night), (other.camera, other.night)]
    made = plan_nights(root, nights, settings, {})
    assert made.failed == 1
    assert [j.night for j in made.jobs] == [other.night]
    assert "removed" in made.said[0]


def test_two_runs_do_not_make_the_same_version(
    settings: Settings, night: list[FrameRef], cluster: Give
) -> None:
    job = plan(settings, night[0])
    found: list[str] = []

    def second(_: Progress) -> None:
        if not found:
            (result,) = reprocess(cluster(1), settings.storage.root, [job])
            found.append(result.error)

    reprocess(cluster(1), settings.storage.root, [job], report=second)
    assert "another process" in found[0]


def test_a_damaged_record_is_one_clear_error(settings: Settings, night: list[FrameRef]) -> None:
    job = plan(settings, night[0])
    folder = job.folder(settings.storage.root)
    write_record(folder, job.record)
    (folder / job.version / "version.json").write_text("{}")
    with pytest.raises(AllskyError, match=r"version\.json is damaged"):
        read_record(folder, job.version)
