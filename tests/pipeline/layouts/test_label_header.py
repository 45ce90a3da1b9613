"""Which first lines are those of valence and arousal labels."""

from __future__ import annotations

import pytest

from pipeline.layouts.label_header import LABEL_HEADER, has_times, label_header


@pytest.mark.parametrize(
    ("line", "is_header"),
    [
        (b"valence,arousal\n", True),
        (b"\xef\xbb\xbfvalence, arousal \r\n", True),
        (b"arousal,valence\n", False),
        (b"Neutral,Anger\n", False),
        (b"\xff\xfe\x00", False),
        (b"", False),
    ],
)
def test_spaces_and_a_byte_order_mark_do_not_count(line: bytes, is_header: bool) -> None:
    assert (label_header(line) == LABEL_HEADER) == is_header


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"\xef\xbb\xbfTime;FM1 ;FM2 \r\n", True),
        (b"name\ttimestamp\tvalence\tarousal\n", True),
        (b'"valence","time_ms","arousal"\n', True),
        (b"valence,arousal\n", False),
        (b"\xff\xfe\x00", False),
    ],
)
def test_labels_with_times_of_their_own_are_told(line: bytes, expected: bool) -> None:
    assert has_times(line) == expected
