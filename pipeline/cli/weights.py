"""`tagf weights`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.completed_values import complete_weights
from pipeline.weights.registry import REGISTRY, RegisteredWeights


@click.group("weights")
def command() -> None:
    """Public weights of the backbones: what there is, download, check.

    They lie in $TAGF_WEIGHTS_DIR, else in tagf/weights of the user's cache folder. In params.yaml, name them:
    `weights: vggish-audioset`.

    \b
    Example:
        tagf weights list
        tagf weights fetch vggish-audioset inception-vggface2
        tagf weights check
    """


@command.command("list")
def list_command() -> None:
    """Show the registered weights, and which are at hand.

    \b
    Example:
        tagf weights list
    """
    from pipeline.weights.registry import weights_dir, weights_path

    click.echo(f"Folder: {weights_dir()}")
    for weights in REGISTRY.values():
        at_hand = "at hand" if weights_path(weights).is_file() else "not at hand"
        size = "size not published" if weights.size_bytes is None else f"{weights.size_bytes / 1e6:.0f} MB"
        click.echo(f"\n{weights.name}  ({weights.backbone}, {size}, {at_hand})")
        click.echo(f"  file     {weights.file_name}")
        click.echo(f"  source   {weights.url or 'by hand'}")
        click.echo(f"  sha256   {weights.sha256 or 'not published'}")
        click.echo(f"  licence  {weights.licence}")
        click.echo(f"  notes    {weights.notes}")


@command.command("fetch")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_weights)
def fetch(names: tuple[str, ...]) -> None:
    """Download registered weights; a download that broke off goes on where it was.

    \b
    Example:
        tagf weights fetch resnet50-imagenet-v2
    """
    from pipeline.weights.download import fetch_weights
    from pipeline.weights.registry import weights_path

    for weights in [_registered(name) for name in names]:
        fetched = fetch_weights(weights, weights_path(weights))
        state = "downloaded" if fetched.downloaded else "was there already"
        click.echo(f"{weights.name}: {state}, {fetched.path}")
        click.echo(f"  {_digest_line(weights, fetched.sha256)}")


@command.command("check")
@click.argument("names", metavar="[NAME|FILE]...", nargs=-1, shell_complete=complete_weights)
@click.option("--backbone", help="What the FILEs are for: ir50, resnet50, inception_resnet_v1 or vggish.")
@click.option(
    "--input-size-px", type=click.IntRange(min=1), help="Side of the faces, where not the usual one."
)
def check(names: tuple[str, ...], backbone: str | None, input_size_px: int | None) -> None:
    """Hold weights against what is published about them, and their tensors against the backbone.

    Without a NAME: all registered ones that are at hand.

    \b
    Example:
        tagf weights check vggish-audioset
        tagf weights check my_ir50.pth --backbone ir50
    """
    from pipeline.errors import WeightsError
    from pipeline.weights.check import check_file, check_registered
    from pipeline.weights.registry import weights_dir, weights_path

    at_hand = [name for name, weights in REGISTRY.items() if weights_path(weights).is_file()]
    problems = []
    for name in names or at_hand:
        try:
            if backbone is None:
                weights = _registered(name)
                digest = check_registered(weights)
                line = _digest_line(weights, digest)
            else:
                line = f"sha256:{check_file(Path(name), backbone, input_size_px)}"
            click.echo(f"{name}: fits; {line}")
        except WeightsError as error:
            problems.append(str(error))
            click.echo(f"{name}: {error}")
    if not names and not at_hand:
        click.echo(f"no registered weights in {weights_dir()}; 'tagf weights list' shows which there are")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise WeightsError(problems[0] + more)


def _registered(name: str) -> RegisteredWeights:
    if name in REGISTRY:
        return REGISTRY[name]
    if Path(name).suffix:
        raise click.UsageError(f"{name!r} is no registered name; for a file, add --backbone NAME")
    from cache.suggestion import did_you_mean

    hint = did_you_mean(name, REGISTRY) or f"; registered: {', '.join(REGISTRY)}"
    raise click.UsageError(f"no weights are registered as {name!r}{hint}")


def _digest_line(weights: RegisteredWeights, digest: str) -> str:
    if weights.sha256 is None:
        return f"sha256:{digest} (none is published: this is the file's own, and enters the fingerprint)"
    return f"sha256:{digest}, as published"
