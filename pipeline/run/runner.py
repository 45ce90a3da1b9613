"""Stage one as a whole: clips of a source, their parts, and the store that is packed from them.

The store's bytes depend on media, settings and the code that made each part (each part's facts name it), not
on what was interrupted, kept or parallel.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from cache.errors import CorruptFeatureError
from cache.pack import pack_store
from cache.parts import ClipKey, PartStore
from cache.spec import FeatureSpec
from cache.store_writer import check_destination
from pipeline.backbone_server.server_processes import start_servers
from pipeline.clip_source import Manifest
from pipeline.config import ExtractConfig
from pipeline.degradation.degradation import Degradation
from pipeline.errors import EngineError, ExtractionError, ManifestError
from pipeline.feature_spec import clip_streams, feature_spec
from pipeline.machine import fitting_workers
from pipeline.manifest import read_manifest
from pipeline.preview.collector import write_index
from pipeline.run.engine import DaskEngine, Engine, EngineName, LocalEngine
from pipeline.run.extraction_report import REPORT_NAME, ClipOutcome, ExtractionReport, clips_to_retry
from pipeline.run.extraction_run import ExtractionRun
from pipeline.run.gpus import accelerator_name, gpu_devices
from pipeline.run.json_log import JsonLog
from pipeline.run.numeric_code import code_digest
from pipeline.run.work_dir import WorkDir


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run goes about it; nothing here changes a row.

    Attributes:
        work_dir: Where finished clips are kept; None for `$TAGF_WORK_DIR` or `~/.cache/tagf`.
        engine: `local`: processes of this machine. `dask`: workers of a Dask cluster.
        scheduler: Address of the cluster's scheduler, for `dask`.
        workers: Processes, for `local`; None for one per core, as far as the memory goes.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, or several GPUs separated by commas.
        report: Where the report goes; None for `extraction_report.json` beside the store.
        json_log: A file that events are added to as they happen, one JSON object per line; None for none.
        max_failures: So many clips may fail and are left out of the store.
        retry_failed: Try only the clips that failed in the run of which `report` tells.
        preview: Folder for contact sheets; None for none.
        progress: Whether to show progress and notes on standard error.
    """

    work_dir: Path | None = None
    engine: EngineName = "local"
    scheduler: str | None = None
    workers: int | None = None
    device: str = "auto"
    report: Path | None = None
    json_log: Path | None = None
    max_failures: int = 0
    retry_failed: bool = False
    preview: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if (self.engine == "dask") != (self.scheduler is not None):
            raise EngineError(
                f"engine {self.engine!r}: expected a scheduler's address with 'dask' and none with 'local', "
                f"got {self.scheduler!r}; give both --engine dask and --scheduler ADDRESS, or neither"
            )
        if self.engine == "dask" and "," in self.device:
            raise EngineError(
                f"engine 'dask': expected one device for each worker, got {self.device!r}; give --device "
                "auto, and start each worker with the GPUs that it may see"
            )


def extract_features(
    source: Path, layout: str, out: Path, config: ExtractConfig, options: RunOptions | None = None
) -> ExtractionReport:
    """Stage one: extract every clip of a source and pack the store.

    Args:
        source: Folder of the media; for the layout `manifest`, a CSV file.
        layout: How it is laid out, one of `manifest.LAYOUTS`.
        out: The store; one that is there already is replaced when the new one is complete.
        config: The `extract` section.
        options: How to go about it; None for the defaults.

    Returns:
        What became of each clip.

    Raises:
        ManifestError: The source does not say what to extract.
        StoreFormatError: `out` is something else than a store, or inside one.
        WeightsError: Weights that are missing, damaged or of another architecture.
        EngineError: No such workers.
        ExtractionError: More clips failed than may. Finished clips are kept, no store is written, and the
            report says what is wrong with each.
        StorageError: A disk is full or not writable.
    """
    source = source.absolute()  # workers may be elsewhere
    check_destination(out.absolute())
    manifest = read_manifest(source, layout)
    return extract_clips(manifest, out, config, options, source=str(source), layout=layout)


def extract_clips(
    manifest: Manifest,
    out: Path,
    config: ExtractConfig,
    options: RunOptions | None = None,
    *,
    source: str,
    layout: str,
    degradations: Mapping[str, Degradation] | None = None,
) -> ExtractionReport:
    """Extract the clips of a manifest and pack the store.

    Args:
        manifest: The clips.
        out: As for `extract_features`.
        config: The `extract` section.
        options: How to go about it; None for the defaults.
        source: Where the manifest was read from, for the log.
        layout: How that is laid out.
        degradations: By clip id, what is done to clips before their rows are made; None for nothing.

    Returns:
        What became of each clip.

    Raises:
        PipelineError: As for `extract_features`, and so are the others.
    """
    options = options or RunOptions()
    started = time.monotonic()
    out = out.absolute()
    check_destination(out)  # before hours of work
    report = out.parent / REPORT_NAME if options.report is None else options.report
    clips = manifest.clips
    only = clips_to_retry(report, [clip.clip_id for clip in clips]) if options.retry_failed else None
    spec = feature_spec(config)
    work = WorkDir(options.work_dir)
    work.parts.write_spec(spec)
    # On a cluster each worker has its own devices.
    devices = gpu_devices(options.device) if options.engine == "local" else ()
    with ExitStack() as stack:
        log = stack.enter_context(JsonLog(options.json_log))
        notes = _Notes(log, options.progress)
        stack.enter_context(work.parts_in_use.by_run(f"tagf extract --out {out}"))
        engine = _engine(options)
        stack.callback(engine.close)
        log.run_started(
            {
                "source": source,
                "layout": layout,
                "store": str(out),
                "num_clips": len(clips),
                "workers": engine.num_workers,
                "engine": options.engine,
                "device": options.device,
                "fingerprint": spec.fingerprint,
            }
        )
        for problem in manifest.problems:
            notes.add(problem)
        run = ExtractionRun(
            work=work,
            spec=spec,
            config=config,
            engine=engine,
            # Where servers run the networks, the clips' own processes do without a GPU.
            device=devices[0] if devices else options.device,
            accelerator=accelerator_name(devices),
            servers=_Servers(config, devices, stack),
            clip_streams=clip_streams(config),
            running=stack.enter_context(work.running()),
            preview=None if options.preview is None else options.preview.absolute(),
            progress=options.progress,
            note=notes.add,
            done=log.clip,
            degradations=degradations or {},
        )
        outcomes, keys = run.extract(clips, only)
        if options.preview is not None:
            write_index(options.preview, tuple(outcomes.values()))
        ordered = tuple(outcomes[clip.clip_id] for clip in clips)
        failed = [outcome for outcome in ordered if outcome.status == "failed"]
        skipped = [outcome for outcome in ordered if outcome.status == "skipped"]
        packed = [key for clip in clips for key in keys.get(clip.clip_id, ())]
        packable = len(failed) <= options.max_failures and not skipped and bool(packed)
        result = ExtractionReport(
            store=str(out),
            packed=False,
            fingerprint=spec.fingerprint,
            code_digest=code_digest(),
            workers=engine.num_workers,
            seconds=time.monotonic() - started,
            notes=tuple(notes.lines),
            clips=ordered,
        )
        result.write(report)  # before packing, too: a full disk must not leave an older run's report
        if packable:
            _require_distinct(packed)
            _pack(work, packed, spec, out)
            result = replace(result, packed=True, seconds=time.monotonic() - started)
            result.write(report)
        log.run_ended(result)
    if not packable:
        raise ExtractionError(_why_not(ordered, failed, skipped, options.max_failures, report))
    return result


class _Notes:
    """What the run finds out and decides: into the report, the log and, if wanted, the terminal."""

    def __init__(self, log: JsonLog, shown: bool) -> None:
        self.lines: list[str] = []
        self._log, self._shown = log, shown

    def add(self, line: str) -> None:
        """One more."""
        self.lines.append(line)
        self._log.note(line)
        if self._shown:
            print(f"extract: {line}", file=sys.stderr, flush=True)


class _Servers:
    """The processes that run the networks on the GPUs, started when first asked for."""

    def __init__(self, config: ExtractConfig, devices: Sequence[str], stack: ExitStack) -> None:
        self._config, self._devices, self._stack = config, devices, stack
        self._addresses: tuple[str, ...] | None = None

    def __call__(self) -> tuple[str, ...]:
        """Their addresses, none without a GPU."""
        if self._addresses is None:
            self._addresses = self._start() if self._devices else ()
        return self._addresses

    def _start(self) -> tuple[str, ...]:
        return self._stack.enter_context(start_servers(self._config, self._devices)).addresses


def _engine(options: RunOptions) -> Engine:
    if options.scheduler is not None:
        return DaskEngine(options.scheduler)
    return LocalEngine(options.workers or fitting_workers())


def _require_distinct(keys: Sequence[ClipKey]) -> None:
    """Tracks are named after their clip, and another clip may bear that name."""
    seen: set[str] = set()
    for key in keys:
        if key.clip_id in seen:
            raise ManifestError(
                f"clip id {key.clip_id!r}: expected one clip of that name, found a media file and a track of "
                "another one; rename the file"
            )
        seen.add(key.clip_id)


def _pack(work: WorkDir, keys: Sequence[ClipKey], spec: FeatureSpec, out: Path) -> None:
    """Write the store from parts."""
    parts = work.parts
    try:
        with work.packing(out):
            pack_store([(parts, key) for key in keys], spec, out)
    except CorruptFeatureError as error:
        damaged = [key for key in keys if not _is_sound(parts, key)]
        for key in damaged:
            parts.discard(key)
        raise ExtractionError(
            f"{len(damaged)} finished clips were damaged on the disk and are discarded ({error}); no "
            "store was written: run again to extract them anew"
        ) from error


def _why_not(
    clips: Collection[ClipOutcome],
    failed: Sequence[ClipOutcome],
    skipped: Sequence[ClipOutcome],
    max_failures: int,
    report: Path,
) -> str:
    """Why no store was written."""
    num_kept = len(clips) - len(failed) - len(skipped)
    rest = f"no store was written, {num_kept} finished clips are kept"
    if failed:
        first = failed[0]
        return (
            f"{len(failed)} of {len(clips)} clips failed (allowed: {max_failures}), first {first.clip_id!r} "
            f"at {first.failed_stage}: {first.error}; {rest}; {report} names each failure: repair or remove "
            "those media and run again"
        )
    if skipped:
        return (
            f"{len(skipped)} of {len(clips)} clips are not finished and were not tried; {rest}: run again "
            "without --retry-failed"
        )
    return (
        f"{len(clips)} media files gave no clip: no face stays for extract.faces.min_track_s; {rest}: look "
        "at some of them with --preview, or choose another extract.faces.subject"
    )


def _is_sound(parts: PartStore, key: ClipKey) -> bool:
    try:
        parts.read(key)
    except CorruptFeatureError:
        return False
    return True
