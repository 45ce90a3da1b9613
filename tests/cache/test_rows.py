"""The rows of one clip: windows, and what is known of the clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache import (
    ClipFeatures,
    FeatureStore,
    StoreFormatError,
    UnknownClipError,
)

Packed = tuple[Path, dict[str, ClipFeatures]]


@pytest.mark.parametrize("memory_map", [True, False])
def test_windows(packed: Packed, memory_map: bool) -> None:
    path, features = packed
    store = FeatureStore.open(path, memory_map=memory_map)
    rows, wanted = store["clip_2"], features["clip_2"]
    for start, stop in [(0, 12), (3, 4), (3, 9), (5, 5), (11, 12)]:
        window = rows.window(start, stop)
        assert (window.clip_id, window.num_frames, len(window)) == ("clip_2", stop - start, stop - start)
        np.testing.assert_array_equal(window.visual, wanted.streams["visual"][:, start:stop])
        np.testing.assert_array_equal(window.audio, wanted.streams["audio"][start:stop])
        np.testing.assert_array_equal(window.time_s, wanted.time_s[start:stop])
        np.testing.assert_array_equal(window.face_box, wanted.face_box[start:stop])
        assert window.key == rows.key
    np.testing.assert_array_equal(rows.window(2, 10).window(3, 5).audio, wanted.streams["audio"][5:7])
    for start, stop in [(-1, 3), (4, 3), (0, 13), (13, 13)]:
        with pytest.raises(
            ValueError, match=f"window of clip 'clip_2' must lie in rows 0 to 12, got {start} to"
        ):
            rows.window(start, stop)
    with pytest.raises(ValueError, match="must lie in rows 0 to 8, got 3 to 9"):
        rows.window(2, 10).window(3, 9)


def test_what_is_known_of_a_clip(packed: Packed) -> None:
    path, features = packed
    store = FeatureStore.open(path)
    for clip, each in features.items():
        rows = store[clip]
        assert rows.media_sha256 == rows.key.media_sha256 == "ab" * 32
        assert rows.facts["codec"] == "h264"
        assert rows.face_share == (each.face_found.mean() if each.num_frames else 0)
        # seconds of sound: the gap to the next row, of every row with sound; the last row's is the one before
        gaps = [*np.diff(each.time_s), *np.diff(each.time_s)[-1:]]
        wanted = sum(gap for gap, found in zip(gaps, each.audio_found[: len(gaps)], strict=True) if found)
        assert rows.audio_s == pytest.approx(wanted)
    with pytest.raises(UnknownClipError):
        store.entry("clip_9", "audio_s")
    with pytest.raises(StoreFormatError, match="no column 'time_s'"):
        store.entry("clip_0", "time_s")
