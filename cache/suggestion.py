"""What somebody may have meant by a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CLOSE = 0.6


def closest(word: str, names: Iterable[str], *, cutoff: float = _CLOSE) -> str | None:
    """The name most like a word, None where none is; upper and lower case count as alike.

    >>> closest("TAGF", ["concat", "tagf"])
    'tagf'
    """
    by_lower: dict[str, str] = {}
    for name in names:
        by_lower.setdefault(name.lower(), name)
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``; did you mean 'blur'?`` for a word close to one of the names, else nothing.

    >>> did_you_mean("blurr", ["blur", "darkness"])
    "; did you mean 'blur'?"
    """
    name = closest(word, names)
    return "" if name is None else f"; did you mean {name!r}?"


def listed(names: Iterable[str], *, near: str, at_most: int) -> str:
    """Names for a message, separated by commas; of too many, those most like a word.

    Args:
        names: The names.
        near: The word.
        at_most: How many to name.
    """
    every = list(names)
    if len(every) <= at_most:
        return ", ".join(every)
    ranked = sorted(
        every, key=lambda name: -difflib.SequenceMatcher(None, near.lower(), name.lower()).ratio()
    )
    return f"{', '.join(ranked[:at_most])}, and {len(every) - at_most} more"
