"""Tables of clips, as people and spreadsheets write them."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from pipeline.clip_source import ClipSource, require_clip_id
from pipeline.errors import ManifestError
from pipeline.layouts.clip_table import read_clip_table

FULL = '''clip_id,video,faces,annotation,split,subject,face
one,media/a.mp4,crops/one,labels/one.txt,train,anna,
two,media/b.mp4,,,Validation,,LEFT
three,media/b.mp4,,,,"Bo, ""B""",right
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("media/a.mp4", "media/b.mp4", "labels/one.txt", "crops/one/00001.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "clips.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_all_columns_in_the_order_of_the_table(folder: Path) -> None:
    manifest = read_clip_table(table(folder, FULL))
    assert manifest.clips == (
        ClipSource(
            clip_id="one",
            media=folder / "media/a.mp4",
            faces=folder / "crops/one",
            annotation=folder / "labels/one.txt",
            split="train",
            subject="anna",
        ),
        ClipSource(clip_id="two", media=folder / "media/b.mp4", split="validation", face="left"),
        ClipSource(clip_id="three", media=folder / "media/b.mp4", subject='Bo, "B"', face="right"),
    )
    assert manifest.problems == ()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_forms_that_spreadsheets_write(folder: Path, delimiter: str, line_end: str, mark: str) -> None:
    rows = [
        ["Clip_ID ", "subject", "video"],
        ["one", "a;b,c", " media/a.mp4"],
        ["", "", ""],
        ["two", "", "media/b.mp4"],
    ]
    path = folder / "clips.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        csv.writer(file, delimiter=delimiter, lineterminator=line_end).writerows(rows)
        file.write(delimiter * 5 + line_end)
    clips = read_clip_table(path).clips
    assert [(clip.clip_id, clip.media, clip.subject) for clip in clips] == [
        ("one", folder / "media/a.mp4", "a;b,c"),
        ("two", folder / "media/b.mp4", None),
    ]


def test_absolute_paths_and_short_rows(folder: Path) -> None:
    path = table(folder, f"clip_id,video,split,subject\none,{folder}/media/a.mp4\ntwo,media/b.mp4,test\n")
    one, two = read_clip_table(path).clips
    assert (one.media, one.split, two.split) == (folder / "media/a.mp4", None, "test")


@pytest.mark.parametrize("clip_id", ["..", "../../etc/passwd", "/abs", "a\\b", "CON", "x/../y", "=1+1"])
def test_hostile_but_printable_ids_are_names_and_nothing_else(folder: Path, clip_id: str) -> None:
    (clip,) = read_clip_table(table(folder, f"clip_id,video\n{clip_id},media/a.mp4\n")).clips
    assert (clip.clip_id, clip.media) == (clip_id, folder / "media/a.mp4")


def test_5000_hostile_names_are_kept_as_they_are_or_refused(folder: Path) -> None:
    rng = random.Random(0)
    pieces = [
        *"./\\:;,\"'%~*?|<>&$`!# aAäß",
        "..",
        "a\u0308",
        "\u00e4",
        "\u212b",
        "\U0001f600",
        "CON",
        "\x00",
        "\x1b[2J",
    ]
    pieces += ["\n", "\r", "\x7f", "\u202e", "\u200b", "\ud800", "\ufeff", "\u2028", "=1+1"]
    names = list(dict.fromkeys("".join(rng.choices(pieces, k=rng.randint(1, 8))) for _ in range(5000)))
    printable = [name for name in names if name.isprintable() and name == name.strip()]
    assert len(printable) > 1000
    path = folder / "clips.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("clip_id", "video"), *((name, "media/a.mp4") for name in printable)])
    manifest = read_clip_table(path)
    assert [clip.clip_id for clip in manifest.clips] == printable
    assert {clip.media for clip in manifest.clips} == {folder / "media/a.mp4"}
    for name in set(names) - set(printable):
        if not name.isprintable():
            with pytest.raises(ManifestError, match="expected names of printable characters") as caught:
                require_clip_id(name, where="here")
            assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a line of column names"),
        ("clip_id,video\n", "expected one line per clip, found column names alone"),
        (
            "clip,video\na,media/a.mp4\n",
            r"needed: clip_id, video\), got no column 'clip_id' among \['clip', 'video'\]",
        ),
        ("clip_id,video,Video\na,b,c\n", "got the column 'video' twice"),
        ("clip_id,video\n\none,media/a.mp4\n,media/b.mp4\n", "line 4: expected a clip_id, got an empty cell"),
        ("clip_id,video\none,\n", "line 2: expected a video, got an empty cell"),
        (
            "clip_id,video\none,media/a.mp4\ntwo,media/a.mp4,\none,media/b.mp4\n",
            "line 4: clip_id 'one' is that of line 2",
        ),
        ("clip_id,video\none,media/a.mp4,x\n", "line 2: expected 2 cells, got 3"),
        (
            "clip_id,video,split\none,media/a.mp4,dev\n",
            "line 2: split must be one of train, validation, test or empty, got 'dev'",
        ),
        (
            "clip_id,video,face\none,media/a.mp4,all\n",
            "line 2: face must be one of largest, longest, left, right or empty",
        ),
        ('clip_id,video\n"o\nne",media/a.mp4\n', "line 2: expected printable characters as clip_id"),
        (
            'clip_id,subject,video\none,"a\nb",media/a.mp4\n',
            "line 2: expected printable characters as subject",
        ),
        (
            "clip_id,video\none,media/a.mp4\ntwo,media/a\0.mp4\n",
            "line 3: expected printable characters as video",
        ),
        ('clip_id,video\none,media/a.mp4\ntwo,"media/b.mp4\n', "line 3: expected cells between ','"),
        (
            f"clip_id,video\n{'x' * 200_000},media/a.mp4\n",
            "line 2: expected cells between ',', .* field larger",
        ),
        (b"clip_id,video\none,media/a.mp4\nt\xfcwo,media/b.mp4\n", "line 3: expected UTF-8, got byte 0xfc"),
        (
            "clip_id,video\none,x.mp4\ntwo,y.mp4\n",
            r"line 2: no video '.*x\.mp4', and none of the table's others",
        ),
    ],
)
def test_mistakes_are_named_with_their_line(folder: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        read_clip_table(table(folder, content))
    assert str(caught.value).isprintable()


def test_what_is_odd_and_not_fatal(folder: Path) -> None:
    lines = [
        "clip_id,video,anotation,faces,annotation,age",
        "one,media/a.mp4,,crops/one,,30",
        "two,media/gone.mp4,,crops/gone,labels/gone.txt,40",
        "Two,media/b.mp4,,,,50",
    ]
    manifest = read_clip_table(table(folder, "\n".join(lines)))
    assert [clip.clip_id for clip in manifest.clips] == ["one", "two", "Two"]
    text = "\n".join(manifest.problems)
    assert len(manifest.problems) == 6
    assert "the column 'anotation' is not read; did you mean 'annotation'?" in text
    assert "the column 'age' is not read\n" in text
    for gone in ("folder of faces", "label file", "video"):
        assert f"line 3: no {gone} '{folder}/" in text
    assert "clip ids 'Two', 'two' differ in case" in text


def test_a_folder_and_nothing_are_no_tables(folder: Path) -> None:
    with pytest.raises(ManifestError, match="the layout 'manifest' expects a CSV file, found a folder"):
        read_clip_table(folder)
    with pytest.raises(ManifestError, match="found nothing"):
        read_clip_table(folder / "no.csv")
