"""Names of devices as users give them."""

from __future__ import annotations

import torch

from tagf_head.distributed import Processes
from tagf_head.errors import HeadError


def resolve_device(name: str | torch.device, processes: Processes | None = None) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        processes: Those that train together. Each takes the GPU of its own number on its machine, so that
            ``cuda:N`` is no name for all of them.

    Raises:
        HeadError: No such device on this machine, or none of its own for this process.
    """
    if name == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise HeadError(
                f"device {str(name)!r} cannot be used here ({reason}); give 'auto', 'cpu' or 'cuda'"
            ) from error
    if processes is not None and processes.count > 1 and device.type == "cuda":
        return _own_gpu(device, processes)
    return device


def _own_gpu(device: torch.device, processes: Processes) -> torch.device:
    if device.index is not None:
        raise HeadError(
            f"device {str(device)!r} would be that of all {processes.count} processes; give 'cuda', and each "
            "takes a GPU of its own"
        )
    num_gpus = torch.cuda.device_count()
    if processes.local_rank >= num_gpus:
        raise HeadError(
            f"process {processes.rank} is number {processes.local_rank} on its machine, which has {num_gpus} "
            "GPUs; start at most as many processes per machine (torchrun --nproc-per-node)"
        )
    return torch.device("cuda", processes.local_rank)
