"""Description of the machine a benchmark ran on, and the result files."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path

import torch

from pipeline.machine import machine_type

RESULTS = Path(__file__).parent / "results"


def write_result(name: str, figures: dict[str, object]) -> None:
    """Write `results/NAME.json` and print it: figures, the machine, versions and the day."""
    result = {
        "benchmark": name,
        "command": f"python benchmarks/{name}.py",
        "date": date.today().isoformat(),
        "machine": {
            "type": machine_type(torch.cuda.get_device_name() if torch.cuda.is_available() else None),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        **figures,
    }
    text = json.dumps(result, indent=2) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    print(text, end="")
