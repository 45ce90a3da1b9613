"""`tagf doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.cli import options
from pipeline.config import ExtractConfig


@click.command("doctor")
@options.params_option
@options.device_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--no-clip", is_flag=True, help="Leave out the trial of a clip, which takes a minute.")
def command(params: Path | None, device: str, as_json: bool, no_clip: bool) -> None:
    """Print what a bug report needs, and try one small clip.

    Says which versions, decoders, devices and weights there are, draws a clip of one second, extracts it in a
    temporary folder and says how long each step took. Exit code 1 if something does not work.

    \b
    Example:
        tagf doctor --params params.yaml
    """
    from cache.settings import load_section
    from pipeline.doctor import diagnose
    from pipeline.errors import PipelineError

    config = load_section(params, "extract", ExtractConfig) if params else ExtractConfig()
    diagnosis = diagnose(config, device=device, try_clip=not no_clip)
    click.echo(json.dumps(diagnosis.to_mapping(), indent=1) if as_json else diagnosis.to_text())
    if diagnosis.problems:
        count = len(diagnosis.problems)
        raise PipelineError(
            f"{count} problem{'s' if count > 1 else ''} found, the first: {diagnosis.problems[0]}"
        )
