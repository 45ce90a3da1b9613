"""The networks of a backbone server, as its clients see them."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.backbone_server.picture_faces import faces_of
from pipeline.backbone_server.sent_errors import error_of
from pipeline.backbone_server.wire import Message, block_message, connect, receive, send
from pipeline.config import ExtractConfig
from pipeline.errors import BackboneServerError
from pipeline.faces.detector import Face
from pipeline.feature_spec import clip_streams
from pipeline.input_blocks import Block
from pipeline.models import Models

# What stays with the server while a client decodes, in batches: one that is being run, one that is next.
_NUM_BATCHES_AHEAD = 2


class RemoteModels(Models):
    """Stands for the models of a server; holds no connection, so it may cross threads and processes.

    Args:
        address: Of the server, from `start_servers`.
        config: The `extract` section that the server was started with.

    Raises:
        BackboneServerError: No server at that address.
    """

    def __init__(self, address: str, config: ExtractConfig) -> None:
        with _conversation(address) as server:
            server.say(Message(kind="facts"))
            streams = server.hear().fields
        super().__init__(
            detector=RemoteDetector(address),
            embedders=MappingProxyType(
                {name: RemoteMapper(address, name, **stream) for name, stream in streams.items()}
            ),
            # They read files beside the media, which may lie where only this process is.
            clip_streams=clip_streams(config),
        )


class RemoteDetector:
    """Finds faces in the server.

    Args:
        address: Of the server.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[Face, ...]]:
        """All faces of each picture, as `FaceDetector.detect` finds them.

        Args:
            pictures: RGB pictures, each (height, width, 3) uint8, of any sizes.

        Raises:
            FaceDetectionError: Not an RGB picture of bytes, or one that the detector fails on.
            BackboneServerError: The server died.
        """
        with _conversation(self._address) as server:
            server.say(Message(kind="detect", arrays=pictures))
            return faces_of(server.hear())


class RemoteMapper:
    """A backbone in the server: `pipeline.embedding.RowMapper`.

    Args:
        address: Of the server.
        stream: Name of the stream.
        takes: What blocks hold.
        num_features: Features per row.
        views: Views per face; None for streams without.
        crop_size_px: Side of the crops that the blocks hold.
        window_samples: Samples of a window.
        batch_size: Inputs per call in the server.
    """

    def __init__(
        self,
        address: str,
        stream: str,
        *,
        takes: Literal["faces", "log_mel", "waveform"],
        num_features: int,
        views: Sequence[str] | None,
        crop_size_px: int | None,
        window_samples: int | None,
        batch_size: int,
    ) -> None:
        self.takes = takes
        self.num_features = num_features
        self.views = None if views is None else tuple(views)
        self.crop_size_px = crop_size_px
        self.window_samples = window_samples
        self._address, self._stream = address, stream
        num_views = len(self.views or (None,))
        self._inputs_ahead = _NUM_BATCHES_AHEAD * max(1, batch_size // num_views)

    def map(self, blocks: Iterable[Block]) -> Iterator[NDArray[np.float32]]:
        """Rows of each block, in the order of the blocks.

        Blocks are taken ahead of the rows that are given, for two batches and one block at most: the network
        runs while the next block is decoded.

        Args:
            blocks: Of n inputs each.

        Yields:
            For each block (V, n, D), or (n, D) for streams without views.

        Raises:
            BackboneServerError: The server died.
            Exception: What the backbone raised.
        """
        ahead: deque[int] = deque()  # inputs of each block whose rows were not given yet
        with _conversation(self._address) as server:
            server.say(Message(kind="map", fields={"stream": self._stream}))
            for block in blocks:
                if len(block):
                    server.say(block_message("block", block))
                ahead.append(len(block))
                while sum(ahead) - ahead[0] >= self._inputs_ahead:
                    yield self._rows(server, ahead.popleft())
            while ahead:
                yield self._rows(server, ahead.popleft())

    def _rows(self, server: _Conversation, num_inputs: int) -> NDArray[np.float32]:
        if not num_inputs:
            shape = (0, self.num_features) if self.views is None else (len(self.views), 0, self.num_features)
            return np.empty(shape, dtype=np.float32)
        server.say(Message(kind="next"))
        return server.hear().arrays[0]


class _Conversation:
    """One connection to a server, see `service`."""

    def __init__(self, connection: socket.socket, address: str) -> None:
        self._connection, self._address = connection, address

    def say(self, message: Message) -> None:
        try:
            send(self._connection, message)
        except OSError as error:
            raise _lost(self._address) from error

    def hear(self) -> Message:
        """The server's answer; where that is an error, it is raised."""
        try:
            message = receive(self._connection)
        except OSError as error:
            raise _lost(self._address) from error
        if message is None:
            raise _lost(self._address)
        if message.kind == "error":
            raise error_of(message.fields)
        return message


@contextmanager
def _conversation(address: str) -> Iterator[_Conversation]:
    try:
        connection = connect(Path(address))
    except OSError as error:
        raise BackboneServerError(
            f"backbone server {address!r}: expected it to listen, got {error.strerror}; it died or was "
            "stopped: run again"
        ) from error
    with connection:
        yield _Conversation(connection, address)


def _lost(address: str) -> BackboneServerError:
    return BackboneServerError(
        f"backbone server {address!r}: expected an answer, but it died (killed, or out of memory); run again"
    )
