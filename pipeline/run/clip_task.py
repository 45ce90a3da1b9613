"""One clip's work, as it travels from the run to a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cache.parts import ClipKey
from cache.spec import FeatureSpec
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.degradation.degradation import Degradation
from pipeline.run.clip_keys import gives_tracks
from pipeline.run.running_clips import SCRATCH_PREFIX


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
    """One clip's work.

    Attributes:
        source: The clip.
        key: Name of its part; with `subject: all`, of its list of tracks.
        media_state: The media file as it was when its digest was taken.
        config: The `extract` section.
        spec: The feature spec of that section.
        device: Where the networks run.
        server: Address of the process that runs the networks; None where the clip's own process does.
        parts: Directory of the parts.
        running: Directory in which the run's workers note what they are at.
        code_digest: Of the parent's numeric code.
        accelerator: Model of the server's GPU.
        preview: Folder for the clip's contact sheet; None for none.
        degradation: What is done to the clip before its rows are made; None for nothing.
    """

    source: ClipSource
    key: ClipKey
    media_state: MediaState
    config: ExtractConfig
    spec: FeatureSpec
    device: str
    server: str | None
    parts: Path
    running: Path
    code_digest: str
    accelerator: str | None = None
    preview: Path | None = None
    degradation: Degradation | None = None

    @property
    def scratch(self) -> Path:
        """Folder for what waits on the disk while the clip is worked on."""
        return self.running / f"{SCRATCH_PREFIX}{self.key.digest}"

    @property
    def gives_tracks(self) -> bool:
        """Whether every track of a face is a clip of its own."""
        return gives_tracks(self.source, self.config)
