"""How much memory a device has left for rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

# Limits of a control group, version 2 and 1: below which folder, limit, usage, and the counter of what the
# system takes back from the page cache when it is needed.
_GROUPS = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


def free_bytes(device: torch.device, *, root: Path = Path("/")) -> int:
    """Bytes that this process may take on a device: a GPU's, or its share of the machine's.

    The processes that `torchrun` starts on one machine load their rows at the same time, each its own.

    Args:
        device: Where the rows are to live.
        root: Where `/proc` and `/sys` lie.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [_number(root / "proc/meminfo", "MemAvailable:") * 1024, *_free_in_groups(root)]
    return max(min(free), 0) // int(os.environ.get("LOCAL_WORLD_SIZE") or 1)


def _free_in_groups(root: Path) -> Iterator[int]:
    """What each control group of the process leaves, container and batch system included."""
    for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers not in _GROUPS:
            continue
        top, limit, usage, reclaimable = _GROUPS[controllers]
        # In a container the group's own folder is the top one, whatever the place says.
        folder = root / top / place.strip("/")
        for each in (folder, *folder.parents):
            if (each / usage).is_file() and (each / limit).read_text(encoding="utf-8").strip() != "max":
                yield (
                    int((each / limit).read_text(encoding="utf-8"))
                    - int((each / usage).read_text(encoding="utf-8"))
                    + _number(each / "memory.stat", reclaimable)
                )
            if each == root / top:
                break


def _number(path: Path, name: str) -> int:
    """The number behind a name in a table of two columns."""
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    return 0
