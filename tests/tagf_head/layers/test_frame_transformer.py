"""The transformer over frames: one computation in training and evaluation, for any mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tagf_head.errors import HeadError
from tagf_head.layers.frame_transformer import FrameTransformer

D, L = 8, 12


def make_transformer(*, dropout: float = 0.0, positions: bool = True) -> FrameTransformer:
    torch.manual_seed(0)
    return FrameTransformer(
        D, num_layers=2, num_heads=2, feedforward_features=10, dropout=dropout, positions=positions
    ).double()


def make_frames(*lengths: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(len(lengths), L, D, generator=generator, dtype=torch.float64)
    return frames, torch.arange(L) < torch.tensor(lengths)[:, None]


def test_evaluation_without_gradients_takes_no_other_way() -> None:
    transformer, (frames, mask) = make_transformer(), make_frames(12, 5, 0)
    expected = transformer(frames, mask)
    transformer.eval()
    assert torch.equal(transformer(frames, mask), expected)
    with torch.inference_mode():
        measured = transformer(frames, mask)
    assert measured.shape == frames.shape
    assert torch.isfinite(measured).all()
    torch.testing.assert_close(measured, expected, rtol=0, atol=1e-12)


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, *, attn_mask: Tensor, dropout_p: float
) -> Tensor:
    """Attention with a softmax that gives NaN for nothing, as not every kernel of torch's does."""
    assert dropout_p == 0
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    scores = scores.masked_fill(~attn_mask, -torch.inf)
    weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    return weights / weights.sum(dim=-1, keepdim=True) @ value


def test_any_kernel_of_attention_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    transformer, (frames, mask) = make_transformer(), make_frames(12, 5, 0)
    expected = transformer(frames, mask)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", plain_attention)
    torch.testing.assert_close(transformer(frames, mask), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_a_window_of_padding_gives_no_nan(training: bool) -> None:
    transformer = make_transformer(dropout=0.3).train(training)
    frames, mask = make_frames(0, 0)
    frames.requires_grad_()
    encoded = transformer(frames, mask)
    assert torch.isfinite(encoded).all()
    encoded.masked_fill(~mask[..., None], 0).sum().backward()
    assert frames.grad is not None
    assert (frames.grad == 0).all()
    assert all((parameter.grad == 0).all() for parameter in transformer.parameters())


@pytest.mark.parametrize("positions", [True, False])
def test_padding_has_no_influence_wherever_it_lies(positions: bool) -> None:
    transformer = make_transformer(positions=positions)
    frames, _ = make_frames(7)
    valid = frames[:, :7]
    expected = transformer(valid, torch.ones(1, 7, dtype=torch.bool))
    mask = torch.zeros(1, L, dtype=torch.bool)
    mask[0, [1, 2, 4, 7, 8, 9, 11]] = True
    spread = torch.full_like(frames, 1e3)
    spread[mask] = valid[0]
    torch.testing.assert_close(transformer(spread, mask)[mask], expected[0], rtol=0, atol=1e-12)


def test_only_positions_tell_the_order_of_frames() -> None:
    frames, mask = make_frames(12)
    for positions in (True, False):
        transformer = make_transformer(positions=positions)
        turned = transformer(frames.flip(1), mask).flip(1)
        same = torch.allclose(turned, transformer(frames, mask), rtol=0, atol=1e-12)
        assert same is not positions


def test_layers_start_from_weights_of_their_own() -> None:
    first, second = make_transformer().layers
    assert not torch.equal(first.hidden.weight, second.hidden.weight)
    assert not torch.equal(first.query.weight, second.query.weight)


def test_every_number_counts() -> None:
    transformer, (frames, mask) = make_transformer(), make_frames(12, 5)
    transformer(frames, mask)[mask].sigmoid().sum().backward()
    for name, parameter in transformer.named_parameters():
        assert parameter.grad is not None
        if "hidden" in name or name.endswith("output.weight"):  # ReLU may leave some out for these frames
            assert parameter.grad.abs().max() > 1e-9, name
        else:
            assert parameter.grad.abs().min() > 1e-9, name


def test_like_that_of_torch() -> None:
    """With equal weights, `torch.nn.TransformerEncoderLayer` computes the same in training."""
    transformer, (frames, mask) = make_transformer(positions=False), make_frames(12, 5)
    expected = frames
    for layer in transformer.layers:
        theirs = torch.nn.TransformerEncoderLayer(D, 2, 10, dropout=0.0, batch_first=True).double()
        ours = [layer.query, layer.key, layer.value]
        biases = [torch.zeros(D).double() if each.bias is None else each.bias for each in ours]
        names = {
            "linear1": "hidden",
            "linear2": "output",
            "norm1": "attended_norm",
            "norm2": "output_norm",
            "self_attn.out_proj": "attended",
        }
        state = {
            f"{name}.{of}": getattr(layer, our).state_dict()[of]
            for name, our in names.items()
            for of in ("weight", "bias")
        }
        state["self_attn.in_proj_weight"] = torch.cat([each.weight for each in ours])
        state["self_attn.in_proj_bias"] = torch.cat(biases)
        theirs.load_state_dict(state)
        expected = theirs(expected, src_key_padding_mask=~mask)
    torch.testing.assert_close(transformer(frames, mask)[mask], expected[mask], rtol=0, atol=1e-9)


def test_a_width_that_heads_cannot_share() -> None:
    with pytest.raises(
        HeadError, match="model_features must be a multiple of num_attention_heads, got 8 and 3"
    ):
        FrameTransformer(8, num_layers=1, num_heads=3, feedforward_features=4, dropout=0.0, positions=False)
