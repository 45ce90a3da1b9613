"""Names of devices as users give them."""

from __future__ import annotations

import torch

from tagf_head.errors import HeadError


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of a name; ``auto`` is the first GPU where there is one.

    Raises:
        HeadError: No such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise HeadError(
            f"device {str(name)!r} cannot be used here ({reason}); give 'auto', 'cpu' or 'cuda'"
        ) from error
    return device
