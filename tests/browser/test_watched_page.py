"""The harness itself: it sees what a report must not do, and reads frame numbers off the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numbered_video import number_shown, numbered_picture, write_numbered_video
from playwright.sync_api import Browser
from watched_page import WatchedPage, find_chromium

pytestmark = pytest.mark.browser

HTML = "<!doctype html><html lang=en><meta charset=utf-8><title>Page</title>{}</html>"


def problems_of(browser: Browser, folder: Path, body: str, **options: object) -> list[str]:
    page = folder / "page.html"
    page.write_text(HTML.format(body))
    watched = WatchedPage(browser, page, **options)
    watched.page.wait_for_load_state("load")
    return watched.close()


def test_a_harmless_page_has_no_problems(browser, tmp_path):
    picture = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
    assert not problems_of(browser, tmp_path, f"<p>Text</p><img src='{picture}' alt=''>")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<img src='https://example.org/x.png'>", "request: https://example.org/x.png"),
        ("<img src='http://127.0.0.1:9/x.png'>", "request: http://127.0.0.1:9/x.png"),
        ("<link rel=stylesheet href='//example.org/x.css'>", "request: file://example.org/x.css"),
        ("<img src='other.png'>", "request: file://"),
        ("<script>fetch('https://example.org/api').catch(() => 0)</script>", "request: https://example.org/api"),
        ("<script>navigator.sendBeacon('https://example.org/b', 'x')</script>", "request: https://example.org/b"),
        ("<script>missing.function()</script>", "uncaught error: missing is not defined"),
        ("<script>Promise.reject(new Error('nobody waits'))</script>", "uncaught error: nobody waits"),
        ("<script>console.error('wrong')</script>", "console error: wrong"),
        ("<script>console.warn('odd')</script>", "console warning: odd"),
        ("<script>alert('hello')</script>", "alert dialog: hello"),
        ("<script>open('about:blank')</script>", "opened a page: about:blank"),
        (
            "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\"><script>1</script>",
            "console error: Executing inline script violates the following Content Security Policy",
        ),
    ],
)  # fmt: skip
def test_what_a_page_must_not_do_is_seen(browser, tmp_path, body, problem):
    assert any(each.startswith(problem) for each in problems_of(browser, tmp_path, body))


def test_a_file_that_may_be_shown_is_no_problem(browser, tmp_path):
    write_numbered_video(tmp_path / "clip.mp4", np.arange(5) / 25)
    body = "<video src=clip.mp4></video>"
    assert problems_of(browser, tmp_path, body)[0].startswith("request: file://")
    assert not problems_of(browser, tmp_path, body, files=[tmp_path / "clip.mp4"])


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "libx264"), ("clip.webm", "libvpx-vp9")])
def test_the_frame_on_the_screen_is_read(browser, tmp_path, name, codec):
    write_numbered_video(tmp_path / name, np.arange(130) / 25, codec=codec)
    page = tmp_path / "page.html"
    page.write_text(HTML.format(f"<video controls src={name}></video>"))
    watched = WatchedPage(browser, page, files=[tmp_path / name])
    for frame in (0, 99, 100, 101, 129):
        watched.page.evaluate("t => { document.querySelector('video').currentTime = t }", (frame + 0.5) / 25)
        assert watched.frame_on_screen("video") == frame
    assert not watched.close()


def test_numbers_are_read_at_any_size():
    for number in (0, 1, 1365, 2730, 4095):
        picture = numbered_picture(number)
        assert number_shown(picture) == number
        assert number_shown(picture[::2, ::2]) == number
        assert number_shown(np.repeat(np.repeat(picture, 3, axis=0), 3, axis=1)) == number
    with pytest.raises(ValueError, match="no bar"):
        number_shown(np.full_like(picture, 128))


def test_waiting_ends(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(HTML.format(""))
    watched = WatchedPage(browser, page)
    with pytest.raises(AssertionError, match="the moon: 1 > 2 is still False"):
        watched.wait_until("1 > 2", what="the moon", deadline_s=0.1)
    watched.close()


def test_without_chromium_the_tests_fail():
    asked: list[str] = []
    which: Callable[[str], str | None] = asked.append
    with pytest.raises(RuntimeError, match=r"no Chromium: none of chromium, .* apt-get install chromium"):
        find_chromium(which)
    assert asked[0] == "chromium"
    assert find_chromium(lambda name: f"/opt/{name}" if "google" in name else None) == "/opt/google-chrome"
