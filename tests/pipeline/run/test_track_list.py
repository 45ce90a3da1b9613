"""A clip's list of tracks counts only when every one of its parts is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache import ClipFeatures, ClipKey, PartStore
from pipeline.run.track_list import TrackList, track_key

KEY = ClipKey(
    clip_id="film", media_sha256="0" * 64, faces_sha256=None, selection="all faces", fingerprint="0" * 16
)


def features() -> ClipFeatures:
    return ClipFeatures(
        streams={"audio": np.zeros((1, 2), np.float16)},
        time_s=np.zeros(1),
        source_frame=np.zeros(1, np.int64),
        face_found=np.ones(1, np.bool_),
        audio_found=np.ones(1, np.bool_),
        face_box=np.zeros((1, 4), np.float32),
        face_score=np.ones(1, np.float32),
    )


@pytest.fixture
def parts(tmp_path: Path) -> PartStore:
    store = PartStore(tmp_path)
    store.commit(track_key(KEY, 1), features(), {})
    store.commit(track_key(KEY, 2), features(), {})
    return store


def test_tracks_are_clips_with_names_and_keys_of_their_own(parts: PartStore) -> None:
    tracks = TrackList(parts)
    assert tracks.read(KEY) is None
    tracks.write(KEY, "c0de", 2)
    digest, keys = tracks.read(KEY) or ("", ())
    assert digest == "c0de"
    assert [key.clip_id for key in keys] == ["film_track1", "film_track2"]
    assert [key.media_sha256 for key in keys] == ["0" * 64] * 2
    assert len({key.digest for key in (KEY, *keys)}) == 3


def test_a_missing_part_makes_the_list_worthless(parts: PartStore) -> None:
    TrackList(parts).write(KEY, "c0de", 2)
    parts.discard(track_key(KEY, 2))
    assert TrackList(parts).read(KEY) is None


def test_a_file_may_give_no_clip_at_all(parts: PartStore, tmp_path: Path) -> None:
    for store in (parts, PartStore(tmp_path / "without any part")):
        TrackList(store).write(KEY, "c0de", 0)
        assert TrackList(store).read(KEY) == ("c0de", ())


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"code_digest": "c0de", "num_tracks": "x"}'])
def test_a_damaged_list_is_none(parts: PartStore, content: str) -> None:
    tracks = TrackList(parts)
    tracks.write(KEY, "c0de", 1)
    (path,) = parts.directory.rglob("*.tracks.json")
    path.write_text(content)
    assert tracks.read(KEY) is None
    tracks.discard(KEY)
    assert not path.exists()
