"""Backbone servers as processes: the same rows as in this process, and what happens when somebody dies."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.backbone_server.client import RemoteModels
from pipeline.backbone_server.server_processes import start_servers
from pipeline.backbone_server.wire import connect
from pipeline.config import AudioConfig, ExtractConfig, FaceConfig, StreamConfig, VisualConfig
from pipeline.errors import ExtractionError, FaceDetectionError, WeightsError
from pipeline.input_blocks import Block, ExampleBlock, FaceBlock, SampleBlock
from pipeline.models import Models, load_models

ROOT = Path(__file__).parents[3]
# Long enough for a server to load on a busy machine; nothing here waits for it to pass.
PATIENCE_S = 120

OWN_BACKBONES = '''
import os
import torch
from torch.nn import functional
from pipeline.backbones.backbone import Backbone

class Small(Backbone):
    num_features = 8

    def __init__(self, weights):
        super().__init__()
        generator = torch.Generator().manual_seed(len(self.input_shape))
        size = int(torch.tensor(self.input_shape).prod())
        self.register_buffer("weight", torch.randn(64, size, generator=generator) / size**0.5)
        self.register_buffer("last", torch.randn(8, 64, generator=generator) / 8)

    def forward(self, inputs):
        # Not `@`: its last bits depend on where in the batch a row is, for some narrow matrices (measured).
        hidden = functional.linear(inputs.flatten(1), self.weight).tanh()
        return functional.linear(hidden, self.last)

class Faces(Small):
    takes, input_shape = "faces", (3, 40, 40)

class Sounds(Small):
    takes, input_shape = "log_mel", (1, 96, 64)

class Windows(Small):
    takes, input_shape = "waveform", (800,)

class Obedient(Faces):
    """A face of one colour is a command."""

    def forward(self, inputs):
        colours = ((inputs.amax((1, 2, 3)) * 0.5 + 0.5) * 255).round().tolist()
        if 251 in colours:
            raise torch.OutOfMemoryError("CUDA out of memory (as a test has it)")
        if 252 in colours:
            raise torch.AcceleratorError("CUDA error: an illegal memory access (as a test has it)")
        if 253 in colours:
            open(os.environ["TAGF_TEST_GATE"]).read()
        return super().forward(inputs)
'''

CONFIG = ExtractConfig(
    visual=VisualConfig(backbone="server_test_backbones:Faces", views=("center", "flip", "top_left")),
    audio=AudioConfig(backbone="server_test_backbones:Sounds"),
    streams={"wave": StreamConfig(backbone="server_test_backbones:Windows")},
    faces=FaceConfig(min_size_px=40),
    batch_size=16,
)
OBEDIENT = ExtractConfig(
    visual=VisualConfig(backbone="server_test_backbones:Obedient", views=("center",)),
    audio=AudioConfig(backbone="server_test_backbones:Sounds"),
    batch_size=16,
)
NO_MEMORY, GPU_FAULT, GATE = 251, 252, 253


@pytest.fixture(scope="module")
def own_backbones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A module that only `sys.path` of this process leads to."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "server_test_backbones.py").write_text(OWN_BACKBONES)
    sys.path.insert(0, str(folder))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def address(own_backbones: Path) -> Iterator[str]:
    with start_servers(CONFIG, ["cpu"]) as servers:
        yield servers.addresses[0]
        assert servers.alive()


@pytest.fixture(scope="module")
def local(own_backbones: Path) -> Models:
    return load_models(CONFIG, "cpu")


@pytest.fixture(scope="module")
def remote(address: str) -> RemoteModels:
    return RemoteModels(address, CONFIG)


def clip_blocks(takes: str, seed: int) -> list[Block]:
    """Blocks of all sizes, the last one short."""
    rng = np.random.default_rng(seed)
    sizes = [*rng.integers(0, 65, 4), 64, 1, 0, 7]
    if takes == "faces":
        return [FaceBlock(crops=rng.integers(0, 256, (size, 48, 48, 3), dtype=np.uint8)) for size in sizes]
    if takes == "log_mel":
        return [
            ExampleBlock(
                grid=rng.standard_normal((160, 64), dtype=np.float32),
                first_rows=np.sort(rng.integers(0, 65, size)),
            )
            for size in sizes
        ]
    return [
        SampleBlock(
            samples=rng.standard_normal(1000, dtype=np.float32),
            first_samples=np.sort(rng.integers(0, 201, size)),
            window_samples=800,
        )
        for size in sizes
    ]


def together(works: list[Callable[[], object]]) -> list[object]:
    """Results of works that are done at the same time; an error is a result."""
    results: list[object] = [None] * len(works)

    def run(place: int) -> None:
        try:
            results[place] = works[place]()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a client hangs"
    return results


def pid_of_server(connection: socket.socket) -> int:
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid


def one_colour(*colours: int) -> FaceBlock:
    return FaceBlock(
        crops=np.broadcast_to(
            np.array(colours, dtype=np.uint8)[:, None, None, None], (len(colours), 48, 48, 3)
        )
    )


def test_remote_models_look_like_models(remote: RemoteModels, local: Models) -> None:
    assert isinstance(remote, Models)
    assert list(remote.embedders) == list(local.embedders) == ["visual", "audio", "wave"]
    for name in local.embedders:
        for fact in ("takes", "num_features", "views", "crop_size_px", "window_samples"):
            ours, theirs = getattr(remote.embedders[name], fact), getattr(local.embedders[name], fact)
            assert (ours, type(ours)) == (theirs, type(theirs)), (name, fact)


def test_rows_of_clips_that_share_batches_are_those_of_this_process(
    remote: RemoteModels, local: Models
) -> None:
    clips = [(name, seed) for seed in range(3) for name in local.embedders]

    def rows(models: Models, name: str, seed: int) -> list[np.ndarray]:
        mapper = models.embedders[name]
        return list(mapper.map(clip_blocks(mapper.takes, seed)))

    served = together([lambda name=name, seed=seed: rows(remote, name, seed) for name, seed in clips])
    for (name, seed), theirs in zip(clips, served, strict=True):
        ours = rows(local, name, seed)
        assert [part.shape for part in theirs] == [part.shape for part in ours]
        for left, right in zip(theirs, ours, strict=True):
            assert left.dtype == np.float32
            assert np.array_equal(left, right), (name, seed)
    # The rows say something of their inputs, or equality would not.
    assert len(np.unique(np.concatenate(served[0], axis=1).reshape(-1, 8), axis=0)) > 300


def test_faces_are_those_of_this_process(remote: RemoteModels, local: Models, draw_face) -> None:
    drawn = draw_face((320, 240), (150, 120))[0]
    pictures = [drawn, np.zeros((20, 30, 3), dtype=np.uint8), drawn[:, ::-1]]
    ours = local.detector.detect(pictures)
    (theirs, again) = together([lambda: remote.detector.detect(pictures)] * 2)
    assert [len(faces) for faces in ours] == [1, 0, 1]
    for faces in (theirs, again):
        for left, right in zip(faces, ours, strict=True):
            assert [face.score for face in left] == [face.score for face in right]
            for ours_face, face in zip(right, left, strict=True):
                assert np.array_equal(face.box, ours_face.box)
                assert np.array_equal(face.landmarks, ours_face.landmarks)


def test_what_the_detector_refuses_is_refused_here(remote: RemoteModels) -> None:
    with pytest.raises(FaceDetectionError, match=r"expected \(height, width, 3\) of uint8, got .*float32"):
        remote.detector.detect([np.zeros((50, 50, 3), dtype=np.float32)])
    wrong = FaceBlock(crops=np.zeros((2, 50, 50, 3), dtype=np.uint8))
    with pytest.raises(ExtractionError, match="expected crops of 48 px, got 50 px"):
        list(remote.embedders["visual"].map([wrong]))


def test_only_this_user_can_reach_a_server(address: str) -> None:
    folder = Path(address).parent.stat()
    assert stat.S_IMODE(folder.st_mode) == 0o700
    assert folder.st_uid == os.getuid()


DYING_CLIENT = """
import os, signal, sys
import numpy as np
from pathlib import Path
from pipeline.backbone_server.wire import Message, block_message, connect, send
from pipeline.input_blocks import FaceBlock

for cut in (False, True):
    connection = connect(Path(sys.argv[1]))
    send(connection, Message(kind="map", fields={"stream": "visual"}))
    for _ in range(3):
        send(connection, block_message("block", FaceBlock(crops=np.zeros((50, 48, 48, 3), dtype=np.uint8))))
    send(connection, Message(kind="next"))
    if cut:
        connection.sendall(b"\\0\\0\\1\\0{")
detector = connect(Path(sys.argv[1]))
send(detector, Message(kind="detect", arrays=[np.zeros((300, 300, 3), dtype=np.uint8)] * 5))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_clients_that_are_killed_harm_nobody(address: str, remote: RemoteModels, local: Models) -> None:
    def killed() -> int:
        return subprocess.run([sys.executable, "-c", DYING_CLIENT, address], cwd=ROOT).returncode

    blocks = clip_blocks("faces", 5)
    ours = list(local.embedders["visual"].map(blocks))
    code, *served = together([killed, *[lambda: list(remote.embedders["visual"].map(blocks))] * 3])
    assert code == -signal.SIGKILL
    for theirs in (*served, list(remote.embedders["visual"].map(blocks))):
        assert all(np.array_equal(left, right) for left, right in zip(theirs, ours, strict=True))


def test_servers_that_die_are_noticed_by_all(own_backbones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = own_backbones / "gate"
    os.mkfifo(gate)
    monkeypatch.setenv("TAGF_TEST_GATE", str(gate))
    with start_servers(OBEDIENT, ["cpu", "cpu"]) as servers:
        first, second = (RemoteModels(address, OBEDIENT) for address in servers.addresses)

        # Out of memory is the clip's own trouble.
        with pytest.raises(torch.OutOfMemoryError, match="as a test has it"):
            list(first.embedders["visual"].map([one_colour(1, NO_MEMORY)]))
        assert next(first.embedders["visual"].map([one_colour(1)])).shape == (1, 1, 8)

        # A broken GPU is everybody's: the server ends.
        with pytest.raises(ExtractionError, match=r"backbone server '.*/0': .* it died .* run again"):
            list(first.embedders["visual"].map([one_colour(GPU_FAULT)]))
        assert not servers.alive()
        with pytest.raises(ExtractionError, match=r"backbone server '.*/0': .* run again"):
            first.detector.detect([np.zeros((50, 50, 3), dtype=np.uint8)])

        def kill_second() -> None:
            # Opens when the server has reached the gate, in the middle of a batch.
            with gate.open("w"):
                client = connect(Path(servers.addresses[1]))
                os.kill(pid_of_server(client), signal.SIGKILL)
                client.close()

        waiting = [
            lambda: list(second.embedders["visual"].map([one_colour(GATE)] * 5)),
            lambda: list(second.embedders["audio"].map(clip_blocks("log_mel", 0))),
            lambda: second.detector.detect([np.zeros((50, 50, 3), dtype=np.uint8)]),
        ]
        *errors, nothing = together([*waiting, kill_second])
        assert nothing is None
        # The other two may have been served before the gate was reached.
        assert isinstance(errors[0], ExtractionError)
        assert all(isinstance(error, ExtractionError | list) for error in errors)
        folder = Path(servers.addresses[0]).parent
    assert not folder.exists()


PARENT = """
import sys
from pipeline.backbone_server.server_processes import start_servers
from pipeline.config import AudioConfig, ExtractConfig, VisualConfig

config = ExtractConfig(
    visual=VisualConfig(backbone="server_test_backbones:Faces"),
    audio=AudioConfig(backbone="server_test_backbones:Sounds"),
)
with start_servers(config, ["cpu"]) as servers:
    assert "torch" not in sys.modules, "the run does without"
    print(servers.addresses[0], flush=True)
    sys.stdin.read()
"""


def test_servers_end_with_a_parent_that_is_killed(own_backbones: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(own_backbones)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        address = Path(parent.stdout.readline().decode().strip())
        with connect(address) as client:
            server = os.pidfd_open(pid_of_server(client))
            parent.kill()
            ended, _, _ = select.select([server], [], [], PATIENCE_S)
        os.close(server)
    assert ended, "the server lives on"
    assert not address.parent.exists()


def test_what_is_wrong_with_the_networks_is_told_by_the_run(tmp_path: Path) -> None:
    wrong = ExtractConfig(visual=VisualConfig(weights=str(tmp_path / "gone.pth")))
    with pytest.raises(WeightsError, match=r"gone\.pth.*no such file"), start_servers(wrong, ["cpu"]):
        pass
    with (
        pytest.raises(ExtractionError, match="device 'abacus' is not known"),
        start_servers(wrong, ["abacus"]),
    ):
        pass


def test_a_server_that_dies_while_it_loads(own_backbones: Path) -> None:
    (own_backbones / "server_test_killed.py").write_text("import os; os.kill(os.getpid(), 9)")
    config = ExtractConfig(visual=VisualConfig(backbone="server_test_killed:Any"))
    with (
        pytest.raises(ExtractionError, match=r"on 'cpu': .* died of SIGKILL"),
        start_servers(config, ["cpu"]),
    ):
        pass


def test_no_devices() -> None:
    with pytest.raises(ValueError, match="at least one device"), start_servers(CONFIG, []):
        pass


@pytest.mark.gpu
def test_a_server_on_a_gpu_agrees_with_the_cpu(own_backbones: Path, draw_face) -> None:
    config = ExtractConfig(audio=CONFIG.audio, batch_size=16)
    local = load_models(config, "cpu")
    faces, drawn = clip_blocks("faces", 0)[-2:], draw_face((320, 240), (150, 120))[0]
    with start_servers(config, ["cuda:0"]) as servers:
        remote = RemoteModels(servers.addresses[0], config)
        (theirs,) = remote.detector.detect([drawn])
        rows = np.concatenate(list(remote.embedders["visual"].map(faces)), axis=1)
    ours = np.concatenate(list(local.embedders["visual"].map(faces)), axis=1)
    np.testing.assert_allclose(rows, ours, atol=1e-3 * float(np.abs(ours).max()))
    (face,) = local.detector.detect([drawn])[0]
    np.testing.assert_allclose(theirs[0].box, face.box, atol=0.5)
