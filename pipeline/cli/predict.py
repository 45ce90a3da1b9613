"""`tagf predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from pipeline.prediction.prediction_task import Form, SubjectChoice


@click.command("predict")
@click.argument("media", nargs=-1, type=options.PATH)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    required=True,
    help="A run's best.safetensors, a run's or an exported folder, or OWNER/NAME on the Hugging Face Hub. "
    "Given more than once, the predictions of all are averaged.",
)
@click.option(
    "--out", type=options.OUT, required=True, help="Folder to write: a file per clip, prediction.json."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet", "elan", "praat", "abaw"]),
    default="csv",
    show_default=True,
    help="csv, parquet: a table per clip. elan, praat: CSV and files that these open. abaw: Parquet and "
    "predictions.txt to hand in, in the order of --template.",
)
@click.option("--template", type=options.PATH, help="The organisers' sample file, for --format abaw.")
@click.option(
    "--columns",
    multiple=True,
    help="Further columns (faces,gates,deviation), or another tool's names (openface or py-feat).",
)
@options.smooth_option
@click.option(
    "--subject",
    type=click.Choice(["largest", "longest", "left", "right", "all"]),
    help="Whose face, where there are several; all: a clip per track of a face. By default as in training.",
)
@click.option(
    "--layout",
    type=click.Choice(["videos", "aff-wild2", "manifest"]),
    default="videos",
    show_default=True,
    help="What MEDIA is: files, folders and patterns; the official folders of Aff-Wild2; a table of clips.",
)
@click.option(
    "--features", multiple=True, help="Predict the clips of a feature store (path or URL) instead of MEDIA."
)
@click.option("--params", type=options.PATH, help="YAML file with the extract section of the training.")
@options.weights_option
@click.option("--overlay", is_flag=True, help="Write each video with face, values and circumplex drawn in.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N, or several GPUs: cuda:0,cuda:1; auto takes a GPU where there is one.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Clips at once; by default as many as fit.")
@click.option(
    "--max-failures", type=click.IntRange(min=0), default=0, show_default=True, help="Clips that may fail."
)
@click.option(
    "--replace",
    is_flag=True,
    help="Remove what was predicted into the folder by other settings, or of another file of the same name.",
)
def command(
    media: tuple[Path, ...],
    checkpoints: tuple[str, ...],
    out: Path,
    form: str,
    template: Path | None,
    columns: tuple[str, ...],
    smooth: str | None,
    subject: SubjectChoice | None,
    layout: str,
    features: tuple[str, ...],
    params: Path | None,
    weights: tuple[tuple[str, str], ...],
    overlay: bool,
    device: str,
    workers: int | None,
    max_failures: int,
    replace: bool,
) -> None:
    """Valence and arousal of every frame of MEDIA: files, folders, or patterns like 'videos/*.mp4'.

    Finished clips are kept: an interrupted run continues where it was. docs/prediction.md names the columns.

    \b
    Examples:
        tagf predict video.mp4 --checkpoint runs/tagf/best.safetensors --out predictions
        tagf predict videos 'more/*.mkv' --checkpoint runs/tagf --out predictions --format parquet \\
            --columns faces,gates --smooth median:0.5
        tagf predict video.mp4 --checkpoint runs/tagf --out predictions --overlay --subject all
        tagf predict --features data/features.zarr --checkpoint runs/tagf --out predictions
    """
    if bool(media) == bool(features):
        given = "both" if media else "neither"
        raise click.UsageError(f"expected MEDIA or --features, got {given}; give one of the two")
    if (form == "abaw") != (template is not None):
        raise click.UsageError(
            "--format abaw goes with --template, the organisers' sample file; give both or neither"
        )
    if features:
        _refuse_with_features(layout=layout, subject=subject, params=params, weights=weights, overlay=overlay)
    from pipeline.cli.extract import import_from_here
    from pipeline.prediction.column_names import ColumnChoice, parse_columns
    from pipeline.prediction.prediction_command import PredictionOptions, predict_clips
    from tagf_head.evaluation.smoothing import parse_smoothing

    import_from_here()
    forms: set[Form] = {"overlay"} if overlay else set()
    if form in ("elan", "praat"):
        forms.add("elan" if form == "elan" else "praat")
    record = predict_clips(
        PredictionOptions(
            media=media,
            layout=layout,
            features=features,
            checkpoints=checkpoints,
            out=out,
            columns=parse_columns(columns) if columns else ColumnChoice(),
            table_format="parquet" if form in ("parquet", "abaw") else "csv",
            forms=frozenset(forms),
            smoothing=None if smooth is None else parse_smoothing(smooth),
            subject=subject,
            params=params,
            weights=weights,
            device=device,
            workers=workers,
            max_failures=max_failures,
            replace=replace,
        )
    )
    predicted = [clip for clip in record.clips.values() if clip.status == "predicted"]
    click.echo(f"{out}: {len(predicted)} clips, {sum(clip.num_frames for clip in predicted)} frames")
    if template is not None:
        from pipeline.submission.abaw_file import write_abaw
        from pipeline.submission.prediction_source import find_predictions

        source = find_predictions(out)
        report = write_abaw(template, source.stream(), out / "predictions.txt", failures=source.failures)
        click.echo(report.message)


def _refuse_with_features(**given: object) -> None:
    """Options that say how media are to be read have no meaning for features."""
    wrong = [name for name, value in given.items() if value and (name, value) != ("layout", "videos")]
    if wrong:
        raise click.UsageError(
            f"--{wrong[0]} goes with MEDIA, not with --features, whose clips are extracted already; leave it "
            "out"
        )
