"""`tagf robustness`: what its options make of conditions, settings and media."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.cli.robustness import command
from pipeline.degradation import CONDITIONS, FAMILIES
from tagf_head.config import EvaluateConfig
from tagf_head.robustness.conditions import Condition
from tagf_head.robustness.config import RobustnessConfig

PLACES = ("--features", "f.zarr", "--annotations", "labels", "--checkpoint", "a", "--checkpoint", "b")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the measurement and the extraction are called with."""
    asked = SimpleNamespace(measured=None, extracted=None, stores={})

    def measure(features: Any, annotations: Any, checkpoints: Any, out: Path, **options: Any) -> None:
        asked.measured = {"checkpoints": checkpoints, "out": out, **options}
        if options["degrade"] is not None:
            asked.stores = options["degrade"](("e1", "e2"))

    def extract(store: Any, source: Path, layout: str, clip_ids: Any, conditions: Any, work_dir: Path, *others: Any, **options: Any) -> dict:  # fmt: skip  # noqa: E501
        asked.extracted = {"store": store, "source": source, "layout": layout, "clip_ids": clip_ids}
        asked.extracted |= {"work_dir": work_dir, "config": others[0], **options}
        return {condition: work_dir / condition.name for condition in conditions}

    monkeypatch.setattr("tagf_head.robustness.run.measure_robustness", measure)
    monkeypatch.setattr("pipeline.degradation.condition_stores.extract_conditions", extract)
    return asked


def run(*words: str) -> Result:
    return CliRunner().invoke(command, [*PLACES, "--out", "out", *words], standalone_mode=False)


def test_without_media_every_condition_on_the_features(asked: SimpleNamespace) -> None:
    assert run().exception is None
    assert asked.measured["families"] == ("shift", "noise", "drop")
    assert asked.measured["degrade"] is None
    assert asked.measured["checkpoints"] == (Path("a"), Path("b"))
    assert asked.measured["evaluate"].split == "test"


def test_settings_and_options(asked: SimpleNamespace, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        "evaluate: {split: validation, batch_size: 3}\n"
        "robustness: {drop_percent: [30], burst_s: 2, seed: 5}\n"
        "extract: {batch_size: 17}\n"
    )
    words = ("--params", str(params), "--conditions", "drop, blur", "--source", "clips", "--device", "cpu")
    assert run(*words).exception is None
    config = asked.measured["config"]
    assert (config.drop_percent, config.burst_s, config.seed) == ((30.0,), 2.0, 5)
    assert (asked.measured["evaluate"].split, asked.measured["evaluate"].batch_size) == ("validation", 3)
    assert asked.measured["families"] == ("drop",)
    assert asked.extracted["config"].batch_size == 17
    assert (asked.extracted["seed"], asked.extracted["device"]) == (5, "cpu")
    assert run(*words, "--seed", "6", "--split", "test").exception is None
    assert (asked.measured["config"].seed, asked.measured["evaluate"].split) == (6, "test")
    assert asked.extracted["seed"] == 6


def test_settings_without_a_section_keep_its_defaults(asked: SimpleNamespace, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train: {seed: 3}\n")
    assert run("--params", str(params)).exception is None
    assert asked.measured["config"] == RobustnessConfig()
    assert asked.measured["evaluate"] == EvaluateConfig()


@pytest.mark.parametrize(("words", "kept"), [(("--source", "v"), True), (("--source=v",), True), ((), False)])
def test_interrupted(
    words: tuple[str, ...], kept: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tagf_head.robustness.run.measure_robustness", interrupt)
    monkeypatch.setattr("sys.argv", ["tagf", "robustness", *PLACES, "--out", "out", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    message = "; finished clips and stores of degraded media are kept, run the same command again to continue"
    assert capsys.readouterr().err.strip() == "tagf: interrupted" + (message if kept else "")


def test_media_are_extracted_for_the_clips_that_are_measured(asked: SimpleNamespace) -> None:
    result = run("--source", "clips", "--layout", "aff-wild2", "--conditions", "reverberation=1@-3,darkness")
    assert result.exception is None
    assert asked.measured["families"] == ()
    assert asked.extracted["clip_ids"] == ("e1", "e2")
    assert (asked.extracted["source"], asked.extracted["layout"]) == (Path("clips"), "aff-wild2")
    assert asked.extracted["work_dir"] == Path("out/media")
    reverberation, *darkness = asked.stores
    assert (reverberation.family, reverberation.modality) == ("reverberation@-3", "audio")
    assert (reverberation.level, reverberation.unit) == (1, "s")
    assert "direct to reverberant -3 dB" in reverberation.quantity
    assert asked.stores[reverberation] == Path("out/media/reverberation=1@-3")
    assert [each.level for each in darkness] == list(FAMILIES["darkness"].levels)
    assert all(isinstance(each, Condition) and each.modality == "visual" for each in darkness)


def test_all_conditions_of_media_by_default(asked: SimpleNamespace) -> None:
    assert run("--source", "clips").exception is None
    assert asked.measured["families"] == ("shift", "noise", "drop")
    assert len(asked.stores) == len(CONDITIONS)


def test_levels_of_a_family_stand_together(asked: SimpleNamespace) -> None:
    names = "blur=1,white_noise,blur=3,blur=1"
    assert run("--source", "clips", "--conditions", names).exception is None
    families = [each.family for each in asked.stores]
    assert families == ["blur", "blur", *["white_noise"] * len(FAMILIES["white_noise"].levels)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--conditions", "noise,blurr"), "'blurr' is none of shift, noise, drop, white_noise"),
        (("--conditions", "noise,blur"), "'blur=2' needs the media; give their folder with --source"),
        (("--conditions", " , "), "expected at least one name"),
        (("--source", "clips", "--conditions", "blur=much"), "condition 'blur=much': expected FAMILY=LEVEL"),
        (("--split", "fold"), "'fold' is not one of"),
    ],
)
def test_mistakes(asked: SimpleNamespace, words: tuple[str, ...], message: str) -> None:
    assert message in str(run(*words).exception)
    assert asked.measured is None
