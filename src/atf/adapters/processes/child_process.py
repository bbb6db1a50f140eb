"""A child process as the worker holds it: its start, its channels, its whole tree of processes, its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from atf.adapters.processes.environment import clean_environment, import_path, program
from atf.adapters.processes.frames import FrameReader, framed
from atf.adapters.processes.limits import RunLimits
from atf.adapters.processes.process_table import (
    Process,
    ProcessTable,
    marked,
    members_of,
    started_at,
)

_LONGEST_TAIL: Final = 4096
_PIECE: Final = 65_536
_MOST_PIECES_AT_THE_END: Final = 64
_ROOM_FOR_ERRORS: Final = 65_536
_NAMED_SIGNALS: Final = frozenset(int(one) for one in signal.Signals)


class ChildProcess:
    """One interpreter in a session of its own. Used by one thread; the child dies with that thread."""

    def __init__(self, limits: RunLimits, scratch: Path, mark: str) -> None:
        self._scratch = scratch
        self._mark = mark
        self._seen: set[tuple[int, int]] = set()
        self._tail = b""
        self._outgoing = bytearray()
        self._reader = FrameReader(limits.result_bytes + _ROOM_FOR_ERRORS)
        scratch.mkdir(mode=0o700, parents=True)
        self.channel, theirs = socket.socketpair()
        self.output, their_output = os.pipe()
        try:
            self._process = self._start(theirs.fileno(), their_output)
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
            os.close(their_output)
        self.pid: Final = self._process.pid
        self.ending: Final = _pidfd(self.pid)
        self._born = started_at(self.pid)
        self.channel.setblocking(False)
        os.set_blocking(self.output, False)
        self._send(self._setup(limits))

    def _start(self, channel: int, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            program("atf.adapters.processes.child", str(channel)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(os.environ, self._scratch, self._mark),
            cwd=self._scratch,
            pass_fds=(channel,),
            start_new_session=True,
        )

    def _setup(self, limits: RunLimits) -> bytes:
        setup = {
            "parent": os.getpid(),
            "path": import_path(),
            "memory_bytes": limits.memory_bytes,
            "open_files": limits.open_files,
            "result_bytes": limits.result_bytes,
        }
        return json.dumps(setup).encode()

    @property
    def has_ended(self) -> bool:
        """Whether the child itself, not what it has started, is gone."""
        return self._process.poll() is not None

    @property
    def wants_to_send(self) -> bool:
        """Whether a part of a request waits for room in the channel."""
        return bool(self._outgoing)

    def request(self, body: bytes) -> None:
        """Send a run; what the channel does not take at once goes with ``send_more``."""
        self._tail = b""
        self._send(body)

    def _send(self, body: bytes) -> None:
        self._outgoing += framed(body)
        self.send_more()

    def send_more(self) -> None:
        """Send what waits. A child that does not listen any more is noticed by its end."""
        with suppress(BlockingIOError, ConnectionError):
            while self._outgoing:
                del self._outgoing[: self.channel.send(self._outgoing)]

    def receive(self) -> Sequence[bytes] | None:
        """Return what has come from the child; None if it has hung up. Errors: FrameTooLong."""
        try:
            piece = self.channel.recv(_PIECE)
        except BlockingIOError:
            return ()
        except ConnectionError:
            return None
        return list(self._reader.feed(piece)) if piece else None

    def read_output(self) -> bool:
        """Take a piece of what the run writes, of which the end is kept; False at its end or if there is none."""
        try:
            piece = os.read(self.output, _PIECE)
        except BlockingIOError:
            return False
        self._tail = (self._tail + piece)[-_LONGEST_TAIL:]
        return bool(piece)

    @property
    def tail(self) -> str:
        """The end of what the run has written to its standard output and error."""
        for _ in range(_MOST_PIECES_AT_THE_END):
            if not self.read_output():
                break
        return self._tail.decode(errors="replace").strip()

    @property
    def exit_text(self) -> str:
        """How the child has ended."""
        code = self._process.poll()
        if code is None:
            return "it closed its connection"
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name if -code in _NAMED_SIGNALS else f"signal {-code}"
        return f"killed by {name}" + (", perhaps for lack of memory" if name == "SIGKILL" else "")

    def members(self, table: ProcessTable) -> list[Process]:
        """Return the processes of the child's tree that live, by session, parents, and what was seen before."""
        found = members_of(table, (self.pid,))
        found |= {one.pid: one for one in table.values() if one.identity in self._seen}
        self._seen |= {one.identity for one in found.values()}
        return list(found.values())

    def strays(self, table: ProcessTable) -> list[Process]:
        """Return ``members`` and whatever bears the child's mark, with its descendants; costs a look at each."""
        found = marked(table, self._mark, since=self._born)
        self._seen |= {one.identity for one in members_of(table, found).values()}
        return self.members(table)

    def signal(self, number: signal.Signals, members: Sequence[Process]) -> None:
        """Send a signal to the child's group, which no new process escapes, and to each of its tree."""
        with suppress(ProcessLookupError, PermissionError):
            if not self.has_ended or any(one.session == self.pid for one in members):
                os.killpg(self.pid, number)
        for pid in {one.pid for one in members} - {self.pid, os.getpid()}:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def close(self) -> None:
        """Free what the child needed; it has ended."""
        self._process.wait()
        self._close()
        if self.ending is not None:
            os.close(self.ending)

    def _close(self) -> None:
        self.channel.close()
        os.close(self.output)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable at a process's end; None where there is no such thing."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None
