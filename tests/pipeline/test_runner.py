"""Whole runs over tiny media: what is kept, what is done again, and that the store tells nothing of it.

Runs with one worker stay in this process, where the networks are loaded once for all tests.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cache import FeatureStore, PartStore, StorageError
from cache.parts import ClipKey
from pipeline import clip_worker, runner
from pipeline.clip_worker import MediaState, extract_and_commit, extract_and_compare
from pipeline.config import AudioConfig, ExtractConfig, VisualConfig
from pipeline.errors import ExtractionError, WeightsError
from pipeline.extraction_report import ExtractionReport
from pipeline.runner import extract_features

ROOT = Path(__file__).parents[2]
# The quickest backbone; what a run does with clips does not depend on which it is.
CONFIG = ExtractConfig(visual=VisualConfig(backbone="resnet50"), batch_size=16)
CLIPS = ("a/face", "a/noise", "b", "c", "d")


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
        options = {"workers": 1, "device": "cpu"} | options
        return extract_features(source, "videos", self.store, config, work_dir=self.work, **options)

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
    assert all(seconds > 0 for seconds in totals["stage_seconds"].values())


def test_finished_clips_are_kept_and_the_store_is_the_same(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume_from(undisturbed, place)
    for clip in ("a/noise", "d"):
        place.parts().discard(place.keys()[clip])
    report = place.run(media)
    assert [clip for clip, status in statuses(report).items() if status == "extracted"] == ["a/noise", "d"]
    assert contents(place.store) == contents(undisturbed.store)
    monkeypatch.setattr(runner, "extract_and_commit", None)  # nothing is left to extract
    report = place.run(media)
    assert set(statuses(report).values()) == {"kept"}
    assert [clip.num_frames for clip in report.clips] == [12, 12, 6, 7, 8]
    assert contents(place.store) == contents(undisturbed.store)


KILLED_AFTER_FIRST_CLIP = """
import os, signal, sys
from pathlib import Path
from pipeline import progress, runner
from pipeline.config import ExtractConfig, VisualConfig

def kill(self, outcome, num_bytes):
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    progress.ExtractionProgress.add = kill
    source, store, work = map(Path, sys.argv[1:])
    config = ExtractConfig(visual=VisualConfig(backbone="resnet50"), batch_size=16)
    runner.extract_features(source, "videos", store, config, work_dir=work, workers=2, device="cpu")
"""


def test_killed_run_leaves_no_worker_and_resumes_to_the_same_bytes(
    undisturbed: Place, place: Place, media: Path, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED_AFTER_FIRST_CLIP)
    # Workers hold the pipe of standard output: run() returns when the last one has ended.
    killed = subprocess.run(
        [sys.executable, str(script), str(media), str(place.store), str(place.work)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -9
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


def test_a_killed_worker_costs_what_it_had_not_finished(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = undisturbed.parts()

    def finish_one_and_die(task: Any) -> None:
        if task.key.clip_id == "a/noise":
            part = finished.read(task.key)
            PartStore(task.parts).commit(task.key, part.features, part.facts)
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # dies with its neighbour

    monkeypatch.setattr(runner, "extract_and_commit", finish_one_and_die)
    with pytest.raises(ExtractionError, match=r"4 of 5 clips failed .* a worker process died"):
        place.run(media, workers=2)
    outcomes = {clip["clip_id"]: clip for clip in place.report()["clips"]}
    assert outcomes["a/noise"]["status"] == "extracted"
    assert outcomes["a/noise"]["num_audio_frames"] == 12
    assert {outcomes[clip]["failed_stage"] for clip in CLIPS if clip != "a/noise"} == {"worker"}


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
    monkeypatch.setattr(runner, "extract_and_compare", None)  # remembered: no second check
    assert place.run(media).notes == ()


def test_parts_of_changed_code_are_extracted_again(
    undisturbed: Place, place: Place, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume_from(undisturbed, place)
    for clip in CLIPS[:4]:
        recommit(place, clip, "0" * 64, change=0.25)
    # Even where the run ends before it gets there, they are gone: a later check might not meet what differs.
    with monkeypatch.context() as patched:
        patched.setattr(runner, "extract_and_commit", None)
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


def test_full_disk_ends_the_run_at_once(place: Place, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StorageError("cannot write: no space left")

    monkeypatch.setattr(clip_worker.PartStore, "commit", fail)
    with pytest.raises(StorageError, match="no space left"):
        place.run(media)


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

    monkeypatch.setattr(runner, "MediaState", Earlier)
    with pytest.raises(
        ExtractionError, match=r"first 'b' at rows: .* was written to while it was read; run again"
    ):
        place.run(source)
    assert sorted(place.keys()) == ["a/face", "a/noise", "c", "d"]


def test_progress_and_notes_go_to_standard_error(
    undisturbed: Place, place: Place, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resume_from(undisturbed, place)
    recommit(place, "b", "0" * 64)
    place.parts().discard(place.keys()["c"])
    place.run(media, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    note, last = captured.err.splitlines()
    assert "1 extracted again are equal" in note
    assert last.startswith("extract: 1/1 clips, ")


def test_comparison_names_what_is_wrong(undisturbed: Place, place: Place, media: Path) -> None:
    resume_from(undisturbed, place)
    run = runner._Run(runner.WorkDir(place.work), runner.feature_spec(CONFIG), CONFIG, "cpu", 1, False)
    (clip,) = [clip for clip in runner.read_manifest(media, "videos") if clip.clip_id == "b"]
    task = run._task(clip)
    assert extract_and_compare(task) is None
    place.parts().discard(task.key)
    assert (extract_and_compare(task) or "").startswith("UnknownClipError: ")
    assert extract_and_commit(task).status == "extracted"
    assert extract_and_compare(task) is None
