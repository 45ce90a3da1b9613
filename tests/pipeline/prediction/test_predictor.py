"""Predictions of media against extraction and evaluation of the same clips, to the last bit."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cache import ClipKey, FeatureStore, PartStore, pack_store
from cache.errors import StaleFeatureError
from pipeline import Predictor
from pipeline.clip_source import ClipSource
from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, VisualConfig
from pipeline.errors import ExtractionError, MediaError
from pipeline.extract import ClipExtraction
from pipeline.feature_spec import feature_spec
from pipeline.models import load_models
from pipeline.prediction.predicted_rows import PredictedRows
from tagf_head.checkpoint import CheckpointInfo, save_checkpoint
from tagf_head.config import EvaluateConfig, HeadConfig, TrainConfig
from tagf_head.errors import CheckpointError, HeadError
from tagf_head.evaluation.evaluate import Evaluation, evaluate_head
from tagf_head.evaluation.smoothing import parse_smoothing, smooth_clip
from tagf_head.heads import build_head

CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="tiny_backbones:TinyFaces", weights="", views=("top_left", "center")),
    audio=AudioConfig(backbone="tiny_backbones:TinyMel", weights=""),
    faces=FaceConfig(detect_every=10),
    batch_size=16,
)
HEAD = HeadConfig(
    visual_features=6,
    audio_features=8,
    visual_channels=(8, 8),
    audio_channels=(6,),
    kernel_size=3,
    attended_features=4,
    regressor_features=8,
    uncertainty=True,
)
WINDOW, STRIDE = 20, 12
# With windows of 20 every 12 rows: shorter than a window, one window, a last window that is aligned to the
# end, whole strides, and more windows than a pass has.
NUM_FRAMES = {"tiny": 7, "exact": 20, "face": 27, "group/strides": 44, "long": 300}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """Clips, and the store of their features."""

    clips: dict[str, ClipSource]
    store: Path
    annotations: Path


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1]))
        yield


@pytest.fixture(scope="module")
def corpus(
    tmp_path_factory: pytest.TempPathFactory, draw_face: Callable[..., Any], write_media: Callable[..., None]
) -> Corpus:
    """A face that is found in one clip, cropped ones that come and go in the others; one clip is silent."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("prediction")
    rng = np.random.default_rng(0)
    drawn, _ = draw_face((160, 200), (80, 100), 130.0)
    clips, models, spec = {}, load_models(CONFIG, "cpu"), feature_spec(CONFIG)
    parts, packed = PartStore(root / "parts"), []
    for name, num_frames in NUM_FRAMES.items():
        path = root / "media" / f"{name}.mkv"
        path.parent.mkdir(parents=True, exist_ok=True)
        start_s = 0.3 if name == "exact" else 0.0
        seconds = num_frames / 25 - (0.9 if name == "long" else 0)
        samples = 0.2 * rng.standard_normal((1, round(seconds * 16_000))).astype(np.float32)
        pictures = [np.full((48, 64, 3), 90, np.uint8)] * num_frames
        if name == "face":
            pictures = [np.roll(drawn, frame, axis=1) for frame in range(20)]
            pictures += [np.full_like(drawn, 90)] * (num_frames - 20)
        write_media(
            path,
            pictures,
            [start_s + frame / 25 for frame in range(num_frames)],
            samples=None if name == "tiny" else samples,
            sample_rate_hz=16_000,
        )
        faces = None
        if name != "face":
            faces = root / "faces" / name
            faces.mkdir(parents=True)
            for frame in range(num_frames):
                if not 30 <= frame < 70:
                    crop = rng.integers(0, 256, (48, 48, 3), np.uint8)
                    Image.fromarray(crop).save(faces / f"{frame + 1:05d}.jpg")
        clips[name] = ClipSource(clip_id=name, media=path, faces=faces)
        key = ClipKey(
            clip_id=name,
            media_sha256=hashlib.sha256(name.encode()).hexdigest(),
            faces_sha256=None,
            selection="",
            fingerprint=spec.fingerprint,
        )
        work = ClipExtraction(source=clips[name], config=CONFIG, models=models, spill=root)
        with parts.writer(key, spec) as writer:
            writer.commit(work.write_rows(work.faces(), writer))
        packed.append((parts, key))
        labels = root / "annotations" / "Test_Set" / f"{name}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        values = rng.uniform(-1, 1, (num_frames, 2))
        labels.write_text("valence,arousal\n" + "".join(f"{v},{a}\n" for v, a in values))
    pack_store(packed, spec, root / "features.zarr")
    return Corpus(clips=clips, store=root / "features.zarr", annotations=root / "annotations")


WriteHead = Callable[..., Path]


@pytest.fixture(scope="module")
def write_head(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> WriteHead:
    """Writes the checkpoint of a head with random weights."""
    store, folder = FeatureStore.open(corpus.store), tmp_path_factory.mktemp("heads")

    def write(seed: int = 0, *, name: str = "tagf", **changes: Any) -> Path:
        spec = changes.pop("spec", store.spec)
        shape = dataclasses.replace(HEAD, name=name, **changes.pop("head", {}))
        settings = {"window": WINDOW, "stride": STRIDE, "seed": seed, **changes}
        info = CheckpointInfo(
            train=TrainConfig(head=shape, **settings),
            spec=spec,
            features_digest=store.digest,
            annotations_digest="0" * 64,
            versions={},
            key="0" * 64,
            best_epoch=1,
            validation_ccc={"valence": 0.0, "arousal": 0.0, "mean": 0.0},
            trained_on=(),
        )
        torch.manual_seed(seed)
        path = folder / f"{len(list(folder.iterdir()))}.safetensors"
        save_checkpoint(path, build_head(shape).state_dict(), info)
        return path

    return write


@pytest.fixture
def evaluated(corpus: Corpus, tmp_path: Path) -> Callable[..., Evaluation]:
    def run(*checkpoints: Path, **options: Any) -> Evaluation:
        return evaluate_head(
            corpus.store,
            corpus.annotations,
            checkpoints,
            tmp_path / "metrics.json",
            config=EvaluateConfig(split="test", batch_size=3),
            **options,
        )

    return run


def joined(blocks: list[PredictedRows]) -> dict[str, np.ndarray]:
    """Rows of a clip as whole arrays."""
    arrays = ("frame", "time_s", "values", "deviation", "face_found", "face_box", "face_score")
    whole = {
        name: np.concatenate([getattr(block, name) for block in blocks])
        for name in arrays
        if getattr(blocks[0], name) is not None
    }
    return whole | {
        f"gate {name}": np.concatenate([block.gates[name] for block in blocks]) for name in blocks[0].gates
    }


def assert_same(found: list[PredictedRows], expected: Evaluation, clip_id: str) -> None:
    """Bits of a clip's rows are those of its evaluation."""
    assert {block.clip_id for block in found} == {clip_id}
    predictions = expected.predictions
    stops = np.cumsum(predictions.row_size)
    number = predictions.clip_ids.index(clip_id)
    rows = slice(stops[number] - predictions.row_size[number], stops[number])
    whole = joined(found)
    for name in ("frame", "time_s", "values", "deviation", "face_found"):
        value = getattr(predictions, name)
        assert (value is None) == (name not in whole)
        if value is not None:
            assert whole[name].dtype == value.dtype
            np.testing.assert_array_equal(whole[name], value[rows], err_msg=f"{clip_id} {name}")
    assert {name for name in whole if name.startswith("gate")} == {f"gate {name}" for name in expected.gates}
    for name, gate in expected.gates.items():
        np.testing.assert_array_equal(whole[f"gate {name}"], gate.weights[rows].astype(np.float32))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_predictions_of_media_are_those_of_extraction_and_evaluation(
    corpus: Corpus, write_head: WriteHead, evaluated: Callable[..., Evaluation], num_threads: int
) -> None:
    path = write_head()
    expected = evaluated(path)
    torch.set_num_threads(num_threads)
    try:
        predictor = Predictor.from_checkpoint(path, device="cpu")
        for clip_id, clip in corpus.clips.items():
            assert_same(list(predictor.stream(clip)), expected, clip_id)
    finally:
        torch.set_num_threads(1)


def test_ensembles_and_features_that_are_there(
    corpus: Corpus, write_head: WriteHead, evaluated: Callable[..., Evaluation]
) -> None:
    # Each head with windows of its own; concat has no gates; without --uncertainty there are still two heads.
    paths = [write_head(1), write_head(2, name="concat", window=13, stride=4, head={"uncertainty": False})]
    expected = evaluated(*paths)
    assert expected.predictions.deviation is not None
    predictor = Predictor.from_checkpoint(paths, device="cpu")
    store = FeatureStore.open(corpus.store)
    for clip_id, clip in corpus.clips.items():
        assert_same(list(predictor.stream_store(store, clip_id)), expected, clip_id)
        if clip_id in ("face", "group/strides"):
            assert_same(list(predictor.stream(clip)), expected, clip_id)


def test_one_head_without_deviations_or_gates(
    corpus: Corpus, write_head: WriteHead, evaluated: Callable[..., Evaluation]
) -> None:
    path = write_head(3, name="visual_only", head={"uncertainty": False})
    found = list(Predictor.from_checkpoint(path, device="cpu").stream(corpus.clips["exact"]))
    assert found[0].deviation is None
    assert_same(found, evaluated(path), "exact")


def test_first_rows_come_while_the_rest_is_decoded(
    corpus: Corpus, write_head: WriteHead, evaluated: Callable[..., Evaluation]
) -> None:
    path = write_head(4, window=6, stride=3)
    decoded = 0

    def beat(num_rows: int) -> None:
        nonlocal decoded
        decoded += num_rows == 0

    blocks, decoded_at = [], []
    for block in Predictor.from_checkpoint(path, device="cpu").stream(corpus.clips["long"], beat=beat):
        blocks.append(block)
        decoded_at.append(decoded)
    # Frames come in blocks of 64, and a block or two are drawn ahead to fill batches.
    assert decoded_at[0] <= 192
    assert decoded_at[-1] == NUM_FRAMES["long"]
    assert_same(blocks, evaluated(path), "long")


def test_table_of_a_path(corpus: Corpus, write_head: WriteHead) -> None:
    predictor = Predictor.from_checkpoint(str(write_head()), device="cpu")
    path = corpus.clips["face"].media
    rows = joined(list(predictor.stream(path)))
    table = predictor.predict(str(path))
    assert list(table) == ["clip_id", "frame", "time_s", "valence", "arousal", "face_found"]
    assert table["clip_id"].unique().tolist() == ["face"]
    np.testing.assert_array_equal(table[["valence", "arousal"]].to_numpy(), rows["values"])
    np.testing.assert_array_equal(table["face_found"], rows["face_found"])
    assert table["face_found"].sum() == 20
    wide = predictor.predict(path, columns=["faces", "gates", "deviation"])
    gates = [f"{gate}_H{step}" for gate in ("visual", "audio") for step in range(3)]
    faces = ["face_x", "face_y", "face_width", "face_height", "face_score"]
    assert list(wide)[6:] == [*faces, *gates, "valence_sd", "arousal_sd"]
    np.testing.assert_array_equal(wide[["valence_sd", "arousal_sd"]].to_numpy(), rows["deviation"])
    found = rows["face_found"]
    np.testing.assert_array_equal(wide["face_x"][found], rows["face_box"][found, 0])


def test_smoothed_values(corpus: Corpus, write_head: WriteHead) -> None:
    path, clip = write_head(), corpus.clips["long"]
    smoothing = parse_smoothing("median:0.3")
    plain = joined(list(Predictor.from_checkpoint(path, device="cpu").stream(clip)))
    smoothed = Predictor.from_checkpoint(path, device="cpu", smoothing=smoothing)
    expected = smooth_clip(plain["values"], plain["time_s"], smoothing)
    assert not np.array_equal(expected, plain["values"])
    np.testing.assert_array_equal(joined(list(smoothed.stream(clip)))["values"], expected)
    found = smoothed.stream_store(FeatureStore.open(corpus.store), "long")
    np.testing.assert_array_equal(joined(list(found))["values"], expected)


def test_subjects(
    tmp_path: Path, draw_face: Callable[..., Any], write_media: Callable[..., None], write_head: WriteHead
) -> None:
    """Two faces side by side: the largest by the settings, the other by choice, or both as clips."""
    left, _ = draw_face((160, 200), (80, 100), 140.0)
    right, _ = draw_face((160, 200), (80, 100), 100.0)
    pair = np.concatenate([left, right], axis=1)
    write_media(tmp_path / "pair.mp4", [pair] * 26, [frame / 25 for frame in range(26)])
    path = write_head()

    def predicted(subject: Any) -> list[PredictedRows]:
        predictor = Predictor.from_checkpoint(path, device="cpu", subject=subject)
        return list(predictor.stream(tmp_path / "pair.mp4"))

    middle = {
        subject: joined(predicted(subject))["face_box"][:, [0, 2]].mean()
        for subject in (None, "left", "right")
    }
    assert middle[None] == middle["left"] < 200 < middle["right"]
    tracks = predicted("all")
    assert [block.clip_id for block in tracks] == ["pair_track1", "pair_track2"]
    by_track = [block.face_box[:, [0, 2]].mean() for block in tracks]
    np.testing.assert_allclose(by_track, [middle["left"], middle["right"]], atol=2)
    np.testing.assert_array_equal(tracks[1].values, joined(predicted("right"))["values"])


def test_what_cannot_be_predicted(corpus: Corpus, write_head: WriteHead, tmp_path: Path) -> None:
    path = write_head()
    with pytest.raises(ExtractionError, match=r"subject: expected one of largest, .*, got 'both'"):
        Predictor.from_checkpoint(path, subject="both")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere"):
        Predictor.from_checkpoint(tmp_path / "nowhere")
    predictor = Predictor.from_checkpoint(path, device="cpu")
    with pytest.raises(MediaError, match=r"'nothing.mp4': no such media file"):
        predictor.stream("nothing.mp4")
    with pytest.raises(ExtractionError, match="columns 'gate': expected groups"):
        predictor.predict(corpus.clips["tiny"], columns=["gate"])
    spec = feature_spec(dataclasses.replace(CONFIG, audio=dataclasses.replace(CONFIG.audio, anchor="end")))
    other = write_head(spec=spec)
    with pytest.raises(CheckpointError, match=r"same features, but audio.anchor: 'center' for .*, 'end' for"):
        Predictor.from_checkpoint([path, other], device="cpu")
    causal = Predictor.from_checkpoint(other, device="cpu")
    assert causal.config.audio.anchor == "end"
    with pytest.raises(StaleFeatureError, match=r"audio.anchor"):
        list(causal.stream_store(FeatureStore.open(corpus.store), "tiny"))


def test_weights_that_diverged_are_named_with_clip_and_row(corpus: Corpus, write_head: WriteHead) -> None:
    predictor = Predictor.from_checkpoint(write_head(), device="cpu")
    head = predictor.ensemble.members[0].checkpoint.head
    with torch.no_grad():
        next(head.parameters()).fill_(float("nan"))
    with pytest.raises(HeadError, match=r"clip 'tiny': the head predicts .* for row 0"):
        list(predictor.stream(corpus.clips["tiny"]))


def test_nothing_is_left_on_the_disk(
    corpus: Corpus, write_head: WriteHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    predictor = Predictor.from_checkpoint(write_head(), device="cpu", subject="longest")
    blocks = predictor.stream(corpus.clips["face"])
    next(blocks)
    blocks.close()  # given up half-way
    list(predictor.stream(corpus.clips["face"]))
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
def test_a_gpu_agrees_but_for_rounding(corpus: Corpus, write_head: WriteHead) -> None:
    path = write_head()
    cpu, gpu = (Predictor.from_checkpoint(path, device=device) for device in ("cpu", "cuda"))
    assert gpu.device.type == "cuda"
    for clip in corpus.clips.values():
        expected, found = (joined(list(each.stream(clip))) for each in (cpu, gpu))
        for name in ("values", "deviation"):
            np.testing.assert_allclose(found[name], expected[name], atol=2e-3)
        np.testing.assert_array_equal(found["face_found"], expected["face_found"])
