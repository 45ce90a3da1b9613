"""Downloads from a real server on loopback: ranges, cut connections, wrong bytes, none at all."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import WeightsError
from pipeline.weights.download import fetch_weights, https_opener
from pipeline.weights.registry import RegisteredWeights

# Over two chunks of a download, and of no round size.
CONTENT = np.random.default_rng(0).bytes((1 << 21) + 4321)
PLAIN = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Server(ThreadingHTTPServer):
    """Serves `content` and notes the ranges that it was asked for.

    Attributes:
        cuts: For each answer to come, how many bytes are sent before the connection is cut; None for all.
        ranges: Whether it honours ranges.
        says_length: Whether answers say how long they are.
        misplaces: Whether it answers with another range than it was asked for.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cuts: list[int | None] = []
        self.ranges, self.says_length, self.misplaces = True, True, False
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/net.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.path == "/gone.pth":
            self.send_error(404)
            return
        if self.path == "/moved.pth":
            self.send_response(302)
            self.send_header("Location", self.server.url)
            self.end_headers()
            return
        content, start = self.server.content, 0
        if asked is not None and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-")) - self.server.misplaces
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if self.server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def weights(server: Server) -> RegisteredWeights:
    return RegisteredWeights(
        name="net",
        backbone="ir50",
        file_name="net.pth",
        url=server.url,
        size_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="none",
        notes="made up",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "net.pth"


def partial_of(path: Path) -> Path:
    return path.with_name("net.pth.partial")


def test_file_arrives_whole_and_is_not_fetched_again(
    server: Server, weights: RegisteredWeights, path: Path
) -> None:
    first, second = (fetch_weights(weights, path, PLAIN) for _ in range(2))
    assert path.read_bytes() == CONTENT
    assert (first.downloaded, second.downloaded) == (True, False)
    assert first.sha256 == second.sha256 == weights.sha256
    assert server.asked == [None]
    assert [each.name for each in path.parent.iterdir()] == ["net.pth"]


def test_cut_connections_are_resumed_where_they_broke_off(
    server: Server, weights: RegisteredWeights, path: Path
) -> None:
    server.cuts = [1000, 500_000, 1, None]
    fetch_weights(weights, path, PLAIN)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=501000-", "bytes=501001-"]


def test_a_later_run_goes_on_where_an_earlier_one_stopped(
    server: Server, weights: RegisteredWeights, path: Path
) -> None:
    server.cuts = [700_000, 0, 0, 0]
    with pytest.raises(WeightsError, match=r"net: cannot download .*what has arrived is kept") as caught:
        fetch_weights(weights, path, PLAIN)
    assert str(path) in str(caught.value)
    assert server.url in str(caught.value)
    assert not path.exists()
    assert partial_of(path).stat().st_size == 700_000
    fetch_weights(weights, path, PLAIN)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=700000-"


def test_a_server_without_ranges_is_asked_from_the_start(
    server: Server, weights: RegisteredWeights, path: Path
) -> None:
    server.ranges, server.cuts = False, [1000, None]
    fetch_weights(weights, path, PLAIN)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-"]


def test_another_range_than_asked_for_is_not_appended(
    server: Server, weights: RegisteredWeights, path: Path
) -> None:
    server.misplaces, server.cuts = True, [1000, None]
    with pytest.raises(WeightsError, match="another range than it was asked for"):
        fetch_weights(weights, path, PLAIN)
    assert not path.exists()


def test_wrong_bytes_are_refused_and_deleted(server: Server, weights: RegisteredWeights, path: Path) -> None:
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(
        WeightsError, match=f"expected SHA-256 {weights.sha256}, as published for net, got "
    ) as caught:
        fetch_weights(weights, path, PLAIN)
    assert "\n" not in str(caught.value)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT[:-5]])
def test_wrong_size_is_refused_and_deleted(
    server: Server, weights: RegisteredWeights, path: Path, content: bytes
) -> None:
    server.content = content
    with pytest.raises(WeightsError, match=f"expected {len(CONTENT)} bytes, as published for net, got "):
        fetch_weights(weights, path, PLAIN)
    assert list(path.parent.iterdir()) == []


def test_part_of_another_file_is_replaced(server: Server, weights: RegisteredWeights, path: Path) -> None:
    unknown = dataclasses.replace(weights, size_bytes=None)
    path.parent.mkdir(parents=True)
    partial_of(path).write_bytes(CONTENT + b"longer than the whole")
    fetch_weights(unknown, path, PLAIN)
    assert path.read_bytes() == CONTENT
    # Of the same size, and wrong: that shows only in the digest.
    path.unlink()
    partial_of(path).write_bytes(bytes(len(CONTENT)))
    with pytest.raises(WeightsError, match="expected SHA-256"):
        fetch_weights(unknown, path, PLAIN)
    fetch_weights(unknown, path, PLAIN)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("says_length", [True, False])
def test_without_anything_published_the_files_own_digest_is_told(
    server: Server, weights: RegisteredWeights, path: Path, says_length: bool
) -> None:
    server.says_length = says_length
    server.cuts = [1000, None] if says_length else []
    unknown = dataclasses.replace(weights, size_bytes=None, sha256=None)
    fetched = fetch_weights(unknown, path, PLAIN)
    assert path.read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_prefix_of_a_digest_is_enough(weights: RegisteredWeights, path: Path) -> None:
    assert weights.sha256 is not None
    assert fetch_weights(dataclasses.replace(weights, sha256=weights.sha256[:8]), path, PLAIN).downloaded


def test_file_put_by_hand_is_verified(server: Server, weights: RegisteredWeights, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(WeightsError, match="delete it and run 'tagf weights fetch net'"):
        fetch_weights(weights, path, PLAIN)
    assert server.asked == []


def test_missing_page_and_missing_server_are_told_with_the_way_by_hand(
    server: Server, weights: RegisteredWeights, path: Path
) -> None:
    gone = dataclasses.replace(weights, url=server.url.replace("net.pth", "gone.pth"))
    with pytest.raises(WeightsError, match="the server answered 404"):
        fetch_weights(gone, path, PLAIN)
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match=r"cannot download .*[Rr]efused") as caught:
        fetch_weights(weights, path, PLAIN)
    assert f"put it at {path}" in str(caught.value)


def test_redirects_are_followed_with_the_range(
    server: Server, weights: RegisteredWeights, path: Path
) -> None:
    moved = dataclasses.replace(weights, url=server.url.replace("net.pth", "moved.pth"))
    server.cuts = [1000, None]
    fetch_weights(moved, path, PLAIN)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, None, "bytes=1000-", "bytes=1000-"]


def test_weights_without_an_address_name_the_place(weights: RegisteredWeights, path: Path) -> None:
    with pytest.raises(WeightsError, match=f"cannot be fetched .made up.; put net.pth at {path} by hand"):
        fetch_weights(dataclasses.replace(weights, url=None), path, PLAIN)


def test_only_https_is_opened_by_default(server: Server, weights: RegisteredWeights, path: Path) -> None:
    with pytest.raises(WeightsError, match="unknown url type: http"):
        fetch_weights(weights, path)
    assert server.asked == []
    # A redirect from https to http ends in the same place: the opener has no handler for http.
    assert "http" not in https_opener().handle_open
