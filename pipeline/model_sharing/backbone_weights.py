"""Which weights the frozen backbones had that a head's features come from, and under which terms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cache import FeatureSpec
from pipeline.backbones.user_backbone import is_own
from pipeline.weights.registry import RegisteredWeights, registered_weights

_RANDOM = "random:"
_SHA256 = "sha256:"
_NUM_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class BackboneWeights:
    """Weights of one stream's backbone.

    Attributes:
        stream: The stream.
        backbone: Its backbone, as the settings name it; empty where the features do not say it.
        digest: What the features' settings say of the weights.
        registered: What is published about them, where they are known here.
    """

    stream: str
    backbone: str
    digest: str
    registered: RegisteredWeights | None

    @property
    def is_random(self) -> bool:
        """Whether they were drawn, not trained."""
        return self.digest.startswith(_RANDOM)

    @property
    def is_file(self) -> bool:
        """Whether they are a file's."""
        return self.digest.startswith(_SHA256)

    @property
    def setting(self) -> str:
        """What the settings say for it: a seed, a registered name, or a name for one's own file."""
        if self.is_random and not is_own(self.backbone):
            return self.digest.partition("/")[0]
        if self.registered is not None:
            return self.registered.name
        if self.is_file:
            return f"{self.stream}-{self.digest.removeprefix(_SHA256)[:_NUM_DIGITS]}.pth"
        return self.digest


def backbone_weights(spec: FeatureSpec) -> tuple[BackboneWeights, ...]:
    """Weights of the backbones of all streams, in the order of the streams."""
    return tuple(_found(spec))


def _found(spec: FeatureSpec) -> Iterator[BackboneWeights]:
    for stream in spec.streams:
        section = stream.name if stream.name in ("visual", "audio") else f"streams.{stream.name}"
        digest = spec.settings.get(f"{section}.weights")
        if digest is not None:
            yield BackboneWeights(
                stream=stream.name,
                backbone=str(spec.settings.get(f"{section}.backbone", "")),
                digest=str(digest),
                registered=registered_weights(str(digest).removeprefix(_SHA256)),
            )
