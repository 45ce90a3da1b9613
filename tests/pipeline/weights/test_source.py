"""What a `weights` setting means, and the digest that stands for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import WeightsError
from pipeline.weights.source import parse_weights

ROOT = Path(__file__).parents[3]


def test_seed() -> None:
    source = parse_weights("random:12")
    assert (source.seed, source.path) == (12, None)
    assert source.digest() == "random:12/v1"


def test_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "ir50.pth"
    path.write_bytes(b"abc")
    # FIPS 180-2's first example
    expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert parse_weights(str(path)).digest() == expected


@pytest.mark.parametrize(
    "weights", ["random", "random:", "random:-1", "random:x", "random:1.5", "random:" + "9" * 19]
)
def test_seeds_that_are_none_are_refused(weights: str) -> None:
    with pytest.raises(WeightsError, match="expected random:SEED with SEED in"):
        parse_weights(weights)


def test_unregistered_name_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        WeightsError, match=r"weights 'vggface2': expected random:SEED, .* or one of .*inception-vggface2"
    ):
        parse_weights("vggface2")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        parse_weights(str(tmp_path / "ir50.pth"))


def test_no_torch_is_needed() -> None:
    code = "import sys, pipeline.feature_spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
