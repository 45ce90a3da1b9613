"""What the tests in a real browser share: Chromium, and runs that a report can be made of."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright

# The helpers beside this file: under pytest's importlib mode, test folders are not importable by name.
sys.path.insert(0, str(Path(__file__).parent))

from made_up_runs import (
    MadeUpClip,
    change_checkpoint,
    change_strings,
    evenly,
    rename_clips,
    write_long_clips,
    write_run,
)
from numbered_video import write_numbered_video
from payloads import PAYLOADS
from report_page import ReportPage, write_report
from watched_page import CHROMIUM_ARGUMENTS, WatchedPage, find_chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    path = find_chromium()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., WatchedPage]]:
    """Opens pages as `WatchedPage` does; by the end of the test none may have done what it must not do."""
    opened: list[WatchedPage] = []

    def open_one(path: Path, **options: Any) -> WatchedPage:
        opened.append(WatchedPage(browser, path, **options))
        return opened[-1]

    yield open_one
    problems = [problem for page in opened for problem in page.close()]
    assert not problems


@dataclass(frozen=True)
class MadeUpReport:
    """What reports are made of.

    Attributes:
        run: Run folder.
        annotations: Its labels.
        media: Folder of its clips' videos, whose every frame shows its number.
        times_s: Clip -> ``(N,)`` times of its frames.
    """

    run: Path
    annotations: Path
    media: Path
    times_s: Mapping[str, NDArray[np.float64]]

    @property
    def videos(self) -> list[Path]:
        """Files that a report may show."""
        return sorted(self.media.iterdir())


# Frames that come when they like, as telephones record them, with half a second in which nothing moved.
_UNEVEN_S = np.cumsum(np.r_[0.0, np.tile([0.03, 0.05, 0.034, 0.046], 25), 0.5, np.full(60, 0.04)])
CLIPS = {
    clip.clip_id: clip
    for clip in (
        evenly("walk", 250),
        evenly("talk", 130),
        evenly("slow", 90, fps=10),
        evenly("late", 100, start_s=0.4),
        MadeUpClip(clip_id="uneven", times_s=_UNEVEN_S),
        evenly("no labels", 60, is_labelled=False),
        evenly("unseen", 75),
    )
}
_CODECS = {"talk": "libvpx-vp9"}


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> MadeUpReport:
    """A run over clips whose videos differ in what seeking can go wrong with; one has none."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made_up")
    media = folder / "media"
    media.mkdir()
    for clip_id, clip in CLIPS.items():
        codec = _CODECS.get(clip_id, "libx264")
        if clip_id != "unseen":
            path = media / f"{clip_id}.{'mp4' if codec == 'libx264' else 'webm'}"
            write_numbered_video(path, clip.times_s, codec=codec, sound=clip_id != "slow")
    run = write_run(folder, tuple(CLIPS.values()))
    return MadeUpReport(
        run, folder / "annotations", media, {name: clip.times_s for name, clip in CLIPS.items()}
    )


@pytest.fixture(scope="session")
def linked(made_up: MadeUpReport) -> Path:
    """A report that plays the videos from where they lie."""
    out = made_up.run.parent / "linked.html"
    return write_report(made_up.run, out, "--annotations", made_up.annotations, "--media", made_up.media)


@pytest.fixture(scope="session")
def embedded(made_up: MadeUpReport) -> Path:
    """A report with the videos inside, in a folder of its own."""
    out = made_up.run.parent / "alone" / "embedded.html"
    out.parent.mkdir()
    return write_report(
        made_up.run, out, "--annotations", made_up.annotations, "--media", made_up.media, "--videos", "embed"
    )


@pytest.fixture
def open_report(open_page: Callable[..., WatchedPage], made_up: MadeUpReport) -> Callable[..., ReportPage]:
    """Opens a report; options as for `WatchedPage`."""
    return lambda path, **options: ReportPage(open_page(path, files=made_up.videos, **options))


@pytest.fixture(scope="session")
def fifty_clips(made_up: MadeUpReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 50 clips of 3.6 minutes each, with labels, deviations and gates."""
    folder = tmp_path_factory.mktemp("fifty")
    shutil.copytree(made_up.run, folder / "run")
    write_long_clips(folder / "run", folder / "annotations", num_clips=50, num_frames=5_400)
    return write_report(folder / "run", folder / "report.html", "--annotations", folder / "annotations")


@pytest.fixture(scope="session")
def thinned_out(made_up: MadeUpReport, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A report of so many clips that some frames of each are not drawn, and the video of its clip 37."""
    folder = tmp_path_factory.mktemp("thinned_out")
    shutil.copytree(made_up.run, folder / "run")
    write_long_clips(folder / "run", folder / "annotations", num_clips=50, num_frames=1_800)
    video = folder / "media" / "clip 37.mp4"
    video.parent.mkdir()
    write_numbered_video(video, np.arange(1_800) / 25, sound=False)
    return write_report(folder / "run", folder / "report.html", "--media", video.parent), video


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a run with a hundred clips, in which every name and every setting is a payload."""
    folder = tmp_path_factory.mktemp("hostile")
    clips: list[MadeUpClip] = [evenly(f"clip {number}", 25) for number in range(len(PAYLOADS))]
    run = write_run(folder, clips)
    rename_clips(run, folder / "annotations", {f"clip {n}": payload for n, payload in enumerate(PAYLOADS)})
    payloads = cycle(PAYLOADS)
    # What the metrics are of is read by programs; the rest is for people.
    change_strings(run, lambda text: text if text in ("mean", "subject", "clip") else next(payloads))

    def change(description: dict[str, object]) -> None:
        description["versions"] = {payload: payload for payload in PAYLOADS}

    change_checkpoint(run, change)
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
    return write_report(run, folder / "report.html", "--clips", "100")
