"""Messages between a backbone server and its clients, over real sockets."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import errors
from pipeline.backbone_server.sent_errors import error_fields, error_of
from pipeline.backbone_server.wire import (
    Message,
    block_message,
    block_of,
    connect,
    listen,
    receive,
    send,
)
from pipeline.input_blocks import Block, ExampleBlock, FaceBlock, SampleBlock


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def sent(ends: tuple[socket.socket, socket.socket], message: Message) -> Message:
    """What arrives of a message; sent on a thread, because it may be larger than what a socket holds."""
    sender = threading.Thread(target=send, args=(ends[0], message))
    sender.start()
    received = receive(ends[1])
    sender.join()
    assert received is not None
    return received


@pytest.mark.parametrize(
    "array",
    [
        np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8),
        np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::-1, ::2],
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.array([np.nan, -0.0, np.inf], dtype=np.float64),
        np.zeros((0, 4), dtype=np.float32),
        np.zeros((2, 0, 3), dtype=np.float32),
    ],
    ids=["larger than a socket holds", "strided", "fortran", "not finite", "empty", "empty inside"],
)
def test_arrays_arrive_bit_for_bit_and_writable(ends, array) -> None:
    (received,) = sent(ends, Message(kind="x", arrays=(array,))).arrays
    assert received.dtype == array.dtype
    assert received.shape == array.shape
    assert received.tobytes() == array.tobytes()
    assert received.flags.writeable


def test_messages_follow_each_other(ends) -> None:
    for number in range(3):
        send(
            ends[0],
            Message(kind=f"kind {number}", fields={"Ä": [number, None, 0.1]}, arrays=[np.ones(number)]),
        )
    ends[0].close()
    messages = [receive(ends[1]) for _ in range(4)]
    assert [message and message.kind for message in messages] == ["kind 0", "kind 1", "kind 2", None]
    assert messages[2].fields == {"Ä": [2, None, 0.1]}
    assert [len(message.arrays[0]) for message in messages[:3]] == [0, 1, 2]


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\0\0",
        struct.pack(">I", 50) + b"{",
        b'\0\0\0\x35{"kind": "x", "fields": {}, "arrays": [["|u1", [9]]]}a',
    ],
)
def test_a_message_cut_short_is_an_error(ends, bytes_sent) -> None:
    ends[0].sendall(bytes_sent)
    ends[0].close()
    with pytest.raises(ConnectionResetError, match="in the middle of a message"):
        receive(ends[1])


def blocks() -> list[Block]:
    rng = np.random.default_rng(0)
    return [
        FaceBlock(crops=rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)),
        ExampleBlock(grid=rng.random((120, 64), dtype=np.float32), first_rows=np.arange(5) * 4),
        SampleBlock(
            samples=rng.random(50, dtype=np.float32), first_samples=np.arange(5) * 3, window_samples=30
        ),
    ]


@pytest.mark.parametrize("block", blocks(), ids=lambda block: type(block).__name__)
def test_blocks_arrive_as_they_were(ends, block) -> None:
    received = block_of(sent(ends, block_message("block", block)))
    assert type(received) is type(block)
    for name, value in vars(block).items():
        assert np.array_equal(getattr(received, name), value), name


def test_a_socket_may_lie_deeper_than_the_kernel_takes_names(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / ("longer" * 20)
    folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        connect(folder / "0")
    with listen(folder / "0") as listener, connect(folder / "0") as client:
        server, _ = listener.accept()
        with server:
            send(client, Message(kind="hello"))
            assert receive(server).kind == "hello"


class GivenUpError(errors.MediaError):
    """A kind that the other side does not know."""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (errors.FaceDetectionError("picture: too odd"), errors.FaceDetectionError, "picture: too odd"),
        (errors.WeightsError("weights 'ä'"), errors.WeightsError, "weights 'ä'"),
        (MemoryError("large"), MemoryError, "large"),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError, "CUDA out of memory"),
        (GivenUpError("never"), errors.MediaError, "GivenUpError: never"),
        (ZeroDivisionError("by zero"), Exception, "ZeroDivisionError: by zero"),
        (errors.ClipProcessError("decode", "it died"), errors.PipelineError, "ClipProcessError: it died"),
    ],
)
def test_errors_arrive_as_the_nearest_kind_that_is_known(error, kind, message) -> None:
    received = error_of(error_fields(error))
    assert type(received) is kind
    assert str(received) == message
