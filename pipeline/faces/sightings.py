"""The faces in every frame of a clip, with detection on key frames only.

Detection is the slowest step before the backbones. It runs on every k-th frame, and on the first and the
last one of each scene. Between two key frames that agree, box and landmarks move in straight lines. Between
two that do not, the frame in the middle becomes a key frame, and so on (k = 4):

    frame      0   1   2   3   4   5   6   7   8   9   10 | 11  12
    key        K               K       2   3   K       K  | K    K     a cut after frame 10
    face       yes             yes     yes no  no      no | yes  yes
    between        interpolated    int.            none

Two key frames agree where each face that counts in one overlaps one in the other by `MIN_AGREEMENT`. A face
that comes or goes thus gets exact frames, and one that moves fast is looked at more often; one that appears
for fewer than k frames between key frames may be missed.

Key frames of a stretch of the clip are given to the detector together, which keeps a GPU busy; where the
stretches end has no effect on the faces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import FaceConfig
from pipeline.faces.choice import TrackedFace, eligible
from pipeline.faces.detector import Detector, Face
from pipeline.faces.scene_cuts import scenes_of
from pipeline.faces.track_links import TrackLinker, overlap_pairs
from pipeline.media.video import VideoFrame

# Pictures that are held while a stretch is worked on: 280 of 320 x 240, 24 of 720p. A stretch is at least
# what lies between two key frames, which is made shorter where pictures are huge: 10 frames of 4K.
STRETCH_FRAMES = 256
STRETCH_BYTES = 64 * 2**20
SEGMENT_BYTES = 256 * 2**20
# Intersection over union from which a face is taken to move in a straight line: a third of its width.
MIN_AGREEMENT = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """A frame and the faces in it.

    Attributes:
        frame: The frame.
        begins_scene: Whether a scene begins with it.
        faces: Its faces with their tracks, largest first where they were detected.
    """

    frame: VideoFrame
    begins_scene: bool
    faces: tuple[TrackedFace, ...]


def sightings_of(
    frames: Iterable[VideoFrame], detector: Detector, config: FaceConfig, who: str
) -> Iterator[Sighting]:
    """The faces in every frame of a clip.

    Args:
        frames: The clip's frames, in order, with pictures.
        detector: Finds the faces of the key frames, and of others where key frames disagree.
        config: How often to detect, which faces count.
        who: Whom the faces are for, as in `choice.eligible`: the others may be missed between key frames.

    Yields:
        Every frame, in order.
    """
    linker = TrackLinker()
    key: Sighting | None = None
    for stretch in _stretches(_segments(frames, config.detect_every)):
        held = [] if key is None else [key.frame]
        found = {} if key is None else {0: [each.face for each in key.faces]}  # by position in `held`
        keys, scenes, spans = [], set(), []
        for segment in stretch:
            first, last = len(held) - 1, len(held) + len(segment.frames) - 1
            keys.append(last)
            if segment.begins_scene:
                scenes.add(last)
            else:
                spans.append((first, last))
            held += segment.frames
        while keys:
            for position, faces in zip(keys, _detect([held[n] for n in keys], detector, config), strict=True):
                found[position] = faces
            spans = [(a, b) for a, b in spans if b - a > 1 and not _agree(found[a], found[b], who)]
            keys = [(a + b) // 2 for a, b in spans]
            spans = [half for (a, b), n in zip(spans, keys, strict=True) for half in ((a, n), (n, b))]
        done = 0 if key is None else 1
        for position in sorted(found)[done:]:
            if key is not None:
                yield from _straight(key, held[done:position], held[position], found[position])
            if position in scenes:
                linker.begin_scene()
            key = _linked(held[position], found[position], linker, begins_scene=position in scenes)
            yield key
            done = position + 1


def picture_of(frame: VideoFrame) -> NDArray[np.uint8]:
    """A frame's picture, which frames decoded for their times alone lack."""
    assert frame.rgb is not None, "faces are found in pictures"
    return frame.rgb


@dataclass(frozen=True, kw_only=True, eq=False)
class _Segment:
    """What follows a key frame up to the next one, its last frame; or the first frame of a scene alone."""

    frames: list[VideoFrame]
    begins_scene: bool

    @property
    def num_bytes(self) -> int:
        return sum(picture_of(frame).nbytes for frame in self.frames)


def _segments(frames: Iterable[VideoFrame], detect_every: int) -> Iterator[_Segment]:
    inner: list[VideoFrame] = []
    num_bytes = 0
    for scene_frame in scenes_of(frames):
        if scene_frame.is_first and inner:
            yield _Segment(frames=inner, begins_scene=False)  # its last frame is the last before the cut
            inner, num_bytes = [], 0
        inner.append(scene_frame.frame)
        num_bytes += picture_of(scene_frame.frame).nbytes
        if scene_frame.is_first or len(inner) == detect_every or num_bytes >= SEGMENT_BYTES:
            yield _Segment(frames=inner, begins_scene=scene_frame.is_first)
            inner, num_bytes = [], 0
    if inner:
        yield _Segment(frames=inner, begins_scene=False)


def _stretches(segments: Iterable[_Segment]) -> Iterator[list[_Segment]]:
    stretch: list[_Segment] = []
    num_frames = num_bytes = 0
    for segment in segments:
        stretch.append(segment)
        num_frames += len(segment.frames)
        num_bytes += segment.num_bytes
        if num_frames >= STRETCH_FRAMES or num_bytes >= STRETCH_BYTES:
            yield stretch
            stretch, num_frames, num_bytes = [], 0, 0
    if stretch:
        yield stretch


def _detect(frames: Sequence[VideoFrame], detector: Detector, config: FaceConfig) -> list[list[Face]]:
    """The faces of each frame that are probable enough."""
    if not frames:
        return []
    found = detector.detect([picture_of(frame) for frame in frames])
    return [[face for face in faces if face.score >= config.min_probability] for faces in found]


def _agree(early: Sequence[Face], late: Sequence[Face], who: str) -> bool:
    """Whether what lies between two key frames follows from them."""
    pairs = overlap_pairs([face.box for face in early], [face.box for face in late], MIN_AGREEMENT)
    return {i for i, _ in pairs}.issuperset(eligible(early, who)) and {j for _, j in pairs}.issuperset(
        eligible(late, who)
    )


def _linked(
    frame: VideoFrame, faces: Sequence[Face], linker: TrackLinker, *, begins_scene: bool = False
) -> Sighting:
    """A frame whose faces were detected."""
    tracks = linker.link(frame.time_s, faces)
    tracked = (TrackedFace(track=track, face=face) for track, face in zip(tracks, faces, strict=True))
    return Sighting(frame=frame, begins_scene=begins_scene, faces=tuple(tracked))


def _straight(
    key: Sighting, frames: Sequence[VideoFrame], last: VideoFrame, faces: Sequence[Face]
) -> Iterator[Sighting]:
    """Frames between two key frames that agree; faces that are in one of them only are in none of these."""
    pairs = sorted(overlap_pairs([each.face.box for each in key.faces], [face.box for face in faces]))
    for frame in frames:
        # By time, not by count: faces move evenly in time, and frames need not be evenly spaced.
        share = (frame.time_s - key.frame.time_s) / (last.time_s - key.frame.time_s)
        tracked = (
            TrackedFace(track=key.faces[i].track, face=_interpolated(key.faces[i].face, faces[j], share))
            for i, j in pairs
        )
        yield Sighting(frame=frame, begins_scene=False, faces=tuple(tracked))


def _interpolated(first: Face, second: Face, share: float) -> Face:
    """The face at a share of the way from one to the other."""
    return Face(
        box=(first.box + share * (second.box - first.box)).astype(np.float32),
        score=first.score + share * (second.score - first.score),
        landmarks=(first.landmarks + share * (second.landmarks - first.landmarks)).astype(np.float32),
    )
