"""One trial of the crash campaign: a run is killed, what it left is looked at, another run takes it up.

What must hold, and is compared byte for byte with what undisturbed runs leave:

- after the kill, every part that can be seen is whole, and so is the store: the previous one, the new one, or
  none where there was none (between the two renames of a swap, opening it finishes them);
- the next run succeeds, and its store and its parts are those of an undisturbed run;
- what the killed run left beside them, a later run removes once it is a day old.
"""

from __future__ import annotations

import os
import select
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from crash_places import Place, age, contents, files, visible
from crash_tally import Tally
from crash_workloads import Workload
from process_tree import descendants, exit_code, fork, kill, kill_all, wait_for_end
from write_stops import Stop, WriteStops, report_writes

Phase = Literal["extraction", "packing"]
Victim = Literal["all", "run", "worker"]
# A run takes tenths of a second; one that has not ended by then hangs.
_DEADLINE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What undisturbed runs leave.

    Attributes:
        place: Of one over all clips.
        previous: Store of one over the first half of them.
        files: Everything at `place`, relative to its root, without what is inside the store.
        parts: Bytes of every part there, relative to its folder of parts.
        store: Bytes of every object of the store.
        previous_store: The same of the previous store.
        seconds: How long each phase takes.
    """

    place: Place
    previous: Place
    files: frozenset[str]
    parts: dict[str, bytes]
    store: dict[str, bytes]
    previous_store: dict[str, bytes]
    seconds: dict[Phase, float]


class CrashTrials:
    """Trials of one workload.

    Args:
        workload: What is killed.
        folder: Empty; for everything that the runs write.
        tally: Is added to.
    """

    def __init__(self, workload: Workload, folder: Path, tally: Tally) -> None:
        self._workload, self._folder, self._tally = workload, folder, tally
        # Living children of this process that are no part of any run.
        self._spared = frozenset(descendants())
        self.reference = self._undisturbed()
        self._number = 0

    def at_moment(self, seed: tuple[int, ...]) -> None:
        """Kill a run at a random moment.

        Args:
            seed: Of the moment, of whom is killed and of what there was before.
        """
        rng = np.random.default_rng(seed)
        while True:
            phase: Phase = "packing" if self._workload.tells_packing and rng.random() < 0.5 else "extraction"
            place, had_store = self._begin(rng, phase)
            victim = self._kill_at_moment(place, phase, rng)
            if victim is not None:
                break
            self._tally.num_too_late += 1
        self._tally.killed[f"{phase}, {victim}"] += 1
        # Without a pause, so that the next run meets processes of the killed one that are about to end.
        at_once = victim != "all" and rng.random() < 0.5
        self._resume(place, f"seed {seed}: {phase}, {victim} killed", had_store, at_once)

    def write_calls(self) -> list[Stop]:
        """Every call of a run from nothing that changes a file or folder, in order.

        One run is like the other but for the metadata, which zarr writes on threads of its own.
        """
        place = self._fresh()
        shutil.copytree(self.reference.previous.store, place.store)
        with WriteStops(place.root) as watched:
            run = self._start(place, watched)
            stops = list(watched.stops(run, _DEADLINE_S))
            if exit_code(run, _DEADLINE_S):
                raise RuntimeError(f"a run of {self._workload.name} failed: {self._said()}")
        wait_for_end(self._spared, _DEADLINE_S)
        return stops

    def at_write(self, number: int, *, torn: bool) -> None:
        """Kill a run from nothing at one of its writes.

        Args:
            number: Which, from 0.
            torn: Whether the first half of the data is written.
        """
        place = self._fresh()
        shutil.copytree(self.reference.previous.store, place.store)
        with WriteStops(place.root) as watched:
            run = self._start(place, watched)
            stops = watched.stops(run, _DEADLINE_S)
            stop = next((stop for count, stop in enumerate(stops) if count == number), None)
            if stop is None or (torn and not stop.tearable):
                self._tally.num_too_late += 1
            else:
                if torn:
                    watched.tear(stop)
                self._tally.num_torn += torn
                self._tally.calls[stop.call] += 1
            kill_all(self._spared)
            stops.close()
        if stop is not None:
            place_of_stop = stop.path.relative_to(place.root.resolve())
            what = f"write {number}{' (torn)' * torn}: {stop.call} {place_of_stop}"
            self._resume(place, what, had_store=True, at_once=False)

    def _undisturbed(self) -> Reference:
        places = {}
        seconds: dict[Phase, float] = {}
        for name, num_clips in (("previous", self._workload.num_clips // 2), ("whole", None)):
            places[name] = place = Place(self._folder / name)
            place.root.mkdir(parents=True)
            started = time.monotonic()
            run, told = self._start_told(place, num_clips or self._workload.num_clips)
            select.select([told], [], [], _DEADLINE_S)
            packing = time.monotonic()
            os.close(told)
            if exit_code(run, _DEADLINE_S):
                raise RuntimeError(f"an undisturbed run of {self._workload.name} failed: {self._said()}")
            seconds = {"extraction": packing - started, "packing": time.monotonic() - packing}
            wait_for_end(self._spared, _DEADLINE_S)
        if not self._workload.tells_packing:
            seconds["extraction"] += seconds["packing"]
        whole = places["whole"]
        return Reference(
            place=whole,
            previous=places["previous"],
            files=frozenset(files(whole)),
            parts=contents(whole.parts),
            store=contents(whole.store),
            previous_store=contents(places["previous"].store),
            seconds=seconds,
        )

    def _fresh(self) -> Place:
        """An empty place, not that of the trial before."""
        self._number += 1
        place = Place(self._folder / f"trial{self._number % 2}")
        shutil.rmtree(place.root, ignore_errors=True)
        place.root.mkdir()
        return place

    def _begin(self, rng: np.random.Generator, phase: Phase) -> tuple[Place, bool]:
        """A place where runs may have been before: some or all parts, a store or none; and whether one is."""
        place = self._fresh()
        had_store = bool(rng.random() < 0.5)
        if had_store:
            shutil.copytree(self.reference.previous.store, place.store)
        if phase == "packing" or rng.random() < 0.5:
            shutil.copytree(self.reference.place.work, place.work)
            missing = 0 if phase == "packing" and rng.random() < 0.8 else rng.integers(1, 4)
            paths = sorted(place.parts.rglob("*.npz"))
            for path in rng.choice(np.array(paths), int(missing), replace=False):
                Path(path).unlink()
        return place, had_store

    def _kill_at_moment(self, place: Place, phase: Phase, rng: np.random.Generator) -> Victim | None:
        """Whom it hit; None where the run had ended."""
        moment_s = rng.uniform(0, 1.1 * self.reference.seconds[phase])
        run, told = self._start_told(place, self._workload.num_clips)
        ended = os.pidfd_open(run)
        try:
            if phase == "packing":
                select.select([told, ended], [], [], _DEADLINE_S)
            if select.select([ended], [], [], moment_s)[0]:
                code = exit_code(run, _DEADLINE_S)
                if code:
                    self._tally.problems.append(f"an undisturbed run ended with {code}: {self._said()}")
                kill_all(self._spared)
                return None
            victim = self._kill(run, phase, rng)
            if victim != "all" and exit_code(run, _DEADLINE_S) is None:
                self._tally.problems.append(f"a run that lost a worker does not end: {self._said()}")
        finally:
            os.close(ended)
            os.close(told)
        return victim

    def _kill(self, run: int, phase: Phase, rng: np.random.Generator) -> Victim:
        workers = descendants(run)
        draw = rng.random()
        if workers and phase == "extraction" and draw < 0.3:
            kill(int(rng.choice(workers)))  # or a clip's own process: a worker's child
            return "worker"
        if draw < 0.6:
            kill(run)
            return "run"
        kill_all(self._spared)
        return "all"

    def _resume(self, place: Place, what: str, had_store: bool, at_once: bool) -> None:
        """Look at what a killed run left, run again, and look at that."""
        problems = self._tally.problems
        if not at_once and (living := wait_for_end(self._spared, _DEADLINE_S)):
            problems.append(f"{what}: {len(living)} processes outlived the run")
            kill_all(self._spared)
        problems += [f"{what}: {problem}" for problem in self._after_kill(place, had_store)]
        left = files(place) - self.reference.files
        self._tally.num_leftovers += len(left)
        if not at_once:
            age(place, left)
        run, told = self._start_told(place, self._workload.num_clips)
        os.close(told)
        if code := exit_code(run, _DEADLINE_S):
            problems.append(f"{what}: the next run ended with {code}: {self._said()}")
        if wait_for_end(self._spared, _DEADLINE_S):
            problems.append(f"{what}: the next run or the one before does not end")
            kill_all(self._spared)
        problems += [f"{what}: {problem}" for problem in self._after_resume(place)]
        if not at_once:
            problems += [f"{what}: {problem}" for problem in self._after_a_day(place)]

    def _after_kill(self, place: Place, had_store: bool) -> Iterator[str]:
        for name, data in visible(contents(place.parts)).items():
            self._tally.num_parts_seen += 1
            if name not in self.reference.parts:
                yield f"{name} among the parts is no part"
            elif data != self.reference.parts[name]:
                yield f"part {name} can be seen and is not whole ({len(data)} bytes)"
        known = {"previous": self.reference.previous_store, "new": self.reference.store}
        if place.store.exists():
            objects = contents(place.store)
            found = next((name for name, store in known.items() if store == objects), "broken")
        else:
            swapping = any(place.store.parent.glob(".*.old-*"))
            found = "none, between the renames" if swapping else "none"
        self._tally.found[found] += 1
        if (found.startswith("none,") or self._number % 3 == 0) and exit_code(
            fork(partial(_open, place.store, had_store), self._output), _DEADLINE_S
        ):
            yield f"the store does not open: {self._said()}"
        if found == "broken" or (found == "none" and had_store) or (found == "previous" and not had_store):
            yield f"the store is {found}"

    def _after_resume(self, place: Place) -> Iterator[str]:
        if contents(place.store) != self.reference.store:
            yield "the final store is not that of an undisturbed run"
        if visible(contents(place.parts)) != self.reference.parts:
            yield "the final parts are not those of an undisturbed run"

    def _after_a_day(self, place: Place) -> Iterator[str]:
        """Runs clean up where they write parts: one that does has to leave nothing."""
        left = files(place) - self.reference.files
        if not left:
            return
        age(place, left)
        next(path for path in sorted(place.parts.rglob("*.npz"))).unlink()
        run, told = self._start_told(place, self._workload.num_clips)
        os.close(told)
        if exit_code(run, _DEADLINE_S):
            yield f"a third run failed: {self._said()}"
        wait_for_end(self._spared, _DEADLINE_S)
        if kept := sorted(files(place) - self.reference.files):
            yield f"left behind for good: {len(kept)} files, first {kept[0]}"

    @property
    def _output(self) -> Path:
        return self._folder / "output.txt"

    def _said(self) -> str:
        """The last of what the runs wrote."""
        return repr(self._output.read_text(errors="replace")[-1500:])

    def _start(self, place: Place, watched: WriteStops) -> int:
        """A run that waits at its writes."""

        def work() -> None:
            report_writes(watched.endpoint)
            self._workload.run(place, self._workload.num_clips, lambda: None)

        self._output.write_bytes(b"")
        return fork(work, self._output)

    def _start_told(self, place: Place, num_clips: int) -> tuple[int, int]:
        """A run, and a descriptor that can be read when the packing begins or the run has ended."""
        told, teller = os.pipe()
        self._output.write_bytes(b"")
        run = fork(
            partial(self._workload.run, place, num_clips, partial(os.write, teller, b"-")), self._output
        )
        os.close(teller)
        return run, told


def _open(store: Path, had_store: bool) -> None:
    """Open a store after a kill; there has to be one if there was one before."""
    from cache import FeatureStore, IncompleteStoreError

    try:
        FeatureStore.open(store).load()
    except IncompleteStoreError:
        if had_store:
            raise
