"""Names of files and groups for clips, whose ids may hold anything."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

# File systems allow 255 bytes; this leaves room for a suffix and for the names of temporary files.
_MAX_LENGTH = 180
_DIGEST_LENGTH = 16


def clip_names(clip_ids: Sequence[str]) -> list[str]:
    """A name for each clip that is safe as a file's and as an HDF5 group's, in any folder on any system.

    An id of letters, digits, ``_``, ``-`` and dots stays as it is. Other characters are percent-encoded, as
    in URLs; so are a leading dot and ``~``. An id whose name would be too long, or would differ from that of
    another in upper and lower case alone, gets a digest at the end of its name.

    Args:
        clip_ids: The ids, each once.

    Returns:
        One ASCII name for each, all different, whatever the case.
    """
    names, taken = [], set()
    for clip_id in clip_ids:
        name = quote(clip_id, safe="").replace("~", "%7E")
        if name.startswith("."):
            name = f"%2E{name[1:]}"
        if len(name) > _MAX_LENGTH or name.lower() in taken:
            digest = hashlib.sha256(clip_id.encode()).hexdigest()[:_DIGEST_LENGTH]
            # "~" is in no other kind of name.
            name = f"{name[:_MAX_LENGTH]}~{digest}"
        taken.add(name.lower())
        names.append(name)
    return names
