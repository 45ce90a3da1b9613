"""The sound of a media file as 16 kHz mono, laid out on the container's timeline.

Decoded blocks carry their own times; they are not simply joined. Where a block comes later than the one
before ends, silence lies between; where it comes earlier, its beginning has been heard already and is
trimmed:

    blocks     [====a====][====b====]      [====c====]
                                      gap            [====d====]
    sound       aaaaaaaaaa bbbbbbbbb  0000  ccccccccc ddddddd
    decoded    (                   )       (                 )

Encoders put silence before the first sample (priming). Containers note its length, and FFmpeg's decoders
drop it and move the time along, for edit lists of MP4 and the codec delay of Matroska alike: none of it is
seen here.

The sound comes in pieces of up to half a minute, while it is decoded: two hours take no more memory than one
minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.config import LimitsConfig, MediaConfig
from pipeline.errors import MediaError
from pipeline.media.container import decode, open_container, sound_stream
from pipeline.media.resampler import PIECE_S, Resampler, can_resample
from pipeline.media.timeline import SAMPLE_RATE_HZ

# Up to this, a block whose stamp is not where the block before ended has an inexact stamp, not a gap before
# it. Larger than the 1 ms ticks of Matroska and FLV and the jitter of browsers' recorders, smaller than a
# lost AAC or Opus packet (20 ms). With the 5 ms to the nearest log-mel row, sound stays within half a frame
# at 30 fps.
GAP_TOLERANCE_S = 0.010
# Gaps come in pieces too: a stamp that is hours off must not fill the memory with silence.
_GAP_PIECE_SAMPLES = 30 * SAMPLE_RATE_HZ
# Samples of one block, for the decoder; the largest blocks in use hold 65,536.
_MAX_BLOCK_SAMPLES = 2**24
# FFmpeg's sample formats; planar ones have a `p` at the end.
_SAMPLE_TYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}
# Full scale of the integer ones.
_FULL_SCALE = {np.dtype(np.uint8): 2.0**7, np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


@dataclass(frozen=True, kw_only=True, eq=False)
class Sound:
    """A piece of sound, or of a gap.

    Attributes:
        first_sample: Where it begins on the clip's grid of samples, counted from 0.
        samples: Mono samples at 16 kHz, (n,) float32, full scale 1.
        decoded: False for a gap, whose samples are zeros. Decoded silence is no gap.
    """

    first_sample: int
    samples: NDArray[np.float32]
    decoded: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class SoundStream:
    """Sound on the container's timeline, as it is decoded.

    Attributes:
        start_s: Time of sample 0 in seconds, the first one that is decoded.
        pieces: Each begins where the one before ends; none where there is no sound. Closes the file at its
            end.
    """

    start_s: float
    pieces: Iterator[Sound]


def stream_sound(
    path: Path,
    media: MediaConfig | None = None,
    limits: LimitsConfig | None = None,
    *,
    piece_s: float = PIECE_S,
) -> SoundStream:
    """The sound that belongs to a file's pictures.

    Channels are averaged, sample rates converted to 16 kHz.

    Args:
        path: The media file.
        media: Which stream; None for the usual settings.
        limits: What the file may cost; None for the usual limits.
        piece_s: Length of a piece in seconds, as far as blocks and gaps let it; it has no influence on the
            samples beyond rounding.

    Returns:
        The sound, decoded as far as its first piece; without pieces where the file has no audio stream, or
        one that decodes to nothing.

    Raises:
        MediaError: Here or from the pieces: the file cannot be opened or decoded, has no such stream, exceeds
            a limit, or holds sound of a kind that cannot be converted.
    """
    layout = SoundLayout(repr(str(path)), (limits or LimitsConfig()).sound_s, piece_s)
    pieces = _decoded(path, media or MediaConfig(), limits or LimitsConfig(), layout)
    first = next(pieces, None)
    return SoundStream(start_s=layout.start_s, pieces=iter(()) if first is None else chain((first,), pieces))


def _decoded(path: Path, media: MediaConfig, limits: LimitsConfig, layout: SoundLayout) -> Iterator[Sound]:
    name = repr(str(path))
    with open_container(path, limits) as container:
        stream = sound_stream(container, media.audio_stream, media.video_stream)
        if stream is None:
            return
        if stream.codec_context is None:
            raise MediaError(
                f"{name}: expected sound that FFmpeg can decode, found an audio stream of a codec that it "
                "does not know; re-encode the sound, or remove it to have the clip without sound"
            )
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_samples": str(_MAX_BLOCK_SAMPLES)}
        for frame in decode(container, stream):
            yield from layout.add(mono_samples(frame, name), frame.time, frame.sample_rate)
        yield from layout.finish()


def mono_samples(frame: av.AudioFrame, name: str) -> NDArray[np.float32]:
    """Mean over a block's channels, (n,), full scale 1.

    Args:
        frame: The block.
        name: Where it comes from, as messages name it.

    Raises:
        MediaError: Samples of a kind that cannot be converted, or that are not finite.
    """
    sample_type = _SAMPLE_TYPES.get(frame.format.name.removesuffix("p"))
    if sample_type is None:
        raise MediaError(
            f"{name}: expected samples of 8 to 32 bits, found format {frame.format.name!r}; "
            "re-encode the sound"
        )
    # Not by `to_ndarray`: of eight channels and more, PyAV goes on to planes that are not there, and crashes.
    num_planes = frame.layout.nb_channels if frame.format.is_planar else 1
    num_values = frame.samples if frame.format.is_planar else frame.samples * frame.layout.nb_channels
    values = np.stack(
        [np.frombuffer(memoryview(plane), sample_type, num_values) for plane in frame.planes[:num_planes]]
    )
    if not frame.format.is_planar:  # (1, n * channels), interleaved
        values = values.reshape(-1, frame.layout.nb_channels).T
    samples = np.mean(values, axis=0, dtype=np.float64)
    if values.dtype in _FULL_SCALE:
        silence = 128.0 if values.dtype == np.uint8 else 0.0
        samples = (samples - silence) / _FULL_SCALE[values.dtype]
    with np.errstate(over="ignore"):
        mono = np.asarray(samples, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise MediaError(
            f"{name}: expected finite samples, found NaN or infinity at {frame.time} s; re-encode the sound"
        )
    return mono


class SoundLayout:
    """Lays decoded blocks out by their stamps: segments of sound, with gaps between them.

    Args:
        name: The file, as messages name it.
        max_length_s: Longest time from the first to the last sample in seconds.
        piece_s: Length of a piece in seconds.

    Attributes:
        start_s: Time of the first sample in seconds, 0 while there is none.
    """

    def __init__(self, name: str, max_length_s: float, piece_s: float = PIECE_S) -> None:
        self.start_s = 0.0
        self._piece_s = piece_s
        self._name = name
        self._max_length_s = max_length_s
        self._segment: _Segment | None = None
        self._num_given = 0

    def add(self, samples: NDArray[np.float32], stamp_s: float | None, rate_hz: int) -> Iterator[Sound]:
        """Append a block to the last segment, or open another one after a gap or at another sample rate.

        Args:
            samples: Mono, (n,).
            stamp_s: Time of the first one in seconds, None where the file gives none.
            rate_hz: Their rate.

        Yields:
            The pieces that the block completes; to be exhausted.

        Raises:
            MediaError: The sound becomes too long, or has a rate that cannot be converted.
        """
        last = self._segment
        if last is None:
            late_s, begin_s = 0.0, 0.0 if stamp_s is None else stamp_s
        else:
            late_s = 0.0 if stamp_s is None else stamp_s - last.end_s
            begin_s = last.end_s + (late_s if late_s > GAP_TOLERANCE_S else 0.0)
        if late_s < -GAP_TOLERANCE_S:
            samples = samples[round(-late_s * rate_hz) :]
        if len(samples) == 0:
            return
        if last is None:
            self.start_s = begin_s
        if last is None or rate_hz != last.rate_hz:
            self._check_rate(rate_hz)
        self._check_length(begin_s + len(samples) / rate_hz - self.start_s)
        if last is None or begin_s > last.end_s or rate_hz != last.rate_hz:
            # One grid for all segments, zeros in the gaps.
            first_sample = round((begin_s - self.start_s) * SAMPLE_RATE_HZ)
            yield from self._finish_segment(first_sample)
            yield from self._gap(first_sample)
            last = self._segment = _Segment(begin_s, rate_hz, self._piece_s)
        for piece in last.append(samples):
            yield self._given(piece, decoded=True)

    def finish(self) -> Iterator[Sound]:
        """The last piece, where there is any sound; to be called once."""
        yield from self._finish_segment(None)

    def _finish_segment(self, next_sample: int | None) -> Iterator[Sound]:
        """The rest of the segment, up to where the next one begins: its last sample may reach beyond."""
        if self._segment is not None:
            rest = self._segment.finish()
            if next_sample is not None:
                rest = rest[: max(0, next_sample - self._num_given)]
            if len(rest):
                yield self._given(rest, decoded=True)

    def _gap(self, next_sample: int) -> Iterator[Sound]:
        while self._num_given < next_sample:
            num_zeros = min(next_sample - self._num_given, _GAP_PIECE_SAMPLES)
            yield self._given(np.zeros(num_zeros, np.float32), decoded=False)

    def _given(self, samples: NDArray[np.float32], *, decoded: bool) -> Sound:
        sound = Sound(first_sample=self._num_given, samples=samples, decoded=decoded)
        self._num_given += len(samples)
        return sound

    def _check_length(self, length_s: float) -> None:
        if length_s > self._max_length_s:
            raise MediaError(
                f"{self._name}: expected at most {self._max_length_s:g} s of sound, found a block that "
                f"ends {length_s:.3g} s after the first begins; remux the file if its times are wrong, split "
                "it, or raise extract.limits.sound_s"
            )

    def _check_rate(self, rate_hz: int) -> None:
        if not can_resample(rate_hz):
            raise MediaError(
                f"{self._name}: expected a sample rate in a simple ratio to {SAMPLE_RATE_HZ} Hz, found "
                f"{rate_hz} Hz; re-encode the sound at 48000 or 44100 Hz"
            )


class _Segment:
    """A stretch of sound without gaps, at one sample rate."""

    def __init__(self, start_s: float, rate_hz: int, piece_s: float) -> None:
        self.rate_hz = rate_hz
        self._start_s = start_s
        self._num_samples = 0
        self._resampler = Resampler(rate_hz, piece_s)

    @property
    def end_s(self) -> float:
        """Time at which the last sample ends."""
        return self._start_s + self._num_samples / self.rate_hz

    def append(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Add samples at the segment's rate, (n,); the pieces at 16 kHz that they complete, (m,) each."""
        self._num_samples += len(samples)
        return self._resampler.append(samples)

    def finish(self) -> NDArray[np.float32]:
        """The last piece at 16 kHz, (m,)."""
        return self._resampler.finish()
