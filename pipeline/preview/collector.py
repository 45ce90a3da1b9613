"""Contact sheets: a dozen frames of each clip with boxes and crops, for people to look at.

`PreviewCollector` keeps an even sample of a clip whose length nobody knows yet: every frame at first, and
whenever there are too many, every second one of them goes and only every second one of the following is
taken. The sample depends on the frames alone.

    kept of 5 at most    0 1 2 3 4     0 2 4     0 2 4 6 8     0 4 8     0 4 8 12 ...

Needs no torch: the run's own process writes the page that lists the sheets.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cache.atomic_file import remove_leftovers, replacement_of
from pipeline.faces.crop import FaceCrop
from pipeline.preview.contact_sheet import FRAME_PX, SheetFace, SheetFrame, clock_time, draw_sheet
from pipeline.preview.page import PageEntry, page
from pipeline.run.extraction_report import ClipOutcome

if TYPE_CHECKING:
    from pipeline.media.video import VideoFrame

SHEET_FRAMES = 12
# Several times as many, so that a dozen of them are spread evenly: 11 MB at most. An even number.
_MAX_SAMPLES = 4 * SHEET_FRAMES
MAX_SHEET_BYTES = 1_000_000
_QUALITIES = (88, 75, 60, 40, 20)
INDEX_NAME = "index.html"
_MAX_SLUG = 60


@dataclass(kw_only=True, eq=False)
class _Sample:
    """A frame of the sample."""

    time_s: float
    thumbnail: Image.Image
    scale: float  # thumbnail pixels per picture pixel
    faces: list[SheetFace]


class PreviewCollector:
    """An even sample of a clip's frames, with the faces in them."""

    def __init__(self) -> None:
        self._samples: dict[int, _Sample] = {}  # by the frame's index, in order
        self._every = 1
        self._num_frames = 0
        self._end_s = 0.0
        self._tracks = 0
        self._latest_index = -1
        self._num_crops = 0
        self._num_faces = 0

    def see_frame(self, frame: VideoFrame) -> None:
        """Take the next decoded frame of the clip, whose picture is kept small, if at all."""
        assert frame.rgb is not None, "previews show pictures"
        number, self._num_frames, self._end_s = self._num_frames, self._num_frames + 1, frame.time_s
        if number % self._every:
            return
        if len(self._samples) == _MAX_SAMPLES:
            self._every *= 2
            self._samples = dict(list(self._samples.items())[::2])
        self._samples[frame.index] = _sample(frame.time_s, frame.rgb)

    def see_crop(self, crop: FaceCrop) -> None:
        """Take the face in a frame that was seen.

        Crops come in the order of the frames. Where a clip has several tracks, each track's crops come in one
        go.
        """
        if self._num_crops == 0 or crop.index <= self._latest_index:
            self._tracks += 1
        self._latest_index = crop.index
        self._num_crops += 1
        self._num_faces += crop.crops is not None
        if crop.index in self._samples and crop.crops is not None and crop.box is not None:
            sample = self._samples[crop.index]
            largest = crop.crops[max(crop.crops)] if crop.crops else None
            box = crop.box * sample.scale if crop.box.any() else None
            face = SheetFace(track=self._tracks, box=box, score=crop.score, crop=largest)
            sample.faces.append(face)

    def frames(self) -> list[SheetFrame]:
        """A dozen of the sample's frames, evenly spread; all of a shorter clip."""
        chosen = list(self._samples.items())
        if len(chosen) > SHEET_FRAMES:
            places = np.linspace(0, len(chosen) - 1, SHEET_FRAMES).round().astype(int)
            chosen = [chosen[place] for place in places]
        return [
            SheetFrame(index=index, time_s=sample.time_s, picture=sample.thumbnail, faces=tuple(sample.faces))
            for index, sample in chosen
        ]

    @property
    def num_tracks(self) -> int:
        """Tracks whose crops were seen; one, unless every track of the clip is a clip of its own."""
        return self._tracks

    def summary(self) -> str:
        """What the sheet says of the clip, on one line."""
        length = f"{self._num_frames:,} frames to {clock_time(self._end_s)}"
        if self._tracks > 1:
            return f"{length}, {self._tracks} faces that stay long enough"
        share = self._num_faces / self._num_crops if self._num_crops else 0.0
        return f"{length}, a face in {self._num_faces:,} ({share:.1%})"


def write_sheet(folder: Path, clip_id: str, preview: PreviewCollector) -> Path:
    """Write a clip's contact sheet.

    Args:
        folder: Where sheets lie; made if it is not there.
        clip_id: The clip.
        preview: Its sample.

    Returns:
        The JPEG file, of less than 1 MB.

    Raises:
        OSError: The folder cannot be written to.
    """
    name = sheet_name(clip_id)
    title = clip_id if clip_id.isascii() else Path(name).stem  # Pillow's own font has few other signs
    sheet = draw_sheet(title, preview.summary(), preview.frames(), number_tracks=preview.num_tracks > 1)
    for quality in _QUALITIES:
        encoded = BytesIO()
        sheet.save(encoded, "JPEG", quality=quality, subsampling=0)  # thin lines keep their colours
        if encoded.tell() < MAX_SHEET_BYTES:
            break
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with replacement_of(path, tidy=False) as file:  # the index is written last, and tidies up
        file.write(encoded.getbuffer())
    return path


def write_index(folder: Path, outcomes: Sequence[ClipOutcome]) -> Path:
    """Write the page that lists the contact sheets in a folder.

    Args:
        folder: Where sheets lie; made if it is not there.
        outcomes: Of the run's clips.

    Returns:
        `index.html`, which needs neither network nor scripts.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for outcome in outcomes:
        name = sheet_name(outcome.clip_id)
        entries.append(
            PageEntry(
                clip_id=outcome.clip_id,
                sheet=name if (folder / name).is_file() else None,
                num_frames=outcome.num_frames,
                num_face_frames=outcome.num_face_frames,
                status=outcome.status,
                error=outcome.error,
            )
        )
    path = folder / INDEX_NAME
    remove_leftovers(folder)
    with replacement_of(path, tidy=False) as file:
        file.write(page(entries).encode())
    return path


def sheet_name(clip_id: str) -> str:
    """File name of a clip's sheet: readable, and safe and distinct whatever the clip is called."""
    plain = unicodedata.normalize("NFKD", clip_id).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", plain)[:_MAX_SLUG].strip("-") or "clip"
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug}-{digest[:12]}.jpg"


def _sample(time_s: float, picture: NDArray[np.uint8]) -> _Sample:
    thumbnail = Image.fromarray(picture)
    thumbnail.thumbnail(FRAME_PX, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return _Sample(time_s=time_s, thumbnail=thumbnail, scale=thumbnail.width / picture.shape[1], faces=[])
