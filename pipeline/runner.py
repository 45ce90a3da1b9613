"""Many clips: what is finished is kept, the rest is extracted in parallel, and all of it packed into a store.

    manifest -> digest of each media file -> key of its part
      part is missing, or made by code that gives other rows -> workers: extract, commit the part
      part was made by this code, or by code found to give equal rows -> kept
    all parts -> store, in manifest order

A run may be killed at any moment, and run beside others on the same work directory. The store's bytes depend
on media, settings and the code that made each part (each part's facts name it), not on what was interrupted,
kept or parallel.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from cache.errors import CorruptFeatureError
from cache.pack import pack_store
from cache.parts import ClipKey, PartStore
from cache.spec import FeatureSpec
from pipeline.clip_worker import ClipTask, MediaState, described, extract_and_commit, extract_and_compare
from pipeline.code_provenance import judge_parts
from pipeline.config import ExtractConfig
from pipeline.errors import ExtractionError
from pipeline.extraction_report import REPORT_NAME, ClipOutcome, ExtractionReport, outcome_of_part
from pipeline.feature_spec import feature_spec
from pipeline.manifest import ClipSource, read_manifest
from pipeline.numeric_code import code_digest
from pipeline.progress import ExtractionProgress
from pipeline.work_dir import WorkDir

T = TypeVar("T")

# Which subject and streams of a media file a clip of the `videos` layout is, in the words of the part's key.
SELECTION = "largest face, best video and audio stream"
# Memory of a worker with all networks loaded is 1.5 GB.
_BYTES_PER_WORKER = 2 * 2**30


def extract_features(
    source: Path,
    layout: str,
    out: Path,
    config: ExtractConfig,
    *,
    work_dir: Path | None = None,
    workers: int | None = None,
    report: Path | None = None,
    device: str = "auto",
    max_failures: int = 0,
    progress: bool = False,
) -> ExtractionReport:
    """Stage one: extract every clip of a source and pack the store.

    Args:
        source: Folder of the media.
        layout: How it is laid out, one of `manifest.LAYOUTS`.
        out: The store; one that is there already is replaced when the new one is complete.
        config: The `extract` section.
        work_dir: Where finished clips are kept; None for `$TAGF_WORK_DIR` or `~/.cache/tagf`.
        workers: Processes; None for one per core, as far as the memory goes.
        report: Where the report goes; None for `extraction_report.json` beside the store.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        max_failures: So many clips may fail and are left out of the store.
        progress: Whether to show progress and notes on standard error.

    Returns:
        What became of each clip.

    Raises:
        ManifestError: The source does not say what to extract.
        WeightsError: Weights that are missing, damaged or of another architecture.
        ExtractionError: More clips failed than may. Finished clips are kept, no store is written, and the
            report says what is wrong with each.
        StorageError: A disk is full or not writable.
    """
    started = time.monotonic()
    report = out.parent / REPORT_NAME if report is None else report
    clips = read_manifest(source, layout)
    spec = feature_spec(config)
    work = WorkDir(work_dir)
    work.parts.write_spec(spec)
    run = _Run(work, spec, config, device, workers, progress)
    outcomes = run.extract(clips)
    failed = [outcome for outcome in outcomes.values() if outcome.status == "failed"]
    packable = len(failed) <= max_failures and len(failed) < len(clips)
    if packable:
        healthy = [clip.clip_id for clip in clips if outcomes[clip.clip_id].status != "failed"]
        run.pack([run.tasks[clip_id].key for clip_id in healthy], out)
    result = ExtractionReport(
        store=str(out),
        packed=packable,
        fingerprint=spec.fingerprint,
        code_digest=code_digest(),
        workers=run.workers,
        seconds=time.monotonic() - started,
        notes=tuple(run.notes),
        clips=tuple(outcomes[clip.clip_id] for clip in clips),
    )
    result.write(report)
    if not packable:
        first, num_kept = failed[0], len(clips) - len(failed)
        raise ExtractionError(
            f"{len(failed)} of {len(clips)} clips failed (allowed: {max_failures}), first {first.clip_id!r} "
            f"at {first.failed_stage}: {first.error}; no store was written, {num_kept} finished clips are "
            f"kept; {report} names each failure: repair or remove those media and run again"
        )
    return result


class _Run:
    """The state of one run.

    Attributes:
        tasks: By clip id; clips whose media cannot be read have none.
        workers: Number of processes.
        notes: What the run found out and decided.
    """

    def __init__(
        self,
        work: WorkDir,
        spec: FeatureSpec,
        config: ExtractConfig,
        device: str,
        workers: int | None,
        progress: bool,
    ) -> None:
        self.tasks: dict[str, ClipTask] = {}
        self.notes: list[str] = []
        self.workers = workers or max(1, min(cpu_count(), _physical_memory_bytes() // _BYTES_PER_WORKER))
        self._work, self._spec, self._config, self._device = work, spec, config, device
        self._progress = progress

    def extract(self, clips: Sequence[ClipSource]) -> dict[str, ClipOutcome]:
        """Bring every clip's part up to date; outcomes by clip id."""
        outcomes: dict[str, ClipOutcome] = {}
        for clip in clips:
            try:
                self.tasks[clip.clip_id] = self._task(clip)
            except OSError as error:
                outcomes[clip.clip_id] = ClipOutcome(
                    clip_id=clip.clip_id, status="failed", failed_stage="digest", error=described(error)
                )
        for outcome in self._kept():
            outcomes[outcome.clip_id] = outcome
        pending = [task for clip_id, task in self.tasks.items() if clip_id not in outcomes]
        num_bytes = sum(task.media_state.num_bytes for task in pending)
        shown = ExtractionProgress(len(pending), num_bytes, enabled=self._progress)
        try:
            for outcome in self._in_parallel(extract_and_commit, pending):
                outcomes[outcome.clip_id] = outcome
                shown.add(outcome, self.tasks[outcome.clip_id].media_state.num_bytes)
        except TerminatedWorkerError:
            for task in pending:
                outcomes.setdefault(task.source.clip_id, self._after_dead_worker(task))
        finally:
            shown.close()
        return outcomes

    def pack(self, keys: Sequence[ClipKey], out: Path) -> None:
        """Write the store from parts."""
        parts = self._work.parts
        try:
            with self._work.packing(out):
                pack_store([(parts, key) for key in keys], self._spec, out)
        except CorruptFeatureError as error:
            damaged = [key for key in keys if not _is_sound(parts, key)]
            for key in damaged:
                parts.discard(key)
            raise ExtractionError(
                f"{len(damaged)} finished clips were damaged on the disk and are discarded ({error}); no "
                "store was written: run again to extract them anew"
            ) from error

    def _task(self, clip: ClipSource) -> ClipTask:
        state = MediaState.of(clip.media)
        with clip.media.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        key = ClipKey(
            clip_id=clip.clip_id,
            media_sha256=digest,
            faces_sha256=None,
            selection=SELECTION,
            fingerprint=self._spec.fingerprint,
        )
        return ClipTask(
            source=clip,
            key=key,
            media_state=state,
            config=self._config,
            device=self._device,
            parts=self._work.parts.directory,
            code_digest=code_digest(),
            parent=os.getpid(),
        )

    def _kept(self) -> Iterator[ClipOutcome]:
        """Outcomes of the clips whose parts stay; the parts of the others are gone afterwards."""
        finished = {}
        for clip_id, task in self.tasks.items():
            if task.key in self._work.parts:
                try:
                    finished[clip_id] = (task, self._work.parts.facts(task.key))
                except CorruptFeatureError as error:
                    self._work.parts.discard(task.key)
                    self._note(f"{error}; it was discarded")
        for verdict in judge_parts(
            list(finished.values()), self._work.equivalences, code_digest(), self._compare
        ):
            self._note(verdict.note)
            for task in verdict.tasks:
                self._work.parts.discard(task.key)
                del finished[task.source.clip_id]
        for clip_id, (_, facts) in finished.items():
            yield outcome_of_part(clip_id, "kept", facts)

    def _compare(self, tasks: Sequence[ClipTask]) -> list[str | None]:
        """What differs, in the order of the tasks."""
        parallel = Parallel(n_jobs=min(self.workers, len(tasks)), backend="loky", batch_size=1)
        differences: list[str | None] = parallel(delayed(extract_and_compare)(task) for task in tasks)
        return differences

    def _in_parallel(self, work: Callable[[ClipTask], T], tasks: Sequence[ClipTask]) -> Iterator[T]:
        """Results as they come, so that none waits for a longer clip before it."""
        if tasks:
            # batch_size=1: joblib would otherwise tie short clips together, to succeed or die together. It
            # gives each worker its share of the cores in OMP_NUM_THREADS, by which torch goes, unless the
            # user has set that.
            parallel = Parallel(
                n_jobs=min(self.workers, len(tasks)),
                backend="loky",
                batch_size=1,
                return_as="generator_unordered",
            )
            yield from parallel(delayed(work)(task) for task in tasks)

    def _after_dead_worker(self, task: ClipTask) -> ClipOutcome:
        """A clip whose result was lost with a worker: its part may have been committed before."""
        if task.key in self._work.parts:
            return outcome_of_part(task.source.clip_id, "extracted", self._work.parts.facts(task.key))
        return ClipOutcome(
            clip_id=task.source.clip_id,
            status="failed",
            failed_stage="worker",
            error="a worker process died (killed, or out of memory) before this clip was done; run again, "
            "with fewer workers if memory was short",
        )

    def _note(self, line: str) -> None:
        self.notes.append(line)
        if self._progress:
            print(f"extract: {line}", file=sys.stderr, flush=True)


def _is_sound(parts: PartStore, key: ClipKey) -> bool:
    try:
        parts.read(key)
    except CorruptFeatureError:
        return False
    return True


def _physical_memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
