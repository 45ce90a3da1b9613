"""`tagf extract --dry-run` on made sources with real media: what it counts, and which problems it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig, MediaConfig
from pipeline.errors import ManifestError
from pipeline.run.dry_run import DryRun, plan_extraction

CONFIG = ExtractConfig()


@pytest.fixture(scope="module")
def media(write_media: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Media of 20 and 50 frames at 10 fps; that of 20 has sound."""
    folder = tmp_path_factory.mktemp("media")
    found = {}
    for num_frames in (20, 50):
        path = folder / f"{num_frames}.mp4"
        pictures = [np.full((32, 32, 3), number, np.uint8) for number in range(num_frames)]
        samples = np.zeros((1, 32_000), np.float32) if num_frames == 20 else None
        write_media(path, pictures, [number / 10 for number in range(num_frames)], rate=10, samples=samples)
        found[num_frames] = path.read_bytes()
    return found


def put(path: Path, content: bytes | str = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def labels(num_rows: int) -> str:
    return "valence,arousal\n" + "0.1,0.2\n" * num_rows


@pytest.fixture
def copy(tmp_path: Path, media: dict[int, bytes]) -> Path:
    """An Aff-Wild2 in small: two videos, one of them with two people and cropped faces of one."""
    put(tmp_path / "batch1/a.mp4", media[20])
    put(tmp_path / "batch2/b.mp4", media[50])
    put(tmp_path / "VA_Estimation_Challenge/Train_Set/a.txt", labels(21))
    put(tmp_path / "VA_Estimation_Challenge/Validation_Set/b_left.txt", labels(50).rstrip() + "\n\n")
    for number in (1, 2, 50):
        put(tmp_path / f"cropped_aligned/b_left/{number:05d}.jpg")
    return tmp_path


def totals(plan: DryRun, group: str) -> dict[str, int | None]:
    found: Any = plan.to_mapping()["totals"]
    return {name: value for name, value in found[group].items() if value}


def test_counts_by_split(copy: Path) -> None:
    plan = plan_extraction(copy, "aff-wild2", CONFIG, is_kept=lambda clip: clip.clip_id != "b_left")
    assert totals(plan, "train") == {
        "num_clips": 1, "num_labelled": 1, "num_label_rows": 21, "num_rows": 20, "num_kept": 1
    }  # fmt: skip
    assert totals(plan, "validation") == {
        "num_clips": 1, "num_labelled": 1, "num_label_rows": 50, "num_rows": 50, "num_with_faces": 1,
        "num_faces": 3, "num_silent": 1, "num_pending": 1,
    }  # fmt: skip
    assert totals(plan, "test") == {"num_clips": 1, "num_rows": 50, "num_silent": 1, "num_kept": 1}
    assert totals(plan, "all")["num_rows"] == 120
    assert plan.problems == ("taken for the test set, for want of a label file: 1 of 3 clips",)


def test_table_and_mapping_say_the_same(copy: Path) -> None:
    plan = plan_extraction(copy, "aff-wild2", CONFIG)
    table = [line.split() for line in str(plan).splitlines()]
    assert ["validation", "1", "1", "50", "50", "1", "3", "1"] in table
    assert ["all", "3", "2", "71", "120", "1", "3", "2"] in table
    assert ["1", "problem:"] in table
    mapping: Any = json.loads(json.dumps(plan.to_mapping()))
    assert [clip["clip_id"] for clip in mapping["clips"]] == ["a", "b", "b_left"]
    assert mapping["clips"][2] | {"split": None} == {
        "clip_id": "b_left", "split": None, "num_frames": 50, "num_rows": 50, "num_label_rows": 50,
        "num_faces": 3, "has_sound": False, "state": None,
    }  # fmt: skip
    assert mapping["totals"]["all"]["num_kept"] is None


def test_clips_that_have_to_be_read_to_tell(copy: Path) -> None:
    states = {"a": True, "b": False, "b_left": None}
    plan = plan_extraction(copy, "aff-wild2", CONFIG, is_kept=lambda clip: states[clip.clip_id])
    assert [clip.state for clip in plan.clips] == ["kept", "pending", "unread"]
    found = totals(plan, "all")
    assert (found["num_kept"], found["num_pending"], found["num_unread"]) == (1, 1, 1)
    lines = str(plan).splitlines()
    assert lines[2].endswith("kept  to do  not read yet")
    assert "1 not read yet: finished clips among them are found when they are read." in lines
    plan = plan_extraction(copy, "aff-wild2", CONFIG, is_kept=lambda clip: False)
    assert "not read yet" not in str(plan)


def test_rows_at_a_rate_of_their_own(copy: Path) -> None:
    config = ExtractConfig(media=MediaConfig(resample_fps=30))
    plan = plan_extraction(copy, "aff-wild2", config)
    assert [(clip.num_frames, clip.num_rows) for clip in plan.clips] == [(20, 60), (50, 150), (50, 150)]


def test_labels_and_faces_far_from_the_header_are_problems(copy: Path) -> None:
    put(copy / "VA_Estimation_Challenge/Train_Set/a.txt", labels(9))
    assert plan_extraction(copy, "aff-wild2", CONFIG).problems[1:] == (
        "clip 'a': 9 label rows, but 20 frames by the header",
    )
    put(copy / "VA_Estimation_Challenge/Train_Set/a.txt", labels(10))
    put(copy / "cropped_aligned/b_left/00060.jpg")
    assert plan_extraction(copy, "aff-wild2", CONFIG).problems[1:] == ()
    put(copy / "cropped_aligned/b_left/00061.jpg")
    assert plan_extraction(copy, "aff-wild2", CONFIG).problems[1:] == (
        "clip 'b_left': a face image of frame 61, but 50 frames by the header",
    )


def test_media_that_do_not_open_are_problems_once(copy: Path) -> None:
    put(copy / "batch2/b.mp4", b"no video")
    plan = plan_extraction(copy, "aff-wild2", CONFIG)
    assert [clip.num_rows for clip in plan.clips] == [20, None, None]
    (problem,) = plan.problems[1:]
    assert "b.mp4': expected an undamaged file" in problem
    assert totals(plan, "all")["num_rows"] == 20


def test_problems_of_a_table(tmp_path: Path, media: dict[int, bytes]) -> None:
    put(tmp_path / "a.mp4", media[20])
    put(tmp_path / "bad.txt", "arousal;valence\n")
    put(tmp_path / "good.txt", labels(20))
    put(tmp_path / "timed.csv", "Time [ms];valence;arousal\r\n" + "0;0,1;0,2\r\n" * 200)
    (tmp_path / "empty").mkdir()
    rows = [
        "clip_id,video,faces,annotation,split",
        "one,a.mp4,empty,bad.txt,train",
        "two,a.mp4,,,validation",
        "three,gone.mp4,gone,gone.txt,test",
        "four,a.mp4,,good.txt,",
        "five,a.mp4,,timed.csv,train",
    ]
    plan = plan_extraction(put(tmp_path / "clips.csv", "\n".join(rows)), "manifest", CONFIG)
    assert [(clip.num_label_rows, clip.num_faces) for clip in plan.clips] == [
        (0, 0),
        (None, None),
        (None, 0),
        (20, None),
        (200, None),
    ]
    text = "\n".join(plan.problems)
    assert len(plan.problems) == 7
    for expected in (
        "line 4: no video",
        "line 4: no folder of faces",
        "line 4: no label file",
        "bad.txt': expected the first line 'valence,arousal', got 'arousal;valence'",
        "clip 'one': 0 label rows, but 20 frames by the header",
        "empty': expected images named 00001.jpg, found none",
        "clip 'two': of split 'validation', but without a label file",
    ):
        assert expected in text
    assert ["no", "split", "1", "1", "20", "20", "0", "0", "0"] in [
        line.split() for line in str(plan).splitlines()
    ]


def test_long_lists_of_problems_are_cut_on_the_screen_alone(tmp_path: Path, media: dict[int, bytes]) -> None:
    put(tmp_path / "a.mp4", media[20])
    rows = ["clip_id,video", "a,a.mp4", *(f"{number},{number}.mp4" for number in range(25))]
    plan = plan_extraction(put(tmp_path / "clips.csv", "\n".join(rows)), "manifest", CONFIG)
    shown = str(plan).splitlines()
    assert len(plan.problems) == 25
    assert sum("no video" in line for line in shown) == 20
    assert shown[-1] == "  and 5 more; --json lists them all"


def test_clips_that_share_a_file_read_its_header_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.run import dry_run

    read: list[str] = []
    real = dry_run.read_header
    monkeypatch.setattr(
        dry_run, "read_header", lambda path, *settings: read.append(path.name) or real(path, *settings)
    )
    asked: list[str] = []

    def is_kept(clip: ClipSource) -> bool:
        asked.append(clip.clip_id)
        return False

    plan_extraction(copy, "aff-wild2", CONFIG, is_kept=is_kept)
    assert sorted(read) == ["a.mp4", "b.mp4"]
    assert asked == ["a", "b", "b_left"]


def test_a_source_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected media files"):
        plan_extraction(tmp_path, "videos", CONFIG)
