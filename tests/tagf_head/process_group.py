"""Real processes that run a function of a test module, as one gloo group."""

from __future__ import annotations

import importlib.util
import inspect
import multiprocessing
import os
import pickle
import runpy
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

# Long enough for a busy machine; nothing waits for it to pass.
_PATIENCE_S = 180
_RUN_NAME = "__process_of_a_group__"


class ProcessFailedError(Exception):
    """What a process raised, as text."""


def run_processes(
    folder: Path,
    function: Callable[..., Any],
    *arguments: Any,
    count: int = 2,
    environment: dict[str, str] | None = None,
) -> list[Any]:
    """What `function(*arguments)` gives in each of some processes of one group.

    Args:
        folder: An empty folder for what they exchange.
        function: At the top level of its module.
        arguments: For the function; they can be pickled.
        count: Number of processes.
        environment: Variables that name the group, which the function then joins itself; by default each
            process has joined it when the function is called.
    """
    # Forked from a process that has torch loaded and has never computed anything, in a tenth of a second.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "torch.distributed", "tagf_head.training.train"])
    task = (folder, inspect.getfile(function), function.__name__, arguments, count, environment)
    processes = [
        # By path: test folders are not importable by name.
        context.Process(
            target=runpy.run_path,
            args=(__file__,),
            kwargs={"init_globals": {"TASK": (rank, *task)}, "run_name": _RUN_NAME},
        )
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_PATIENCE_S)
        if process.is_alive():
            process.kill()
            process.join()
    return [_result(folder, rank, process.exitcode) for rank, process in enumerate(processes)]


def _result(folder: Path, rank: int, exit_code: int | None) -> Any:
    path = folder / f"{rank}.pickle"
    if not path.exists():
        raise ProcessFailedError(f"process {rank} ended with exit code {exit_code}")
    is_result, value = pickle.loads(path.read_bytes())
    if not is_result:
        raise ProcessFailedError(value)
    return value


def _work(
    rank: int,
    folder: Path,
    module_path: str,
    name: str,
    arguments: tuple[Any, ...],
    count: int,
    environment: dict[str, str] | None,
) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        spec = importlib.util.spec_from_file_location("_module_of_the_test", module_path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if environment is None:
            dist.init_process_group(init_method=f"file://{folder / 'group'}", rank=rank, world_size=count)
        else:
            os.environ |= environment | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        content = (True, getattr(module, name)(*arguments))
        if environment is None:
            dist.destroy_process_group()
    except BaseException:
        content = (False, traceback.format_exc())
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(content))


if __name__ == _RUN_NAME:
    _work(*globals()["TASK"])
