"""The table of clips sorts by every column, in both directions, and keeps what belongs together."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable

import pytest
from report_page import ReportPage

pytestmark = pytest.mark.browser

UNKNOWN = ("", "\N{EN DASH}", "-", "\N{EM DASH}")


@pytest.fixture
def report(open_report, linked) -> ReportPage:
    return open_report(linked)


def headings(report: ReportPage) -> list[str]:
    names: list[str] = report.page.evaluate(
        "[...document.querySelectorAll('#clips-table th button[data-sort]')].map(each => each.dataset.sort)"
    )
    return names


def cells(report: ReportPage) -> list[list[str]]:
    """Texts of the rows, as they are shown."""
    rows: list[list[str]] = report.page.evaluate(
        "[...document.querySelectorAll('#clips-table tr[data-clip]')]"
        ".map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


def directions(report: ReportPage) -> dict[str, str]:
    """Column -> what its heading says of the order."""
    found: dict[str, str] = report.page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#clips-table thead th')].map(each => "
        "[each.querySelector('[data-sort]').dataset.sort, each.getAttribute('aria-sort') || 'none']))"
    )
    return found


def number(text: str) -> float:
    return float(re.sub(r"[^0-9.-]", "", text.replace("\N{MINUS SIGN}", "-")))


def test_numbers_and_texts_sort_both_ways(report, made_up):
    names = headings(report)
    assert {"clip", "frames", "valence_ccc", "arousal_ccc"} <= {*names}
    by_clip = {row[0]: row for row in cells(report)}
    for column, name in enumerate(names):
        button = report.page.locator(f"#clips-table button[data-sort='{name}']")
        for direction in ("ascending", "descending"):
            button.click()
            assert directions(report) == {each: direction if each == name else "none" for each in names}
            rows = cells(report)
            assert {row[0]: row for row in rows} == by_clip, "rows lost cells"
            values = [row[column] for row in rows]
            known = [value for value in values if value not in UNKNOWN]
            assert values[: len(known)] == known, f"{name}: what is not known stands last"
            key: Callable[[str], object] = str.casefold if name in ("clip", "group", "status") else number
            assert known == sorted(known, key=key, reverse=direction == "descending"), name


def test_cells_are_what_the_evaluation_found(report, made_up):
    names = headings(report)
    shown = {row[0]: dict(zip(names, row, strict=True)) for row in cells(report)}
    with (made_up.run / "clip_metrics.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            row = shown[line["clip_id"]]
            for name in ("valence_ccc", "arousal_ccc"):
                if line[name]:
                    assert number(row[name]) == pytest.approx(float(line[name]), abs=6e-4)
                else:
                    assert row[name] in UNKNOWN
            assert number(row["frames"]) == int(line["num_frames"])
            assert number(row["faces"]) == pytest.approx(100 * float(line["face_share"]), abs=0.51)


def test_the_chosen_clip_stays_chosen(report):
    report.choose("slow")
    for name in headings(report):
        report.page.click(f"#clips-table button[data-sort='{name}']")
        assert report.chosen() == "slow"
        assert "slow" in report.page.inner_text("#clip")


def test_headings_work_by_keyboard(report):
    button = report.page.locator("#clips-table button[data-sort='valence_ccc']")
    button.focus()
    for key, direction in (("Enter", "ascending"), ("Space", "descending")):
        report.page.keyboard.press(key)
        assert directions(report)["valence_ccc"] == direction
        assert report.page.evaluate("document.activeElement.dataset.sort") == "valence_ccc"


def test_the_filter_leaves_the_rows_that_hold_a_text(report):
    report.page.fill("#clips-filter", "AL")
    assert sorted(report.clip_ids()) == ["talk", "walk"]
    report.page.fill("#clips-filter", "")
    assert len(report.clip_ids()) == 7
