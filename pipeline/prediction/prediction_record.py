"""`prediction.json`: what the tables in a folder were predicted from, by what, and what became of each clip.

The record is replaced whole as clips are done, at most once a second, so that the next run goes on from one
that was killed; what that one did in its last second is done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from cache.atomic_file import make_directory, replacement_of
from cache.errors import StorageError
from pipeline.errors import ExtractionError

RECORD_NAME = "prediction.json"
FORMAT = "tagf-prediction-1"

ClipStatus = Literal["predicted", "failed"]


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """What became of one clip, or of one track of a face where every track is a clip.

    Attributes:
        clip_id: The clip.
        source: Clip of the media file: the same, or that of which this is a track.
        source_state: Of the media as they were predicted, see `PredictionRun`.
        status: Whether it came to anything.
        file: Name of its table in the folder; None for a failed clip.
        media: The media file; None for features from a store.
        failed_stage: Where it failed.
        error: Why it failed, on one line.
        num_frames: Rows.
        num_face_frames: Rows with a face.
        seconds: Wall time that its media file took, all tracks together.
        others: Names of further files in the folder that belong to it.
    """

    clip_id: str
    source: str
    source_state: str
    status: ClipStatus
    file: str | None = None
    media: str | None = None
    failed_stage: str | None = None
    error: str | None = None
    num_frames: int = 0
    num_face_frames: int = 0
    seconds: float = 0.0
    others: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all of its files."""
        return self.others if self.file is None else (self.file, *self.others)


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """All that decides what is in the tables, but for the media.

    Attributes:
        tagf: Version of this program.
        checkpoints: `path`, `sha256` and `head` of each head.
        random_weights: Whether a frozen backbone has random weights.
        extract: Settings of stage one, as the feature spec has them.
        smoothing: `kind` and `seconds`; None for none.
        device: `cpu` or `cuda`.
        columns: Of the tables.
        file_format: Of the tables.
        versions: Versions of Python and of the computing libraries.
        forms: What else is written of each clip: `elan`, `praat`, `overlay`.
    """

    tagf: str
    checkpoints: tuple[Mapping[str, str], ...]
    random_weights: bool
    extract: Mapping[str, Any]
    smoothing: Mapping[str, Any] | None
    device: str
    columns: tuple[str, ...]
    file_format: str
    versions: Mapping[str, str]
    forms: tuple[str, ...] = ()

    @property
    def gives_tracks(self) -> bool:
        """Whether every track of a face was a clip of its own."""
        return self.extract.get("faces.subject") == "all"

    def difference(self, other: PredictionSettings) -> str | None:
        """What is different about other settings, for a message; None where nothing is.

        Where the checkpoints lie is no difference.
        """
        ours, theirs = self._comparable(), other._comparable()
        for name, value in ours.items():
            if isinstance(value, Mapping) and isinstance(theirs[name], Mapping):
                for key in sorted({*value, *theirs[name]}):
                    if value.get(key) != theirs[name].get(key):
                        return f"{name} {key} {theirs[name].get(key)!r}, not {value.get(key)!r}"
            elif value != theirs[name]:
                return f"{name} {_shown(theirs[name])}, not {_shown(value)}"
        return None

    def _comparable(self) -> dict[str, Any]:
        mapping = json.loads(json.dumps(asdict(self)))
        mapping["checkpoints"] = [each["sha256"] for each in self.checkpoints]
        return dict(mapping)


@dataclass(kw_only=True)
class PredictionRecord:
    """The record of a folder.

    Attributes:
        settings: Of all its tables.
        clips: By clip id, in the order in which they were given.
        unfinished: Clips that a run is at, and what the names of their files begin with: files of such names
            that no clip names are left over from a run that was killed.
    """

    settings: PredictionSettings
    clips: dict[str, ClipRecord] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> frozenset[str]:
        """Names of all files that clips name."""
        return frozenset(name for clip in self.clips.values() for name in clip.files)

    def write(self, folder: Path) -> None:
        """Replace the record of a folder.

        Raises:
            StorageError: The disk is full or not writable.
        """
        content = {"format": FORMAT, **asdict(self.settings)}
        content |= {"clips": [asdict(clip) for clip in self.clips.values()], "unfinished": self.unfinished}
        try:
            make_directory(folder)
            with replacement_of(folder / RECORD_NAME) as file:
                file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
        except OSError as error:
            raise StorageError(
                f"{folder / RECORD_NAME} cannot be written ({error.strerror or error}); free space there or "
                "choose another --out"
            ) from error

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The record of a folder; None where there is none.

        Raises:
            ExtractionError: It is damaged, or of another version.
        """
        path = folder / RECORD_NAME
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ExtractionError(f"{path} cannot be read ({error}); {_REMEDY}") from error
        try:
            if content.pop("format") != FORMAT:
                raise ValueError("another format")
            clips = [
                ClipRecord(**(clip | {"others": tuple(clip["others"])})) for clip in content.pop("clips")
            ]
            for name in ("checkpoints", "columns", "forms"):
                content[name] = tuple(content[name])
            unfinished = dict(content.pop("unfinished"))
            # Files of these names are removed, and no path leads out of the folder.
            for name in (*unfinished.values(), *(name for clip in clips for name in clip.files)):
                if not name or Path(name).name != name:
                    raise ValueError(f"{name!r} is no name of a file")
            return cls(
                settings=PredictionSettings(**content),
                clips={clip.clip_id: clip for clip in clips},
                unfinished=unfinished,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ExtractionError(
                f"{path}: expected a record of format {FORMAT!r}, got something else ({error}); {_REMEDY}"
            ) from error


_REMEDY = "choose another --out, or remove that file and the tables beside it"


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
