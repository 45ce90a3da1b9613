"""`tagf live`, from a checkpoint and a file to lines of CSV."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cli import main
from pipeline.clip_source import ClipSource
from pipeline.extract import ClipExtraction
from tagf_head.checkpoint import load_checkpoint


@pytest.fixture
def tagf(monkeypatch, capsys) -> Callable[..., tuple[int, str, list[str]]]:
    """Runs `tagf live` in this process: exit code, standard output, lines of standard error."""

    def run(*words: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["tagf", "live", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err.splitlines()

    return run


def test_answers_are_the_heads_on_trailing_windows_of_stage_ones_rows(
    tagf, clip, config, models, write_checkpoint, tmp_path
):
    path = write_checkpoint(name="tagf", reference_length=12)
    code, out, err = tagf(clip, "--checkpoint", path, "--as-fast-as-possible", "--device", "cpu")
    assert code == 0
    assert len(err) == 1
    assert err[0].startswith("live: 18 of 18 frames answered")
    rows = list(csv.DictReader(io.StringIO(out)))

    source = ClipSource(clip_id="x", media=clip)
    work = ClipExtraction(source=source, config=config, models=models, spill=tmp_path)
    (block,) = work.picture_rows(work.faces())
    (sound,) = work.sound_rows("audio", iter([block.arrays["time_s"]]))
    visual, audio = torch.from_numpy(block.streams["visual"][0]), torch.from_numpy(sound.rows)
    head = load_checkpoint(path).head
    for number, row in enumerate(rows):
        latest = slice(max(0, number - 11), number + 1)
        mask = torch.ones(1, latest.stop - latest.start, dtype=torch.bool)
        with torch.no_grad():
            expected = head(visual[None, latest], audio[None, latest], mask)[0, -1]
        # Networks that take one input differ by rounding, and rows are float16.
        assert float(row["valence"]) == pytest.approx(float(expected[0]), abs=2e-3)
        assert float(row["arousal"]) == pytest.approx(float(expected[1]), abs=2e-3)
        assert float(row["time_s"]) == pytest.approx(block.arrays["time_s"][number], abs=1e-6)
        assert row["face_found"] == str(int(block.arrays["face_found"][number]))
        assert float(row["latency_ms"]) >= 0
    assert len(rows) == 18
    assert np.ptp([float(row["valence"]) for row in rows]) > 1e-3


def test_a_file_is_written_and_never_written_over(tagf, clip, write_checkpoint, tmp_path):
    words = (clip, "--checkpoint", write_checkpoint(), "--as-fast-as-possible", "--every", 6)
    code, out, _ = tagf(*words, "--out", tmp_path / "out.csv")
    assert (code, out) == (0, "")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert len(lines) == 1 + 3
    code, _, err = tagf(*words, "--out", tmp_path / "out.csv")
    assert code == 1
    assert "out.csv" in err[-1]
    assert (tmp_path / "out.csv").read_text().splitlines() == lines


def test_an_interrupt_ends_with_the_summary(tagf, clip, write_checkpoint, monkeypatch):
    from pipeline.live.trailing_window import TrailingWindow

    answer, answered = TrailingWindow.answer, []

    def interrupted(window: TrailingWindow) -> tuple[float, float]:
        if len(answered) == 3:
            raise KeyboardInterrupt
        answered.append(1)
        return answer(window)

    monkeypatch.setattr(TrailingWindow, "answer", interrupted)
    code, out, err = tagf(clip, "--checkpoint", write_checkpoint(), "--as-fast-as-possible")
    assert code == 0
    assert len(out.splitlines()) == 4
    assert err[-1].startswith("live: 3 of ")


def test_a_reader_that_has_enough_ends_it(clip, write_checkpoint, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    path = write_checkpoint()
    words = ["tagf", "live", str(clip), "--checkpoint", str(path), "--as-fast-as-possible"]
    monkeypatch.setattr(sys, "argv", words)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        main()  # no failure, and none when the pipe is closed


def test_it_stops_after_some_seconds(tagf, clip, write_checkpoint):
    code, out, err = tagf(clip, "--checkpoint", write_checkpoint(), "--seconds", 0.001)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert err[-1].startswith("live: 1 of ")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "neither"),
        (["x.mp4", "--camera", "0"], "both"),
        (["--camera", "0", "--as-fast-as-possible"], "own pace"),
        (["x.mp4", "--microphone"], "--camera"),
        (["x.mp4", "--weights", "visual"], "STREAM=FILE"),
        (["x.mp4", "--every", "0"], "--every"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(tagf, words, named):
    code, _, err = tagf(*words, "--checkpoint", "x")
    assert code == 2
    assert len(err) == 1
    assert named in err[0]


def test_what_is_missing_is_named(tagf, clip, write_checkpoint, config, tmp_path):
    for words, named in (
        ((clip, "--checkpoint", tmp_path / "none.safetensors"), "none.safetensors"),
        ((tmp_path / "none.mp4", "--checkpoint", write_checkpoint()), "none.mp4"),
        (("--camera", "77", "--checkpoint", write_checkpoint()), "/dev/video77"),
        ((clip, "--checkpoint", write_checkpoint(), "--out", tmp_path / "no" / "out.csv"), "out.csv"),
    ):
        code, _, err = tagf(*words)
        assert code == 1
        assert len(err) == 1
        assert named in err[0]
        assert "internal error" not in err[0]
    centred = replace(config, audio=replace(config.audio, anchor="center"))
    code, _, err = tagf(clip, "--checkpoint", write_checkpoint(centred))
    assert code == 1
    assert "audio.anchor 'end'" in err[0]


def test_random_weights_are_said_to_mean_nothing(tagf, clip, write_checkpoint, config):
    def backbones(stream: str) -> Path:
        return replace(getattr(config, stream), weights="random:0")

    random = replace(config, visual=backbones("visual"), audio=backbones("audio"))
    _, _, err = tagf(clip, "--checkpoint", write_checkpoint(random), "--seconds", 0.001)
    assert any("random weights" in line for line in err)
