"""All of a report by keyboard: order, visible focus, no trap, and keys that do what the page says they do."""

from __future__ import annotations

import pytest
from report_page import ReportPage

pytestmark = pytest.mark.browser

FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const { sort, clip } = element.dataset;
  return {
    name: element.id || sort || clip || element.getAttribute("href") || element.tagName,
    tag: element.tagName,
    index: [...document.querySelectorAll("*")].indexOf(element),
    hasOutline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1.5,
    isSeen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""


@pytest.fixture
def report(open_report, linked) -> ReportPage:
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    report.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    return report


def test_tab_goes_through_everything_in_order(open_report, linked):
    page = open_report(linked, reduced_motion="reduce").page  # which scrolls at once
    focused = []
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None:
            break
        # The video's own controls take the focus one after the other, within the one element.
        if not focused or focused[-1]["index"] != found["index"]:
            focused.append(found)
    else:
        pytest.fail(f"no end after {[each['name'] for each in focused][-8:]}")
    names = [each["name"] for each in focused]
    assert names[0] == "#main"
    for name in ("#clips", "theme", "clip", "valence_ccc", "clip-video", "cursor"):
        assert name in names, name
    indices = [each["index"] for each in focused]
    assert indices == sorted(indices)
    assert len([each for each in focused if each["tag"] == "TR"]) == 1, "one stop for all the rows"
    # The cursor over the traces marks itself by its knob.
    assert [each["name"] for each in focused if not each["hasOutline"] and each["name"] != "cursor"] == []
    assert [each["name"] for each in focused if not each["isSeen"]] == []
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(FOCUSED)["index"] == indices[-1]


def test_focus_on_the_cursor_is_seen(report):
    report.page.locator("#cursor").scroll_into_view_if_needed()
    box = report.page.locator("#cursor").bounding_box()
    part = (box["x"] - 10, box["y"] - 10, 20 + box["width"], 20 + box["height"])
    before = report.picture(*part)
    report.page.focus("#clip-video")
    report.page.keyboard.press("Tab")
    while report.page.evaluate("document.activeElement.id") == "clip-video":
        report.page.keyboard.press("Tab")
    assert report.page.evaluate("document.activeElement.id") == "cursor"
    after = report.picture(*part)
    assert (abs(after.astype(int) - before).max(axis=2) > 60).sum() > 40


def test_the_skip_link_comes_first_and_leads_to_the_content(open_report, linked):
    page = open_report(linked).page
    page.keyboard.press("Tab")
    link = page.locator(":focus")
    assert "skip" in link.inner_text().lower()
    box = link.bounding_box()
    assert box["y"] >= 0
    assert box["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_rows_are_chosen_by_keys(report):
    page = report.page
    report.row("walk").focus()
    order = report.clip_ids()
    at = order.index("walk")
    page.keyboard.press("ArrowDown" if at + 1 < len(order) else "ArrowUp")
    neighbour = order[at + 1 if at + 1 < len(order) else at - 1]
    assert page.evaluate("document.activeElement.dataset.clip") == neighbour
    page.keyboard.press("Enter")
    assert report.chosen() == neighbour
    assert neighbour in page.inner_text("#clip")
    page.keyboard.press("ArrowUp" if at + 1 < len(order) else "ArrowDown")
    page.keyboard.press("Space")
    assert report.chosen() == "walk"
    # The keys of the table do not move or play the video besides.
    assert page.evaluate("document.querySelector('#clip-video').paused")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.clip") == order[-1]
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.clip") == order[-1]
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.dataset.clip") == order[0]


@pytest.mark.parametrize("focus", ["#clip-video", "#cursor", "body"])
def test_keys_move_the_video_by_a_frame_and_by_a_second(report, focus):
    page = report.page
    report.click_chart("traces", 0.5)
    if focus != "body":
        page.focus(focus)
    start = report.frame_on_screen()
    for keys, frame in (
        (12 * ["."], start + 12),
        (4 * [","], start + 8),
        (["ArrowRight"], start + 33),
        (2 * ["ArrowLeft"], start - 17),
    ):
        for key in keys:
            page.keyboard.press(key)
        assert report.frame_on_screen() == frame, keys
        assert abs(report.cursor_s() - frame / 25) < 0.045


@pytest.mark.parametrize("focus", ["#clip-video", "#cursor", "body"])
def test_space_plays_and_pauses(report, focus):
    page = report.page
    if focus != "body":
        page.focus(focus)
    page.keyboard.press("Space")
    report.watched.wait_until("document.querySelector('#cursor').dataset.time > 0.5", what="playing")
    page.keyboard.press("Space")
    assert page.evaluate("document.querySelector('#clip-video').paused")


def test_the_cursor_is_a_slider(report):
    page = report.page
    page.focus("#cursor")
    page.keyboard.press("End")
    assert report.frame_on_screen() == 249
    value = float(page.get_attribute("#cursor", "aria-valuenow"))
    assert value == pytest.approx(float(page.get_attribute("#cursor", "aria-valuemax")), abs=0.05)
    assert "valence" in page.get_attribute("#cursor", "aria-valuetext")
    page.keyboard.press("Home")
    assert report.frame_on_screen() == 0
    assert float(page.get_attribute("#cursor", "aria-valuenow")) == 0


def test_keys_typed_into_the_filter_stay_there(report):
    page = report.page
    before = report.frame_on_screen()
    page.click("#clips-filter")
    page.keyboard.type("a. ,k ")
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#clips-filter") == "a. ,k "
    assert report.frame_on_screen() == before
    assert page.evaluate("document.querySelector('#clip-video').paused")
