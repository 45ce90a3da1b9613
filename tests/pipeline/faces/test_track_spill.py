"""Files of tracks: when they end, and what is read from them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pipeline.faces.choice import TrackedFace
from pipeline.faces.crop import FaceCrop
from pipeline.faces.sightings import Sighting
from pipeline.faces.track_links import MAX_GAP_S
from pipeline.faces.track_spill import TrackSpill

_spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("scripted_faces.py"))
scripted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scripted)


def add(spill: TrackSpill, time_s: float, tracks: list[int], *, begins_scene: bool = False) -> list[int]:
    """Write a frame with a face of each track; numbers of the tracks that are over."""
    (frame,) = scripted.numbered(1, times_s=[time_s])
    faces = [TrackedFace(track=number, face=scripted.face(10 * number)) for number in tracks]
    crops = [
        FaceCrop(
            index=frame.index,
            time_s=time_s,
            row_times_s=frame.row_times_s,
            box=each.face.box,
            score=each.face.score,
            crops={2: np.full((2, 2, 3), each.track, np.uint8), 3: np.full((3, 3, 3), 9, np.uint8)},
        )
        for each in faces
    ]
    sighting = Sighting(frame=frame, begins_scene=begins_scene, faces=tuple(faces))
    return [track.number for track in spill.add(sighting, crops)]


@pytest.mark.parametrize(("gap_s", "over"), [(MAX_GAP_S, []), (MAX_GAP_S + 0.01, [0])])
def test_a_track_is_over_when_its_face_may_not_come_back(tmp_path, gap_s, over):
    spill = TrackSpill(tmp_path, (2, 3))
    assert add(spill, 5.0, [0, 1], begins_scene=True) == []
    assert add(spill, 5.0 + gap_s / 2, [1]) == []
    assert add(spill, 5.0 + gap_s, [1]) == over
    assert sorted(track.number for track in spill.close()) == sorted({0, 1} - set(over))


def test_a_face_in_two_frames_far_apart_is_one_track(tmp_path):
    """A slideshow: the linker goes by frames, so the face in the next frame is the same, however late."""
    spill = TrackSpill(tmp_path, (2, 3))
    assert add(spill, 5.0, [0], begins_scene=True) == []
    assert add(spill, 7.0 + MAX_GAP_S, [0]) == []
    assert add(spill, 9.0 + 2 * MAX_GAP_S, [0]) == []
    (track,) = spill.close()
    assert (track.number, track.num_faces) == (0, 3)
    assert [crop.crops is not None for crop in spill.of_track(track)] == [True] * 3


def test_a_scene_ends_all_tracks(tmp_path):
    spill = TrackSpill(tmp_path, (2, 3))
    add(spill, 5.0, [0, 1], begins_scene=True)
    assert add(spill, 5.1, [2], begins_scene=True) == [0, 1]
    assert [track.number for track in spill.close()] == [2]


def test_what_was_written_is_read(tmp_path):
    spill = TrackSpill(tmp_path, (2, 3))
    for number, tracks in enumerate([[0], [0, 1], [], [1, 0], [1]]):
        add(spill, 5 + number / 10, tracks, begins_scene=number == 0)
    tracks = {track.number: track for track in spill.close()}
    assert [(each.first, each.last, each.num_faces) for each in tracks.values()] == [(0, 3, 3), (1, 4, 3)]
    whole, part = list(spill.whole_clip(tracks[1])), list(spill.of_track(tracks[1]))
    assert [crop.crops is not None for crop in whole] == [False, True, False, True, True]
    assert [crop.time_s for crop in part] == [crop.time_s for crop in whole[1:]] == [5.1, 5.2, 5.3, 5.4]
    for crop in (whole[1], part[2]):
        np.testing.assert_array_equal(crop.box, [10, 50, 70, 110])
        assert crop.score == 0.99
        assert set(crop.crops) == {2, 3}
        np.testing.assert_array_equal(crop.crops[2], np.ones((2, 2, 3)))
        np.testing.assert_array_equal(crop.crops[3], np.full((3, 3, 3), 9))
    assert [crop.box for crop in spill.whole_clip(None)] == [None] * 5
    tracks[0].discard()
    assert [path.name for path in tmp_path.glob("track-*")] == ["track-1.bin"]
