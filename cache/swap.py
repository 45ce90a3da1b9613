"""Replacing a store as a whole, and healing a replacement that was killed midway.

POSIX renames replace one file at a time; exchanging two directories takes a system call that Python does not
offer. So a store ``S`` is replaced in steps, under an exclusive lock on ``.S.lock`` beside it:

1. the new store is written into ``.S.new-TOKEN``, completion record last, every file flushed to the disk;
2. ``S`` is renamed to ``.S.old-TOKEN``, with the same token;
3. ``.S.new-TOKEN`` is renamed to ``S``;
4. the parent directory is flushed, ``.S.old-TOKEN`` removed.

Where something else appears at ``S`` between steps 2 and 3, the previous store is kept as
``S.previous-TOKEN``, which no program removes.

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
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from cache.atomic_file import make_directory, sync
from cache.errors import CorruptFeatureError, IncompleteStoreError, StorageError, StoreFormatError
from cache.location import RECORD_PATH
from cache.record import CompletionRecord

_LOG = logging.getLogger(__name__)
_TOKEN_BYTES = 8
_TOKEN = rf"[0-9a-f]{{{2 * _TOKEN_BYTES}}}"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


@contextmanager
def replacement_of_store(store: Path) -> Iterator[Path]:
    """A new, empty directory that takes the place of `store` when the block ends without an error.

    Waits while another process replaces the same store. On any error in the block the previous store stays,
    and the new directory is removed.

    Raises:
        OSError: The disk is full or not writable; the previous store stays.
        StorageError: The new store is in its place, but that could not be flushed to the disk; or something
            else was put there meanwhile, and the previous store is kept under another name.
    """
    store = _real(store)
    make_directory(store.parent)
    with _locked(store):
        _settle(store)
        for leftover in [*_siblings(store, "new"), *_siblings(store, "old")]:
            shutil.rmtree(leftover, ignore_errors=True)
        token = secrets.token_hex(_TOKEN_BYTES)
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
            elif old.exists() and new.exists():
                _keep(store, new, old)
            shutil.rmtree(new, ignore_errors=True)
        try:
            sync(store.parent)
        except OSError as error:
            raise StorageError(
                f"the new store is at {store}, but {store.parent} could not be flushed to the disk "
                f"({error.strerror or error}): a power failure may lose it; check the disk, write it again"
            ) from error
        finally:
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
    """Directories of one kind beside the store.

    The whole name has to fit: ``.S.new-b.new-TOKEN`` belongs to a store named ``S.new-b``.
    """
    name = re.compile(re.escape(_sibling(store, kind, "").name) + _TOKEN)
    try:
        return [path for path in store.parent.iterdir() if name.fullmatch(path.name)]
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
        # Some network file systems have no locks. Of two packers of one store at once, the second then
        # removes what the first has written. The first fails: its directory is not made again, and what was
        # written is compared with the completion record before it is swapped in.
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
        if _is_damaged(new):
            new = old  # the previous store is what is left
        new.rename(store)
        sync(store.parent)
        return


def _is_damaged(new: Path) -> bool:
    """Whether a store that was finished is so no more."""
    try:
        CompletionRecord.read(new).check_sizes(new)
    except StoreFormatError:
        # A program of another version finished it, and knows what it holds. Without a record it is nothing.
        return not (new / RECORD_PATH).is_file()
    except (IncompleteStoreError, CorruptFeatureError):
        return True  # but what cannot be read just now is not damaged
    return False


def _swap(store: Path, new: Path, old: Path) -> None:
    """Steps 2 and 3."""
    with suppress(FileNotFoundError):
        os.rename(store, old)
    os.rename(new, store)


def _keep(store: Path, new: Path, old: Path) -> NoReturn:
    """Something else lies at the store's place: keep the previous store where the next pack leaves it."""
    kept = store.with_name(f"{store.name}.previous-{old.name.rpartition('-')[2]}")
    os.rename(old, kept)
    shutil.rmtree(new, ignore_errors=True)
    raise StorageError(
        f"{store}: something else was put there while the store was replaced; it stays, and the previous "
        f"store is now {kept}; move the one that you want to {store}, or write the store again"
    )


def _sync_tree(directory: Path) -> None:
    def fail(error: OSError) -> NoReturn:
        raise error

    for path, _, names in os.walk(directory, topdown=False, onerror=fail):
        for name in names:
            sync(Path(path, name))
        sync(Path(path))
