"""Registry of heads.

A head is a `Head` made from settings that leave nothing open. `tagf`, `paper` and `released` are one head
whose settings differ (see `tagf_head.head_config`). A new head takes a file here and a line below.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from tagf_head.errors import UnknownHeadError
from tagf_head.head_config import HeadConfig, ResolvedHeadConfig
from tagf_head.heads.audio_only import AudioOnlyHead
from tagf_head.heads.concat import ConcatHead
from tagf_head.heads.head import GatedPrediction, Head
from tagf_head.heads.separate import SeparateHeads
from tagf_head.heads.tagf import TagfHead
from tagf_head.heads.visual_only import VisualOnlyHead

__all__ = ["HEADS", "GatedPrediction", "Head", "build_head"]

HEADS: dict[str, Callable[[ResolvedHeadConfig], Head]] = {
    "tagf": TagfHead,
    "paper": TagfHead,
    "released": TagfHead,
    "concat": ConcatHead,
    "visual_only": VisualOnlyHead,
    "audio_only": AudioOnlyHead,
}


def build_head(config: HeadConfig) -> Head:
    """A head with fresh weights from torch's random state.

    Args:
        config: The head's name and settings; what they leave open is settled by the name.

    Returns:
        The head, in training mode.

    Raises:
        UnknownHeadError: No head has that name.
    """
    if config.name not in HEADS:
        close = difflib.get_close_matches(config.name, HEADS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownHeadError(f"head: {config.name!r} is not a head{hint} (heads: {', '.join(HEADS)})")
    build, resolved = HEADS[config.name], config.resolved()
    return SeparateHeads(build, resolved) if resolved.targets == "separate" else build(resolved)
