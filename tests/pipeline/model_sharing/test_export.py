"""`tagf export`: what lies in the folder, what the card says, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import ModelCard
from safetensors.numpy import load_file

from cache import CacheError
from cache.settings import load_section
from cache.spec import IMPORTED_PREFIX
from pipeline.cli.export import command
from pipeline.config import ExtractConfig
from pipeline.model_sharing.export import export_model
from pipeline.model_sharing.model_source import find_checkpoint
from pipeline.weights.registry import REGISTRY
from tagf_head.checkpoint import load_checkpoint
from tagf_head.config import HeadConfig, TrainConfig
from tagf_head.errors import HeadError

FILES = {"model.safetensors", "config.yaml", "metrics.json", "README.md", "SHA256SUMS"}


@pytest.fixture(scope="module")
def out(run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_model(run.folder, folder, name="Tiny *model*", licence="cc-by-nc-4.0", dataset="My corpus")
    return folder


def with_settings(info, **settings: str):
    spec = dataclasses.replace(info.spec, settings={**info.spec.settings, **settings})
    return dataclasses.replace(info, spec=spec)


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_the_checkpoint_is_the_runs(run, out: Path) -> None:
    assert {each.name for each in out.iterdir()} == FILES
    assert (out / "model.safetensors").read_bytes() == (run.folder / "best.safetensors").read_bytes()
    found, expected = (load_checkpoint(find_checkpoint(each)) for each in (out, run.folder))
    assert found.info == expected.info


def test_settings_ask_for_the_same_features_and_training(run, out: Path) -> None:
    info = load_checkpoint(out / "model.safetensors").info
    extract = load_section(out / "config.yaml", "extract", ExtractConfig)
    assert extract.visual.views == ("center", "flip")
    from pipeline.feature_spec import feature_spec

    assert feature_spec(extract).fingerprint == info.spec.fingerprint
    assert load_section(out / "config.yaml", "train", TrainConfig) == info.train


def test_checksums_are_of_every_file(out: Path) -> None:
    lines = (out / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert listed.keys() == FILES - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
        if name != "README.md":
            assert f"`{digest}`" in card_of(out)


def test_the_hubs_own_reader_finds_licence_and_metrics(run, out: Path) -> None:
    metrics = json.loads((run.folder / "metrics.json").read_text())
    data = ModelCard.load(out / "README.md").data
    assert (data.license, data.library_name, data.model_name) == ("cc-by-nc-4.0", "tagf", "Tiny *model*")
    assert {"valence-arousal", "random-weights"} <= set(data.tags)
    results = {each.metric_name: each for each in data.eval_results}
    assert results["CCC, mean"].metric_value == metrics["mean_ccc"]
    assert results["CCC, valence"].metric_value == metrics["valence"]["ccc"]
    assert results["PCC, arousal"].metric_type == "pearsonr"
    assert results["PCC, arousal"].metric_value == metrics["arousal"]["pcc"]
    assert {(each.dataset_name, each.dataset_split) for each in data.eval_results} == {("My corpus", "test")}


def test_the_card_says_what_was_measured(run, out: Path) -> None:
    card = card_of(out)
    metrics = json.loads((run.folder / "metrics.json").read_text())
    for target in ("valence", "arousal"):
        values = metrics[target]
        row = next(line for line in card.splitlines() if re.match(rf"\| {target} +\|", line))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1:4] == [
            f"{values['ccc']:.3f}",
            f"[{values['ccc_low']:.3f}, {values['ccc_high']:.3f}]",
            f"{values['pcc']:.3f}",
        ]
        coverage = metrics["calibration"][target]["coverage"]
        assert f"| {coverage['0.80']:.1%}" in card
    assert r"# Tiny \*model\*" in card
    assert "- Training: 2 clips, the official split" in card
    assert "3 clips, 48 frames, 48 of them with labels" in card
    assert "- This model: cc-by-nc-4.0" in card
    assert card.count("The frozen backbones have random weights") == 2


def test_no_clip_person_or_place_is_named(run, out: Path) -> None:
    for path in out.iterdir():
        content = path.read_bytes().decode("latin-1")
        for name in ("anna", "smith", "jensen", "carla", "o-neil", str(run.folder.parent), str(Path.home())):
            assert name not in content, (path.name, name)


def test_metrics_of_another_checkpoint_are_refused(run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / "metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps(metrics | {"checkpoints_sha256": ["0" * 64]}))
    with pytest.raises(
        HeadError, match=r"metrics\.json holds the metrics of another checkpoint \(SHA-256 0000"
    ):
        export_model(tmp_path / "run", tmp_path / "out")
    del metrics["clip_mean"]
    path.write_text(json.dumps(metrics))
    with pytest.raises(HeadError, match=r"no complete metrics\.json of this version.*clip_mean"):
        export_model(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_not_evaluated(write_run, tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    arguments = [str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "no metrics.json" in done.stderr
    assert "random weights" in done.stderr
    assert f"hf upload OWNER/NAME {tmp_path / 'out'}" in done.stdout
    card = card_of(tmp_path / "out")
    assert "Validation CCC of these weights, epoch 3: valence 0.250, arousal 0.500, mean 0.375" in card
    assert "was not evaluated on another split" in card
    assert ModelCard.load(tmp_path / "out" / "README.md").data.eval_results is None
    assert "license: unknown" in card


def test_what_lies_at_the_place_is_kept(write_run, tmp_path: Path) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "out"
    (out / ".git").mkdir(parents=True)
    (out / "notes.md").write_text("mine")
    for name in ("model.onnx", "model.safetensors"):
        (out / name).write_text("of a former export")
    with pytest.raises(
        HeadError,
        match=r"expected nothing there, got \.git, model\.onnx, .*; add --replace",
    ):
        export_model(run, out)
    export_model(run, out, replace=True)
    assert (out / "notes.md").read_text() == "mine"
    assert {each.name for each in out.iterdir()} == FILES - {"metrics.json"} | {".git", "notes.md"}
    assert find_checkpoint(out) == out / "model.safetensors"
    with pytest.raises(HeadError, match="is the run itself"):
        export_model(run, run, replace=True)
    with pytest.raises(HeadError, match="is a file"):
        export_model(run, out / "notes.md", replace=True)


def test_what_is_no_former_export_is_not_replaced(write_run, tmp_path: Path) -> None:
    run, other, project = write_run(tmp_path / "run"), write_run(tmp_path / "other"), tmp_path / "project"
    (other / "config.yaml").write_text("mine")
    with pytest.raises(HeadError, match=r"other: expected a former export.* found a run"):
        export_model(run, other, replace=True)
    project.mkdir()
    (project / "README.md").write_text("mine")
    with pytest.raises(HeadError, match=r"project: .*found README\.md without model\.safetensors"):
        export_model(run, project, replace=True)
    assert (other / "config.yaml").read_text() == (project / "README.md").read_text() == "mine"


def test_nothing_is_written_into_a_store(run, tmp_path: Path) -> None:
    shutil.copytree(run.store, tmp_path / "features.zarr")
    with pytest.raises(CacheError, match="lies inside the store"):
        export_model(run.folder, tmp_path / "features.zarr" / "model")


@pytest.mark.parametrize(
    ("licence", "hint"), [("apache2", "did you mean 'apache-2.0'"), ("§", "for example mit, apache-2.0")]
)
def test_licences_that_the_hub_does_not_know(run, tmp_path: Path, licence: str, hint: str) -> None:
    with pytest.raises(HeadError, match=hint):
        export_model(run.folder, tmp_path / "out", licence=licence)


def test_weights_are_named_by_their_digest(write_run, make_info, tmp_path: Path) -> None:
    registered = REGISTRY["vggish-audioset"]
    info = with_settings(
        make_info(),
        **{"visual.weights": f"sha256:{'12' * 32}", "audio.weights": f"sha256:{registered.sha256}"},
    )
    export_model(write_run(tmp_path / "run", info), tmp_path / "out")
    card = card_of(tmp_path / "out")
    assert "random" not in card.partition("## Checksums")[0].lower().replace("random windows", "")
    row = next(line for line in card.splitlines() if line.startswith("| audio "))
    assert "vggish-audioset" in row
    assert registered.licence in row
    assert f"`--weights visual=FILE`. Its SHA-256 is `{'12' * 32}`" in card
    settings = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert settings["extract"]["audio"]["weights"] == "vggish-audioset"
    assert settings["extract"]["visual"]["weights"] == "visual-121212121212.pth"
    assert "sha256 1212" in (tmp_path / "out" / "config.yaml").read_text().partition("extract:")[0]


def test_the_card_says_what_the_head_reads(write_run, make_info, out: Path, tmp_path: Path) -> None:
    assert "from face and voice: head `tagf`" in card_of(out)
    info = make_info()
    small = {"audio_channels": (6,), "kernel_size": 3, "regressor_features": 8, "audio_features": 128}
    head = HeadConfig(name="audio_only", visual_features=512, **small)
    info = make_info(train=dataclasses.replace(info.train, head=head.resolved()))
    export_model(write_run(tmp_path / "run", info), tmp_path / "out")
    assert "from the voice: head `audio_only`" in card_of(tmp_path / "out")


def test_features_that_another_program_made(write_run, make_info, tmp_path: Path) -> None:
    info = with_settings(make_info(), **{f"{IMPORTED_PREFIX}source": "other"})
    export_model(write_run(tmp_path / "run", info), tmp_path / "out")
    text = (tmp_path / "out" / "config.yaml").read_text()
    assert yaml.safe_load(text).keys() == {"train"}
    assert "'tagf extract' did not make the features" in text


def test_texts_cannot_break_out_of_the_card(write_run, make_info, tmp_path: Path) -> None:
    hostile = "a|b\n---\n# c <script>x</script> `d` [e](javascript:f)"
    info = with_settings(make_info(), **{"visual.weights": hostile})
    run = write_run(tmp_path / "run", info)
    export_model(run, tmp_path / "out", name=hostile, dataset=hostile)
    card = card_of(tmp_path / "out")
    assert ModelCard(card).data.license == "unknown"
    body = card.split("\n---\n", 1)[1]
    assert "\n---\n" not in body
    assert "\n# c" not in body
    assert not re.search(r"(?<!\\)<script", re.sub(r"`[^`\n]*`", "", body))
    assert not re.search(r"(?<!\\)\]\(", re.sub(r"`[^`\n]*`", "", body))


def test_tensors_stay_what_they_were(run, out: Path) -> None:
    # Read by safetensors alone, without this project's reader.
    found, expected = load_file(out / "model.safetensors"), load_file(run.folder / "best.safetensors")
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in found)
