"""The crop of the subject's face in every frame of a clip, or of everybody's.

    frames --sightings--> all faces, with tracks --choice--> the subject's --alignment--> crops

Whose face it is, is decided picture by picture; but for the `longest` track and for clips of `all` tracks,
which are known when the clip has ended: until then crops of all tracks wait on the disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.clip_source import FaceChoice
from pipeline.config import FaceConfig
from pipeline.faces.alignment import box_crops, similarity_crops
from pipeline.faces.choice import FaceChooser
from pipeline.faces.crop import FaceCrop
from pipeline.faces.detector import Detector, Face
from pipeline.faces.sightings import picture_of, sightings_of
from pipeline.faces.track_spill import Track, TrackSpill
from pipeline.media.video import VideoFrame

# Some containers round times to milliseconds: 30 frames at 30 per second last a second all the same.
_ROUNDING_S = 1e-3


def track_faces(
    frames: Iterable[VideoFrame],
    detector: Detector,
    config: FaceConfig,
    crop_sizes: Sequence[int],
    who: FaceChoice,
    spill: Path,
) -> Iterator[FaceCrop]:
    """The subject's face in every frame of a clip.

    Args:
        frames: The clip's frames, in order, with pictures.
        detector: Finds the faces of the key frames, and of others where key frames disagree.
        config: How often to detect, which faces count, how to crop them.
        crop_sizes: Sides of the crops in pixels, each once.
        who: Whose face: see `FaceChooser`; `longest`: of the track with most frames, the earliest of several.
        spill: An existing folder for temporary files; what is written there is gone in the end.

    Yields:
        One crop per frame, in order.
    """
    if who == "longest":
        yield from _longest(frames, detector, config, crop_sizes, spill)
        return
    chooser = FaceChooser(who)
    for sighting in sightings_of(frames, detector, config, who):
        frame = sighting.frame
        width_px = picture_of(frame).shape[1]
        chosen = chooser.choose(sighting.faces, frame.time_s, width_px, begins_scene=sighting.begins_scene)
        yield cut_out(frame, chosen.face if chosen is not None else None, config, crop_sizes)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedClip:
    """One face from its first frame to its last.

    Attributes:
        first_s: Time of its first frame.
        last_s: Time of its last frame.
        num_frames: Frames from the first to the last.
        num_faces: Frames among them in which the face was found.
    """

    first_s: float
    last_s: float
    num_frames: int
    num_faces: int
    _spill: TrackSpill
    _track: Track

    def crops(self) -> Iterator[FaceCrop]:
        """The face in each of the frames, in order, read from the disk; as often as wanted."""
        return self._spill.of_track(self._track)


def track_clips(
    frames: Iterable[VideoFrame],
    detector: Detector,
    config: FaceConfig,
    crop_sizes: Sequence[int],
    spill: Path,
) -> list[TrackedClip]:
    """Everybody in a clip, each track a clip of its own.

    Args:
        frames: The clip's frames, in order, with pictures.
        detector: As for `track_faces`.
        config: As for `track_faces`; and how long a track must last.
        crop_sizes: As for `track_faces`.
        spill: An existing folder for temporary files, to be deleted when the crops have been read.

    Returns:
        The tracks, ordered by their first frames, those that begin together from left to right.
    """
    files = TrackSpill(Path(tempfile.mkdtemp(prefix="tracks-", dir=spill)), crop_sizes)
    kept: list[Track] = []
    for track in _tracks(frames, detector, config, files, "all"):
        if track.duration_s >= config.min_track_s - _ROUNDING_S:
            kept.append(track)
        else:
            track.discard()
    kept.sort(key=lambda track: (track.first, track.left_px, track.number))
    return [
        TrackedClip(
            first_s=track.first_s,
            last_s=track.last_s,
            num_frames=track.last + 1 - track.first,
            num_faces=track.num_faces,
            _spill=files,
            _track=track,
        )
        for track in kept
    ]


def _longest(
    frames: Iterable[VideoFrame],
    detector: Detector,
    config: FaceConfig,
    crop_sizes: Sequence[int],
    spill: Path,
) -> Iterator[FaceCrop]:
    """The face of the track with most frames, in every frame of the clip."""
    with tempfile.TemporaryDirectory(prefix="tracks-", dir=spill) as folder:
        files = TrackSpill(Path(folder), crop_sizes)
        longest: Track | None = None
        for track in _tracks(frames, detector, config, files, "longest"):
            if longest is None:
                longest = track
                continue
            shorter, longest = sorted((track, longest), key=lambda each: (each.num_faces, -each.number))
            shorter.discard()
        yield from files.whole_clip(longest)


def _tracks(
    frames: Iterable[VideoFrame], detector: Detector, config: FaceConfig, files: TrackSpill, who: str
) -> Iterator[Track]:
    """All tracks of a clip, each when it is over, with their crops in files."""
    for sighting in sightings_of(frames, detector, config, who):
        crops = [cut_out(sighting.frame, each.face, config, files.crop_sizes) for each in sighting.faces]
        yield from files.add(sighting, crops)
    yield from files.close()


def cut_out(frame: VideoFrame, face: Face | None, config: FaceConfig, sizes: Sequence[int]) -> FaceCrop:
    """The crops of one face, or none.

    Args:
        frame: Where the face is, with its picture.
        face: The face; None where there is none.
        config: How to crop.
        sizes: Sides of the crops in pixels, each once.
    """
    crops: Mapping[int, NDArray[np.uint8]] | None = None
    if face is not None and config.align == "similarity":
        crops = similarity_crops(picture_of(frame), face.landmarks, sizes)
    elif face is not None:
        crops = box_crops(picture_of(frame), face.box, config.margin, sizes)
    return FaceCrop(
        index=frame.index,
        time_s=frame.time_s,
        row_times_s=frame.row_times_s,
        box=face.box if face is not None else None,
        score=face.score if face is not None else 0.0,
        crops=crops,
    )
