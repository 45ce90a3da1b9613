"""Which clips files, folders and patterns are, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ExtractionError, ManifestError
from pipeline.prediction.media_list import list_clips, without_overlays
from pipeline.prediction.prediction_record import ClipRecord, PredictionRecord, PredictionSettings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Media files, all empty, in the working folder; names.txt is none."""
    names = ("b.mp4", "a.mp4", "day/a.mkv", "day/c.avi", "day/deep/a.webm", "notes/names.txt", "odd.bin")
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(*media: str) -> dict[str, str]:
    clips = list_clips([Path(each) for each in media])
    return {clip.clip_id: clip.media.relative_to(Path.cwd()).as_posix() for clip in clips}


def test_files_folders_and_patterns(place: Path) -> None:
    assert ids("b.mp4", "odd.bin") == {"b": "b.mp4", "odd": "odd.bin"}  # what is named is taken for media
    assert ids("day") == {"a": "day/a.mkv", "c": "day/c.avi", "deep/a": "day/deep/a.webm"}
    assert ids("*.*") == {"a": "a.mp4", "b": "b.mp4"}
    assert ids("day/**/*.web?") == {"a": "day/deep/a.webm"}
    assert list(ids("b.mp4", "a.mp4")) == ["b", "a"]


def test_what_is_given_twice_is_one_clip(place: Path) -> None:
    assert ids("a.mp4", "*.mp4", str(place / "a.mp4")) == {"a": "a.mp4", "b": "b.mp4"}


def test_equal_names_are_told_apart_by_their_folders(place: Path) -> None:
    assert ids("a.mp4", "day/a.mkv", "b.mp4") == {"a": "a.mp4", "day/a": "day/a.mkv", "b": "b.mp4"}
    assert set(ids("**/a.*")) == {"a", "day/a", "day/deep/a"}


def test_equal_names_in_one_folder(place: Path) -> None:
    (place / "a.avi").touch()
    with pytest.raises(ManifestError, match=r"'.*a\.mp4' and '.*a\.avi' give one clip id 'a'.*: rename one"):
        ids("a.mp4", "a.avi")


@pytest.mark.parametrize(
    ("media", "message"),
    [
        ("nothing.mp4", r"media 'nothing.mp4': expected a file, a folder or a pattern .*found nothing"),
        (
            "*.mov",
            r"media '\*.mov': expected files that fit the pattern .*, found nothing; check the pattern",
        ),
        ("notes/*", r"media 'notes/\*': .*, found 1 others"),
        ("notes", "source 'notes': expected media files .*found 1 of '.txt'"),
    ],
)
def test_nothing_to_predict(place: Path, media: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        ids(media)


def test_other_layouts_have_one_source(place: Path) -> None:
    table = place / "clips.csv"
    table.write_text("clip_id,video\nfirst,a.mp4\nsecond,day/a.mkv\n")
    assert [clip.clip_id for clip in list_clips([table], "manifest")] == ["first", "second"]
    with pytest.raises(ManifestError, match=r"layout 'manifest': expected one source, got 2"):
        list_clips([table, table], "manifest")


def test_names_that_cannot_be_printed(place: Path) -> None:
    (place / "two\nlines.mp4").touch()
    with pytest.raises(ManifestError, match=r"expected names of printable characters, got 'two\\nlines'"):
        ids("*lines.mp4")


def test_overlays_of_an_earlier_run_are_no_media(place: Path) -> None:
    clips = list_clips([place])
    out = Path("day")
    assert without_overlays(clips, out) == list(clips)
    drawn = ClipRecord(
        clip_id="c", source="c", source_state="", status="predicted", file="c.csv", others=("c.avi",)
    )
    settings = PredictionSettings(
        tagf="1",
        checkpoints=(),
        random_weights=False,
        extract={},
        smoothing=None,
        device="cpu",
        columns=(),
        file_format="csv",
        versions={},
    )
    PredictionRecord(settings=settings, clips={"c": drawn}).write(out)
    assert without_overlays(clips, out) == [clip for clip in clips if clip.clip_id != "day/c"]
    with pytest.raises(ExtractionError, match="got overlays alone that were drawn into 'day'"):
        without_overlays(list_clips([place / "day" / "c.avi"]), out)
