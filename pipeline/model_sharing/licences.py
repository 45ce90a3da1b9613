"""Identifiers of licences that the Hugging Face Hub accepts in a model card.

From https://huggingface.co/docs/hub/repositories-licenses, without those that belong to one family of models.
"""

from __future__ import annotations

import difflib
from typing import Final

from tagf_head.errors import HeadError

#: What a card says where its owner says nothing.
UNKNOWN: Final = "unknown"

LICENCES: Final = (
    "apache-2.0",
    "mit",
    "openrail",
    "bigscience-openrail-m",
    "bigcode-openrail-m",
    "afl-3.0",
    "artistic-2.0",
    "bsl-1.0",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "c-uda",
    "cc",
    "cc0-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "ecl-2.0",
    "epl-1.0",
    "epl-2.0",
    "etalab-2.0",
    "eupl-1.1",
    "eupl-1.2",
    "agpl-3.0",
    "gfdl",
    "gpl",
    "gpl-2.0",
    "gpl-3.0",
    "lgpl",
    "lgpl-2.1",
    "lgpl-3.0",
    "isc",
    "lppl-1.3c",
    "ms-pl",
    "mpl-2.0",
    "ncsa",
    "odbl",
    "odc-by",
    "ofl-1.1",
    "osl-3.0",
    "pddl",
    "postgresql",
    "unlicense",
    "wtfpl",
    "zlib",
    UNKNOWN,
)


def check_licence(licence: str) -> str:
    """An identifier as the Hub writes it.

    Raises:
        HeadError: The Hub knows no such identifier.
    """
    identifier = licence.strip().lower()
    if identifier in LICENCES:
        return identifier
    close = difflib.get_close_matches(identifier, LICENCES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "for example mit, apache-2.0 or cc-by-nc-4.0"
    raise HeadError(
        f"--license {licence!r} is no identifier that the Hugging Face Hub accepts; {hint} (terms of your "
        "own: leave it out, and write them into the card)"
    )
