"""Where numbers come from: read from the configuration, or from the checkpoint alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.report.errors import ReportError
from pipeline.report.provenance import prediction_provenance, read_description, run_provenance


def test_facts_name_head_seed_fingerprint_weights_and_versions(run):
    found = run_provenance(run.folder, read_description(run.folder), None)
    facts = dict(found.facts)
    assert facts["Head"] == "tagf"
    assert facts["Seed"] == "3"
    assert facts["Best epoch"] == "2"
    assert facts["Feature fingerprint"] == "f00d"
    assert facts["Visual backbone"] == "ir50, weights random:0/v1 (random)"
    assert facts["Versions"] == "python 3.11, torch 2.11"
    assert found.random_weights is True
    assert [title for title, _ in found.settings] == ["Training", "Features"]


def test_a_checkpoint_alone_says_the_same(run, tmp_path):
    description = read_description(run.folder)
    save_file(
        {"weight": np.zeros(2, np.float32)},
        tmp_path / "best.safetensors",
        metadata={"tagf": json.dumps(description)},
    )
    alone = run_provenance(tmp_path, read_description(tmp_path), None)
    named = dict(run_provenance(run.folder, description, None).facts)
    facts = dict(alone.facts)
    assert facts.pop("Checkpoint").startswith("best.safetensors, SHA-256 ")
    assert facts == named


def test_nothing_is_known_of_weights_without_configuration_and_metrics(tmp_path):
    assert read_description(tmp_path) is None
    assert run_provenance(tmp_path, None, None).random_weights is None


@pytest.mark.parametrize("content", [b"no tensors", b""])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(ReportError, match=r"best\.safetensors is no checkpoint"):
        read_description(tmp_path)


def test_a_predictions_checkpoints_settings_and_smoothing_are_listed():
    record = {
        "tagf": "0.1.0",
        "checkpoints": [{"path": "a/best.safetensors", "sha256": "abc", "head": "tagf"}],
        "random_weights": False,
        "extract": {"audio": {"backbone": "vggish", "weights": "audioset"}},
        "smoothing": {"kind": "median", "seconds": 0.5},
        "device": "cuda:0",
        "versions": {"torch": "2.11"},
    }
    found = prediction_provenance(record)
    facts = dict(found.facts)
    assert facts["Checkpoint"] == "tagf, a/best.safetensors, SHA-256 abc"
    assert json.loads(facts["Smoothing"]) == {"kind": "median", "seconds": 0.5}
    assert facts["Audio backbone"] == "vggish, weights audioset"
    assert found.random_weights is False
