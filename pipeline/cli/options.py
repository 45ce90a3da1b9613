"""Options that several commands share."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class LocalPath(click.Path):
    """A path of this machine; a URL is refused, which would be taken for a folder named `s3:`.

    Args:
        remedy: What to do instead of giving a URL.
    """

    def __init__(self, remedy: str) -> None:
        super().__init__(path_type=Path)
        self._remedy = remedy

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As `click.Path`."""
        if _URL.match(str(value)):
            self.fail(f"{value!r} is a URL, and only local paths will do here: {self._remedy}", param, ctx)
        return super().convert(value, param, ctx)


class FiniteRange(click.FloatRange):
    """A range without infinity and what is no number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As `click.FloatRange`."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class _StreamFile(click.ParamType[tuple[str, str]]):
    """`STREAM=FILE`."""

    name = "stream=file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """As `click.ParamType`."""
        stream, equals, weights = str(value).partition("=")
        if not (stream and equals and weights):
            self.fail(f"expected STREAM=FILE, like visual=ir50.pth, got {value!r}", param, ctx)
        return stream, weights


#: A path that need not exist yet; the code that opens it names the remedy when it is missing.
PATH = LocalPath("copy it here first")
#: One that is written to.
OUT = LocalPath("write it here and copy it there")

features_option = click.option(
    "--features",
    multiple=True,
    required=True,
    help="The feature store (from `tagf extract`): a path, or a URL like s3://bucket/features.zarr. Given "
    "more than once, several stores of one feature spec count as one.",
)
annotations_option = click.option(
    "--annotations",
    type=PATH,
    required=True,
    help="Folder with Train_Set, Validation_Set and, where known, Test_Set, or a CSV table of label files "
    "(docs/labels.md).",
)
params_option = click.option(
    "--params",
    type=PATH,
    help="YAML file of settings; without it, the paper's defaults hold.",
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda or cuda:N; auto takes a GPU where there is one.",
)
weights_option = click.option(
    "--weights",
    multiple=True,
    type=_StreamFile(),
    metavar="STREAM=FILE",
    help="Weights of a backbone (visual=FILE, audio=FILE), where they are not found by their digest.",
)
smooth_option = click.option(
    "--smooth",
    metavar="KIND:SECONDS",
    help="Smooth the predictions over time: median:0.5 is a centred median over half a second, "
    "exponential:0.5 a mean of what came before with that time constant.",
)
replace_option = click.option(
    "--replace", is_flag=True, help="Replace the store that lies at --out, once the new one is complete."
)


def check_out(out: Path, *, replace: bool) -> None:
    """Refuse to replace a store unasked.

    Raises:
        CacheError: Something lies at `out` and is not to be replaced.
    """
    from cache.destination import check_vacant

    if not replace:
        check_vacant(out, remedy="add --replace to replace a store, or choose another place")
