"""The page's armour: escaping, policy, and nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import yaml

from pipeline.report.page import json_for_script
from pipeline.report.report import write_report
from pipeline.report.report_content import ReportSources

PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "<!--<script>",
    "]]>\u2028\u2029\x00",
    "<svg/onload=alert(1)>",
    "&lt;b&gt;&amp;",
)


class Markup(HTMLParser):
    """Tags with their attributes' names, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.inside: list[tuple[str, dict[str, str | None], str]] = []
        self._open: tuple[str, dict[str, str | None], list[str]] | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += attrs
        if tag in ("script", "style"):
            self._open = (tag, dict(attrs), [])

    def handle_data(self, data):
        if self._open:
            self._open[2].append(data)

    def handle_endtag(self, tag):
        if self._open and tag == self._open[0]:
            self.inside.append((tag, self._open[1], "".join(self._open[2])))
            self._open = None


@pytest.fixture(scope="module")
def page(run, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report(ReportSources(folder=run.folder, annotations=run.annotations), out)
    return out.read_text()


def hostile(run, tmp_path, payload: str) -> str:
    """The page of a run whose every text is a payload."""
    folder = tmp_path / "mine"
    shutil.copytree(run.folder, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["train"]["head"]["name"] = config["versions"]["torch"] = config["train"]["note"] = payload
    config["features"]["fingerprint"] = config["features"]["spec"]["settings"]["visual.weights"] = payload
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics |= {"head": payload, "split": payload}
    metrics["interval"]["unit"] = payload
    (folder / "metrics.json").write_text(json.dumps(metrics))
    clips = (folder / "clip_metrics.csv").read_text().splitlines()
    quoted = payload.replace('"', '""').replace("\x00", "")
    clips += [f'"{quoted}",{clips[1].partition(",")[2]}']
    (folder / "clip_metrics.csv").write_text("\n".join(clips) + "\n")
    write_report(ReportSources(folder=folder), tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_becomes_markup(run, tmp_path, payload):
    plain, attacked = (
        Markup(hostile(run, tmp_path / name, text)) for name, text in (("a", "x"), ("b", payload))
    )
    assert attacked.tags == plain.tags
    # The texts themselves arrive, as texts.
    assert any(
        value == payload.replace("\x00", "") for name, value in attacked.attributes if name == "data-clip"
    )


def test_scripts_and_styles_are_those_of_the_policy_alone(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1)
    policy = policy.replace("&#39;", "'")
    directives = {name: rest for name, _, rest in (part.strip().partition(" ") for part in policy.split(";"))}
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in directives["script-src"]
    assert directives["media-src"] == "data: blob:"
    run_scripts = [
        text for tag, attrs, text in Markup(page).inside if tag == "script" and "type" not in attrs
    ]
    assert len(run_scripts) == 2
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in run_scripts
    }
    assert {*directives["script-src"].split()} == hashes
    (style,) = (text for tag, _, text in Markup(page).inside if tag == "style")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in directives["style-src-elem"].split()


def test_nothing_is_fetched_from_anywhere(page):
    found = [
        value
        for name, value in Markup(page).attributes
        if name in ("src", "href", "action", "data", "poster")
    ]
    assert found
    assert all(value.startswith(("#", "data:,")) for value in found)


@pytest.mark.parametrize("text", PAYLOADS)
def test_json_in_a_script_cannot_end_it_and_comes_back(text):
    written = json_for_script({text: [text]})
    assert not re.search("[<>&\u2028\u2029]", written)
    assert json.loads(written) == {text: [text]}


def test_what_is_not_finite_becomes_null():
    assert json.loads(json_for_script([float("nan"), float("inf"), 1.5])) == [None, None, 1.5]


def test_every_section_and_hook_is_there(page):
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    sections = ("summary", "training", "clips", "clip", "gates", "robustness", "comparison", "provenance")
    assert [name for name in ids if name in sections] == [*sections]
    assert {"clips-table", "clip-video", "traces", "cursor", "gate-map", "gate-cursor", "circumplex"} <= {
        *ids
    }
    assert {"clip-time", "report-data"} <= {*ids}
    assert re.findall(r'data-clip="([^"]+)"', page) == ["calm", "joy/left", "sad"]


def test_headings_follow_one_another_without_gaps(page):
    levels = [int(tag[1]) for tag, _ in Markup(page).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    pages = []
    for name in ("a.html", "b.html"):
        write_report(ReportSources(folder=run.folder, annotations=run.annotations), tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
