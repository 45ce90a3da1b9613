"""Where a run's numbers come from: settings, versions, fingerprints, weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open

from cache.file_digest import file_digest
from pipeline.report.errors import ReportError
from tagf_head.run_folder import CHECKPOINT_FILE, CONFIG_FILE

# Key of a checkpoint's metadata, as tagf_head.checkpoint writes it; importing that would import torch.
_METADATA_KEY = "tagf"
_RANDOM = "random:"

Fact = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the report says of where its numbers come from.

    Attributes:
        facts: Name and value, in the order shown.
        settings: Heading and text of each block of settings, in the order shown.
        random_weights: Whether a frozen backbone had random weights; None where that is not known.
        notes: What does not fit together, one sentence each.
    """

    facts: tuple[Fact, ...]
    settings: tuple[Fact, ...]
    random_weights: bool | None
    notes: tuple[str, ...] = ()


def read_description(run: Path) -> Mapping[str, Any] | None:
    """What config.yaml says, or the checkpoint's metadata; those of the first fold where a run has folds.

    Raises:
        ReportError: The file is damaged.
    """
    for folder in (run, *sorted(run.glob("fold-*"))):
        path = folder / CONFIG_FILE
        if path.is_file():
            return _mapping(path, _parse_yaml(path))
        path = folder / CHECKPOINT_FILE
        if path.is_file():
            return _mapping(path, _metadata(path))
    return None


def run_provenance(
    run: Path, description: Mapping[str, Any] | None, metrics: Mapping[str, Any] | None
) -> Provenance:
    """Provenance of a trained or evaluated run.

    Args:
        run: Its folder.
        description: `read_description` of it.
        metrics: Content of metrics.json.
    """
    checkpoint = run / CHECKPOINT_FILE
    digest = file_digest(checkpoint) if checkpoint.is_file() else None
    evaluated = [str(each) for each in (metrics or {}).get("checkpoints_sha256") or ()]
    notes = []
    if digest is not None and evaluated and digest not in evaluated:
        notes.append(
            f"{CHECKPOINT_FILE} is not the checkpoint that was evaluated: the run was trained again since. "
            "Evaluate it again."
        )
    facts: list[Fact] = []
    if digest is not None:
        facts.append(("Checkpoint", f"{checkpoint.name}, SHA-256 {digest}"))
    facts += [("Evaluated checkpoint", f"SHA-256 {each}") for each in evaluated if each != digest]
    facts += _described(description or {})
    random_weights = (metrics or {}).get("random_weights")
    features = (description or {}).get("features")
    if random_weights is None and isinstance(features, Mapping):
        random_weights = features.get("random_weights")
    return Provenance(
        facts=(*facts, _made_with()),
        settings=tuple(_settings(description or {})),
        random_weights=None if random_weights is None else bool(random_weights),
        notes=tuple(notes),
    )


def prediction_provenance(record: Mapping[str, Any]) -> Provenance:
    """Provenance of a folder of predictions.

    Args:
        record: Content of prediction.json.
    """
    facts: list[Fact] = [("Predicted with", f"tagf {record.get('tagf', '?')}")]
    for each in record.get("checkpoints") or ():
        if isinstance(each, Mapping):
            facts.append(
                (
                    "Checkpoint",
                    f"{each.get('head', '?')}, {each.get('path', '?')}, SHA-256 {each.get('sha256', '?')}",
                )
            )
    smoothing = record.get("smoothing")
    facts.append(("Smoothing", "none" if not smoothing else _inline(smoothing)))
    facts.append(("Device", str(record.get("device", "?"))))
    facts += _weights(record.get("extract"))
    facts += _versions(record.get("versions"))
    return Provenance(
        facts=(*facts, _made_with()),
        settings=(("Feature settings", _yaml(record.get("extract") or {})),),
        random_weights=bool(record.get("random_weights")),
    )


def _described(description: Mapping[str, Any]) -> Iterator[Fact]:
    train = description.get("train")
    if isinstance(train, Mapping) and isinstance(train.get("head"), Mapping):
        yield "Head", str(train["head"].get("name", "?"))
    if "seed" in description:
        yield "Seed", str(description["seed"])
    if description.get("fold") is not None:
        yield "Fold", _inline(description["fold"])
    if "best_epoch" in description:
        yield "Best epoch", str(description["best_epoch"])
    if isinstance(description.get("trained_on"), Sequence):
        yield "Trained on", f"{len(description['trained_on'])} clips"
    features = description.get("features")
    if isinstance(features, Mapping):
        yield "Feature fingerprint", str(features.get("fingerprint", "?"))
        yield "Feature store", f"SHA-256 {features.get('digest', '?')}"
        spec = features.get("spec")
        yield from _weights(spec.get("settings") if isinstance(spec, Mapping) else None)
    if "annotations_digest" in description:
        yield "Labels", f"SHA-256 {description['annotations_digest']}"
    yield from _versions(description.get("versions"))


def _weights(settings: Any) -> Iterator[Fact]:
    """The frozen backbones, from settings with dotted or nested keys."""
    if not isinstance(settings, Mapping):
        return
    flat = dict(_flat(settings))
    for stream in ("visual", "audio"):
        if f"{stream}.backbone" in flat:
            weights = str(flat.get(f"{stream}.weights", "?"))
            mark = " (random)" if weights.startswith(_RANDOM) else ""
            yield f"{stream.capitalize()} backbone", f"{flat[f'{stream}.backbone']}, weights {weights}{mark}"


def _versions(versions: Any) -> Iterator[Fact]:
    if isinstance(versions, Mapping) and versions:
        yield "Versions", ", ".join(f"{name} {value}" for name, value in versions.items())


def _settings(description: Mapping[str, Any]) -> Iterator[Fact]:
    if "train" in description:
        yield "Training", _yaml(description["train"])
    features = description.get("features")
    spec = features.get("spec") if isinstance(features, Mapping) else None
    if isinstance(spec, Mapping) and "settings" in spec:
        yield "Features", _yaml(spec["settings"])


def _made_with() -> Fact:
    return "Report made with", f"tagf {version('tagf')}"


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _inline(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False) if not isinstance(value, str) else value


def _yaml(value: Any) -> str:
    return yaml.safe_dump(json.loads(json.dumps(value, default=str)), sort_keys=False, allow_unicode=True)


def _parse_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReportError(
            f"{path} cannot be read as YAML ({' '.join(str(error).split())}); train again, or move the file "
            "away"
        ) from error


def _metadata(path: Path) -> Any:
    try:
        with safe_open(path, framework="np") as file:
            return json.loads((file.metadata() or {}).get(_METADATA_KEY, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ReportError(
            f"{path} is no checkpoint of tagf, or a damaged one ({error}); train again"
        ) from error


def _mapping(path: Path, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ReportError(
            f"{path}: expected a run's settings, got {type(value).__name__}; train again, or move the file "
            "away"
        )
    return value
