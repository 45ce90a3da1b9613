"""A run as a folder that others can use: weights, settings, metrics, a model card, and ONNX where wanted."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cache.destination import check_outside_stores
from pipeline.model_sharing import card_sections
from pipeline.model_sharing.card_metadata import card_metadata
from pipeline.model_sharing.licences import UNKNOWN, check_licence
from pipeline.model_sharing.model_source import CHECKSUM_FILE, MODEL_FILE
from pipeline.model_sharing.settings_file import settings_file
from pipeline.model_sharing.shared_model import SharedModel, read_model
from tagf_head.errors import HeadError
from tagf_head.run_folder import CHECKPOINT_FILE, CONFIG_FILE, METRICS_FILE, write_file

CARD_FILE: Final = "README.md"
ONNX_FILE: Final = "model.onnx"
_FILES = (MODEL_FILE, ONNX_FILE, CONFIG_FILE, METRICS_FILE, CARD_FILE, CHECKSUM_FILE)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedModel:
    """What was written.

    Attributes:
        out: The folder.
        files: Its files, by name, with their sizes in bytes.
        random_weights: Whether the features came from backbones with random weights.
        evaluated: Whether the card has metrics.
        onnx_difference: Largest difference of the ONNX model's outputs from PyTorch's; None without one.
    """

    out: Path
    files: dict[str, int]
    random_weights: bool
    evaluated: bool
    onnx_difference: float | None


def export_model(
    run: Path,
    out: Path,
    *,
    onnx: bool = False,
    name: str | None = None,
    licence: str = UNKNOWN,
    dataset: str | None = None,
    replace: bool = False,
) -> ExportedModel:
    """Write a folder that `find_checkpoint` takes, here or from the Hugging Face Hub.

    Everything is made before the first file is written, and the checksums come last.

    Args:
        run: A run's folder or its checkpoint. metrics.json beside it goes into the card.
        out: Folder to write.
        onnx: Whether to write the head as ONNX, too.
        name: What the card calls the model; None for the name of the run's folder.
        licence: Identifier of the model's licence, as the Hub writes it.
        dataset: Name of what it was trained and evaluated on.
        replace: Whether files of a former export may be replaced; others are left alone.

    Raises:
        CheckpointError: The run has no checkpoint that can be read.
        HeadError: The metrics are of another checkpoint, the head cannot be written as ONNX, the licence is
            none, or something lies at `out`.
        CacheError: `out` lies inside a feature store.
    """
    _check_out(run, out, replace=replace)
    model = read_model(run, name=name, licence=check_licence(licence), dataset=dataset)
    files = {MODEL_FILE: model.path.read_bytes(), CONFIG_FILE: settings_file(model.info)}
    if model.metrics is not None:
        files[METRICS_FILE] = model.path.with_name(METRICS_FILE).read_bytes()
    parity, difference = "", None
    if onnx:
        from pipeline.model_sharing.onnx_head import onnx_head

        found = onnx_head(
            model.checkpoint,
            description={
                "checkpoint_sha256": model.sha256,
                "features_fingerprint": model.info.spec.fingerprint,
                "random_weights": model.info.random_weights,
            },
        )
        files[ONNX_FILE], difference = found.content, found.largest_difference
        parity = card_sections.onnx_parity(difference, found.num_frames)
    digests = {each: hashlib.sha256(content).hexdigest() for each, content in files.items()}
    files[CARD_FILE] = _card(model, digests, parity).encode()
    digests[CARD_FILE] = hashlib.sha256(files[CARD_FILE]).hexdigest()
    files[CHECKSUM_FILE] = "".join(f"{digest}  {each}\n" for each, digest in digests.items()).encode()
    # Without checksums first: those of a former export would not fit the files that come now.
    for former in (CHECKSUM_FILE, *_FILES):
        if former == CHECKSUM_FILE or former not in files:
            (out / former).unlink(missing_ok=True)
    for each, content in files.items():
        write_file(out / each, content)
    return ExportedModel(
        out=out,
        files={each: len(content) for each, content in files.items()},
        random_weights=model.info.random_weights,
        evaluated=model.metrics is not None,
        onnx_difference=difference,
    )


def _card(model: SharedModel, digests: dict[str, str], parity: str) -> str:
    has_onnx = bool(parity)
    sections = [
        card_metadata(model, has_onnx=has_onnx),
        card_sections.summary(model),
        card_sections.usage(model, has_onnx=has_onnx),
        *([parity] if has_onnx else []),
        card_sections.intended_use(),
        card_sections.data(model),
        card_sections.evaluation(model),
        card_sections.limits(model),
        card_sections.licences(model),
        card_sections.provenance(model),
        card_sections.checksums(digests),
    ]
    return "\n".join(sections)


def _check_out(run: Path, out: Path, *, replace: bool) -> None:
    check_outside_stores(out)
    if out.exists() and not out.is_dir():
        raise HeadError(f"{out} is a file; give a folder for the model")
    folder = run if run.is_dir() else run.parent
    if out.is_dir() and os.path.realpath(out) == os.path.realpath(folder):
        raise HeadError(f"{out} is the run itself; export it to another folder")
    there = sorted(each.name for each in out.iterdir()) if out.is_dir() else []
    ours = [each for each in there if each in _FILES]
    if replace and (CHECKPOINT_FILE in there or (ours and MODEL_FILE not in there)):
        what = f"a run ({CHECKPOINT_FILE})" if CHECKPOINT_FILE in there else f"{ours[0]} without {MODEL_FILE}"
        raise HeadError(
            f"{out}: expected a former export, whose files --replace would replace, found {what}; choose "
            "another folder"
        )
    if there and not replace:
        raise HeadError(
            f"{out}: expected nothing there, got {', '.join(there[:3])}{', ...' if there[3:] else ''}; add "
            "--replace to replace a former export (other files are left alone), or choose another folder"
        )
