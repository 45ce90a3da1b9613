"""Windows of plain samples around a clip's frames, for backbones that take sound as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.config import Anchor
from pipeline.input_blocks import SampleBlock
from pipeline.media.audio import SoundStream
from pipeline.media.sound_buffer import SoundBuffer, overlapping_runs
from pipeline.media.timeline import window_first_samples


class SampleWindows:
    """The windows of a clip's frames, block by block, as the clip's sound is decoded.

    Outside the sound there is silence, so that a window may reach beyond either end, or lie wholly outside.

    Args:
        sound: The clip's sound.
        anchor: What of the window lies at the frame's time.
        window_samples: Samples of a window at 16 kHz.
    """

    def __init__(self, sound: SoundStream, anchor: Anchor, window_samples: int) -> None:
        self._buffer = SoundBuffer(sound)
        self._anchor = anchor
        self._window_samples = window_samples

    def block(self, times_s: ArrayLike) -> tuple[SampleBlock, NDArray[np.bool_]]:
        """The windows of consecutive frames.

        Args:
            times_s: The frames' times in seconds, rising, also from call to call, (n,).

        Returns:
            The windows, and whether each holds at least one decoded sample, (n,) bool.
        """
        length = self._window_samples
        starts = window_first_samples(times_s, self._buffer.start_s, self._anchor, length)
        samples = [np.empty(0, np.float32)]
        found = [np.empty(0, np.bool_)]
        places = np.empty_like(starts)
        num_samples = 0
        for run in overlapping_runs(starts, length):
            first, stop = int(starts[run][0]), int(starts[run][-1]) + length
            self._buffer.forget(first)
            found.append(self._buffer.holds_sound(starts[run], length))
            samples.append(self._buffer.samples(first, stop))
            places[run] = starts[run] - first + num_samples
            num_samples += stop - first
        block = SampleBlock(
            samples=np.concatenate(samples), first_samples=places, window_samples=self._window_samples
        )
        return block, np.concatenate(found)
