"""Progress over the bytes of stores that are checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


@contextmanager
def checking_bar(stores: Sequence[str], *, shown: bool) -> Iterator[tqdm[Any]]:
    """A bar in bytes on standard error, where that is a terminal.

    Args:
        stores: Paths or URLs of what is read as a whole.
        shown: Whether to show it at all.
    """
    from tqdm import tqdm

    disable = None if shown else True
    with tqdm(desc="verify", unit="B", unit_scale=True, total=None, disable=disable) as bar:
        if not bar.disable:
            bar.reset(total=_num_bytes(stores))
        yield bar


def _num_bytes(stores: Sequence[str]) -> int | None:
    """Bytes by the completion records; None where one cannot be read, which the check itself tells."""
    from cache.errors import CacheError
    from cache.location import location_of
    from cache.record import CompletionRecord

    try:
        records = [CompletionRecord.read(location_of(store)) for store in stores]
    except CacheError:
        return None
    return sum(stored.size_bytes for record in records for stored in record.objects.values())
