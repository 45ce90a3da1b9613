"""Copies of Aff-Wild2 made of small files: complete ones, and the ways in which copies in use differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.clip_source import ClipSource, Manifest
from pipeline.errors import ManifestError
from pipeline.layouts.aff_wild2 import read_aff_wild2

VA = "valence,arousal\n0.1,0.2\n"
OTHERS = {"EXPR_Classification_Challenge": "Neutral,Anger\n1\n", "AU_Detection_Challenge": "AU1,AU2\n0,1\n"}


def put(root: Path, *names: str, text: str = "") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def by_id(manifest: Manifest) -> dict[str, ClipSource]:
    return {clip.clip_id: clip for clip in manifest.clips}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Two batches and the new videos; one video with two labelled people, one of the test set with two."""
    put(tmp_path, "batch1/1-30-1280x720.mp4", "batch1/video5.mp4", "batch2/7.AVI", "new_vids/video92.mp4")
    put(tmp_path, "batch2/own.mp4", "batch2/own_right.mp4", "batch2/pair.mp4")
    train, validation = (
        f"annotations/VA_Estimation_Challenge/{split}" for split in ("Train_Set", "Validation_Set")
    )
    put(tmp_path, f"{train}/1-30-1280x720.txt", f"{train}/video5.txt", f"{train}/video5_left.txt", text=VA)
    put(tmp_path, f"{validation}/video5_right.txt", f"{validation}/own_right.txt", text=VA)
    for task, text in OTHERS.items():
        put(
            tmp_path, f"annotations/{task}/Train_Set/7.txt", f"annotations/{task}/Train_Set/zz.txt", text=text
        )
    for name in ("1-30-1280x720", "video5_left", "pair_left", "pair_right"):
        put(tmp_path, f"cropped_aligned/{name}/00001.jpg", f"cropped_aligned/{name}/00003.jpg")
    put(tmp_path, "cropped_aligned_new_50_vids/video92/00002.jpg")
    return tmp_path


def test_trials_of_a_whole_copy(copy: Path) -> None:
    manifest = read_aff_wild2(copy)
    found = {
        clip.clip_id: (
            clip.media.relative_to(copy).as_posix(),
            clip.face,
            clip.split,
            clip.faces and clip.faces.relative_to(copy).as_posix(),
        )
        for clip in manifest.clips
    }
    assert found == {
        "1-30-1280x720": ("batch1/1-30-1280x720.mp4", None, "train", "cropped_aligned/1-30-1280x720"),
        "7": ("batch2/7.AVI", None, "test", None),
        "own": ("batch2/own.mp4", None, "test", None),
        "own_right": ("batch2/own_right.mp4", None, "validation", None),
        "pair": ("batch2/pair.mp4", None, "test", None),
        "pair_left": ("batch2/pair.mp4", "left", "test", "cropped_aligned/pair_left"),
        "pair_right": ("batch2/pair.mp4", "right", "test", "cropped_aligned/pair_right"),
        "video5": ("batch1/video5.mp4", None, "train", None),
        "video5_left": ("batch1/video5.mp4", "left", "train", "cropped_aligned/video5_left"),
        "video5_right": ("batch1/video5.mp4", "right", "validation", None),
        "video92": ("new_vids/video92.mp4", None, "test", "cropped_aligned_new_50_vids/video92"),
    }
    assert list(found) == sorted(found)
    assert manifest.problems == ("taken for the test set, for want of a label file: 6 of 11 clips",)


def test_label_files_are_those_of_valence_and_arousal(copy: Path) -> None:
    clips = by_id(read_aff_wild2(copy))
    annotation = clips["video5_right"].annotation
    assert annotation == copy / "annotations/VA_Estimation_Challenge/Validation_Set/video5_right.txt"
    assert clips["7"].annotation is None  # it has labels of expressions and action units alone


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("Third ABAW Annotations/VA_Estimation_Challenge/Train_Set", "train"),
        ("VA_Set/Training_Set", "train"),
        ("annotations/VA_Set/validation_set", "validation"),
        ("labels/Test Set", "test"),
        ("TRAIN_SET", "train"),
    ],
)
def test_label_folders_by_other_names_and_depths(tmp_path: Path, folder: str, split: str) -> None:
    put(tmp_path, "deep/er/batch1/x.mp4")
    put(tmp_path, f"{folder}/x.txt", text="\ufeffvalence, arousal\r\n0,0\r\n")
    (clip,) = read_aff_wild2(tmp_path).clips
    assert (clip.split, clip.annotation) == (split, tmp_path / folder / "x.txt")


@pytest.mark.parametrize(
    "folder",
    [
        "cropped_aligned",
        "Cropped_Aligned",
        "cropped_aligned/cropped_aligned",
        "cropped_aligned/batch1",
        "cropped_aligned_new_50_vids/cropped_aligned_new_50_vids",
        "archives/cropped_aligned_images",
    ],
)
def test_face_folders_by_other_names_and_depths(tmp_path: Path, folder: str) -> None:
    put(tmp_path, "x.mp4", f"{folder}/x/Thumbs.db", f"{folder}/x/00007.jpg")
    (clip,) = read_aff_wild2(tmp_path).clips
    assert clip.faces == tmp_path / folder / "x"


def test_what_is_not_found_is_named(tmp_path: Path) -> None:
    put(tmp_path, "x.mp4")
    manifest = read_aff_wild2(tmp_path)
    (clip,) = manifest.clips
    assert (clip.split, clip.faces, clip.annotation) == (None, None, None)
    labels, faces = manifest.problems
    assert "no folder Train_Set or Validation_Set with labels 'valence,arousal'" in labels
    assert "no folder cropped_aligned* " in faces
    for task, text in OTHERS.items():
        put(tmp_path, f"{task}/Train_Set/x.txt", text=text)
    assert ", but 2 of other tasks: labels and splits are not known" in read_aff_wild2(tmp_path).problems[0]


def test_labels_and_faces_without_video_are_problems_and_no_clips(copy: Path) -> None:
    put(copy, "annotations/VA_Estimation_Challenge/Train_Set/gone.txt", text=VA)
    put(copy, "annotations/VA_Estimation_Challenge/Train_Set/VIDEO5.txt", text=VA)
    put(copy, "annotations/VA_Estimation_Challenge/Train_Set/._video5.txt", text="Mac")
    put(copy, "cropped_aligned/gone_left/00001.jpg")
    manifest = read_aff_wild2(copy)
    assert len(manifest.clips) == 11
    assert [problem for problem in manifest.problems if "test set" not in problem] == [
        "labels of trial 'VIDEO5' have no video; 'video5.mp4' differs in case or Unicode form alone: rename "
        "it",
        "labels of trial 'gone' have no video",
        "faces of trial 'gone_left' have no video",
    ]


def test_what_lies_there_twice(copy: Path) -> None:
    put(copy, "annotations/VA_Estimation_Challenge/Validation_Set/video5.txt", text=VA)
    put(copy, "later/VA_Estimation_Challenge/Train_Set/7.txt", text=VA)
    put(copy, "cropped_aligned_new_50_vids/video5_left/00001.jpg")
    manifest = read_aff_wild2(copy)
    clips = by_id(manifest)
    assert (clips["video5"].split, clips["7"].split) == ("train", "test")
    assert clips["video5_left"].faces == copy / "cropped_aligned" / "video5_left"
    text = "\n".join(manifest.problems)
    assert "'video5' has labels in 'Train_Set' and in 'Validation_Set'" in text
    assert f"those in {str(copy / 'later' / 'VA_Estimation_Challenge')!r} are left aside" in text
    assert "trial 'video5_left' has faces in" in text


def test_images_elsewhere_and_empty_folders_are_named(copy: Path) -> None:
    put(copy, "cropped/7/00001.jpg", "cropped/own/00001.jpg", "cropped/own/00002.jpg")
    (copy / "cropped_aligned" / "7").mkdir()
    (copy / "cropped_aligned" / "nobody").mkdir()
    manifest = read_aff_wild2(copy)
    assert by_id(manifest)["7"].faces is None
    text = "\n".join(manifest.problems)
    assert "2 folders of numbered images lie outside a folder cropped_aligned*" in text
    assert f"folder of faces {str(copy / 'cropped_aligned' / '7')!r} is empty" in text
    assert "nobody" not in text


def test_one_name_in_two_batches_is_refused(copy: Path) -> None:
    put(copy, "batch2/video5.avi")
    with pytest.raises(
        ManifestError, match=r"'batch1/video5\.mp4' and 'batch2/video5\.avi' give one clip id"
    ):
        read_aff_wild2(copy)


def test_sources_without_media_and_hostile_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected a folder of Aff-Wild2's archives, found nothing"):
        read_aff_wild2(tmp_path / "nowhere")
    put(tmp_path, "Train_Set/x.txt", text=VA)
    put(tmp_path, "cropped_aligned/x/00001.jpg")
    with pytest.raises(ManifestError, match="expected media files"):
        read_aff_wild2(tmp_path)
    put(tmp_path, "batch1/a\nb.mp4")
    with pytest.raises(ManifestError, match="expected names of printable characters") as caught:
        read_aff_wild2(tmp_path)
    assert str(caught.value).isprintable()


def test_a_source_that_is_itself_a_folder_of_faces_beside_links(tmp_path: Path) -> None:
    put(tmp_path, "cropped_aligned/x/00001.jpg", "media/x.mp4")
    (tmp_path / "cropped_aligned" / "videos").symlink_to(tmp_path / "media")
    (clip,) = read_aff_wild2(tmp_path / "cropped_aligned").clips
    assert clip.faces == tmp_path / "cropped_aligned" / "x"
