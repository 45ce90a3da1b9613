"""The first line by which a file of valence and arousal labels is known."""

from __future__ import annotations

import re

LABEL_HEADER = "valence,arousal"


def label_header(line: bytes) -> str:
    """First line of a label file as it is compared with `LABEL_HEADER`: no spaces, no byte order mark.

    >>> label_header(b"valence, arousal ")
    'valence,arousal'
    """
    return "".join(line.decode("utf-8-sig", errors="replace").split())


def has_times(line: bytes) -> bool:
    """Whether the first line of a label file names a column of times: its rows are not frames.

    >>> has_times(b"Time [ms];valence;arousal"), has_times(b"valence,arousal")
    (True, False)
    """
    names = re.split(r"[,;\t]", line.decode("utf-8-sig", errors="replace").lower())
    return any(name.strip('" ').startswith(("time", "t_", "sec", "ms")) for name in names)
