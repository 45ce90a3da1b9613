"""The example in a model card of running model.onnx without PyTorch; the tests run it as it stands there."""

from __future__ import annotations

from typing import Final

ONNX_EXAMPLE: Final = '''\
import json

import numpy as np
import onnxruntime
from cache import FeatureStore  # comes with tagf, and imports no PyTorch


def predict(session, visual, audio):
    """Valence and arousal (N, 2) of a clip: windows that overlap are averaged per frame."""
    settings = json.loads(session.get_modelmeta().custom_metadata_map["tagf"])
    window, stride, num_rows = settings["window"], settings["stride"], len(visual)
    last = max(num_rows - window, 0)
    total, count = np.zeros((num_rows, 2)), np.zeros((num_rows, 1))
    for start in [*range(0, last, stride), last]:
        rows = slice(start, start + window)
        padding = (0, max(start + window - num_rows, 0))
        (prediction,) = session.run(
            ["prediction"],
            {
                "visual": np.pad(visual[rows], (padding, (0, 0)))[None].astype(np.float32),
                "audio": np.pad(audio[rows], (padding, (0, 0)))[None].astype(np.float32),
                "frame_mask": (np.arange(window) < num_rows - start)[None],
            },
        )
        total[rows] += prediction[0, : num_rows - start]
        count[rows] += 1
    return total / count


session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
store = FeatureStore.open("data/features.zarr")
for clip_id in store.clip_ids:
    clip = store[clip_id]
    print(clip_id, predict(session, clip.visual[0], clip.audio).mean(axis=0))
'''
