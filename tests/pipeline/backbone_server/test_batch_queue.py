"""When a backbone server runs a batch, and what is in it. No clock: the tests say what time it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backbone_server.batch_queue import LINGER_S, MAX_TURN_BATCHES, BatchQueue, BlockJob
from pipeline.input_blocks import ExampleBlock, FaceBlock, SampleBlock


def faces(*marks: int) -> FaceBlock:
    """A block of one-pixel faces, each of its mark's colour."""
    return FaceBlock(crops=np.repeat(np.array(marks, dtype=np.uint8)[:, None, None, None], 3, axis=3))


def taken(queue: BatchQueue, now_s: float = 0.0) -> list[list[int]]:
    return [piece.inputs().crops[:, 0, 0, 0].tolist() for piece in queue.take(now_s)]


def test_inputs_of_several_clips_fill_a_batch_and_the_rest_waits() -> None:
    queue = BatchQueue(batch_size=16, num_views=2)  # 8 faces
    first, second = queue.open(), queue.open()
    queue.add(first, faces(*range(5)))
    assert taken(queue) == []
    queue.add(second, faces(*range(10, 15)))
    assert taken(queue) == [[0, 1, 2, 3, 4], [10, 11, 12]]
    assert queue.num_inputs == 2
    assert taken(queue) == []
    queue.add(first, faces(*range(20, 26)))
    assert taken(queue) == [[13, 14], [20, 21, 22, 23, 24, 25]]
    assert taken(queue) == []


@pytest.mark.parametrize(("num_views", "unit", "most"), [(1, 16, 128), (2, 8, 64), (3, 16, 32), (10, 8, 8)])
def test_a_turn_is_whole_batches_and_not_too_many(num_views: int, unit: int, most: int) -> None:
    queue = BatchQueue(batch_size=16, num_views=num_views)
    feeder = queue.open()
    queue.add(feeder, faces(*range(unit - 1)))
    assert taken(queue) == []
    queue.add(feeder, faces(0))
    assert sum(map(len, taken(queue))) == unit
    for _ in range(4):
        queue.add(feeder, faces(*range(64)))
    assert sum(map(len, taken(queue))) == most
    assert most * num_views % 16 == 0
    assert most * num_views <= MAX_TURN_BATCHES * 16


def test_a_rest_is_run_at_once_when_every_clip_waits_for_rows() -> None:
    queue = BatchQueue(batch_size=16, num_views=1)
    first, second = queue.open(), queue.open()
    first.awaited = queue.add(first, faces(1, 2))
    # The second clip is being decoded: it may add something.
    assert taken(queue) == []
    second.awaited = queue.add(second, faces(3))
    assert taken(queue) == [[1, 2], [3]]


def test_a_rest_is_run_when_the_only_clip_that_could_add_to_it_is_done() -> None:
    queue = BatchQueue(batch_size=16, num_views=1)
    first, second = queue.open(), queue.open()
    first.awaited = queue.add(first, faces(1, 2))
    assert taken(queue) == []
    queue.close(second)
    assert taken(queue) == [[1, 2]]


def test_a_clip_that_was_given_its_rows_may_add_again() -> None:
    queue = BatchQueue(batch_size=16, num_views=1)
    first, second = queue.open(), queue.open()
    first.awaited = job = queue.add(first, faces(1))
    second.awaited = queue.add(second, faces(2))
    job.finish(None)
    assert taken(queue) == []


def test_a_rest_lingers_for_a_moment_and_no_longer() -> None:
    queue = BatchQueue(batch_size=16, num_views=1)
    feeder = queue.open()
    assert queue.deadline_s() is None
    queue.add(feeder, faces(1))
    assert taken(queue, 100.0) == []
    assert queue.deadline_s() == 100.0 + LINGER_S
    # More that does not fill the batch does not prolong the wait.
    queue.add(feeder, faces(2))
    assert taken(queue, 100.0 + LINGER_S / 2) == []
    assert taken(queue, 100.0 + LINGER_S) == [[1], [2]]
    assert queue.deadline_s() is None


def test_what_full_batches_leave_gets_a_moment_of_its_own() -> None:
    queue = BatchQueue(batch_size=16, num_views=1)
    feeder = queue.open()
    queue.add(feeder, faces(1))
    assert taken(queue, 100.0) == []
    queue.add(feeder, faces(*range(17)))
    # The batch took so long that its rest is old; who just received rows has had no time to add to it.
    assert sum(map(len, taken(queue, 200.0))) == 16
    assert taken(queue, 300.0) == []
    assert taken(queue, 300.0 + LINGER_S) == [[15, 16]]


def test_nothing_is_run_for_a_client_that_is_gone_or_a_block_that_failed() -> None:
    queue = BatchQueue(batch_size=16, num_views=1)
    gone, stays = queue.open(), queue.open()
    queue.add(gone, faces(*range(10)))
    failed = queue.add(stays, faces(30, 31))
    stays.awaited = queue.add(stays, faces(40))
    queue.drop(failed)
    queue.close(gone)
    assert queue.num_inputs == 1
    assert taken(queue) == [[40]]
    assert taken(queue) == []


@given(
    blocks=st.lists(st.integers(1, 64), min_size=1, max_size=20),
    batch_size=st.integers(16, 70),
    num_views=st.integers(1, 10),
)
def test_every_input_is_run_once_in_order_and_only_the_last_batch_is_padded(
    blocks: list[int], batch_size: int, num_views: int
) -> None:
    queue = BatchQueue(batch_size, num_views)
    feeders = [queue.open() for _ in range(3)]
    jobs, order = [], []
    for number, length in enumerate(blocks):
        block = SampleBlock(
            samples=np.zeros(length, dtype=np.float32), first_samples=np.arange(length), window_samples=1
        )
        jobs.append(queue.add(feeders[number % 3], block))
        order += [(number, index) for index in range(length)]
    ran, padded = [], 0
    now_s = 0.0
    while queue.num_inputs:
        pieces = queue.take(now_s)
        now_s = queue.deadline_s() or now_s
        num_inputs = sum(piece.stop - piece.start for piece in pieces)
        padded += bool(num_inputs * num_views % batch_size)
        for piece in pieces:
            inputs = piece.inputs()
            ran += [(jobs.index(piece.job), index) for index in inputs.first_samples.tolist()]
    assert ran == order
    assert padded == bool(sum(blocks) * num_views % batch_size)


@pytest.mark.parametrize("views", [None, 2])
def test_a_block_cut_in_pieces_gets_its_rows_back_in_one_piece(views: int | None) -> None:
    block = ExampleBlock(grid=np.zeros((100, 64), dtype=np.float32), first_rows=np.zeros(5, dtype=np.int64))
    rows = np.random.default_rng(0).random((5, 3) if views is None else (views, 5, 3), dtype=np.float32)
    job = BlockJob(block)
    job.add_rows(rows[..., :2, :])
    assert not job.done.is_set()
    job.add_rows(rows[..., 2:, :])
    assert job.done.is_set()
    assert np.array_equal(job.result, rows)
