"""The feature spec of an `extract` section: everything declared to change the numbers.

Weights are in it by their digests. Neither builds a model nor imports torch, unless a backbone of the user's
own does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cache.errors import SettingsError
from cache.file_digest import file_digest
from cache.settings import to_mapping
from cache.spec import FeatureSpec, SettingValue, StreamSpec
from pipeline.backbones.clip_stream import ClipStream
from pipeline.backbones.user_backbone import is_own, own_clip_stream, source_digest
from pipeline.config import ExtractConfig
from pipeline.stream_facts import StreamFacts, stream_facts
from pipeline.weights.source import parse_weights

# The libraries whose arithmetic ends up in the rows.
LIBRARIES = ("av", "facenet-pytorch", "numpy", "torch", "torchaudio", "torchvision")
STORAGE_DTYPE = "float16"
# What stands for a setting that is not set; JSON's null is no setting's value.
NOT_SET = "none"
# What a spec has and the section has not: what was computed with, not what was asked for.
_NOT_ASKED_FOR = ("library.", "storage.")
# Limits decide whether a clip is extracted, not how; and from 16 on, rows do not depend on the batch size.
_LEFT_OUT = frozenset({"batch_size", "limits", "streams"})


def feature_spec(config: ExtractConfig) -> FeatureSpec:
    """Streams and settings of the features that a configuration asks for.

    Args:
        config: The `extract` section. Checkpoints that it names are read, for their digests; classes that it
            names are imported.

    Raises:
        WeightsError: Weights that do not exist, or a backbone that cannot be used.
        ExtractionError: Settings that do not go together.
    """
    sections = {name: value for name, value in to_mapping(config).items() if name not in _LEFT_OUT}
    settings = dict(_flat(sections))
    streams = stream_facts(config)
    for name, stream in streams.items():
        section = name if name in ("visual", "audio") else f"streams.{name}"
        settings.update({f"{section}.{key}": value for key, value in _stream_settings(stream).items()})
    # The usual size is the same whether it is asked for or not.
    settings["visual.input_size_px"] = streams["visual"].input_shape[1]
    settings["storage.dtype"] = STORAGE_DTYPE
    for library in LIBRARIES:
        settings[f"library.{library}"] = library_version(library)
    return FeatureSpec(
        streams=tuple(
            StreamSpec(name=name, num_features=stream.num_features, views=stream.views)
            for name, stream in streams.items()
        ),
        settings=settings,
    )


def section_of(spec: FeatureSpec, weights_of: Callable[[str], str]) -> dict[str, Any]:
    """The `extract` section that asks for features of a spec: `feature_spec` the other way round.

    Args:
        spec: Of features that `tagf extract` made.
        weights_of: The `weights` setting of a stream, of which the spec has the digest.

    Returns:
        Nested settings, to be parsed.

    Raises:
        SettingsError: A setting is a section as well.
    """
    section: dict[str, Any] = {}
    for key, value in spec.settings.items():
        *parents, name = key.split(".")
        if key.startswith(_NOT_ASKED_FOR) or name == "backbone_source":
            continue
        place = section
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise SettingsError(f"the features' setting {key}: expected a section, {parent!r} is a value")
        if name == "weights" and parents:
            place[name] = weights_of(parents[-1])
        elif key == "visual.views":
            place[name] = str(value).split(",")
        else:
            place[name] = None if value == NOT_SET else value
    return section


def clip_streams(config: ExtractConfig) -> dict[str, ClipStream]:
    """The further streams that are made from whole clips, built, by name.

    Raises:
        WeightsError: One of them cannot be built.
    """
    return {
        name: own_clip_stream(stream.backbone, stream.weights)
        for name, stream in stream_facts(config).items()
        if stream.takes == "clip"
    }


@cache
def library_version(library: str) -> str:
    """Version of an installed library, without the local part that names a build (`+cpu`, `+cu130`)."""
    return version(library).partition("+")[0]


def _stream_settings(stream: StreamFacts) -> dict[str, SettingValue]:
    if not is_own(stream.backbone):
        return {"backbone": stream.backbone, "weights": parse_weights(stream.weights).digest()}
    # What a backbone of one's own takes as its weights is its own affair, and a file's content counts. A text
    # stays as it is: `random:SEED` then says what it says for our own, that results mean nothing.
    path = Path(stream.weights)
    return {
        "backbone": stream.backbone,
        "backbone_source": source_digest(stream.backbone),
        "weights": f"sha256:{file_digest(path)}" if path.is_file() else stream.weights,
    }


def _flat(mapping: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, SettingValue]]:
    """Nested settings under dotted keys; lists as comma-separated text."""
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield prefix + key, ",".join(str(item) for item in value)
        elif value is None:
            yield prefix + key, NOT_SET
        elif isinstance(value, (str, int, float)):
            yield prefix + key, value
        else:
            raise TypeError(f"setting {prefix}{key} must be a string, a number or a boolean, got {value!r}")
