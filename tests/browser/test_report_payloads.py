"""A hundred script payloads in every text of a report: none runs, all are shown as what they are."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from payloads import ON_START, PAYLOADS
from report_page import ReportPage, write_report
from watched_page import WatchedPage

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def hostile_predictions(tmp_path_factory) -> Path:
    """A folder of predictions with a hundred clips that failed, for reasons that are payloads."""
    folder = tmp_path_factory.mktemp("hostile_predictions") / "predicted"
    folder.mkdir()
    record = {
        "format": "tagf-prediction-1",
        "tagf": PAYLOADS[0],
        "checkpoints": [{"path": payload, "sha256": payload, "head": payload} for payload in PAYLOADS],
        "random_weights": False,
        "extract": {payload: payload for payload in PAYLOADS},
        "smoothing": {"kind": PAYLOADS[1], "seconds": PAYLOADS[2]},
        "device": PAYLOADS[3],
        "columns": [],
        "file_format": "csv",
        "versions": {payload: payload for payload in PAYLOADS},
        "clips": [
            {
                "clip_id": f"{number} {payload}",
                "file": None,
                "media": f"/nowhere/{payload}",
                "status": "failed",
                "error": payload,
                "num_frames": 0,
                "num_face_frames": 0,
                "seconds": 0.0,
            }
            for number, payload in enumerate(PAYLOADS)
        ],
    }
    (folder / "prediction.json").write_text(json.dumps(record))
    return folder


def assert_nothing_ran(report: ReportPage) -> None:
    page = report.page
    assert page.url == report.watched.url
    assert page.evaluate("window.ranPayloads") == []
    assert page.evaluate("({}).polluted === undefined && Object.keys(Object.prototype).length === 0")
    found = page.evaluate(
        "[...document.querySelectorAll('iframe, object, embed, base, form, marquee, dialog, audio, math,"
        " meta[http-equiv=refresh], script[src], link[rel=stylesheet], [autofocus], [contenteditable]')]"
        ".map(each => each.outerHTML.slice(0, 80))"
    )
    assert found == []
    handlers = page.evaluate(
        "[...document.querySelectorAll('*')].filter(each => [...each.attributes].some(attribute => "
        "attribute.name.startsWith('on') || /^\\s*javascript:/i.test(attribute.value) && "
        "['href', 'src', 'action'].includes(attribute.name))).map(each => each.outerHTML.slice(0, 80))"
    )
    assert handlers == []


@pytest.mark.parametrize("bypass_csp", [False, True], ids=["with policy", "without policy"])
def test_names_and_settings_of_a_run(open_page, hostile_page, bypass_csp):
    """Escaping holds by itself, and nothing even tries what the policy would have to stop."""
    report = ReportPage(open_page(hostile_page, on_start=ON_START, bypass_csp=bypass_csp))
    assert sorted(report.clip_ids()) == sorted(PAYLOADS)
    assert_nothing_ran(report)
    rows = report.page.locator("#clips-table tr[data-clip]")
    for number, payload in enumerate(report.clip_ids()):
        rows.nth(number).evaluate("row => row.click()")
        assert report.chosen() == payload
        # As text, to the letter, but for what a browser does to white space.
        shown = report.page.text_content("#clip-title")
        assert shown.split() == payload.split()
    # Labels that come with the pointer are made of names, too.
    for chart in ("traces", "gate-map"):
        area = report.area(chart)
        report.page.mouse.move(area["x"] + 0.4 * area["width"], area["y"] + 0.4 * area["height"], steps=3)
        report.page.wait_for_timeout(100)
    for heading in report.page.locator("#clips-table button[data-sort]").all():
        heading.click()
    for summary in report.page.locator("summary").all():
        summary.click()
    text = report.page.inner_text("#provenance")
    squeezed = re.sub(r"\s+", "", text)
    missing = [each for each in PAYLOADS if re.sub(r"\s+", "", each) not in squeezed]
    assert not missing, "versions are shown to the letter"
    assert_nothing_ran(report)


@pytest.mark.parametrize("bypass_csp", [False, True], ids=["with policy", "without policy"])
def test_errors_and_settings_of_predictions(open_page, hostile_predictions, tmp_path, bypass_csp):
    out = write_report(hostile_predictions, tmp_path / "report.html")
    report = ReportPage(open_page(out, on_start=ON_START, bypass_csp=bypass_csp))
    assert len(report.clip_ids()) == 100
    text = "".join(report.page.locator("#clips-table tr[data-clip]").all_text_contents())
    squeezed = re.sub(r"\s+", "", text)
    missing = [each for each in PAYLOADS if re.sub(r"\s+", "", each) not in squeezed]
    assert not missing, "errors are shown to the letter"
    for summary in report.page.locator("summary").all():
        summary.click()
    assert_nothing_ran(report)


def test_the_name_of_the_folder(open_page, made_up, tmp_path):
    name = "\"'><img src=x onerror=top.ran(1)><!--{{ 7 * 191 }}"
    shutil.copytree(made_up.run, tmp_path / name)
    out = write_report(tmp_path / name, tmp_path / "report.html")
    report = ReportPage(open_page(out, on_start=ON_START, bypass_csp=True))
    assert name in report.page.title()
    assert report.page.text_content("h1") == name
    assert_nothing_ran(report)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.policy, self.scripts, self.data = "", [], ""
        self._script: dict[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of_tag = dict(attrs)
        if tag == "meta" and (of_tag.get("http-equiv") or "").lower() == "content-security-policy":
            self.policy = of_tag["content"] or ""
        self._script = of_tag if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is not None and self._script.get("id") == "report-data":
            self.data += data


def test_the_data_cannot_end_their_element(hostile_page):
    parsed = _Tags()
    parsed.feed(hostile_page.read_text())
    assert not [sign for sign in "<>&\u2028\u2029" if sign in parsed.data]
    assert {*PAYLOADS} <= {*json.loads(parsed.data)["names"]}


def test_the_policy_lets_nothing_through(linked, embedded):
    for page in (linked, embedded):
        parsed = _Tags()
        parsed.feed(page.read_text())
        words = {each.split()[0]: each.split()[1:] for each in parsed.policy.split(";") if each.strip()}
        assert words["default-src"] == ["'none'"]
        assert words["script-src"]
        assert all(re.match(r"'(sha(256|384|512)|nonce)-", word) for word in words["script-src"])
        assert {"data:", "blob:"} >= {*words["img-src"]}
        allowed = {"data:", "blob:", "'self'", "file:"} if page == linked else {"data:", "blob:"}
        assert {*words["media-src"]} <= allowed
        assert words["base-uri"] == ["'none'"]
        assert words["form-action"] == ["'none'"]


def test_the_policy_holds_where_escaping_would_not(browser, embedded):
    """The hundred payloads put into the page as they are: its own policy stops every script and request."""
    # A redirection is beyond a policy in the page; the other swallows the page's own scripts.
    beyond = [each for each in PAYLOADS if "http-equiv=refresh" in each or each == "<!--<script>"]
    html = embedded.read_text()
    end = html.rindex("</main>")
    spots = "".join(f"<p>{payload}</p>" for payload in PAYLOADS if payload not in beyond)
    page = embedded.with_name("unescaped.html")
    page.write_text(html[:end] + spots + html[end:])
    watched = WatchedPage(browser, page, on_start=ON_START)
    watched.page.mouse.click(200, 62)
    watched.page.wait_for_timeout(200)
    assert watched.page.evaluate("window.ranPayloads") == []
    problems = watched.close()
    assert sum("Content Security Policy" in problem for problem in problems) > 50
    asked = {each.removeprefix("request: ") for each in problems if each.startswith("request: ")}
    stopped = "request failed (csp): "
    assert asked == {each.removeprefix(stopped) for each in problems if each.startswith(stopped)}
