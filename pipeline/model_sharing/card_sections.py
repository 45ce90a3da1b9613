"""The sections of a model card, in Markdown. Everything in them is read from the run; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.model_sharing.onnx_example import ONNX_EXAMPLE
from pipeline.model_sharing.shared_model import SharedModel
from tagf_head.evaluation.markdown import markdown_table
from tagf_head.evaluation.results import RANDOM_WEIGHTS_NOTE

_STREAMS = ("visual", "audio")
_TARGETS = ("valence", "arousal")
_METRICS = ("ccc", "pcc", "rmse", "mae", "sagr")
# What heads of one modality read; all others read both.
_READ = {"visual_only": "the face", "audio_only": "the voice"}
_COVERAGES = ("0.50", "0.80", "0.90", "0.95")
_UNDEFINED = "n/a"
_NUM_DIGITS = 16


def summary(model: SharedModel) -> str:
    """What the model is, and how far it can be trusted."""
    train = model.info.train
    read = _READ.get(train.head.name, "face and voice")
    streams = " and ".join(
        f"{each.backbone or 'unnamed'} ({each.stream})" for each in model.weights if each.stream in _STREAMS
    )
    lines = [
        f"# {_text(model.name)}",
        "",
        f"Valence and arousal in [-1, 1] for each frame of a video, from {read}: head "
        f"{_code(train.head.name)} of tagf with {model.num_parameters:,} trained numbers, on frozen backbones"
        f"{': ' + streams if streams else ''}. It was trained on windows of {train.window} frames.",
    ]
    if model.info.random_weights:
        lines += [
            "",
            f"> **{RANDOM_WEIGHTS_NOTE}** Use this model to try the software, and for nothing else.",
        ]
    return _section(lines)


def usage(model: SharedModel, *, has_onnx: bool) -> str:
    """How to run it."""
    lines = [
        "## How to use",
        "",
        "With tagf installed, for any video; DIR is this folder, or the name of its repository:",
        "",
        "```console",
        "tagf predict video.mp4 --checkpoint DIR --out predictions",
        "```",
        "",
        "```python",
        "from pipeline import Predictor",
        "",
        'table = Predictor.from_checkpoint("DIR").predict("video.mp4")',
        "```",
    ]
    own = [each for each in model.weights if each.is_file and each.registered is None]
    for each in own:
        lines += [
            "",
            f"The weights of the {each.stream} backbone are a file that is not registered in tagf: give it "
            f"with `--weights {each.stream}=FILE`. Its SHA-256 is `{each.digest.partition(':')[2]}`.",
        ]
    if ":" in model.info.train.head.name:
        lines += [
            "",
            f"The head is not part of tagf: its module ({_code(model.info.train.head.name)}) has to lie "
            "where Python finds it, as it was in training. A checkpoint holds no code.",
        ]
    if has_onnx:
        lines += ["", "Without PyTorch, from features, with onnxruntime:", "", "```python"]
        lines += [*ONNX_EXAMPLE.splitlines(), "```"]
    return _section(lines)


def intended_use() -> str:
    """What it is for, and what not."""
    return _section(
        [
            "## Intended use",
            "",
            "Research on apparent emotion: traces of valence and arousal as observers would note them, for "
            "studies, for annotators to start from, and as a baseline to compare with.",
            "",
            "Not for decisions about people, such as hiring, schooling, policing, insurance, diagnosis or "
            "therapy. What a face and a voice show is not what a person feels. The European Union's AI Act "
            "(Regulation 2024/1689, article 5) prohibits inferring emotions at work and in education but for "
            "medical and safety reasons.",
        ]
    )


def data(model: SharedModel) -> str:
    """What it was trained and evaluated on, as far as the run knows it."""
    info, metrics = model.info, model.metrics
    labels = info.train.labels
    fold = info.fold
    split = "the official split" if fold is None else f"fold {fold.index} of {fold.num_folds} held out"
    corpus = _text(model.dataset) if model.dataset else "not named by the one who shares this model"
    lines = [
        "## Data",
        "",
        f"- Corpus: {corpus}",
        f"- Training: {len(info.trained_on)} clips, {split}",
        f"- Labels: gold standard {labels.gold_standard}, delay {labels.delay_s:g} s, SHA-256 "
        f"`{info.annotations_digest[:_NUM_DIGITS]}`",
        f"- Features: fingerprint `{info.spec.fingerprint}`, SHA-256 `{info.features_digest[:_NUM_DIGITS]}`",
    ]
    if metrics is not None:
        lines.append(
            f"- Evaluation: split {_text(metrics['split'])}, {metrics['num_clips']} clips, "
            f"{metrics['num_frames']} frames, {metrics['num_labelled_frames']} of them with labels"
        )
    return _section(lines)


def evaluation(model: SharedModel) -> str:
    """CCC with intervals, the other metrics, calibration and gates."""
    validation = model.info.validation_ccc
    lines = [
        "## Metrics",
        "",
        f"Validation CCC of these weights, epoch {model.info.best_epoch}: "
        + ", ".join(f"{name} {validation[name]:.3f}" for name in (*_TARGETS, "mean") if name in validation)
        + ". They were chosen by it, so it is too high.",
    ]
    metrics = model.metrics
    if metrics is None:
        return _section(
            [*lines, "", "The model was not evaluated on another split; `tagf evaluate` does that."]
        )
    interval = metrics["interval"]
    rows = [["", "CCC", f"{interval['confidence']:.0%} interval", *(name.upper() for name in _METRICS[1:])]]
    for target in _TARGETS:
        values = metrics[target]
        ccc, *others = (_number(values[name]) for name in _METRICS)
        rows.append([target, ccc, _bounds(values, "ccc"), *others])
    rows.append(["mean", _number(metrics["mean_ccc"]), _bounds(metrics, "mean_ccc"), *[""] * 4])
    for target in _TARGETS:
        values = metrics["clip_mean"][target]
        ccc, *others = (_number(values[name]) for name in _METRICS)
        rows.append([f"{target}, mean over clips", ccc, "", *others])
    lines += [
        "",
        f"Split {_text(metrics['split'])}; bootstrap over {interval['num_units']} "
        f"{_text(interval['unit'])}s, {interval['num_resamples']} resamples:",
        "",
        markdown_table(rows).rstrip(),
    ]
    if smoothing := metrics.get("smoothing"):
        settings = ", ".join(f"{k} {v}" for k, v in smoothing.items() if not isinstance(v, Mapping))
        lines += ["", f"The predictions were smoothed ({_text(settings)}) before they were measured."]
    return _section([*lines, *_calibration(metrics), *_gates(metrics)])


def _calibration(metrics: Mapping[str, Any]) -> Iterator[str]:
    calibration = metrics.get("calibration")
    if not calibration:
        return
    header = [
        "",
        *(f"{float(each):.0%} interval" for each in _COVERAGES),
        "mean deviation",
        "calibration error",
    ]
    rows = [
        [
            target,
            *(_percent(calibration[target]["coverage"].get(each)) for each in _COVERAGES),
            _number(calibration[target]["mean_sd"]),
            _number(calibration[target]["expected_calibration_error"]),
        ]
        for target in _TARGETS
    ]
    yield from ("", "Share of the labels within the predicted intervals:", "")
    yield markdown_table([header, *rows]).rstrip()


def _gates(metrics: Mapping[str, Any]) -> Iterator[str]:
    gates = metrics.get("gates")
    if not gates:
        return
    yield from ("", "Mean weights of the gates:", "")
    for name, gate in gates.items():
        weights = ", ".join(f"{each} {_number(value)}" for each, value in gate["mean_weight"].items())
        yield f"- {_text(name)}: {_text(weights)}"


def limits(model: SharedModel) -> str:
    """Where it fails, and what is not known."""
    info = model.info
    lines = ["## Limits", ""]
    if info.random_weights:
        lines.append(f"- {RANDOM_WEIGHTS_NOTE}")
    metrics = model.metrics
    if metrics is not None:
        interval = metrics["interval"]
        if metrics["split"] in ("train", "validation"):
            lines.append(
                f"- The metrics are those of split {metrics['split']}, which took part in the training: they "
                "are too high."
            )
        lines.append(
            f"- The intervals rest on {interval['num_units']} {_text(interval['unit'])}s. Other people, "
            "cameras, languages and settings were not measured."
        )
    else:
        lines.append("- How it does on clips that it was not chosen by was not measured.")
    lines += [
        "- Error by age, gender, skin tone or culture was not measured. Labels are what annotators saw, with "
        "their own habits.",
        "- Where no face is found, only the voice and the frames around it are left, to a head that reads "
        "them.",
        "- It wants features of the settings below. Those of other weights or another alignment have the "
        f"same shape and give wrong numbers; tagf refuses them (fingerprint `{info.spec.fingerprint}`).",
        f"- The file holds digests of the names of its {len(info.trained_on)} training clips, so that nobody "
        "evaluates it on them by mistake. Who has a list of names can tell which were among them.",
    ]
    return _section(lines)


def licences(model: SharedModel) -> str:
    """Terms of the model, of the code and of the backbones' weights."""
    terms = "not stated by the one who shares it" if model.licence == "unknown" else _text(model.licence)
    rows = [["stream", "backbone", "weights", "licence", "notes"]]
    for each in model.weights:
        if each.registered is not None:
            row = [each.registered.name, each.registered.licence, each.registered.notes]
        elif each.is_random:
            row = [f"random ({each.setting})", "none needed", "no pretrained weights"]
        elif each.is_file:
            row = [f"a file of one's own, {each.digest[:19]}...", "not known", "not registered in tagf"]
        else:
            row = [each.digest or "none", "not known", "a backbone of one's own"]
        rows.append([each.stream, each.backbone or "unnamed", *row])
    lines = ["## Licences", "", f"- This model: {terms}", "- tagf, the software: MIT"]
    if len(rows) > 1:
        lines += [
            "- The frozen backbones' weights are not in this folder, and carry terms of their own:",
            "",
            markdown_table([[_text(cell) for cell in row] for row in rows]).rstrip(),
        ]
    lines += ["", "Data sets carry terms as well, which may reach to what was trained on them."]
    return _section(lines)


def provenance(model: SharedModel) -> str:
    """How the features were made and the head was trained."""
    info = model.info
    rows = [["setting", "value"]]
    rows += [[_code(key), _code(str(value))] for key, value in sorted(info.spec.settings.items())]
    versions = ", ".join(f"{name} {version}" for name, version in info.versions.items())
    return _section(
        [
            "## Provenance",
            "",
            f"Trained with seed {info.train.seed} under {_text(versions)}. `config.yaml` has the settings of "
            "features and training, to be given with `--params`. The features' settings:",
            "",
            markdown_table(rows).rstrip(),
        ]
    )


def checksums(digests: Mapping[str, str]) -> str:
    """Files and their SHA-256."""
    rows = [["file", "SHA-256"], *([f"`{name}`", f"`{digest}`"] for name, digest in digests.items())]
    return _section(
        [
            "## Checksums",
            "",
            markdown_table(rows).rstrip(),
            "",
            "`sha256sum -c SHA256SUMS` checks them; tagf checks the model's before it reads it.",
        ]
    )


def onnx_parity(largest_difference: float, num_frames: int | None) -> str:
    """How far the ONNX model agrees with PyTorch's."""
    frames = "any number of" if num_frames is None else f"exactly {num_frames}"
    return _section(
        [
            "## ONNX",
            "",
            f"`model.onnx` takes any number of windows of {frames} frames. When it was written, its outputs "
            f"differed from PyTorch's by at most {largest_difference:.1e} on random windows. What its inputs "
            "and outputs are, docs/sharing.md of tagf says.",
        ]
    )


def _section(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.1%}"


def _bounds(values: Mapping[str, Any], name: str) -> str:
    low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
    return _UNDEFINED if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def _text(value: object) -> str:
    """Text that comes from settings or from the user, on one line and without Markdown's or HTML's marks."""
    line = " ".join(str(value).split())
    return "".join(f"\\{each}" if each in "\\`*_[]<>#&" else each for each in line)


def _code(value: str) -> str:
    return f"`{' '.join(value.split()).replace('`', chr(39))}`"
