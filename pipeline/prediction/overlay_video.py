"""Drawn pictures, encoded at the times of the originals.

H.264 where PyAV has its encoder, MPEG-4 where it has not. Colours go back the way they came: decoded and
encoded by the same matrix, and marked as the original marks them.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

# The better one first, with its options: quality held, whatever the bit rate. x264's macroblock tree makes
# other bytes from the same pictures now and then.
_ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "20", "g": "50", "x264-params": "mbtree=0"},
    "mpeg4": {"qmin": "2", "qmax": "4", "g": "50"},
}
# MPEG-4 counts time in at most 65,535 ticks per second; these hold the usual rates exactly.
_MPEG4_TICKS = 60_000
_MAX_MPEG4_TICKS = 65_535
_THREADS = 2


class OverlayVideo:
    """Takes pictures and writes them to an open container.

    Args:
        container: Where to; the stream is added to it.
        original: The stream that the pictures come from.
        width: Of the pictures, in pixels.
        height: The same.
    """

    def __init__(self, container: OutputContainer, original: VideoStream, width: int, height: int) -> None:
        self._container = container
        codec = next((name for name in _ENCODERS if name in av.codecs_available), "mpeg4")
        self._time_base = original.time_base or Fraction(1, 90_000)
        if codec == "mpeg4" and self._time_base.denominator > _MAX_MPEG4_TICKS:
            self._time_base = Fraction(1, _MPEG4_TICKS)
        self._last_pts: int | None = None
        self._reformatter = VideoReformatter()
        stream = container.add_stream(codec, rate=original.average_rate or 25, options=_ENCODERS[codec])
        assert isinstance(stream, VideoStream)
        self._stream = stream
        # Two pixels share their colours, across and along.
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = self._time_base
        self._stream.codec_context.thread_count = _THREADS
        source, target = original.codec_context, self._stream.codec_context
        self._colorspace: Colorspace | None = None
        if source.colorspace in (each.value for each in Colorspace):
            self._colorspace = Colorspace(source.colorspace)
            target.colorspace = source.colorspace
            target.color_primaries, target.color_trc = source.color_primaries, source.color_trc
        target.color_range = ColorRange.MPEG.value

    def add(self, rgb: NDArray[np.uint8], time_s: float) -> None:
        """The next picture.

        Args:
            rgb: The picture, (height, width, 3).
            time_s: Its time, later than that of the one before.
        """
        if any(after for _, after in self._padding):
            rgb = np.pad(rgb, self._padding, mode="edge")
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24"),
            format="yuv420p",
            dst_colorspace=self._colorspace,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        pts = round(time_s / self._time_base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)  # ticks may be coarser than the original's
        self._last_pts = pts
        frame.pts, frame.time_base = pts, self._time_base
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """What the encoder still holds."""
        self._container.mux(self._stream.encode())
