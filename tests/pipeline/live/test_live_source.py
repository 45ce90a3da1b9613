"""The slot between a source and a slow reader."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pipeline.live.live_source import FrameSlot, LiveFrame


def frame(index: int) -> LiveFrame:
    return LiveFrame(index=index, time_s=index / 25, rgb=np.zeros((2, 2, 3), np.uint8), arrived_s=0.0)


def test_a_slow_reader_takes_the_latest_frame_and_misses_the_others():
    slot = FrameSlot()
    assert all(slot.offer(frame(index)) for index in range(4))
    assert slot.take().index == 3
    assert slot.num_missed == 3
    slot.offer(frame(4))
    slot.finish()
    assert slot.take().index == 4
    assert slot.take() is None
    assert slot.num_missed == 3


def test_a_reader_that_wants_every_frame_gets_every_frame():
    slot = FrameSlot(keep_all=True)

    def play() -> None:
        for index in range(50):
            slot.offer(frame(index))
        slot.finish()

    player = threading.Thread(target=play)
    player.start()
    taken = []
    while (each := slot.take()) is not None:
        taken.append(each.index)
    player.join()
    assert taken == list(range(50))
    assert slot.num_missed == 0


def test_a_frame_that_waits_for_its_turn_arrives_with_it():
    clock = [1.0]
    slot = FrameSlot(keep_all=True, now=lambda: clock[0])
    slot.offer(frame(0))
    clock[0] = 5.0  # the one before has taken so long
    assert slot.take().arrived_s == 5.0
    slot = FrameSlot(now=lambda: clock[0])
    slot.offer(frame(0))
    assert slot.take().arrived_s == 0.0


def test_the_first_failure_is_told():
    slot = FrameSlot()
    slot.finish(ValueError("unplugged"))
    slot.finish()
    with pytest.raises(ValueError, match="unplugged"):
        slot.take()


def test_a_failure_comes_after_the_last_frame():
    slot = FrameSlot()
    slot.offer(frame(0))
    slot.finish(ValueError("unplugged"))
    assert slot.take().index == 0
    with pytest.raises(ValueError, match="unplugged"):
        slot.take()


def test_a_source_whose_reader_has_gone_is_told():
    slot = FrameSlot(keep_all=True)
    slot.offer(frame(0))
    told = []
    player = threading.Thread(target=lambda: told.append(slot.offer(frame(1))))
    player.start()
    slot.close()
    player.join()
    assert told == [False]
