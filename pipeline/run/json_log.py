"""A run's events for machines: one JSON object per line, written as they happen.

{"event": "run_started", "time": "2026-01-31T12:00:00.000Z", ...}
{"event": "clip", "time": ..., "clip": "s01", "status": "extracted", "frames": 250, "seconds": 3.1, ...}
{"event": "note", "time": ..., "note": "..."}
{"event": "run_ended", "time": ..., "status": "complete", ...}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from cache.atomic_file import make_directory
from cache.canonical_json import Json
from cache.errors import StorageError
from pipeline.run.extraction_report import ClipOutcome, ExtractionReport


class JsonLog:
    """The log of a run. Lines are added to what the file holds; each is written whole and at once.

    Args:
        path: The file; None for no log.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._has_ended = False
        try:
            if path is not None:
                make_directory(path.parent.absolute())
            # Unbuffered: a killed run leaves all it has said.
            self._file = None if path is None else path.open("ab", buffering=0)
        except OSError as error:
            raise self._refusal(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the log, with the error that ended the run if one did."""
        try:
            if error is not None and not self._has_ended:
                message = " ".join(str(error).split())
                self._write("run_ended", {"status": "failed", "error": message or type(error).__name__})
        finally:
            if self._file is not None:
                self._file.close()

    def run_started(self, facts: Mapping[str, Json]) -> None:
        """The run begins.

        Args:
            facts: What tells runs apart: source, store, number of clips, workers and so on.
        """
        self._write("run_started", facts)

    def clip(self, outcome: ClipOutcome) -> None:
        """A clip is done, one way or another."""
        facts: dict[str, Json] = {
            "clip": outcome.clip_id,
            "status": outcome.status,
            "frames": outcome.num_frames,
            "face_frames": outcome.num_face_frames,
            "audio_frames": outcome.num_audio_frames,
            "seconds": round(outcome.seconds, 3),
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in outcome.stage_seconds.items()},
        }
        if outcome.status == "failed":
            facts |= {"failed_stage": outcome.failed_stage, "error": outcome.error}
        self._write("clip", facts)

    def note(self, note: str) -> None:
        """The run found something out, or decided something."""
        self._write("note", {"note": note})

    def run_ended(self, report: ExtractionReport) -> None:
        """The run is over; the last line.

        Args:
            report: What came of it.
        """
        self._has_ended = True
        counts: dict[str, Json] = {
            f"num_{status}": report.count(status) for status in ("extracted", "kept", "failed", "skipped")
        }
        self._write(
            "run_ended",
            {
                "status": "complete" if report.packed else "failed",
                "store": report.store,
                "seconds": round(report.seconds, 3),
                "frames": sum(clip.num_frames for clip in report.clips),
                **counts,
            },
        )

    def _write(self, event: str, facts: Mapping[str, Json]) -> None:
        if self._file is None:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"event": event, "time": time, **facts}, allow_nan=False)
        try:
            self._file.write(line.encode() + b"\n")
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> StorageError:
        return StorageError(
            f"log {str(self._path)!r} cannot be written: {error.strerror}; free the disk or name another file"
        )
