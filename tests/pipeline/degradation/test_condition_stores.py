"""Clips extracted under conditions: what differs, what does not, and what is done once alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache import FeatureStore, StaleFeatureError
from cache.features import FRAME_ARRAYS
from pipeline.config import FaceConfig
from pipeline.degradation import condition_stores, degrade_clips, extract_conditions, read_condition
from pipeline.degradation.errors import DegradationError
from pipeline.errors import ExtractionError

CLIPS = ("late", "a/face")
OF_PICTURES = ("visual", *(name for name in FRAME_ARRAYS if name != "audio_found"))
OF_SOUND = ("audio", "audio_found")


def extracted(corpus: Any, out: Path, *names: str, clips: Any = CLIPS, **options: Any) -> list[FeatureStore]:
    conditions = [read_condition(name) for name in names]
    given = {"workers": 1, "device": "cpu", "parts_dir": corpus.work} | options
    stores = extract_conditions(
        corpus.store, corpus.source, "manifest", clips, conditions, out, corpus.config, **given
    )
    assert list(stores) == conditions
    return [FeatureStore.open(path) for path in stores.values()]


def same(first: Any, second: Any, names: tuple[str, ...]) -> list[bool]:
    return [np.array_equal(getattr(first, name), getattr(second, name)) for name in names]


def seconds(out: Path, name: str, clip: int = 0) -> dict[str, float]:
    report = json.loads((out / name / "extraction_report.json").read_text())
    return report["clips"][clip]["stage_seconds"]


@pytest.mark.parametrize("name", ["speech_noise=5", "reverberation=0.5"])
def test_pictures_are_those_of_the_store_where_the_sound_is_worse(
    corpus: Any, tmp_path: Path, name: str
) -> None:
    (store,) = extracted(corpus, tmp_path, name)
    assert store.clip_ids == CLIPS
    assert store.fingerprint == corpus.clean.fingerprint
    for clip in CLIPS:
        before, after = corpus.clean[clip], store[clip]
        assert before.face_found.any()
        assert all(same(before, after, OF_PICTURES))
        assert np.array_equal(before.audio_found, after.audio_found)
        assert not np.array_equal(before.audio, after.audio)
        assert after.facts["degradation"]["family"] == name.partition("=")[0]
    took = seconds(tmp_path, name)
    assert took["faces"] == took["visual_backbone"] == 0 < took["audio_backbone"]


@pytest.mark.parametrize("name", ["blur=4", "darkness=2", "occlusion_lower=50"])
def test_sound_is_that_of_the_store_where_the_pictures_are_worse(
    corpus: Any, tmp_path: Path, name: str
) -> None:
    (store,) = extracted(corpus, tmp_path, name)
    for clip in CLIPS:
        before, after = corpus.clean[clip], store[clip]
        assert all(same(before, after, (*OF_SOUND, "time_s", "source_frame")))
        assert after.face_found.all()  # found anew, at about the same place
        assert np.abs(after.face_box - before.face_box).max() < 35  # of 130
        assert not np.array_equal(before.visual, after.visual)
    took = seconds(tmp_path, name)
    assert took["audio_backbone"] == 0 < took["faces"]


def test_a_face_that_is_covered_is_not_found(corpus: Any, tmp_path: Path) -> None:
    (store,) = extracted(corpus, tmp_path, "occlusion_upper=100", clips=["a/face"])
    assert not store["a/face"].face_found.any()
    assert not store["a/face"].visual.any()
    assert store["a/face"].facts["num_face_frames"] == 0
    assert store["a/face"].facts["num_audio_frames"] == corpus.clean["a/face"].audio_found.sum()


def test_what_changes_nothing_gives_the_rows_of_the_store(corpus: Any, tmp_path: Path) -> None:
    stores = extracted(corpus, tmp_path, "occlusion_lower=0", "blur=0", "reverberation=0.1@300")
    for store in stores:
        for clip in CLIPS:
            assert all(same(corpus.clean[clip], store[clip], (*OF_PICTURES, *OF_SOUND)))


def test_rows_are_those_that_a_copy_gives(corpus: Any, tmp_path: Path) -> None:
    names = ("pink_noise=0", "occlusion_lower=30")
    for name, store in zip(names, extracted(corpus, tmp_path, *names), strict=True):
        copies = tmp_path / "copies" / name
        table = degrade_clips(
            corpus.store,
            corpus.source,
            "manifest",
            CLIPS,
            read_condition(name),
            copies,
            corpus.config,
            work_dir=corpus.work,
        )
        of_copies = corpus.extract(table, copies / "features.zarr")
        assert of_copies.clip_ids == store.clip_ids
        for clip in CLIPS:
            assert all(same(of_copies[clip], store[clip], (*OF_PICTURES, *OF_SOUND)))


def test_cropped_faces_are_altered_as_crops(corpus: Any, tmp_path: Path) -> None:
    occluded, noisy = extracted(corpus, tmp_path, "occlusion_lower=100", "white_noise=0", clips=["c"])
    before, after = corpus.clean["c"], occluded["c"]
    assert (
        after.face_found.tolist()
        == before.face_found.tolist()
        == [True] * 3 + [False] * 2 + [True] + [False] * 2
    )
    # The tiny backbone gives the means and deviations of the colours, of a face that is grey all over.
    grey = (128 / 255 - 0.5) / 0.5
    np.testing.assert_allclose(after.visual[:, after.face_found, :3], grey, atol=1e-3)
    np.testing.assert_allclose(after.visual[:, after.face_found, 3:], 0, atol=1e-3)
    assert all(same(before, after, OF_SOUND))
    assert all(same(before, noisy["c"], OF_PICTURES))


def test_clips_without_faces_or_sound(corpus: Any, tmp_path: Path) -> None:
    clips = ["s", "f", "e", "d"]
    for store in extracted(corpus, tmp_path, "white_noise=0", "blur=8", "occlusion_lower=50", clips=clips):
        assert store.clip_ids == tuple(clips)
        assert all(same(corpus.clean["s"], store["s"], (*OF_PICTURES, *OF_SOUND)))
        assert all(np.array_equal(corpus.clean[clip].time_s, store[clip].time_s) for clip in clips)


def test_what_is_finished_is_kept(corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (store,) = extracted(corpus, tmp_path, "white_noise=3")
    digest, key = store.digest, store["late"].key
    with monkeypatch.context() as patch:
        patch.setattr(condition_stores, "extract_clips", None)  # is not called
        assert extracted(corpus, tmp_path, "white_noise=3")[0].digest == digest
    # Without its store a condition is packed again from finished clips; one of them was lost.
    shutil.rmtree(tmp_path / "white_noise=3")
    condition_stores.WorkDir(corpus.work).parts.discard(key)
    assert extracted(corpus, tmp_path, "white_noise=3")[0].digest == digest
    report = json.loads((tmp_path / "white_noise=3" / "extraction_report.json").read_text())
    assert [(clip["clip_id"], clip["status"]) for clip in report["clips"]] == [
        ("late", "extracted"),
        ("a/face", "kept"),
    ]
    # Another seed, other clips and another clean store are other rows.
    assert extracted(corpus, tmp_path, "white_noise=3", seed=1)[0].digest != digest
    assert len(extracted(corpus, tmp_path, "white_noise=3", clips=["late"])[0]) == 1


def test_rows_are_extracted_again_where_the_store_has_others(corpus: Any, tmp_path: Path) -> None:
    (store,) = extracted(corpus, tmp_path, "white_noise=3", clips=["late"])
    key = store["late"].key
    task = condition_stores.clean_clips(
        corpus.store,
        corpus.source,
        "manifest",
        ["late"],
        corpus.config,
        condition_stores.WorkDir(corpus.work).media_digests(),
    )[0].degradation(read_condition("white_noise=3"), 0)
    plain = corpus.clean["late"].key
    assert task.key(plain) == key
    assert dataclasses.replace(task, stores=("elsewhere",)).key(plain) == key
    assert dataclasses.replace(task, rows_sha256="0" * 64).key(plain) != key


def test_one_condition_that_fails_does_not_take_others_with_it(
    corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = condition_stores.extract_clips

    def fail_on_blur(manifest: Any, out: Path, *arguments: Any, **options: Any) -> Any:
        if "blur" in str(out):
            raise ExtractionError("no such luck")
        return extract(manifest, out, *arguments, **options)

    monkeypatch.setattr(condition_stores, "extract_clips", fail_on_blur)
    with pytest.raises(ExtractionError, match=r"1 of 2 conditions failed.*first blur=4: no such luck"):
        extracted(corpus, tmp_path, "blur=4", "white_noise=20", clips=["late"])
    assert FeatureStore.open(tmp_path / "white_noise=20" / "features.zarr").clip_ids == ("late",)


def test_what_does_not_belong_together_is_refused(corpus: Any, tmp_path: Path) -> None:
    def refused(message: str, error: type[Exception] = DegradationError, **changes: Any) -> None:
        given: dict[str, Any] = {
            "store": corpus.store,
            "source": corpus.source,
            "layout": "manifest",
            "clip_ids": ["late"],
            "conditions": [read_condition("blur=4")],
            "work_dir": tmp_path / "out",
            "config": corpus.config,
            "parts_dir": corpus.work,
        }
        with pytest.raises(error, match=message):
            extract_conditions(**given | changes)
        assert not (tmp_path / "out").exists()

    refused("clip 'x' is not in .*features.zarr", clip_ids=["late", "x"])
    refused("at least one clip, each once", clip_ids=["late", "late"])
    refused("at least one clip, each once", clip_ids=[])
    refused("seed must not be negative", seed=-1)
    other = dataclasses.replace(corpus.config, faces=FaceConfig(detect_every=3))
    refused("detect_every", StaleFeatureError, config=other)
    refused(
        "clip 'a/face' of .* is not in", source=corpus.source.parent, layout="videos", clip_ids=["a/face"]
    )
    # Another file under the same name, and a store of tracks.
    elsewhere = shutil.copytree(corpus.source.parent, tmp_path / "elsewhere")
    shutil.copy(elsewhere / "face.mp4", elsewhere / "late.mkv")
    refused("expected the media file that .* was extracted from", source=elsewhere / "clips.csv")
    (elsewhere / "cropped" / "c" / "00001.jpg").unlink()
    refused("expected the cropped faces that", source=elsewhere / "clips.csv", clip_ids=["c"])
    (elsewhere / "late.mkv").unlink()
    refused("its media cannot be read", source=elsewhere / "clips.csv")


def test_tracks_of_faces_are_refused(corpus: Any, tmp_path: Path) -> None:
    everybody = dataclasses.replace(corpus.config, faces=FaceConfig(subject="all", min_track_s=0.1))
    tracks = dataclasses.replace(corpus, root=tmp_path, config=everybody)
    table = corpus.source.with_name("one.csv")
    table.write_text("clip_id,video\nlate,late.mkv\n")
    store = tracks.extract(table, tracks.store)
    assert store.clip_ids == ("late_track1",)
    with pytest.raises(DegradationError, match="tracks of faces, 'CLIP_track1', cannot be degraded"):
        extract_conditions(
            tracks.store, table, "manifest", ["late_track1"], [], tmp_path, everybody, parts_dir=tracks.work
        )
