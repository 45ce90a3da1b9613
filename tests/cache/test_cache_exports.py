"""`import cache` is light and free of torch; its names resolve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cache
from cache.errors import CacheError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import cache", ["torch", "numpy", "zarr", "pydantic", "yaml", "xarray", "tqdm"]),
        ("from cache import *", ["torch", "zarr", "pydantic", "yaml", "xarray", "tqdm"]),
        ("import cache.settings", ["torch", "numpy", "zarr", "xarray"]),
    ],
)
def test_imports_are_light(code: str, absent: list[str]) -> None:
    code = f"{code}\nimport sys\nprint([name for name in {absent} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout == "[]\n"


def test_no_module_of_the_package_imports_torch_even_when_used() -> None:
    code = (
        "import sys, pathlib, tempfile\n"
        "from cache import FeatureSpec, FeatureStore, StreamSpec, pack_store\n"
        "spec = FeatureSpec(streams=(StreamSpec(name='audio', num_features=1),), settings={})\n"
        "path = pathlib.Path(tempfile.mkdtemp()) / 's'\n"
        "pack_store([], spec, path); FeatureStore.open(path).load()\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout == "False\n"


@pytest.mark.parametrize("name", cache.__all__)
def test_names_resolve(name: str) -> None:
    assert name in dir(cache)
    assert getattr(cache, name).__name__ == name


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'cache' has no attribute 'FeatureShop'"):
        _ = cache.FeatureShop


@pytest.mark.parametrize("name", [name for name in cache.__all__ if name.endswith("Error")])
def test_errors_are_one_family(name: str) -> None:
    assert issubclass(getattr(cache, name), CacheError)
    assert issubclass(CacheError, ValueError)
