"""Every registered head as ONNX, held against PyTorch; `make test` does so for one of them.

    python tests/soak/onnx_campaign.py [HEAD ...]

Each is translated as `tagf export --onnx` does it, with predicted deviations. Prints one line per head; exit
code 1 if one of them failed.
"""

from __future__ import annotations

import sys
import time

import torch

from pipeline.config import ExtractConfig
from pipeline.feature_spec import feature_spec
from pipeline.model_sharing.onnx_head import onnx_head
from tagf_head.checkpoint import Checkpoint, CheckpointInfo
from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.errors import HeadError
from tagf_head.head_presets import PRESETS
from tagf_head.heads import HEADS, build_head

WINDOW = 20
TINY = {
    "visual_features": 16,
    "audio_features": 8,
    "visual_channels": (8, 8),
    "audio_channels": (6,),
    "kernel_size": 3,
    "recurrent_features": 6,
    "attended_features": 4,
    "reference_length": WINDOW,
    "num_layers": 1,
    "num_attention_heads": 2,
    "attention_features": 3,
    "model_features": 8,
    "feedforward_features": 12,
    "regressor_features": 8,
}


def checkpoint_of(name: str) -> Checkpoint:
    settings = {key: value for key, value in TINY.items() if key not in PRESETS[name].fixed}
    head = HeadConfig(name=name, uncertainty=True, **settings)  # type: ignore[arg-type]
    torch.manual_seed(0)
    info = CheckpointInfo(
        train=TrainConfig(head=head, window=WINDOW, stride=12),
        spec=feature_spec(ExtractConfig()),
        features_digest="",
        annotations_digest="",
        versions={},
        key="",
        best_epoch=1,
        validation_ccc={},
        trained_on=(),
    )
    return Checkpoint(head=build_head(head).eval(), info=info)


def main() -> int:
    failed = 0
    for name in sys.argv[1:] or HEADS:
        start = time.perf_counter()
        checkpoint = checkpoint_of(name)
        drawn = torch.get_rng_state()
        before = {key: each.clone() for key, each in checkpoint.head.state_dict().items()}
        try:
            found = onnx_head(checkpoint, description={})
            if not all(torch.equal(each, before[key]) for key, each in checkpoint.head.state_dict().items()):
                raise HeadError("the head itself has changed")
            if not torch.equal(torch.get_rng_state(), drawn):
                raise HeadError("others' random numbers have changed")
        except HeadError as error:
            failed += 1
            print(f"FAILED {name}: {error}", flush=True)
            continue
        frames = "any" if found.num_frames is None else found.num_frames
        print(
            f"{name:18} difference {found.largest_difference:.1e}, frames {frames}, outputs "
            f"{', '.join(found.outputs)}, {time.perf_counter() - start:.1f} s",
            flush=True,
        )
    print(f"{failed} of {len(sys.argv[1:] or HEADS)} heads failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
