"""A store from elsewhere is added to: what it holds is not extracted again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache import FeatureStore
from cache.restored_parts import restore_parts
from pipeline.clip_source import ClipSource
from pipeline.config import AudioConfig, ExtractConfig, VisualConfig
from pipeline.run.clip_supervisor import clip_process
from pipeline.run.finished_clips import FinishedClips
from pipeline.run.restored_tracks import restore_track_lists
from pipeline.run.runner import RunOptions, extract_features
from pipeline.run.work_dir import WorkDir

TINY = Path(__file__).parents[1]  # has the tiny backbones
CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights=""),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
    batch_size=16,
)
EVERYBODY = dataclasses.replace(
    CONFIG, faces=dataclasses.replace(CONFIG.faces, subject="all", min_track_s=0.1)
)


@pytest.fixture(autouse=True)
def importable() -> Iterator[None]:
    """The tiny backbones can be imported, here and in the processes that this one starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TINY))
        clip_process().close()
        yield
        clip_process().close()


@pytest.mark.parametrize("config", [CONFIG, EVERYBODY], ids=["one face", "all faces"])
def test_clips_of_a_store_are_found_finished(
    tmp_path: Path, draw_face: Callable[..., Any], write_media: Callable[..., None], config: ExtractConfig
) -> None:
    media = tmp_path / "media"
    media.mkdir()
    face, _ = draw_face((160, 200), (80, 100), 130.0)
    for name in ("a", "b"):
        write_media(media / f"{name}.mp4", [face] * 10, [frame / 25 for frame in range(10)])

    def run(work: str) -> dict[str, str]:
        options = RunOptions(workers=1, device="cpu", work_dir=tmp_path / work)
        report = extract_features(media, "videos", tmp_path / f"{work}.zarr", config, options)
        return {outcome.clip_id: outcome.status for outcome in report.clips}

    assert run("here") == {"a": "extracted", "b": "extracted"}
    store = FeatureStore.open(tmp_path / "here.zarr")
    assert len(store) == 2
    there = WorkDir(tmp_path / "there")
    clips = [ClipSource(clip_id=name, media=media / f"{name}.mp4") for name in ("a", "b")]
    assert [FinishedClips(config, there.path)(clip) for clip in clips] == [False, False]
    done = restore_parts(store, there.parts)
    restore_track_lists(there.tracks, [*done.restored, *done.kept])
    # Their media were not read here.
    assert [FinishedClips(config, there.path)(clip) for clip in clips] == [None, None]
    grey = np.full((64, 96, 3), 90, np.uint8)
    write_media(media / "c.mp4", [grey] * 6, [frame / 25 for frame in range(6)])
    assert run("there") == {"a": "kept", "b": "kept", "c": "extracted"}
    assert [FinishedClips(config, there.path)(clip) for clip in clips] == [True, True]
    added = FeatureStore.open(tmp_path / "there.zarr")
    assert set(store) <= set(added)
    for clip in store:
        assert added[clip].visual.tobytes() == store[clip].visual.tobytes()
