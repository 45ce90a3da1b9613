"""Which first lines are those of valence and arousal labels."""

from __future__ import annotations

import pytest

from pipeline.layouts.label_header import LABEL_HEADER, label_header


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
