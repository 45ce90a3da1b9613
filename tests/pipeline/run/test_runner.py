"""Whole runs over tiny media: what is kept, what is done again, and that the store tells nothing of it.

Runs with one worker share one clip process, in which the networks are loaded once for all tests.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cache import FeatureStore, PartStore, StorageError
from cache.parts import ClipKey
from pipeline.clip_source import ClipSource
from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, LimitsConfig, VisualConfig
from pipeline.errors import ExtractionError, ManifestError, WeightsError
from pipeline.feature_spec import feature_spec
from pipeline.run import extraction_run, runner
from pipeline.run.clip_supervisor import clip_process
from pipeline.run.clip_task import ClipTask, MediaState
from pipeline.run.clip_worker import failed
from pipeline.run.engine import LocalEngine, LostWorkersError
from pipeline.run.extraction_report import ClipOutcome, ExtractionReport
from pipeline.run.finished_clips import FinishedClips
from pipeline.run.runner import RunOptions, extract_features
from pipeline.run.running_clips import RunningClips

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
TINY = HERE.parent  # has the tiny backbones
# What a run does with clips does not depend on the backbones.
CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights=""),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
    batch_size=16,
)
CLIPS = ("a/face", "a/noise", "b", "c", "d")


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """The tiny backbones can be imported, here and in the processes that this one starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TINY))
        clip_process().close()  # one of an earlier test could not import them
        yield
        clip_process().close()


@pytest.fixture(scope="module")
def media(
    tmp_path_factory: pytest.TempPathFactory, draw_face: Callable[..., Any], write_media: Callable[..., None]
) -> Path:
    """Five clips of 6 to 12 frames: a face and a tone, noise alone, three silent and grey."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "a").mkdir()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000)[None].astype(np.float32)
    face, _ = draw_face((160, 200), (80, 100), 130.0)
    write_media(folder / "a" / "face.mp4", [face] * 12, [frame / 25 for frame in range(12)], samples=tone)
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32)
    grey = np.full((64, 96, 3), 90, np.uint8)
    write_media(folder / "a" / "noise.mp4", [grey] * 12, [frame / 25 for frame in range(12)], samples=noise)
    for number, name in enumerate("bcd"):
        write_media(
            folder / f"{name}.mp4", [grey + number] * (6 + number), [f / 25 for f in range(6 + number)]
        )
    return folder


@pytest.fixture
def source(media: Path, tmp_path: Path) -> Path:
    """A copy of the media that a test may spoil."""
    return shutil.copytree(media, tmp_path / "media")


@dataclasses.dataclass
class Place:
    """Where a test's runs write."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "features.zarr"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def run(self, source: Path, config: ExtractConfig = CONFIG, **options: Any) -> ExtractionReport:
        options = {"workers": 1, "device": "cpu", "work_dir": self.work} | options
        return extract_features(source, "videos", self.store, config, RunOptions(**options))

    def report(self) -> dict[str, Any]:
        return json.loads((self.root / "extraction_report.json").read_text())

    def parts(self) -> PartStore:
        return PartStore(self.work / "parts")

    def keys(self) -> dict[str, ClipKey]:
        """Keys of the parts that lie there, by clip id, read from the parts themselves."""
        keys = {}
        for path in self.work.glob("parts/*/*.npz"):
            with np.load(path) as archive:
                key = ClipKey(**json.loads(archive["key.json"]))
            keys[key.clip_id] = key
        return keys


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    place.run(media)
    return place


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads, "a run left another number of threads behind"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def statuses(report: ExtractionReport) -> dict[str, str]:
    return {clip.clip_id: clip.status for clip in report.clips}


def resume_from(undisturbed: Place, place: Place) -> None:
    shutil.copytree(undisturbed.work, place.work, dirs_exist_ok=True)


def test_store_holds_every_clip_in_manifest_order(undisturbed: Place) -> None:
    store = FeatureStore.open(undisturbed.store)
    assert store.clip_ids == CLIPS
    assert store["a/face"].face_found.all()
    assert store["a/face"].visual.any()
    assert store["a/noise"].audio_found.all()
    assert not store["b"].audio_found.any()
    assert [len(store[clip].time_s) for clip in CLIPS] == [12, 12, 6, 7, 8]
    facts = store["c"].facts
    assert len(facts["code_digest"]) == 64
    assert facts["media"]["width"] == 96
    assert facts["machine"]


def test_report_lies_beside_the_store(undisturbed: Place) -> None:
    totals = undisturbed.report()["totals"]
    assert (totals["num_clips"], totals["num_extracted"], totals["num_failed"]) == (5, 5, 0)
    assert (totals["num_frames"], totals["num_face_frames"], totals["num_audio_frames"]) == (45, 12, 24)
    assert totals["extracted_frames_per_s"] > 0
    idle = {stage for stage, seconds in totals["stage_seconds"].items() if seconds == 0}
    assert idle == {"clip_streams"}


def test_finished_clips_are_kept_and_the_store_is_the_same(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume_from(undisturbed, place)
    for clip in ("a/noise", "d"):
        place.parts().discard(place.keys()[clip])
    report = place.run(media)
    assert [clip for clip, status in statuses(report).items() if status == "extracted"] == ["a/noise", "d"]
    assert contents(place.store) == contents(undisturbed.store)
    monkeypatch.setattr(extraction_run, "extract_and_commit", None)  # nothing is left to extract
    report = place.run(media)
    assert set(statuses(report).values()) == {"kept"}
    assert [clip.num_frames for clip in report.clips] == [12, 12, 6, 7, 8]
    assert contents(place.store) == contents(undisturbed.store)


def test_workers_are_told_where_media_lie_whatever_folder_they_are_in(
    place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[ClipTask] = []

    def refuse(task: ClipTask) -> ClipOutcome:
        tasks.append(task)
        return failed(task, "worker", "not wanted")

    monkeypatch.setattr(extraction_run, "extract_and_commit", refuse)
    monkeypatch.chdir(media.parent)
    with pytest.raises(ExtractionError, match="5 of 5 clips failed"):
        place.run(Path(media.name))
    assert len(tasks) == 5
    for task in tasks:
        assert task.source.media.is_absolute()
        assert task.source.media.is_file()


KILLED_AFTER_FIRST_CLIP = """
import os, signal, sys
from pathlib import Path
from pipeline.run import progress
from pipeline.run import runner
import test_runner

def kill(self, outcome):
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    progress.ExtractionProgress.add = kill
    source, store, work = map(Path, sys.argv[1:])
    options = runner.RunOptions(work_dir=work, workers=2, device="cpu")
    runner.extract_features(source, "videos", store, test_runner.CONFIG, options)
"""


def test_killed_run_leaves_no_worker_and_resumes_to_the_same_bytes(
    undisturbed: Place, place: Place, media: Path, tmp_path: Path, lifeline: Any
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED_AFTER_FIRST_CLIP)
    # Workers hold the pipe of standard output: run() returns when the last one has ended.
    killed = subprocess.run(
        [sys.executable, str(script), str(media), str(place.store), str(place.work)],
        cwd=ROOT,
        env={
            "PYTHONPATH": os.pathsep.join(map(str, (TINY, HERE, ROOT))),
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "OMP_NUM_THREADS": "1",
            **lifeline.environment,
        },
        stdout=subprocess.PIPE,
        timeout=600,
        check=False,
    )
    assert killed.returncode == -9
    # What works on clips does not hold the pipe, and may be about to finish one.
    assert lifeline.all_ended()
    assert not place.store.exists()
    finished = place.keys()
    assert 1 <= len(finished) <= 5
    report = place.run(media)
    assert {clip for clip, status in statuses(report).items() if status == "kept"} == set(finished)
    assert contents(place.store) == contents(undisturbed.store)


def test_other_media_or_settings_are_extracted(undisturbed: Place, place: Place, source: Path) -> None:
    resume_from(undisturbed, place)
    shutil.copy(source / "c.mp4", source / "d.mp4")
    report = place.run(source)
    assert [clip for clip, status in statuses(report).items() if status == "extracted"] == ["d"]
    report = place.run(source, dataclasses.replace(CONFIG, audio=AudioConfig(anchor="end")))
    assert set(statuses(report).values()) == {"extracted"}
    assert FeatureStore.open(place.store).spec.settings["audio.anchor"] == "end"


def test_a_failing_clip_does_not_stop_the_others(undisturbed: Place, place: Place, source: Path) -> None:
    resume_from(undisturbed, place)
    (source / "b.mp4").write_bytes(b"no video at all")
    keys = place.keys()
    place.parts().discard(keys["d"])
    with pytest.raises(
        ExtractionError, match=r"1 of 5 clips failed \(allowed: 0\), first 'b' at decode"
    ) as caught:
        place.run(source)
    assert "4 finished clips are kept" in str(caught.value)
    assert str(place.root / "extraction_report.json") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not place.store.exists()
    (failed,) = [clip for clip in place.report()["clips"] if clip["status"] == "failed"]
    assert (failed["clip_id"], failed["failed_stage"]) == ("b", "decode")
    assert failed["error"].startswith("MediaError: ")
    assert keys["d"] in place.parts()

    report = place.run(source, max_failures=1)
    assert FeatureStore.open(place.store).clip_ids == ("a/face", "a/noise", "c", "d")
    assert [clip.clip_id for clip in report.failures] == ["b"]


def test_a_run_without_a_healthy_clip_writes_no_store(place: Place, source: Path) -> None:
    shutil.rmtree(source)
    source.mkdir()
    (source / "x.mp4").write_bytes(b"")
    with pytest.raises(ExtractionError, match="1 of 1 clips failed"):
        place.run(source, max_failures=5)
    assert not place.store.exists()


def recommit(place: Place, clip_id: str, digest: str, change: float = 0.0) -> None:
    """Make a part look as if other code had made it."""
    key = place.keys()[clip_id]
    part = place.parts().read(key)
    streams = {
        name: (rows + np.float16(change) * (rows != 0)).astype(np.float16)
        for name, rows in part.features.streams.items()
    }
    features = dataclasses.replace(part.features, streams=streams)
    place.parts().commit(key, features, {**part.facts, "code_digest": digest})


def test_parts_of_refactored_code_are_kept_after_a_check(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume_from(undisturbed, place)
    for clip in CLIPS:
        recommit(place, clip, "0" * 64)
    before = contents(place.work / "parts")
    report = place.run(media)
    assert set(statuses(report).values()) == {"kept"}
    assert len(report.notes) == 1
    assert "made 5 finished clips" in report.notes[0]
    assert report.notes[0].endswith("3 extracted again are equal; all are kept")
    assert contents(place.work / "parts") == before
    monkeypatch.setattr(extraction_run, "extract_and_compare", None)  # remembered: no second check
    assert place.run(media).notes == ()


def test_parts_of_changed_code_are_extracted_again(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume_from(undisturbed, place)
    for clip in CLIPS[:4]:
        recommit(place, clip, "0" * 64, change=0.25)
    # Even where the run ends before it gets there, they are gone: a later check might not meet what differs.
    with monkeypatch.context() as patched:
        patched.setattr(extraction_run, "extract_and_commit", None)
        with pytest.raises(TypeError):
            place.run(media)
    assert list(place.keys()) == ["d"]
    resume_from(undisturbed, place)
    for clip in CLIPS[:4]:
        recommit(place, clip, "0" * 64, change=0.25)
    report = place.run(media)
    assert [clip for clip, status in statuses(report).items() if status == "extracted"] == list(CLIPS[:4])
    assert "all are extracted again" in report.notes[0]
    assert contents(place.store) == contents(undisturbed.store)


def test_a_check_that_cannot_be_done_discards_nothing(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume_from(undisturbed, place)
    for clip in CLIPS:
        recommit(place, clip, "0" * 64)
    before = contents(place.work / "parts")
    stricter = dataclasses.replace(CONFIG, limits=LimitsConfig(frames=2))
    with pytest.raises(
        ExtractionError, match=r"clip '.*' could not be extracted again, .*: MediaError: .* clips are kept"
    ):
        place.run(media, stricter)
    assert contents(place.work / "parts") == before


def test_the_report_is_of_this_run_even_where_packing_fails(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume_from(undisturbed, place)

    def fail(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(runner, "pack_store", fail)
    with pytest.raises(StorageError, match="no space left"):
        place.run(media)
    assert place.report()["packed"] is False
    assert place.report()["totals"]["num_kept"] == 5


def test_damaged_parts_are_extracted_again(undisturbed: Place, place: Place, media: Path) -> None:
    resume_from(undisturbed, place)
    keys, parts = place.keys(), place.parts()
    cut, flipped = parts.path(keys["a/noise"]), parts.path(keys["a/face"])
    cut.write_bytes(cut.read_bytes()[:1000])
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1  # in the middle of the rows
    flipped.write_bytes(data)
    with pytest.raises(ExtractionError, match=r"1 finished clips were damaged on the disk and are discarded"):
        place.run(media)
    report = place.run(media)
    assert statuses(report)["a/face"] == "extracted"
    assert statuses(report)["a/noise"] == "kept"
    assert contents(place.store) == contents(undisturbed.store)


def test_weights_that_do_not_fit_end_the_run_at_once(place: Place, media: Path, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "wrong.pth")
    config = dataclasses.replace(
        CONFIG, visual=VisualConfig(backbone="resnet50", weights=str(tmp_path / "wrong.pth"))
    )
    with pytest.raises(WeightsError, match=r"wrong\.pth: expected the \d+ tensors of ResNet50"):
        place.run(media, config)


def test_full_disk_ends_the_run_at_once(place: Place, media: Path) -> None:
    place.parts().write_spec(feature_spec(CONFIG))
    clip_process().close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # for the clip process, which inherits it
    try:
        with pytest.raises(StorageError, match=r"the part of clip 'a/face' .* File too large; free space"):
            place.run(media)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        clip_process().close()
    assert place.keys() == {}
    assert not list(place.work.rglob("*.tmp"))


def test_unreadable_media_are_failures(undisturbed: Place, place: Place, source: Path) -> None:
    resume_from(undisturbed, place)
    (source / "c.mp4").unlink()
    (source / "c.mp4").symlink_to(source / "gone.mp4")
    with pytest.raises(
        ExtractionError, match=r"1 of 5 clips failed .* first 'c' at digest: FileNotFoundError"
    ):
        place.run(source)


def test_media_written_to_while_they_are_read_are_failures(
    undisturbed: Place, place: Place, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume_from(undisturbed, place)
    place.parts().discard(place.keys()["b"])

    def touched(path: Path) -> MediaState:
        state = MediaState.of(path)
        return (
            dataclasses.replace(state, modified_ns=state.modified_ns - 1) if path.name == "b.mp4" else state
        )

    class Earlier:
        of = staticmethod(touched)

    monkeypatch.setattr(extraction_run, "MediaState", Earlier)
    with pytest.raises(
        ExtractionError, match=r"first 'b' at rows: .* was written to while it was read; run again"
    ):
        place.run(source)
    assert sorted(place.keys()) == ["a/face", "a/noise", "c", "d"]


def test_progress_and_notes_go_to_standard_error(
    undisturbed: Place,
    place: Place,
    media: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a busy machine there would be lines in between.
    monkeypatch.setattr("pipeline.run.progress.SECONDS_BETWEEN_LINES", float("inf"))
    resume_from(undisturbed, place)
    recommit(place, "b", "0" * 64)
    place.parts().discard(place.keys()["c"])
    place.run(media, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    note, last = captured.err.splitlines()
    assert "1 extracted again are equal" in note
    assert last.startswith("extract: 1/1 clips, ")


class DyingOnce(LocalEngine):
    """Loses its workers when two clips are begun; one of these kills every worker it is given to."""

    def __init__(self) -> None:
        super().__init__(1)
        self.tried_alone: list[str] = []
        self._is_fresh = True

    def results(self, work: Any, tasks: Any) -> Any:
        if self._is_fresh:
            self._is_fresh = False
            for task in tasks[:2]:
                RunningClips(task.running).begin(task.key.digest)
            raise LostWorkersError("both are gone")
        return super().results(work, tasks)

    def alone(self, work: Any, task: Any) -> Any:
        self.tried_alone.append(task.source.clip_id)
        if task.source.clip_id == "a/noise":
            raise LostWorkersError("gone again")
        return work(task)


def test_clips_of_dead_workers_are_tried_alone_and_no_neighbour_is_blamed(
    place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DyingOnce()
    monkeypatch.setattr(runner, "_engine", lambda _: engine)
    report = place.run(media, max_failures=1)
    assert engine.tried_alone == ["a/face", "a/noise", "a/noise"]
    assert [clip.clip_id for clip in report.failures] == ["a/noise"]
    assert report.count("extracted") == 4


def test_workers_that_never_begin_end_the_run(
    place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DyingOnce()
    monkeypatch.setattr(runner, "_engine", lambda _: engine)

    def results(work: Any, tasks: Any) -> Any:
        raise LostWorkersError("no memory")

    monkeypatch.setattr(engine, "results", results)
    with pytest.raises(ExtractionError, match=r"workers die before they begin a clip, 3 times in a row"):
        place.run(media)


def test_rows_are_the_same_through_a_server_per_device(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "gpu_devices", lambda _: ("cpu", "cpu"))
    place.run(media, workers=2)
    assert contents(place.store) == contents(undisturbed.store)


def test_only_failed_clips_are_tried_again(undisturbed: Place, place: Place, source: Path) -> None:
    resume_from(undisturbed, place)
    healthy = (source / "b.mp4").read_bytes()
    (source / "b.mp4").write_bytes(b"no video at all")
    with pytest.raises(ExtractionError, match="1 of 5 clips failed"):
        place.run(source)
    (source / "b.mp4").write_bytes(healthy)
    place.parts().discard(place.keys()["d"])
    place.parts().discard(place.keys()["b"])
    with pytest.raises(
        ExtractionError, match=r"1 of 5 clips are not finished and were not tried; .* without --retry-failed"
    ):
        place.run(source, retry_failed=True)
    assert [clip["status"] for clip in place.report()["clips"]] == [
        "kept",
        "kept",
        "extracted",
        "kept",
        "skipped",
    ]
    with pytest.raises(ExtractionError, match="expected failed clips to try again, found none"):
        place.run(source, retry_failed=True)
    place.run(source)
    assert contents(place.store) == contents(undisturbed.store)


@pytest.fixture(scope="module")
def couple(
    tmp_path_factory: pytest.TempPathFactory, draw_face: Callable[..., Any], write_media: Callable[..., None]
) -> Path:
    """One clip of two people, of whom the right one leaves after 10 of 15 frames."""
    folder = tmp_path_factory.mktemp("couple")
    left, _ = draw_face((120, 140), (60, 70), 90.0)
    right, _ = draw_face((120, 140), (60, 70), 80.0)
    nobody, _ = draw_face((120, 140), None)
    both, left = np.hstack((left, right)), np.hstack((left, nobody))
    write_media(folder / "couple.mp4", [both] * 10 + [left] * 5, [frame / 25 for frame in range(15)])
    os.utime(folder / "couple.mp4", (1e9, 1e9))  # the digest of a file of this moment is not remembered
    return folder


def test_every_track_is_a_clip(place: Place, couple: Path) -> None:
    faces = FaceConfig(subject="all", min_track_s=0.2)
    config = dataclasses.replace(CONFIG, faces=faces)
    report = place.run(couple, config)
    store = FeatureStore.open(place.store)
    assert store.clip_ids == ("couple_track1", "couple_track2")
    lengths = [len(store[clip].time_s) for clip in store.clip_ids]
    assert lengths[0] == 15
    assert 9 <= lengths[1] <= 11
    assert store["couple_track1"].face_box[0, 0] < store["couple_track2"].face_box[0, 0]
    assert [(clip.status, clip.num_frames) for clip in report.clips] == [("extracted", sum(lengths))]
    before = contents(place.store)
    assert statuses(place.run(couple, config)) == {"couple": "kept"}
    assert contents(place.store) == before


def test_a_clip_without_tracks_is_finished_and_gives_nothing(place: Place, couple: Path) -> None:
    config = dataclasses.replace(CONFIG, faces=FaceConfig(subject="all", min_track_s=5.0))
    outcomes = []
    # The third run finds a list of tracks that other code made, and finds none again; the fourth remembers.
    for digest in (None, None, "0" * 64, None):
        if digest is not None:
            (tracks,) = place.work.rglob("*.tracks.json")
            tracks.write_text(json.dumps({"code_digest": digest, "num_tracks": 0}))
        with pytest.raises(ExtractionError, match="1 media files gave no clip: no face stays for"):
            place.run(couple, config)
        (clip,) = place.report()["clips"]
        outcomes.append((clip["status"], clip["num_parts"], clip["num_frames"], place.report()["notes"]))
    *plain, (status, num_parts, num_frames, notes), remembered = outcomes
    assert plain == [("extracted", 0, 0, []), ("kept", 0, 0, [])]
    assert (status, num_parts, num_frames) == ("kept", 0, 0)
    assert [note.endswith("1 extracted again are equal; all are kept") for note in notes] == [True]
    assert remembered == ("kept", 0, 0, [])
    assert FinishedClips(config, place.work)(ClipSource(clip_id="couple", media=couple / "couple.mp4"))


def test_a_track_that_vanishes_during_the_run_is_not_left_out_of_the_store(
    place: Place, couple: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(CONFIG, faces=FaceConfig(subject="all", min_track_s=0.2))
    place.run(couple, config)
    before = contents(place.store)

    def discard(*_: object) -> None:
        place.parts().discard(place.keys()["couple_track2"])

    monkeypatch.setattr(runner.JsonLog, "clip", discard)
    with pytest.raises(ExtractionError, match=r"'couple': expected its finished parts in .* run again"):
        place.run(couple, config)
    assert contents(place.store) == before


def test_a_track_is_not_taken_for_a_clip_of_that_name(place: Place, couple: Path, tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    video = couple / "couple.mp4"
    table.write_text(f"clip_id,video,face\ncouple,{video},\ncouple_track1,{video},largest\n")
    config = dataclasses.replace(CONFIG, faces=FaceConfig(subject="all", min_track_s=0.2))
    with pytest.raises(ManifestError, match="clip id 'couple_track1': expected one clip of that name"):
        extract_features(
            table, "manifest", place.store, config, RunOptions(workers=1, device="cpu", work_dir=place.work)
        )


def test_previews_are_written_for_new_and_kept_clips(place: Place, media: Path, tmp_path: Path) -> None:
    place.run(media, preview=tmp_path / "new")
    sheets = sorted(path.name for path in (tmp_path / "new").glob("*.jpg"))
    assert len(sheets) == 5
    assert (tmp_path / "new" / "index.html").is_file()
    place.run(media, preview=tmp_path / "kept")
    assert contents(tmp_path / "kept") == contents(tmp_path / "new")


def test_events_are_logged_as_they_happen(place: Place, media: Path, tmp_path: Path) -> None:
    place.run(media, json_log=tmp_path / "log.jsonl")
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["run_started", *["clip"] * 5, "run_ended"]
    assert {event["clip"] for event in events[1:-1]} == set(CLIPS)
