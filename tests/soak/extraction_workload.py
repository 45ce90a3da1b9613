"""`tagf extract` for the crash campaign: `ExtractionWorkload`.

Run, workers and the clips' own processes are those of the package. Started as users start them, they take
five seconds to import torch; so they are forked from this process, which has imported everything and loaded
the networks: workers by loky's own fork context, clip processes in place of `subprocess.Popen`. As a script
it is one run that starts its processes anew: `extraction_workload.py SOURCE ROOT WORKERS SUBJECT`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from joblib.externals.loky import process_executor
from joblib.externals.loky.backend import context, resource_tracker

if __name__ == "__main__":
    _TESTS = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(_TESTS.parent), str(_TESTS / "pipeline")]

from crash_places import Place
from crash_workloads import SMALL
from process_tree import exit_code, fork

from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, VisualConfig
from pipeline.process_bond import end_with_parent
from pipeline.run import clip_process, runner
from pipeline.run.clip_supervisor import ClipProcess
from pipeline.run.engine import end_local_workers
from pipeline.run.runner import RunOptions, extract_features

_SIZE_PX, _FACE_PX, _FPS = (96, 96), 72, 25


class ExtractionWorkload:
    """A run over media files with faces and sound.

    Args:
        folder: For the media; empty.
        subject: `extract.faces.subject`.
        num_clips: Media files.
        num_workers: Workers.
        forked: Whether workers and clip processes are forked.
    """

    def __init__(
        self, folder: Path, subject: str, *, num_clips: int, num_workers: int = 2, forked: bool = True
    ) -> None:
        self.name = f"extraction of {subject}" + ("" if forked else ", processes started anew")
        self.num_clips, self.tells_packing = num_clips, forked
        self._folder, self._subject, self._num_workers, self._forked = folder, subject, num_workers, forked
        self._config = _config(subject)
        _write_media(folder, num_clips)
        if forked:
            _fork_processes(self._config)

    def run(self, place: Place, num_clips: int, packing: Callable[[], object]) -> None:
        """As `Workload.run`."""
        source = self._folder / f"first_{num_clips}.csv"
        if self._forked:
            _extract(source, place, self._num_workers, self._config, packing)
            return
        arguments = [str(source), str(place.root), str(self._num_workers), self._subject]
        os.execv(sys.executable, [sys.executable, __file__, *arguments])


def _config(subject: str) -> ExtractConfig:
    return ExtractConfig(
        visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights=""),
        audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
        faces=FaceConfig(subject=subject, min_track_s=0.1),  # type: ignore[arg-type]
        batch_size=16,
    )


def _extract(
    source: Path, place: Place, num_workers: int, config: ExtractConfig, packing: Callable[[], object]
) -> None:
    """One run, in a process that does nothing else afterwards."""
    pack = runner._pack

    def told_pack(*arguments: Any) -> None:
        packing()
        pack(*arguments)

    runner._pack = told_pack
    runner.pack_store = partial(runner.pack_store, **SMALL)  # type: ignore[assignment]
    options = RunOptions(work_dir=place.work, workers=num_workers, device="cpu")
    extract_features(source, "manifest", place.store, config, options)
    end_local_workers()  # as the command does
    process_executor._python_exit()  # as loky does when an interpreter ends, which a forked process skips


def _write_media(folder: Path, num_clips: int) -> None:
    """Moving faces, with and without sound, two side by side in every third; and tables of them."""
    from drawn_face import draw_face
    from media_files import write_media

    folder.mkdir()
    lines = ["clip_id,video"]
    for number in range(num_clips):
        pictures = []
        for frame in range(5 + number % 4):
            center = (44 + 2 * frame, 48)
            picture = draw_face(_SIZE_PX, center, _FACE_PX)[0]
            if number % 3 == 0:
                other = draw_face(_SIZE_PX, center, _FACE_PX, background=(60, 70 + number, 90))[0]
                picture = np.concatenate([picture, other], axis=1)
            pictures.append(picture)
        tone = 0.3 * np.sin(2 * np.pi * (300 + 20 * number) * np.arange(16_000) / 48_000)
        write_media(
            folder / f"{number}.mp4",
            pictures,
            [frame / _FPS for frame in range(len(pictures))],
            samples=tone[None].astype(np.float32) if number % 2 == 0 else None,
        )
        lines.append(f"subject/{number},{number}.mp4")
        (folder / f"first_{number + 1}.csv").write_text("\n".join(lines) + "\n")


def _fork_processes(config: ExtractConfig) -> None:
    """From now on, runs of processes forked from this one fork their processes, too."""
    import torch

    from pipeline.models import load_models
    from pipeline.run import clip_work  # noqa: F401  # imported here, and not in each process

    torch.set_num_threads(1)
    models = load_models(config, "cpu")
    clip_process._LoadedModels._load = staticmethod(lambda _: models)  # type: ignore[method-assign]
    ClipProcess._start = _fork_clip_process  # type: ignore[method-assign]
    context.set_start_method("fork", force=True)
    if not isinstance(process_executor._process_worker, _BoundWorker):
        process_executor._process_worker = _BoundWorker(process_executor._process_worker)
    warnings.filterwarnings("ignore", "`fork` start method should not be used")
    # One for all, and not one more process to start in each run; of what killed runs leave, it says nothing.
    os.environ["PYTHONWARNINGS"] = "ignore"
    resource_tracker.ensure_running()
    del os.environ["PYTHONWARNINGS"]


class _BoundWorker:
    """A worker that ends with its run even before it has had a task: by fork, it has the run's pipes open."""

    def __init__(self, work: Callable[..., object]) -> None:
        self._work = work

    def __call__(self, *arguments: object) -> object:
        end_with_parent(os.getppid())
        return self._work(*arguments)


class _Forked:
    """A forked process, with what `ClipProcess` uses of `subprocess.Popen`."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.pid = fork(work)
        self._code: int | None = None

    def wait(self, timeout: float = 900.0) -> int:
        """Its exit code, minus the signal that killed it."""
        if self._code is None:
            self._code = exit_code(self.pid, timeout)
        if self._code is None:
            raise subprocess.TimeoutExpired("a forked clip process", timeout)
        return self._code


def _fork_clip_process(process: Any) -> Connection:
    """In place of `ClipProcess._start`; of this process it has what one started anew would have."""
    import socket

    process._messages.seek(0)
    process._messages.truncate()
    ours, theirs = socket.socketpair()
    wanted = (theirs.fileno(), process._board.descriptor)
    worker = os.getpid()

    def work() -> None:
        os.setsid()
        for standard in (1, 2):
            os.dup2(process._messages.fileno(), standard)
        for name in os.listdir("/proc/self/fd"):
            descriptor = int(name)
            try:
                if descriptor not in wanted and not os.get_inheritable(descriptor):
                    os.close(descriptor)
            except OSError:  # that by which the folder was listed
                continue
        sys.argv = ["clip_process", *map(str, (*wanted, worker))]
        clip_process.main()

    with theirs:
        process._process = _Forked(work)
    process._connection = Connection(ours.detach())
    return process._connection


def _main() -> None:
    source, root, num_workers, subject = sys.argv[1:]
    _extract(Path(source), Place(Path(root)), int(num_workers), _config(subject), lambda: None)


if __name__ == "__main__":
    _main()
