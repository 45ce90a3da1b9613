"""Rows of a live source against those that stage one makes of the same file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.extract import ClipExtraction
from pipeline.faces.tracks import track_faces
from pipeline.live.face_refiner import FaceRefiner
from pipeline.live.file_playback import FilePlayback
from pipeline.live.row_maker import LiveRow, RowMaker, live_models
from pipeline.media.video import decode_video
from pipeline.models import Models


def live_rows(path: Path, config: ExtractConfig, models: Models) -> list[LiveRow]:
    source = FilePlayback(path, config.media, config.limits, at_own_pace=False)
    maker = RowMaker(config, models, FaceRefiner())
    rows = []
    source.start()
    while (frame := source.slot.take()) is not None:
        rows.append(maker.row(frame, source.sound_until(frame.time_s)))
    source.close()
    return rows


def stage_one(path: Path, config: ExtractConfig, models: Models, spill: Path) -> dict[str, np.ndarray]:
    clip = ClipSource(clip_id="x", media=path)
    work = ClipExtraction(source=clip, config=config, models=models, spill=spill)
    blocks = list(work.picture_rows(work.faces()))
    arrays = {name: np.concatenate([block.arrays[name] for block in blocks]) for name in blocks[0].arrays}
    visual = np.concatenate([block.streams["visual"][0] for block in blocks])
    sound = list(work.sound_rows("audio", iter([arrays["time_s"]])))
    return arrays | {
        "visual": visual,
        "audio": np.concatenate([block.rows for block in sound]),
        "audio_found": np.concatenate([block.found for block in sound]),
    }


def test_rows_are_stage_ones_to_the_bit_where_every_frame_is_detected(clip, config, models, tmp_path):
    expected = stage_one(clip, config, models, tmp_path)
    rows = live_rows(clip, config, models)
    assert len(rows) == len(expected["time_s"])
    assert expected["face_found"].all()
    assert expected["audio_found"].any()
    np.testing.assert_array_equal([row.face.box for row in rows], expected["face_box"])
    np.testing.assert_array_equal([row.visual for row in rows], expected["visual"])
    np.testing.assert_array_equal([row.audio for row in rows], expected["audio"])


def test_crops_are_stage_ones_to_the_bit(clip, config, models, tmp_path):
    maker = RowMaker(config, models, FaceRefiner())
    source = FilePlayback(clip, config.media, config.limits, at_own_pace=False)
    source.start()
    crops = track_faces(decode_video(clip), models.detector, config.faces, (48,), "largest", tmp_path)
    for expected in islice(crops, 3):
        frame = source.slot.take()
        face = maker.row(frame, source.sound_until(frame.time_s)).face
        np.testing.assert_array_equal(maker.visual_block(frame, face).crops[0], expected.crops[48])
    source.close()


@pytest.mark.parametrize("sample_rate_hz", [44_100, 48_000])
def test_resampled_sound_gives_stage_ones_rows_but_for_rounding(
    config, models, tmp_path, write_clip: Callable[..., Path], sample_rate_hz
):
    path = write_clip(tmp_path / "clip.mkv", sample_rate_hz, 8)
    expected = stage_one(path, config, models, tmp_path)
    rows = live_rows(path, config, models)
    np.testing.assert_allclose([row.audio for row in rows], expected["audio"], rtol=2**-9, atol=1e-3)


def test_networks_that_take_one_input_on_a_cpu_give_the_rows_but_for_rounding(clip, config, models, tmp_path):
    expected = stage_one(clip, config, models, tmp_path)
    alone = live_models(replace(config, visual=replace(config.visual, views=("flip", "center"))), "cpu")
    assert alone.embedders["visual"].views == ("center",)
    turned = live_models(replace(config, visual=replace(config.visual, views=("flip",))), "cpu")
    assert turned.embedders["visual"].views == ("flip",), "a head that never saw the centre"
    rows = live_rows(clip, config, replace(alone, detector=models.detector))
    np.testing.assert_allclose([row.visual for row in rows], expected["visual"], rtol=2**-9, atol=1e-3)
    np.testing.assert_allclose([row.audio for row in rows], expected["audio"], rtol=2**-9, atol=1e-3)
