"""Processes that end with another one, also when that one is killed."""

from __future__ import annotations

import os
import select
import threading
from functools import lru_cache


@lru_cache(maxsize=1)
def end_with(process_id: int) -> None:
    """End this process when another one ends: workers of a killed run would stay in memory for minutes.

    Parts are committed whole, so ending anywhere does no harm. Without effect where the system has no
    `pidfd_open` (Linux has).

    Args:
        process_id: Of the other one.
    """
    if not hasattr(os, "pidfd_open"):
        return

    def wait() -> None:
        select.select([descriptor], [], [])
        os._exit(1)

    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        os._exit(1)
    except OSError:
        return
    threading.Thread(target=wait, name="end-with-other", daemon=True).start()
