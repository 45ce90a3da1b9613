"""Checkpoint files in the public layouts, matched tensor by tensor with a backbone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pipeline.backbones.backbone import Backbone
from pipeline.errors import WeightsError

# Training scripts keep the tensors under one of these keys, beside the optimiser's state.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# Wrapping modules put their own name before every tensor's; several may be stacked.
_PREFIXES = ("module.", "backbone.", "model.")
# BatchNorm's counter is not used in eval mode, and safetensors conversions often drop it.
_NOT_NEEDED = "num_batches_tracked"
_NUM_SHOWN = 3


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint by name, whatever wraps them. Nothing in the file is executed.

    Raises:
        WeightsError: The file cannot be read, or holds other things than tensors.
    """
    try:
        # weights_only leaves pickle nothing but tensors and plain containers.
        loaded: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # damaged bytes raise almost anything in the unpickler
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{path}: expected a checkpoint of tensors alone, which loads with weights_only=True: {reason}; "
            "download it again, or convert it to .safetensors"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"{path}: expected a mapping of names to tensors, got {_described(loaded)}")
    strangers = [str(name) for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise WeightsError(
            f"{path}: expected a mapping of names to tensors, got other things under {_listed(strangers)}; "
            "save the state_dict of the backbone alone"
        )
    return {str(name): value for name, value in loaded.items()}


def load_tensors(
    backbone: Backbone, tensors: Mapping[str, torch.Tensor], *, where: str, extra_heads: Sequence[str] = ()
) -> None:
    """Copy a checkpoint's tensors into a backbone; every tensor of either must have its counterpart.

    Args:
        backbone: Allocated, its content of no matter.
        tensors: By the checkpoint's own names.
        where: The checkpoint, for messages.
        extra_heads: Prefixes of tensors that belong to a classifier on top of the backbone and are left out.

    Raises:
        WeightsError: Missing, unexpected or mis-shaped tensors, named with both shapes.
    """
    wanted = backbone.state_dict()
    found: dict[str, torch.Tensor] = {}
    unexpected = []
    for full_name, tensor in tensors.items():
        name = _without_prefixes(full_name, wanted)
        if name in found:
            raise WeightsError(
                f"{where}: expected each tensor once, got {name!r} twice, the second as {full_name!r}"
            )
        if name in wanted:
            found[name] = tensor
        elif not name.startswith(tuple(extra_heads)):
            unexpected.append(full_name)
    missing = [name for name in wanted if name not in found and not name.endswith(_NOT_NEEDED)]
    misshaped = [
        f"{name} (expected {tuple(wanted[name].shape)}, got {tuple(tensor.shape)})"
        for name, tensor in found.items()
        if tensor.shape != wanted[name].shape
    ]
    problems = [
        f"{len(names)} {kind}: {_listed(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        if names
    ]
    if problems:
        raise WeightsError(
            f"{where}: expected the {len(wanted)} tensors of {type(backbone).__name__} for input "
            f"{backbone.input_shape}, got {len(tensors)}, with {'; '.join(problems)}; "
            "give the checkpoint of this backbone and input size"
        )
    for name, target in wanted.items():
        if name in found:
            target.copy_(found[name])
        else:
            target.zero_()


def _without_prefixes(name: str, wanted: Iterable[str]) -> str:
    """Strip known prefixes as far as it takes; a name that fits as it is stays."""
    while name not in wanted:
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                name = name.removeprefix(prefix)
                break
        else:
            break
    return name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return ", ".join(names[:_NUM_SHOWN]) + more


def _described(value: object) -> str:
    return "an empty mapping" if isinstance(value, Mapping) else type(value).__name__
