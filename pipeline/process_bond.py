"""Processes that end with the one that started them, also when that one is killed."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn


@lru_cache(maxsize=1)
def end_with_parent(parent: int, clean_up: Callable[[], None] | None = None) -> None:
    """End this process when its parent ends: those of a killed run would stay in memory for minutes.

    Parts are committed whole, so ending anywhere does no harm. Without effect where the system has no
    `pidfd_open` (Linux has).

    Args:
        parent: Process id of the parent.
        clean_up: Called before this process ends, on another thread; must not raise.
    """
    if not hasattr(os, "pidfd_open"):
        return

    def end() -> NoReturn:
        if clean_up is not None:
            clean_up()
        os._exit(1)

    def wait() -> None:
        select.select([descriptor], [], [])
        end()

    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        end()
    except OSError:
        return
    if os.getppid() != parent:  # it has ended, and another process bears its id
        end()
    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
