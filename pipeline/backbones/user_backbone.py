"""Backbones of the user's own, named `package.module:Class` in the settings.

The class is imported from whatever Python finds, the current directory included, which the `tagf` script does
not search by itself. This module imports no torch; the user's class does, if it needs it.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from cache.file_digest import file_digest
from pipeline.backbones.backbone_facts import BackboneFacts
from pipeline.backbones.clip_stream import ClipStream
from pipeline.errors import WeightsError

if TYPE_CHECKING:
    from pipeline.backbones.backbone import Backbone

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)
_SHAPES = {
    "faces": "(3, side, side)",
    "log_mel": "(1, 96, 64)",
    "waveform": "(samples,)",
}


def is_own(backbone: str) -> bool:
    """Whether a `backbone` setting names a class of the user's."""
    return ":" in backbone


def own_facts(backbone: str) -> BackboneFacts:
    """What a class states about itself.

    Args:
        backbone: `package.module:Class`.

    Raises:
        WeightsError: It cannot be imported, is no backbone, or does not state what it must.
    """
    own = _own_class(backbone)
    num_features = getattr(own, "num_features", None)
    if not isinstance(num_features, int) or isinstance(num_features, bool) or num_features < 1:
        raise WeightsError(
            f"backbone {backbone!r}: expected the class to state num_features, a number of at least 1, got "
            f"{_stated(num_features)}; write for example 'num_features = 512' in the body of the class"
        )
    if issubclass(own, ClipStream):
        return BackboneFacts(takes="clip", num_features=num_features, input_shape=())
    takes, shape = getattr(own, "takes", None), getattr(own, "input_shape", None)
    if takes not in _SHAPES:
        raise WeightsError(
            f"backbone {backbone!r}: expected the class to state takes, one of {', '.join(_SHAPES)}, got "
            f"{_stated(takes)}; write for example 'takes = \"faces\"' in the body of the class"
        )
    if not _fits(shape, takes):
        raise WeightsError(
            f"backbone {backbone!r}: expected the class to state input_shape as {_SHAPES[takes]}, since it "
            f"takes {takes}, got {_stated(shape)}"
        )
    return BackboneFacts(takes=takes, num_features=num_features, input_shape=tuple(shape))


def source_digest(backbone: str) -> str:
    """SHA-256 of the file that the class is defined in, as the fingerprint has it."""
    file = inspect.getsourcefile(_own_class(backbone))
    if file is None:
        raise WeightsError(f"backbone {backbone!r}: expected a class defined in a file, found none")
    return f"sha256:{file_digest(Path(file))}"


def own_backbone(backbone: str, weights: str) -> Backbone:
    """A backbone of the user's, built.

    Raises:
        WeightsError: It is none, or cannot be built.
    """
    facts = own_facts(backbone)
    if facts.takes == "clip":
        raise WeightsError(
            f"backbone {backbone!r}: expected one that takes single inputs, got a stream of whole clips; "
            "name it under extract.streams"
        )
    built: Backbone = _built(backbone, weights)
    return built


def own_clip_stream(backbone: str, weights: str) -> ClipStream:
    """A stream of whole clips, built.

    Args:
        backbone: `package.module:Class`, a subclass of `ClipStream`.
        weights: Its setting.

    Raises:
        WeightsError: It cannot be built.
    """
    built = _built(backbone, weights)
    assert isinstance(built, ClipStream)
    return built


def check_output(built: Backbone, backbone: str, batch_size: int) -> None:
    """Run one batch of zeros and look at what comes out.

    Args:
        built: On the CPU.
        backbone: Its name, for messages.
        batch_size: Inputs per call.

    Raises:
        WeightsError: It fails, or gives rows of another shape or kind, or rows that are not finite.
    """
    import torch

    inputs = torch.zeros(batch_size, *built.input_shape)
    expected = (batch_size, built.num_features)
    try:
        with torch.inference_mode():
            rows: object = built(inputs)
    except Exception as error:
        raise WeightsError(
            f"backbone {backbone!r}: expected rows {expected} for zeros {tuple(inputs.shape)}, got "
            f"{_described(error)}"
        ) from error
    if not isinstance(rows, torch.Tensor) or rows.shape != expected or not rows.is_floating_point():
        got = f"{tuple(rows.shape)} {rows.dtype}" if isinstance(rows, torch.Tensor) else type(rows).__name__
        raise WeightsError(
            f"backbone {backbone!r}: expected rows {expected} of floats for inputs {tuple(inputs.shape)}, "
            f"got {got}; mend its forward, or its num_features"
        )
    if not rows.isfinite().all():
        raise WeightsError(
            f"backbone {backbone!r}: expected finite rows for inputs of zeros, got NaN or infinity; are all "
            "of its weights set?"
        )


def _own_class(backbone: str) -> type[Any]:
    match = _NAME.fullmatch(backbone)
    if match is None:
        raise WeightsError(f"backbone {backbone!r}: expected 'package.module:Class'")
    module_name, class_name = match.groups()
    # At the end: a file of the user's shall not take the place of an installed module.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise WeightsError(f"backbone {backbone!r}: importing it raised {_described(error)}") from error
        raise WeightsError(
            f"backbone {backbone!r}: no module {error.name!r} among the installed ones and in {os.getcwd()}; "
            "run tagf in the folder that holds it, or install it"
        ) from error
    except Exception as error:
        raise WeightsError(f"backbone {backbone!r}: importing it raised {_described(error)}") from error
    own = getattr(module, class_name, None)
    if own is None:
        raise WeightsError(f"backbone {backbone!r}: {module.__file__} has no {class_name!r}")
    if isinstance(own, type) and (issubclass(own, ClipStream) or _is_backbone(own)):
        return own
    raise WeightsError(
        f"backbone {backbone!r}: expected a subclass of pipeline.backbones.backbone.Backbone or "
        f"pipeline.backbones.clip_stream.ClipStream, got {_stated(own)}"
    )


def _is_backbone(own: type[Any]) -> bool:
    # A class whose module did not import torch is none.
    base = sys.modules.get("pipeline.backbones.backbone")
    return base is not None and issubclass(own, base.Backbone)


def _built(backbone: str, weights: str) -> Any:
    try:
        return _own_class(backbone)(weights)
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            f"backbone {backbone!r}: building it with weights {weights!r} raised {_described(error)}"
        ) from error


def _fits(shape: Any, takes: str) -> TypeGuard[tuple[int, ...]]:
    if not isinstance(shape, (tuple, list)) or not all(isinstance(size, int) and size > 0 for size in shape):
        return False
    if takes == "faces":
        return len(shape) == 3 and shape[0] == 3 and shape[1] == shape[2]
    return tuple(shape) == (1, 96, 64) if takes == "log_mel" else len(shape) == 1


def _stated(value: object) -> str:
    return "nothing" if value is None else repr(value)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
