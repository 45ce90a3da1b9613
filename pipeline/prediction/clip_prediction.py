"""What a clip's own process does with it: predict it, and write its files while rows come."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from cache import FeatureStore
from cache.errors import StorageError
from pipeline.config import ExtractConfig
from pipeline.errors import ExtractionError
from pipeline.media.container import open_container, picture_stream
from pipeline.prediction.elan_files import ElanFiles
from pipeline.prediction.praat_files import PraatFiles
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_files import RowFile, table_file
from pipeline.prediction.prediction_record import ClipRecord
from pipeline.prediction.prediction_task import PredictionTask
from pipeline.run.clip_process import Heart
from pipeline.run.clip_work import described
from tagf_head.data.split_data import open_features

if TYPE_CHECKING:
    from pipeline.prediction.predictor import Predictor
    from pipeline.prediction.store_predictor import StorePredictor


def predict_clip(
    task: PredictionTask, predictor: Predictor | StorePredictor, heart: Heart
) -> tuple[ClipRecord, ...]:
    """Predict a clip, or every track of a face in it, and write the files.

    Args:
        task: The clip.
        predictor: As its settings ask for.
        heart: Is told how far the work is.

    Returns:
        What became of it: a record for each track, one for a clip without tracks, and one that says why
        where it failed; then none of its files is there.

    Raises:
        StorageError: The folder cannot be written to, which no clip would survive.
    """
    started = time.perf_counter()
    files: list[_ClipFiles] = []
    try:
        with _scratch(task) as spill:
            blocks = _blocks(task, predictor, heart, spill)
            for clip_id, rows in groupby(blocks, lambda block: block.clip_id):
                files.append(_ClipFiles(task, clip_id))
                files[-1].take(rows, predictor.config, heart)
            if not files:
                raise ExtractionError(
                    "no face stays long enough for a track (extract.faces.min_track_s); look at the video, "
                    "or choose another --subject"
                )
            # All at the end: a clip whose last track fails has no files.
            for each in files:
                each.commit()
    except StorageError:
        _discard(files)
        raise
    except Exception as error:
        _discard(files)
        stage = heart.clock.failed_stage or "rows"
        return (task.failure(stage, described(error), time.perf_counter() - started),)
    seconds = time.perf_counter() - started
    return tuple(each.record(seconds) for each in files)


class _ClipFiles:
    """The files of one clip, or of one track.

    Args:
        task: The clip's.
        clip_id: The clip, or the track.
    """

    def __init__(self, task: PredictionTask, clip_id: str) -> None:
        self._task, self._clip_id = task, clip_id
        self._num_frames = self._num_face_frames = 0
        self._names = task.file_names(clip_id)
        self._overlay: Path | None = None
        self._files: list[RowFile] = []
        try:
            for name in self._names:
                self._open(task.folder / name)
        except BaseException:
            self.discard()
            raise

    def take(self, rows: Iterable[PredictedRows], config: ExtractConfig | None, heart: Heart) -> None:
        """Write all rows, and draw them into a copy of the video where that is asked for.

        Args:
            rows: The rows.
            config: Of the features; None where they come from a store.
            heart: Is told that the work goes on.
        """
        passing = self._written(rows)
        if self._overlay is not None and self._task.media is not None and config is not None:
            from pipeline.prediction.overlay import write_overlay

            write_overlay(
                self._task.media,
                passing,
                self._overlay,
                media_config=config.media,
                limits=config.limits,
                note=self._task.note,
                beat=heart.beat,
            )
        for _ in passing:
            pass
        # A clip may have more tracks than a process may have files open.
        for file in self._files:
            file.finish()

    def commit(self) -> None:
        """Give the files their names.

        Raises:
            StorageError: The disk is full or not writable.
        """
        for file in self._files:
            file.commit()

    def discard(self) -> None:
        """Remove what was written, committed or not."""
        for file in self._files:
            file.discard()
        for name in self._names:
            (self._task.folder / name).unlink(missing_ok=True)

    def record(self, seconds: float) -> ClipRecord:
        """What the run is told."""
        table, *others = self._names
        return ClipRecord(
            clip_id=self._clip_id,
            source=self._task.clip_id,
            source_state=self._task.source_state,
            status="predicted",
            file=table,
            media=self._task.shown_media,
            num_frames=self._num_frames,
            num_face_frames=self._num_face_frames,
            seconds=seconds,
            others=tuple(others),
        )

    def _open(self, path: Path) -> None:
        """The file of a name; of several that go together, the first one stands for all."""
        if path.suffix == f".{self._task.table_format}":
            file = table_file(path, self._task.table_format, self._task.table, self._task.media)
            self._files.append(file)
        elif path.suffix == ".eaf":
            self._files.append(ElanFiles(path, self._task.media))
        elif path.suffix == ".TextGrid":
            self._files.append(PraatFiles(path))
        elif path.suffix == ".mp4":
            self._overlay = path

    def _written(self, rows: Iterable[PredictedRows]) -> Iterator[PredictedRows]:
        """Rows on their way."""
        for block in rows:
            for file in self._files:
                file.add(block)
            self._num_frames += len(block)
            self._num_face_frames += int(block.face_found.sum())
            yield block


def _blocks(
    task: PredictionTask, predictor: Predictor | StorePredictor, heart: Heart, spill: Path
) -> Iterator[PredictedRows]:
    """The clip's rows, with a sign of life for each block."""
    num_rows = 0
    if task.source is None or predictor.config is None:
        blocks = predictor.stream_store(_store(task.stores), task.clip_id)
    else:
        # What the header says is for the display alone; what is wrong with the file, decoding says better.
        with suppress(Exception):
            heart.expect(_claimed_frames(task.source.media, predictor.config))
        blocks = predictor.stream(task.source, spill=spill, clock=heart.clock, beat=heart.beat)
    for block in blocks:
        num_rows += len(block)
        heart.beat(num_rows)
        yield block


def _claimed_frames(media: Path, config: ExtractConfig) -> int:
    """About how many rows a video gives, by its header."""
    with open_container(media, config.limits) as container:
        stream = picture_stream(container, config.media.video_stream)
        assert stream is not None
        length_s = (
            float(stream.duration * stream.time_base)
            if stream.duration and stream.time_base
            else (container.duration or 0) / 1e6
        )
        rate_hz = config.media.resample_fps
        if rate_hz is None:
            return stream.frames or round(length_s * float(stream.average_rate or 0))
        return round(length_s * rate_hz)


@lru_cache(maxsize=1)
def _store(stores: tuple[str, ...]) -> FeatureStore:
    """Kept from clip to clip: opening a store checks its record."""
    return open_features(stores)


def _discard(files: Iterable[_ClipFiles]) -> None:
    for each in files:
        each.discard()


@contextmanager
def _scratch(task: PredictionTask) -> Iterator[Path]:
    """A folder of the clip's own, on the disk of its files. Where this process dies, the run removes it."""
    try:
        shutil.rmtree(task.scratch, ignore_errors=True)
        task.scratch.mkdir(parents=True)
    except OSError as error:
        raise StorageError(
            f"cannot write into {task.folder} ({error.strerror or error}); free space there or choose "
            "another --out"
        ) from error
    try:
        yield task.scratch
    finally:
        shutil.rmtree(task.scratch, ignore_errors=True)
