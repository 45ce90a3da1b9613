"""One extraction in a process of its own, watched: does it end, in time, and with nothing left behind?

As a script it is that process: `watched_run.py SOURCE PLACE WORKERS SUBJECT`. Backbones cost nothing.
"""

from __future__ import annotations

import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cache import FeatureStore
from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, LimitsConfig, Subject, VisualConfig
from pipeline.run.extraction_report import REPORT_NAME, ClipOutcome, read_report
from pipeline.run.runner import RunOptions, extract_features

_TESTS = Path(__file__).resolve().parents[1]
# Of every process of a run, so that it can be found when it outlives the run.
_MARK = "TAGF_WATCHED_RUN"
# Processes of a run that has ended may take so long to notice.
_GRACE_S = 60.0
# Between two looks at its processes' memory.
_LOOK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run came to.

    Attributes:
        clips: Outcomes by clip id; none where there is no report.
        parts: Bytes of each finished part, by file name.
        peak_run_mb: Peak memory of the run's own process, to a second before its end.
        peak_clip_mb: The same of the largest of its processes.
        problems: What a run must never do, one line each.
    """

    clips: Mapping[str, ClipOutcome]
    parts: Mapping[str, bytes]
    peak_run_mb: int
    peak_clip_mb: int
    problems: tuple[str, ...]


def watched_run(source: Path, place: Path, *, workers: int, subject: Subject, timeout_s: float) -> RunResult:
    """Extract a folder's media and look at what is left.

    Args:
        source: The folder.
        place: For the store, the work directory and temporary files; empty.
        workers: Processes.
        subject: `extract.faces.subject`.
        timeout_s: Until then the run must have ended.
    """
    temporary = place / "temporary"
    temporary.mkdir(parents=True)
    mark = secrets.token_hex(8)
    problems = []
    # Its words go to a file: a pipe that nobody empties would hold it up.
    with (place / "output.txt").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, __file__, str(source), str(place), str(workers), subject],
            env={
                **os.environ,
                _MARK: mark,
                "TMPDIR": str(temporary),
                "TORCHINDUCTOR_CACHE_DIR": str(place / "torch"),  # torch makes it in TMPDIR when imported
                "OMP_NUM_THREADS": "1",
                # Before anything installed: this checkout, and the tests' backbones.
                "PYTHONPATH": os.pathsep.join((str(_TESTS.parent), str(_TESTS / "pipeline"))),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        peak_mb = _watch(process, mark, timeout_s)
        output.seek(0)
        said = output.read().strip()
    if process.poll() is None:
        process.kill()
        process.wait()
        problems.append(f"the run did not end within {timeout_s:g} s")
    elif process.returncode:
        problems.append(f"the run ended with {process.returncode} and said: {said[-2000:]!r}")
    problems += _survivors(mark)
    problems += _leftovers(place, temporary)
    parts = {path.name: path.read_bytes() for path in place.glob("work/parts/*/*.npz")}
    report, store = place / REPORT_NAME, place / "features.zarr"
    clips = read_report(report).clips if report.is_file() else ()
    num_stored = len(FeatureStore.open(store)) if store.exists() else 0
    if not num_stored == len(parts) == sum(clip.num_parts for clip in clips):
        problems.append(f"{len(parts)} parts in the work directory, {num_stored} in the store")
    return RunResult(
        clips={clip.clip_id: clip for clip in clips},
        parts=parts,
        peak_run_mb=peak_mb.pop(process.pid, 0),
        peak_clip_mb=max(peak_mb.values(), default=0),
        problems=tuple(problems),
    )


def _watch(process: subprocess.Popen[bytes], mark: str, timeout_s: float) -> dict[int, int]:
    """Wait for a run's end, at most so long; peak memory of its processes in MB, by process id."""
    peak_mb: dict[int, int] = {}
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            process.wait(_LOOK_S)
        except subprocess.TimeoutExpired:
            peak_mb |= {process_id: _peak_memory_mb(process_id) for process_id in _marked(mark)}
        else:
            break
    return peak_mb


def _peak_memory_mb(process_id: int) -> int:
    try:
        status = Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return 0
    return next(
        (int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0
    )


def _survivors(mark: str) -> Iterator[str]:
    """Processes of the run that go on without it; they are killed."""
    until = time.monotonic() + _GRACE_S
    for process_id in _marked(mark):
        try:
            descriptor = os.pidfd_open(process_id)
        except ProcessLookupError:
            continue
        try:
            command = Path(f"/proc/{process_id}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                os.kill(process_id, 9)
                yield f"a process outlived the run: {command}"
        except (FileNotFoundError, ProcessLookupError):
            continue
        finally:
            os.close(descriptor)


def _marked(mark: str) -> list[int]:
    entry = f"{_MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if entry in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def _leftovers(place: Path, temporary: Path) -> Iterator[str]:
    """Files that should have gone with the run."""
    yield from _named("temporary file", temporary.iterdir())
    yield from _named("note of a running clip", place.glob("work/running/*"))
    yield from _named("unfinished file", place.rglob(".*"))


def _named(kind: str, paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        yield f"left behind: {kind} {path.name}"


def _main() -> None:
    source, place, workers, subject = sys.argv[1:]
    extract_features(
        Path(source),
        "videos",
        Path(place) / "features.zarr",
        ExtractConfig(
            visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights=""),
            audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
            faces=FaceConfig(subject=subject, min_track_s=0.2),  # type: ignore[arg-type]
            limits=LimitsConfig(clip_timeout_s=20, memory_mb=1500),
            batch_size=16,
        ),
        RunOptions(
            work_dir=Path(place) / "work", workers=int(workers), device="cpu", max_failures=sys.maxsize
        ),
    )


if __name__ == "__main__":
    _main()
