"""Objects of a store deleted, cut short, made longer, and with one bit flipped: `corruption_campaign.py`.

After each: `verify --deep` finds it and names the object; every reader (mapped shards, zarr, a remote file
system; whole arrays, windows, load) gives an error of the package that names the store, or the right rows.
Never wrong rows, and whoever reads everything gets an error. In a part of the trials the damage is done while
the store is open, with some of it read.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / folder) for folder in ("", "tests/soak", "benchmarks")]

import numpy as np  # noqa: E402
from store_damage import Damage, pack_small_store, random_flip, systematic_damage, write_object  # noqa: E402
from store_readers import Readings, StoreReaders  # noqa: E402

from cache import CacheError, FeatureStore  # noqa: E402
from cache.verify import verify_store  # noqa: E402

_SHARED_MEMORY = Path("/dev/shm")
# Shares of the trials in which the store is open already, and in which it is also read through fsspec.
_SHARE_OPEN, _SHARE_REMOTE = 0.25, 0.1
# Names of views and of a box's edges, for people and xarray; and the completion record, which a store that is
# open has read before.
_NEVER_READ = ("view", "box_edge", "completion")


@dataclass(kw_only=True)
class Tally:
    """What is known of the campaign so far.

    Attributes:
        damages: Trials by kind of damage.
        objects: Objects that were damaged.
        num_named: Damages that `verify --deep` found and whose object it named.
        num_right: Reads that gave the right rows.
        num_refused: Reads that gave an error.
        num_silent: Damages of what no reader asks for, which gave no error.
        num_while_open: Trials in which the store was open before the damage.
        problems: What must not be, one line each.
    """

    damages: Counter[str] = field(default_factory=Counter)
    objects: set[str] = field(default_factory=set)
    num_named: int = 0
    num_right: int = 0
    num_refused: int = 0
    num_silent: int = 0
    num_while_open: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what another one counted."""
        self.damages.update(other.damages)
        self.objects |= other.objects
        self.problems += other.problems
        for name in ("num_named", "num_right", "num_refused", "num_silent", "num_while_open"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class CorruptionTrials:
    """Damages one store again and again.

    Args:
        folder: Empty; for the store.
    """

    def __init__(self, folder: Path) -> None:
        self.tally = Tally()
        self._readers = StoreReaders(pack_small_store(folder))
        self._store = folder / "features.zarr"
        files = sorted(path for path in self._store.rglob("*") if path.is_file())
        self.objects = {path.relative_to(self._store).as_posix(): path.read_bytes() for path in files}
        for path, data in self.objects.items():
            write_object(self._store, path, data)
        rng = np.random.default_rng(0)
        for memory_map in (True, False):
            readings = self._readers.read(self._store, memory_map=memory_map, rng=rng)
            if readings.num_refused or readings.wrong:
                raise RuntimeError(f"the undamaged store is not read: {readings}")
        if not (report := verify_store(self._store, deep=True)).is_sound:
            raise RuntimeError(f"the undamaged store is not sound: {report.problems}")

    def trial(self, damage: Damage, rng: np.random.Generator) -> None:
        """Damage the store, look, and put it right.

        Args:
            damage: What is done.
            rng: Chooses what is read.
        """
        tally = self.tally
        tally.damages[damage.kind] += 1
        tally.objects.add(damage.path)
        opened = self._opened(rng) if rng.random() < _SHARE_OPEN else []
        write_object(self._store, damage.path, damage.of(self.objects[damage.path]))
        try:
            self._verify(damage)
            readings = [
                self._readers.read(self._store, memory_map=memory_map, rng=rng)
                for memory_map in (True, False)
            ]
            if rng.random() < _SHARE_REMOTE:
                readings.append(self._read_remote(rng))
            for store in opened:
                readings.append(Readings())
                self._readers.read_opened(store, rng, readings[-1])
        finally:
            opened.clear()
            gc.collect()  # nothing stays mapped
            write_object(self._store, damage.path, self.objects[damage.path])
        tally.num_right += sum(each.num_right for each in readings)
        tally.num_refused += sum(each.num_refused for each in readings)
        is_read = damage.path.partition("/")[0] not in _NEVER_READ
        tally.num_silent += not is_read and not any(each.num_refused for each in readings)
        if is_read and not all(each.num_refused for each in readings[:2]):
            tally.problems.append(f"{damage}: everything was read without an error")
        tally.problems += [f"{damage}: {line}" for each in readings for line in each.wrong]

    def _opened(self, rng: np.random.Generator) -> list[FeatureStore]:
        """The store as both readers open it, some of it read before the damage."""
        self.tally.num_while_open += 1
        stores = [FeatureStore.open(self._store, memory_map=memory_map) for memory_map in (True, False)]
        for store in stores:
            start, stop = sorted(rng.integers(0, store.num_frames, 2).tolist())
            for name in ("visual", "audio", "time_s"):
                store.read(name, slice(start, stop))
        return stores

    def _verify(self, damage: Damage) -> None:
        try:
            report = verify_store(self._store, deep=True)
        except CacheError as error:
            self.tally.problems.append(f"{damage}: verify raised {type(error).__name__}: {error}")
            return
        if any(problem.object == damage.path for problem in report.problems):
            self.tally.num_named += 1
        else:
            said = "; ".join(map(str, report.problems)) or "nothing"
            self.tally.problems.append(f"{damage}: verify does not name the object, it says {said}")

    def _read_remote(self, rng: np.random.Generator) -> Readings:
        """Through fsspec, from a file system in memory."""
        import fsspec

        system = fsspec.filesystem("memory")
        url = f"memory://store{os.getpid()}"
        system.put(f"{self._store}/", f"{url}/", recursive=True)
        try:
            return self._readers.read(url, memory_map=True, rng=rng)
        finally:
            system.rm(url, recursive=True)


def run_share(folder: Path, flips: Sequence[int], seed: int, first: int, step: int) -> Tally:
    """A share of the campaign.

    Args:
        folder: Empty.
        flips: Numbers of the random flips.
        seed: Of all of them.
        first: First of the systematic damages.
        step: Every so many of them are done.
    """
    trials = CorruptionTrials(folder)
    for number, damage in enumerate(systematic_damage(trials.objects)):
        if number % step == first:
            trials.trial(damage, np.random.default_rng((seed, 1, number)))
    for number in flips:
        rng = np.random.default_rng((seed, 0, number))
        trials.trial(random_flip(trials.objects, rng), rng)
    return trials.tally


def main() -> int:
    """Run the campaign; 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flips", type=int, default=10_000, help="bits flipped, one at a time")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="every N-th of the deletions and cuts"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the places")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--out", type=Path, help="result file; benchmarks/results/corruption.json if none")
    options = parser.parse_args()
    started = time.monotonic()
    tally = Tally()
    with (
        tempfile.TemporaryDirectory(
            prefix="tagf-corruption-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        ) as name,
        ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool,
    ):
        shares = []
        for job in range(options.jobs):
            folder = Path(name, str(job))
            folder.mkdir()
            flips = range(job, options.flips, options.jobs)
            first = options.seed % options.every + job * options.every
            step = options.jobs * options.every
            shares.append(pool.submit(run_share, folder, flips, options.seed, first, step))
        for share in shares:
            tally.add(share.result())
    figures: dict[str, object] = {
        "command": f"python tests/soak/corruption_campaign.py --flips {options.flips} "
        f"--every {options.every} --seed {options.seed} --jobs {options.jobs}",
        "damages": dict(tally.damages),
        "objects_damaged": len(tally.objects),
        "found_and_named_by_verify_deep": tally.num_named,
        "reads_refused": tally.num_refused,
        "reads_with_the_right_rows": tally.num_right,
        "damages_that_no_reader_met": tally.num_silent,
        "damaged_while_open": tally.num_while_open,
        "seconds": round(time.monotonic() - started),
        "problems": tally.problems,
    }
    if options.out is None:
        from machine import write_result  # imports torch

        write_result("corruption", figures)
    else:
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for problem in tally.problems:
        print(problem, file=sys.stderr)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
