"""What a clip's own process does with it: extract it and commit its part, or compare it with a part.

Parts are committed here and not in the run, so that nothing finished is lost with a run or a neighbour.
Imports torch; the run and its workers do without.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import torch

from cache.canonical_json import Json
from cache.errors import CorruptFeatureError, StorageError
from cache.parts import PartStore
from pipeline.degradation.degraded_extraction import DegradedExtraction
from pipeline.errors import BackboneServerError, ExtractionError
from pipeline.extract import ClipExtraction
from pipeline.machine import machine_type
from pipeline.models import Models, resolve_device
from pipeline.preview.collector import PreviewCollector, write_sheet
from pipeline.run.clip_task import ClipTask, MediaState
from pipeline.run.clip_worker import could_not_compare
from pipeline.run.extraction_report import ClipOutcome, outcome_of_parts
from pipeline.run.part_comparison import first_difference
from pipeline.run.track_list import TrackList, track_key
from pipeline.stage_clock import StageClock


def extract_clip_parts(
    task: ClipTask, models: Models, clock: StageClock, beat: Callable[[int], None]
) -> ClipOutcome:
    """Extract a clip and commit its part, or its parts where every track of a face is a clip.

    Returns:
        What became of it; whatever is wrong with the clip is a failed outcome.

    Raises:
        StorageError: The work directory cannot be written to, which no clip would survive.
        BackboneServerError: The process that runs the networks is gone, likewise.
    """
    started = time.perf_counter()
    try:
        with _scratch(task) as spill:
            preview = PreviewCollector() if task.preview is not None else None
            work = _extraction(task, models, spill, clock, beat, preview)
            all_facts = _commit_tracks(task, work) if task.gives_tracks else [_commit(task, work)]
            if preview is not None and task.preview is not None:
                # A sheet that cannot be written takes no clip with it: the run tries once more, and says why.
                with clock.stage("write"), suppress(OSError):
                    write_sheet(task.preview, task.source.clip_id, preview)
    except (StorageError, BackboneServerError):
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
    return outcome_of_parts(
        task.source.clip_id,
        "extracted",
        all_facts,
        seconds=time.perf_counter() - started,
        stage_seconds=clock.seconds,
    )


def compare_clip(
    task: ClipTask, models: Models, clock: StageClock, beat: Callable[[int], None]
) -> str | None:
    """Extract a clip again and compare it with its part, or with all of its tracks' parts.

    Returns:
        Where the two differ, on one line; None where they are equal.

    Raises:
        ExtractionError: The clip could not be extracted again: that says nothing of its part, which stays.
        CorruptFeatureError: Its part was damaged, and is discarded.
        StorageError: The work directory cannot be written to.
        BackboneServerError: The process that runs the networks is gone.
    """
    old = _parts(task.parts)
    with _scratch(task) as folder:
        new = PartStore(folder / "parts")
        again = replace(task, parts=new.directory, running=folder / "running", preview=None)
        outcome = extract_clip_parts(again, models, clock, beat)
        if outcome.error is not None:
            raise could_not_compare(task, outcome.error)
        before, after = TrackList(old).read(task.key), TrackList(new).read(task.key)
        if task.gives_tracks and (before is None or after is None or before[1] != after[1]):
            return "other tracks of faces"
        for key in before[1] if before is not None else (task.key,):
            try:
                part = old.read(key)
            except CorruptFeatureError:
                old.discard(key)
                raise
            bitwise = part.facts.get("machine") == _machine(task)
            if difference := first_difference(part.features, new.read(key).features, bitwise=bitwise):
                return difference
    return None


def preview_clip(
    task: ClipTask, models: Models, clock: StageClock, beat: Callable[[int], None]
) -> str | None:
    """Write the contact sheet of a clip that was finished before: its faces are looked for again.

    Returns:
        Why there is none, on one line; None where there is one.
    """
    assert task.preview is not None  # the run asks for sheets only where it has a folder for them
    try:
        with _scratch(task) as spill:
            preview = PreviewCollector()
            work = _extraction(task, models, spill, clock, beat, preview)
            tracks = [track.crops() for track in work.tracks()] if task.gives_tracks else [work.faces()]
            for crops in tracks:
                for _ in work.seen(crops):
                    pass
            write_sheet(task.preview, task.source.clip_id, preview)
    except Exception as error:
        return f"no contact sheet of clip {task.source.clip_id!r}: {described(error)}"
    return None


def described(error: BaseException) -> str:
    """Kind and message of an error on one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _extraction(
    task: ClipTask,
    models: Models,
    spill: Path,
    clock: StageClock,
    beat: Callable[[int], None],
    preview: PreviewCollector | None,
) -> ClipExtraction:
    extraction = (
        ClipExtraction
        if task.degradation is None
        else partial(DegradedExtraction, degradation=task.degradation)
    )
    return extraction(
        source=task.source,
        config=task.config,
        models=models,
        spill=spill,
        clock=clock,
        beat=beat,
        preview=preview,
    )


def _commit(task: ClipTask, work: ClipExtraction) -> Mapping[str, Json]:
    """Extract and commit a clip; its facts."""
    parts = _parts(task.parts)
    with parts.writer(task.key, task.spec) as writer:
        facts = {**work.write_rows(work.faces(), writer), **_provenance(task)}
        _check_unchanged(task)
        with work.clock.stage("write"):
            writer.commit(facts)
    return facts


def _commit_tracks(task: ClipTask, work: ClipExtraction) -> list[Mapping[str, Json]]:
    """Extract and commit every track of a clip, and then the list of them; their facts."""
    parts = _parts(task.parts)
    all_facts: list[Mapping[str, Json]] = []
    for number, track in enumerate(work.tracks(), start=1):
        with parts.writer(track_key(task.key, number), task.spec) as writer:
            facts = {**work.write_rows(track.crops(), writer), **_provenance(task)}
            _check_unchanged(task)
            with work.clock.stage("write"):
                writer.commit(facts)
        all_facts.append(facts)
    with work.clock.stage("write"):
        TrackList(parts).write(task.key, task.code_digest, len(all_facts))
    return all_facts


def _provenance(task: ClipTask) -> dict[str, Json]:
    return {"code_digest": task.code_digest, "machine": _machine(task)}


@lru_cache(maxsize=2)
def _parts(directory: Path) -> PartStore:
    """Kept from clip to clip: a new one looks through the whole directory for leftovers."""
    return PartStore(directory)


def _machine(task: ClipTask) -> str:
    """Where the task's networks run. With a server, this process keeps off the GPU and its memory."""
    return machine_type(task.accelerator) if task.server is not None else _own_machine(task.device)


@lru_cache(maxsize=1)
def _own_machine(device: str) -> str:
    place = resolve_device(device)
    return machine_type(torch.cuda.get_device_name(place) if place.type == "cuda" else None)


@contextmanager
def _scratch(task: ClipTask) -> Iterator[Path]:
    """A folder of the clip's own, on the disk of the work directory: others may have no room for its rows.

    Where this process does not live to remove it, its worker does.
    """
    try:
        shutil.rmtree(task.scratch, ignore_errors=True)
        task.scratch.mkdir(parents=True)
    except OSError as error:
        raise StorageError(
            f"cannot write into {task.scratch}: {error.strerror or error}; free space there or choose "
            "another work directory"
        ) from error
    try:
        yield task.scratch
    finally:
        shutil.rmtree(task.scratch, ignore_errors=True)


def _check_unchanged(task: ClipTask) -> None:
    """The part is named by the digest of the media, so the media must still be those."""
    if MediaState.of(task.source.media) != task.media_state:
        raise ExtractionError(
            f"clip {task.source.clip_id!r}: {str(task.source.media)!r} was written to while it was read; "
            "run again when it is complete"
        )
