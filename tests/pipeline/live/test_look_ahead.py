"""How far heads look ahead, by their behaviour."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config import FaceConfig
from pipeline.live.live_head import load_live_head, notes_on
from pipeline.live.look_ahead import NOTABLE_SHARE, look_ahead_share
from tagf_head.errors import CheckpointError


@pytest.mark.parametrize("name", ["concat", "visual_only", "lfan"])
def test_causal_convolutions_see_nothing_that_follows(write_checkpoint, name):
    assert look_ahead_share(load_live_head(write_checkpoint(name=name, num_attention_heads=2))) == 0


@pytest.mark.parametrize("settings", [{"name": "concat", "causal": False}, {"name": "transformer"}])
def test_heads_that_see_both_sides_are_found(write_checkpoint, settings):
    small = {"model_features": 8, "feedforward_features": 8, "num_attention_heads": 2, "num_layers": 1}
    checkpoint = load_live_head(write_checkpoint(**settings, **small))
    assert NOTABLE_SHARE < look_ahead_share(checkpoint) < 0.95
    (note,) = (note for note in notes_on(checkpoint) if "looks ahead" in note)
    assert "configs/live.yaml" in note


def test_causal_tagf_looks_at_its_window_but_hardly_ahead(write_checkpoint):
    checkpoint = load_live_head(write_checkpoint(name="tagf", reference_length=12))
    assert 0 < look_ahead_share(checkpoint) < NOTABLE_SHARE
    assert notes_on(checkpoint) == []


def test_features_that_reach_beyond_the_frame_are_refused(write_checkpoint, config):
    centred = replace(config, audio=replace(config.audio, anchor="center"))
    with pytest.raises(CheckpointError, match=r"audio\.anchor 'end'.*found 'center'.*configs/live\.yaml"):
        load_live_head(write_checkpoint(centred))


def test_a_subject_that_is_known_only_at_the_end_is_noted(write_checkpoint, config):
    longest = replace(config, faces=FaceConfig(subject="longest"))
    (note,) = notes_on(load_live_head(write_checkpoint(longest)))
    assert "'longest'" in note
