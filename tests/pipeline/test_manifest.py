"""Choice of a layout, and names that look alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.clip_source import lookalikes
from pipeline.errors import ManifestError
from pipeline.manifest import LAYOUTS, read_manifest


def test_each_layout_reads_its_source(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").touch()
    (tmp_path / "clips.csv").write_text("clip_id,video\nfrom-table,x.mp4\n")
    sources = {"videos": tmp_path, "aff-wild2": tmp_path, "manifest": tmp_path / "clips.csv"}
    assert sources.keys() == LAYOUTS.keys()
    ids = {name: [clip.clip_id for clip in read_manifest(path, name).clips] for name, path in sources.items()}
    assert ids == {"videos": ["x"], "aff-wild2": ["x"], "manifest": ["from-table"]}


def test_unknown_layouts_are_refused_with_a_hint(tmp_path: Path) -> None:
    known = r"\(layouts: videos, aff-wild2, manifest\)"
    with pytest.raises(
        ManifestError, match=rf"layout 'affwild2' is not known {known}; did you mean 'aff-wild2'"
    ):
        read_manifest(tmp_path, "affwild2")
    with pytest.raises(ManifestError, match=rf"layout 'zzz' is not known {known}$"):
        read_manifest(tmp_path, "zzz")


@pytest.mark.parametrize(
    "pair",
    [
        ("clip", "Clip"),
        ("stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),  # NFC, NFD
        ("\u212bngstr\u00f6m", "\u00e5ngstro\u0308m"),  # the Angstrom sign, and both letters decomposed
        ("\u1d2c", "a"),  # a raised capital, which has a small letter only in its plain form
    ],
)
def test_names_that_differ_in_case_or_form_alone_are_reported(pair: tuple[str, str]) -> None:
    (line,) = lookalikes(["other", *pair])
    assert line.isascii()
    assert all(ascii(name) in line for name in pair)
    assert "other" not in line


def test_names_that_differ_otherwise_are_not_reported() -> None:
    assert lookalikes(["a", "a ", "b", "\u00e4", "aa"]) == []
