"""The feature spec of an `extract` section: everything declared to change the numbers.

Weights are in it by their digests. Neither builds a model nor imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version

from cache.settings import to_mapping
from cache.spec import FeatureSpec, SettingValue, StreamSpec
from pipeline.backbones import BACKBONES
from pipeline.config import ExtractConfig
from pipeline.weights import parse_weights

# The libraries whose arithmetic ends up in the rows.
LIBRARIES = ("av", "facenet-pytorch", "numpy", "torch", "torchaudio", "torchvision")
STORAGE_DTYPE = "float16"
# From 16 on, rows do not depend on the batch size.
_LEFT_OUT = frozenset({"batch_size"})


def feature_spec(config: ExtractConfig) -> FeatureSpec:
    """Streams and settings of the features that a configuration asks for.

    Args:
        config: The `extract` section. Checkpoints that it names are read, for their digests.

    Raises:
        WeightsError: Weights that do not exist.
    """
    settings = dict(_flat(to_mapping(config)))
    settings["visual.weights"] = parse_weights(config.visual.weights).digest()
    settings["audio.weights"] = parse_weights(config.audio.weights).digest()
    settings["storage.dtype"] = STORAGE_DTYPE
    for library in LIBRARIES:
        settings[f"library.{library}"] = library_version(library)
    return FeatureSpec(
        streams=(
            StreamSpec(
                name="visual",
                num_features=BACKBONES[config.visual.backbone].num_features,
                views=config.visual.views,
            ),
            StreamSpec(name="audio", num_features=BACKBONES[config.audio.backbone].num_features),
        ),
        settings=settings,
    )


@cache
def library_version(library: str) -> str:
    """Version of an installed library, without the local part that names a build (`+cpu`, `+cu130`)."""
    return version(library).partition("+")[0]


def _flat(mapping: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, SettingValue]]:
    """Nested settings under dotted keys; lists as comma-separated text."""
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield prefix + key, ",".join(str(item) for item in value)
        elif prefix + key not in _LEFT_OUT:
            if not isinstance(value, (str, int, float)):
                raise TypeError(
                    f"setting {prefix}{key} must be a string, a number or a boolean, got {value!r}"
                )
            yield prefix + key, value
