"""Free memory, from files as the system shows them in a machine, a container and a batch system's job."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tagf_head.data.free_memory import free_bytes

CPU = torch.device("cpu")
GIB = 2**30


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB free and no limits."""
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    meminfo = f"MemTotal: {16 * 2**20} kB\nMemFree: {2**20} kB\nMemAvailable:   {8 * 2**20} kB\n"
    write(tmp_path, {"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n"})
    return tmp_path


def group(folder: str, limit: str, used: int, reclaimable: int) -> dict[str, str]:
    """A control group of version 2."""
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 17\nactive_file 5\ninactive_file {reclaimable}\n",
    }


def test_a_machine_gives_what_is_available(machine: Path) -> None:
    assert free_bytes(CPU, root=machine) == 8 * GIB


def test_a_containers_limit(machine: Path) -> None:
    write(machine, group("sys/fs/cgroup", str(4 * GIB), 3 * GIB, GIB // 2))
    assert free_bytes(CPU, root=machine) == GIB + GIB // 2


def test_a_group_without_a_limit(machine: Path) -> None:
    write(machine, group("sys/fs/cgroup", "max", 3 * GIB, 0))
    assert free_bytes(CPU, root=machine) == 8 * GIB


def test_the_tightest_of_nested_groups_counts(machine: Path) -> None:
    write(machine, {"proc/self/cgroup": "0::/slurm/job7/step0\n"})
    write(machine, group("sys/fs/cgroup/slurm/job7/step0", "max", 0, 0))
    write(machine, group("sys/fs/cgroup/slurm/job7", str(6 * GIB), GIB, 0))
    write(machine, group("sys/fs/cgroup/slurm", str(7 * GIB), GIB, 0))
    assert free_bytes(CPU, root=machine) == 5 * GIB


def test_groups_of_version_1(machine: Path) -> None:
    write(machine, {"proc/self/cgroup": "9:cpu,cpuacct:/x\n4:memory:/job\n0::/\n"})
    write(
        machine,
        {
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{3 * GIB}\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory/job/memory.stat": f"inactive_file 9\ntotal_inactive_file {GIB}\n",
        },
    )
    assert free_bytes(CPU, root=machine) == 2 * GIB


def test_processes_of_one_machine_share_it(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_bytes(CPU, root=machine) == 2 * GIB


def test_a_group_beyond_its_limit_has_nothing_free(machine: Path) -> None:
    write(machine, group("sys/fs/cgroup", str(GIB), 2 * GIB, 0))
    assert free_bytes(CPU, root=machine) == 0


def test_this_machine() -> None:
    assert 0 < free_bytes(CPU) < 2**50
