"""The `tagf` command.

Subcommands live in modules of their own and are imported when called, so that `tagf --help` does not wait for
torch. Exit codes: 0 full success, 1 a failure named on one line of standard error, 2 wrong usage.
"""

from __future__ import annotations

import importlib
import sys
import traceback

import click

from pipeline.cli.suggestions import choice_hint, section_hint

# command name -> (module, one line for `tagf --help`, which must not import the module)
_COMMANDS = {
    "sample-corpus": (
        "pipeline.cli.sample_corpus",
        "Write the sample corpus: drawn, speaking people with labels.",
    ),
    "extract": ("pipeline.cli.extract", "Stage one: media to a feature store, once."),
    "train": ("pipeline.cli.train", "Stage two: train one head from a feature store."),
    "evaluate": ("pipeline.cli.evaluate", "CCC and predictions of a checkpoint on one split."),
    "compare": ("pipeline.cli.compare", "Several heads and seeds on one store: one table, one plot."),
    "robustness": (
        "pipeline.cli.robustness",
        "CCC and gates of checkpoints under shifted, noisy and missing signals.",
    ),
    "predict": ("pipeline.cli.predict", "Valence and arousal for any video: media to a table, in one pass."),
    "submit": ("pipeline.cli.submit", "Files for the ABAW challenge: write, check."),
    "live": ("pipeline.cli.live", "Valence and arousal of a camera, or of a file at its own pace."),
    "report": ("pipeline.cli.report", "One page that shows what a model did, video beside the traces."),
    "export": ("pipeline.cli.export", "A folder to share a model: weights, card, ONNX."),
    "results": ("pipeline.cli.results", "One table over several evaluated runs."),
    "cache": ("pipeline.cli.cache", "Feature stores: info, verify, merge, export, import."),
    "weights": ("pipeline.cli.weights", "Pretrained backbones: list, fetch, check."),
    "doctor": ("pipeline.cli.doctor", "What a bug report needs; tries one clip."),
    "completion": ("pipeline.cli.completion", "Shell completion for bash, zsh and fish."),
    "plot-page": ("pipeline.cli.plot_page", "Write the page in which `dvc plots show` works offline."),
}


class _CommandGroup(click.Group):
    """A group that imports a subcommand's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from cache.suggestion import did_you_mean

            hint = did_you_mean(args[0], _COMMANDS) or f"; commands: {', '.join(_COMMANDS)}"
            raise click.UsageError(f"'{args[0]}' is not a command{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.version_option(package_name="tagf")
@click.pass_context
def tagf(ctx: click.Context, debug: bool) -> None:
    """Valence and arousal from face and voice, in two stages with a feature store between them.

    \b
    Example:
        tagf sample-corpus data/corpus
        tagf extract --source data/corpus/videos --layout videos --out data/features.zarr
        tagf train --features data/features.zarr --annotations data/corpus/annotations --out runs/tagf
    """
    ctx.obj = debug


def main() -> None:
    """Run `tagf`; every failure ends in one line and an exit code."""
    debug = "--debug" in sys.argv[1:2]
    try:
        tagf.main(prog_name="tagf", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tagf"
        message = _flat(error.format_message()).rstrip(".")
        click.echo(f"{command}: {message}{choice_hint(error)}; see '{command} --help'", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"tagf: interrupted{_what_is_kept(sys.argv[1:])}", err=True)
        sys.exit(130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        click.echo(f"tagf: {_one_line(error)}", err=True)
        sys.exit(1)


def _what_is_kept(words: list[str]) -> str:
    """What an interrupted command left to go on from."""
    names = tuple(word for word in words if not word.startswith("-"))[:2]
    if names[:1] == ("extract",) or names in (("weights", "fetch"), ("cache", "restore-parts")):
        return "; finished work is kept, run the same command again to continue"
    if names[:1] == ("predict",):
        return "; finished clips are kept, run the same command again to continue"
    if names[:1] == ("compare",):
        return "; finished trials and epochs are kept, run the same command again to continue"
    if names[:1] == ("robustness",) and any(word.partition("=")[0] == "--source" for word in words):
        return (
            "; finished clips and stores of degraded media are kept, run the same command again to continue"
        )
    if names[:1] == ("train",):
        return "; finished epochs are kept, add --resume to continue"
    return ""


def _one_line(error: Exception) -> str:
    message = _flat(str(error))
    # The packages' own errors are ValueErrors with a full sentence; OSErrors name file and reason.
    if isinstance(error, (ValueError, OSError)) and message:
        return f"error: {message}{section_hint(error)}"
    return f"internal error: {type(error).__name__}: {message}; 'tagf --debug ...' shows where"


def _flat(message: str) -> str:
    return " ".join(message.split())
