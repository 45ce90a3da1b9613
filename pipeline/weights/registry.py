"""Public weights that the settings may name: where they come from, and how to tell the right file.

Each size and digest here was found published for that very file; what was not found is None, and then the
file's own digest is shown when it is fetched. The fingerprint of the features holds the file's own digest in
every case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cache.file_digest import file_digest
from cache.user_folders import user_folder
from pipeline.errors import WeightsError


@dataclass(frozen=True, kw_only=True)
class RegisteredWeights:
    """A published checkpoint.

    Attributes:
        name: What the settings call it.
        backbone: Which backbone it is for.
        file_name: As published.
        url: Where it is; None where it has no address of its own.
        size_bytes: Its size; None where none is published.
        sha256: Its SHA-256, or as much of it as is published, from the left; None where nothing is.
        licence: Under which terms it is published, as far as they are stated.
        notes: Training data, and how it is had where there is no `url`.
    """

    name: str
    backbone: str
    file_name: str
    url: str | None
    size_bytes: int | None
    sha256: str | None
    licence: str
    notes: str


_FACENET = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
_TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); the weights may carry the terms of ImageNet"
_FACENET_LICENCE = "MIT (facenet-pytorch); the weights may carry the terms of their data set"

REGISTRY: Mapping[str, RegisteredWeights] = MappingProxyType(
    {
        weights.name: weights
        for weights in (
            RegisteredWeights(
                name="ir50-ferplus",
                backbone="ir50",
                file_name="res50_ir_0.887.pth",
                url=None,
                size_bytes=None,
                sha256=None,
                licence="none stated",
                notes=(
                    "MS-Celeb-1M, then FER+; the lineage's file, 40 px. Its authors share it from a folder "
                    "without an address for the file: see the README of an ABAW code release that names it"
                ),
            ),
            RegisteredWeights(
                name="resnet50-imagenet-v1",
                backbone="resnet50",
                file_name="resnet50-0676ba61.pth",
                url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
                size_bytes=102_530_333,
                sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
                licence=_TORCHVISION_LICENCE,
                notes="ImageNet-1K, torchvision's IMAGENET1K_V1",
            ),
            RegisteredWeights(
                name="resnet50-imagenet-v2",
                backbone="resnet50",
                file_name="resnet50-11ad3fa6.pth",
                url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
                size_bytes=102_540_417,
                sha256="11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
                licence=_TORCHVISION_LICENCE,
                notes="ImageNet-1K, torchvision's IMAGENET1K_V2",
            ),
            RegisteredWeights(
                name="inception-vggface2",
                backbone="inception_resnet_v1",
                file_name="20180402-114759-vggface2.pt",
                url=f"{_FACENET}20180402-114759-vggface2.pt",
                size_bytes=111_898_327,
                sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
                licence=_FACENET_LICENCE,
                notes="VGGFace2, 160 px",
            ),
            RegisteredWeights(
                name="inception-casia-webface",
                backbone="inception_resnet_v1",
                file_name="20180408-102900-casia-webface.pt",
                url=f"{_FACENET}20180408-102900-casia-webface.pt",
                size_bytes=None,
                sha256=None,
                licence=_FACENET_LICENCE,
                notes="CASIA-WebFace, 160 px",
            ),
            RegisteredWeights(
                name="vggish-audioset",
                backbone="vggish",
                file_name="vggish-10086976.pth",
                url="https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
                size_bytes=None,
                sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
                licence="Apache-2.0 (torchvggish)",
                notes="Google's AudioSet network, ported to PyTorch",
            ),
        )
    }
)


def weights_dir() -> Path:
    """`$TAGF_WEIGHTS_DIR`, else `tagf/weights` in `$XDG_CACHE_HOME` or `~/.cache`."""
    return user_folder("TAGF_WEIGHTS_DIR", "weights")


def registered_weights(sha256: str) -> RegisteredWeights | None:
    """The published file with a digest: by what is published of it, or since it lies here."""
    for weights in REGISTRY.values():
        path = weights_path(weights)
        if weights.sha256 is not None:
            if sha256.startswith(weights.sha256):
                return weights
        elif path.is_file() and file_digest(path) == sha256:
            return weights
    return None


def weights_path(weights: RegisteredWeights) -> Path:
    """Where the file lies, once it is fetched or put there by hand."""
    return weights_dir() / weights.file_name


def verify_file(weights: RegisteredWeights, path: Path, *, remedy: str | None = None) -> str:
    """Hold a file against what is published about it. Nothing of it is parsed.

    Args:
        weights: What is published.
        path: The file.
        remedy: What the message is to say after it; None for: delete it and fetch it.

    Returns:
        The file's own SHA-256.

    Raises:
        WeightsError: Its size or its digest is another one.
    """
    remedy = remedy or f"delete it and run 'tagf weights fetch {weights.name}'"
    size_bytes = path.stat().st_size
    if weights.size_bytes is not None and size_bytes != weights.size_bytes:
        raise WeightsError(
            f"{path}: expected {weights.size_bytes} bytes, as published for {weights.name}, got "
            f"{size_bytes}; {remedy}"
        )
    digest = file_digest(path)
    if weights.sha256 is not None and not digest.startswith(weights.sha256):
        raise WeightsError(
            f"{path}: expected SHA-256 {weights.sha256}, as published for {weights.name}, got "
            f"{digest}; {remedy}"
        )
    return digest


def how_to_get(weights: RegisteredWeights) -> str:
    """What to do for weights that are not there."""
    place = f"put it at {weights_path(weights)}"
    if weights.url is None:
        return f"it cannot be fetched ({weights.notes}): {place} by hand"
    return f"run 'tagf weights fetch {weights.name}', or download {weights.url} and {place}"
