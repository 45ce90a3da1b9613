"""The three splits, and the folders that hold their labels."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Split = Literal["train", "validation", "test"]

SPLIT_FOLDERS: Mapping[Split, str] = MappingProxyType(
    {"train": "Train_Set", "validation": "Validation_Set", "test": "Test_Set"}
)
#: The official archive of Aff-Wild2 has the splits below this folder; a folder that has them at its top is
#: taken first.
ARCHIVE_FOLDER = "VA_Estimation_Challenge"
