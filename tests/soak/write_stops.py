"""Every system call that changes a folder, stopped before it happens: `WriteStops`.

A process that calls `report_writes` has the kernel hold it, its threads and all processes that it starts
from then on at each such call, until the watcher says go on (seccomp user notification). So nothing is
missed, whichever library writes, nothing of the program under test is replaced, and all its processes stand
still together: none of them can write anything between two stops.

Linux 5.5 or later on x86-64; `unavailable` says why elsewhere. No tracer is needed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Numbers of the kernel's interface, the same for ever: linux/seccomp.h, linux/filter.h, linux/audit.h.
_PR_SET_NO_NEW_PRIVS = 38
_SYS_SECCOMP, _SYS_PIDFD_GETFD = 317, 438
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW, _USER_NOTIFY = 0x7FFF0000, 0x7FC00000
_ARCH_X86_64 = 0xC000003E
_NOTIF, _RESPONSE = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_RECEIVE = 0xC0000000 | _NOTIF.size << 16 | 0x21 << 8
_SEND = 0xC0000000 | _RESPONSE.size << 16 | 0x21 << 8 | 1
_CONTINUE = 1
_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_AT_FDCWD = -100
_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class _Call(NamedTuple):
    """Where a system call says what it changes.

    Attributes:
        number: On x86-64.
        descriptor: Argument with the open file, or with the folder that `path` starts from.
        path: Argument with the path.
        flags: Argument with the flags of an open.
    """

    number: int
    descriptor: int | None = None
    path: int | None = None
    flags: int | None = None


_CALLS = {
    "write": _Call(1, descriptor=0),
    "pwrite64": _Call(18, descriptor=0),
    "writev": _Call(20, descriptor=0),
    "pwritev": _Call(296, descriptor=0),
    "pwritev2": _Call(328, descriptor=0),
    "sendfile": _Call(40, descriptor=0),
    "splice": _Call(275, descriptor=2),
    "copy_file_range": _Call(326, descriptor=2),
    "fallocate": _Call(285, descriptor=0),
    "ftruncate": _Call(77, descriptor=0),
    "truncate": _Call(76, path=0),
    "fsync": _Call(74, descriptor=0),
    "fdatasync": _Call(75, descriptor=0),
    "open": _Call(2, path=0, flags=1),
    "creat": _Call(85, path=0),
    "openat": _Call(257, descriptor=0, path=1, flags=2),
    "mkdir": _Call(83, path=0),
    "mkdirat": _Call(258, descriptor=0, path=1),
    "rename": _Call(82, path=1),
    "renameat": _Call(264, descriptor=2, path=3),
    "renameat2": _Call(316, descriptor=2, path=3),
    "link": _Call(86, path=1),
    "linkat": _Call(265, descriptor=2, path=3),
    "symlink": _Call(88, path=1),
    "symlinkat": _Call(266, descriptor=1, path=2),
    "unlink": _Call(87, path=0),
    "unlinkat": _Call(263, descriptor=0, path=1),
    "rmdir": _Call(84, path=0),
}
_NAMES = {call.number: name for name, call in _CALLS.items()}
_TORN = ("write", "pwrite64")


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A process that waits before a call that changes something.

    Attributes:
        call: Name of the system call.
        path: What it changes.
    """

    call: str
    path: Path
    _identity: int
    _thread: int
    _arguments: tuple[int, ...]

    @property
    def tearable(self) -> bool:
        """Whether `WriteStops.tear` can do half of it."""
        return self.call in _TORN and self._arguments[2] > 1


class WriteStops:
    """The watcher's side.

    Args:
        folder: Calls that change something elsewhere go on at once.

    Use as a context manager; give `endpoint` to the process to be watched, after a fork.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._ours, self.endpoint = socket.socketpair()
        self._listener: int | None = None
        self._waiting: Stop | None = None

    def __enter__(self) -> WriteStops:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self.endpoint.close()
        if self._listener is not None:
            os.close(self._listener)  # what is still held gets ENOSYS

    def stops(self, process_id: int, timeout_s: float) -> Iterator[Stop]:
        """Stops of a process that called `report_writes` and of all that it started, until it ends.

        To ask for the next stop is to let the last one go on.

        Raises:
            TimeoutError: Neither a stop nor the end within that time.
        """
        if self._listener is None:
            _, (self._listener,), _, _ = socket.recv_fds(self._ours, 1, 1)
        ended = os.pidfd_open(process_id)
        try:
            poll = select.poll()
            poll.register(self._listener, select.POLLIN)
            poll.register(ended, select.POLLIN)
            while True:
                self._go_on()
                ready = [descriptor for descriptor, _ in poll.poll(1000 * timeout_s)]
                if not ready:
                    raise TimeoutError(f"process {process_id} neither wrote nor ended within {timeout_s:g} s")
                if self._listener in ready and (stop := self._receive()) is not None:
                    self._waiting = stop
                    if stop.path.is_relative_to(self._folder):
                        yield stop
                elif ended in ready:
                    return
        finally:
            os.close(ended)

    def tear(self, stop: Stop) -> None:
        """Do the first half of a write for the process that waits to do it; kill that then."""
        descriptor, address, num_bytes, offset = stop._arguments[:4]
        data = _memory(stop._thread, address, num_bytes // 2)
        ours = _same_file(stop._thread, descriptor)
        try:
            if stop.call == "write":
                os.write(ours, data)
            else:
                os.pwrite(ours, data, offset)
        finally:
            os.close(ours)

    def _go_on(self) -> None:
        if self._waiting is not None and self._listener is not None:
            answer = _RESPONSE.pack(self._waiting._identity, 0, 0, _CONTINUE)
            self._waiting = None
            with suppress(FileNotFoundError):  # it was killed meanwhile
                fcntl.ioctl(self._listener, _SEND, answer)

    def _receive(self) -> Stop | None:
        assert self._listener is not None
        buffer = bytearray(_NOTIF.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, buffer)
        except FileNotFoundError:  # it was killed meanwhile
            return None
        identity, thread, _, number, _, _, *arguments = _NOTIF.unpack(buffer)
        call = _CALLS[_NAMES[number]]
        return Stop(
            call=_NAMES[number],
            path=_path(thread, call, arguments),
            _identity=identity,
            _thread=thread,
            _arguments=tuple(arguments),
        )


def report_writes(endpoint: socket.socket) -> None:
    """From now on, this process and all that it starts wait at each call until the watcher lets them go on.

    Args:
        endpoint: Of the watcher's `WriteStops`.

    Raises:
        OSError: The system does not offer it.
    """
    listener = _install_filter()
    socket.send_fds(endpoint, [b"-"], [listener])
    os.close(listener)


def unavailable() -> str | None:
    """Why this machine cannot stop processes at their writes; None where it can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"stops at writes need Linux on x86-64, this is {platform.system()} on {platform.machine()}"
    child = os.fork()
    if not child:
        code = 1
        with suppress(OSError):
            _install_filter()
            code = 0
        os._exit(code)
    if os.waitpid(child, 0)[1]:
        return "stops at writes need seccomp's user notification: Linux 5.5, and a container that allows it"
    return None


def _install_filter() -> int:
    """The descriptor at which the kernel tells of the calls."""
    program = b"".join(_program())
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)), 16
    )
    libc = ctypes.CDLL(None, use_errno=True)
    for call, arguments in (
        (libc.prctl, (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
        (libc.syscall, (_SYS_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(header))),
    ):
        result: int = call(*arguments)
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    return result


def _program() -> Iterator[bytes]:
    """The filter, in the kernel's packet filter language: opens by their flags, others by their numbers."""
    instruction = struct.Struct("=HBBI").pack
    yield instruction(_LOAD, 0, 0, _ARCH_AT)
    yield instruction(_JUMP_EQUAL, 1, 0, _ARCH_X86_64)
    yield instruction(_RETURN, 0, 0, _ALLOW)
    for call in _CALLS.values():
        yield instruction(_LOAD, 0, 0, _NUMBER_AT)
        if call.flags is None:
            yield instruction(_JUMP_EQUAL, 0, 1, call.number)
        else:
            yield instruction(_JUMP_EQUAL, 0, 3, call.number)
            yield instruction(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * call.flags)
            yield instruction(_JUMP_SET, 0, 1, _CHANGING)
        yield instruction(_RETURN, 0, 0, _USER_NOTIFY)
    yield instruction(_RETURN, 0, 0, _ALLOW)


def _path(thread: int, call: _Call, arguments: list[int]) -> Path:
    """What a call changes; an empty path where the process is gone."""
    try:
        start = "cwd"
        if call.descriptor is not None:
            descriptor = ctypes.c_int(arguments[call.descriptor]).value
            start = "cwd" if descriptor == _AT_FDCWD else f"fd/{descriptor}"
        folder = os.readlink(f"/proc/{thread}/{start}")
        if call.path is None:
            return Path(folder)
        name = _text(thread, arguments[call.path])
        return Path(os.path.normpath(Path(folder, name)))
    except OSError:
        return Path()


def _memory(thread: int, address: int, num_bytes: int) -> bytes:
    """Of a process."""
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), num_bytes, address)


def _text(thread: int, address: int) -> str:
    """A path, which ends with a zero byte; read page by page, since there may be no next page."""
    text = b""
    while b"\0" not in text:
        at = address + len(text)
        text += _memory(thread, at, 4096 - at % 4096)
    return os.fsdecode(text.partition(b"\0")[0])


def _same_file(thread: int, descriptor: int) -> int:
    """A descriptor of ours for an open file of another process, its position included."""
    status = Path(f"/proc/{thread}/status").read_text()
    process = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Tgid:"))
    handle = os.pidfd_open(process)
    try:
        ours: int = ctypes.CDLL(None, use_errno=True).syscall(_SYS_PIDFD_GETFD, handle, descriptor, 0)
    finally:
        os.close(handle)
    if ours < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return ours
