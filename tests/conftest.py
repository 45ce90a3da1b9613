"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

# By default an example may take 200 ms, which on a busy machine any of them does now and then.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The module with the dearest fixture comes first: of two processes that share the tests one makes it."""
    items.sort(key=lambda item: item.path.name != "test_dvc_pipeline.py")
