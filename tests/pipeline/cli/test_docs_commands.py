"""Every shell command of every page runs, and every link leads somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")])
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_run_one_after_another(
    page, documented, documented_run, made_by, enter_project, tagf
):
    for command in documented.commands_of_page(page.read_text(encoding="utf-8")):
        documented_run.run(command, page.name, made_by, enter_project, *tagf)


def test_the_prediction_in_python_runs_and_equals_the_commands(enter_project, tagf):
    block = next(
        block
        for block in re.findall(
            r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M
        )
        if "import Predictor" in block
    )
    folder = enter_project()
    call, said = tagf
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    words = ["predict", "data/corpus/videos/subject_003.mp4", "--workers", "1", "--out", "by_command"]
    assert call([*words, "--checkpoint", "runs/tagf/best.safetensors", "--format", "parquet"]) == 0, said()
    pd.testing.assert_frame_equal(names["table"], pd.read_parquet(folder / "by_command/subject_003.parquet"))


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def links(page: Path) -> list[str]:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [link or image for link, image in _LINK.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files_and_headings(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_the_index_leads_to_every_page():
    linked = {link.partition("#")[0] for link in links(DOCS / "index.md")}
    assert linked >= {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def test_slugs_are_those_of_github():
    assert slug("A head of your own") == "a-head-of-your-own"
    assert slug("`predict`: files, folders & globs") == "predict-files-folders--globs"
    assert slug("The [store](store.md)'s format, v2") == "the-stores-format-v2"


def texts(path: Path) -> Iterator[str]:
    """Every text in a file of Python; `…` stands for what is filled in."""
    if path.suffix != ".py":
        yield path.read_text(encoding="utf-8")
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_messages_of_the_page_on_troubleshooting_are_those_of_the_program():
    folders = ("cache", "tagf_head", "pipeline")
    sources = [ROOT / "Makefile", *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    known = [" ".join(text.split()) for path in sources for text in texts(path)]
    rows = re.findall(
        r"^\| (.*?) \|", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    messages = [span for row in rows for span in re.findall(r"`([^`]*)`", row) if " " in span]
    assert len(messages) > 15
    for message in messages:
        if message.startswith(("tagf ", "tagf:", "dvc ")):  # the shell's, or a command
            continue
        # What is filled in may be text, too, of which the message then shows a part.
        parts = [part.strip("'; ") for part in re.split("[…;]", message) if len(part.strip("'; ")) > 3]
        missing = [part for part in parts if not any(part in text for text in known)]
        assert not missing, f"{message}: nothing in the sources says {missing}"
