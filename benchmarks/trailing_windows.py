"""What it costs to know nothing of what follows: the CCC of trailing windows against `tagf evaluate`'s.

    python benchmarks/trailing_windows.py FEATURES ANNOTATIONS CHECKPOINT...

`tagf evaluate` averages overlapping windows, in which most frames have others behind them. `tagf live`
answers each frame as the last one of its window. Both are measured here on the same rows of the test split.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import write_result
from numpy.typing import NDArray

from cache import FeatureStore
from pipeline.live.live_head import trailing_window
from pipeline.live.look_ahead import look_ahead_share
from pipeline.live.row_maker import LiveRow
from tagf_head.annotations import load_annotations
from tagf_head.checkpoint import Checkpoint, load_checkpoint
from tagf_head.config import TARGETS, EvaluateConfig
from tagf_head.data.split_data import load_split
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.evaluation.metrics import regression_metrics


def trailing_answers(checkpoint: Checkpoint, store: FeatureStore, clip_id: str) -> NDArray[np.float64]:
    """Valence and arousal of each row, (N, 2), known from it and the rows before it."""
    clip = store[clip_id]
    center = list(store.spec.stream("visual").views or ()).index("center")
    window, answers = trailing_window(checkpoint), []
    for visual, audio in zip(clip.visual[center], clip.audio[:], strict=True):
        window.push(LiveRow(visual=visual, audio=audio, face=None))
        answers.append(window.answer())
    return np.array(answers)


def main() -> None:
    features, annotations, *paths = (Path(word) for word in sys.argv[1:])
    torch.set_num_threads(1)
    store = FeatureStore.open(features)
    heads: dict[str, object] = {}
    for path in paths:
        checkpoint = load_checkpoint(path)
        labels = checkpoint.info.train.labels
        data = load_split(store, load_annotations(annotations, labels.gold_standard), "test", labels=labels)
        answers = np.concatenate([trailing_answers(checkpoint, store, clip_id) for clip_id in data.clip_ids])
        live = {
            name: regression_metrics(answers[:, column], data.label[:, column], data.label_mask)
            for column, name in enumerate(TARGETS)
        }
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "metrics.json"
            evaluation = evaluate_head(features, annotations, path, out, config=EvaluateConfig(split="test"))
        settings = checkpoint.info.train
        heads[path.parent.name] = {
            "head": settings.head.name,
            "causal": settings.head.resolved().causal,
            "look_ahead_share": round(look_ahead_share(checkpoint), 3),
            "evaluate": {name: round(evaluation.metrics[name]["ccc"], 3) for name in TARGETS},
            "trailing": {name: round(live[name]["ccc"], 3) for name in TARGETS},
        }
    write_result("trailing_windows", {"window": settings.window, "frames": len(answers), "heads": heads})


if __name__ == "__main__":
    main()
