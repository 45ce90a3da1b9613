"""Lists of tracks, made again from a store's keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache import ClipFeatures, ClipKey, PartStore
from pipeline.run.restored_tracks import restore_track_lists
from pipeline.run.track_list import TrackList, track_key

WHOLE = ClipKey(
    clip_id="crowd", media_sha256="ab" * 32, faces_sha256=None, selection="all faces", fingerprint="0" * 16
)


@pytest.fixture
def tracks(tmp_path: Path) -> TrackList:
    """Lists beside the parts of three tracks."""
    parts = PartStore(tmp_path)
    features = ClipFeatures(
        streams={"audio": np.zeros((1, 2), np.float16)},
        time_s=np.zeros(1),
        source_frame=np.zeros(1, np.int64),
        face_found=np.zeros(1, np.bool_),
        audio_found=np.zeros(1, np.bool_),
        face_box=np.zeros((1, 4), np.float32),
        face_score=np.zeros(1, np.float32),
    )
    for number in (1, 2, 3):
        parts.commit(track_key(WHOLE, number), features, {"code_digest": "c"})
    return TrackList(parts)


def restored(tracks: TrackList, *numbers: int, code: str = "c") -> list[ClipKey] | None:
    restore_track_lists(tracks, [(track_key(WHOLE, number), {"code_digest": code}) for number in numbers])
    found = tracks.read(WHOLE)
    return None if found is None else list(found[1])


def test_a_clip_whose_tracks_are_all_there(tracks: TrackList) -> None:
    assert restored(tracks, 3, 1, 2) == [track_key(WHOLE, number) for number in (1, 2, 3)]
    found = tracks.read(WHOLE)
    assert found is not None
    assert found[0] == "c"


def test_a_list_that_is_there_stays(tracks: TrackList) -> None:
    tracks.write(WHOLE, "older", 2)
    assert restored(tracks, 1, 2, 3) == [track_key(WHOLE, number) for number in (1, 2)]


def test_a_track_that_is_missing_in_between(tracks: TrackList) -> None:
    assert restored(tracks, 1, 3) is None
    assert restored(tracks, 2, 3) is None


def test_tracks_of_different_code(tracks: TrackList) -> None:
    restore_track_lists(
        tracks, [(track_key(WHOLE, number), {"code_digest": str(number)}) for number in (1, 2)]
    )
    assert tracks.read(WHOLE) is None


def test_clips_that_are_only_called_so(tracks: TrackList) -> None:
    named = ClipKey(
        clip_id="crowd_track1",
        media_sha256="ab" * 32,
        faces_sha256=None,
        selection="largest face",
        fingerprint="0" * 16,
    )
    restore_track_lists(tracks, [(named, {"code_digest": "c"}), (WHOLE, {"code_digest": "c"})])
    assert tracks.read(WHOLE) is None
    assert not list(tracks._parts.directory.rglob("*.tracks.json"))
