"""Files for Praat (Boersma and Weenink): annotations, and curves of every row.

    NAME.TextGrid               tiers with the mean of each second; opens together with the sound
    NAME.valence.RealTier       every row's value; "View & Edit" draws it, and queries take it by time
    NAME.arousal.RealTier

RealTier is Praat's kind of object for values over time without a physical unit (its manual, "RealTier").
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.prediction.annotation_tiers import Span, TierTally
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_files import PartialFile

_CURVES = ("valence", "arousal")


class PraatFiles:
    """The three files of one clip.

    Args:
        path: Where the `.TextGrid` file goes; the others go beside it.
    """

    def __init__(self, path: Path) -> None:
        self._tally = TierTally()
        self._num_points = 0
        self._grid = PartialFile(path)
        self._curves = [PartialFile(path.with_name(f"{path.stem}.{name}.RealTier")) for name in _CURVES]
        with self._grid.guarded():
            # A curve's file says first how many points there are.
            self._points = [tempfile.TemporaryFile(dir=path.parent) for _ in _CURVES]  # noqa: SIM115

    def add(self, rows: PredictedRows) -> None:
        """As `RowFile.add`."""
        self._tally.add(rows)
        times = rows.time_s.tolist()
        for points, curve, values in zip(self._points, self._curves, rows.values.T.tolist(), strict=True):
            with curve.guarded():
                for number, (time_s, value) in enumerate(
                    zip(times, values, strict=True), start=self._num_points + 1
                ):
                    points.write(
                        f"points [{number}]:\n    number = {time_s:.6f} \n    value = {value:.6f} \n".encode()
                    )
        self._num_points += len(rows)

    def finish(self) -> None:
        """As `RowFile.finish`."""
        tiers = self._tally.tiers()
        # From 0 on, as the sound is, wherever the first frame lies.
        start_s, stop_s = min(tiers.start_s, 0.0), max(tiers.stop_s, 0.0)
        for points, curve in zip(self._points, self._curves, strict=True):
            with curve.guarded():
                curve.file.write(
                    f'File type = "ooTextFile"\nObject class = "RealTier"\n\n'
                    f"xmin = {start_s:.6f} \nxmax = {stop_s:.6f} \n"
                    f"points: size = {self._num_points} \n".encode()
                )
                points.seek(0)
                shutil.copyfileobj(points, curve.file)
                points.close()
        with self._grid.guarded():
            self._grid.file.writelines(line.encode() for line in _text_grid(tiers.tiers, start_s, stop_s))
        for file in (*self._curves, self._grid):
            file.finish()

    def commit(self) -> None:
        """As `RowFile.commit`."""
        for file in (*self._curves, self._grid):
            file.commit()

    def discard(self) -> None:
        """As `RowFile.discard`."""
        for points in self._points:
            points.close()
        for file in (*self._curves, self._grid):
            file.discard()


def _text_grid(tiers: dict[str, tuple[Span, ...]], start_s: float, stop_s: float) -> Iterator[str]:
    """Lines of a TextGrid in Praat's long text format."""
    yield (
        f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        f"xmin = {start_s:.6f} \nxmax = {stop_s:.6f} \ntiers? <exists> \nsize = {len(tiers)} \nitem []: \n"
    )
    for number, (name, spans) in enumerate(tiers.items(), start=1):
        intervals = list(_without_gaps(spans, start_s, stop_s))
        yield (
            f'    item [{number}]:\n        class = "IntervalTier" \n        name = "{name}" \n'
            f"        xmin = {start_s:.6f} \n        xmax = {stop_s:.6f} \n"
            f"        intervals: size = {len(intervals)} \n"
        )
        for place, span in enumerate(intervals, start=1):
            yield (
                f"        intervals [{place}]:\n            xmin = {span.start_s:.6f} \n"
                f'            xmax = {span.stop_s:.6f} \n            text = "{span.text}" \n'
            )


def _without_gaps(spans: tuple[Span, ...], start_s: float, stop_s: float) -> Iterator[Span]:
    """Spans from the start to the end; empty ones where there was none, as Praat asks for."""
    at_s = start_s
    for span in spans:
        if span.start_s > at_s:
            yield Span(start_s=at_s, stop_s=span.start_s, text="")
        yield span
        at_s = span.stop_s
    if stop_s > at_s or not spans:
        yield Span(start_s=at_s, stop_s=stop_s, text="")
