"""Progress of checks in bytes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from cache import FeatureSpec, StreamSpec, pack_store
from pipeline.cli.store_bytes import checking_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_total_is_what_the_records_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = FeatureSpec(streams=(StreamSpec(name="audio", num_features=2),), settings={})
    record = pack_store([], spec, tmp_path / "s.zarr")
    size = sum(stored.size_bytes for stored in record.objects.values())
    store = str(tmp_path / "s.zarr")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with checking_bar((store, store), shown=True) as bar:
        assert bar.total == 2 * size
    with checking_bar((store, str(tmp_path / "nowhere")), shown=True) as bar:
        assert bar.total is None
    with checking_bar((store,), shown=False) as bar:
        bar.update(size)
    assert sys.stderr.getvalue().count("verify") <= 2 * 2  # nothing of the third
