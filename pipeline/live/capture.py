"""A camera, and a microphone with it, as a live source: the program `ffmpeg` reads the devices.

    /dev/video0 --- ffmpeg --(NUT: RGB)--> pipe --> PyAV --> slot
    microphone ---- ffmpeg --(NUT: PCM)--> pipe --> PyAV --> sound

Two processes, since one that writes both puts them in the order of their times: each picture would wait for
the sound after it, and all of them for a microphone that has fallen silent.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.config import LimitsConfig
from pipeline.errors import MediaError
from pipeline.live.device_program import DeviceProgram
from pipeline.live.file_playback import SOUND_PIECE_S
from pipeline.live.live_source import FrameSlot, LiveFrame
from pipeline.live.trailing_sound import TrailingSound
from pipeline.media.audio import SoundLayout, mono_samples
from pipeline.media.memory import limit_allocations
from pipeline.media.timeline import rising_time

# For pictures without a stamp: 30 per second.
_DEFAULT_FRAME_S = 1 / 30
_PICTURES = ("-map", "0:v:0", "-c:v", "rawvideo", "-pix_fmt", "rgb24")
_SOUND = ("-map", "0:a:0", "-c:a", "pcm_s16le")


@dataclass(frozen=True, kw_only=True)
class CaptureInput:
    """What `ffmpeg` is to read.

    Attributes:
        name: The camera, as messages name it.
        video: Its arguments for the pictures, up to and including ``-i``'s.
        audio: The same for the sound; None for none.
    """

    name: str
    video: tuple[str, ...]
    audio: tuple[str, ...] | None = None


def camera_input(camera: str, microphone: str | None) -> CaptureInput:
    """A camera and a microphone of this machine, by Video4Linux and ALSA.

    Args:
        camera: Number of the camera, or its device file.
        microphone: ALSA's name of the microphone; None for none.

    Raises:
        MediaError: There is no such device.
    """
    device = Path(f"/dev/video{camera}" if camera.isdecimal() else camera)
    if not device.exists():
        others = sorted(str(path) for path in Path("/dev").glob("video*"))
        raise MediaError(
            f"camera {camera!r}: expected a device at {device}, found none; "
            + (f"there are {', '.join(others)}" if others else "this machine shows no cameras (/dev/video*)")
            + "; give another --camera, or a file"
        )
    # Both clocks as the time of day, so that sound and pictures keep their places whenever each starts.
    return CaptureInput(
        name=str(device),
        video=("-f", "v4l2", "-timestamps", "abs", "-i", str(device)),
        audio=None if microphone is None else ("-f", "alsa", "-i", microphone),
    )


class Capture:
    """Reads devices until it is closed, or they end.

    Times count from the first picture. A picture has arrived when it has come through the pipe.

    Args:
        inputs: What to read.
        limits: How large a picture may be.
        every: Only every n-th picture is offered.
        window_samples: Of the audio backbone, as for `TrailingSound`.

    Attributes:
        slot: Where the pictures arrive.
        num_frames: Pictures so far.

    Raises:
        MediaError: The program is missing.
    """

    def __init__(
        self,
        inputs: CaptureInput,
        limits: LimitsConfig,
        *,
        every: int = 1,
        window_samples: int | None = None,
    ) -> None:
        self.slot = FrameSlot()
        self.num_frames = 0
        self._name, self._limits, self._every = inputs.name, limits, every
        self._sound = TrailingSound(window_samples, late=True)
        self._layout = SoundLayout(f"microphone of {inputs.name!r}", math.inf, SOUND_PIECE_S)
        self._zero_s = 0.0  # the first picture's stamp
        self._last_s = 0.0
        self._has_begun = threading.Event()
        self._programs = [DeviceProgram(f"camera {inputs.name!r}", (*inputs.video, *_PICTURES))]
        self._threads = [threading.Thread(target=self._read_pictures, name="pictures", daemon=True)]
        if inputs.audio is not None:
            name = f"microphone of camera {inputs.name!r}"
            self._programs.append(DeviceProgram(name, (*inputs.audio, *_SOUND)))
            self._threads.append(threading.Thread(target=self._read_sound, name="sound", daemon=True))

    @property
    def rate_hz(self) -> float | None:
        """See `LiveSource`."""
        return (self.num_frames - 1) / self._last_s if self.num_frames > 1 else None

    def start(self) -> None:
        """See `LiveSource`."""
        limit_allocations(self._limits.picture_px)
        for program, thread in zip(self._programs, self._threads, strict=True):
            program.start()
            thread.start()

    def sound_until(self, time_s: float) -> TrailingSound:
        """See `LiveSource`; no picture waits for its sound."""
        return self._sound

    def close(self) -> None:
        """See `LiveSource`."""
        self.slot.close()
        self._has_begun.set()
        for program, thread in zip(self._programs, self._threads, strict=True):
            program.end()
            if thread.is_alive():
                thread.join()
            program.close()

    def _read_pictures(self) -> None:
        error: Exception | None = None
        try:
            for frame in self._programs[0].frames():
                arrived_s = time.monotonic()
                if isinstance(frame, av.VideoFrame) and not self._offer(frame, arrived_s):
                    break
        except Exception as fault:  # whatever it is: the reader would wait for ever
            error = fault
        self.slot.finish(error)

    def _read_sound(self) -> None:
        self._has_begun.wait()  # the timeline begins with the first picture
        try:
            for frame in self._programs[1].frames():
                if isinstance(frame, av.AudioFrame):
                    self._hear(frame)
        except Exception as fault:
            self.slot.finish(fault)

    def _offer(self, frame: av.VideoFrame, arrived_s: float) -> bool:
        if frame.width * frame.height > self._limits.picture_px:
            raise MediaError(
                f"camera {self._name!r}: expected pictures of at most {self._limits.picture_px} pixels, "
                f"found {frame.width} by {frame.height}; raise extract.limits.picture_px"
            )
        if not self.num_frames:
            self._zero_s = frame.time or 0.0
            self._has_begun.set()
        stamp_s = None if frame.time is None else frame.time - self._zero_s
        previous_s = self._last_s if self.num_frames else None
        frame_s = 1 / (self.rate_hz or 1 / _DEFAULT_FRAME_S)
        tick_s = float(frame.time_base or 1e-3)
        time_s = rising_time(stamp_s, previous_s, frame_s, tick_s)
        if time_s is None:  # a clock that was set back; the picture is there all the same
            time_s = self._last_s + frame_s
        index, self._last_s = self.num_frames, time_s
        self.num_frames += 1
        if index % self._every:
            return True
        rgb: NDArray[np.uint8] = np.ascontiguousarray(frame.to_ndarray(format="rgb24"), np.uint8)
        return self.slot.offer(LiveFrame(index=index, time_s=time_s, rgb=rgb, arrived_s=arrived_s))

    def _hear(self, frame: av.AudioFrame) -> None:
        stamp_s = None if frame.time is None else frame.time - self._zero_s
        samples = mono_samples(frame, f"microphone of {self._name!r}")
        for piece in self._layout.add(samples, stamp_s, frame.sample_rate):
            self._sound.add(piece, self._layout.start_s)
