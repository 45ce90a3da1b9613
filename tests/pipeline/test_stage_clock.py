"""Time by stage, on a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.stage_clock import StageClock


class Hand:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_time_is_charged_to_the_innermost_stage() -> None:
    hand = Hand()
    clock = StageClock(now=hand)
    hand.time += 1  # before any stage: charged to none
    with clock.stage("faces"):
        hand.time += 2
        with clock.stage("decode"):
            hand.time += 4
        hand.time += 8
    hand.time += 16
    with clock.stage("decode"):
        hand.time += 32
    assert clock.seconds["faces"] == 10
    assert clock.seconds["decode"] == 36
    assert sum(clock.seconds.values()) == 46


def test_an_iterable_is_charged_for_its_items_and_not_for_what_is_done_with_them() -> None:
    hand = Hand()
    clock = StageClock(now=hand)

    def frames() -> Iterator[int]:
        for frame in range(3):
            hand.time += 1
            yield frame
        hand.time += 10  # the end is looked for, too

    def crops(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            hand.time += 100
            yield item

    for _ in clock.timed("faces", crops(clock.timed("decode", frames()))):
        hand.time += 1000
    assert clock.seconds["decode"] == 13
    assert clock.seconds["faces"] == 300


def test_the_innermost_stage_that_failed_is_remembered() -> None:
    clock = StageClock(now=Hand())

    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("damaged")

    def read() -> None:
        for _ in clock.timed("faces", clock.timed("decode", broken())):
            pass

    with pytest.raises(KeyError, match="damaged"):
        read()
    assert clock.failed_stage == "decode"
