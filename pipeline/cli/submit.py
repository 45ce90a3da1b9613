"""`tagf submit`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import options

_template_option = click.option(
    "--template",
    type=options.PATH,
    required=True,
    help="The organisers' sample file of the valence-arousal challenge: which rows, in which order.",
)


@click.group("submit")
def command() -> None:
    """Files for the valence-arousal challenge of ABAW: write one, and check it before it is handed in.

    \b
    Examples:
        tagf submit write predictions/ --template VA_test_set_sample.txt --out submission.txt
        tagf submit check submission.txt --template VA_test_set_sample.txt
    """


@command.command("write")
@click.argument("predictions", type=options.PATH)
@_template_option
@click.option("--out", type=options.OUT, required=True, help="File to write.")
def write(predictions: Path, template: Path, out: Path) -> None:
    """Write a submission from PREDICTIONS: a folder of `tagf predict`, or a table of `tagf evaluate`.

    Frames without a prediction get that of the nearest one, values are clipped to [-1, 1], and both are
    counted. A video without any prediction is an error.

    \b
    Examples:
        tagf submit write predictions/ --template VA_test_set_sample.txt --out submission.txt
        tagf submit write runs/tagf/predictions.parquet --template VA_test_set_sample.txt \\
            --out submission.txt
    """
    from pipeline.submission.abaw_file import write_abaw
    from pipeline.submission.prediction_source import find_predictions

    source = find_predictions(predictions)
    report = write_abaw(template, source.stream(), out, failures=source.failures)
    click.echo(report.message)


@command.command("check")
@click.argument("file", type=options.PATH)
@_template_option
def check(file: Path, template: Path) -> None:
    """Say whether FILE is what the challenge takes, and all that is wrong with it if not.

    \b
    Example:
        tagf submit check submission.txt --template VA_test_set_sample.txt
    """
    from pipeline.submission.errors import SubmissionError
    from pipeline.submission.file_check import check_submission

    found = check_submission(file, template)
    for problem in found.problems:
        click.echo(str(problem))
    for warning in found.warnings:
        click.echo(f"warning: {warning}")
    if found.problems:
        first = found.problems[0]
        many = len(found.problems)
        raise SubmissionError(
            f"submission {str(file)!r} is not what the template asks for: "
            + (str(first) if many == 1 else f"{many} kinds of mistakes, named above, the first in {first}")
        )
    click.echo(f"{file}: {found.num_rows} rows of {found.num_videos} videos, as the template asks for")
