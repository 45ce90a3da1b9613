"""One clip: media file in, one row per decoded frame out.

Frames stream through the face tracker into the backbones in blocks, and rows go straight to the part's
writer; no decoded picture is kept. The sound follows when the frames' times are known, in step with them. So
the memory does not grow with the clip, but for the frames' times.

Shapes: f frames of a block, n inputs, r rows of a block, V views, D features of a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import tee
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cache.canonical_json import Json
from cache.part_writer import PartWriter
from pipeline.backbones.clip_stream import ClipFrames, clip_rows
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.embedding import RowMapper
from pipeline.errors import MediaError
from pipeline.faces.crop import FaceCrop
from pipeline.faces.cropped_faces import cropped_faces, num_surplus_images
from pipeline.faces.tracks import TrackedClip, track_clips, track_faces
from pipeline.frame_blocks import FrameBlock, frame_blocks
from pipeline.input_blocks import Block, FaceBlock
from pipeline.media.audio import SoundStream, stream_sound
from pipeline.media.log_mel import LogMelStream
from pipeline.media.sound_windows import SampleWindows
from pipeline.media.video import VideoFrame, decode_video, video_facts
from pipeline.models import Models
from pipeline.row_blocks import PictureRows, SoundRows, stored_rows, time_blocks
from pipeline.stage_clock import StageClock


class Watcher(Protocol):
    """Looks on while a clip is worked on."""

    def see_frame(self, frame: VideoFrame) -> None:
        """The next decoded frame."""
        ...

    def see_crop(self, crop: FaceCrop) -> None:
        """The face in a frame that was seen."""
        ...


@dataclass(kw_only=True)
class ClipExtraction:
    """The work on one clip.

    Attributes:
        source: The clip.
        config: The `extract` section.
        models: From `load_models` with the same configuration.
        spill: Folder for what waits on the disk while the clip is worked on.
        clock: Measures the stages, for the report.
        beat: Called for every decoded frame and every block of rows, with the number of rows so far.
        preview: Sees frames and faces, for a contact sheet; None for none.
    """

    source: ClipSource
    config: ExtractConfig
    models: Models
    spill: Path
    clock: StageClock = field(default_factory=StageClock)
    beat: Callable[[int], None] = lambda _: None
    preview: Watcher | None = None
    _num_decoded: int = field(default=0, init=False)

    def faces(self) -> Iterator[FaceCrop]:
        """The subject's face in every frame.

        Raises:
            MediaError: The media file, or a cropped face, cannot be decoded.
        """
        sizes = self._crop_sizes()
        if self.source.faces is not None:
            frames = self._frames(pictures=self.preview is not None)
            return cropped_faces(frames, self.source.faces, sizes)
        who = self.source.face or self.config.faces.subject
        if who == "all":
            raise ValueError("with subject 'all', ask for the tracks")
        faces = self.config.faces
        frames = self._frames(pictures=True)
        return track_faces(frames, self.models.detector, faces, sizes, who, self.spill)

    def tracks(self) -> list[TrackedClip]:
        """Every track of a face that is long enough, in the order of their first frames.

        Raises:
            MediaError: The media file cannot be decoded.
        """
        with self.clock.stage("faces"):
            return track_clips(
                self._frames(pictures=True),
                self.models.detector,
                self.config.faces,
                self._crop_sizes(),
                self.spill,
            )

    def write_rows(self, crops: Iterable[FaceCrop], writer: PartWriter) -> dict[str, Json]:
        """Embed a clip and hand its rows to a writer.

        Args:
            crops: The subject's face in every frame of the clip, from `faces` or of one track.
            writer: Of the clip's part.

        Returns:
            Facts for the record that depend on the media alone: `media` (what the header says), `num_frames`,
            `num_face_frames` and `num_audio_frames`; with cropped faces `num_surplus_faces`, those beyond the
            last frame.

        Raises:
            MediaError: The media file cannot be decoded, or has no frames.
            ExtractionError: An embedding is not a number, or too large for float16.
        """
        frames = self._write_frames(crops, writer)
        num_audio_frames = self._write_sound(frames.time_s, writer)
        for name, stream in self.models.clip_streams.items():
            with self.clock.stage("clip_streams"):
                rows = clip_rows(name, stream, frames)
            writer.append_stream(name, stored_rows(rows, self.source.clip_id, name, np.arange(len(rows))))
        with self.clock.stage("decode"):
            media = video_facts(self.source.media, self.config.media)
        facts: dict[str, Json] = {
            "media": media,
            "num_frames": len(frames.time_s),
            "num_face_frames": int(frames.face_found.sum()),
            "num_audio_frames": num_audio_frames,
        }
        if self.source.faces is not None:
            facts["num_surplus_faces"] = num_surplus_images(self.source.faces, self._num_decoded)
        return facts

    def seen(self, crops: Iterable[FaceCrop]) -> Iterator[FaceCrop]:
        """Crops on their way: the time that they take is measured, and the preview sees them."""
        for crop in self.clock.timed("faces", crops):
            if self.preview is not None:
                self.preview.see_crop(crop)
            yield crop

    def _crop_sizes(self) -> tuple[int, ...]:
        sizes = {embedder.crop_size_px for embedder in self.models.embedders.values()}
        return tuple(sorted(size for size in sizes if size is not None))

    def _frames(self, *, pictures: bool) -> Iterator[VideoFrame]:
        """Decoded frames, with a sign of life for each."""
        media, limits = self.config.media, self.config.limits
        frames = decode_video(self.source.media, media, limits, pictures=pictures)
        for frame in self.clock.timed("decode", frames):
            self._num_decoded = frame.index + 1
            self.beat(0)
            if self.preview is not None:
                self.preview.see_frame(frame)
            yield frame

    def _embedders(self, *takes: str) -> dict[str, RowMapper]:
        return {name: each for name, each in self.models.embedders.items() if each.takes in takes}

    def picture_rows(self, crops: Iterable[FaceCrop]) -> Iterator[PictureRows]:
        """Rows of the clip's pictures, block by block, while they are decoded.

        Args:
            crops: As for `write_rows`.

        Raises:
            MediaError: The media file cannot be decoded, or has no frames.
            ExtractionError: An embedding is not a number, or too large for float16.
        """
        clip_id, embedders = self.source.clip_id, self._embedders("faces")
        # Each embedder draws blocks from a copy of the iterator; they go in step, so that little is kept.
        blocks, *copies = tee(frame_blocks(self.seen(crops)), 1 + len(embedders))
        mapped = [
            self.clock.timed("visual_backbone", embedder.map(_faces(copy, embedder.crop_size_px or 0)))
            for embedder, copy in zip(embedders.values(), copies, strict=True)
        ]
        num_rows = 0
        for block, *embedded in zip(blocks, *mapped, strict=True):
            with self.clock.stage("write"):
                arrays = block.arrays()
                streams = {
                    name: block.spread(stored_rows(embeddings, clip_id, name, num_rows + block.found_rows))
                    for name, embeddings in zip(embedders, embedded, strict=True)
                }
            num_rows += len(block.rows)
            self.beat(num_rows)
            yield PictureRows(arrays=arrays, streams=streams)
        if not num_rows:
            with self.clock.stage("decode"):
                raise MediaError(
                    f"{str(self.source.media)!r}: expected at least one frame, decoded none; is the file cut "
                    "short?"
                )

    def sound_rows(self, stream: str, times_s: Iterable[NDArray[np.float64]]) -> Iterator[SoundRows]:
        """Rows of a stream that is made of sound, block by block, while it is decoded.

        Args:
            stream: Its name.
            times_s: Times of the rows, rising, in blocks of at most `MAX_BLOCK_INPUTS`, (n,) each; some are
                drawn ahead, to fill batches.

        Yields:
            For each block of times, its rows.

        Raises:
            MediaError: The sound cannot be decoded.
            ExtractionError: An embedding is not a number, or too large for float16.
        """
        clip_id, anchor = self.source.clip_id, self.config.audio.anchor
        embedder = self.models.embedders[stream]
        sound = self._sound()
        inputs = (
            LogMelStream(sound, anchor)
            if embedder.window_samples is None
            else SampleWindows(sound, anchor, embedder.window_samples)
        )
        heard: list[NDArray[np.bool_]] = []  # of the blocks that the embedder has drawn
        blocks = self.clock.timed("log_mel", _sound_blocks(inputs, times_s, heard))
        num_rows = 0
        for embeddings in self.clock.timed("audio_backbone", embedder.map(blocks)):
            found = heard.pop(0)
            rows = np.zeros((len(found), embeddings.shape[-1]), np.float16)
            rows[found] = stored_rows(embeddings, clip_id, stream, num_rows + np.flatnonzero(found))
            num_rows += len(found)
            self.beat(num_rows)
            yield SoundRows(found=found, rows=rows)

    def _write_frames(self, crops: Iterable[FaceCrop], writer: PartWriter) -> ClipFrames:
        """The arrays beside the streams, and the streams made of faces."""
        kept: dict[str, list[NDArray[np.generic]]] = {"time_s": [], "source_frame": [], "face_found": []}
        for block in self.picture_rows(crops):
            with self.clock.stage("write"):
                writer.append(**block.arrays)
                for name, rows in block.streams.items():
                    writer.append_stream(name, rows)
            for name, of_blocks in kept.items():
                of_blocks.append(block.arrays[name])
        whole: dict[str, NDArray[Any]] = {name: np.concatenate(each) for name, each in kept.items()}
        return ClipFrames(clip_id=self.source.clip_id, media=self.source.media, **whole)

    def _write_sound(self, times_s: NDArray[np.float64], writer: PartWriter) -> int:
        """`audio_found`, and the streams made of sound.

        Returns:
            The number of rows with sound.
        """
        num_heard = 0
        for name in self._embedders("log_mel", "waveform"):
            for block in self.sound_rows(name, time_blocks(times_s)):
                with self.clock.stage("write"):
                    if name == "audio":
                        writer.append(audio_found=block.found)
                        num_heard += int(block.found.sum())
                    writer.append_stream(name, block.rows)
        return num_heard

    def _sound(self) -> SoundStream:
        with self.clock.stage("decode"):
            sound = stream_sound(self.source.media, self.config.media, self.config.limits)
        return replace(sound, pieces=self.clock.timed("decode", sound.pieces))


def _faces(blocks: Iterable[FrameBlock], size_px: int) -> Iterator[FaceBlock]:
    """The faces of each block, cropped to a size."""
    for block in blocks:
        yield block.faces(size_px)


def _sound_blocks(
    inputs: LogMelStream | SampleWindows,
    times_s: Iterable[NDArray[np.float64]],
    heard: list[NDArray[np.bool_]],
) -> Iterator[Block]:
    """The examples of the rows with sound, in blocks of rows.

    Args:
        inputs: Makes the examples.
        times_s: Of the rows of each block, (n,).
        heard: For each block that was drawn and whose rows are not given, whether each row has sound.
    """
    for of_block in times_s:
        block, found = inputs.block(of_block)
        heard.append(found)
        yield block.part(found)
