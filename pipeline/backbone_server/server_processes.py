"""Starting and stopping backbone servers, one per device."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cache.settings import to_mapping
from pipeline.backbone_server.sent_errors import error_of
from pipeline.backbone_server.wire import Message, connect, receive, send
from pipeline.config import ExtractConfig
from pipeline.errors import BackboneServerError

# A process that was asked to end and does not, for example because the driver of a GPU hangs, is killed.
_STOP_TIMEOUT_S = 5.0
# A server that computes answers at once, from another thread.
_ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class BackboneServers:
    """Servers that are ready.

    Attributes:
        addresses: One per device, in their order; short strings for `RemoteModels`.
    """

    addresses: tuple[str, ...]

    def alive(self) -> bool:
        """Whether all of them still answer.

        They are asked: a process that was killed is there for a moment after its clients have lost it.
        """
        return all(_answers(address) for address in self.addresses)


@contextmanager
def start_servers(config: ExtractConfig, devices: Sequence[str]) -> Iterator[BackboneServers]:
    """Run one backbone server per device while the block is entered.

    They end with this process, also when it is killed.

    Args:
        config: The `extract` section.
        devices: Names that `load_models` takes, for example `cuda:0`; at least one.

    Yields:
        The servers, all of them with their networks loaded.

    Raises:
        WeightsError: Weights that are missing, damaged or of another architecture.
        ExtractionError: A device that this machine lacks.
        BackboneServerError: A server died before it was ready.
    """
    if not devices:
        raise ValueError("devices must name at least one device, got none")
    with ExitStack() as stack:
        # Only this user can enter it, so only this user can connect.
        folder = Path(tempfile.mkdtemp(prefix="tagf-servers-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        starts = []
        for number, device in enumerate(devices):
            start = _Start(config, device, folder / str(number))
            stack.callback(start.stop)
            starts.append(start)
        # Started together, then waited for: loading takes seconds each.
        for start in starts:
            start.wait_until_ready()
        yield BackboneServers(addresses=tuple(str(start.address) for start in starts))


def _answers(address: str) -> bool:
    try:
        with connect(Path(address)) as connection:
            connection.settimeout(_ANSWER_TIMEOUT_S)
            send(connection, Message(kind="facts"))
            return receive(connection) is not None
    except OSError:
        return False


class _Start:
    """One server on its way up."""

    def __init__(self, config: ExtractConfig, device: str, address: Path) -> None:
        self.address = address
        self._device = device
        readable, writable = os.pipe()
        self._ready: IO[bytes] = open(readable, "rb")  # noqa: SIM115  # closed with the process
        try:
            self.process = subprocess.Popen(
                # -P: not what happens to lie in the working directory, but what this process can import, a
                # backbone of the user's own for one.
                [sys.executable, "-P", "-m", "pipeline.backbone_server"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[writable],
            )
        finally:
            os.close(writable)
        plan = {
            "address": str(address),
            "config": to_mapping(config),
            "device": device,
            "parent": os.getpid(),
            "ready": writable,
        }
        assert self.process.stdin is not None  # it is a pipe
        with suppress(BrokenPipeError), self.process.stdin as stdin:
            stdin.write(json.dumps(plan).encode())

    def wait_until_ready(self) -> None:
        said = self._ready.readline()
        if not said:
            code = self.process.wait()
            how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise BackboneServerError(
                f"backbone server on {self._device!r}: expected it to load the networks, but it {how}; if "
                "memory was short, give it less work or another device"
            )
        if problem := json.loads(said):
            raise error_of(problem)

    def stop(self) -> None:
        self._ready.close()
        self.process.terminate()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
