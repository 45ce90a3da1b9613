"""The written corpus: media decoded again, labels, tables, repeatability and what is never overwritten."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest
from scipy import signal

from pipeline.config import CorpusConfig
from pipeline.errors import PipelineError
from pipeline.sample_corpus import GENERATOR_VERSION, corpus, plan_corpus, write_sample_corpus
from pipeline.sample_corpus.clip import ClipPlan, acting, pictures, sound, voice
from pipeline.sample_corpus.voice import Utterance

_CONFIG = CorpusConfig(clips=4, seconds=2.0, seed=3)
_SMALL = CorpusConfig(clips=4, seconds=1.0, fps=5)
_SPLITS = ("Train_Set", "Validation_Set", "Test_Set")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "deep" / "corpus"
    write_sample_corpus(out, _CONFIG, workers=1)
    return out


@pytest.fixture
def quick_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips that take no time, for tests of the folder around them."""

    def write(folder: Path, plan: ClipPlan) -> None:
        (folder / f"{plan.clip_id}.mp4").write_text(plan.clip_id)

    monkeypatch.setattr(corpus, "write_clip", write)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _videos(out: Path) -> list[Path]:
    return sorted((out / "videos").iterdir())


def _decoded_video(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def _decoded_audio(path: Path) -> tuple[float, np.ndarray]:
    """Time of the first sample in seconds, and all samples."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    assert {(frame.sample_rate, frame.layout.name) for frame in frames} == {(48_000, "mono")}
    start_s = float(frames[0].pts * frames[0].time_base)
    return start_s, np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float64)


def _labels_file(out: Path, clip_id: str) -> Path:
    (path,) = out.glob(f"annotations/*/{clip_id}.txt")
    return path


def test_bytes_repeat_whatever_the_number_of_workers(written: Path, tmp_path: Path) -> None:
    write_sample_corpus(tmp_path / "again", _CONFIG, workers=2)
    assert _digests(tmp_path / "again") == _digests(written)
    assert len(_digests(written)) == 4 + 4 + 3


def test_every_clip_shows_a_subject_of_its_own(written: Path) -> None:
    with (written / "annotations/subjects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    clips = {path.stem for path in written.glob("annotations/*/*.txt")}
    assert {row["clip_id"] for row in rows} == clips
    assert len({row["subject"] for row in rows}) == len(clips)


def test_every_clip_is_in_one_split(written: Path) -> None:
    names = {split: [path.stem for path in (written / "annotations" / split).iterdir()] for split in _SPLITS}
    assert [len(names[split]) for split in _SPLITS] == [2, 1, 1]
    together = sorted(name for split in _SPLITS for name in names[split])
    assert together == [path.stem for path in _videos(written)]
    assert len(set(together)) == 4


def test_one_label_row_per_decoded_frame(written: Path) -> None:
    for path in _videos(written):
        frames = _decoded_video(path)
        lines = _labels_file(written, path.stem).read_text().splitlines()
        assert lines[0] == "valence,arousal"
        assert len(lines) - 1 == len(frames) == 50
        np.testing.assert_allclose(
            [float(frame.pts * frame.time_base) for frame in frames], np.arange(50) / 25
        )


def test_label_values_and_gaps(written: Path) -> None:
    for split in _SPLITS:
        lines = [
            line
            for path in (written / "annotations" / split).iterdir()
            for line in path.read_text().splitlines()[1:]
        ]
        gaps = [line for line in lines if line == "-5,-5"]
        values = np.array([[float(part) for part in line.split(",")] for line in lines if line != "-5,-5"])
        assert 0 < len(gaps) <= 14
        assert np.abs(values).max() <= 1.0
        assert all(
            len(part.split(".")[1]) == 6 for line in lines if line != "-5,-5" for part in line.split(",")
        )


def test_labels_are_the_planned_feelings(written: Path) -> None:
    for plan in plan_corpus(_CONFIG):
        rows = np.loadtxt(_labels_file(written, plan.clip_id), delimiter=",", skiprows=1)
        times_s = np.arange(50) / 25
        known = rows[:, 0] != -5.0
        np.testing.assert_allclose(rows[known, 0], plan.valence.at(times_s)[known], atol=1e-6)
        np.testing.assert_allclose(rows[known, 1], plan.arousal.at(times_s)[known], atol=1e-6)


def test_media_are_what_they_should_be(written: Path) -> None:
    for path in _videos(written):
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.codec_context.pix_fmt, video.width, video.height) == ("yuv420p", 320, 240)


def test_decoded_pictures_are_the_drawn_ones(written: Path) -> None:
    plan = plan_corpus(_CONFIG)[1]
    decoded = [frame.to_ndarray(format="rgb24") for frame in _decoded_video(_videos(written)[1])]
    drawn = itertools.islice(pictures(plan, voice(plan)), 12)
    error = [np.abs(a.astype(int) - b).mean() for a, b in zip(drawn, decoded, strict=False)]
    assert len(error) == 12
    assert max(error) < 6.0


def test_sound_lies_beside_the_pictures(written: Path) -> None:
    for plan, path in zip(plan_corpus(_CONFIG), _videos(written), strict=True):
        start_s, decoded = _decoded_audio(path)
        expected = sound(plan, voice(plan)).astype(np.float64)
        assert expected.size == 2 * 48_000
        assert start_s + decoded.size / 48_000 == pytest.approx(2.0, abs=1.5 * 1024 / 48_000)
        correlation = signal.correlate(decoded, expected, method="fft")
        lag = int(np.argmax(correlation)) - (expected.size - 1)
        assert start_s + lag / 48_000 == pytest.approx(0.0, abs=1e-3)
        common = min(decoded.size, expected.size)
        assert np.corrcoef(decoded[:common], expected[:common])[0, 1] > 0.9


def test_table_of_episodes(written: Path) -> None:
    with (written / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["clip_id", "kind", "start_s", "end_s", "modality", "detail"]
    planned = [
        (plan.clip_id, episode.kind, episode.start_s, episode.end_s, episode.modality, episode.detail)
        for plan in plan_corpus(_CONFIG)
        for episode in plan.episodes
    ]
    read = [
        (
            row["clip_id"],
            row["kind"],
            float(row["start_s"]),
            float(row["end_s"]),
            row["modality"],
            row["detail"],
        )
        for row in rows
    ]
    assert read == planned
    assert len({row["clip_id"] for row in rows}) >= 3


def test_record_says_how_it_was_made(written: Path) -> None:
    record = json.loads((written / "corpus.json").read_text())
    assert record["generator_version"] == GENERATOR_VERSION
    assert record["settings"] == {"clips": 4, "seconds": 2.0, "fps": 25, "seed": 3}
    assert [clip["clip_id"] for clip in record["clips"]] == [path.stem for path in _videos(written)]
    assert "drawn faces and synthetic voices" in record["statement"]


def test_acting_follows_the_episodes() -> None:
    for plan in plan_corpus(CorpusConfig(clips=12, seconds=3.0)):
        states = acting(plan, Utterance(samples=np.zeros(1, np.float32), start_s=0.0, level=np.zeros(2)))
        times_s = np.arange(75) / 25
        covered = np.array([cover is not None for _, _, cover in states])
        leaning = np.array([pose.lean for _, pose, _ in states])
        for kind, active in (("occlusion", covered), ("absence", leaning != 0.0)):
            expected = np.zeros(75, dtype=bool)
            for episode in plan.episodes:
                if episode.kind == kind:
                    expected |= (times_s > episode.start_s) & (times_s < episode.end_s)
            np.testing.assert_array_equal(active, expected)
        for episode in plan.episodes:
            if episode.kind == "absence":
                middle = leaning[round((episode.start_s + episode.end_s) / 2 * 25)]
                assert middle * (1 if episode.variant == "right" else -1) > 0.9


def test_an_earlier_corpus_is_replaced(tmp_path: Path, quick_clips: None) -> None:
    out = tmp_path / "corpus"
    out.mkdir()
    write_sample_corpus(out, _SMALL, workers=1)
    stale = out / "videos" / "stale.mp4"
    stale.write_bytes(b"old")
    before = _digests(out)
    write_sample_corpus(out, _SMALL, workers=1)
    assert not stale.exists()
    assert _digests(out) == {name: digest for name, digest in before.items() if name != "videos/stale.mp4"}
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize("foreign", ["notes.txt", "corpus.json"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path, foreign: str) -> None:
    (tmp_path / foreign).write_text('{"format": "something else"}')
    with pytest.raises(PipelineError, match="holds no sample corpus"):
        write_sample_corpus(tmp_path, _SMALL, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == [foreign]


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="at least 1"):
        write_sample_corpus(tmp_path / "corpus", _SMALL, workers=0)


def test_a_file_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    out.write_text("mine")
    with pytest.raises(PipelineError, match="is not a folder"):
        write_sample_corpus(out, _SMALL, workers=1)
    assert out.read_text() == "mine"


def test_a_failure_leaves_the_earlier_corpus_and_no_remains(
    tmp_path: Path, quick_clips: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "corpus"
    write_sample_corpus(out, _SMALL, workers=1)
    before = _digests(out)

    def fail(folder: Path, plan: ClipPlan) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(corpus, "write_clip", fail)
    with pytest.raises(OSError, match="disk full"):
        write_sample_corpus(out, _SMALL, workers=1)
    assert _digests(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
