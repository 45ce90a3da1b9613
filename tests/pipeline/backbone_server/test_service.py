"""What a backbone server computes in which turn, with networks that are easy to see through.

The service runs on a thread of the test and is talked to over its socket, as by other processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pipeline.backbone_server import batch_queue
from pipeline.backbone_server.client import RemoteDetector, RemoteMapper
from pipeline.backbone_server.service import Service
from pipeline.backbone_server.wire import Message, block_message, connect, listen, receive, send
from pipeline.errors import ExtractionError, FaceDetectionError
from pipeline.faces.detector import Face
from pipeline.input_blocks import FaceBlock

POISON, TOO_MUCH, END, HELD, SHORT = 251, 252, 253, 254, 255


class StopServiceError(Exception):
    """Ends the thread of a test's service."""


class MarkMapper:
    """Gives each face's mark, and the number of the view; remembers who was run together."""

    takes, num_features, views, crop_size_px, window_samples = "faces", 1, ("center", "flip"), 1, None

    def __init__(self, log: list) -> None:
        self.log = log
        self.held, self.go_on = threading.Event(), threading.Event()

    def map(self, blocks: Iterable[FaceBlock]) -> Iterator[np.ndarray]:
        blocks = list(blocks)
        marks = [block.crops[:, 0, 0, 0] for block in blocks]
        self.log.append([mark.tolist() for mark in marks])
        for mark in np.concatenate(marks).tolist():
            if mark == POISON:
                raise FaceDetectionError("poison")
            if mark == TOO_MUCH:
                raise MemoryError("too much")
            if mark == END:
                raise StopServiceError
            if mark == HELD:
                self.held.set()
                assert self.go_on.wait(60)
        for mark in marks:
            if SHORT in mark:
                mark = mark[1:]
            yield np.stack([mark, mark + 0.5])[..., None].astype(np.float32)


class CountingDetector:
    """Finds as many faces as the first pixel says."""

    def __init__(self, log: list) -> None:
        self.log = log

    def detect(self, pictures: list[np.ndarray]) -> list[tuple[Face, ...]]:
        self.log.append("faces")
        counts = [int(picture[0, 0, 0]) for picture in pictures]
        if POISON in counts:
            raise FaceDetectionError("no such picture")
        return [
            tuple(
                Face(
                    box=np.array([number, 1, 2, count], dtype=np.float32),
                    score=1 / (3 + number),
                    landmarks=np.full((5, 2), number, dtype=np.float32),
                )
                for number in range(count)
            )
            for count in counts
        ]


class FakeModels:
    def __init__(self) -> None:
        self.log: list = []
        self.detector = CountingDetector(self.log)
        self.embedders = {"visual": MarkMapper(self.log)}


def faces(*marks: int) -> FaceBlock:
    return FaceBlock(crops=np.repeat(np.array(marks, dtype=np.uint8)[:, None, None, None], 3, axis=3))


def picture(count: int) -> np.ndarray:
    return np.full((2, 3, 3), count, dtype=np.uint8)


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()


@pytest.fixture
def service(models: FakeModels) -> Service:
    return Service(models, 16, (StopServiceError,))


@pytest.fixture
def address(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # A rest is run for a reason that the test gives, not because the machine was slow.
    monkeypatch.setattr(batch_queue, "LINGER_S", 1e6)
    listener = listen(tmp_path / "0")

    def run() -> None:
        with suppress(StopServiceError):
            service.run()

    def accept() -> None:
        with suppress(OSError):
            service.accept(listener)

    threads = [threading.Thread(target=run), threading.Thread(target=accept, daemon=True)]
    for thread in threads:
        thread.start()
    yield str(tmp_path / "0")
    with connect(tmp_path / "0") as connection:
        send(connection, Message(kind="map", fields={"stream": "visual"}))
        send(connection, block_message("block", faces(*[END] * 8)))
        threads[0].join(60)
    assert not threads[0].is_alive()
    listener.close()


def mapper(address: str) -> RemoteMapper:
    return RemoteMapper(
        address,
        "visual",
        takes="faces",
        num_features=1,
        views=["center", "flip"],
        crop_size_px=1,
        window_samples=None,
        batch_size=16,
    )


class Clip:
    """A clip of which the test says when which block comes."""

    def __init__(self, address: str) -> None:
        self.connection = connect(Path(address))
        self.connection.settimeout(60)  # a service that forgets to answer fails the test, not hangs it
        send(self.connection, Message(kind="map", fields={"stream": "visual"}))

    def give(self, *marks: int) -> None:
        send(self.connection, block_message("block", faces(*marks)))

    def wait(self) -> None:
        send(self.connection, Message(kind="next"))

    def rows(self) -> list[int]:
        message = receive(self.connection)
        assert message.kind == "rows", message
        return message.arrays[0][0, :, 0].tolist()

    def close(self) -> None:
        self.connection.close()


def in_thread(work: Callable[[], object]) -> Callable[[], object]:
    """Begin something; the result waits for its end."""
    results: list = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()

    def result() -> object:
        thread.join(60)
        return results[0]

    return result


def until(condition: Callable[[], bool]) -> None:
    """Give the service's threads the time to take in what was sent."""
    for _ in range(60_000):
        if condition():
            return
        threading.Event().wait(0.001)
    pytest.fail("it never came to that")


def num_waiting(service: Service) -> int:
    """Faces that wait; asked for as the service does, or its threads might add to them meanwhile."""
    with service._changed:
        return service._queues["visual"].num_inputs


def some_clip_waits(service: Service) -> bool:
    """Whether some clip's wish for rows has arrived."""
    with service._changed:
        return any(feeder.waits for feeder in service._queues["visual"]._feeders)


def test_rows_come_in_the_order_of_blocks_whatever_their_sizes(address: str) -> None:
    blocks = [faces(*range(start, start + length)) for start, length in [(0, 3), (3, 0), (3, 40), (43, 1)]]
    rows = list(mapper(address).map(blocks))
    assert [part.shape for part in rows] == [(2, 3, 1), (2, 0, 1), (2, 40, 1), (2, 1, 1)]
    merged = np.concatenate(rows, axis=1)
    assert merged[0, :, 0].tolist() == list(range(44))
    assert merged[1, :, 0].tolist() == [mark + 0.5 for mark in range(44)]


def test_a_clip_without_faces_needs_no_network(address: str, models: FakeModels) -> None:
    assert [rows.shape for rows in mapper(address).map([faces(), faces()])] == [(2, 0, 1)] * 2
    assert list(mapper(address).map([])) == []
    assert models.log == []


def test_clips_share_batches_and_are_padded_when_all_wait(
    address: str, models: FakeModels, service: Service
) -> None:
    first, second = Clip(address), Clip(address)
    first.give(1, 2, 3, 4, 5)
    # Else the second clip's, which come over another connection, might be before them.
    until(lambda: num_waiting(service) == 5)
    second.give(11, 12, 13, 14)
    until(lambda: bool(models.log))
    first.wait()
    assert first.rows() == [1, 2, 3, 4, 5]
    second.wait()
    # One of eight is left, and the first clip could add to it.
    first.give(6, 7)
    first.wait()
    assert first.rows() == [6, 7]
    assert second.rows() == [11, 12, 13, 14]
    together = [sorted(mark for block in turn for mark in block) for turn in models.log]
    assert [len(turn) for turn in together] == [8, 3]
    first.close()
    second.close()


def test_a_client_that_is_gone_holds_nobody_up(address: str, models: FakeModels, service: Service) -> None:
    gone, stays = Clip(address), Clip(address)
    gone.give(1, 2)
    stays.give(3)
    until(lambda: num_waiting(service) == 3)
    stays.wait()
    until(lambda: some_clip_waits(service))
    gone.close()
    assert stays.rows() == [3]
    assert models.log == [[[3]]]
    stays.close()


def test_the_client_decodes_ahead_by_two_batches_and_a_block(address: str) -> None:
    decoded = []

    def blocks() -> Iterator[FaceBlock]:
        for number in range(12):
            decoded.append(number)
            yield faces(*[number] * 4)

    rows = mapper(address).map(blocks())
    # Two batches are 16 faces, four blocks.
    for number in range(8):
        assert next(rows)[0, 0, 0] == number
        assert decoded[-1] == number + 4
    rows.close()


def test_faces_and_batches_take_turns(address: str, models: FakeModels, service: Service) -> None:
    visual = models.embedders["visual"]
    clip = Clip(address)
    clip.give(*[HELD] * 8)
    assert visual.held.wait(60)
    # While the first batch is computed, 20 more and faces of three clips are asked for.
    for _ in range(20):
        clip.give(*range(8))
    found = [in_thread(lambda: RemoteDetector(address).detect([picture(2)])) for _ in range(3)]
    until(lambda: len(service._pictures) == 3 and num_waiting(service) == 160)
    visual.go_on.set()
    for result in found:
        assert [len(faces_of) for faces_of in result()] == [2]
    for _ in range(21):
        clip.wait()
        clip.rows()
    turns = [turn if turn == "faces" else sum(map(len, turn)) for turn in models.log]
    # At most eight batches, 64 faces, at a time.
    assert turns == [8, "faces", 64, "faces", 64, "faces", 32]
    clip.close()


def test_faces_come_back_as_they_were_found(address: str) -> None:
    found = RemoteDetector(address).detect([picture(2), picture(0), picture(1)])
    assert [len(faces_of) for faces_of in found] == [2, 0, 1]
    assert found[0][1].box.tolist() == [1, 1, 2, 2]
    assert found[0][1].box.dtype == np.float32
    assert [face.score for face in found[0]] == [1 / 3, 1 / 4]
    assert found[0][1].landmarks.tolist() == [[1, 1]] * 5
    assert RemoteDetector(address).detect([]) == []


def test_an_error_is_told_to_the_client_whose_block_it_is(address: str, models: FakeModels) -> None:
    guilty, other = Clip(address), Clip(address)
    guilty.give(1, POISON)
    other.give(*range(10, 16))
    until(lambda: bool(models.log))
    other.wait()
    assert other.rows() == [10, 11, 12, 13, 14, 15]
    guilty.wait()
    assert receive(guilty.connection).fields == {
        "kinds": [
            "FaceDetectionError",
            "PipelineError",
            "ValueError",
            "Exception",
            "BaseException",
            "object",
        ],
        "message": "poison",
    }
    assert len(models.log[0]) == 2, "they were run together at first"
    guilty.close()
    other.close()


@pytest.mark.parametrize(
    ("mark", "kind"), [(POISON, FaceDetectionError), (TOO_MUCH, MemoryError), (SHORT, ExtractionError)]
)
def test_the_client_raises_what_the_network_raised_and_may_go_on(address: str, mark: int, kind: type) -> None:
    rows = mapper(address).map([faces(1), faces(mark, *range(20)), faces(2)])
    assert next(rows).shape == (2, 1, 1)
    with pytest.raises(kind):
        list(rows)
    assert next(mapper(address).map([faces(5)]))[0, 0, 0] == 5
    with pytest.raises(FaceDetectionError, match=r"^no such picture$"):
        RemoteDetector(address).detect([picture(1), picture(POISON)])


def test_no_server_at_an_address(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match=r"backbone server '.*nobody': .* run again"):
        RemoteDetector(str(tmp_path / "nobody")).detect([picture(1)])
