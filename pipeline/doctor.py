"""`tagf doctor`: what a bug report needs, and whether one small clip goes through."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cache.canonical_json import Json
from cache.user_folders import default_work_dir
from pipeline import environment
from pipeline.config import CorpusConfig, ExtractConfig
from pipeline.environment import without_home
from pipeline.errors import WeightsError
from pipeline.weights.registry import REGISTRY, verify_file, weights_dir, weights_path

# A store of a small corpus fits; a large one is for the user to reckon.
_LEAST_FREE_GB = 1.0
_TRIAL = CorpusConfig(clips=4, seconds=1.0, fps=25)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found.

    Attributes:
        sections: Facts by section and name.
        problems: What does not work, and what to do about it; one line each.
    """

    sections: Mapping[str, Mapping[str, Json]]
    problems: tuple[str, ...]

    def to_mapping(self) -> dict[str, Json]:
        """All of it, for JSON."""
        return {"problems": list(self.problems), **self.sections}

    def to_text(self) -> str:
        """Sections of aligned lines, then the problems."""
        lines: list[str] = []
        for section, facts in self.sections.items():
            width = max((len(name) for name in facts), default=0)
            lines += [
                section,
                *(f"  {name.ljust(width)}  {_shown(value)}" for name, value in facts.items()),
                "",
            ]
        if not self.problems:
            return "\n".join([*lines, "No problems found."])
        return "\n".join([*lines, "problems", *(f"  {problem}" for problem in self.problems)])


def diagnose(config: ExtractConfig, *, device: str = "auto", try_clip: bool = True) -> Diagnosis:
    """Look at everything that extraction relies on. Whatever is wrong is in the result, nothing is raised.

    Args:
        config: The `extract` section to try.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        try_clip: Whether to extract one drawn clip of a second.
    """
    problems: list[str] = []
    looks: dict[str, Callable[[list[str]], Mapping[str, Json]]] = {
        "versions": environment.package_versions,
        "ffmpeg": environment.ffmpeg_facts,
        "devices": environment.device_facts,
        "work folder": lambda found: environment.folder_facts(
            default_work_dir(), found, least_free_gb=_LEAST_FREE_GB
        ),
        "weights": _weights,
        "environment": lambda _: environment.variable_facts(),
    }
    if try_clip:
        looks["trial"] = lambda found: _trial(config, device, found)
    sections: dict[str, Mapping[str, Json]] = {}
    for section, look in looks.items():
        try:
            sections[section] = look(problems)
        except Exception as error:  # the one command that must not fall over
            message = without_home(" ".join(str(error).split()))
            problems.append(f"{section}: {type(error).__name__}: {message}")
            sections[section] = {}
    return Diagnosis(sections=sections, problems=tuple(problems))


def _weights(problems: list[str]) -> dict[str, Json]:
    """Which registered weights are there; one that is not what was published is a problem."""
    facts: dict[str, Json] = {"path": without_home(str(weights_dir()))}
    for name, weights in REGISTRY.items():
        path = weights_path(weights)
        if not path.exists():
            facts[name] = None
            continue
        try:
            digest = verify_file(weights, path)
        except WeightsError as error:
            facts[name] = "damaged, or another file"
            problems.append(without_home(str(error)))
        else:
            facts[name] = f"found, SHA-256 {digest[:16]}, {_published(weights.sha256)}"
    return facts


def _published(sha256: str | None) -> str:
    return "as published" if sha256 else "of which none is published"


def _trial(config: ExtractConfig, device: str, problems: list[str]) -> dict[str, Json]:
    """Draw a clip, extract it and read it back; seconds of each step."""
    from cache.store import FeatureStore
    from pipeline.run.runner import RunOptions, extract_features
    from pipeline.sample_corpus import plan_corpus
    from pipeline.sample_corpus.corpus import write_clip

    steps: dict[str, Json] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            steps[f"{name} (s)"] = round(time.perf_counter() - started, 2)

    plan = plan_corpus(_TRIAL)[0]
    with tempfile.TemporaryDirectory(prefix="tagf-doctor-") as name:
        folder = Path(name)
        media, out = folder / "videos", folder / "features.zarr"
        media.mkdir()
        try:
            with step("draw and encode a clip"):
                write_clip(media, plan)
            with step("extract it"):
                options = RunOptions(work_dir=folder / "work", workers=1, device=device)
                report = extract_features(media, "videos", out, config, options)
            with step("read the store"):
                num_rows = FeatureStore.open(out).num_frames
        except Exception as error:
            problems.append(f"a drawn clip does not go through: {without_home(' '.join(str(error).split()))}")
            return steps
    (outcome,) = report.clips
    for stage, seconds in outcome.stage_seconds.items():
        steps[f"of it {stage} (s)"] = round(seconds, 2)
    steps |= {
        "rows": num_rows,
        "rows with a face": outcome.num_face_frames,
        "rows with sound": outcome.num_audio_frames,
    }
    for found, what in (
        (num_rows == plan.num_frames, f"{plan.num_frames} rows, got {num_rows}"),
        (outcome.num_face_frames > 0, "faces, found none"),
        (outcome.num_audio_frames > 0, "sound, heard none"),
    ):
        if not found:
            problems.append(f"of a drawn clip: expected {what}; reinstall tagf with the versions it asks for")
    return steps


def _shown(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
