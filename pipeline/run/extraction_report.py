"""What a run of stage one did, clip by clip: `extraction_report.json`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from cache.atomic_file import make_directory, replacement_of
from cache.canonical_json import Json
from pipeline.errors import ExtractionError

REPORT_NAME = "extraction_report.json"
FORMAT_VERSION = 1

Status = Literal["extracted", "kept", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class ClipOutcome:
    """What became of one clip.

    Attributes:
        clip_id: The clip.
        status: `extracted` in this run, `kept` from an earlier one, `failed`, or `skipped`: not finished, and
            not tried because the run was told to try others alone.
        num_parts: Clips of the store that it gave: one, or one per track of a face with `subject: all`.
        num_frames: Rows of the clip, of all tracks together.
        num_face_frames: Rows with a face.
        num_audio_frames: Rows with sound.
        seconds: Wall time spent on the clip in this run.
        stage_seconds: The same by stage.
        failed_stage: Where it failed.
        error: Why it failed, on one line.
    """

    clip_id: str
    status: Status
    num_parts: int = 0
    num_frames: int = 0
    num_face_frames: int = 0
    num_audio_frames: int = 0
    seconds: float = 0.0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    failed_stage: str | None = None
    error: str | None = None

    @property
    def frames_per_s(self) -> float:
        """Rows over the wall time spent on the clip in this run, 0 where none was."""
        return self.num_frames / self.seconds if self.seconds > 0 else 0.0


def outcome_of_parts(
    clip_id: str,
    status: Literal["extracted", "kept"],
    facts: Sequence[Mapping[str, Json]],
    *,
    seconds: float = 0.0,
    stage_seconds: Mapping[str, float] | None = None,
) -> ClipOutcome:
    """Outcome of a clip that is finished.

    Args:
        clip_id: The clip.
        status: Whether it was extracted in this run.
        facts: Of its part, or of its tracks' parts.
        seconds: Wall time spent on it in this run, as far as it is known.
        stage_seconds: The same by stage.
    """

    def total(name: str) -> int:
        values = [part.get(name) for part in facts]
        return sum(value for value in values if isinstance(value, int))

    return ClipOutcome(
        clip_id=clip_id,
        status=status,
        num_parts=len(facts),
        num_frames=total("num_frames"),
        num_face_frames=total("num_face_frames"),
        num_audio_frames=total("num_audio_frames"),
        seconds=seconds,
        stage_seconds=stage_seconds or {},
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

    def count(self, status: Status) -> int:
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
            "num_skipped": self.count("skipped"),
            "num_parts": sum(clip.num_parts for clip in self.clips),
            "num_frames": sum(clip.num_frames for clip in self.clips),
            "num_face_frames": sum(clip.num_face_frames for clip in self.clips),
            "num_audio_frames": sum(clip.num_audio_frames for clip in self.clips),
            # Over the wall time of the whole run, waiting and packing included.
            "extracted_frames_per_s": num_frames / self.seconds if self.seconds > 0 else 0.0,
            # Summed over all workers.
            "stage_seconds": stages,
        }
        mapping = {"format_version": FORMAT_VERSION, "totals": totals, **asdict(self)}
        mapping["clips"] = [asdict(clip) | {"frames_per_s": clip.frames_per_s} for clip in self.clips]
        make_directory(path.parent.absolute())
        with replacement_of(path) as file:
            file.write(json.dumps(mapping, indent=1, allow_nan=False).encode())


def read_report(path: Path) -> ExtractionReport:
    """The report of an earlier run.

    Args:
        path: Its file.

    Raises:
        ExtractionError: There is none, or the file is not a whole report.
    """
    where = f"report {str(path)!r}"
    remedy = "name the report of the run whose failures to try again, or run without --retry-failed"
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ExtractionError(
            f"{where}: expected {REPORT_NAME} of an earlier run, found no file; {remedy}"
        ) from None
    except (OSError, ValueError) as error:
        raise ExtractionError(f"{where}: expected JSON, got {error}; {remedy}") from error
    from pydantic import TypeAdapter, ValidationError  # late: only a second try needs it

    try:
        version = content["format_version"]
        if version != FORMAT_VERSION:
            raise ExtractionError(
                f"{where}: expected format {FORMAT_VERSION}, got {version!r} of another version; {remedy}"
            )
        return TypeAdapter(ExtractionReport).validate_python(content)
    except (KeyError, TypeError) as error:
        raise ExtractionError(f"{where}: expected an extraction report, got other JSON; {remedy}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ExtractionError(
            f"{where}: expected an extraction report, got a wrong {place!r} ({first['msg']}); {remedy}"
        ) from error


def clips_to_retry(path: Path, clip_ids: Collection[str]) -> frozenset[str]:
    """The clips that an earlier run's report names as failed, as far as they still exist.

    Args:
        path: The report.
        clip_ids: The clips of this run's manifest.

    Returns:
        At least one clip id.

    Raises:
        ExtractionError: No report, or it names no failed clip that the source still holds.
    """
    failed = {clip.clip_id for clip in read_report(path).failures}
    if not failed.intersection(clip_ids):
        found = f"{len(failed)} that the source does not hold" if failed else "none"
        raise ExtractionError(
            f"report {str(path)!r}: expected failed clips to try again, found {found}; run without "
            "--retry-failed"
        )
    return frozenset(failed.intersection(clip_ids))
