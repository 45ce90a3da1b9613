"""Replacing a store as a whole, and healing a replacement that was killed midway.

POSIX renames replace one file at a time; exchanging two directories takes a system call that Python does not
offer. So a store ``S`` is replaced in steps, under an exclusive lock on ``.S.lock`` beside it:

1. the new store is written into ``.S.new-TOKEN``, completion record last, every file flushed to the disk;
2. ``S`` is renamed to ``.S.old-TOKEN``, with the same token;
3. ``.S.new-TOKEN`` is renamed to ``S``;
4. the parent directory is flushed, ``.S.old-TOKEN`` removed.

Whatever kills the process, what it leaves says how far it came:

====================  =================  =================  ==================================================
killed                ``S``              leftovers          what the next pack, or the next open, does
====================  =================  =================  ==================================================
before step 2         the previous one   new                pack removes the leftover
between 2 and 3       missing            new and old of     either finishes step 3: the new store is complete,
                                         one token          or it would not have come to step 2
after step 3          the new one        old, or a rest     pack removes the leftover
====================  =================  =================  ==================================================

An ``old`` without its ``new`` is never brought back: where ``S`` is missing then, the user removed it. The
lock goes with its process, so whoever holds it knows that every leftover is a dead run's.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cache.atomic_file import make_directory, sync
from cache.errors import CacheError, IncompleteStoreError
from cache.record import CompletionRecord

_LOG = logging.getLogger(__name__)
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


@contextmanager
def replacement_of_store(store: Path) -> Iterator[Path]:
    """A new, empty directory that takes the place of `store` when the block ends without an error.

    Waits while another process replaces the same store. On any error the previous store stays, and the new
    directory is removed.

    Raises:
        OSError: The disk is full or not writable.
    """
    store = _real(store)
    make_directory(store.parent)
    with _locked(store):
        _settle(store)
        for leftover in [*_siblings(store, "new"), *_siblings(store, "old")]:
            shutil.rmtree(leftover, ignore_errors=True)
        token = secrets.token_hex(8)
        new, old = _sibling(store, "new", token), _sibling(store, "old", token)
        try:
            new.mkdir()
            yield new
            _sync_tree(new)
            _swap(store, new, old)
        finally:
            # An error or an interrupt between the renames: the previous store is put back first.
            if old.exists() and not store.exists():
                os.rename(old, store)
            shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def heal(store: Path) -> None:
    """Finish a replacement that was killed between its two renames; does nothing else.

    Raises:
        IncompleteStoreError: There is something to finish, but the directory is not ours to write.
    """
    store = _real(store)
    if store.exists() or not any(_siblings(store, "old")):
        return
    try:
        with _locked(store):
            _settle(store)
    except OSError as error:
        raise IncompleteStoreError(
            f"{store}: a run was killed while it replaced this store, and the replacement cannot be finished "
            f"here ({error.strerror or error}); open it once where {store.parent} is writable"
        ) from error


def _real(store: Path) -> Path:
    """The place itself where `store` is a symbolic link: renames would replace the link."""
    return Path(os.path.realpath(store))


def _sibling(store: Path, kind: str, token: str) -> Path:
    return store.with_name(f".{store.name}.{kind}-{token}")


def _siblings(store: Path, kind: str) -> list[Path]:
    """Directories of one kind beside the store; names are compared as text, a store's name may hold ``*``."""
    prefix = _sibling(store, kind, "").name
    try:
        return [path for path in store.parent.iterdir() if path.name.startswith(prefix)]
    except FileNotFoundError:
        return []


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Hold the store's lock; the lock file is gone afterwards."""
    path = store.with_name(f".{store.name}.lock")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, store)
            # Whoever held the lock before has removed its file: a lock on a removed file holds nobody off.
            if _is_file_at(descriptor, path):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(descriptor: int, store: Path) -> None:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.warning("waiting for another process that is replacing %s", store)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        # Some network file systems have no locks. Two packers of one store at once would then remove each
        # other's work; one of them fails with an error, and what is swapped in is whole in any case.
        if error.errno not in _NO_LOCKS:
            raise


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _settle(store: Path) -> None:
    """Finish step 3 where a dead run left it; the lock is held."""
    if store.exists():
        return
    for old in _siblings(store, "old"):
        new = _sibling(store, "new", old.name.rpartition("-")[2])
        if not new.exists():
            continue
        try:
            CompletionRecord.read(new).check_sizes(new)
        except CacheError:
            new = old  # damaged since: the previous store is what is left
        new.rename(store)
        sync(store.parent)
        return


def _swap(store: Path, new: Path, old: Path) -> None:
    """Steps 2 and 3."""
    with suppress(FileNotFoundError):
        os.rename(store, old)
    os.rename(new, store)
    sync(store.parent)


def _sync_tree(directory: Path) -> None:
    for path, _, names in os.walk(directory, topdown=False):
        for name in names:
            sync(Path(path, name))
        sync(Path(path))
