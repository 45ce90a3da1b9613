"""A report in the browser, in the words of the people who look at it: rows, traces, cursor, video."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray
from watched_page import WatchedPage, picture_of

from pipeline.cli.report import command

Chart = Literal["traces", "gate-map"]


def write_report(source: Path, out: Path, *options: str | Path) -> Path:
    """Run `tagf report`.

    Returns:
        `out`.
    """
    result = CliRunner().invoke(command, [str(source), "--out", str(out), *map(str, options)])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return out


class ReportPage:
    """A report.

    Args:
        watched: The page that it was opened in.
    """

    def __init__(self, watched: WatchedPage) -> None:
        self.watched, self.page = watched, watched.page
        watched.wait_until("document.readyState === 'complete'", what="loading")

    def clip_ids(self) -> list[str]:
        """The clips, in the order in which the table shows them."""
        ids: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('#clips-table tr[data-clip]')].filter(row => row.offsetHeight)"
            ".map(row => row.getAttribute('data-clip'))"
        )
        return ids

    def row(self, clip_id: str) -> Any:
        """The row of a clip, as a locator, whatever its name is made of."""
        return self.page.locator("#clips-table tr[data-clip]").nth(self.clip_ids().index(clip_id))

    def choose(self, clip_id: str) -> None:
        """Click on a clip's row."""
        self.row(clip_id).click()
        assert self.chosen() == clip_id

    def chosen(self) -> str | None:
        """The clip whose row says that it is the chosen one."""
        chosen: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('#clips-table tr[aria-selected=true]')]"
            ".map(row => row.getAttribute('data-clip'))"
        )
        assert len(chosen) <= 1
        return chosen[0] if chosen else None

    def wait_for_video(self) -> None:
        """Until the clip's video can show its first picture."""
        self.watched.wait_until(
            "(video => video.readyState >= 2 && !video.seeking)(document.querySelector('#clip-video'))",
            what="the clip's video",
        )

    def area(self, chart: Chart) -> dict[str, float]:
        """Plotting area of a chart, `x`, `y`, `width`, `height` in pixels of the window."""
        self.page.locator(f"#{chart}").scroll_into_view_if_needed()
        boxes = [
            box for each in self.page.locator(f"#{chart} .nsewdrag").all() if (box := each.bounding_box())
        ]
        assert boxes, f"{chart} is not drawn"
        left, top = min(box["x"] for box in boxes), min(box["y"] for box in boxes)
        right = max(box["x"] + box["width"] for box in boxes)
        bottom = max(box["y"] + box["height"] for box in boxes)
        return {"x": left, "y": top, "width": right - left, "height": bottom - top}

    def seconds_at(self, chart: Chart, x: float) -> float:
        """Time at a place, read off the chart's own labelled ticks, as a person would."""
        ticks: list[tuple[float, str]] = self.page.evaluate(
            f"[...document.querySelectorAll('#{chart} .xtick text')].map(text => {{"
            "  const box = text.getBoundingClientRect();"
            "  return [box.x + box.width / 2, text.textContent]; })"
        )
        places = [place for place, _ in ticks]
        times = [float(text.replace("\N{MINUS SIGN}", "-")) for _, text in ticks]
        assert len(times) >= 2, f"{chart} has no ticks to go by: {ticks}"
        slope, offset = np.polyfit(places, times, 1)
        return float(slope * x + offset)

    def click_chart(self, chart: Chart, share: float, *, height_share: float = 0.3) -> float:
        """Click into a chart.

        Args:
            chart: Which.
            share: Of the plotting area's width.
            height_share: Of its height.

        Returns:
            The time there, in seconds, by the ticks.
        """
        area = self.area(chart)
        x = round(area["x"] + share * area["width"])
        self.page.mouse.click(x, round(area["y"] + height_share * area["height"]))
        return self.seconds_at(chart, x)

    def cursor_s(self) -> float:
        """Where the traces' cursor says that it is, in seconds."""
        return float(self.page.get_attribute("#cursor", "data-time") or "nan")

    def cursor_on_chart_s(self, chart: Chart = "traces") -> float:
        """Where it lies on the chart, in seconds by the ticks."""
        box = self.page.locator("#cursor" if chart == "traces" else "#gate-cursor").bounding_box()
        assert box is not None
        return self.seconds_at(chart, box["x"] + box["width"] / 2)

    def time_text_s(self) -> float:
        """The time that is written beside the video."""
        text = self.page.inner_text("#clip-time")
        found = re.search(r"(?:(\d+):)?(\d+(?:\.\d+)?)", text)
        assert found, text
        return 60 * float(found[1] or 0) + float(found[2])

    def video_s(self) -> float:
        """The video's own clock."""
        return float(self.page.evaluate("document.querySelector('#clip-video').currentTime"))

    def frame_on_screen(self) -> int:
        """Number that the video shows."""
        return self.watched.frame_on_screen("#clip-video")

    def settle(self) -> None:
        """Until what was set in motion by a change of size or colours has been drawn."""
        self.page.wait_for_timeout(150)
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def scrolled_px(self) -> float:
        """How far down the page has been scrolled."""
        return float(self.page.evaluate("scrollY"))

    def picture(self, x: float, y: float, width: float, height: float) -> NDArray[np.uint8]:
        """RGB picture of a part of the window, in its pixels."""
        clip = {"x": x, "y": y, "width": width, "height": height}
        return picture_of(self.page.screenshot(clip=clip, animations="allow"))
