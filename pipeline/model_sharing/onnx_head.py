"""A trained head as an ONNX model, which runs without PyTorch, and the proof that it says the same.

Inputs and outputs, of any number of windows B and of frames L:

    visual      (B, L, D_v) float32      rows as the store has them; zeros where no face was found
    audio       (B, L, D_a) float32
    frame_mask  (B, L) bool              false in padding
    prediction  (B, L, 2) float32        valence and arousal
    deviation   (B, L, 2) float32        standard deviations, of a head that predicts them
    gate_NAME   (B, L, M) float32        weights of each gate's candidates

Two things have no translation of PyTorch's own that works for any L, and get one here. An LSTM over the
frames is unrolled there into as many copies as the example has frames; here it is ONNX's LSTM. A stable sort
is ONNX's TopK, which by its definition gives equal values in the order of their places.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tagf_head.checkpoint import Checkpoint
from tagf_head.config import HeadConfig
from tagf_head.errors import HeadError
from tagf_head.heads import Head, build_head

FORMAT = "tagf-onnx-1"
METADATA_KEY = "tagf"

#: Largest difference between the two that passes, absolute and relative: a hundred times what was seen.
_TOLERANCE = 1e-5
_OPSET = 20
_INPUTS = ("visual", "audio", "frame_mask")
_INSTALL = "run \"pip install 'tagf[onnx]'\""


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxHead:
    """A head as ONNX.

    Attributes:
        content: The model's file.
        outputs: Names of what it gives.
        num_frames: Number of frames that every window must have; None where any will do.
        largest_difference: Between its outputs and PyTorch's, over the windows that were tried.
    """

    content: bytes
    outputs: tuple[str, ...]
    num_frames: int | None
    largest_difference: float


def onnx_head(checkpoint: Checkpoint, *, description: Mapping[str, Any]) -> OnnxHead:
    """Translate a head, and hold what onnxruntime makes of it against PyTorch.

    Args:
        checkpoint: On the CPU. A head in float64 is translated in float32.
        description: What the model's metadata says beside inputs and gates; JSON values.

    Raises:
        HeadError: The packages of the extra `onnx` are missing, the head has something that cannot be
            translated, or the translation gives other numbers.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise HeadError(f"--onnx takes {error.name}, which is not installed; {_INSTALL}") from error
    settings = checkpoint.info.train
    head = _copy_of(checkpoint.head, settings.head)
    gates = {f"gate_{name}": list(each) for name, each in head.gate_candidates.items()}
    outputs = ("prediction", *(["deviation"] if settings.head.uncertainty else []), *gates)
    with _clear_error(settings.head.name):
        program = _translated(head, settings.head, outputs, settings.window)
        inputs = {each.name: each.shape for each in program.model.graph.inputs}
        frames = inputs["visual"][1]
        num_frames = frames if isinstance(frames, int) else None
        if isinstance(inputs["visual"][0], int):
            raise ValueError("it is made for one number of windows")
        _forget_origins(program.model)
        program.model.producer_name = "tagf"
        program.model.metadata_props[METADATA_KEY] = json.dumps(
            {
                "format": FORMAT,
                **description,
                "head": settings.head.name,
                "window": settings.window,
                "stride": settings.stride,
                "num_frames": num_frames,
                "gates": gates,
            },
            sort_keys=True,
        )
        content = program.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        largest = 0.0
        for rows in _trial_windows(_stream_widths(settings.head), settings.window, num_frames):
            expected = _outputs_of(head, *(torch.from_numpy(each) for each in rows))
            found = session.run(list(outputs), dict(zip(_INPUTS, rows, strict=True)))
            largest = max(largest, *map(_difference, found, expected))
    if not largest <= _TOLERANCE:
        raise HeadError(
            f"head {settings.head.name!r} as ONNX gives other numbers than PyTorch (by {largest:.2g}, more "
            f"than {_TOLERANCE:g} of their size); share it without --onnx"
        )
    return OnnxHead(content=content, outputs=outputs, num_frames=num_frames, largest_difference=largest)


def _copy_of(head: Head, config: HeadConfig) -> Head:
    """A copy in float32; a deep one's weight-normalised layers would share their classes with the head's."""
    with torch.random.fork_rng(devices=[]):
        copied = build_head(config)
    copied.load_state_dict(head.state_dict())
    return copied.eval()


def _stream_widths(config: HeadConfig) -> tuple[int, int]:
    return config.visual_features, config.audio_features


class _TensorOutputs(nn.Module):
    """A head whose outputs are a tuple, as a translation needs them."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> tuple[Tensor, ...]:
        found = self.head(visual, audio, frame_mask, return_all=True)
        deviation = () if found.deviation is None else (found.deviation,)
        return (found.prediction, *deviation, *found.gates.values())


class _OnnxLstm(nn.Module):
    """`torch.nn.LSTM` of one layer and one direction, written as ONNX's operator."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.hidden_size = lstm.hidden_size
        # Parameters, since a head may ask its first one for the dtype.
        self.input = nn.Parameter(_reordered(lstm.weight_ih_l0)[None])  # (1, 4 H, D)
        self.recurrent = nn.Parameter(_reordered(lstm.weight_hh_l0)[None])  # (1, 4 H, H)
        biases = [_reordered(lstm.bias_ih_l0), _reordered(lstm.bias_hh_l0)]
        self.bias = nn.Parameter(torch.cat(biases)[None])  # (1, 8 H)

    def forward(self, rows: Tensor) -> tuple[Tensor, None]:
        by_frame = rows.transpose(0, 1)  # (L, B, D): onnxruntime has no other layout on the CPU
        (states,) = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (by_frame, self.input, self.recurrent, self.bias),
            attrs={"hidden_size": self.hidden_size},
            dtypes=(rows.dtype,),
            shapes=((by_frame.shape[0], 1, by_frame.shape[1], self.hidden_size),),
            version=_OPSET,
        )
        return states.squeeze(1).transpose(0, 1), None


def _reordered(weight: Any) -> Tensor:
    """Rows of the gates i, f, c, o, as PyTorch has them, in ONNX's order i, o, f, c."""
    inward, forget, new, outward = torch.chunk(weight.detach(), 4)
    return torch.cat([inward, outward, forget, new])


def _translated(head: Head, config: HeadConfig, outputs: tuple[str, ...], window: int) -> Any:
    module = _TensorOutputs(_copy_of(head, config))
    for each in list(module.modules()):
        # The weights as they are used; otherwise every run would compute them anew.
        for name in list(getattr(each, "parametrizations", {})):
            parametrize.remove_parametrizations(each, name)
        for name, child in each.named_children():
            if isinstance(child, nn.LSTM) and _is_plain(child):
                setattr(each, name, _OnnxLstm(child))
    axes: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if config.resolved().time_mixing == "none":
        axes[1] = torch.export.Dim("frames", min=1)
    example = tuple(map(torch.from_numpy, _windows(_stream_widths(config), 3, window, seed=0)))
    with torch.no_grad():
        return torch.onnx.export(
            module,
            example,
            dynamo=True,
            dynamic_shapes=(axes,) * len(_INPUTS),
            input_names=list(_INPUTS),
            output_names=list(outputs),
            opset_version=_OPSET,
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort()},
            verbose=False,
        )


def _is_plain(lstm: nn.LSTM) -> bool:
    """Whether `_OnnxLstm` can stand for it."""
    form = (lstm.num_layers, lstm.bidirectional, lstm.batch_first, lstm.bias, lstm.proj_size)
    return form == (1, False, True, True, 0)


def _stable_sort() -> Callable[..., Any]:
    import onnxscript

    op: Any = onnxscript.opset20

    def sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        key = op.Cast(values, to=1)  # onnxruntime sorts no bytes; to float32
        size = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
        ordered, index = op.TopK(key, size, axis=dim, largest=int(descending), sorted=1)
        return op.CastLike(ordered, values), index

    return sort


def _forget_origins(model: Any) -> None:
    """Remove where in which files of this machine each node comes from."""
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _trial_windows(
    widths: tuple[int, int], window: int, num_frames: int | None
) -> Iterator[tuple[NDArray[Any], ...]]:
    lengths = (window, window) if num_frames else (window, window + 3, max(1, window // 3), 1)
    for seed, (num_windows, length) in enumerate(zip((3, 1, 2, 4), lengths, strict=False), start=1):
        yield _windows(widths, num_windows, length, seed=seed)


def _windows(
    widths: tuple[int, int], num_windows: int, num_frames: int, *, seed: int
) -> tuple[NDArray[Any], ...]:
    """Random windows; some frames are without a face, and behind the last window's middle lies padding."""
    generator = np.random.default_rng(seed)
    visual, audio = (
        generator.standard_normal((num_windows, num_frames, width)).astype(np.float32) for width in widths
    )
    visual[generator.random(visual.shape[:2]) < 0.1] = 0
    frame_mask = np.ones((num_windows, num_frames), np.bool_)
    frame_mask[-1, num_frames // 2 + 1 :] = False
    return visual, audio, frame_mask


def _outputs_of(head: Head, *rows: Tensor) -> list[NDArray[np.float32]]:
    with torch.no_grad():
        return [each.numpy() for each in _TensorOutputs(head)(*rows)]


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference; of numbers above 1, relative to them."""
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), 1)).max())


@contextlib.contextmanager
def _clear_error(name: str) -> Iterator[None]:
    """Quiet the translation's reports of its progress, and name the head where it fails."""
    loggers = [logging.getLogger(each) for each in ("onnxscript", "onnx_ir", "torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except HeadError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise HeadError(
            f"head {name!r} cannot be written as ONNX ({reason}); share it without --onnx"
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
