"""Runs killed with SIGKILL at random moments and at every write: `crash_campaign.py --moments N --writes`.

Each kill is followed by a run that has to finish what the killed one began; see `crash_trials` for what is
compared. Random moments fall on extraction and packing with workers in parallel, and hit all processes of a
run at once, the run alone, or one of its workers. The writes are those of a run over 20 clips: the kernel
stops it at each open for writing, write, fsync, rename, mkdir and unlink (see `write_stops`), and there it
dies; at writes of data it also dies in the middle.

`--what cache` does without torch and media: processes that commit parts, and a packer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

# Before numpy: the threads of its linear algebra would not survive a fork.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / folder) for folder in ("", "tests", "tests/pipeline", "tests/soak", "benchmarks")]

from crash_tally import Tally  # noqa: E402
from crash_trials import CrashTrials  # noqa: E402
from crash_workloads import CacheWorkload  # noqa: E402
from process_tree import adopt_orphans, exit_code, fork  # noqa: E402
from write_stops import unavailable  # noqa: E402

if TYPE_CHECKING:
    from crash_workloads import Workload

_NUM_CLIPS_OF_WRITES = 20
_SHARED_MEMORY = Path("/dev/shm")
# Runs whose processes are started as users start them take ten times as long.
_SHARE_STARTED_ANEW = 0.02


def _workloads(what: str, folder: Path, num_moments: int) -> tuple[list[tuple[Workload, int]], Workload]:
    """What is killed at how many random moments, and what is killed at its writes."""
    if what == "cache":
        return [(CacheWorkload(), num_moments)], CacheWorkload(num_workers=1)
    from extraction_workload import ExtractionWorkload

    anew = round(num_moments * _SHARE_STARTED_ANEW)
    each = (num_moments - anew) // 2
    moments: list[tuple[Workload, int]] = [
        (ExtractionWorkload(folder / "largest", "largest", num_clips=6), num_moments - anew - each),
        (ExtractionWorkload(folder / "all", "all", num_clips=6), each),
        (ExtractionWorkload(folder / "anew", "largest", num_clips=6, forked=False), anew),
    ]
    writes = ExtractionWorkload(folder / "writes", "largest", num_clips=_NUM_CLIPS_OF_WRITES, num_workers=1)
    return moments, writes


def _in_parallel(trials: Callable[[int, Path, Tally], object], num_jobs: int, folder: Path) -> Tally:
    """Run shares of the trials side by side, in processes forked from this one.

    Args:
        trials: Does the share of that number, in a folder, and counts.
        num_jobs: Shares.
        folder: For all of them.
    """

    def work(job: int) -> None:
        adopt_orphans()
        tally = Tally()
        trials(job, folder / f"job{job}", tally)
        (folder / f"tally{job}.json").write_text(json.dumps(vars(tally)))

    folder.mkdir()
    tally = Tally()
    jobs = {job: fork(partial(work, job)) for job in range(num_jobs)}
    for job, process in jobs.items():
        code = exit_code(process, 24 * 3600)
        if code:
            tally.problems.append(f"share {job} of the trials ended with {code}")
            continue
        done = json.loads((folder / f"tally{job}.json").read_text())
        tally.add(
            Tally(
                **{name: Counter(value) if isinstance(value, dict) else value for name, value in done.items()}
            )
        )
    return tally


def _moments(
    workloads: Sequence[tuple[Workload, int]], seed: int, num_jobs: int, job: int, folder: Path, tally: Tally
) -> None:
    for number, (workload, num_moments) in enumerate(workloads):
        share = range(job, num_moments, num_jobs)
        if not share:
            continue
        trials = CrashTrials(workload, folder / str(number), tally)
        for trial in share:
            trials.at_moment((seed, number, trial))


def _writes(
    workload: Workload, every: int, seed: int, num_jobs: int, job: int, folder: Path, tally: Tally
) -> None:
    trials = CrashTrials(workload, folder, tally)
    kills = [
        (number, torn)
        for number, stop in enumerate(trials.write_calls())
        for torn in (False, True)[: 1 + stop.tearable]
    ]
    for number, torn in kills[seed % every :: every][job::num_jobs]:
        trials.at_write(number, torn=torn)


def main() -> int:
    """Run the campaign; 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", choices=("extraction", "cache"), default="extraction")
    parser.add_argument("--moments", type=int, default=1000, help="kills at random moments")
    parser.add_argument(
        "--writes", type=int, default=1, metavar="N", help="kill at every N-th write; 0 for none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments; first of the writes")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at once")
    parser.add_argument(
        "--folder",
        type=Path,
        default=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None,
        help="where the runs write; in memory if possible, since a kill leaves what was written but not yet "
        "flushed, and flushing takes most of the time",
    )
    parser.add_argument("--out", type=Path, help="result file; benchmarks/results/crashes.json if none")
    options = parser.parse_args()
    started = time.monotonic()
    why_not = unavailable() if options.writes else "not asked for"
    with tempfile.TemporaryDirectory(prefix="tagf-crash-campaign-", dir=options.folder) as name:
        folder = Path(name)
        workloads, of_writes = _workloads(options.what, folder, options.moments)
        moments = _in_parallel(
            partial(_moments, workloads, options.seed, options.jobs), options.jobs, folder / "moments"
        )
        moments_s = time.monotonic() - started
        writes = Tally()
        if why_not is None:
            writes = _in_parallel(
                partial(_writes, of_writes, options.writes, options.seed, options.jobs),
                options.jobs,
                folder / "writes_of_run",
            )
    if options.writes and why_not is not None:
        print(f"no kills at writes: {why_not}", file=sys.stderr)
    problems = moments.problems + writes.problems
    figures: dict[str, object] = {
        "command": f"python tests/soak/crash_campaign.py --what {options.what} --moments {options.moments} "
        f"--writes {options.writes} --seed {options.seed} --jobs {options.jobs}",
        "moments": _figures(moments, moments_s),
        "writes": why_not or _figures(writes, time.monotonic() - started - moments_s),
        "problems": problems,
    }
    if options.out is None:
        from machine import write_result  # imports torch

        write_result("crashes", figures)
    else:
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _figures(tally: Tally, seconds: float) -> dict[str, object]:
    return {
        "kills": sum(tally.found.values()),
        "by_moment_and_victim": dict(sorted(tally.killed.items())),
        "by_call": dict(tally.calls.most_common()),
        "torn_writes": tally.num_torn,
        "stores_found_after_the_kill": dict(tally.found.most_common()),
        "parts_seen_after_the_kill": tally.num_parts_seen,
        "leftovers_seen_after_the_kill": tally.num_leftovers,
        "runs_that_ended_too_early": tally.num_too_late,
        "seconds": round(seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
