"""Weights of TAGF as others name them, loaded into a head by a map of names.

The head `released` computes what the released code of TAGF (arXiv 2507.02080) does. The weights of that code
are not part of this project, nor is a map of their names. Whoever has both fills one half of the head with
each of the two models, one for valence and one for arousal:

    head = build_head(HeadConfig(name="released"))
    load_named_weights(head.valence, torch.load(path, weights_only=True), {"visual_gate.lstm": "lstm_v", ...})
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from tagf_head.errors import CheckpointError
from tagf_head.layers.regressor import Regressor

#: End of one of our names -> what torch's own modules call the same; several tensors are to be added up.
_TORCH_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "parametrizations.weight.original0": ("weight_g",),
        "parametrizations.weight.original1": ("weight_v",),
        "running_variance": ("running_var",),
        "forwards.input.weight": ("weight_ih_l0",),
        "forwards.input.bias": ("bias_ih_l0", "bias_hh_l0"),
        "forwards.recurrent.weight": ("weight_hh_l0",),
        "backwards.input.weight": ("weight_ih_l0_reverse",),
        "backwards.input.bias": ("bias_ih_l0_reverse", "bias_hh_l0_reverse"),
        "backwards.recurrent.weight": ("weight_hh_l0_reverse",),
    }
)
#: A counter of torch's BatchNorm that no result depends on.
_COUNTER = "num_batches_tracked"


def load_named_weights(head: nn.Module, tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Fill a head with tensors of other names; either all of it is filled or, after an error, nothing.

    What torch's modules name or shape in another way needs no entry of its own: weight norm as `weight_g`
    and `weight_v`, `running_var`, the weights and the two biases of `torch.nn.LSTM`, and dimensions of size
    1. A bias in front of a BatchNorm, which ours leaves out, is subtracted from the running mean instead.

    Args:
        head: For one target, such as a half of `released`.
        tensors: By their names, as in a `state_dict`.
        names: Name of a module or tensor in `head.state_dict()` -> its name in `tensors`. What lies below a
            module is found by itself; the longest name counts.

    Raises:
        CheckpointError: A tensor of the head gets no value or one of another shape, or a tensor is left over.
    """
    state = head.state_dict()
    unknown = [ours for ours in names if not any(_below(ours, name) is not None for name in state)]
    if unknown:
        raise CheckpointError(f"names: {unknown[0]!r} is no module or tensor of the head; correct it")
    filled: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, ours in state.items():
        parts = _parts(name, tensors, names)
        value = torch.stack([tensors[part].to(ours.dtype).squeeze() for part in parts]).sum(dim=0)
        if value.shape != ours.squeeze().shape:
            raise CheckpointError(
                f"{parts[0]!r}: expected the shape {tuple(ours.shape)} of the head's {name!r}, got "
                f"{tuple(tensors[parts[0]].shape)}; build the head with the settings of these weights"
            )
        filled[name] = value.reshape(ours.shape)
        used.update(parts)
    for hidden, mean in _biases_before_batch_norm(head):
        (weight,) = _parts(f"{hidden}.weight", tensors, names)
        bias = f"{weight.removesuffix('weight')}bias"
        if bias in tensors and bias not in used:
            filled[mean] = filled[mean] - tensors[bias].to(filled[mean].dtype).reshape(filled[mean].shape)
            used.add(bias)
    left_over = [name for name in tensors if name not in used and not name.endswith(_COUNTER)]
    if left_over:
        raise CheckpointError(
            f"{left_over[0]!r} and {len(left_over) - 1} more tensors have no place in the head; name them in "
            "the map, or leave out what does not belong to it"
        )
    head.load_state_dict(filled)


def _parts(name: str, tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> tuple[str, ...]:
    """Names in `tensors` of what adds up to a tensor of the head."""
    prefixes = [ours for ours in names if _below(ours, name) is not None]
    if not prefixes:
        raise CheckpointError(f"names: nothing leads to the head's {name!r}; add it, or a module above it")
    prefix = max(prefixes, key=len)
    rest, theirs = _below(prefix, name) or "", names[prefix]
    forms: list[tuple[str, ...]] = [(f"{theirs}.{rest}" if rest else theirs,)]
    for ours, torch_names in _TORCH_NAMES.items():
        above = rest.removesuffix(ours)
        if rest.endswith(ours) and (not above or above.endswith(".")):
            forms.append(tuple(f"{theirs}.{above}{part}" for part in torch_names))
    for parts in forms:
        if all(part in tensors for part in parts):
            return parts
    expected = " or ".join(" + ".join(parts) for parts in forms)
    raise CheckpointError(f"the head's {name!r}: expected a tensor {expected}, got none; correct the names")


def _below(prefix: str, name: str) -> str | None:
    """The rest of a name below a module, empty for the name itself; None elsewhere."""
    if name == prefix:
        return ""
    return name.removeprefix(f"{prefix}.") if name.startswith(f"{prefix}.") else None


def _biases_before_batch_norm(head: nn.Module) -> Iterator[tuple[str, str]]:
    """A linear map without bias and the running mean of the BatchNorm that follows it."""
    for path, module in head.named_modules():
        if isinstance(module, Regressor):
            above = f"{path}." if path else ""
            yield f"{above}hidden", f"{above}batch_norm.running_mean"
