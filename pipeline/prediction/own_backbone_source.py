"""Backbones of one's own that a checkpoint names: nothing is imported for them before their source is known.

Whoever wrote a checkpoint chose the names in it, and importing a module runs it.
"""

from __future__ import annotations

from cache.file_digest import file_digest
from cache.spec import FeatureSpec
from pipeline.backbones.user_backbone import is_own
from pipeline.errors import ExtractionError
from tagf_head.errors import UnknownHeadError
from tagf_head.heads.own_head_source import locate_source

_NUM_DIGITS = 19  # of "sha256:" and the digest


def require_own_source(spec: FeatureSpec, stream: str, *, where: str) -> None:
    """Refuse a backbone of one's own whose source is not that of the features.

    One whose module is imported already, or that the user's settings name, needs no such check.

    Args:
        spec: Of the checkpoint's features.
        stream: The backbone's stream.
        where: What messages call the checkpoint.

    Raises:
        ExtractionError: The module is not here, or its file is another one than at extraction.
    """
    backbone = str(spec.settings.get(f"{stream}.backbone", ""))
    if not is_own(backbone):
        return
    try:
        source = locate_source(backbone)
    except UnknownHeadError as error:
        raise ExtractionError(
            f"{where}: the source of its {stream} backbone {backbone!r} is not here ({error}); start in the "
            "folder that holds it"
        ) from error
    expected = str(spec.settings.get(f"{stream}.backbone_source", ""))
    found = f"sha256:{file_digest(source.file)}"
    if not source.is_loaded and found != expected:
        raise ExtractionError(
            f"{where}: expected the {stream} backbone {backbone!r} of its features "
            f"({expected[:_NUM_DIGITS]}...), got {source.file} ({found[:_NUM_DIGITS]}...), of which nothing "
            "was run; put the source of the extraction there, or name the backbone yourself with --params"
        )
