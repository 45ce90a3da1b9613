"""Where a user's own files lie that outlive a run: work in progress, downloads."""

from __future__ import annotations

import os
from pathlib import Path


def user_folder(variable: str, *names: str) -> Path:
    """A folder that a variable of the environment names, else one below `tagf` in the user's cache folder.

    The cache folder is `$XDG_CACHE_HOME`, or `~/.cache`, by the XDG base directory specification.

    Args:
        variable: The variable; one that is empty counts as not set.
        names: Of the folder below `tagf`, and of those it lies in; none for `tagf` itself.

    Returns:
        An absolute path; nothing is made there.
    """
    if named := os.environ.get(variable):
        return Path(named).expanduser().absolute()
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache_home).expanduser().absolute().joinpath("tagf", *names)


def default_work_dir() -> Path:
    """`$TAGF_WORK_DIR`, else `tagf` in the user's cache folder: one place for all checkouts."""
    return user_folder("TAGF_WORK_DIR")
