"""The machine: its kind, for the record of numbers that it made, and what it has room for."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from joblib import cpu_count

_CPU_INFO = Path("/proc/cpuinfo")
# Memory of a worker with all networks loaded is 1.5 GB.
_BYTES_PER_WORKER = 2 * 2**30


def machine_type(accelerator: str | None = None) -> str:
    """What bitwise equality holds within: CPU model, architecture and accelerator, no name of a machine.

    Args:
        accelerator: Model of the GPU that computed, None where it was the CPU.
    """
    parts = [_cpu_model(), platform.machine(), accelerator]
    return " / ".join(part for part in parts if part)


def fitting_workers() -> int:
    """Processes with networks of their own: one per core, as far as the memory goes, at least 1."""
    memory_bytes: int = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    num_cores: int = cpu_count()
    return max(1, min(num_cores, memory_bytes // _BYTES_PER_WORKER))


def _cpu_model() -> str:
    """Brand, family, model and stepping: virtual machines often give the same brand to several CPUs."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    model = facts.get("model name") or platform.processor() or "unknown CPU"
    numbers = [facts.get(key) for key in ("cpu family", "model", "stepping")]
    return f"{model} ({'.'.join(number for number in numbers if number)})" if any(numbers) else model
