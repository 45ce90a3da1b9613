"""The kind of machine that made some numbers, for the record."""

from __future__ import annotations

import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def machine_type(accelerator: str | None = None) -> str:
    """What bitwise equality holds within: CPU model, architecture and accelerator, no name of a machine.

    Args:
        accelerator: Model of the GPU that computed, None where it was the CPU.
    """
    parts = [_cpu_model(), platform.machine(), accelerator]
    return " / ".join(part for part in parts if part)


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
