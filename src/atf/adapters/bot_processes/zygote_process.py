"""The service's end of a zygote: its start, what it is told and tells, its end.

A zygote that was killed leaves what its bots had started to whoever collects orphans on this machine: that is
found by the marks that it bears. Only if service and zygote are killed at the same instant is nobody
left to look.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from secrets import randbits
from typing import Any, Final
from uuid import uuid4

from atf.adapters.bot_processes.bot_connection import BotConnection
from atf.adapters.bot_processes.kernel import bearers_of
from atf.adapters.processes.environment import clean_environment, import_path, program
from atf.adapters.processes.process_table import living_processes, marked, members_of
from atf.errors import TemporaryFailure
from atf.trading.bot_process import Exited, ProcessLimits

_LONGEST_NEWS: Final = 65_536
_TRY_AGAIN_SECONDS: Final = 0.01
_LONGEST_CLEANING_SECONDS: Final = 10.0


class ZygoteProcess:
    """One zygote and its bots. Used by one event loop."""

    def __init__(self) -> None:
        self._mark = f"bots-{uuid4().hex}"
        self._inherited_mark = randbits(62)
        self._scratch = Path(tempfile.mkdtemp(prefix="atf-bots-"))
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = self._start(theirs.fileno())
        except BaseException:
            self._control.close()
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        finally:
            theirs.close()
        self._number = 0
        self._asked: dict[int, tuple[asyncio.Future[BotConnection], socket.socket]] = {}
        self._bots: dict[int, BotConnection] = {}
        self._ending: asyncio.Task[None] | None = None
        self._control.send(json.dumps(self._setup()).encode())
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control, self._hear)

    def _start(self, control: int) -> subprocess.Popen[bytes]:
        environment = clean_environment(os.environ, self._scratch, self._mark)
        return subprocess.Popen(
            program("atf.adapters.bot_processes.zygote", str(control)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment | {"PYTHONHASHSEED": "0"},  # the same strategy does the same in each process
            cwd=self._scratch,
            pass_fds=(control,),
            start_new_session=True,
        )

    def _setup(self) -> dict[str, Any]:
        return {"path": import_path(), "scratch": str(self._scratch), "mark": self._inherited_mark}

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it forks no more."""
        return self._ending is not None

    async def spawn(self, limits: ProcessLimits) -> BotConnection:
        """Have a bot forked. Errors: TemporaryFailure."""
        self._number += 1
        number = self._number
        ours, theirs = socket.socketpair()
        answer: asyncio.Future[BotConnection] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer, ours
        order = {"do": "spawn", "number": number, "limits": asdict(limits)}
        try:
            await self._send(order, [theirs.fileno()])
            return await answer
        except BaseException:
            self._abandon(number, answer, ours)
            raise
        finally:
            theirs.close()

    def _abandon(self, number: int, answer: asyncio.Future[BotConnection], ours: socket.socket) -> None:
        """Let go of a bot that nobody waits for any more; its socket ends, and so does it."""
        if self._asked.pop(number, None) is not None:
            ours.close()
        elif answer.done() and not answer.cancelled() and answer.exception() is None:
            answer.result().hang_up()

    async def _send(self, order: dict[str, Any], descriptors: Iterable[int] = ()) -> None:
        body, passed = [json.dumps(order).encode()], list(descriptors)
        while not self.has_ended:
            try:
                socket.send_fds(self._control, body, passed)
            except BlockingIOError:
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            except OSError:
                break  # it is gone, which is noticed by reading
            else:
                return
        if order["do"] == "spawn":
            raise TemporaryFailure("bots cannot be started now: the process that starts them has ended")

    def _hear(self) -> None:
        while True:
            try:
                body = self._control.recv(_LONGEST_NEWS)
            except BlockingIOError:
                return
            except OSError:
                body = b""
            if not body:
                self._begin_end()
                return
            self._take(json.loads(body))

    def _take(self, news: dict[str, Any]) -> None:
        match news["told"]:
            case "spawned":
                self._connect(news["number"], news["pid"])
            case "refused":
                answer, ours = self._asked.pop(news["number"])
                ours.close()
                if not answer.done():
                    answer.set_exception(TemporaryFailure(f"a bot cannot be started now: {news['why']}"))
            case "exited":
                bot = self._bots.pop(news["pid"], None)
                if bot is not None:
                    bot.ended(Exited(news["code"], news["signal"], news["reason"]))

    def _connect(self, number: int, pid: int) -> None:
        answer, ours = self._asked.pop(number, (None, None))
        if answer is None or ours is None or answer.done():
            return  # whoever wanted it is gone, its socket is closed, and it ends by that
        self._bots[pid] = bot = BotConnection(pid, ours, self._kill)
        answer.set_result(bot)

    async def _kill(self, pid: int) -> None:
        await self._send({"do": "kill", "pid": pid})

    def _begin_end(self) -> None:
        if self._ending is None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        """Clear up after a zygote that is gone: the kernel has killed its bots, but not what they had started."""
        self._control.close()
        bots, self._bots = self._bots, {}
        asked, self._asked = self._asked, {}
        for answer, ours in asked.values():
            ours.close()
            if not answer.done():
                answer.set_exception(TemporaryFailure("a bot cannot be started now: its starter has ended"))
        await asyncio.to_thread(self._clear_up, set(bots))
        for bot in bots.values():
            bot.ended(Exited(None, signal.SIGKILL))

    def _clear_up(self, bots: set[int]) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)  # it has hung up, whatever else it does
        self._process.wait()
        give_up_at = time.monotonic() + _LONGEST_CLEANING_SECONDS
        while time.monotonic() < give_up_at:
            table = living_processes()
            ours = marked(table, self._mark).keys() | bearers_of(table, self._inherited_mark)
            left = members_of(table, bots | ours)
            if not left:
                break
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_TRY_AGAIN_SECONDS)
        shutil.rmtree(self._scratch, ignore_errors=True)

    async def close(self, within: timedelta) -> None:
        """Kill all bots, and end. What does not end by itself in that time is killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                await asyncio.gather(*(bot.kill() for bot in list(self._bots.values())))
        if self._ending is None:
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, within.total_seconds())
            self._begin_end()
        if self._ending is not None:
            await self._ending
