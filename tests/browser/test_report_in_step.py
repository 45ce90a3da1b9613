"""Traces and video in step: a click seeks, playback moves the cursors, whichever way the video gets there."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from report_page import ReportPage

pytestmark = pytest.mark.browser

WITH_VIDEO = ("walk", "talk", "slow", "late", "uneven")


@pytest.fixture(params=["linked", "embedded"])
def report(request, open_report) -> ReportPage:
    return open_report(request.getfixturevalue(request.param))


@pytest.fixture
def frame_at(made_up) -> Callable[[str, float], int]:
    """Number of the frame that is on screen at a time, by the times that the video was written with."""
    return lambda clip_id, time_s: int(
        np.clip(np.searchsorted(made_up.times_s[clip_id], time_s, side="right") - 1, 0, None)
    )


def assert_all_agree(report: ReportPage, clip_id: str, seconds: float, frame_at, made_up) -> None:
    """Video, cursors and text show one moment, to within a frame of `seconds`."""
    times_s = made_up.times_s[clip_id]
    frame, asked = report.frame_on_screen(), frame_at(clip_id, seconds)
    assert abs(frame - asked) <= 1, f"frame {frame} for {seconds:.3f} s, which is in frame {asked}"
    ends_s = np.append(times_s[1:], 2 * times_s[-1] - times_s[-2])
    earliest, latest = times_s[max(0, frame - 1)], ends_s[min(len(times_s) - 1, frame + 1)]
    assert earliest - 0.01 <= report.cursor_s() <= latest + 0.01
    assert earliest - 0.01 <= report.time_text_s() <= latest + 0.01
    pixel_s = (times_s[-1] - times_s[0]) / report.area("traces")["width"]
    for chart in ("traces", "gate-map"):
        assert abs(report.cursor_on_chart_s(chart) - report.cursor_s()) <= 1.5 * pixel_s, chart


@pytest.mark.parametrize("clip_id", WITH_VIDEO)
def test_a_click_seeks_to_within_one_frame(report, clip_id, frame_at, made_up):
    report.choose(clip_id)
    report.wait_for_video()
    for chart, share in (("traces", 0.91), ("gate-map", 0.13), ("traces", 0.502), ("gate-map", 0.7)):
        seconds = report.click_chart(chart, share)
        assert_all_agree(report, clip_id, seconds, frame_at, made_up)


def test_a_click_seeks_where_not_every_frame_is_drawn(open_page, thinned_out):
    page, video = thinned_out
    report = ReportPage(open_page(page, files=[video]))
    report.choose("clip 37")
    report.wait_for_video()
    data = json.loads(report.page.text_content("#report-data"))
    assert not data["traces"][str(data["names"].index("clip 37"))]["complete"]
    for share in (0.91, 0.13, 0.502):
        seconds = report.click_chart("traces", share)
        # A pixel is wider than a frame here; the ticks are read to a tenth of one.
        assert abs(report.frame_on_screen() + 0.5 - 25 * seconds) <= 1.5
        assert abs(report.cursor_s() - seconds) <= 0.06
    report.page.keyboard.press(".")
    before = report.frame_on_screen()
    report.page.keyboard.press(".")
    assert report.frame_on_screen() == before + 1


def test_clicks_at_the_very_ends_seek_to_the_first_and_the_last_frame(open_report, linked):
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    report.click_chart("traces", 1.0)
    assert report.frame_on_screen() >= 248
    report.click_chart("traces", 0.0)
    assert report.frame_on_screen() <= 1
    report.click_chart("traces", 0.5, height_share=0.0)
    assert abs(report.frame_on_screen() - 125) <= 1
    report.click_chart("traces", 0.25, height_share=1.0)
    assert abs(report.frame_on_screen() - 62) <= 2


def test_a_click_beside_the_plotting_area_does_not_seek(open_report, linked):
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    report.click_chart("traces", 0.5)
    before = report.frame_on_screen()
    area = report.area("traces")
    report.page.mouse.click(area["x"] - 25, area["y"] + 20)
    report.page.mouse.click(area["x"] + 100, area["y"] + area["height"] + 22)
    assert report.frame_on_screen() == before


def test_playback_moves_the_cursors(report, frame_at, made_up):
    report.choose("walk")
    report.wait_for_video()
    places = [report.page.locator("#cursor").bounding_box()["x"]]
    report.page.evaluate("document.querySelector('#clip-video').play()")
    seen = [report.cursor_s()]
    for until_s in (1.0, 2.0, 3.0):
        report.watched.wait_until(
            f"document.querySelector('#cursor').dataset.time > {until_s}"
            " && !document.querySelector('#clip-video').paused",
            what="the cursor while playing",
        )
        seen.append(report.cursor_s())
        places.append(report.page.locator("#cursor").bounding_box()["x"])
    report.page.evaluate("document.querySelector('#clip-video').pause()")
    assert seen == sorted(seen)
    assert places == sorted(places)
    assert places[-1] - places[0] > 0.25 * report.area("traces")["width"]
    assert_all_agree(report, "walk", report.video_s(), frame_at, made_up)


def test_the_cursor_arrives_with_the_video_at_the_end(open_report, linked):
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    report.click_chart("traces", 0.93)
    report.page.evaluate("document.querySelector('#clip-video').play()")
    report.watched.wait_until("document.querySelector('#clip-video').ended", what="the end")
    assert report.frame_on_screen() == 249
    assert report.cursor_s() >= 9.9


@pytest.mark.parametrize("clip_id", WITH_VIDEO)
def test_the_players_own_controls_move_the_cursors(open_report, linked, clip_id, frame_at, made_up):
    report = open_report(linked)
    report.choose(clip_id)
    report.wait_for_video()
    times_s = made_up.times_s[clip_id]
    for share in (0.77, 0.31):
        row = round(share * len(times_s))
        seconds = (times_s[row] + times_s[row + 1]) / 2
        report.page.evaluate("t => { document.querySelector('#clip-video').currentTime = t }", seconds)
        assert_all_agree(report, clip_id, seconds, frame_at, made_up)
        assert report.frame_on_screen() == row


def test_a_click_while_playing_goes_on_from_there(open_report, linked):
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    report.page.evaluate("document.querySelector('#clip-video').play()")
    seconds = report.click_chart("traces", 0.6)
    report.watched.wait_until(
        f"document.querySelector('#cursor').dataset.time > {seconds + 0.3}", what="the cursor after a click"
    )
    assert not report.page.evaluate("document.querySelector('#clip-video').paused")


def test_a_stretch_that_was_zoomed_into_seeks_too(open_report, linked, frame_at, made_up):
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    area = report.area("traces")
    whole = [report.seconds_at("traces", area["x"] + share * area["width"]) for share in (0, 1)]
    report.page.mouse.move(area["x"] + 0.4 * area["width"], area["y"] + 30)
    report.page.mouse.down()
    report.page.mouse.move(area["x"] + 0.6 * area["width"], area["y"] + 40, steps=6)
    report.page.mouse.up()
    assert report.cursor_s() == pytest.approx(0, abs=0.05)
    shown = [report.seconds_at("traces", area["x"] + share * area["width"]) for share in (0, 1)]
    assert shown == pytest.approx([4, 6], abs=0.2)
    # Within 0.3 s of the drag, a click would be half of a double click, which shows all again.
    report.page.wait_for_timeout(400)
    seconds = report.click_chart("traces", 0.25)
    assert 4.2 < seconds < 4.8
    assert_all_agree(report, "walk", seconds, frame_at, made_up)
    report.page.wait_for_timeout(400)
    seconds = report.click_chart("gate-map", 0.75)
    assert 5.2 < seconds < 5.8
    assert_all_agree(report, "walk", seconds, frame_at, made_up)
    report.page.mouse.dblclick(area["x"] + 0.5 * area["width"], report.area("traces")["y"] + 30)
    again = [report.seconds_at("traces", area["x"] + share * area["width"]) for share in (0, 1)]
    assert again == pytest.approx(whole, abs=0.05)


def test_the_cursors_stay_in_place_when_the_window_or_the_colours_change(
    open_report, linked, frame_at, made_up
):
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    seconds = report.click_chart("traces", 0.62)
    for width in (700, 1100):
        report.page.set_viewport_size({"width": width, "height": 800})
        report.settle()
        assert_all_agree(report, "walk", seconds, frame_at, made_up)
    report.page.emulate_media(color_scheme="dark")
    report.settle()
    assert_all_agree(report, "walk", seconds, frame_at, made_up)


def test_another_clip_starts_at_its_own_beginning(open_report, linked):
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    report.click_chart("traces", 0.8)
    report.choose("slow")
    report.wait_for_video()
    assert report.frame_on_screen() == 0
    assert report.cursor_s() == pytest.approx(0, abs=0.11)
    area = report.area("traces")
    assert report.seconds_at("traces", area["x"] + area["width"]) == pytest.approx(9, abs=0.15)
    assert "slow" in report.page.inner_text("#clip")
    assert report.page.evaluate("document.querySelector('#clip-video').paused")


def test_a_clip_without_a_video_has_traces_and_says_what_is_missing(open_report, linked):
    report = open_report(linked)
    report.choose("unseen")
    assert not report.page.is_visible("#clip-video")
    assert "--media" in report.page.inner_text("#clip")
    seconds = report.click_chart("traces", 0.5)
    assert report.cursor_s() == pytest.approx(seconds, abs=0.05)
    assert report.time_text_s() == pytest.approx(seconds, abs=0.05)
    report.choose("walk")
    report.wait_for_video()
    assert report.page.is_visible("#clip-video")


def test_the_point_in_the_plane_goes_with_the_cursor(open_report, linked, made_up):
    from tagf_head.evaluation.predictions import read_predictions

    predictions = read_predictions(made_up.run / "predictions.parquet")
    start = int(predictions.row_size[: predictions.clip_ids.index("walk")].sum())
    report = open_report(linked)
    report.choose("walk")
    report.wait_for_video()
    places, values = [], []
    for share in (0.1, 0.35, 0.6, 0.85):
        report.click_chart("traces", share)
        frame = report.frame_on_screen()
        dot = report.page.locator("#circumplex .dot").bounding_box()
        places.append([dot["x"] + dot["width"] / 2, -(dot["y"] + dot["height"] / 2) - report.scrolled_px()])
        values.append(predictions.values[start + frame])
    # Valence to the right, arousal upwards, on one scale for both.
    places, values = np.array(places), np.array(values)
    scale = np.ptp(places, axis=0) / np.ptp(values, axis=0)
    assert scale[0] == pytest.approx(scale[1], rel=0.1)
    for column in (0, 1):
        fit = np.polyval(np.polyfit(values[:, column], places[:, column], 1), values[:, column])
        assert np.abs(fit - places[:, column]).max() < 2
        assert np.corrcoef(values[:, column], places[:, column])[0, 1] > 0.95
