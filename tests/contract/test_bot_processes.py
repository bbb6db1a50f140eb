"""A bot's process is walled in: what it does harms itself, and nothing of it outlives the service."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.bots import PATIENCE, Strategies, Talk, candle, feed, forked_bots, noted, spawned

from atf.adapters.bot_processes.bot_connection import BotConnection
from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.adapters.processes.frames import framed
from atf.adapters.processes.process_table import living_processes, members_of
from atf.errors import InvariantViolation, TemporaryFailure
from atf.trading.bot_config import LEAST_MEMORY_MIB
from atf.trading.bot_messages import Answer, Failed, Said, Stop
from atf.trading.bot_process import Exited, ProcessLimits
from atf.trading.message_codec import encode
from atf.trading.order import BotId

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 2**20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bots() -> AsyncIterator[ForkedBots]:
    async with forked_bots() as bots:
        yield bots


@pytest_asyncio.fixture(loop_scope="module")
async def talk(bots: ForkedBots) -> AsyncIterator[Talk]:
    talk = await spawned(bots)
    yield talk
    await talk.process.kill()


@pytest.fixture
def strategy(tmp_path: Path) -> Strategies:
    return Strategies(tmp_path)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes ring no bell
            await asyncio.sleep(0.01)


def _is_alive(pid: int) -> bool:
    return pid in living_processes()


LOOKING = """
    def next(self):
        import os, sys, resource, signal
        self.note("descriptors", sorted(os.listdir("/proc/self/fd")))
        self.note("threads", len(os.listdir("/proc/self/task")))
        self.note("environment", sorted(os.environ))
        self.note("alone in its process group", os.getpgid(0) == os.getpid())
        self.note("in the session of all bots", os.getsid(0) == os.getppid())
        self.note("nice", os.nice(0))
        self.note("core", resource.getrlimit(resource.RLIMIT_CORE))
        self.note("data", resource.getrlimit(resource.RLIMIT_DATA))
        self.note("input", os.read(0, 10).decode())
        self.note("loaded", sorted({"pandas", "talib", "matplotlib", "sqlalchemy", "asyncio"} & set(sys.modules)))
        self.note("term", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""


async def test_a_bot_inherits_nothing(
    strategy: Strategies, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATF_DATABASE_URL", "postgresql://somebody:secret@nowhere/atf")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    kept = [(tmp_path / f"{n}").open("w") for n in range(20)]
    for file in kept:
        os.set_inheritable(file.fileno(), True)
    async with forked_bots() as bots:
        await spawned(bots)
        talk = await spawned(bots, ProcessLimits(memory_bytes=300 * MIB))
        await talk.ready(strategy(LOOKING), feed([1]))
        found = {one[0]: one[1] for one in noted(await talk.bar(2))}
    for file in kept:
        file.close()
    assert found["descriptors"] in (["0", "1", "2", "3", "4"], ["0", "1", "2", "3", "5"])  # one reads the folder
    environment = found.pop("environment")
    assert not [name for name in environment if name.startswith(("ATF", "AWS"))]
    assert {"PATH", "TMPDIR", "JOB_RUN_MARK", "OPENBLAS_NUM_THREADS"} <= set(environment)
    del found["descriptors"]
    assert found == {
        "threads": 1,
        "alone in its process group": True,
        "in the session of all bots": True,
        "nice": os.nice(0) + 5,
        "core": [0, 0],
        "data": [300 * MIB, 300 * MIB],
        "input": "",
        "loaded": [],
        "term": True,
    }


async def test_what_backtrader_was_kept_from_can_still_be_loaded(talk: Talk, strategy: Strategies) -> None:
    body = """
        def __init__(self):
            super().__init__()
            import matplotlib.dates, pandas
            self.frame = pandas.DataFrame({"a": [1]})
            self.sma = bt.talib.SMA(self.data.close, timeperiod=2)
        def next(self):
            self.note(self.sma[0], int(self.frame.a.sum()))
    """
    await talk.ready(strategy(body), feed([1, 2]))
    assert noted(await talk.bar(4)) == [[3.0, 1]]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            "def next(self):\n    1 / 0",
            "the strategy raised ZeroDivisionError: division by zero (line 17 of probe.py, in next)",
        ),
        (
            "def next(self):\n    raise ValueError('two\\nlines')",
            "the strategy raised ValueError: two lines (line 17 of probe.py, in next)",
        ),
        (
            "def next(self):\n    raise SystemExit(0)",
            "the strategy ended its own process (line 17 of probe.py, in next)",
        ),
        ("def next(self):\n    self.data.close[1000]", "the strategy raised IndexError"),
        ("def next(self):\n    raise bt.errors.StrategySkipError", "the strategy raised StrategySkipError"),
    ],
)
async def test_what_a_strategy_raises_is_one_sentence(
    talk: Talk, strategy: Strategies, body: str, error: str
) -> None:
    await talk.ready(strategy(body), feed([1]))
    await talk.send_bars({0: candle(1)})
    failed = await talk.failure()
    assert failed.error.startswith(error)
    assert "Traceback" in failed.trace


@pytest.mark.parametrize(
    ("target", "params", "error"),
    [
        (
            "sma_cross",
            {"quick": 1},
            "the strategy SmaCross has no parameter quick; it has fast, slow, fraction, stake",
        ),
        ("sma_cross", {"fast": 9, "slow": 3}, "fast must be shorter than slow, got 9 and 3 (line 2"),
        ("nothing", {}, "the strategy raised ModuleNotFoundError: No module named 'nothing'"),
        ("/nowhere/x.py:X", {}, "there is no file /nowhere/x.py"),
        ("json:JSONDecoder", {}, "json:JSONDecoder is no strategy; its module has none"),
        ("a b", {}, "strategy: must be a name, FILE.py:CLASS or module:CLASS, got 'a b'"),
        ("FILE:Absent", {}, "is no strategy; its module has Noting, Probe"),
        ("FILE", {}, "must say which class is meant, as in FILE.py:CLASS; there is Noting, Probe"),
    ],
)
async def test_what_cannot_be_started_is_said_in_one_sentence(
    talk: Talk, strategy: Strategies, target: str, params: dict[str, Any], error: str
) -> None:
    file = strategy("pass").rpartition(":")[0]
    message = await talk.begin(target.replace("FILE", file), feed([1]), params=params)
    assert isinstance(message, Failed)
    assert error in message.error
    assert await talk.hear() == Exited(1, None)


async def test_a_file_that_is_no_python_is_told_with_its_line(talk: Talk, strategy: Strategies) -> None:
    message = await talk.begin(strategy.file("import backtrader as bt\nclass X(\n", "X"), feed([1]))
    assert isinstance(message, Failed)
    assert message.error == "the strategy's file is not Python: '(' was never closed in line 2 of x.py"


async def test_what_is_printed_and_logged_is_said(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            import logging, sys, warnings
            print("one", 1)
            print("no end", end="")
            logging.getLogger("mine").warning("two %s", 2)
            sys.stderr.write("three\\n")
            print("!")
            print("x" * 5000)
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.bar(1)
    assert talk.said == ["one 1", "two 2", "three", "no end!", "x" * 2000 + "..."]


async def test_who_prints_too_much_is_not_heard(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            for n in range(20_000):
                print(n)
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.bar(1)
    assert talk.said[:100] == [str(n) for n in range(100)]
    assert len(talk.said) < 300, "ten a second after the first hundred"
    while left_out(talk) < 19_000:
        message = await talk.process.receive()
        if isinstance(message, Said):
            talk.said.append(message.text)


def left_out(talk: Talk) -> int:
    """How many lines were not heard, as far as that is said."""
    return sum(int(line.split()[0]) for line in talk.said if line.endswith("came too fast"))


async def test_one_that_hangs_sends_no_beats_and_can_be_killed(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            while True:
                pass
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.send_bars({0: candle(1)})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await talk.process.receive()
    await talk.process.kill()
    assert await talk.hear() == Exited(None, signal.SIGKILL)
    assert await talk.hear() == Exited(None, signal.SIGKILL)
    await talk.process.kill()
    await talk.process.send(Stop("nobody hears it"))


async def test_one_that_leaves_is_told_by_its_code(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy("def next(self):\n    import os\n    os._exit(7)"), feed([1]))
    await talk.send_bars({0: candle(1)})
    assert await talk.hear() == Exited(7, None)


async def test_one_that_crashes_is_told_by_its_signal(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy("def next(self):\n    import ctypes\n    ctypes.string_at(0)"), feed([1]))
    await talk.send_bars({0: candle(1)})
    assert await talk.hear() == Exited(None, signal.SIGSEGV)


STARTING = """
    def next(self):
        import os, subprocess, sys, time
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        plain = subprocess.Popen(sleeper)
        own_session = subprocess.Popen(sleeper, start_new_session=True, env={})
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            daemon = os.fork()
            if daemon == 0:
                time.sleep(600)
            os.write(write, str(daemon).encode())
            os._exit(0)
        self.note(plain.pid, own_session.pid, int(os.read(read, 20)))
"""


@pytest.mark.parametrize("end", ["kill", "os._exit", "zygote"])
async def test_what_a_bot_has_started_ends_with_it(bots: ForkedBots, strategy: Strategies, end: str) -> None:
    body = (
        STARTING if end != "os._exit" else STARTING + "        if len(self.data) == 3:\n            os._exit(0)\n"
    )
    talk, other = await spawned(bots), await spawned(bots)
    await talk.ready(strategy(body), feed([1]))
    await other.ready(strategy("pass", "Other"), feed([1]))
    pids: list[int] = noted(await talk.bar(1))[0]
    assert all(map(_is_alive, pids))
    if end == "kill":
        await talk.process.kill()
    elif end == "zygote":
        assert bots.zygote_pid is not None
        os.kill(bots.zygote_pid, signal.SIGKILL)
    else:
        await talk.send_bars({0: candle(1)})
    assert isinstance(await talk.hear(), Exited)
    left = [pid for pid in pids if _is_alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
    if end != "zygote":
        await other.bar(1)
    await other.process.kill()


async def test_a_copy_of_the_process_says_nothing(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            import os
            self.note(os.fork() == 0)
    """
    await talk.ready(strategy(body), feed([1]))
    assert noted(await talk.bar(1)) == [[False]]
    assert noted(await talk.bar(1)) == [[False]]


async def test_one_that_takes_too_much_memory_fails_by_itself(bots: ForkedBots, strategy: Strategies) -> None:
    talk = await spawned(bots, ProcessLimits(memory_bytes=200 * MIB))
    body = """
        def next(self):
            self.much = []
            while True:
                self.much.append(bytearray(10 * 2**20))
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.send_bars({0: candle(1)})
    failed = await talk.failure()
    assert failed.error.startswith("the strategy needs more memory than there is: its limit is 200 MiB (line")


async def _killed_for(talk: Talk) -> str:
    """What is said of a bot that the zygote has killed."""
    ended = await talk.hear()
    assert isinstance(ended, Exited), ended
    assert (ended.code, ended.signal) == (None, signal.SIGKILL)
    return str(ended.reason)


async def test_one_that_computes_beside_its_bars_is_killed(bots: ForkedBots, strategy: Strategies) -> None:
    talk = await spawned(bots, ProcessLimits(cpu_seconds_per_minute=1))
    body = """
        def next(self):
            import threading, time
            end = time.monotonic() + 20
            def burn():
                while time.monotonic() < end:
                    pass
            threading.Thread(target=burn, daemon=True).start()
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.bar(1)
    assert "more than 1 s of a processor in a minute (limits.cpu_seconds_per_minute)" in await _killed_for(talk)


UNNOTICED = 'while " Z " not in open(f"/proc/{pid}/stat").read(): time.sleep(0.02)'
"""Waits for the end of a child and does not take note of it."""


@pytest.mark.parametrize("noticed", ["os.waitpid(pid, 0)", UNNOTICED])
async def test_what_a_bot_has_started_computes_in_its_name(
    bots: ForkedBots, strategy: Strategies, noticed: str
) -> None:
    talk = await spawned(bots, ProcessLimits(cpu_seconds_per_minute=0.3))
    body = f"""
        def next(self):
            import os, time
            for _ in range(30):  # each has ended before it could be seen to take much
                pid = os.fork()
                if pid == 0:
                    os.setsid()
                    while time.process_time() < 0.1:
                        pass
                    os._exit(0)
                {noticed}
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.send_bars({0: candle(1)})
    assert "more than 0.3 s of a processor" in await _killed_for(talk)


def _group_niceness(pid: int) -> int | None:
    """How a process's session stands back as a whole; None where the kernel knows no such thing."""
    with suppress(FileNotFoundError):
        return int(Path(f"/proc/{pid}/autogroup").read_text("ascii").split()[-1])
    return None


async def test_what_a_bot_starts_computes_when_nobody_else_wants_to(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            import os, subprocess, sys, time
            read, write = os.pipe()
            forked = os.fork()
            if forked == 0:
                os.write(write, str(os.sched_getscheduler(0)).encode())
                time.sleep(600)
            sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
            plain = subprocess.Popen(sleeper)
            own_session = subprocess.Popen(sleeper, start_new_session=True)
            self.note(int(os.read(read, 9)), forked, plain.pid, own_session.pid)
    """
    await talk.ready(strategy(body), feed([1]))
    policy, *pids = noted(await talk.bar(1))[0]
    assert policy == os.SCHED_IDLE, "from its first moment on"
    await _until(lambda: {os.sched_getscheduler(pid) for pid in pids} == {os.SCHED_IDLE})
    await _until(lambda: _group_niceness(pids[-1]) in (19, None))
    assert _group_niceness(talk.process.pid) in (0, None)
    assert os.sched_getscheduler(talk.process.pid) == os.SCHED_OTHER


async def test_a_bot_that_leaves_the_group_of_all_bots_stands_back(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            import os
            if os.getsid(0) != os.getpid():
                os.setpgid(0, os.getpgid(os.getppid()))  # a leader of a group cannot leave the session
                os.setsid()
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.bar(1)
    await _until(lambda: _group_niceness(talk.process.pid) in (19, None))


async def test_one_that_forks_and_forks_is_killed_with_all_of_it(
    bots: ForkedBots, strategy: Strategies, tmp_path: Path
) -> None:
    talk, other = await spawned(bots, ProcessLimits(processes=8)), await spawned(bots)
    body = """
        def next(self):
            import os, signal, time
            for _ in range(5):
                if os.fork() == 0:
                    os.setsid()
                    signal.alarm(20)
            with open(os.path.dirname(__file__) + "/pids", "a") as file:
                file.write(f"{os.getpid()} ")
            time.sleep(20)
    """
    await talk.ready(strategy(body), feed([1]))
    await other.ready(strategy("pass", "Other"), feed([1]))
    await talk.send_bars({0: candle(1)})
    reason = "the strategy has more than 8 processes, its own among them (limits.processes)"
    assert await _killed_for(talk) == reason
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) > 7
    assert not any(map(_is_alive, pids))
    await other.bar(1)
    await other.process.kill()


async def test_processes_share_the_memory_of_their_bot(bots: ForkedBots, strategy: Strategies) -> None:
    talk = await spawned(bots, ProcessLimits(memory_bytes=200 * MIB))
    body = """
        def next(self):
            import os, signal, time
            for _ in range(3):
                if os.fork() == 0:
                    signal.alarm(20)
                    kept = bytearray(b"x") * (90 * 2**20)
                    time.sleep(20)
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.bar(1)
    assert "took more than 200 MiB together (limits.memory_mib)" in await _killed_for(talk)


async def test_the_least_memory_that_may_be_configured_is_enough_to_trade(
    bots: ForkedBots, strategy: Strategies
) -> None:
    talk = await spawned(bots, ProcessLimits(memory_bytes=LEAST_MEMORY_MIB * MIB))
    await talk.ready("sma_cross", feed(range(1, 251)))
    for close in range(20):
        await talk.bar(close + 1)
    await talk.process.kill()


async def test_a_message_too_large_ends_the_bot(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            import os
            os.write(3, b"\\x7f\\xff\\xff\\xff and more")
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.send_bars({0: candle(1)})
    with pytest.raises(InvariantViolation, match="where 1048576 are allowed"):
        await talk.hear()
    assert await talk.hear() == Exited(None, signal.SIGKILL)


async def test_one_that_has_too_much_to_say_fails_by_itself(talk: Talk, strategy: Strategies) -> None:
    body = """
        def __init__(self):
            super().__init__()
            class Large(bt.Analyzer):
                def get_analysis(self):
                    return {"x": "y" * 2**20}
            self._addanalyzer(Large)
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.bar(1)
    await talk.process.send(Stop("the test is over"))
    said = r"the strategy wants to say \d+ bytes at once \(Stopped\); at most 1048576 are allowed"
    assert re.fullmatch(said, (await talk.failure()).error)


async def test_one_that_says_much_lets_others_have_their_turn() -> None:
    ours, theirs = socket.socketpair()
    connection = BotConnection(1, ours, _kill_nobody)
    theirs.sendall(framed(encode(Said("info", "x"))) * 500)
    await connection.receive()
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    for _ in range(499):
        await connection.receive()
    others.cancel()
    assert turns >= 20
    connection.hang_up()
    theirs.close()


async def _kill_nobody(pid: int) -> None:
    raise AssertionError(f"{pid} is killed")


async def test_nonsense_ends_the_bot(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            import os
            os.write(3, (2).to_bytes(4, "big") + b"{}")
    """
    await talk.ready(strategy(body), feed([1]))
    await talk.send_bars({0: candle(1)})
    with pytest.raises(InvariantViolation, match="unknown kind"):
        await talk.hear()
    assert await talk.hear() == Exited(None, signal.SIGKILL)


async def test_a_dead_zygote_takes_its_bots_along_and_is_replaced(strategy: Strategies) -> None:
    async with forked_bots() as bots:
        talks = [await spawned(bots) for _ in range(3)]
        for talk in talks:
            await talk.ready(strategy("pass"), feed([1]))
        zygote = bots.zygote_pid
        assert zygote is not None
        os.kill(zygote, signal.SIGKILL)
        for talk in talks:
            assert await talk.hear() == Exited(None, signal.SIGKILL)
            assert not _is_alive(talk.process.pid)
        again = await spawned(bots)
        await again.ready(strategy("pass"), feed([1]))
        assert bots.zygote_pid != zygote


async def test_closing_ends_all_and_nothing_is_started_afterwards(strategy: Strategies) -> None:
    bots = ForkedBots()
    talk = await spawned(bots)
    await talk.ready(strategy("pass"), feed([1]))
    zygote = bots.zygote_pid
    assert zygote is not None
    await bots.close()
    assert not _is_alive(talk.process.pid)
    assert not _is_alive(zygote)
    assert isinstance(await talk.hear(), Exited)
    with pytest.raises(TemporaryFailure):
        await bots.spawn(BotId(1), ProcessLimits())
    await bots.close()


async def test_a_spawn_that_is_given_up_leaves_no_process(bots: ForkedBots) -> None:
    await (await spawned(bots)).process.kill()
    assert bots.zygote_pid is not None
    before = set(members_of(living_processes(), {bots.zygote_pid}))
    waiting = asyncio.create_task(bots.spawn(BotId(1), ProcessLimits()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.1)
    await _until(lambda: set(members_of(living_processes(), {bots.zygote_pid or 0})) <= before)


async def test_messages_survive_a_receive_that_is_given_up(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy("pass"), feed([1]))
    heard: list[object] = []
    for number in range(50):
        waiting = asyncio.create_task(talk.process.receive())
        await talk.send_bars({0: candle(number)})
        await asyncio.sleep(0)
        waiting.cancel()
        heard += await asyncio.gather(waiting, return_exceptions=True)
    while len(answered := [one.number for one in heard if isinstance(one, Answer)]) < 50:
        heard.append(await talk.hear())
    assert answered == list(range(1, 51))


SERVICE = """
import asyncio, sys
from tests.bots import Strategies, candle, feed, spawned
from atf.adapters.bot_processes.forked_bots import ForkedBots
async def main():
    bots = ForkedBots()
    found = [await spawned(bots) for _ in range(3)]
    for talk in found:
        await talk.ready(sys.argv[1], feed([1]))
        await talk.send_bars({0: candle(1)})
    print(bots.zygote_pid, *[one.process.pid for one in found], flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


Service = Callable[[str], tuple["subprocess.Popen[str]", list[int]]]


@pytest.fixture
def service() -> Iterator[Service]:
    """Start a service with three bots at work; what a failed test leaves of it does not stay."""
    left: list[int] = []

    def start(target: str) -> tuple[subprocess.Popen[str], list[int]]:
        process = subprocess.Popen([sys.executable, "-c", SERVICE, target], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.stdout.close()
        left.extend(pids)
        assert len(pids) == 4
        assert all(map(_is_alive, pids))
        return process, pids

    yield start
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


HANGING = """
    def next(self):
        while True:
            pass
"""


@pytest.mark.parametrize("body", ["pass", HANGING])
async def test_a_killed_service_leaves_nothing(service: Service, strategy: Strategies, body: str) -> None:
    process, pids = service(strategy(body))
    scratch = Path(f"/proc/{pids[0]}/cwd").readlink()
    process.kill()
    process.wait()
    await _until(lambda: not any(map(_is_alive, pids)))
    await _until(lambda: not scratch.exists())
    assert not any(map(_is_alive, pids))


LEAVING_PIDS = (
    STARTING
    + """
        with open(os.path.dirname(__file__) + "/pids", "a") as file:
            file.write(" ".join(map(str, self.noted[-1])) + " ")
"""
)


async def test_what_bots_have_started_does_not_outlive_a_killed_service(
    service: Service, strategy: Strategies, tmp_path: Path
) -> None:
    process, _ = service(strategy(LEAVING_PIDS))
    await _until(lambda: (tmp_path / "pids").exists())
    await _until(lambda: len((tmp_path / "pids").read_text().split()) == 9)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(map(_is_alive, pids))
    process.kill()
    process.wait()
    try:
        await _until(lambda: not any(map(_is_alive, pids)))
    finally:
        for pid in filter(_is_alive, pids):
            os.kill(pid, signal.SIGKILL)


async def test_bots_that_hang_die_with_the_zygote_even_if_the_service_cannot_act(
    service: Service, strategy: Strategies
) -> None:
    process, pids = service(strategy(HANGING))
    process.send_signal(signal.SIGSTOP)
    os.kill(pids[0], signal.SIGKILL)
    await _until(lambda: not any(map(_is_alive, pids[1:])))
    assert process.poll() is None, "the service itself had no part in it"
    process.kill()
    process.wait()


async def test_two_bots_draw_different_numbers(bots: ForkedBots, strategy: Strategies) -> None:
    body = """
        def next(self):
            import random, numpy
            self.note(random.random())
            self.note(numpy.random.random())
    """
    target, drawn = strategy(body), list[list[float]]()
    for _ in range(2):
        talk = await spawned(bots)
        await talk.ready(target, feed([1]))
        drawn += noted(await talk.bar(1))
        await talk.process.kill()
    assert len({one for [one] in drawn}) == 4


async def test_the_zygote_has_one_thread() -> None:
    async with forked_bots() as bots:
        for _ in range(3):
            await spawned(bots)
        assert len(list(Path(f"/proc/{bots.zygote_pid}/task").iterdir())) == 1
