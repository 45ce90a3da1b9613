"""A head of one's own: the one of docs/heads.md, trained, evaluated and changed."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tagf_head.checkpoint import load_checkpoint
from tagf_head.config import EvaluateConfig
from tagf_head.errors import CheckpointError, HeadError, UnknownHeadError
from tagf_head.evaluation.evaluate import evaluate_head
from tagf_head.head_config import HeadConfig
from tagf_head.head_cost import multiply_adds_per_frame
from tagf_head.heads import SeparateHeads, build_head
from tagf_head.heads.own_head import own_head_digest
from tagf_head.heads.own_head_source import locate_source, source_digest

NAME = "my_heads.weighted_sum:WeightedSum"
DOCS = Path(__file__).parents[3] / "docs" / "heads.md"
FAULTY = """
from tagf_head.heads import Head, HeadOutput
class Bare(Head):
    def __init__(self, config):
        super().__init__()
    def estimate(self, visual, audio, frame_mask):
        return HeadOutput(prediction=visual[..., :2], features=visual)
class Abstract(Head):
    pass
class Leaves(Head):
    def __init__(self, config):
        raise SystemExit(3)
    estimate = Bare.estimate
class Thing:
    pass
NUMBER = 3
"""
SMALL = HeadConfig(
    name=NAME, visual_channels=(4,), audio_channels=(3,), regressor_features=4, reference_length=9
)
Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module into the current folder, and forgets what was imported under its package's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, source: str) -> None:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        forget(name.partition(".")[0])

    return write


def forget(package: str) -> None:
    """Take what was imported of a package out of Python's memory, as in a fresh process."""
    for module in [each for each in sys.modules if each.partition(".")[0] == package]:
        del sys.modules[module]


@pytest.fixture
def example() -> str:
    """Source of the head in the docs."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    (source,) = [block for block in blocks if "class WeightedSum(Head)" in block]
    return source


def test_the_example_of_the_docs_trains_and_evaluates(
    write: Write, example: str, corpus, training, train, tmp_path: Path
) -> None:
    write("my_heads.weighted_sum", example)
    assert f"--head {NAME}" in DOCS.read_text(encoding="utf-8")
    head = dataclasses.replace(training.head, name=NAME, options={"width": 12})
    config = dataclasses.replace(training, head=head, max_epochs=2)
    result = train("own", config)
    assert result.head.num_features == 12

    loaded = load_checkpoint(tmp_path / "own" / "best.safetensors")
    assert loaded.info.train.head.options == {"width": 12}
    for name, value in loaded.head.state_dict().items():
        assert torch.equal(value, result.head.state_dict()[name])

    metrics_file = tmp_path / "metrics.json"
    checkpoint = tmp_path / "own" / "best.safetensors"
    evaluate_head(corpus.store, corpus.annotations, checkpoint, metrics_file, config=EvaluateConfig())
    metrics = json.loads(metrics_file.read_text())
    weights = metrics["gates"]["modality"]["mean_weight"]
    assert tuple(weights) == ("visual", "audio")
    assert sum(weights.values()) == pytest.approx(1)

    written = checkpoint.stat().st_mtime_ns
    train("own", config, resume=True)
    assert checkpoint.stat().st_mtime_ns == written  # nothing was trained
    write("my_heads.weighted_sum", example.replace("torch.softmax(", "torch.softmax(2 * "))
    changed = train("own", config, resume=True)
    assert changed.info.key != result.info.key
    losses = [[epoch.train_loss for epoch in run.history] for run in (result, changed)]
    assert losses[0] != losses[1]


def test_the_example_works_in_all_forms(write: Write, example: str) -> None:
    write("my_heads.weighted_sum", example)
    config = SMALL
    inputs = torch.randn(2, 8, 512), torch.randn(2, 8, 128), torch.arange(8) < torch.tensor([[8], [0]])
    for changes in (
        {"targets": "separate"},
        {"uncertainty": True},
        {"targets": "separate", "uncertainty": True},
    ):
        head = build_head(dataclasses.replace(config, **changes))
        found = head(*inputs, return_all=True)
        assert found.prediction.shape == (2, 8, 2)
        assert (found.deviation is not None) is ("uncertainty" in changes)
        assert tuple(found.gates) == tuple(head.gate_candidates)
    assert isinstance(build_head(dataclasses.replace(config, targets="separate")), SeparateHeads)
    assert multiply_adds_per_frame(config, window=8) > 0


def test_the_digest_is_that_of_the_package(write: Write, example: str) -> None:
    digests = []
    for name, source in (
        ("my_heads.weighted_sum", example),
        ("my_heads.weighted_sum", example + "\n# changed\n"),
        ("my_heads.weighted_sum", example),
        ("my_heads.parts", "WIDTH = 1\n"),
        ("other", "WIDTH = 1\n"),
    ):
        write(name, source)
        digests.append(own_head_digest(NAME))
    assert digests[0] == digests[2] != digests[1]
    assert digests[3] not in digests[:3]
    assert digests[4] == digests[3]


def test_a_module_that_is_changed_in_use_keeps_its_digest(write: Write, example: str, tmp_path: Path) -> None:
    write("my_heads.weighted_sum", example)
    digest = source_digest(locate_source(NAME))
    build_head(SMALL)
    (tmp_path / "my_heads" / "weighted_sum.py").write_text(example + "\n# changed\n")
    (tmp_path / "my_heads" / "another.py").write_text("WIDTH = 1\n")
    assert own_head_digest(NAME) == digest


def test_a_reload_gives_a_new_digest(write: Write, example: str, tmp_path: Path) -> None:
    write("my_heads.parts", "WIDTH = 1\n")
    write("my_heads.weighted_sum", "from my_heads import parts\n" + example)
    digests = [own_head_digest(NAME)]
    for name, changed in (("parts", "WIDTH = 22\n"), ("weighted_sum", example)):
        (tmp_path / "my_heads" / f"{name}.py").write_text(changed)
        # Another module that is loaded since does not make this one younger than it is.
        (tmp_path / "my_heads" / f"late_{name}.py").write_text("")
        importlib.import_module(f"my_heads.late_{name}")
        before = own_head_digest(NAME)
        importlib.reload(sys.modules[f"my_heads.{name}"])
        digests += [before, own_head_digest(NAME)]
    assert len({*digests}) == 5
    forget("my_heads")
    assert own_head_digest(NAME) == digests[-1]  # as a fresh process finds it


def test_the_digest_does_not_depend_on_where_python_looks(write: Write, example: str, tmp_path: Path) -> None:
    """The current folder may stand in the path twice, and another folder may share the package's name."""
    write("my_heads.weighted_sum", example)
    digest = own_head_digest(NAME)
    (tmp_path / "elsewhere" / "my_heads").mkdir(parents=True)
    (tmp_path / "elsewhere" / "my_heads" / "other.py").write_text("")
    forget("my_heads")
    sys.path[:0] = ["", str(tmp_path / "elsewhere")]
    assert source_digest(locate_source(NAME)) == digest
    assert own_head_digest(NAME) == digest


def test_what_is_no_source_is_left_out_of_the_digest(
    write: Write, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("my_heads.weighted_sum", example)
    digest = own_head_digest(NAME)
    folder = tmp_path / "my_heads"
    (folder / ".#weighted_sum.py").symlink_to("user@host.1234")  # as Emacs leaves it
    (folder / "gone.py").symlink_to("nowhere.py")
    (folder / "folder.py").mkdir()
    (folder / ".hidden.py").write_text("")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "other.py").write_text("")
    forget("my_heads")
    assert own_head_digest(NAME) == digest
    (folder / "secret.py").write_text("")
    forget("my_heads")
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "secret.py":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnknownHeadError, match=r"secret.py cannot be read \(Permission denied\)"):
        own_head_digest(NAME)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("no_such_module:Head", UnknownHeadError, "cannot be found; .*start in the folder that holds it"),
        ("test.mine:Head", UnknownHeadError, r"in .*/test, where Python finds 'test', .*rename your 'test'"),
        ("faulty:Missing", UnknownHeadError, "expected a class 'Missing' that .*faulty.py defines, got Bare"),
        ("faulty:NUMBER", UnknownHeadError, "expected a class 'NUMBER' "),
        ("faulty:Thing", UnknownHeadError, "expected a class 'Thing' .*derives from tagf_head.heads.Head"),
        ("faulty:Head", UnknownHeadError, "name a class, and the module that defines it"),
        ("broken:Head", UnknownHeadError, r"'broken' .*cannot be imported \(ZeroDivisionError"),
        ("quits:Head", UnknownHeadError, r"'quits' .*cannot be imported \(SystemExit: 0\)"),
        ("garbled:Head", UnknownHeadError, r"garbled.py is no valid Python \(SyntaxError"),
        ("itertools:chain", UnknownHeadError, "expected module 'itertools' in a Python file"),
        (":Head", UnknownHeadError, "as package.module:Class"),
        ("faulty:", UnknownHeadError, "as package.module:Class"),
        ("../faulty:Bare", UnknownHeadError, "as package.module:Class"),
        ("faulty:Bare", HeadError, "expected num_features, .*got 'nothing'; set it in Bare.__init__"),
        ("faulty:Abstract", HeadError, r"cannot be made \(TypeError: Can't instantiate abstract"),
        ("faulty:Leaves", HeadError, r"cannot be made \(SystemExit: 3\)"),
    ],
)
def test_mistakes_are_named(write: Write, name: str, error: type[Exception], message: str) -> None:
    write("faulty", FAULTY)
    write("broken", "1 / 0\nclass Head: ...\n")
    write("quits", "import sys\nsys.exit(0)\nclass Head: ...\n")
    write("garbled", "class Head(\n")
    with pytest.raises(error, match=message) as caught:
        build_head(HeadConfig(name=name))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"head {name!r}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("config.num_outputs)", "3)", r"prediction .*num_outputs\) = \(3, 9, 2\), got \(3, 9, 3\)"),
        ("(features, frame_mask)", "(features, frame_mask).mean(1)", r"prediction .*got \(3, 2\)"),
        ("features=features", "features=features[..., 1:]", r"num_features\) = \(3, 9, 64\), got .*63\)"),
        ("features=features", "features=None", "features of shape .* got NoneType"),
        ('"audio")}', '"audio", "x")}', r"gate 'modality' .* = \(3, 9, 3\), got \(3, 9, 2\)"),
        ('{"modality": ("visual", "audio")}', "{}", r"gate_candidates names \(none\), got modality"),
        ("-1)\n        features", "-1) / frame_mask[..., None]\n        features", "finite numbers in"),
        (
            "self.visual_encoder(visual, frame_mask)",
            "visual",
            r"cannot estimate .*\(RuntimeError: mat1 .*same dtype",
        ),
        ("return HeadOutput(", "return dict(", "expected a HeadOutput, got dict"),
        ('config.options.get("width", 64)', '"wide"', r"cannot be made \(ValueError: invalid literal"),
    ],
)
def test_a_head_that_breaks_its_promise_is_refused(
    write: Write, example: str, old: str, new: str, message: str
) -> None:
    assert old in example
    write("my_heads.weighted_sum", example.replace(old, new))
    with pytest.raises(HeadError, match=message) as caught:
        build_head(dataclasses.replace(SMALL, visual_features=4))
    assert str(caught.value).startswith(f"head {NAME!r}")
    assert "\n" not in str(caught.value)


def test_the_check_leaves_no_trace(write: Write, example: str) -> None:
    """Random numbers, modes and buffers are those of a head that was not checked."""
    source = example.replace(
        "        self.regressor", "        self.visual.eval()\n        self.regressor"
    ).replace("        # Rows", "        torch.rand(3)\n        # Rows")
    write("my_heads.weighted_sum", source)
    torch.manual_seed(0)
    head = build_head(SMALL)
    after = torch.rand(1)
    torch.manual_seed(0)
    unchecked = type(head)(SMALL.resolved())
    assert torch.equal(torch.rand(1), after)
    assert head.training
    assert not head.visual.training
    for key, value in unchecked.state_dict().items():
        assert torch.equal(head.state_dict()[key], value)


@pytest.fixture
def checkpoint(write: Write, example: str, training, train, tmp_path: Path) -> Path:
    """Checkpoint of a head of one's own, whose module is imported no more."""
    write("my_heads.weighted_sum", example)
    config = dataclasses.replace(training, head=dataclasses.replace(training.head, name=NAME), max_epochs=1)
    train("own", config)
    forget("my_heads")
    return tmp_path / "own" / "best.safetensors"


def test_a_checkpoint_whose_module_is_gone(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "my_heads" / "weighted_sum.py").unlink()
    with pytest.raises(CheckpointError, match=r"weighted_sum.*where Python finds 'my_heads'") as caught:
        load_checkpoint(checkpoint)
    assert str(caught.value).startswith(f"{checkpoint}: head {NAME!r}")
    (tmp_path / "my_heads").rmdir()
    with pytest.raises(CheckpointError, match=r"cannot be found; .*start in the folder") as caught:
        load_checkpoint(checkpoint)
    assert str(caught.value).startswith(f"{checkpoint}: head {NAME!r}")


def test_a_checkpoint_whose_head_has_changed(checkpoint: Path, example: str, corpus, tmp_path: Path) -> None:
    """It is not evaluated with other code, and of that code nothing runs; restored, it works again."""
    file = tmp_path / "my_heads" / "weighted_sum.py"
    trace = "open('has_run', 'w')\n"
    for path, source in ((file, trace + example), (file.with_name("__init__.py"), trace)):
        former = path.read_text() if path.exists() else None
        path.write_text(source)
        with pytest.raises(CheckpointError, match=r"changed since training .*train again, or restore it"):
            evaluate_head(
                corpus.store, corpus.annotations, checkpoint, tmp_path / "m.json", config=EvaluateConfig()
            )
        path.write_text(former) if former else path.unlink()
    assert not (tmp_path / "has_run").exists()
    assert "my_heads.weighted_sum" not in sys.modules
    assert load_checkpoint(checkpoint).info.own_head_digest == own_head_digest(NAME)
    # What is in use is what was trained, whatever the files say by now.
    file.write_text(trace + example)
    load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["side:Anything", "side:Effect", "side.part:Effect"])
@pytest.mark.parametrize("digest", [None, "0" * 64, "its own"])
def test_a_checkpoint_runs_nothing_that_it_names(
    write: Write, checkpoint: Path, tmp_path: Path, name: str, digest: str | None
) -> None:
    """Somebody made it name a module that is no head, or one of another source."""
    for module in ("side.__init__", "side.part"):
        write(module, "open('has_run', 'w')\n" + ("class Effect: ...\n" if digest != "its own" else ""))
    if digest == "its own":
        digest = source_digest(locate_source(name))
    with safe_open(checkpoint, framework="pt") as file:
        description = json.loads(file.metadata()["tagf"])
    description["train"]["head"]["name"] = name
    description["own_head_digest"] = digest
    forged = tmp_path / "forged.safetensors"
    save_file(load_file(checkpoint), forged, metadata={"tagf": json.dumps(description)})
    with pytest.raises(CheckpointError, match=r"changed since training|expected a class"):
        load_checkpoint(forged)
    assert not (tmp_path / "has_run").exists()
    assert not [module for module in sys.modules if module.partition(".")[0] == "side"]


def test_resume_says_that_the_head_has_changed(
    write: Write, example: str, training, train, checkpoint: Path
) -> None:
    config = dataclasses.replace(training, head=dataclasses.replace(training.head, name=NAME), max_epochs=1)
    write("my_heads.weighted_sum", example + "\n# changed\n")
    lines: list[str] = []
    train("own", config, resume=True, progress=lines.append)
    assert any("other settings (the code of the head), starting with epoch 1" in line for line in lines)
