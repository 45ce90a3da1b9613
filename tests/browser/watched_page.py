"""A page in Chromium, and everything it does that a report must not do.

Chromium itself can reach nothing: every name fails to resolve. That alone would hide a request, so requests
are also recorded, and each that is neither the page, nor a file that it may show, nor data of its own is a
problem, as are messages on the console, uncaught errors, dialogs, and pages that open.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numbered_video import number_shown
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Request, Response, ViewportSize

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",  # as root in a container there is none; the pages come from the tests
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
)
LAPTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 740}
DEADLINE_S = 15.0
_PAUSE_S = 0.02
# What a page has done is told of a moment later.
_LAST_WORDS_MS = 60


def find_chromium(which: Callable[[str], str | None] = shutil.which) -> str:
    """Path of the system's Chromium.

    Raises:
        RuntimeError: There is none. These tests never skip: a report that no browser opened is not tested.
    """
    for name in CHROMIUM_NAMES:
        if path := which(name):
            return path
    raise RuntimeError(
        f"no Chromium: none of {', '.join(CHROMIUM_NAMES)} is on PATH; install it (Debian: apt-get install "
        "chromium), or leave these tests out with -m 'not browser'"
    )


class WatchedPage:
    """A page of a browser context of its own.

    Args:
        browser: The browser.
        path: The page's file.
        files: Files that it may show: linked videos.
        options: Of the context: `viewport`, `color_scheme`, `reduced_motion`, `bypass_csp`, ...
        on_start: JavaScript to run before the page's own.
        url: What to open in place of the file.
        urls: What else it may show.
    """

    def __init__(
        self,
        browser: Browser,
        path: Path,
        *,
        files: Iterable[Path] = (),
        on_start: str | None = None,
        url: str | None = None,
        urls: Iterable[str] = (),
        **options: Any,
    ) -> None:
        self.problems: list[str] = []
        self.url = url or path.as_uri()
        self._allowed = {self.url, *(file.as_uri() for file in files), *urls}
        options = {"viewport": LAPTOP, "reduced_motion": "no-preference"} | options
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(1000 * DEADLINE_S)
        if on_start is not None:
            self.context.add_init_script(on_start)
        self.context.on("request", self._see_request)
        self.context.on("requestfailed", self._see_failure)
        self.context.on("response", self._see_response)
        self.context.on("weberror", lambda error: self.problems.append(f"uncaught error: {error.error}"))
        self.page: Page = self.context.new_page()
        self.context.on("page", lambda page: self.problems.append(f"opened a page: {page.url}"))
        self.page.on("console", self._see_message)
        self.page.on("dialog", self._see_dialog)
        self.page.goto(self.url)

    def close(self) -> list[str]:
        """Close the page.

        Returns:
            What it did that it must not do.
        """
        self.page.wait_for_timeout(_LAST_WORDS_MS)
        self.context.close()
        return self.problems

    def frame_on_screen(self, selector: str) -> int:
        """Number of the frame of `numbered_video` that a video shows, once it stands still."""
        self.wait_until(
            f"(v => !v.seeking && v.readyState >= 2)(document.querySelector({selector!r}))",
            what=f"the video {selector}",
        )
        # The compositor is a picture or two late; two equal readings say that it has caught up.
        readings = [-1]
        while len(readings) < 20:
            self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 30)))")
            readings.append(number_shown(self._video_picture(selector)))
            if readings[-1] == readings[-2]:
                return readings[-1]
        raise AssertionError(f"the video {selector} does not stand still: frames {readings[1:]}")

    def wait_until(self, condition: str, *, what: str, deadline_s: float = DEADLINE_S) -> Any:
        """Ask again and again, until a JavaScript expression is true.

        Returns:
            Its value.

        Raises:
            AssertionError: It did not come true.
        """
        until = time.monotonic() + deadline_s
        while not (value := self.page.evaluate(condition)):
            if time.monotonic() > until:
                raise AssertionError(f"{what}: {condition} is still {value!r} after {deadline_s:.1f} s")
            time.sleep(_PAUSE_S)
        return value

    def picture(self, selector: str) -> NDArray[np.uint8]:
        """RGB picture of an element, as it is on the screen."""
        return picture_of(self.page.locator(selector).screenshot(animations="allow"))

    def _video_picture(self, selector: str) -> NDArray[np.uint8]:
        """The same of a video without the bars that a player lays around it to keep its shape."""
        picture = self.picture(selector)
        width, height = self.page.evaluate(
            f"(v => [v.videoWidth, v.videoHeight])(document.querySelector({selector!r}))"
        )
        scale = min(picture.shape[1] / width, picture.shape[0] / height)
        top = round((picture.shape[0] - scale * height) / 2)
        left = round((picture.shape[1] - scale * width) / 2)
        return picture[top : top + round(scale * height), left : left + round(scale * width)]

    def _see_request(self, request: Request) -> None:
        url = request.url.split("#")[0]
        if url not in self._allowed and not url.startswith(("data:", "blob:")):
            self.problems.append(f"request: {url[:200]}")

    def _see_failure(self, request: Request) -> None:
        # A player gives up reading a file wherever it seeks elsewhere.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"request failed ({request.failure}): {request.url[:200]}")

    def _see_response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"HTTP {response.status}: {response.url[:200]}")

    def _see_message(self, message: Any) -> None:
        if message.type in ("error", "warning", "assert"):
            self.problems.append(f"console {message.type}: {message.text}")

    def _see_dialog(self, dialog: Any) -> None:
        self.problems.append(f"{dialog.type} dialog: {dialog.message}")
        dialog.dismiss()


def picture_of(screenshot: bytes) -> NDArray[np.uint8]:
    """RGB picture of a screenshot."""
    return np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"))
