"""Backbones of one's own: the examples of docs/backbones.md as they stand, and every way to get one wrong."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cache.settings import load_section
from pipeline.backbones import backbone_facts, load_backbone
from pipeline.backbones.clip_stream import ClipFrames, ClipStream, clip_rows
from pipeline.backbones.user_backbone import check_output, own_backbone, source_digest
from pipeline.config import AudioConfig, ExtractConfig, StreamConfig, VisualConfig
from pipeline.errors import ExtractionError, WeightsError
from pipeline.feature_spec import clip_streams, feature_spec
from pipeline.input_blocks import ExampleBlock, FaceBlock, SampleBlock
from pipeline.models import load_models

ROOT = Path(__file__).parents[3]
IMPORTS = """
import torch
from pipeline.backbones.backbone import Backbone
from pipeline.backbones.clip_stream import ClipStream
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in which the run takes place; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


@pytest.fixture
def write(folder: Path) -> Callable[[str], str]:
    """Writes a module with the given text and gives its name."""

    def write_module(text: str) -> str:
        name = f"mine_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        (folder / f"{name}.py").write_text(IMPORTS + text)
        return name

    return write_module


@pytest.fixture
def examples(folder: Path) -> Path:
    """The code blocks of docs/backbones.md as files, and a CSV file as OpenFace writes it."""
    page = (ROOT / "docs" / "backbones.md").read_text()
    blocks = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page, flags=re.DOTALL)
    assert [name for name, _ in blocks] == [
        "my_faces.py",
        "my_sounds.py",
        "my_speech.py",
        "my_openface.py",
        "params.yaml",
    ]
    for name, text in blocks:
        (folder / name).write_text(text)
    (folder / "openface").mkdir()
    (folder / "openface" / "v.csv").write_text(
        "frame, timestamp, success, AU06_r, AU12_r, AU45_r\n"
        "1, 0.0, 1, 0.5, 1.5, 0\n"
        "2, 0.125, 0, 9, 9, 9\n"
        "4, 0.375, 1, 2, 3, 4\n"
    )
    return folder


def frames(times_s: list[float]) -> ClipFrames:
    number = len(times_s)
    return ClipFrames(
        clip_id="v",
        media=Path("v.mp4"),
        time_s=np.array(times_s),
        source_frame=np.arange(number),
        face_found=np.ones(number, dtype=np.bool_),
    )


def test_examples_of_the_page_make_rows(examples: Path) -> None:
    config = load_section(examples / "params.yaml", "extract", ExtractConfig)
    models = load_models(config)
    assert list(models.embedders) == ["visual", "audio", "speech"]
    visual, audio, speech = models.embedders.values()
    assert (visual.crop_size_px, visual.views, speech.window_samples) == (64, ("center", "flip"), 8000)
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    (faces,) = visual.map([FaceBlock(crops=crops)])
    assert faces.shape == (2, 3, 32)
    (mirrored,) = visual.map([FaceBlock(crops=crops[:, :, ::-1].copy())])
    np.testing.assert_array_equal(mirrored[0], faces[1])

    grid = rng.normal(size=(100, 64)).astype(np.float32)
    (bands,) = audio.map([ExampleBlock(grid=grid, first_rows=np.array([0, 4]))])
    np.testing.assert_allclose(bands[1, :64], grid[4:].mean(0), atol=1e-5)
    np.testing.assert_allclose(bands[1, 64:], grid[4:].std(0, ddof=1), atol=1e-5)

    samples = rng.normal(size=9000).astype(np.float32)
    block = SampleBlock(samples=samples, first_samples=np.array([0, 1000]), window_samples=8000)
    (words,) = speech.map([block])
    assert words.shape == (2, 24)
    assert np.isfinite(words).all()
    assert not np.allclose(words[0], words[1])

    (stream,) = models.clip_streams.values()
    # Nearest in time; a tie goes to the earlier line; a line without success counts as nothing.
    rows = clip_rows("action_units", stream, frames([-1.0, 0.0625, 0.07, 0.25, 0.26, 7.0]))
    assert rows.tolist() == [[0.5, 1.5, 0], [0.5, 1.5, 0], [0, 0, 0], [0, 0, 0], [2, 3, 4], [2, 3, 4]]
    assert stream.source_files("v") == (Path("openface/v.csv"),)


def test_examples_of_the_page_are_in_the_fingerprint(examples: Path) -> None:
    config = load_section(examples / "params.yaml", "extract", ExtractConfig)
    spec = feature_spec(config)
    assert [(stream.name, stream.num_features) for stream in spec.streams] == [
        ("visual", 32),
        ("audio", 128),
        ("speech", 24),
        ("action_units", 3),
    ]
    assert spec.settings["streams.speech.backbone"] == "my_speech:SpeechFeatures"
    digest = hashlib.sha256((examples / "my_speech.py").read_bytes()).hexdigest()
    assert spec.settings["streams.speech.backbone_source"] == f"sha256:{digest}"
    assert spec.settings["streams.action_units.weights"] == "openface"
    with (examples / "my_speech.py").open("a") as file:
        file.write("# changed\n")
    assert feature_spec(config).differences(spec) == (
        f"streams.speech.backbone_source: {source_digest('my_speech:SpeechFeatures')!r} here, "
        f"'sha256:{digest}' there",
    )


def test_weights_that_are_a_file_count_by_content(examples: Path) -> None:
    model = load_backbone("my_faces:SmallFaceNet", "")
    torch.save(model.state_dict(), "a.pth")
    loaded = load_backbone("my_faces:SmallFaceNet", "a.pth")
    assert torch.equal(loaded.layers[0].weight, model.layers[0].weight)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())

    def weights(name: str) -> object:
        config = ExtractConfig(visual=VisualConfig(backbone="my_faces:SmallFaceNet", weights=name))
        return feature_spec(config).settings["visual.weights"]

    assert weights("a.pth") == f"sha256:{hashlib.sha256(Path('a.pth').read_bytes()).hexdigest()}"
    # Stage two tells random weights by this prefix.
    assert weights("random:3") == "random:3"


def test_the_script_finds_modules_in_the_folder_it_runs_in(examples: Path) -> None:
    """The installed script does not search the current folder by itself, as `python -m` would."""
    code = (
        "import sys; sys.path = [p for p in sys.path if p not in ('', sys.argv[1])]\n"
        "from pipeline.backbones import backbone_facts\n"
        "assert backbone_facts('my_openface:ActionUnits').takes == 'clip'\n"
        "sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code, str(examples)], cwd=examples, check=False, capture_output=True
    )
    assert run.returncode == 0, run.stderr


def test_modules_of_the_folder_hide_no_installed_ones(folder: Path) -> None:
    (folder / "imaplib.py").write_text("raise RuntimeError('hidden')")
    with pytest.raises(WeightsError, match=r"python[\d.]*/imaplib\.py has no 'Mine'"):
        backbone_facts("imaplib:Mine")


GOOD = """
class Mine(Backbone):
    takes, num_features, input_shape = "faces", 2, (3, 8, 8)
    def __init__(self, weights):
        super().__init__()
    def forward(self, inputs):
        return inputs.mean((2, 3))[:, :2]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Other(Backbone): ...", r"has no 'Mine'"),
        ("class Mine: ...", r"expected a subclass of .*Backbone or .*ClipStream, got <class"),
        ("Mine = 3", r"expected a subclass of .*, got 3"),
        (
            "import no_such_module",
            r"raised ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("1 / 0", r"importing it raised ZeroDivisionError: division by zero"),
        ("class Mine(Backbone) pass", r"importing it raised SyntaxError"),
        (
            GOOD.replace('"faces"', '"pictures"'),
            r"one of faces, log_mel, waveform, got 'pictures'",
        ),
        (GOOD.replace("2, (3, 8, 8)", "0, (3, 8, 8)"), r"num_features, a number of at least 1, got 0"),
        (GOOD.replace("(3, 8, 8)", "(3, 8, 9)"), r"input_shape as \(3, side, side\), .* got \(3, 8, 9\)"),
        (GOOD.replace('"faces"', '"waveform"'), r"input_shape as \(samples,\), since it takes waveform"),
        (GOOD.replace('"faces"', '"log_mel"'), r"input_shape as \(1, 96, 64\)"),
        ("class Mine(ClipStream): ...", r"state num_features, a number of at least 1, got nothing"),
    ],
)
def test_classes_that_are_no_backbones_are_named(
    write: Callable[[str], str], text: str, message: str
) -> None:
    module = write(text)
    with pytest.raises(WeightsError, match=f"backbone '{module}:Mine': .*{message}") as caught:
        backbone_facts(f"{module}:Mine")
    assert "\n" not in str(caught.value)


def test_modules_that_are_not_there_are_named_with_the_folder(folder: Path) -> None:
    with pytest.raises(WeightsError, match=f"no module 'nowhere' among the installed ones and in {folder}"):
        backbone_facts("nowhere.at_all:Mine")
    with pytest.raises(WeightsError, match=r"expected 'package\.module:Class'"):
        backbone_facts("nowhere:Mine:Too")
    with pytest.raises(WeightsError, match=r"not known.*your own: package\.module:Class"):
        backbone_facts("nowhere.Mine")


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            "inputs.mean((2, 3))",
            r"rows \(16, 2\) of floats for inputs \(16, 3, 8, 8\), got \(16, 3\)",
        ),
        ("inputs[:1, :2, 0, 0]", r"got \(1, 2\) torch\.float32"),
        ("inputs[:, :2, 0, 0].int()", r"got \(16, 2\) torch\.int32"),
        ("(inputs, inputs)", r"got tuple"),
        ("inputs[:, :2, 0, 0] / 0", r"expected finite rows for inputs of zeros, got NaN or infinity"),
        ("inputs @ inputs[0, 0, 0, :3]", r"got RuntimeError"),
    ],
)
def test_rows_that_are_not_what_was_stated_are_refused_before_the_run(
    write: Callable[[str], str], forward: str, message: str
) -> None:
    name = f"{write(GOOD.replace('inputs.mean((2, 3))[:, :2]', forward))}:Mine"
    with pytest.raises(WeightsError, match=message) as caught:
        check_output(load_backbone(name, ""), name, 16)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=message):
        load_models(ExtractConfig(visual=VisualConfig(backbone=name), batch_size=16))


def test_building_that_fails_is_named(write: Callable[[str], str]) -> None:
    name = f"{write(GOOD.replace('super().__init__()', 'open(weights)'))}:Mine"
    with pytest.raises(WeightsError, match=r"building it with weights 'x\.pth' raised FileNotFoundError"):
        own_backbone(name, "x.pth")


def test_streams_go_where_their_inputs_are(write: Callable[[str], str], examples: Path) -> None:
    faces = f"{write(GOOD)}:Mine"
    with pytest.raises(ExtractionError, match=r"audio\.backbone: expected .* takes log_mel or waveform"):
        feature_spec(ExtractConfig(audio=AudioConfig(backbone=faces)))
    with pytest.raises(ExtractionError, match=r"visual\.backbone: expected .* takes faces, .* takes log_mel"):
        feature_spec(ExtractConfig(visual=VisualConfig(backbone="vggish")))
    with pytest.raises(ExtractionError, match=r"takes clip; name it under extract\.streams"):
        feature_spec(ExtractConfig(visual=VisualConfig(backbone="my_openface:ActionUnits")))
    with pytest.raises(WeightsError, match=r"a stream of whole clips; name it under"):
        load_backbone("my_openface:ActionUnits", "")
    with pytest.raises(ExtractionError, match="states 8 px itself, got 40"):
        feature_spec(ExtractConfig(visual=VisualConfig(backbone=faces, input_size_px=40)))
    # Speech may be the audio stream, and a backbone of ours a further one.
    config = ExtractConfig(
        audio=AudioConfig(backbone="my_speech:SpeechFeatures", weights=""),
        streams={"scenes": StreamConfig(backbone="resnet50", weights="random:1")},
    )
    spec = feature_spec(config)
    assert [stream.num_features for stream in spec.streams] == [512, 24, 2048]
    assert str(spec.settings["streams.scenes.weights"]).startswith("random:1")
    assert clip_streams(config) == {}


class Made(ClipStream):
    num_features = 2

    def __init__(self, rows: object) -> None:
        super().__init__("")
        self.made = rows

    def rows(self, clip: ClipFrames) -> np.ndarray:
        return self.made  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 2)), r"got \(3, 2\) float64"),
        (np.zeros((2, 2), np.float32), r"expected rows \(3, 2\) float32, one per frame, got \(2, 2\)"),
        ([[0, 0]] * 3, "got list"),
        (np.float32([[0, 0], [0, 0], [np.nan, 0]]), "got NaN or infinity in row 2"),
    ],
)
def test_rows_of_clips_are_checked(rows: object, message: str) -> None:
    with pytest.raises(ExtractionError, match=f"clip 'v', stream 's': .*{message}"):
        clip_rows("s", Made(rows), frames([0, 1, 2]))
    good = np.ones((3, 2), np.float32)
    assert clip_rows("s", Made(good), frames([0, 1, 2])) is good
