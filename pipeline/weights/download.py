"""Download of registered weights: resumed where it broke off, verified before it is put in place.

FILE.partial    what has arrived; kept when the connection is cut, deleted when its digest is wrong
FILE            appears by renaming, once size and digest are what is published; nothing is parsed before
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cache.atomic_file import make_directory, sync
from pipeline.errors import WeightsError
from pipeline.progress_bar import ProgressBar
from pipeline.weights.registry import RegisteredWeights, verify_file

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
# Attempts in a row that bring nothing new; each one that does may be followed by as many again.
_MAX_VAIN_ATTEMPTS = 3
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a download came to.

    Attributes:
        path: The file.
        sha256: Its own SHA-256.
        downloaded: False where it was there already.
    """

    path: Path
    sha256: str
    downloaded: bool


def https_opener() -> urllib.request.OpenerDirector:
    """Opens https addresses alone, redirected ones too, through the proxies that the environment names."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def fetch_weights(
    weights: RegisteredWeights, path: Path, opener: urllib.request.OpenerDirector | None = None
) -> Fetched:
    """Bring a registered file to its place, unless it is there already.

    Args:
        weights: What is published about it.
        path: Where it shall lie; its folder is made.
        opener: Opens the address; None for `https_opener`.

    Raises:
        WeightsError: It has no address, cannot be reached, or is not the published file.
    """
    if path.is_file():
        return Fetched(path=path, sha256=verify_file(weights, path), downloaded=False)
    if weights.url is None:
        raise WeightsError(
            f"{weights.name}: cannot be fetched ({weights.notes}); put {weights.file_name} at {path} by hand"
        )
    make_directory(path.parent)
    partial = path.with_name(f"{path.name}.partial")
    transfer = _Transfer(weights, weights.url, path, opener or https_opener())
    transfer.run(partial)
    try:
        digest = verify_file(
            weights,
            partial,
            remedy=f"it came from {weights.url} and is deleted; run it again, and report it if it stays so",
        )
    except WeightsError:
        partial.unlink()
        raise
    sync(partial)
    os.replace(partial, path)
    sync(path.parent)
    return Fetched(path=path, sha256=digest, downloaded=True)


class _Transfer:
    """One file on its way, over as many connections as it takes."""

    def __init__(
        self, weights: RegisteredWeights, url: str, path: Path, opener: urllib.request.OpenerDirector
    ) -> None:
        self._weights, self._url, self._path, self._opener = weights, url, path, opener
        # Size of the whole, as published or as the server says.
        self._total = weights.size_bytes

    def run(self, partial: Path) -> None:
        """Fill `partial` until it has as many bytes as the whole has."""
        # A server without ranges starts again each time: only what goes further than ever is progress.
        furthest, num_vain = _size(partial), 0
        with ProgressBar(self._weights.file_name, "B", self._total, initial=_size(partial)) as progress:
            while self._total is None or _size(partial) < self._total:
                before = _size(partial)
                try:
                    if self._continue(partial, progress):
                        return
                    reason = "the connection was cut"
                except urllib.error.HTTPError as error:
                    reason = f"the server answered {error.code} {error.reason}"
                    if error.code != _RANGE_NOT_SATISFIABLE or not before:
                        raise self._unreachable(reason) from error
                    if error.headers.get("Content-Range") == f"bytes */{before}":
                        return  # nothing is missing
                    partial.unlink()  # longer than the whole: of another file
                    progress.reset()
                except (OSError, http.client.HTTPException) as error:
                    reason = str(getattr(error, "reason", "") or error) or type(error).__name__
                num_vain = 0 if _size(partial) > furthest else num_vain + 1
                furthest = max(furthest, _size(partial))
                if num_vain >= _MAX_VAIN_ATTEMPTS:
                    raise self._unreachable(reason)

    def _continue(self, partial: Path, progress: ProgressBar) -> bool:
        """Ask for what is missing, once. Returns whether an answer of unknown length came to its end."""
        start = _size(partial)
        request = urllib.request.Request(self._url, headers={"User-Agent": "tagf"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
            resumed = answer.status == _PARTIAL_CONTENT
            if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise self._unreachable("the server answered with another range than it was asked for")
            if not resumed:  # the server sends the whole from its beginning
                start = 0
                progress.reset()
            length = answer.headers.get("Content-Length")
            if self._total is None and length is not None:
                self._total = start + int(length)
                progress.total = self._total
            with partial.open("ab" if resumed else "wb") as file:
                while chunk := answer.read1(_CHUNK_BYTES):
                    file.write(chunk)
                    progress.update(len(chunk))
                    if self._total is not None and file.tell() > self._total:
                        return True  # too long; its size says so below
            return self._total is None

    def _unreachable(self, reason: str) -> WeightsError:
        return WeightsError(
            f"{self._weights.name}: cannot download {self._url}: {' '.join(reason.split())}; what has "
            f"arrived is kept, run it again to go on; or download it elsewhere and put it at {self._path}"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
