"""Clips that hang, crash, swell or kill their worker fail alone, whichever engine runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache import FeatureStore
from pipeline.config import AudioConfig, ExtractConfig, LimitsConfig, StreamConfig, VisualConfig
from pipeline.errors import ClipProcessError, EngineError, ExtractionError
from pipeline.run import engine
from pipeline.run.clip_supervisor import ClipProcess, clip_process
from pipeline.run.runner import RunOptions, extract_features

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
TINY = HERE.parent  # has the tiny backbones
NUM_HEALTHY = 4
CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="", views=("center",)),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
    streams={"trouble": StreamConfig(backbone="tiny_backbones:Trouble")},
    limits=LimitsConfig(memory_mb=1500),
    batch_size=16,
)
# What a healthy clip stays far below on a busy machine, from one frame to the next.
TIMEOUT_S = 15


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tiny backbones can be imported, here and in the processes that this one starts."""
    monkeypatch.syspath_prepend(str(TINY))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (TINY, HERE, ROOT))))
    clip_process().close()  # one of an earlier test could not import them
    yield
    clip_process().close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, write_media: Callable[..., None]) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4000) / 16_000)[None].astype(np.float32)
    grey = np.full((48, 64, 3), 90, np.uint8)
    write_media(path, [grey] * 5, [frame / 25 for frame in range(5)], samples=tone, sample_rate_hz=16_000)
    return path


@pytest.fixture
def media(tmp_path: Path, clip: Path) -> Callable[..., Path]:
    """A folder of healthy clips, and of clips of the given names."""

    def make(*names: str) -> Path:
        folder = tmp_path / "media"
        folder.mkdir()
        for name in (*(f"healthy{number}" for number in range(NUM_HEALTHY)), *names):
            shutil.copy(clip, folder / f"{name}.mp4")
        return folder

    return make


def run(source: Path, place: Path, config: ExtractConfig = CONFIG, **options: Any) -> dict[str, Any]:
    """The report of a run in which any number of clips may fail."""
    options = {"workers": 1, "device": "cpu", "max_failures": 99, "work_dir": place / "work"} | options
    extract_features(source, "videos", place / "features.zarr", config, RunOptions(**options))
    return json.loads((place / "extraction_report.json").read_text())


def failures(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        clip["clip_id"]: (clip["failed_stage"], clip["error"])
        for clip in report["clips"]
        if clip["status"] == "failed"
    }


def test_each_kind_of_trouble_fails_alone(media: Callable[..., Path], tmp_path: Path) -> None:
    config = replace(CONFIG, limits=replace(CONFIG.limits, clip_timeout_s=TIMEOUT_S))
    failed = failures(run(media("crashes", "hangs", "raises", "swells"), tmp_path, config))
    assert failed["crashes"] == (
        "clip_streams",
        "ClipProcessError: the process died of SIGSEGV: repair or remove the media file",
    )
    assert failed["hangs"][0] == "clip_streams"
    assert f"no further frame within {TIMEOUT_S} s (extract.limits.clip_timeout_s)" in failed["hangs"][1]
    assert failed["raises"] == ("clip_streams", "RuntimeError: no such thing")
    assert failed["swells"][0] == "clip_streams"
    assert "more than 1500 MB (extract.limits.memory_mb), and was killed" in failed["swells"][1]
    assert len(failed) == 4
    assert not any((tmp_path / "work" / "running").iterdir())
    parts = [path.suffix for path in (tmp_path / "work" / "parts").rglob("*") if path.is_file()]
    assert sorted(parts) == [".json", *[".npz"] * NUM_HEALTHY]
    store = FeatureStore.open(tmp_path / "features.zarr")
    assert store.clip_ids == tuple(f"healthy{number}" for number in range(NUM_HEALTHY))
    assert (store["healthy0"].streams["trouble"] == 1).all()


def test_a_process_that_cannot_start_is_in_no_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    process = ClipProcess()
    process._board.show("faces")  # where the one before it died
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ClipProcessError, match="the process ended with ''") as caught:
        process.run(("extract", None), LimitsConfig(), lambda _: None)
    assert caught.value.stage == "rows"


def test_a_clip_that_kills_its_workers_is_set_aside(media: Callable[..., Path], tmp_path: Path) -> None:
    report = run(media("kills"), tmp_path, workers=2)
    failed = failures(report)
    assert set(failed) == {"kills"}
    assert failed["kills"][0] == "worker"
    assert failed["kills"][1].startswith("2 workers died with this clip in their hands")
    assert len(FeatureStore.open(tmp_path / "features.zarr").clip_ids) == NUM_HEALTHY
    assert not any((tmp_path / "work" / "running").iterdir())


def test_clip_processes_end_with_their_worker(
    media: Callable[..., Path], tmp_path: Path, lifeline: Any
) -> None:
    script = "\n".join(
        (
            "import os, sys; from pathlib import Path",
            "import test_clip_supervision as t",
            "os.environ['TEST_RUN_PID'] = str(os.getpid())",
            "t.run(Path(sys.argv[1]), Path(sys.argv[2]), workers=2)",
        )
    )
    # Workers hold the pipe: run() returns when the last of them has ended.
    killed = subprocess.run(
        [sys.executable, "-c", script, str(media("ends the run", "hangs")), str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **lifeline.environment},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert lifeline.all_ended()
    assert not (tmp_path / "features.zarr").exists()


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two workers on loopback, each a process of its own: address, workers."""
    monkeypatch.setattr(engine, "_CONNECT_S", 60.0)  # the scheduler is there, but the machine may be busy
    command = [str(Path(sys.executable).with_name("dask"))]
    scheduler = subprocess.Popen(
        [*command, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert scheduler.stderr is not None
    address = next(
        word for line in scheduler.stderr for word in line.split() if word.startswith("tcp://127.0.0.1:")
    )
    # What else it says: were it left in the pipe, the scheduler would stop once that is full.
    threading.Thread(target=scheduler.stderr.read, daemon=True).start()
    workers = [
        subprocess.Popen(
            [
                *(*command, "worker", address, "--nthreads", "1", "--nworkers", "1", "--no-dashboard"),
                *("--memory-limit", "0", "--local-directory", str(tmp_path / f"dask{number}")),
            ],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for number in range(2)
    ]
    try:
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            if process.poll() is None:
                process.terminate()
                process.wait()


def test_dask_cluster_survives_a_worker_and_a_clip_that_kills_workers(
    media: Callable[..., Path],
    tmp_path: Path,
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    address, workers = cluster
    report = run(media("kills"), tmp_path, engine="dask", scheduler=address, workers=None)
    assert set(failures(report)) == {"kills"}
    assert failures(report)["kills"][1].startswith("2 workers died with this clip in their hands")
    assert len(FeatureStore.open(tmp_path / "features.zarr").clip_ids) == NUM_HEALTHY
    assert clip_process()._process is None, "the run worked on clips itself"
    # Killed for good, its nanny included: the other one does the rest.
    os.killpg(workers[0].pid, signal.SIGKILL)
    workers[0].wait()
    (tmp_path / "media" / "kills.mp4").unlink()
    shutil.rmtree(tmp_path / "work")
    report = run(tmp_path / "media", tmp_path, engine="dask", scheduler=address, workers=None)
    assert report["totals"]["num_extracted"] == NUM_HEALTHY
    assert clip_process()._process is None, "with one worker left, the run worked on clips itself"


def test_an_engine_needs_its_scheduler_and_only_dask_one(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="engine 'dask': expected a scheduler's address"):
        RunOptions(engine="dask")
    with pytest.raises(EngineError, match=r"engine 'local': .* got 'tcp://127.0.0.1:1'"):
        RunOptions(scheduler="tcp://127.0.0.1:1")


def test_without_a_scheduler_there_the_error_says_how_to_start_one(
    media: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=r"expected a scheduler at 'tcp://127.0.0.1:9'.* 'dask scheduler'"):
        run(media(), tmp_path, engine="dask", scheduler="tcp://127.0.0.1:9", workers=None)


def test_more_failures_than_allowed_end_the_run_with_a_report(
    media: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ExtractionError, match="1 of 5 clips failed"):
        run(media("raises"), tmp_path, max_failures=0)
    assert not (tmp_path / "features.zarr").exists()
