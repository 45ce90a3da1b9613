"""What a worker of the run does with one clip: it has a process of its own work on it, and watches that.

The worker opens no media and loads no networks. Should it die nevertheless (killed, or by a backbone of the
user's own), what it had in its hands is known from `pipeline.run.running_clips`.
"""

from __future__ import annotations

import shutil
import time

from pipeline.errors import ClipProcessError, ExtractionError
from pipeline.run.clip_supervisor import clip_process
from pipeline.run.clip_task import ClipTask
from pipeline.run.extraction_report import ClipOutcome
from pipeline.run.running_clips import RunningClips

# A clip that has taken so many workers with it is set aside.
MAX_DEAD_WORKERS = 2
# Between two notes of how many frames are done.
_NOTE_S = 1.0


def extract_and_commit(task: ClipTask) -> ClipOutcome:
    """Extract a clip and commit its part. Whatever is wrong with the clip comes back as a failed outcome.

    Raises:
        PipelineError: The networks cannot be loaded, which no clip would survive.
        StorageError: The work directory cannot be written to, likewise.
    """
    running, digest = RunningClips(task.running), task.key.digest
    if running.begin(digest) >= MAX_DEAD_WORKERS:
        running.end(digest)
        return failed(task, "worker", dead_workers_message())
    started = time.monotonic()
    noted = started

    def note(num_frames: int) -> None:
        nonlocal noted
        if time.monotonic() - noted >= _NOTE_S:
            noted = time.monotonic()
            running.note_frames(digest, num_frames)

    try:
        outcome: ClipOutcome = clip_process().run(("extract", task), task.config.limits, note)
    except ClipProcessError as error:
        outcome = failed(task, error.stage, f"{type(error).__name__}: {error}", time.monotonic() - started)
    _clean_up(task)
    running.end(digest)
    return outcome


def extract_and_compare(task: ClipTask) -> str | None:
    """Extract a clip again and compare it with its part.

    Returns:
        Where the two differ, on one line; None where they are equal.

    Raises:
        PipelineError: The networks cannot be loaded, or the clip could not be extracted again.
        CacheError: The work directory cannot be written to, or the part is damaged.
    """
    try:
        difference: str | None = _watched("compare", task)
    except ClipProcessError as error:
        raise could_not_compare(task, str(error)) from error
    return difference


def write_preview(task: ClipTask) -> str | None:
    """Write the contact sheet of a finished clip.

    Returns:
        Why there is none, on one line; None where there is one.

    Raises:
        PipelineError: The networks cannot be loaded.
    """
    try:
        problem: str | None = _watched("preview", task)
    except ClipProcessError as error:
        problem = f"no contact sheet of clip {task.source.clip_id!r}: {error}"
    return problem


def _watched(kind: str, task: ClipTask) -> str | None:
    """Work on a finished clip; one that has taken workers with it is not given to others without end."""
    running, digest = RunningClips(task.running), task.key.digest
    if running.begin(digest) >= MAX_DEAD_WORKERS:
        running.end(digest)
        raise ClipProcessError("worker", dead_workers_message())
    try:
        answer: str | None = clip_process().run((kind, task), task.config.limits, lambda _: None)
    finally:
        _clean_up(task)
        running.end(digest)
    return answer


def _clean_up(task: ClipTask) -> None:
    """Remove what a clip process that was killed could not."""
    shutil.rmtree(task.scratch, ignore_errors=True)


def could_not_compare(task: ClipTask, reason: str) -> ExtractionError:
    """The error that ends a run before it discards or trusts anything."""
    return ExtractionError(
        f"clip {task.source.clip_id!r} could not be extracted again, to see whether what other code made of "
        f"it still holds: {reason}; finished clips are kept"
    )


def dead_workers_message() -> str:
    """Why a clip was set aside."""
    return (
        f"{MAX_DEAD_WORKERS} workers died with this clip in their hands (killed, out of memory, or by the "
        "code that works on it); run again with fewer workers if memory was short, else leave the clip out"
    )


def failed(task: ClipTask, stage: str, error: str, seconds: float = 0.0) -> ClipOutcome:
    """The outcome of a clip that came to nothing."""
    return ClipOutcome(
        clip_id=task.source.clip_id, status="failed", failed_stage=stage, error=error, seconds=seconds
    )
