"""Which parts go: those that every rule allows, and never one that is needed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from cache import CacheError, FeatureSpec, PartStore, SettingsError, pack_store
from cache.unneeded_parts import PruneRules, list_parts, remove_parts, unneeded_parts

DAY_S = 24 * 3600


@pytest.fixture
def work(tmp_path: Path, spec: FeatureSpec, make_features: Any, make_key: Any) -> Any:
    """A work directory of parts a, b, c and, of other settings, d; a and b are in a store."""
    parts = PartStore(tmp_path / "parts")
    other = FeatureSpec(streams=spec.streams, settings={})
    keys = {name: make_key(name) for name in "abc"} | {"d": make_key("d", other)}
    for place, key in enumerate(keys.values()):
        path = parts.commit(key, make_features(3, place), {"code_digest": "one"})
        os.utime(path, (0, time.time() - place * DAY_S))
    parts.write_spec(spec)
    pack_store([(parts, keys["a"]), (parts, keys["b"])], spec, tmp_path / "s.zarr")
    return parts, keys, tmp_path / "s.zarr"


def names(parts: PartStore, keys: Any, found: Any) -> str:
    by_path = {parts.path(key): name for name, key in keys.items()}
    return "".join(sorted(by_path[part.path] for part in found))


def test_every_part_is_listed_and_nothing_else(work: Any) -> None:
    parts, keys, _ = work
    folder = parts.path(keys["a"]).parent
    (folder / "notes.npz").write_text("mine")
    (parts.directory / "thesis").mkdir()
    (parts.directory / "thesis" / f"{'0' * 64}.npz").write_text("mine")
    found = list_parts(parts)
    assert names(parts, keys, found) == "abcd"
    assert {part.num_bytes for part in found} == {part.path.stat().st_size for part in found}
    assert {part.fingerprint for part in found} == {key.fingerprint for key in keys.values()}
    assert list_parts(PartStore(parts.directory / "nowhere")) == []


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        ({"keep_used_by": True}, "cd"),
        ({"packed_in": True}, "ab"),
        ({"older_than_days": 0.5}, "bcd"),
        ({"older_than_days": 2.5}, "d"),
        ({"older_than_days": 0.5, "packed_in": True}, "b"),
        ({"older_than_days": 2.5, "keep_used_by": True}, "d"),
        ({"keep_used_by": True, "packed_in": True}, ""),
    ],
)
def test_rules(work: Any, rules: dict[str, Any], chosen: str) -> None:
    parts, keys, store = work
    given = {name: [store] if value is True else value for name, value in rules.items()}
    assert names(parts, keys, unneeded_parts(parts, PruneRules(**given))) == chosen


def test_without_a_rule_nothing_is_chosen() -> None:
    with pytest.raises(SettingsError, match="no rule says which parts may go"):
        PruneRules()
    with pytest.raises(SettingsError, match="must be 0 days or more, got -1"):
        PruneRules(older_than_days=-1)


def test_a_part_that_was_extracted_again_is_not_what_the_store_holds(work: Any, make_features: Any) -> None:
    parts, keys, store = work
    parts.commit(keys["a"], make_features(3, 9), {"code_digest": "two"})
    assert names(parts, keys, unneeded_parts(parts, PruneRules(packed_in=[store]))) == "b"
    parts.path(keys["b"]).write_bytes(b"damaged")
    assert unneeded_parts(parts, PruneRules(packed_in=[store])) == []


def test_a_damaged_store_vouches_for_nothing(work: Any) -> None:
    parts, _, store = work
    shard = store / "visual" / "c" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[9] ^= 1
    shard.write_bytes(data)
    read: list[int] = []
    with pytest.raises(CacheError, match=r"is not sound \(object visual/c/0/0/0, chunk 0, .*no part may go"):
        unneeded_parts(parts, PruneRules(packed_in=[store]), progress=read.append)
    assert sum(read) > len(data)
    with pytest.raises(CacheError, match="no feature store there"):
        unneeded_parts(parts, PruneRules(keep_used_by=[store.parent / "nowhere"]))


def test_removal_spares_what_was_written_again(work: Any, make_features: Any) -> None:
    parts, keys, _ = work
    chosen = unneeded_parts(parts, PruneRules(older_than_days=0))
    assert names(parts, keys, chosen) == "abcd"
    parts.commit(keys["b"], make_features(3, 1), {"code_digest": "two"})
    parts.discard(keys["c"])
    assert names(parts, keys, remove_parts(chosen)) == "ad"
    assert names(parts, keys, list_parts(parts)) == "b"
    assert parts.read_spec(keys["a"].fingerprint) is not None
