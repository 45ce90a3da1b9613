"""Numbers as people read them."""

from __future__ import annotations

import math

_MINUS = "\N{MINUS SIGN}"
#: Stands where a number is not known.
UNKNOWN = "\N{EN DASH}"


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals.

    >>> fixed(0.25, 2), fixed(None) == UNKNOWN
    ('0.25', True)
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.{digits}f}".replace("-", _MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    """A difference, with its sign.

    >>> signed(0.25, 2)
    '+0.25'
    """
    text = fixed(value, digits)
    return f"+{text}" if text[0].isdigit() else text


def share(value: float | None) -> str:
    """A share in per cent.

    >>> share(0.9286)
    '93 %'
    """
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.0%}".replace("%", " %")


def number(count: int) -> str:
    """A whole number.

    >>> number(12500)
    '12,500'
    """
    return f"{count:,}"


def count(amount: int, noun: str) -> str:
    """So many of something.

    >>> count(1, "clip"), count(1200, "frame")
    ('1 clip', '1,200 frames')
    """
    return f"{number(amount)} {noun}{'' if amount == 1 else 's'}"
