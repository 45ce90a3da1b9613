"""Prediction as a whole: the clips of a run, their files, and the record of the folder that holds them.

    clips -> kept: its record has this state of the media, and its files are there
          -> workers, each a thread with a child process: predict, write, name the files

The networks and heads live in the child processes; a clip that crashes, hangs or swells takes none but itself
with it. A run may be killed at any moment; the next one with the same settings goes on.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cache.exports.clip_names import clip_names
from pipeline.config import LimitsConfig
from pipeline.errors import ExtractionError, ManifestError
from pipeline.machine import fitting_workers
from pipeline.prediction.folder_lock import alone_in
from pipeline.prediction.prediction_files import PARTIAL_SUFFIX, TableFormat
from pipeline.prediction.prediction_inputs import PredictionInput, media_state
from pipeline.prediction.prediction_record import (
    RECORD_NAME,
    ClipRecord,
    PredictionRecord,
    PredictionSettings,
)
from pipeline.prediction.prediction_table import PredictionTable
from pipeline.prediction.prediction_task import (
    Form,
    PredictionTask,
    PredictorSettings,
    file_suffixes,
    scratch_folder,
)
from pipeline.prediction.prediction_workers import PredictionWorkers
from pipeline.run.extraction_report import ClipOutcome
from pipeline.run.progress import ExtractionProgress

# Each has networks of its own on the GPU.
_WORKERS_PER_GPU = 4
# Between two times that the record is written.
_RECORD_S = 1.0


@dataclass(kw_only=True)
class PredictionRun:
    """What a run goes by.

    Attributes:
        folder: Where the files go.
        settings: For the record.
        predictor: What the child processes load.
        devices: Devices to share among them.
        limits: What a clip may cost.
        table: Makes the tables.
        table_format: Of the tables.
        forms: What else is written of each clip.
        note: A line that stands in every picture of an overlay.
        stores: Of the features; none where there are media.
        workers: Child processes at once; None for one per core, as far as the memory goes.
        progress: Whether to show progress and failures on standard error.
    """

    folder: Path
    settings: PredictionSettings
    predictor: PredictorSettings
    devices: tuple[str, ...]
    limits: LimitsConfig
    table: PredictionTable
    table_format: TableFormat
    forms: frozenset[Form] = frozenset()
    note: str = ""
    stores: tuple[str, ...] = ()
    workers: int | None = None
    progress: bool = False
    _written: float = field(default=0.0, init=False)

    def predict(self, inputs: Sequence[PredictionInput], *, replace_all: bool = False) -> PredictionRecord:
        """Bring the folder up to date.

        Args:
            inputs: The clips.
            replace_all: Whether to begin anew where the folder holds predictions by other settings, or of
                other media of a clip's name.

        Returns:
            The folder's record.

        Raises:
            ExtractionError: The folder holds other predictions, or files that are not of a prediction, or
                another run is at work there.
            StorageError: The disk is full or not writable.
            HeadError: A checkpoint cannot be used.
            PipelineError: The networks cannot be loaded.
        """
        with alone_in(self.folder):
            return self._predicted(inputs, replace_all=replace_all)

    def _predicted(self, inputs: Sequence[PredictionInput], *, replace_all: bool) -> PredictionRecord:
        record = self._opened(replace_all=replace_all)
        tasks = {task.clip_id: task for task in self._tasks(inputs)}
        if self.settings.gives_tracks:
            _require_no_namesakes({*tasks, *(clip.source for clip in record.clips.values())})
        pending = [task for task in tasks.values() if not self._is_kept(record, task)]
        self._require_vacant(record, pending)
        if not replace_all:
            self._require_same_media(record, pending)
        again = {task.clip_id for task in pending}
        record.clips = {name: clip for name, clip in record.clips.items() if clip.source not in again}
        record.unfinished = {task.clip_id: task.name for task in pending}
        record.write(self.folder)
        num_bytes = {each.clip_id: each.num_bytes for each in inputs}
        shown = ExtractionProgress(
            {task.clip_id: num_bytes[task.clip_id] for task in pending}, enabled=self.progress, what="predict"
        )
        try:
            for task, found in self._results(pending, shown):
                checked = _unchanged(found, task)
                self._settle(record, task, checked)
                shown.add(_outcome(task.clip_id, checked))
        finally:
            shown.close()
            record.clips = _in_order(record.clips, list(tasks))
            record.write(self.folder)
        return record

    def _opened(self, *, replace_all: bool) -> PredictionRecord:
        """The folder's record, or a new one."""
        record = PredictionRecord.read(self.folder)
        if record is None:
            return PredictionRecord(settings=self.settings)
        difference = record.settings.difference(self.settings)
        self._sweep(record)
        if difference is None:
            return PredictionRecord(settings=self.settings, clips=record.clips)
        if not replace_all:
            raise ExtractionError(
                f"{self.folder}: holds predictions of {len(record.clips)} clips by other settings (now "
                f"{difference}); choose another --out, or add --replace to remove them"
            )
        for clip in record.clips.values():
            self._remove(clip.files)
        return PredictionRecord(settings=self.settings)

    def _sweep(self, record: PredictionRecord) -> None:
        """Remove what a run that was killed left of the clips that it was at."""
        known = record.files
        suffixes = file_suffixes(record.settings.file_format, record.settings.forms)
        for name in record.unfinished.values():
            shutil.rmtree(scratch_folder(self.folder, name), ignore_errors=True)
            self._remove(
                each for each in self._of_clip(name, suffixes, tracks=record.settings.gives_tracks) - known
            )
        record.unfinished = {}

    def _tasks(self, inputs: Sequence[PredictionInput]) -> Iterator[PredictionTask]:
        names = clip_names([each.clip_id for each in inputs])
        for each, name in zip(inputs, names, strict=True):
            yield PredictionTask(
                predictor=self.predictor,
                clip_id=each.clip_id,
                source=each.source,
                stores=self.stores,
                source_state=each.state,
                folder=self.folder,
                name=name,
                table=self.table,
                table_format=self.table_format,
                forms=self.forms,
                note=self.note,
            )

    def _is_kept(self, record: PredictionRecord, task: PredictionTask) -> bool:
        """Whether all files of a clip, or of its tracks, are there and of these media."""
        clips = [clip for clip in record.clips.values() if clip.source == task.clip_id]
        return bool(clips) and all(
            clip.status == "predicted"
            and clip.source_state == task.source_state
            and all((self.folder / name).is_file() for name in clip.files)
            for clip in clips
        )

    def _require_vacant(self, record: PredictionRecord, pending: Sequence[PredictionTask]) -> None:
        """Refuse to write over files that no prediction wrote."""
        for task in pending:
            found = self._of_clip(task.name, self._suffixes, tracks=self.settings.gives_tracks)
            if foreign := sorted(found - record.files):
                raise ExtractionError(
                    f"{self.folder / foreign[0]} is there already, and {RECORD_NAME} does not name it as a "
                    "prediction; choose another --out, or move that file away"
                )

    def _require_same_media(self, record: PredictionRecord, pending: Sequence[PredictionTask]) -> None:
        """Refuse to write over the prediction of another file of the same name that is still there."""
        before = {clip.source: clip.media for clip in record.clips.values() if clip.status == "predicted"}
        for task in pending:
            media = before.get(task.clip_id)
            if media is not None and media != task.shown_media and Path(media).exists():
                raise ExtractionError(
                    f"clip id {task.clip_id!r}: {self.folder} has the prediction of {media!r}, and this is "
                    f"{task.shown_media!r}; give both in one command, choose another --out, or add --replace"
                )

    def _results(
        self, tasks: Sequence[PredictionTask], shown: ExtractionProgress
    ) -> Iterator[tuple[PredictionTask, tuple[ClipRecord, ...]]]:
        """What became of each clip, as it is done."""
        if not tasks:
            return
        workers = PredictionWorkers(self._num_workers(len(tasks)), self.limits, shown, self.devices)
        try:
            yield from workers.results(tasks)
        finally:
            workers.close()

    def _num_workers(self, num_tasks: int) -> int:
        fitting = fitting_workers()
        if any(device != "cpu" for device in self.devices):
            fitting = min(fitting, _WORKERS_PER_GPU * len(self.devices))
        return min(num_tasks, self.workers or fitting)

    def _settle(self, record: PredictionRecord, task: PredictionTask, found: tuple[ClipRecord, ...]) -> None:
        """Take in what became of a clip."""
        # First of all: files that nothing names would be taken for those of others.
        record.clips |= {clip.clip_id: clip for clip in found}
        del record.unfinished[task.clip_id]
        # Of tracks that are no more, of an earlier state of the media, or of a process that died.
        left = self._of_clip(task.name, self._suffixes, tracks=self.settings.gives_tracks)
        self._remove(left - {name for clip in found for name in clip.files})
        shutil.rmtree(task.scratch, ignore_errors=True)
        for clip in found:
            if clip.status == "failed" and self.progress:
                print(
                    f"predict: clip {clip.clip_id!r} failed at {clip.failed_stage}: {clip.error}",
                    file=sys.stderr,
                    flush=True,
                )
        if time.monotonic() - self._written > _RECORD_S:
            record.write(self.folder)
            self._written = time.monotonic()

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return file_suffixes(self.table_format, self.forms)

    def _of_clip(self, name: str, suffixes: Sequence[str], *, tracks: bool) -> set[str]:
        """Names of the files in the folder that are of a clip: complete or not, its own or of its tracks."""
        names = {f"{name}{suffix}{end}" for suffix in suffixes for end in ("", PARTIAL_SUFFIX)}
        found = {each for each in names if (self.folder / each).exists()}
        if tracks:
            track = re.compile(
                re.escape(name) + r"_track[0-9]+(" + "|".join(map(re.escape, suffixes)) + r")(\.partial)?"
            )
            found |= {each for each in _listed(self.folder) if track.fullmatch(each)}
        return found

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


def _unchanged(found: tuple[ClipRecord, ...], task: PredictionTask) -> tuple[ClipRecord, ...]:
    """The records, or one that says that the media were written to meanwhile."""
    if task.source is None or media_state(task.source) == task.source_state or found[0].status == "failed":
        return found
    error = f"{str(task.media)!r} was written to while it was read; run again when it is complete"
    return (task.failure("rows", error, found[0].seconds),)


def _outcome(clip_id: str, found: Sequence[ClipRecord]) -> ClipOutcome:
    """What the display is told."""
    return ClipOutcome(
        clip_id=clip_id,
        status="failed" if found[0].status == "failed" else "extracted",
        num_frames=sum(clip.num_frames for clip in found),
    )


def _in_order(clips: Mapping[str, ClipRecord], sources: Sequence[str]) -> dict[str, ClipRecord]:
    """Clips of earlier runs first, then those of this one in its order."""
    place = {source: number for number, source in enumerate(sources)}
    ordered = sorted(clips.values(), key=lambda clip: place.get(clip.source, -1))
    return {clip.clip_id: clip for clip in ordered}


def _require_no_namesakes(clip_ids: Collection[str]) -> None:
    """Tracks are named after their clip, and another clip may bear that name."""
    for clip_id in sorted(clip_ids):
        stem, _, number = clip_id.rpartition("_track")
        if stem in clip_ids and number.isdecimal():
            raise ManifestError(
                f"clip ids {stem!r} and {clip_id!r}: with --subject all, the second is the name of a track "
                "of the first; rename one of the files"
            )


def _listed(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder)] if folder.is_dir() else []
