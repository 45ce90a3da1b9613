"""Registry of heads.

A head is a module made from a `HeadConfig` and called as `head(visual, audio, frame_mask)`, with rows `(B, L,
D)` per stream and a bool mask `(B, L)`; it returns valence and arousal `(B, L, 2)` in [-1, 1], zero in
padding. A new head takes a file here and a line below.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from torch import nn

from tagf_head.config import HeadConfig
from tagf_head.errors import UnknownHeadError
from tagf_head.heads.audio_only import AudioOnlyHead
from tagf_head.heads.concat import ConcatHead
from tagf_head.heads.visual_only import VisualOnlyHead
from tagf_head.tagf import TagfHead

__all__ = ["HEADS", "build_head", "head_names"]

HEADS: dict[str, Callable[[HeadConfig], nn.Module]] = {
    "tagf": TagfHead,
    "concat": ConcatHead,
    "visual_only": VisualOnlyHead,
    "audio_only": AudioOnlyHead,
}


def head_names() -> tuple[str, ...]:
    """Names of all heads, in the registry's order."""
    return tuple(HEADS)


def build_head(config: HeadConfig) -> nn.Module:
    """A head with fresh weights from torch's random state.

    Args:
        config: The head's name and settings.

    Returns:
        The head, in training mode.

    Raises:
        UnknownHeadError: No head has that name.
        HeadError: The settings do not fit the head.
    """
    if config.name not in HEADS:
        close = difflib.get_close_matches(config.name, HEADS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownHeadError(f"head: {config.name!r} is not a head; {hint}(heads: {', '.join(HEADS)})")
    return HEADS[config.name](config)
