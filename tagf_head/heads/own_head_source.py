"""Source of a head of one's own: where it lies and its digest, found without running any of it.

A checkpoint names the head that it belongs to, and whoever wrote the file chose the name. So nothing is
imported for it, no parent package either, before the source is known to be that of the training.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tagf_head.errors import UnknownHeadError

_PACKAGE_FILE = "__init__.py"


@dataclass(frozen=True, kw_only=True)
class HeadSource:
    """Where a head's source lies.

    Attributes:
        name: `package.module:Class`.
        module_name: The part before the colon.
        class_name: The part behind it.
        file: The module's file.
        root: Folder of the outermost package that the module belongs to, or `file` where there is none.
    """

    name: str
    module_name: str
    class_name: str
    file: Path
    root: Path

    @property
    def is_loaded(self) -> bool:
        """Whether the module is imported already, so that using it runs nothing that did not run before."""
        return sys.modules.get(self.module_name) is not None

    def files(self) -> dict[str, Path]:
        """Python files of the package by names that do not depend on where it lies; hidden ones are none."""
        if self.root == self.file:
            return {self.file.name: self.file}
        found = {self.file.relative_to(self.root).as_posix(): self.file}
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = [each for each in subfolders if not each.startswith(".")]
            for path in (Path(folder, each) for each in names if not each.startswith(".")):
                if path.suffix == ".py" and path.is_file():  # no dangling links, as editors leave them
                    found[path.relative_to(self.root).as_posix()] = path
        return found


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """Digests of a package's files, as they were when its modules were imported.

    Attributes:
        specs: File -> the `__spec__` of its module, for those that were imported; a reload makes a new one.
        files: File's name -> its digest.
    """

    specs: Mapping[Path, object]
    files: Mapping[str, str]


_snapshots: dict[Path, _Snapshot] = {}


def locate_source(name: str) -> HeadSource:
    """Finds the source of a head: where Python finds its package, or below the current folder.

    Args:
        name: `package.module:Class`.

    Raises:
        UnknownHeadError: The name is none, or there is no such module, or none in Python.
    """
    module_name, _, class_name = name.partition(":")
    parts = module_name.split(".")
    if not all(part.isidentifier() for part in (*parts, class_name)):
        raise UnknownHeadError(
            f"head {name!r}: expected the name of a head of one's own as package.module:Class; correct it"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: what is installed comes first
    importlib.invalidate_caches()  # the file may be younger than Python's list of files
    loaded = sys.modules.get(module_name)
    file = _file_of(loaded) if loaded is not None else _find(name, parts)
    if file is None or file.suffix != ".py":
        raise UnknownHeadError(
            f"head {name!r}: expected module {module_name!r} in a Python file, got {file or 'no file'}; put "
            "the head into a file of its own"
        )
    num_levels = len(parts) - (file.name != _PACKAGE_FILE)
    root = file.parents[num_levels - 1] if num_levels else file
    return HeadSource(name=name, module_name=module_name, class_name=class_name, file=file, root=root)


def source_digest(source: HeadSource) -> str:
    """SHA-256 of all Python files of the package that a head lies in.

    Of a package that is imported it is the digest of what was imported, even where files have changed since;
    a module that is reloaded counts as it is then. What other packages hold is not looked at.

    Raises:
        UnknownHeadError: A file cannot be read.
    """
    specs = _loaded_specs(source)
    snapshot = _snapshots.get(source.root)
    if snapshot is None or not _same(specs, snapshot.specs):
        former = _Snapshot(specs={}, files={}) if snapshot is None else snapshot
        files = {}
        for label, path in source.files().items():
            spec = specs.get(path.resolve())
            unchanged = spec is not None and former.specs.get(path.resolve()) is spec
            kept = former.files.get(label) if unchanged else None
            files[label] = kept or hashlib.sha256(_content(source, path)).hexdigest()
        snapshot = _Snapshot(specs=specs, files=files)
        if specs:
            _snapshots[source.root] = snapshot
    return hashlib.sha256(json.dumps(sorted(snapshot.files.items())).encode()).hexdigest()


def require_class(source: HeadSource) -> None:
    """Check that a head's module defines its class, without running it.

    Raises:
        UnknownHeadError: It does not, or is no Python that can be read.
    """
    try:
        tree = ast.parse(_content(source, source.file))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnknownHeadError(
            f"head {source.name!r}: {source.file} is no valid Python ({type(error).__name__}: {error}); "
            "correct it"
        ) from error
    classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    if source.class_name not in classes:
        raise UnknownHeadError(
            f"head {source.name!r}: expected a class {source.class_name!r} that {source.file} defines, got "
            f"{', '.join(classes) or 'no class'}; name a class, and the module that defines it"
        )


def _find(name: str, parts: list[str]) -> Path | None:
    """File of a module that is not imported yet."""
    top, *rest = parts
    module_name = ".".join(parts)
    try:
        spec = importlib.util.find_spec(top)  # of a module without a parent: imports nothing
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        raise UnknownHeadError(
            f"head {name!r}: module {module_name!r} cannot be found; install it, or start in the folder that "
            "holds it"
        )
    if not rest:
        return Path(spec.origin) if spec.origin else None
    top_folders = [Path(each) for each in spec.submodule_search_locations or ()]
    folders = top_folders
    for part in rest[:-1]:
        folders = _subfolders(folders, part)
    for folder in folders:
        for file in (folder / rest[-1] / _PACKAGE_FILE, folder / f"{rest[-1]}.py"):
            if file.is_file():
                return file
    where = ", ".join(str(each) for each in top_folders) or spec.origin
    raise UnknownHeadError(
        f"head {name!r}: expected module {module_name!r} in {where}, where Python finds {top!r}, got "
        f"nothing; correct the name, or, if yours lies elsewhere, rename your {top!r}"
    )


def _subfolders(folders: list[Path], part: str) -> list[Path]:
    """Folders of a package within its parent's: one with an `__init__.py`, or all that share the name."""
    found = [folder / part for folder in folders if (folder / part).is_dir()]
    return [each for each in found if (each / _PACKAGE_FILE).is_file()][:1] or found


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def _loaded_specs(source: HeadSource) -> dict[Path, object]:
    top = source.module_name.partition(".")[0]
    return {
        file.resolve(): getattr(module, "__spec__", None)
        for name, module in [*sys.modules.items()]
        if (name == top or name.startswith(f"{top}.")) and module and (file := _file_of(module))
        if file == source.file or source.root in file.parents
    }


def _same(specs: Mapping[Path, object], others: Mapping[Path, object]) -> bool:
    # Specs of equal content are equal, although one of them was made by a reload.
    return specs.keys() == others.keys() and all(specs[file] is others[file] for file in specs)


def _content(source: HeadSource, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnknownHeadError(
            f"head {source.name!r}: {path} cannot be read ({error.strerror}); its package has to be readable"
        ) from error
