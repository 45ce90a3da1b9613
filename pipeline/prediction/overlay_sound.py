"""The sound of an original beside the pictures of its overlay: its packets where the container takes them.

Where it does not (PCM, Vorbis, WMA in MP4), the sound is encoded as AAC at its own times, with silence where
the original has none.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from numpy.typing import NDArray

from pipeline.errors import MediaError
from pipeline.media.audio import GAP_TOLERANCE_S
from pipeline.media.container import decode

# Sound of these in MP4 is played by browsers and players alike.
_MP4_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"})
_AAC_RATES_HZ = frozenset({48_000, 44_100, 32_000, 24_000, 22_050, 16_000})
_USUAL_RATE_HZ = 48_000
_BIT_RATE = 160_000
_BLOCK_SAMPLES = 1024
# A muxer holds packets back until it has later ones of every stream: sound goes in a little ahead.
_AHEAD_S = 0.5


def can_copy(original: InputContainer, stream: AudioStream, muxer: str) -> bool:
    """Whether a container takes the packets of a stream.

    Args:
        original: The open file; the packet that is tried is gone from it.
        stream: One of its streams.
        muxer: FFmpeg's name of the container, `mp4` or `matroska`.
    """
    if muxer == "mp4" and stream.codec_context.codec.canonical_name not in _MP4_CODECS:
        return False
    packet = next((packet for packet in original.demux(stream) if packet.size), None)
    if packet is None:
        return False
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            packet.stream = trial.add_stream_from_template(stream)
            trial.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


class CopiedSound:
    """Packets as they are.

    Args:
        original: The open file, for this stream alone.
        stream: One of its streams.
        container: Where to.
        shift_s: Seconds by which all times are brought forward.
    """

    def __init__(
        self, original: InputContainer, stream: AudioStream, container: OutputContainer, shift_s: float
    ) -> None:
        self._time_base = stream.time_base or Fraction(1, stream.codec_context.sample_rate)
        self._container = container
        self._stream = container.add_stream_from_template(stream)
        self._shift = round(shift_s / self._time_base)
        self._packets = original.demux(stream)
        self._next: av.Packet[AudioStream] | None = None

    def write_until(self, time_s: float) -> None:
        """Write what lies before a time of the original, and a little more."""
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            if self._next is None:
                return
            stamp = self._next.dts if self._next.dts is not None else self._next.pts
            if stamp is not None and float(stamp * self._time_base) > time_s + _AHEAD_S:
                return
            packet, self._next = self._next, None
            if not packet.size:  # those at the end are empty
                continue
            if packet.pts is not None:
                packet.pts -= self._shift
            if packet.dts is not None:
                packet.dts -= self._shift
            packet.stream = self._stream
            self._container.mux(packet)

    def finish(self) -> None:
        """Write the rest."""
        self.write_until(float("inf"))


class EncodedSound:
    """Sound as AAC, mono or stereo; takes what `CopiedSound` takes.

    Args:
        original: The open file, for this stream alone.
        stream: One of its streams.
        container: Where to.
        shift_s: Seconds by which all times are brought forward.
        longest_s: The longest gap that is filled.
        name: The file, as messages name it.
    """

    def __init__(
        self,
        original: InputContainer,
        stream: AudioStream,
        container: OutputContainer,
        shift_s: float,
        longest_s: float,
        name: str,
    ) -> None:
        self._container = container
        self._rate_hz = stream.codec_context.sample_rate
        if self._rate_hz not in _AAC_RATES_HZ:
            self._rate_hz = _USUAL_RATE_HZ
        self._layout = "mono" if stream.codec_context.channels == 1 else "stereo"
        self._time_base = Fraction(1, self._rate_hz)
        self._stream = container.add_stream("aac", rate=self._rate_hz, layout=self._layout)
        self._stream.bit_rate = _BIT_RATE
        self._shift_s, self._longest_s, self._name = shift_s, longest_s, name
        self._blocks = self._resampled(original, stream)
        self._next_sample: int | None = None  # where the next block begins if nothing is missing
        self._waiting: NDArray[np.float32] = np.empty((1 if self._layout == "mono" else 2, 0), np.float32)

    def write_until(self, time_s: float) -> None:
        """As `CopiedSound.write_until`."""
        end = (time_s + _AHEAD_S - self._shift_s) * self._rate_hz
        while self._next_sample is None or self._next_sample < end:
            block = next(self._blocks, None)
            if block is None:
                return
            self._append(*block)

    def finish(self) -> None:
        """As `CopiedSound.finish`."""
        self.write_until(float("inf"))
        if self._waiting.shape[1]:
            self._encode(self._waiting)
        self._container.mux(self._stream.encode())

    def _append(self, time_s: float | None, samples: NDArray[np.float32]) -> None:
        """Lay a block out by its time: silence before it, or its beginning cut off."""
        if self._next_sample is None:
            self._next_sample = round(((time_s or 0.0) - self._shift_s) * self._rate_hz)
        late = 0
        if time_s is not None:
            late = round((time_s - self._shift_s) * self._rate_hz) - self._next_sample
        if late > self._longest_s * self._rate_hz:
            raise MediaError(
                f"{self._name}: expected sound without a gap of more than {self._longest_s:g} s, found one "
                f"of {late / self._rate_hz:.3g} s; remux the file"
            )
        if abs(late) <= GAP_TOLERANCE_S * self._rate_hz:
            late = 0
        while late > 0:
            silence = min(late, _BLOCK_SAMPLES)
            self._take(np.zeros((len(samples), silence), np.float32))
            late -= silence
        self._take(samples[:, -late:] if late < 0 else samples)

    def _take(self, samples: NDArray[np.float32]) -> None:
        """Encode in blocks of the encoder's size."""
        assert self._next_sample is not None
        self._waiting = np.concatenate([self._waiting, samples], axis=1)
        self._next_sample += samples.shape[1]
        while self._waiting.shape[1] >= _BLOCK_SAMPLES:
            self._encode(self._waiting[:, :_BLOCK_SAMPLES])
            self._waiting = self._waiting[:, _BLOCK_SAMPLES:]

    def _encode(self, samples: NDArray[np.float32]) -> None:
        assert self._next_sample is not None
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", self._layout)
        block.sample_rate, block.time_base = self._rate_hz, self._time_base
        block.pts = self._next_sample - self._waiting.shape[1]
        self._container.mux(self._stream.encode(block))

    def _resampled(
        self, original: InputContainer, stream: AudioStream
    ) -> Iterator[tuple[float | None, NDArray[np.float32]]]:
        """Times and samples, (channels, n), as the encoder takes them."""
        kind: tuple[str, str, int] | None = None
        resampler = self._resampler()
        for frame in decode(original, stream):
            of_frame = (frame.format.name, frame.layout.name, frame.sample_rate)
            if kind not in (None, of_frame):
                yield from _taken(resampler, None)
                resampler = self._resampler()  # it is bound to what it has seen first
            kind = of_frame
            yield from _taken(resampler, frame)
        if kind is not None:
            yield from _taken(resampler, None)

    def _resampler(self) -> AudioResampler:
        return AudioResampler(format="fltp", layout=self._layout, rate=self._rate_hz)


def _taken(
    resampler: AudioResampler, frame: av.AudioFrame | None
) -> Iterator[tuple[float | None, NDArray[np.float32]]]:
    for block in resampler.resample(frame):
        yield block.time, np.asarray(block.to_ndarray(), np.float32)
