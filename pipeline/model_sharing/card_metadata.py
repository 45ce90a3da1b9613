"""The part of a model card that machines read: YAML, as the Hugging Face Hub has it.

Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipeline.model_sharing.shared_model import SharedModel

# The Hub has no task for numbers per frame of a video; this one is nearest.
_TASK = "video-classification"
_TASK_NAME = "Valence and arousal estimation"
_TAGS = ("valence-arousal", "emotion-recognition", "affective-computing", "audio-visual", "safetensors")
_NO_DATASET = "unnamed corpus"


def card_metadata(model: SharedModel, *, has_onnx: bool) -> str:
    """Between two lines of dashes."""
    content: dict[str, Any] = {
        "license": model.licence,
        "library_name": "tagf",
        "pipeline_tag": _TASK,
        "tags": [
            *_TAGS,
            *(["onnx"] if has_onnx else []),
            *(["random-weights"] if model.info.random_weights else []),
        ],
    }
    results = _results(model)
    if results:
        content["metrics"] = ["ccc", "pearsonr", "rmse", "mae"]
        content["model-index"] = [{"name": model.name, "results": results}]
    document = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return f"---\n{document}---\n"


def _results(model: SharedModel) -> list[dict[str, Any]]:
    metrics = model.metrics
    if metrics is None:
        return []
    found = [
        {"type": kind, "name": f"{name.upper()}, {target}", "value": metrics[target][name]}
        for target in ("valence", "arousal")
        for kind, name in (("ccc", "ccc"), ("pearsonr", "pcc"), ("rmse", "rmse"), ("mae", "mae"))
        if metrics[target][name] is not None
    ]
    if metrics["mean_ccc"] is not None:
        found.insert(0, {"type": "ccc", "name": "CCC, mean", "value": metrics["mean_ccc"]})
    dataset = model.dataset or _NO_DATASET
    return [
        {
            "task": {"type": _TASK, "name": _TASK_NAME},
            "dataset": {
                "type": re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-") or "corpus",
                "name": dataset,
                "split": str(metrics["split"]),
            },
            "metrics": found,
        }
    ] * bool(found)
