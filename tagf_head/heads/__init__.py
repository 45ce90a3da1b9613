"""Registry of heads.

A head is a `Head` made from settings that leave nothing open. Names that differ only in settings are one
head here and several lines in `tagf_head.head_presets`. A new head takes a file here, a line below and one
there; a head of one's own takes neither, and is named by where it lies, as in `my_package.my_head:MyHead`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from tagf_head.config import TARGETS
from tagf_head.errors import UnknownHeadError
from tagf_head.head_config import HeadConfig, ResolvedHeadConfig
from tagf_head.heads.audio_only import AudioOnlyHead
from tagf_head.heads.concat import ConcatHead
from tagf_head.heads.dca import DcaHead
from tagf_head.heads.grjca import GrjcaHead
from tagf_head.heads.head import Head, HeadOutput
from tagf_head.heads.hgrjca import HgrjcaHead
from tagf_head.heads.iaca import IacaHead
from tagf_head.heads.jca import JcaHead
from tagf_head.heads.lfan import LfanHead
from tagf_head.heads.own_head import is_own_head, own_head
from tagf_head.heads.rjca import RjcaHead
from tagf_head.heads.separate import SeparateHeads
from tagf_head.heads.tagf import TagfHead
from tagf_head.heads.tcn_transformer import TcnTransformerHead
from tagf_head.heads.transformer import TransformerHead
from tagf_head.heads.uncertain import UncertainHead
from tagf_head.heads.visual_only import VisualOnlyHead

__all__ = ["HEADS", "Head", "HeadOutput", "build_head"]

HEADS: dict[str, Callable[[ResolvedHeadConfig], Head]] = {
    "tagf": TagfHead,
    "paper": TagfHead,
    "released": TagfHead,
    "tagf_mean": TagfHead,
    "tagf_last": TagfHead,
    "jca": JcaHead,
    "rjca": RjcaHead,
    "dca": DcaHead,
    "grjca": GrjcaHead,
    "hgrjca": HgrjcaHead,
    "iaca": IacaHead,
    "lfan": LfanHead,
    "tcn_transformer": TcnTransformerHead,
    "transformer": TransformerHead,
    "situ_transformer": TransformerHead,
    "situ_lstm": TransformerHead,
    "fuxi_transformer": TransformerHead,
    "concat": ConcatHead,
    "visual_only": VisualOnlyHead,
    "audio_only": AudioOnlyHead,
}


def build_head(config: HeadConfig) -> Head:
    """A head with fresh weights from torch's random state.

    With `uncertainty`, the weights of everything else are those that it has without.

    Args:
        config: The head's name and settings; what they leave open is settled by the name.

    Returns:
        The head, in training mode.

    Raises:
        UnknownHeadError: No head has that name, or a head of one's own cannot be imported.
        HeadError: A head of one's own cannot be made, or does not keep what a `Head` promises.
    """
    build, resolved = _builder(config.name), config.resolved()
    are_separate = resolved.targets == "separate"
    head = SeparateHeads(build, resolved) if are_separate else build(resolved)
    if not resolved.uncertainty:
        return head
    num_outputs = len(TARGETS) if are_separate else resolved.num_outputs
    return UncertainHead(head, resolved.regressor_features, num_outputs)


def _builder(name: str) -> Callable[[ResolvedHeadConfig], Head]:
    if is_own_head(name):
        return own_head(name)
    if name not in HEADS:
        close = difflib.get_close_matches(name, HEADS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownHeadError(
            f"head: {name!r} is not a head{hint} (heads: {', '.join(HEADS)}; one of your own: "
            "package.module:Class)"
        )
    return HEADS[name]
