"""The first line by which a file of valence and arousal labels is known."""

from __future__ import annotations

LABEL_HEADER = "valence,arousal"


def label_header(line: bytes) -> str:
    """First line of a label file as it is compared with `LABEL_HEADER`: no spaces, no byte order mark.

    >>> label_header(b"valence, arousal ")
    'valence,arousal'
    """
    return "".join(line.decode("utf-8-sig", errors="replace").split())
