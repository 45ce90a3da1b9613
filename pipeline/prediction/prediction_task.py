"""One clip's prediction, as it travels from the run to the process that works on it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.clip_source import ClipSource
from pipeline.prediction.prediction_files import TableFormat
from pipeline.prediction.prediction_record import ClipRecord
from pipeline.prediction.prediction_table import PredictionTable
from tagf_head.evaluation.smoothing import Smoothing

#: What is written of a clip beside its table.
Form = Literal["elan", "praat", "overlay"]
#: Whose face it is where there are several.
SubjectChoice = Literal["largest", "longest", "left", "right", "all"]
_SUFFIXES = {
    "elan": (".eaf", ".elan.tsv", "_tsconf.xml"),
    "praat": (".TextGrid", ".valence.RealTier", ".arousal.RealTier"),
    "overlay": (".overlay.mp4",),
}


@dataclass(frozen=True, kw_only=True)
class PredictorSettings:
    """What a process loads, once for all clips.

    Attributes:
        checkpoints: Files of the heads.
        digests: Their SHA-256, as the run has seen them.
        device: Where the networks and the heads run.
        params: YAML file with the `extract` section of the heads' features; None for what they tell.
        weights: Stream and file of backbones' weights.
        subject: Whose face; None for what the features' settings say.
        from_store: Whether heads alone are needed: features come from a store.
        smoothing: What is done to the predictions; None for nothing.
    """

    checkpoints: tuple[Path, ...]
    digests: tuple[str, ...]
    device: str
    params: Path | None
    weights: tuple[tuple[str, str], ...]
    subject: SubjectChoice | None
    from_store: bool
    smoothing: Smoothing | None


@dataclass(frozen=True, kw_only=True)
class PredictionTask:
    """One clip's work.

    Attributes:
        predictor: What predicts it.
        clip_id: The clip.
        source: Its media; None where its features come from a store.
        stores: Paths or URLs of the store, or of the stores that count as one; none where there are media.
        source_state: Of the media, or the store, when the run began.
        folder: Where its files go.
        name: What their names begin with; those of a track end in its number.
        table: Makes its table.
        table_format: Of the table.
        forms: What else is written.
        note: A line that stands in every picture of an overlay.
    """

    predictor: PredictorSettings
    clip_id: str
    source: ClipSource | None
    stores: tuple[str, ...] = ()
    source_state: str
    folder: Path
    name: str
    table: PredictionTable
    table_format: TableFormat
    forms: frozenset[Form] = frozenset()
    note: str = ""

    @property
    def media(self) -> Path | None:
        """The media file."""
        return None if self.source is None else self.source.media

    @property
    def shown_media(self) -> str | None:
        """The media file as the record names it."""
        return None if self.media is None else str(self.media.absolute())

    @property
    def scratch(self) -> Path:
        """Folder for what waits on the disk while the clip is worked on."""
        return scratch_folder(self.folder, self.name)

    def name_of(self, clip_id: str) -> str:
        """What names of files begin with, of the clip or of one of its tracks."""
        return self.name + clip_id.removeprefix(self.clip_id)

    def file_names(self, clip_id: str) -> tuple[str, ...]:
        """Names of all files of the clip, or of one of its tracks; its table first."""
        name = self.name_of(clip_id)
        return tuple(f"{name}{suffix}" for suffix in file_suffixes(self.table_format, self.forms))

    def failure(self, stage: str, error: str, seconds: float) -> ClipRecord:
        """What the record says of the clip where it failed.

        Args:
            stage: Where.
            error: Why, on one line.
            seconds: Wall time that it took.
        """
        return ClipRecord(
            clip_id=self.clip_id,
            source=self.clip_id,
            source_state=self.source_state,
            status="failed",
            media=self.shown_media,
            failed_stage=stage,
            error=error,
            seconds=seconds,
        )


def scratch_folder(folder: Path, name: str) -> Path:
    """Where what a clip of some name keeps on the disk meanwhile."""
    return folder / f".{name}.scratch"


def file_suffixes(table_format: str, forms: Collection[str]) -> tuple[str, ...]:
    """How the names of a clip's files end; its table's first."""
    return (f".{table_format}", *(suffix for form in sorted(forms) for suffix in _SUFFIXES[form]))
