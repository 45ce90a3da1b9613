"""JSON values, and the one text that each of them has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces and ASCII alone, equal for equal values.

    Raises:
        ValueError: `value` is not JSON, or holds a number that is not finite.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"expected JSON values, got {value!r:.200} ({error})") from error
