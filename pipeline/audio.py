"""The sound of a media file as 16 kHz mono, laid out on the container's timeline.

Decoded blocks carry their own times; they are not simply joined. Where a block comes later than the one
before ends, silence lies between; where it comes earlier, its beginning has been heard already and is
trimmed:

    blocks     [====a====][====b====]      [====c====]
                                      gap            [====d====]
    waveform    aaaaaaaaaa bbbbbbbbb  0000  ccccccccc ddddddd
    spans      (                   )       (                 )

Encoders put silence before the first sample (priming). Containers note its length, and FFmpeg's decoders
drop it and move the time along, for edit lists of MP4 and the codec delay of Matroska alike: none of it is
seen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.container import open_container, sound_stream
from pipeline.errors import MediaError
from pipeline.resampler import Resampler, can_resample
from pipeline.timeline import SAMPLE_RATE_HZ

__all__ = ["SAMPLE_RATE_HZ", "Waveform", "read_waveform"]

# Up to this, a block whose stamp is not where the block before ended has an inexact stamp, not a gap before
# it. Larger than the 1 ms ticks of Matroska and FLV and the jitter of browsers' recorders, smaller than a
# lost AAC or Opus packet (20 ms). With the 5 ms to the nearest log-mel row, sound stays within half a frame
# at 30 fps.
GAP_TOLERANCE_S = 0.010
# A stamp that is years off must not fill the memory with silence. Four hours are 0.9 GB.
MAX_LENGTH_S = 4 * 3600.0
# Full scale of the integer sample formats.
_FULL_SCALE = {np.dtype(np.uint8): 2.0**7, np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


@dataclass(frozen=True, kw_only=True, eq=False)
class Waveform:
    """Sound on the container's timeline.

    Attributes:
        samples: Mono samples at 16 kHz, (n,) float32, full scale 1; zeros where nothing was decoded.
        start_s: Time of the first sample in seconds.
        spans: Start and end in seconds of each stretch that was decoded, ascending and disjoint. Decoded
            silence belongs to a span, a gap does not.
    """

    samples: NDArray[np.float32]
    start_s: float
    spans: tuple[tuple[float, float], ...]


def read_waveform(path: Path) -> Waveform:
    """The sound that belongs to a file's pictures.

    Channels are averaged, sample rates converted to 16 kHz.

    Args:
        path: The media file.

    Returns:
        The waveform; without samples where the file has no audio stream, or one that decodes to nothing.

    Raises:
        MediaError: The file cannot be opened or decoded, or holds sound of a kind that cannot be converted.
    """
    name = repr(str(path))
    layout = _Layout(name)
    with open_container(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return layout.waveform()
        if stream.codec_context is None:
            raise MediaError(
                f"{name}: expected sound that FFmpeg can decode, found an audio stream of a codec that it "
                "does not know; re-encode the sound, or remove it to have the clip without sound"
            )
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            layout.add(_mono(frame, name), frame.time, frame.sample_rate)
    return layout.waveform()


def _mono(frame: av.AudioFrame, name: str) -> NDArray[np.float32]:
    """Mean over a block's channels, (n,), full scale 1."""
    try:
        values = frame.to_ndarray()
    except ValueError as error:
        raise MediaError(
            f"{name}: expected samples of 8 to 32 bits, found format {frame.format.name!r}; "
            "re-encode the sound"
        ) from error
    if not frame.format.is_planar:  # (1, n * channels), interleaved
        values = values.reshape(frame.samples, -1).T
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


class _Layout:
    """Decoded blocks, laid out by their stamps: segments of sound, with gaps between them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._segments: list[_Segment] = []

    def add(self, samples: NDArray[np.float32], stamp_s: float | None, rate_hz: int) -> None:
        """Append a block to the last segment, or open another one after a gap or at another sample rate."""
        last = self._segments[-1] if self._segments else None
        if last is None:
            late_s, begin_s = 0.0, 0.0 if stamp_s is None else stamp_s
        else:
            late_s = 0.0 if stamp_s is None else stamp_s - last.end_s
            begin_s = last.end_s + (late_s if late_s > GAP_TOLERANCE_S else 0.0)
        if late_s < -GAP_TOLERANCE_S:
            samples = samples[round(-late_s * rate_hz) :]
        if len(samples) == 0:
            return
        if last is None or begin_s > last.end_s or rate_hz != last.rate_hz:
            last = self._open(begin_s, rate_hz)
        last.append(samples)
        length_s = last.end_s - self._segments[0].start_s
        if length_s > MAX_LENGTH_S:
            raise MediaError(
                f"{self._name}: expected at most {MAX_LENGTH_S:.0f} s of sound, found a block that ends "
                f"{length_s:.0f} s after the first begins; split the file, or remux it if its times are wrong"
            )

    def waveform(self) -> Waveform:
        """Everything on one 16 kHz grid that starts at the first sample, zeros in the gaps."""
        if not self._segments:
            return Waveform(samples=np.zeros(0, np.float32), start_s=0.0, spans=())
        start_s = self._segments[0].start_s
        placed = [
            (round((segment.start_s - start_s) * SAMPLE_RATE_HZ), segment.resampled())
            for segment in self._segments
        ]
        samples = np.zeros(max(first + len(piece) for first, piece in placed), np.float32)
        for first, piece in placed:
            samples[first : first + len(piece)] = piece
        spans = tuple((segment.start_s, segment.end_s) for segment in self._segments)
        return Waveform(samples=samples, start_s=start_s, spans=spans)

    def _open(self, start_s: float, rate_hz: int) -> _Segment:
        if not can_resample(rate_hz):
            raise MediaError(
                f"{self._name}: expected a sample rate in a simple ratio to {SAMPLE_RATE_HZ} Hz, found "
                f"{rate_hz} Hz; re-encode the sound at 48000 or 44100 Hz"
            )
        self._segments.append(_Segment(start_s, rate_hz))
        return self._segments[-1]


class _Segment:
    """A stretch of sound without gaps, at one sample rate."""

    def __init__(self, start_s: float, rate_hz: int) -> None:
        self.start_s = start_s
        self.rate_hz = rate_hz
        self._num_samples = 0
        self._resampler = Resampler(rate_hz)

    @property
    def end_s(self) -> float:
        """Time at which the last sample ends."""
        return self.start_s + self._num_samples / self.rate_hz

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add samples at the segment's rate, (n,)."""
        self._num_samples += len(samples)
        self._resampler.append(samples)

    def resampled(self) -> NDArray[np.float32]:
        """The finished segment at 16 kHz, (n,)."""
        return self._resampler.finish()
