"""The work of one run on its clips: what is finished is kept, the rest is extracted in parallel.

    manifest -> digest of each media file -> key of its part
      part is missing, or made by code that gives other rows -> workers: extract, commit the part
      part was made by this code, or by code found to give equal rows -> kept

A run may be killed at any moment, and run beside others on the same work directory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cache.canonical_json import Json
from cache.errors import CorruptFeatureError
from cache.parts import ClipKey
from cache.spec import FeatureSpec
from pipeline.backbones.clip_stream import ClipStream
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.degradation.degradation import Degradation
from pipeline.errors import ExtractionError
from pipeline.preview.collector import sheet_name
from pipeline.run.clip_keys import clip_key
from pipeline.run.clip_task import ClipTask, MediaState
from pipeline.run.clip_worker import (
    MAX_DEAD_WORKERS,
    dead_workers_message,
    extract_and_commit,
    extract_and_compare,
    failed,
    write_preview,
)
from pipeline.run.code_provenance import judge_parts
from pipeline.run.engine import Engine, LostWorkersError
from pipeline.run.extraction_report import ClipOutcome, outcome_of_parts
from pipeline.run.media_digests import ClipDigests
from pipeline.run.numeric_code import code_digest
from pipeline.run.progress import ExtractionProgress
from pipeline.run.running_clips import RunningClips
from pipeline.run.work_dir import WorkDir

# Between two looks at what the workers are at.
_LOOK_S = 1.0
# Workers may die without having begun a clip. So often in a row, none of them ever will.
_MAX_FRUITLESS_TRIES = 3


@dataclass(kw_only=True)
class ExtractionRun:
    """What a run goes by.

    Attributes:
        work: Its work directory.
        spec: The feature spec.
        config: The `extract` section.
        engine: Where the workers are.
        device: Where the networks run.
        accelerator: Model of the servers' GPUs; None without servers.
        servers: Addresses of the processes that run them, one per GPU; none where the clips' own processes
            do.
        clip_streams: Further streams that read files of their own.
        running: What the workers are at.
        preview: Folder for contact sheets; None for none.
        progress: Whether to show progress on standard error.
        note: Told what the run finds out and decides.
        done: Told what became of each clip.
        degradations: By clip id, what is done to clips before their rows are made.
    """

    work: WorkDir
    spec: FeatureSpec
    config: ExtractConfig
    engine: Engine
    device: str
    accelerator: str | None
    servers: Callable[[], Sequence[str]]
    clip_streams: Mapping[str, ClipStream]
    running: RunningClips
    preview: Path | None
    progress: bool
    note: Callable[[str], None]
    done: Callable[[ClipOutcome], None]
    degradations: Mapping[str, Degradation] = field(default_factory=dict)

    def extract(
        self, clips: Sequence[ClipSource], only: Collection[str] | None
    ) -> tuple[dict[str, ClipOutcome], dict[str, tuple[ClipKey, ...]]]:
        """Bring every clip's part up to date.

        Args:
            clips: The clips.
            only: Ids of the clips to try where their parts are missing; None for all.

        Returns:
            Outcomes by clip id, and the keys of the parts of each clip that has some.
        """
        outcomes: dict[str, ClipOutcome] = {}

        def settle(outcome: ClipOutcome) -> None:
            outcomes[outcome.clip_id] = outcome
            self.done(outcome)

        tasks: dict[str, ClipTask] = {}
        # Before the digests, which may take hours: what is written to meanwhile is noticed.
        states = {clip.media: _state(clip.media) for clip in clips}
        digests = self.work.media_digests().of_clips(clips, progress=self.progress)
        for clip in clips:
            try:
                tasks[clip.clip_id] = self._task(clip, states[clip.media], digests[clip.clip_id])
            except (OSError, ValueError) as error:
                message = f"{type(error).__name__}: {' '.join(str(error).split())}"
                settle(
                    ClipOutcome(clip_id=clip.clip_id, status="failed", failed_stage="digest", error=message)
                )
        for outcome in self._kept(tasks):
            settle(outcome)
        pending = {clip_id: task for clip_id, task in tasks.items() if clip_id not in outcomes}
        if only is not None:
            for clip_id in [clip_id for clip_id in pending if clip_id not in only]:
                del pending[clip_id]
                settle(ClipOutcome(clip_id=clip_id, status="skipped"))
        with self._shown(pending) as shown:
            for outcome in self._extracted(self._with_servers(pending.values())):
                shown.add(outcome)
                settle(outcome)
        keys = {
            clip_id: self._part_keys(task)
            for clip_id, task in tasks.items()
            if outcomes[clip_id].status in ("extracted", "kept")
        }
        if self.preview is not None:
            missing = [
                task
                for clip_id, task in tasks.items()
                if outcomes[clip_id].status == "kept"
                or (outcomes[clip_id].status == "extracted" and not self._has_sheet(clip_id))
            ]
            self._preview(self._with_servers(missing))
        return outcomes, keys

    def _task(
        self, clip: ClipSource, state: MediaState | OSError, digests: ClipDigests | Exception
    ) -> ClipTask:
        if isinstance(state, OSError):
            raise state
        if isinstance(digests, Exception):
            raise digests
        key = clip_key(clip, digests, self.config, self.clip_streams, self.spec.fingerprint)
        degradation = self.degradations.get(clip.clip_id)
        return ClipTask(
            source=clip,
            key=key if degradation is None else degradation.key(key),
            media_state=state,
            config=self.config,
            spec=self.spec,
            device=self.device,
            server=None,
            parts=self.work.parts.directory,
            running=self.running.directory,
            code_digest=code_digest(),
            accelerator=self.accelerator,
            preview=self.preview,
            degradation=degradation,
        )

    def _with_servers(self, tasks: Collection[ClipTask]) -> list[ClipTask]:
        """Tasks, with the servers' addresses dealt out among them; servers are started for work alone."""
        addresses = self.servers() if tasks else ()
        if not addresses:
            return list(tasks)
        return [replace(task, server=addresses[number % len(addresses)]) for number, task in enumerate(tasks)]

    def _kept(self, tasks: Mapping[str, ClipTask]) -> Iterator[ClipOutcome]:
        """Outcomes of the clips whose parts stay; the parts of the others are gone afterwards."""
        finished = {}
        for clip_id, task in tasks.items():
            try:
                facts = self._facts(task)
            except CorruptFeatureError as error:
                self._discard(task)
                self.note(f"{error}; it was discarded")
            else:
                if facts is not None:
                    finished[clip_id] = (task, facts)
        whole = [(task, self._summary(task, facts)) for task, facts in finished.values()]
        for verdict in judge_parts(whole, self.work.equivalences, code_digest(), self._compare):
            self.note(verdict.note)
            for task in verdict.tasks:
                self._discard(task)
                del finished[task.source.clip_id]
        for clip_id, (_, facts) in finished.items():
            yield outcome_of_parts(clip_id, "kept", facts)

    def _facts(self, task: ClipTask) -> list[Mapping[str, Json]] | None:
        """Facts of a clip's parts; None where it is not finished."""
        keys = self.work.part_keys(task.key, gives_tracks=task.gives_tracks)
        return None if keys is None else [self.work.parts.facts(key) for key in keys]

    def _summary(self, task: ClipTask, all_facts: Sequence[Mapping[str, Json]]) -> Mapping[str, Json]:
        """Facts that stand for all parts of a clip, when it comes to which clips to compare."""
        if all_facts:
            return all_facts[0]
        listed = self.work.tracks.read(task.key)  # where there is no track, it alone names the code
        return {} if listed is None else {"code_digest": listed[0]}

    def _part_keys(self, task: ClipTask) -> tuple[ClipKey, ...]:
        """Keys of the parts of a clip that this run has found or made."""
        keys = self.work.part_keys(task.key, gives_tracks=task.gives_tracks)
        if keys is None:
            raise ExtractionError(
                f"clip {task.source.clip_id!r}: expected its finished parts in {self.work.path}, found some "
                "missing; another run discarded them, or the file system shows them late: run again"
            )
        return keys

    def _discard(self, task: ClipTask) -> None:
        if task.gives_tracks:
            self.work.tracks.discard(task.key)
        else:
            self.work.parts.discard(task.key)

    def _compare(self, tasks: Sequence[ClipTask]) -> list[str | None]:
        """What differs, in the order of the tasks."""
        numbered = list(enumerate(self._with_servers(tasks)))
        try:
            differences = dict(self.engine.results(_compare_numbered, numbered))
        except LostWorkersError as error:
            raise ExtractionError(
                f"workers died while finished clips of other code were extracted again to compare ({error}); "
                "all finished clips are kept: run again, with fewer workers if memory is short"
            ) from error
        return [differences[number] for number, _ in numbered]

    def _extracted(self, tasks: Sequence[ClipTask]) -> Iterator[ClipOutcome]:
        """Outcomes as they come, whatever workers die meanwhile."""
        waiting = {task.source.clip_id: task for task in tasks}
        fruitless = 0
        while waiting:
            before = len(waiting)
            try:
                for outcome in self.engine.results(extract_and_commit, list(waiting.values())):
                    del waiting[outcome.clip_id]
                    yield outcome
            except LostWorkersError as error:
                for outcome in self._after_lost_workers(waiting):
                    del waiting[outcome.clip_id]
                    yield outcome
                fruitless = fruitless + 1 if len(waiting) == before else 0
                if fruitless == _MAX_FRUITLESS_TRIES:
                    raise ExtractionError(
                        f"workers die before they begin a clip, {fruitless} times in a row ({error}); "
                        "finished clips are kept: run again with fewer workers if memory is short"
                    ) from error

    def _after_lost_workers(self, waiting: Mapping[str, ClipTask]) -> list[ClipOutcome]:
        """Outcomes that got lost with their workers; and of the clips that may have killed them.

        Each clip that was in the hands of some worker is tried alone, so that none fails for what a
        neighbour did.
        """
        outcomes = []
        begun = self.running.digests()
        for clip_id, task in waiting.items():
            if (facts := self._facts(task)) is not None:
                self.running.end(task.key.digest)
                outcomes.append(outcome_of_parts(clip_id, "extracted", facts))
            elif task.key.digest in begun:
                outcomes.append(self._alone(task))
        return outcomes

    def _alone(self, task: ClipTask) -> ClipOutcome:
        """One clip by itself, until it is done or has killed as many workers as it may."""
        for _ in range(MAX_DEAD_WORKERS):
            try:
                return self.engine.alone(extract_and_commit, task)
            except LostWorkersError:
                continue
        self.running.end(task.key.digest)
        return failed(task, "worker", dead_workers_message())

    def _has_sheet(self, clip_id: str) -> bool:
        return self.preview is not None and (self.preview / sheet_name(clip_id)).is_file()

    def _preview(self, tasks: Sequence[ClipTask]) -> None:
        """Contact sheets of clips that were finished before."""
        try:
            for problem in self.engine.results(write_preview, tasks):
                if problem is not None:
                    self.note(problem)
        except LostWorkersError as error:
            self.note(f"workers died while contact sheets were made, some are missing ({error})")

    @contextmanager
    def _shown(self, pending: Mapping[str, ClipTask]) -> Iterator[ExtractionProgress]:
        """Progress, fed by what the workers note of the clips that they are at."""
        shown = ExtractionProgress(
            {clip_id: task.media_state.num_bytes for clip_id, task in pending.items()}, enabled=self.progress
        )
        clip_ids = {task.key.digest: clip_id for clip_id, task in pending.items()}
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK_S):
                for digest, num_frames in self.running.frames().items():
                    if digest in clip_ids:
                        shown.add_frames(clip_ids[digest], num_frames)

        looking = threading.Thread(target=look, name="progress", daemon=True)
        if self.progress and pending:
            looking.start()
        try:
            yield shown
        finally:
            ended.set()
            if looking.is_alive():
                looking.join()
            shown.close()


def _state(media: Path) -> MediaState | OSError:
    try:
        return MediaState.of(media)
    except OSError as error:
        return error


def _compare_numbered(numbered: tuple[int, ClipTask]) -> tuple[int, str | None]:
    """Results come in any order."""
    number, task = numbered
    return number, extract_and_compare(task)
