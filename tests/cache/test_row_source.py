"""Clips in memory, as `write_store` asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cache import FeaturesSource, RowSource


def test_rows_of_features(make_features: Any, make_key: Any) -> None:
    features = make_features(6)
    source: RowSource = FeaturesSource(make_key("v1"), features, {"codec": "h264"})
    assert (source.key, source.facts, source.num_frames) == (make_key("v1"), {"codec": "h264"}, 6)
    visual = np.empty((2, 5), np.float16)
    for view in (0, 1):
        source.read_into("visual", view, 3, visual)
        np.testing.assert_array_equal(visual, features.streams["visual"][view, 3:5])
    audio = np.empty((6, 3), np.float16)
    source.read_into("audio", 0, 0, audio)
    np.testing.assert_array_equal(audio, features.streams["audio"])
    box = np.empty((1, 4), np.float32)
    source.read_into("face_box", 0, 5, box)
    np.testing.assert_array_equal(box, features.face_box[5:])
    source.close()
