"""A submission to the valence-arousal challenge of ABAW: one text file of all frames of all test videos.

    image_location,valence,arousal
    video59_left/00001.jpg,0.123000,-0.456000

Rows, their order and their first cells are those of the organisers' sample file. Every row has to have its
two numbers, whether or not the video decodes to as many frames as the organisers counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cache.atomic_file import replacement_of
from pipeline.clip_source import folded
from pipeline.submission.errors import SubmissionError
from pipeline.submission.image_location import HEADER
from pipeline.submission.prediction_spool import PredictionSpool
from pipeline.submission.template import TemplateRun, stream_runs

# A clip id, ``(N,)`` frames counted from 0, ``(N, 2)`` valence and arousal.
ClipValues = tuple[str, NDArray[np.int64], NDArray[np.floating]]

_NUM_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class AbawReport:
    """What was written.

    Attributes:
        path: The file.
        num_videos: Videos of the template.
        num_rows: Rows, without the header.
        num_filled: Video -> rows that have the values of the nearest predicted frame; videos with none are
            left out.
        num_clipped: Rows with a value that was brought into [-1, 1].
        unlisted: Clips with predictions that the template does not ask for.
    """

    path: Path
    num_videos: int
    num_rows: int
    num_filled: Mapping[str, int]
    num_clipped: int
    unlisted: tuple[str, ...]

    @property
    def message(self) -> str:
        """All of it for people, a line for each fact."""
        lines = [f"{self.path}: {self.num_rows} rows of {self.num_videos} videos"]
        if self.num_filled:
            most = sorted(self.num_filled, key=lambda video: -self.num_filled[video])
            lines.append(
                f"  {sum(self.num_filled.values())} rows of {len(most)} videos have no prediction and got "
                "that of the nearest frame: "
                + named([f"{video} ({self.num_filled[video]})" for video in most])
            )
        if self.num_clipped:
            lines.append(f"  {self.num_clipped} rows had values outside [-1, 1] and were clipped")
        if self.unlisted:
            lines.append(
                f"  {len(self.unlisted)} predicted clips are not in the template and were left out: "
                + named(self.unlisted)
            )
        return "\n".join(lines)


def write_abaw(
    template: Path, clips: Iterable[ClipValues], out: Path, *, failures: Mapping[str, str] | None = None
) -> AbawReport:
    """Write a submission in the rows and the order of a sample file.

    A frame without a prediction (rows at a lower rate, a video that decodes to fewer frames than the
    organisers counted, no number) gets that of the nearest predicted frame of its video; of two at the same
    distance, that of the earlier.

    Args:
        template: The organisers' sample file.
        clips: Predictions, in any order and in as many blocks per clip as one likes; read once. A clip is
            found by its id: the name of a video in the template.
        out: File to write; it appears when it is complete.
        failures: Clip -> why there are no predictions of it, for the message.

    Returns:
        What was filled, clipped and left out.

    Raises:
        SubmissionError: The template is none, or names videos without any prediction.
    """
    num_rows: dict[str, int] = {}
    for run in stream_runs(template):
        num_rows[run.video] = num_rows.get(run.video, 0) + len(run.frame)
    unlisted: dict[str, None] = {}
    with PredictionSpool() as spool:
        for clip_id, frame, values in clips:
            if clip_id in num_rows:
                spool.add(clip_id, frame, values)
            else:
                unlisted[clip_id] = None
        missing = [video for video in num_rows if video not in spool]
        if missing:
            raise SubmissionError(_missing(template, missing, len(num_rows), [*unlisted], failures or {}))
        with replacement_of(out) as file:
            file.write(f"{HEADER}\n".encode())
            num_filled, num_clipped = _write_rows(file, template, spool)
    return AbawReport(
        path=out,
        num_videos=len(num_rows),
        num_rows=sum(num_rows.values()),
        num_filled=num_filled,
        num_clipped=num_clipped,
        unlisted=tuple(unlisted),
    )


def named(names: Iterable[str]) -> str:
    """The first few of some names, and how many more there are."""
    names = [*names]
    more = len(names) - _NUM_NAMED
    return ", ".join(names[:_NUM_NAMED]) + (f" and {more} more" if more > 0 else "")


def _write_rows(file: BinaryIO, template: Path, spool: PredictionSpool) -> tuple[dict[str, int], int]:
    """Write all rows; how many were filled, by video, and how many clipped."""
    num_filled: dict[str, int] = {}
    num_clipped = 0
    video, frame, values = "", np.empty(0, np.int64), np.empty((0, 2))
    for run in stream_runs(template):
        if run.video != video or not len(frame):
            video, (frame, values) = run.video, spool.rows_of(run.video)
        nearest = _nearest(frame, run.frame)
        filled = int((frame[nearest] != run.frame).sum())
        if filled:
            num_filled[video] = num_filled.get(video, 0) + filled
        of_rows = values[nearest]
        num_clipped += int((np.abs(of_rows) > 1).any(axis=1).sum())
        file.write(_text(run, of_rows))
    return num_filled, num_clipped


def _nearest(frame: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the rising frame that is nearest to each wanted one, the earlier of two."""
    after = np.minimum(np.searchsorted(frame, wanted), len(frame) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(wanted - frame[before]) <= np.abs(frame[after] - wanted), before, after)


def _text(run: TemplateRun, values: NDArray[np.float64]) -> bytes:
    # Rounded first, and 0 added: nobody hands in -0.000000.
    rounded = np.round(np.clip(values, -1, 1), 6) + 0.0
    return "".join(
        f"{location},{valence:.6f},{arousal:.6f}\n"
        for location, (valence, arousal) in zip(run.locations, rounded.tolist(), strict=True)
    ).encode()


def _missing(
    template: Path,
    missing: list[str],
    num_videos: int,
    unlisted: list[str],
    failures: Mapping[str, str],
) -> str:
    """What to say of videos without predictions, and what may have gone wrong."""
    text = (
        f"template {str(template)!r}: {len(missing)} of its {num_videos} videos have no prediction: "
        + named([repr(video) for video in missing])
    )
    failed = [video for video in missing if video in failures]
    if failed:
        return (
            f"{text}; the prediction of {named([repr(video) for video in failed])} failed, of {failed[0]!r}: "
            f"{' '.join(failures[failed[0]].split())}; mend that and predict again"
        )
    # Clip ids of the layout `videos` are paths: batch1/video59.
    alike = {folded(clip_id.rpartition("/")[2]): clip_id for clip_id in unlisted}
    near = next((video for video in missing if folded(video) in alike), None)
    if near is not None:
        return (
            f"{text}; predicted clips have other names, like {alike[folded(near)]!r} for {near!r}: predict "
            "with '--layout aff-wild2', which names clips as the challenge does"
        )
    return f"{text}; predict them too" + (
        f" (predicted and not in the template: {named(unlisted)})" if unlisted else ""
    )
