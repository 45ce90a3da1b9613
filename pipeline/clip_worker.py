"""What a worker process does with one clip: extract it and commit its part, or compare it with a part.

Parts are committed here and not in the parent, so that nothing finished is lost with a parent or a
neighbour. Torch is imported by the functions that need it: the parent imports this module, and does without.
"""

from __future__ import annotations

import os
import select
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cache.errors import StorageError
from cache.parts import ClipKey, Json, PartStore
from pipeline.config import ExtractConfig
from pipeline.errors import ExtractionError
from pipeline.extraction_report import ClipOutcome
from pipeline.machine import machine_type
from pipeline.manifest import ClipSource
from pipeline.part_comparison import first_difference
from pipeline.stage_clock import StageClock

if TYPE_CHECKING:
    from pipeline.extract import Models


@dataclass(frozen=True, kw_only=True)
class MediaState:
    """What tells that a file was written to: its size and time of change."""

    num_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> MediaState:
        """State of a file now."""
        status = path.stat()
        return cls(num_bytes=status.st_size, modified_ns=status.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class ClipTask:
    """One clip's work, as it is sent to a worker.

    Attributes:
        source: The clip.
        key: Name of its part.
        media_state: The media file as it was when its digest was taken.
        config: The `extract` section.
        device: Where the networks run.
        parts: Directory of the parts.
        code_digest: Of the parent's numeric code.
        parent: Process id of the parent.
    """

    source: ClipSource
    key: ClipKey
    media_state: MediaState
    config: ExtractConfig
    device: str
    parts: Path
    code_digest: str
    parent: int


def extract_and_commit(task: ClipTask) -> ClipOutcome:
    """Extract a clip and commit its part. Whatever is wrong with the clip comes back as a failed outcome.

    Raises:
        PipelineError: The networks cannot be loaded, which no clip would survive.
        StorageError: The work directory cannot be written to, likewise.
    """
    from pipeline.extract import extract_clip

    models = _prepared(task)
    clock = StageClock()
    started = time.perf_counter()
    try:
        features, facts = extract_clip(task.source, task.config, models, clock)
        _check_unchanged(task)
        with clock.stage("write"):
            provenance: dict[str, Json] = {"code_digest": task.code_digest, "machine": _machine(task.device)}
            PartStore(task.parts).commit(task.key, features, {**facts, **provenance})
    except StorageError:
        raise
    except Exception as error:
        return ClipOutcome(
            clip_id=task.source.clip_id,
            status="failed",
            seconds=time.perf_counter() - started,
            stage_seconds=clock.seconds,
            failed_stage=clock.failed_stage or "rows",
            error=described(error),
        )
    return ClipOutcome(
        clip_id=task.source.clip_id,
        status="extracted",
        num_frames=features.num_frames,
        num_face_frames=int(features.face_found.sum()),
        num_audio_frames=int(features.audio_found.sum()),
        seconds=time.perf_counter() - started,
        stage_seconds=clock.seconds,
    )


def extract_and_compare(task: ClipTask) -> str | None:
    """Extract a clip again and compare it with its part.

    Returns:
        Where the two differ, on one line; None where they are equal.

    Raises:
        PipelineError: The networks cannot be loaded.
    """
    from pipeline.extract import extract_clip

    models = _prepared(task)
    try:
        part = PartStore(task.parts).read(task.key)
        features, _ = extract_clip(task.source, task.config, models)
    except Exception as error:
        return described(error)
    return first_difference(
        part.features, features, bitwise=part.facts.get("machine") == _machine(task.device)
    )


def described(error: BaseException) -> str:
    """Kind and message of an error on one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _prepared(task: ClipTask) -> Models:
    """The networks, in a process that ends with its parent."""
    if os.getpid() != task.parent:
        _end_with(task.parent)
    return _models(task.config, task.device, task.key.fingerprint)


@lru_cache(maxsize=1)
def _models(config: ExtractConfig, device: str, fingerprint: str) -> Models:
    """Loaded once per process; another configuration takes their place.

    The fingerprint is part of the cache's key because a checkpoint may be replaced under the same path.
    """
    from pipeline.extract import load_models

    return load_models(config, device)


@lru_cache(maxsize=1)
def _end_with(parent: int) -> None:
    """End this process when its parent ends: a killed parent would leave its workers in memory for minutes.

    Parts are committed whole, so ending anywhere does no harm.
    """
    if not hasattr(os, "pidfd_open"):
        return

    def wait() -> None:
        select.select([descriptor], [], [])
        os._exit(1)

    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        os._exit(1)
    except OSError:
        return
    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


@lru_cache(maxsize=1)
def _machine(device: str) -> str:
    import torch

    from pipeline.extract import resolve_device

    place = resolve_device(device)
    return machine_type(torch.cuda.get_device_name(place) if place.type == "cuda" else None)


def _check_unchanged(task: ClipTask) -> None:
    """The part is named by the digest of the media, so the media must still be those."""
    if MediaState.of(task.source.media) != task.media_state:
        raise ExtractionError(
            f"clip {task.source.clip_id!r}: {str(task.source.media)!r} was written to while it was read; "
            "run again when it is complete"
        )
