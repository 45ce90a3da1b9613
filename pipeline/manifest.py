"""Which clips a source holds, by its layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from pipeline.clip_source import ClipSource, Manifest
from pipeline.errors import ManifestError
from pipeline.layouts.aff_wild2 import read_aff_wild2
from pipeline.layouts.clip_table import read_clip_table
from pipeline.layouts.videos import read_videos

__all__ = ["LAYOUTS", "ClipSource", "Manifest", "read_manifest"]

LAYOUTS: Mapping[str, Callable[[Path], Manifest]] = MappingProxyType(
    {"videos": read_videos, "aff-wild2": read_aff_wild2, "manifest": read_clip_table}
)


def read_manifest(source: Path, layout: str) -> Manifest:
    """The clips of a source.

    Args:
        source: Folder of the media; for the layout `manifest`, a CSV file.
        layout: `videos`, `aff-wild2` or `manifest`: see docs/layouts.md.

    Returns:
        At least one clip, in the order of the store, and what is odd about the source.

    Raises:
        ManifestError: Unknown layout, or the source does not say what to extract.
    """
    if layout not in LAYOUTS:
        close = get_close_matches(layout, LAYOUTS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ManifestError(f"layout {layout!r} is not known (layouts: {', '.join(LAYOUTS)}){hint}")
    return LAYOUTS[layout](source)
