"""Which devices a `--device` setting means, without importing torch where there is no GPU."""

from __future__ import annotations

from pathlib import Path

_DRIVER = Path("/dev/nvidiactl")


def gpu_devices(device: str) -> tuple[str, ...]:
    """The GPUs that a setting names.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N`, or several GPUs separated by commas.

    Returns:
        Names that torch knows; none where the CPU is to compute.

    Raises:
        ExtractionError: A device that is not known, or that this machine lacks.
    """
    if device == "cpu" or (device == "auto" and not _DRIVER.exists()):
        return ()
    from pipeline.models import resolve_device

    places = [resolve_device(name.strip()) for name in device.split(",")]
    return tuple(str(place) for place in places if place.type != "cpu")


def accelerator_name(devices: tuple[str, ...]) -> str | None:
    """Model of the GPUs; None without any."""
    if not any(device.startswith("cuda") for device in devices):
        return None
    import torch

    return torch.cuda.get_device_name(devices[0])
