"""`tagf export`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import options


@click.command("export")
@click.argument("run", type=options.PATH)
@click.option("--out", type=options.OUT, required=True, help="Folder to write.")
@click.option(
    "--onnx",
    is_flag=True,
    help="Write model.onnx as well, once onnxruntime has given the same numbers as PyTorch.",
)
@click.option("--name", help="What the card calls the model; by default the name of the run's folder.")
@click.option("--dataset", help="Name of what it was trained and evaluated on, for the card.")
@click.option(
    "--license",
    "licence",
    default="unknown",
    help="Identifier of the model's licence, such as mit or cc-by-nc-4.0; without it, the card says that "
    "none is stated.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Replace the files of a former export at --out; other files there are left alone.",
)
def command(
    run: Path,
    out: Path,
    onnx: bool,
    name: str | None,
    dataset: str | None,
    licence: str,
    replace: bool,
) -> None:
    """Write the run RUN as a folder to share: weights, settings, model card, checksums.

    RUN is a run's folder or its best.safetensors. metrics.json beside it gives the card its numbers. The
    folder names no clip and no person, and `--checkpoint` takes it, here or as OWNER/NAME from the Hugging
    Face Hub (docs/sharing.md).

    \b
    Examples:
        tagf export runs/tagf --out shared/tagf
        tagf export runs/tagf --out shared/tagf-onnx --onnx --name "TAGF on my corpus" --license cc-by-nc-4.0
    """
    from pipeline.model_sharing.export import export_model

    exported = export_model(run, out, onnx=onnx, name=name, licence=licence, dataset=dataset, replace=replace)
    for file, size in exported.files.items():
        click.echo(f"{exported.out / file}  {_shown_size(size)}")
    if exported.onnx_difference is not None:
        click.echo(f"onnxruntime and PyTorch differ by at most {exported.onnx_difference:.1e}")
    if exported.random_weights:
        click.echo(
            "warning: the frozen backbones have random weights, and the card says so: the model is good for "
            "trying the software alone",
            err=True,
        )
    if not exported.evaluated:
        click.echo(
            f"note: no metrics.json beside the checkpoint, so the card has no test metrics; 'tagf evaluate "
            f"--out {(run if run.is_dir() else run.parent) / 'metrics.json'}' writes it",
            err=True,
        )
    click.echo(f"to share it: hf upload OWNER/NAME {exported.out}")


def _shown_size(size: int) -> str:
    return f"{size} B" if size < 1024 else f"{size / 1024:.0f} KiB"
