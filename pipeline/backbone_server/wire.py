"""Messages between a backbone server and its clients: a JSON header and raw arrays behind it.

    4 bytes      length of the header, big-endian
    header       {"kind": ..., "fields": {...}, "arrays": [[dtype, shape], ...]}
    arrays       their bytes, one after the other

No byte of it is ever executed or unpickled. Arrays are sent from where they lie and received into where they
stay.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.input_blocks import Block, ExampleBlock, FaceBlock, SampleBlock

_LENGTH = struct.Struct(">I")
_BLOCKS: Mapping[str, type[Block]] = {cls.__name__: cls for cls in (FaceBlock, ExampleBlock, SampleBlock)}


@dataclass(frozen=True, kw_only=True)
class Message:
    """What one side says to the other.

    Attributes:
        kind: What it is.
        fields: What JSON can hold.
        arrays: What it cannot.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Sequence[NDArray[Any]] = ()


def send(connection: socket.socket, message: Message) -> None:
    """Send a message, all of it.

    Raises:
        OSError: The other side is gone.
    """
    header = json.dumps(
        {
            "kind": message.kind,
            "fields": message.fields,
            "arrays": [(array.dtype.str, array.shape) for array in message.arrays],
        }
    ).encode()
    connection.sendall(_LENGTH.pack(len(header)) + header)
    for array in message.arrays:
        # Without a copy where the array is contiguous; frames and crops are.
        connection.sendall(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def receive(connection: socket.socket) -> Message | None:
    """The next message; None when the other side has closed the connection after the last one.

    Raises:
        OSError: The other side is gone in the middle of a message.
    """
    start = bytearray(_LENGTH.size)
    if not _fill(connection, memoryview(start), at_border=True):
        return None
    encoded = bytearray(_LENGTH.unpack(start)[0])
    _fill(connection, memoryview(encoded))
    header = json.loads(encoded)
    arrays = []
    for dtype, shape in header["arrays"]:
        # As bytes, because an empty array has no memory that could be viewed as bytes.
        raw = np.empty(np.dtype(dtype).itemsize * math.prod(shape), dtype=np.uint8)
        _fill(connection, raw.data)
        arrays.append(raw.view(dtype).reshape(shape))
    return Message(kind=header["kind"], fields=header["fields"], arrays=tuple(arrays))


def block_message(kind: str, block: Block) -> Message:
    """A message that carries a block."""
    values = {field.name: getattr(block, field.name) for field in dataclasses.fields(block)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    return Message(
        kind=kind,
        fields={
            "block": type(block).__name__,
            "arrays": list(arrays),
            "numbers": {name: value for name, value in values.items() if name not in arrays},
        },
        arrays=tuple(arrays.values()),
    )


def block_of(message: Message) -> Block:
    """The block that a message carries.

    Raises:
        ValueError: It is not a block of that kind.
    """
    arrays = dict(zip(message.fields["arrays"], message.arrays, strict=True))
    return _BLOCKS[message.fields["block"]](**arrays, **message.fields["numbers"])


def listen(address: Path) -> socket.socket:
    """A socket that clients can connect to."""
    listener = socket.socket(socket.AF_UNIX)
    with _short(address) as name:
        listener.bind(name)
    # As many as may come at once, when a run starts: the kernel caps it.
    listener.listen(4096)
    return listener


def connect(address: Path) -> socket.socket:
    """A connection to a server.

    Raises:
        OSError: There is none at that address.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _short(address) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def _short(address: Path) -> Iterator[str]:
    """Another name for a socket: the kernel takes 107 bytes, and temporary folders of clusters are longer."""
    folder = os.open(address.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{address.name}"
    finally:
        os.close(folder)


def _fill(connection: socket.socket, memory: memoryview, *, at_border: bool = False) -> bool:
    """Receive as many bytes as the memory holds; False where there is none left at the border of messages."""
    received = 0
    while received < len(memory):
        count = connection.recv_into(memory[received:])
        if not count:
            if at_border and not received:
                return False
            raise ConnectionResetError("the connection was closed in the middle of a message")
        received += count
    return True
