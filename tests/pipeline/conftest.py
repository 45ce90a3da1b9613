"""What the tests of stage one share: a drawn face that MTCNN finds, and media files made to order."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


def _helper(name: str) -> ModuleType:
    """A helper beside this file; under pytest's importlib mode, test folders are not importable by name."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def draw_face() -> Callable[..., Any]:
    """`drawn_face.draw_face`: a picture with a face, and the box of the face."""
    return _helper("drawn_face").draw_face


@pytest.fixture(scope="session")
def write_media() -> Callable[..., None]:
    """`media_files.write_media`: a media file with given pictures and sound at given times."""
    return _helper("media_files").write_media


@pytest.fixture(scope="session")
def flash_and_click() -> Callable[..., tuple[Any, Any]]:
    """`media_files.flash_and_click`: pictures with a white one, sound with a click, both at one time."""
    return _helper("media_files").flash_and_click


@pytest.fixture(scope="session")
def detector() -> Any:
    from pipeline.faces.detector import FaceDetector

    torch.set_num_threads(1)
    return FaceDetector()
