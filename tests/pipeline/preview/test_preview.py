"""Contact sheets: which frames they show, what is drawn, and the page that lists them."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.faces.crop import FaceCrop
from pipeline.media.video import VideoFrame
from pipeline.preview.collector import PreviewCollector, sheet_name, write_index, write_sheet
from pipeline.preview.contact_sheet import SheetFace, SheetFrame, clock_time, draw_sheet
from pipeline.run.extraction_report import ClipOutcome

GREEN, RED = (94, 230, 140), (255, 108, 96)


def frame(index: int, picture: np.ndarray | None = None) -> VideoFrame:
    picture = np.full((60, 80, 3), index % 251, np.uint8) if picture is None else picture
    return VideoFrame(index=index, time_s=index / 25, rgb=picture, row_times_s=(index / 25,))


def crop(index: int, box=(10, 10, 40, 50), score: float = 0.97, level: int = 200) -> FaceCrop:
    found = box is not None
    return FaceCrop(
        index=index,
        time_s=index / 25,
        row_times_s=(index / 25,),
        box=np.array(box, np.float32) if found else None,
        score=score if found else 0.0,
        crops={48: np.full((48, 48, 3), level, np.uint8)} if found else None,
    )


def collected(count: int, box=(10, 10, 40, 50)) -> PreviewCollector:
    preview = PreviewCollector()
    for index in range(count):
        preview.see_frame(frame(index))
    for index in range(count):
        preview.see_crop(crop(index, box))
    return preview


def near(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Where an image has about that colour."""
    return np.abs(np.asarray(image).astype(int) - colour).max(axis=2) < 12


@pytest.mark.parametrize("count", [1, 2, 11, 12, 13, 47, 48, 49, 50, 96, 97, 1000, 4321])
def test_the_sample_is_spread_evenly_whatever_the_length(count):
    shown = [each.index for each in collected(count).frames()]
    assert len(shown) == min(count, 12)
    assert shown[0] == 0
    steps = np.diff(shown)
    even = (count - 1) / 11
    if count > 12:
        assert steps.min() >= 0.7 * even - 1
        assert steps.max() <= 1.3 * even + 1
        assert count - shown[-1] <= even + 1
    else:
        assert (steps == 1).all()


def test_few_pictures_are_kept_and_few_are_made_small(monkeypatch):
    made = []
    thumbnail = Image.Image.thumbnail
    monkeypatch.setattr(
        Image.Image, "thumbnail", lambda self, *a, **k: made.append(1) or thumbnail(self, *a, **k)
    )
    preview = collected(5000)
    assert len(preview._samples) <= 48
    assert len(made) < 48 + 24 * 8  # 48 at first, 24 for each doubling


def test_frames_may_be_seen_long_before_their_crops():
    together, later = PreviewCollector(), collected(300)
    for index in range(300):
        together.see_frame(frame(index))
        together.see_crop(crop(index))
    for ours, theirs in zip(together.frames(), later.frames(), strict=True):
        assert ours.index == theirs.index
        assert len(ours.faces) == len(theirs.faces) == 1


def test_boxes_are_drawn_where_they_are(tmp_path):
    preview = PreviewCollector()
    preview.see_frame(frame(0, np.zeros((480, 640, 3), np.uint8)))
    preview.see_crop(crop(0, box=(100, 60, 300, 360)))
    sheet = Image.open(write_sheet(tmp_path, "clip", preview))
    rows, columns = np.nonzero(near(sheet, GREEN))
    # Pictures of 640 x 480 are shown at half their size; the first one's corner is at 14, 62.
    assert abs(columns.min() - (14 + 50)) <= 2
    assert abs(columns.max() - (14 + 150)) <= 2
    assert abs(rows.min() - (62 + 30)) <= 2
    assert abs(rows.max() - (62 + 180)) <= 2
    # The crop lies to the right of the picture.
    assert near(sheet, (200, 200, 200))[62:174, 14 + 320 + 4 : 14 + 320 + 4 + 112].mean() > 0.95


def test_frames_without_a_face_are_marked(tmp_path):
    without = Image.open(write_sheet(tmp_path, "without", collected(3, box=None)))
    assert near(without, RED).sum() > 400
    assert not near(without, GREEN).any()
    with_face = Image.open(write_sheet(tmp_path, "with", collected(3)))
    assert not near(with_face, RED).any()


def test_cropped_images_have_no_box(tmp_path):
    sheet = Image.open(write_sheet(tmp_path, "clip", collected(3, box=(0, 0, 0, 0))))
    assert not near(sheet, GREEN).any()
    assert not near(sheet, RED).any()
    assert near(sheet, (200, 200, 200)).any()


def test_several_tracks_share_a_sheet():
    preview = PreviewCollector()
    for index in range(10):
        preview.see_frame(frame(index))
    for index in range(0, 6):
        preview.see_crop(crop(index))
    for index in range(4, 10):
        preview.see_crop(crop(index, box=(50, 10, 70, 40)))
    assert preview.num_tracks == 2
    assert [[face.track for face in each.faces] for each in preview.frames()] == (
        [[1]] * 4 + [[1, 2]] * 2 + [[2]] * 4
    )
    assert preview.summary() == "10 frames to 0.36 s, 2 faces that stay long enough"


def test_the_summary_counts_frames_with_a_face():
    preview = PreviewCollector()
    for index in range(1600):
        preview.see_frame(frame(index))
        preview.see_crop(crop(index, box=None if index % 4 == 0 else (1, 1, 9, 9)))
    assert preview.summary() == "1,600 frames to 1:03.96, a face in 1,200 (75.0%)"


def test_a_clip_that_nothing_was_seen_of_has_an_empty_sheet(tmp_path):
    assert Image.open(write_sheet(tmp_path, "clip", PreviewCollector())).width >= 600


@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (1920, 1080), (40, 2000), (2000, 40), (1, 1)])
def test_sheets_of_noise_of_any_shape_stay_small(tmp_path, shape):
    rng = np.random.default_rng(0)
    preview = PreviewCollector()
    for index in range(12):
        preview.see_frame(frame(index, rng.integers(0, 256, (*shape, 3), np.uint8)))
        noise = {112: rng.integers(0, 256, (112, 112, 3), np.uint8)}
        preview.see_crop(FaceCrop(**{**vars(crop(index)), "crops": noise}))
    path = write_sheet(tmp_path, "clip", preview)
    assert path.stat().st_size < 1_000_000
    assert 600 <= Image.open(path).width <= 1500


def test_faces_beyond_what_fits_are_left_out():
    picture = Image.new("RGB", (320, 240))
    faces = tuple(
        SheetFace(
            track=n + 1, box=np.array([n, n, n + 9, n + 9]), score=0.9, crop=np.zeros((48, 48, 3), np.uint8)
        )
        for n in range(30)
    )
    frames = [SheetFrame(index=0, time_s=0.0, picture=picture, faces=faces)]
    assert draw_sheet("clip", "", frames, number_tracks=True).size == (614, 338)


def test_times_are_written_for_people():
    assert [clock_time(each) for each in (0, 59.994, 59.996, 61.5, 3600, -75.25)] == [
        "0.00 s", "59.99 s", "1:00.00", "1:01.50", "1:00:00.00", "-1:15.25",
    ]  # fmt: skip


HOSTILE = [
    "../../etc/passwd", "/abs", "a/b", "a\\b", "..", ".", "", " ", "con:1", "名前", "x" * 5000, "-rf", "a\nb",
    "A", "a", "é", "e\u0301", "<script>", "\udcff", "clip.jpg", "clip",
]  # fmt: skip


def test_any_clip_id_has_a_safe_file_name_of_its_own(tmp_path):
    names = [sheet_name(clip_id) for clip_id in HOSTILE]
    assert len({name.lower() for name in names}) == len(HOSTILE)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,80}\.jpg", name), name
    assert sheet_name("batch1/video 12").startswith("batch1-video-12-")
    preview = collected(2)
    for clip_id, name in zip(HOSTILE, names, strict=True):
        assert write_sheet(tmp_path / "sheets", clip_id, preview) == tmp_path / "sheets" / name
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == sorted(names)
    assert list(tmp_path.iterdir()) == [tmp_path / "sheets"]


class _Page(HTMLParser):
    """Tags, links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] != "style":
            self.text += data


def outcome(clip_id: str, num_frames: int = 100, num_faces: int = 90, **fields) -> ClipOutcome:
    return ClipOutcome(
        clip_id=clip_id, num_frames=num_frames, num_face_frames=num_faces, **{"status": "extracted", **fields}
    )


def test_the_page_lists_the_sheets_fewest_faces_first(tmp_path):
    for clip_id in ("many", "few"):
        write_sheet(tmp_path, clip_id, collected(2))
    error = "MediaError: '<img src=x onerror=alert(1)>' is no video"
    outcomes = [
        outcome("many"),
        outcome("few", 1000, 125),
        outcome("broken", 0, 0, status="failed", error=error),
    ]
    path = write_index(tmp_path, [*outcomes, outcome("without", status="kept")])
    assert path == tmp_path / "index.html"
    page = _Page(path.read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [each["src"] for each in images] == [sheet_name("few"), sheet_name("many")]
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == [
        each["src"] for each in images
    ]
    assert all(each["loading"] == "lazy" and (tmp_path / each["src"]).is_file() for each in images)
    assert page.text.index("\nbroken\n") < page.text.index("\nfew\n") < page.text.index("\nmany\n")
    assert "12.5% of 1,000 rows with a face" in page.text
    assert f"failed: {error}" in page.text
    assert "4 clips, 1,200 rows, 25.4% of them with a face; 1 failed" in page.text
    assert page.text.count("no sheet") == 1


def test_the_page_is_escaped_and_loads_nothing_from_elsewhere(tmp_path):
    names = ["<script>alert(1)</script>", '" onload="x', "a&b", "名前"]
    for name in names:
        write_sheet(tmp_path, name, collected(1))
    text = write_index(tmp_path, [outcome(name) for name in names]).read_text(encoding="utf-8")
    page = _Page(text)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert all(name in page.text for name in names)
    assert "prefers-color-scheme: dark" in text
    ET.fromstring(
        re.sub(r"<meta[^>]*>|<!doctype html>|(<img[^>]*)>", lambda m: f"{m[1]}/>" if m[1] else "", text)
    )


def test_a_page_without_clips_is_a_page(tmp_path):
    assert "0 clips, 0 rows, none of them" in write_index(tmp_path / "new", []).read_text(encoding="utf-8")


def test_the_runs_own_process_needs_no_torch():
    code = "import sys, pipeline.preview.collector; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
