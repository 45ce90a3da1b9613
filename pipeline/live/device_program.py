"""The program `ffmpeg` as a reader of one device, whose pictures or sound come uncompressed through a pipe.

PyAV's own build of FFmpeg has no camera input.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

import av

from pipeline.errors import MediaError

PROGRAM = "ffmpeg"
_SECONDS_TO_END = 2.0
_LINES_SHOWN = 4
_FAULTS = (av.FFmpegError, ArithmeticError, MemoryError, ValueError)


class DeviceProgram:
    """A child process that reads a device until it is closed, or the device ends.

    Args:
        device: What messages call it, such as "camera '/dev/video0'".
        arguments: Of the program: the device, which stream of it, and how that is to be written.

    Raises:
        MediaError: The program is missing.
    """

    def __init__(self, device: str, arguments: Sequence[str]) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            raise MediaError(
                f"{device}: expected the program {PROGRAM!r}, which reads devices, found none; install it "
                "('apt install ffmpeg'), or give a file"
            )
        self._device = device
        self._command = [
            *(program, "-hide_banner", "-nostdin", "-loglevel", "error", "-copyts"),
            *arguments,
            *("-flush_packets", "1", "-f", "nut", "pipe:1"),
        ]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the program runs
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        # A session of its own: an interrupt from the keyboard reaches this process alone, which then ends it.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )

    def frames(self) -> Iterator[av.VideoFrame | av.AudioFrame]:
        """What it sends, until it ends.

        Raises:
            MediaError: It ended badly, sent nothing, or sent what cannot be read.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        options = {"protocol_whitelist": "pipe", "probesize": "32", "analyzeduration": "0"}
        fault: Exception | None = None
        num_frames = 0
        try:
            pipe = f"pipe:{self._process.stdout.fileno()}"
            with av.open(pipe, format="nut", container_options=options) as container:
                for packet in container.demux():
                    for frame in packet.decode():
                        if isinstance(frame, (av.VideoFrame, av.AudioFrame)):
                            num_frames += 1
                            yield frame
        except _FAULTS as error:
            fault = error
        code = self._ended()
        if code or fault is not None or not num_frames:
            raise MediaError(
                f"{self._device}: expected pictures or sound from {PROGRAM}, which ended with exit code "
                f"{code} and said: {self._last_words(fault)}; see whether another program uses the device, "
                "and whether you may open it"
            )

    def end(self) -> None:
        """End the process; what reads `frames` comes to their end."""
        if self._process is not None:
            self._process.terminate()
            self._ended()

    def close(self) -> None:
        """Let go of the pipe, once nothing reads `frames` any more."""
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def _ended(self) -> int:
        """Its exit code; a program that goes on without its pipe being read is killed."""
        assert self._process is not None
        try:
            return self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _last_words(self, fault: Exception | None) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        said = "; ".join(line.strip() for line in lines[-_LINES_SHOWN:] if line.strip())
        return said or (f"nothing ({type(fault).__name__}: {fault})" if fault is not None else "nothing")
