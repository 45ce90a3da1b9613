"""One clip under a condition: what the condition alters is extracted again, the rest comes from the store.

    sound      decoded, made worse, through the backbones       pictures    from the store, faces included
    pictures   decoded, made worse, faces found in them anew    sound       from the store

Nothing is encoded in between, and no file is written: what the backbones are given is what a lossless copy
(`pipeline.degradation.degraded_copies`) would hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cache.canonical_json import Json
from cache.features import FRAME_ARRAYS
from cache.part_writer import PartWriter
from cache.rows import ClipRows
from cache.store import FeatureStore
from pipeline.degradation.degradation import Degradation
from pipeline.degradation.degraded_picture import PictureDegradation
from pipeline.degradation.degraded_sound import degraded_sound
from pipeline.degradation.face_places import FacePlaces
from pipeline.errors import ExtractionError
from pipeline.extract import ClipExtraction
from pipeline.faces.crop import FaceCrop
from pipeline.media.audio import Sound, SoundStream
from pipeline.media.video import VideoFrame, video_facts

# Of the store, at a time: 4 MB of one visual view.
_BLOCK_ROWS = 4096
_OF_SOUND = ("audio_found",)
_OF_PICTURES = tuple(name for name in FRAME_ARRAYS if name not in _OF_SOUND)


@dataclass(kw_only=True)
class DegradedExtraction(ClipExtraction):
    """The work on one clip under a condition.

    Attributes:
        degradation: What is done to it.
    """

    degradation: Degradation

    def faces(self) -> Iterator[FaceCrop]:
        """The subject's face in every frame, found in the pictures as they are under the condition.

        Cropped faces are what the condition is applied to, each taken for a face as a whole.
        """
        crops = super().faces()
        if self.source.faces is None or not self._alters_pictures:
            return crops
        return (self._degraded_crop(crop) for crop in crops)

    def write_rows(self, crops: Iterable[FaceCrop], writer: PartWriter) -> dict[str, Json]:
        """As for a clip without a condition; streams of whole clips come from the store.

        Raises:
            ExtractionError: The pictures lie at other times than the rows of the store, or an embedding is
                not a number.
        """
        if self._alters_pictures:
            frames = self._write_frames(crops, writer)
            if not np.array_equal(frames.time_s, self._clean.time_s):
                raise ExtractionError(
                    f"clip {self.source.clip_id!r}: expected {len(self._clean)} rows at the times of the "
                    f"store, got {len(frames.time_s)} rows; extract the store again with this version"
                )
            face_found, num_audio_frames = frames.face_found, int(self._clean.audio_found.sum())
            self._write_clean(writer, _OF_SOUND, self._streams("log_mel", "waveform"))
        else:
            face_found = self._clean.face_found
            self._write_clean(writer, _OF_PICTURES, self._streams("faces"))
            num_audio_frames = self._write_sound(self._clean.time_s, writer)
        self._write_clean(writer, (), tuple(self.models.clip_streams))
        with self.clock.stage("decode"):
            media = video_facts(self.source.media, self.config.media)
        return {
            "media": media,
            "num_frames": len(self._clean),
            "num_face_frames": int(face_found.sum()),
            "num_audio_frames": num_audio_frames,
            "degradation": self.degradation.facts,
        }

    @cached_property
    def _clean(self) -> ClipRows:
        """The clip's rows in the store."""
        return FeatureStore.open(self.degradation.stores)[self.source.clip_id]

    @property
    def _alters_pictures(self) -> bool:
        return self.degradation.condition.modality == "visual"

    @cached_property
    def _pictures(self) -> PictureDegradation:
        return PictureDegradation(self.degradation.condition, self.source.clip_id, self.degradation.seed)

    def _frames(self, *, pictures: bool) -> Iterator[VideoFrame]:
        if not self._alters_pictures or self.source.faces is not None:
            yield from super()._frames(pictures=pictures)
            return
        places = FacePlaces(self._clean.source_frame, self._clean.face_found, self._clean.face_box)
        for frame in super()._frames(pictures=pictures):
            if frame.rgb is not None:
                with self.clock.stage("decode"):
                    rgb = self._pictures.apply(
                        frame.rgb,
                        index=frame.index,
                        box=places.at(frame.index),
                        face_width_px=places.width_px,
                    )
                frame = replace(frame, rgb=rgb)
            yield frame

    def _sound(self) -> SoundStream:
        return degraded_sound(
            self._heard, self.degradation.condition, self.source.clip_id, self.degradation.seed
        )

    def _heard(self) -> SoundStream:
        """The sound as it is, with a sign of life for each piece."""
        sound = super()._sound()

        def pieces() -> Iterator[Sound]:
            for piece in sound.pieces:
                self.beat(0)
                yield piece

        return replace(sound, pieces=pieces())

    def _degraded_crop(self, crop: FaceCrop) -> FaceCrop:
        if crop.crops is None:
            return crop
        degraded = {
            side: self._pictures.apply(
                rgb, index=crop.index, box=np.array([0, 0, side, side]), face_width_px=side
            )
            for side, rgb in crop.crops.items()
        }
        return replace(crop, crops=degraded)

    def _streams(self, *takes: str) -> Sequence[str]:
        return tuple(self._embedders(*takes))

    def _write_clean(self, writer: PartWriter, arrays: Sequence[str], streams: Sequence[str]) -> None:
        """Rows of the store as they are."""
        for start in range(0, len(self._clean), _BLOCK_ROWS):
            rows = self._clean.window(start, min(start + _BLOCK_ROWS, len(self._clean)))
            with self.clock.stage("write"):
                writer.append(**{name: getattr(rows, name) for name in arrays})
                for name in streams:
                    writer.append_stream(name, rows.stream(name))
            self.beat(0)
