"""The payloads are real: where a page takes them for markup or code, they run."""

from __future__ import annotations

import json

import pytest
from payloads import INTERPRETED, ON_START, PAYLOADS
from playwright.sync_api import Error
from watched_page import WatchedPage

pytestmark = pytest.mark.browser

# The places that a careless page would put a text: markup, attributes, scripts, and what scripts make of it.
CARELESS = """<!doctype html><html lang=en><meta charset=utf-8><title>Page</title>
<p>{text}</p><p title="{text}">a</p><p title='{text}'>b</p>
<script>var first = {"list": [{"name": "{text}"}]};</script>
<script>var second = {'name': '{text}'};</script>
<script>var third = `{text}`;</script>
<script>var fourth = {"name": "{quoted}"};</script>
<script>var fifth = {'name': '{quoted}'};</script>
<script>var sixth = "{text}";</script>
<script>var seventh = '{text}';</script>
<script>// {text}
</script>
<script>document.body.insertAdjacentHTML("beforeend", "{text}");</script>
<p id=made></p><a id=link>d</a>
<script>
document.getElementById("made").innerHTML = {json};
document.getElementById("link").href = {json};
document.querySelectorAll("a, button").forEach((each) => {
  if (/^javascript:/.test(each.href || (each.form || {}).action)) each.click();
});
</script><img src=x alt={text}></html>"""


def test_there_are_a_hundred():
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 100


def test_each_does_something_on_a_careless_page(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("")
    watched = WatchedPage(browser, page, on_start=ON_START)
    harmless = []
    for number, payload in enumerate(PAYLOADS):
        html = CARELESS.replace("{json}", json.dumps(payload, ensure_ascii=False))
        html = html.replace("{quoted}", payload.replace('"', '\\"').replace("'", "\\'"))
        page.write_text(html.replace("{text}", payload))
        watched.problems.clear()
        try:
            watched.page.goto(watched.url)
            watched.page.mouse.click(200, 62)
            does_something = number in watched.page.evaluate("window.ranPayloads || []") or any(
                problem.startswith("request:") and "example.org" in problem for problem in watched.problems
            )
        except Error:
            does_something = True  # the page has been left for another one
        if not does_something:
            harmless.append(payload)
    watched.context.close()
    assert [each for each in harmless if each not in INTERPRETED] == []
