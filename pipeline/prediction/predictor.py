"""Valence and arousal of media in three lines of Python.

    from pipeline import Predictor

    predictor = Predictor.from_checkpoint("runs/tagf/best.safetensors")
    table = predictor.predict("video.mp4")

One pass over the media, through the very code of stage one and of evaluation: the same rows rounded to
float16, the same windows, passes and sums. So the values are those of `tagf extract` and
`tagf evaluate --predictions`, to the last bit on one CPU type.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from cache.store import FeatureStore
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.errors import ExtractionError, MediaError
from pipeline.extract import ClipExtraction
from pipeline.model_sharing.model_source import find_checkpoint
from pipeline.models import Models, load_models, resolve_device
from pipeline.prediction.clip_rows import RowBlock, media_rows, store_rows
from pipeline.prediction.column_names import parse_columns
from pipeline.prediction.extract_settings import extract_settings, library_note, read_by_heads
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_table import PredictionTable
from pipeline.prediction.prediction_task import SubjectChoice
from pipeline.prediction.row_prediction import predicted_rows
from pipeline.prediction.smoothed_rows import smoothed_rows
from pipeline.run.clip_keys import gives_tracks
from pipeline.run.track_list import track_clip_id
from pipeline.stage_clock import StageClock
from tagf_head.errors import CheckpointError
from tagf_head.evaluation.ensemble import Ensemble, load_ensemble
from tagf_head.evaluation.smoothing import Smoothing

if TYPE_CHECKING:
    from pandas import DataFrame  # type: ignore[import-untyped]


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """Heads, and what makes the features that they read; `from_checkpoint` puts one together.

    Attributes:
        ensemble: The heads; of several, the mean is predicted.
        config: The `extract` section of their features.
        models: The networks of that section: the view and the streams that heads read.
        device: Where everything computes.
        subject: Whose face it is where a clip does not say: `largest`, `longest`, `left`, `right`, or `all`:
            one clip per track of a face.
        smoothing: What is done to the values over time; None for nothing.
    """

    ensemble: Ensemble
    config: ExtractConfig
    models: Models
    device: torch.device
    subject: SubjectChoice
    smoothing: Smoothing | None = None

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path | Sequence[str | Path],
        *,
        device: str = "auto",
        params: Path | None = None,
        weights: Mapping[str, str] | None = None,
        subject: SubjectChoice | None = None,
        smoothing: Smoothing | None = None,
    ) -> Predictor:
        """Load a trained head, or several as an ensemble, and the networks of their features.

        Warns where the features were made with other versions of the computing libraries.

        Args:
            checkpoint: A run's best.safetensors, the folder of a run or of an export, or the name of a
                repository on Hugging Face; or several of these.
            device: `cpu`, `cuda`, `cuda:N`, or `auto`: a GPU where there is one.
            params: A YAML file with the `extract` section of the features; by default that of the checkpoint.
            weights: Stream (`visual`, `audio`) -> its weights, as `extract` names them; by default they are
                found by their digest.
            subject: Whose face it is where there are several; by default as in the features of the training.
            smoothing: What is done to the values over time.

        Raises:
            HeadError: A checkpoint cannot be used, or they do not go together.
            PipelineError: Weights are not at hand, settings differ, or this machine lacks the device.
        """
        names = [checkpoint] if isinstance(checkpoint, (str, Path)) else [*checkpoint]
        subjects = get_args(SubjectChoice)
        if subject is not None and subject not in subjects:
            raise ExtractionError(f"subject: expected one of {', '.join(subjects)}, got {subject!r}")
        place = resolve_device(device)
        ensemble = load_ensemble([find_checkpoint(name) for name in names], device=place)
        _require_same_features(ensemble)
        first = ensemble.members[0]
        config = extract_settings(
            first.checkpoint.info, params=params, weights=weights or {}, where=str(first.path)
        )
        if note := library_note(first.checkpoint.info.spec, where=str(first.path)):
            warnings.warn(note, stacklevel=2)
        return cls(
            ensemble=ensemble,
            config=config,
            models=load_models(read_by_heads(config), str(place)),
            device=place,
            subject=subject or config.faces.subject,
            smoothing=smoothing,
        )

    def stream(
        self,
        source: ClipSource | Path | str,
        *,
        spill: Path | None = None,
        clock: StageClock | None = None,
        beat: Callable[[int], None] = lambda _: None,
    ) -> Iterator[PredictedRows]:
        """Predict a media file, block by block: the first rows come while the rest is decoded.

        Memory does not grow with the clip.

        Args:
            source: The clip, or the path of a media file.
            spill: Existing folder for what waits on the disk; by default a temporary one of the system's.
            clock: Measures the stages of the work on the clip.
            beat: Called for every decoded frame and every block of rows, with the number of rows so far.

        Yields:
            Rows in order; with the subject `all` those of one track of a face after the other's, the clips
            being called `CLIP_track1` and so on, in the order of their first frames.

        Raises:
            MediaError: The media file cannot be decoded, or has no frames.
            ExtractionError: An embedding is not a number, or too large for float16.
            HeadError: A prediction is not finite.
        """
        blocks = self._of_media(self._clip(source), spill, clock or StageClock(), beat)
        return blocks if self.smoothing is None else smoothed_rows(blocks, self.smoothing)

    def stream_store(self, store: FeatureStore, clip_id: str) -> Iterator[PredictedRows]:
        """Predict a clip of a store, block by block.

        Args:
            store: Features like those that the heads were trained on.
            clip_id: The clip.

        Raises:
            StaleFeatureError: The store's features are others.
            CacheError: The store has no such clip, or its rows cannot be read.
            HeadError: A prediction is not finite.
        """
        for member in self.ensemble.members:
            store.require_spec(member.checkpoint.info.spec, where=str(member.path))
        blocks = self._predicted(clip_id, store_rows(store, clip_id))
        return blocks if self.smoothing is None else smoothed_rows(blocks, self.smoothing)

    def predict(self, media: ClipSource | Path | str, *, columns: Iterable[str] = ()) -> DataFrame:
        """Predict a media file.

        Args:
            media: The clip, or the path of a media file.
            columns: What the table has beside `clip_id, frame, time_s, valence, arousal, face_found`: of
                `faces`, `gates` and `deviation`; or another tool's names, `openface` or `py-feat`.

        Returns:
            One row per frame, with the columns that `tagf predict` writes.

        Raises:
            PipelineError: As `stream`; or no such columns.
            HeadError: As `stream`.
        """
        import pyarrow as pa

        chosen = PredictionTable(choice=parse_columns(columns), gate_candidates=self.ensemble.gate_candidates)
        clip = self._clip(media)
        tables = [chosen.of_rows(rows, clip.media) for rows in self.stream(clip)]
        return pa.concat_tables([chosen.schema.empty_table(), *tables]).to_pandas()

    def _clip(self, source: ClipSource | Path | str) -> ClipSource:
        if isinstance(source, ClipSource):
            clip = source
        else:
            clip = ClipSource(clip_id=Path(source).stem, media=Path(source))
            if not clip.media.is_file():
                raise MediaError(f"{str(source)!r}: no such media file; check the path")
        if clip.face is None and clip.faces is None and self.subject != "all":
            return replace(clip, face=self.subject)
        return clip

    def _of_media(
        self, clip: ClipSource, spill: Path | None, clock: StageClock, beat: Callable[[int], None]
    ) -> Iterator[PredictedRows]:
        config = self.config
        if self.subject == "all":
            config = replace(config, faces=replace(config.faces, subject="all"))
        with ExitStack() as stack:
            if spill is None:
                spill = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tagf-")))
            work = ClipExtraction(
                source=clip, config=config, models=self.models, spill=spill, clock=clock, beat=beat
            )
            if not gives_tracks(clip, config):
                yield from self._predicted(clip.clip_id, media_rows(work, work.faces()))
                return
            for number, track in enumerate(work.tracks(), start=1):
                rows = media_rows(work, track.crops())
                yield from self._predicted(track_clip_id(clip.clip_id, number), rows)

    def _predicted(self, clip_id: str, blocks: Iterable[RowBlock]) -> Iterator[PredictedRows]:
        return predicted_rows(self.ensemble, clip_id, blocks, self.device)


def _require_same_features(ensemble: Ensemble) -> None:
    """Refuse heads that read different features.

    Raises:
        CheckpointError: Their specs differ, be it in the libraries' versions.
    """
    first, *others = ensemble.members
    for member in others:
        expected, spec = first.checkpoint.info.spec, member.checkpoint.info.spec
        if different := expected.differences(spec, here=f"for {first.path}", there=f"for {member.path}"):
            raise CheckpointError(
                f"expected heads that read the same features, but {different[0]}; predict with one after the "
                "other"
            )
