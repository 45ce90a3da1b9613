"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

#: A path that need not exist yet; the code that opens it names the remedy when it is missing.
PATH = click.Path(path_type=Path)

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
    help="Folder with Train_Set, Validation_Set and, where known, Test_Set.",
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
