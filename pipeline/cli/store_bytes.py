"""Progress over the bytes of stores that are checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.progress_bar import ProgressBar


@contextmanager
def checking_bar(stores: Sequence[str], *, shown: bool) -> Iterator[ProgressBar]:
    """Progress in bytes, on standard error.

    Args:
        stores: Paths or URLs of what is read as a whole.
        shown: Whether to show it at all.
    """
    from pipeline.progress_bar import ProgressBar

    with ProgressBar("verify", "B", _num_bytes(stores) if shown else None, shown=shown) as bar:
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
