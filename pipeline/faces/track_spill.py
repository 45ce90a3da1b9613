"""Crops of all tracks of a clip on the disk, until it is known whose are wanted.

The longest track is known only at the clip's end, and 2 hours of one face are 1.5 GB of crops. So each track
has a file of its own, which goes as soon as the track is over and not wanted; another file has the times of
all frames.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.faces.crop import FaceCrop
from pipeline.faces.sightings import Sighting
from pipeline.faces.track_links import MAX_GAP_S
from pipeline.media.video import VideoFrame

# Of each frame: index, time, number of rows; then the times of these.
_FRAME = struct.Struct("<qdq")


@dataclass(kw_only=True, eq=False)
class Track:
    """What is known of one track so far.

    Attributes:
        number: Its number, in the order of first frames.
        left_px: Left edge of its first box.
        first: Position of its first frame in the clip.
        last: Position of its latest frame in the clip.
        first_s: Time of its first frame.
        last_s: Time of its latest frame.
        num_faces: Frames with its face.
        place: Where its first frame's times lie in the file of all frames.
        path: Its file.
    """

    number: int
    left_px: float
    first: int
    last: int
    first_s: float
    last_s: float
    num_faces: int
    place: int
    path: Path
    _file: BinaryIO = field(repr=False)

    @property
    def duration_s(self) -> float:
        """How long it lasts, each frame up to the next one; a track of one frame lasts no time."""
        steps = self.last - self.first
        return (self.last_s - self.first_s) * (steps + 1) / steps if steps else 0.0

    def append(self, position: int, time_s: float, record: bytes) -> None:
        """Write the face of one more frame."""
        self._file.write(record)
        self.last, self.last_s = position, time_s
        self.num_faces += 1

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def discard(self) -> None:
        """Delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)


class TrackSpill:
    """Files of a clip's tracks.

    Args:
        folder: An existing folder, for this clip alone.
        crop_sizes: Sides of the crops that each face has.
    """

    def __init__(self, folder: Path, crop_sizes: Sequence[int]) -> None:
        self._folder = folder
        self._frames_path = folder / "frames.bin"
        self._frames = self._frames_path.open("wb")
        self.crop_sizes = tuple(crop_sizes)
        self._record = np.dtype(
            [("position", "<i8"), ("box", "<f4", 4), ("score", "<f8")]
            + [(f"crop{size_px}", "u1", (size_px, size_px, 3)) for size_px in self.crop_sizes]
        )
        self._num_frames = 0
        self._open: dict[int, Track] = {}

    def add(self, sighting: Sighting, crops: Sequence[FaceCrop]) -> list[Track]:
        """Write one frame.

        Args:
            sighting: The frame and its faces.
            crops: The crop of each face.

        Returns:
            Tracks that are over.
        """
        frame, place = sighting.frame, self._frames.tell()
        rows = frame.row_times_s
        self._frames.write(_FRAME.pack(frame.index, frame.time_s, len(rows)))
        self._frames.write(struct.pack(f"<{len(rows)}d", *rows))
        # Frames may be further apart than that; a face in both is in one track for all that.
        seen = {each.track for each in sighting.faces}
        over = [
            track
            for track in self._open.values()
            if sighting.begins_scene or (track.number not in seen and frame.time_s - track.last_s > MAX_GAP_S)
        ]
        for track in over:
            self._open.pop(track.number).close()
        for tracked, crop in zip(sighting.faces, crops, strict=True):
            track = self._track(tracked.track, crop, frame, place)
            record = np.zeros((), self._record)
            record["position"], record["box"], record["score"] = self._num_frames, crop.box, crop.score
            for size_px in self.crop_sizes:
                assert crop.crops is not None, "crops of faces"
                record[f"crop{size_px}"] = crop.crops[size_px]
            track.append(self._num_frames, frame.time_s, record.tobytes())
        self._num_frames += 1
        return over

    def close(self) -> list[Track]:
        """Nothing more is written; the tracks that are over with the clip."""
        self._frames.close()
        over = list(self._open.values())
        for track in over:
            track.close()
        self._open.clear()
        return over

    def whole_clip(self, track: Track | None) -> Iterator[FaceCrop]:
        """A track's face in every frame of the clip."""
        return self._read(0, 0, self._num_frames, track)

    def of_track(self, track: Track) -> Iterator[FaceCrop]:
        """A track's face in every frame from its first to its last."""
        return self._read(track.place, track.first, track.last + 1, track)

    def _track(self, number: int, crop: FaceCrop, frame: VideoFrame, place: int) -> Track:
        """The track, which may begin with this crop."""
        if number not in self._open:
            assert crop.box is not None, "crops of faces"
            path = self._folder / f"track-{number}.bin"
            self._open[number] = Track(
                number=number,
                left_px=float(crop.box[0]),
                first=self._num_frames,
                last=self._num_frames,
                first_s=frame.time_s,
                last_s=frame.time_s,
                num_faces=0,
                place=place,
                path=path,
                _file=path.open("wb"),
            )
        return self._open[number]

    def _read(self, place: int, first: int, end: int, track: Track | None) -> Iterator[FaceCrop]:
        """Frames in [first, end), whose times begin at a place in their file, with a track's face."""
        faces = iter(()) if track is None else self._records(track.path)
        following = next(faces, None)
        with self._frames_path.open("rb") as frames:
            frames.seek(place)
            for position in range(first, end):
                index, time_s, num_rows = _FRAME.unpack(frames.read(_FRAME.size))
                rows = struct.unpack(f"<{num_rows}d", frames.read(8 * num_rows))
                face = following if following is not None and following["position"] == position else None
                if face is not None:
                    following = next(faces, None)
                yield FaceCrop(
                    index=index,
                    time_s=time_s,
                    row_times_s=rows,
                    box=None if face is None else face["box"],
                    score=0.0 if face is None else float(face["score"]),
                    crops=None if face is None else {size: face[f"crop{size}"] for size in self.crop_sizes},
                )

    def _records(self, path: Path) -> Iterator[np.void]:
        with path.open("rb") as file:
            while record := file.read(self._record.itemsize):
                yield np.frombuffer(record, self._record)[0]
