"""What a run of stage one did, clip by clip: `extraction_report.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from cache.atomic_file import make_directory, replacement_of
from cache.parts import Json

REPORT_NAME = "extraction_report.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ClipOutcome:
    """What became of one clip.

    Attributes:
        clip_id: The clip.
        status: `extracted` in this run, `kept` from an earlier one, or `failed`.
        num_frames: Rows of the clip.
        num_face_frames: Rows with a face.
        num_audio_frames: Rows with sound.
        seconds: Wall time spent on the clip in this run.
        stage_seconds: The same by stage.
        failed_stage: Where it failed.
        error: Why it failed, on one line.
    """

    clip_id: str
    status: Literal["extracted", "kept", "failed"]
    num_frames: int = 0
    num_face_frames: int = 0
    num_audio_frames: int = 0
    seconds: float = 0.0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    failed_stage: str | None = None
    error: str | None = None


def outcome_of_part(
    clip_id: str, status: Literal["extracted", "kept"], facts: Mapping[str, Json]
) -> ClipOutcome:
    """Outcome of a clip of which nothing is known but its part's facts."""
    names = ("num_frames", "num_face_frames", "num_audio_frames")
    num_frames, num_face_frames, num_audio_frames = (
        value if isinstance(value := facts.get(name), int) else 0 for name in names
    )
    return ClipOutcome(
        clip_id=clip_id,
        status=status,
        num_frames=num_frames,
        num_face_frames=num_face_frames,
        num_audio_frames=num_audio_frames,
    )


@dataclass(frozen=True, kw_only=True)
class ExtractionReport:
    """What became of a run.

    Attributes:
        store: Where the store lies, or would lie.
        packed: Whether this run wrote the store.
        fingerprint: Of the feature spec.
        code_digest: Of the numeric code of this run.
        workers: Number of processes.
        seconds: Wall time of the run.
        notes: What the run found out and decided, one line each.
        clips: In manifest order.
    """

    store: str
    packed: bool
    fingerprint: str
    code_digest: str
    workers: int
    seconds: float
    notes: tuple[str, ...]
    clips: tuple[ClipOutcome, ...]

    @property
    def failures(self) -> tuple[ClipOutcome, ...]:
        """The clips that failed."""
        return tuple(clip for clip in self.clips if clip.status == "failed")

    def count(self, status: Literal["extracted", "kept", "failed"]) -> int:
        """Number of clips with that outcome."""
        return sum(clip.status == status for clip in self.clips)

    def write(self, path: Path) -> None:
        """Write the report as JSON, whole or not at all."""
        extracted = [clip for clip in self.clips if clip.status == "extracted"]
        stages: dict[str, float] = {}
        for clip in extracted:
            for stage, seconds in clip.stage_seconds.items():
                stages[stage] = stages.get(stage, 0.0) + seconds
        num_frames = sum(clip.num_frames for clip in extracted)
        totals = {
            "num_clips": len(self.clips),
            "num_extracted": self.count("extracted"),
            "num_kept": self.count("kept"),
            "num_failed": self.count("failed"),
            "num_frames": sum(clip.num_frames for clip in self.clips),
            "num_face_frames": sum(clip.num_face_frames for clip in self.clips),
            "num_audio_frames": sum(clip.num_audio_frames for clip in self.clips),
            # Over the wall time of the whole run, waiting and packing included.
            "extracted_frames_per_s": num_frames / self.seconds if self.seconds > 0 else 0.0,
            # Summed over all workers.
            "stage_seconds": stages,
        }
        mapping = {"format_version": FORMAT_VERSION, "totals": totals, **asdict(self)}
        make_directory(path.parent.absolute())
        with replacement_of(path) as file:
            file.write(json.dumps(mapping, indent=1, allow_nan=False).encode())
