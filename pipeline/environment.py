"""What results and failures depend on beside settings and media: versions, decoders, devices, folders."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from cache.canonical_json import Json
from pipeline.machine import machine_type

# Distribution -> module to import, None where having it is enough: importing DVC takes seconds.
_PACKAGES: Mapping[str, str | None] = {
    "torch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "facenet-pytorch": "facenet_pytorch",
    "av": "av",
    "numpy": "numpy",
    "zarr": "zarr",
    "h5py": "h5py",
    "joblib": "joblib",
    "pillow": "PIL",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "PyYAML": "yaml",
    "safetensors": "safetensors",
    "click": "click",
    "tqdm": "tqdm",
    "dvc": None,
}
# Of extras: nothing is wrong without them.
_OPTIONAL_PACKAGES = ("dask", "distributed")
# Codec -> FFmpeg's decoders that need no GPU; any one will do.
_DECODERS: Mapping[str, tuple[str, ...]] = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp8": ("vp8", "libvpx"),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1", "libgav1"),  # FFmpeg's own `av1` has none but a GPU's
    "mpeg1video": ("mpeg1video",),
    "mpeg2video": ("mpeg2video",),
    "mpeg4": ("mpeg4",),
    "aac": ("aac", "aac_fixed", "libfdk_aac"),
    "mp3": ("mp3float", "mp3"),
    "mp2": ("mp2float", "mp2"),
    "opus": ("opus", "libopus"),
    "vorbis": ("vorbis", "libvorbis"),
    "flac": ("flac",),
    "ac3": ("ac3",),
    "pcm_s16le": ("pcm_s16le",),
}
# No others: a value may be a secret.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "LD_PRELOAD",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TAGF_WEIGHTS_DIR",
    "TAGF_WORK_DIR",
    "TMPDIR",
    "XDG_CACHE_HOME",
)
_MOUNTS = Path("/proc/mounts")


def package_versions(problems: list[str]) -> dict[str, Json]:
    """Versions of tagf, Python, the system and the packages; what does not import is a problem."""
    versions: dict[str, Json] = {
        "tagf": _version("tagf"),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for package, module in _PACKAGES.items():
        versions[package] = _version(package)
        if versions[package] is None:
            problems.append(f"the package {package} is not installed; run 'pip install {package}'")
        elif module is not None:
            try:
                importlib.import_module(module)
            except Exception as error:  # a broken installation may raise anything
                problems.append(
                    f"the package {package} does not import ({_line(error)}); install one that fits the rest"
                )
    return versions | {package: _version(package) for package in _OPTIONAL_PACKAGES}


def ffmpeg_facts(problems: list[str]) -> dict[str, Json]:
    """Versions of FFmpeg's libraries, and the decoder of each codec; a codec without one is a problem."""
    import av

    facts: dict[str, Json] = {
        name: ".".join(str(number) for number in version) for name, version in av.library_versions.items()
    }
    for codec, decoders in _DECODERS.items():
        found = next((decoder for decoder in decoders if _has_decoder(decoder)), None)
        facts[codec] = found
        if found is None:
            problems.append(f"FFmpeg has no decoder of {codec}; install the wheel of PyAV: 'pip install av'")
    return facts


def device_facts(problems: list[str]) -> dict[str, Json]:
    """Processor, memory and GPUs; a GPU that torch cannot use is a problem."""
    import torch
    from joblib import cpu_count

    facts: dict[str, Json] = {
        "cpu": machine_type(),
        "cores": os.cpu_count(),
        "usable_cores": cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "torch_cuda": torch.version.cuda,
    }
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            facts[f"cuda:{number}"] = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
    elif Path("/dev/nvidia0").exists():
        problems.append(
            f"there is an NVIDIA GPU that torch (built for CUDA {torch.version.cuda}) cannot use; install "
            "torch for your driver's CUDA version, or extract with --device cpu"
        )
    return facts


def folder_facts(folder: Path, problems: list[str], *, least_free_gb: float) -> dict[str, Json]:
    """Where a folder lies and how much fits in; one that cannot be written to, or is full, is a problem.

    Args:
        folder: The folder; need not exist yet.
        problems: Gets what is wrong.
        least_free_gb: With less, nothing can be worked with.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free_gb = shutil.disk_usage(there).free / 1e9
    try:
        with tempfile.TemporaryFile(dir=there):
            is_writable = True
    except OSError as error:
        is_writable = False
        problems.append(
            f"folder {without_home(str(folder))} cannot be written to ({error.strerror}); change its "
            "permissions, or set TAGF_WORK_DIR to another"
        )
    if free_gb < least_free_gb:
        problems.append(
            f"folder {without_home(str(folder))} has {free_gb:.1f} GB free, expected at least "
            f"{least_free_gb:g}; free the disk, or set TAGF_WORK_DIR to a folder on another"
        )
    return {
        "path": without_home(str(folder)),
        "file_system": _file_system(there),
        "free_gb": round(free_gb, 1),
        "writable": is_writable,
    }


def variable_facts() -> dict[str, Json]:
    """Environment variables that change what the programs do."""
    return {name: without_home(os.environ[name]) for name in _VARIABLES if name in os.environ}


def without_home(text: str) -> str:
    """A text in which the home folder is `~`: reports are pasted into public places."""
    home = str(Path.home())
    return text if home == "/" else re.sub(rf"{re.escape(home)}(?=/|\W|$)", "~", text)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _has_decoder(name: str) -> bool:
    import av

    try:
        av.codec.Codec(name, "r")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _file_system(path: Path) -> str | None:
    """Kind of the file system that a path lies on; None where the system does not tell."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    here = path.resolve()
    mounts = [(Path(fields[1]), fields[2]) for line in lines if len(fields := line.split()) > 2]
    holding = [(len(mount.parts), kind) for mount, kind in mounts if here.is_relative_to(mount)]
    # Of two mounts on one folder the later one counts.
    return max(enumerate(holding), key=lambda item: (item[1][0], item[0]))[1][1] if holding else None


def _line(error: BaseException) -> str:
    return without_home(" ".join(f"{type(error).__name__}: {error}".split()))
