"""`atf up` ended at any instant of its start."""

import os
import random
import signal
import time

import pytest

from atf.testing.processes import Installation
from atf.testing.waiting import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

INSTANTS = int(os.environ.get("ATF_CHAOS_INSTANTS", "8"))


def test_ctrl_c_at_any_instant_of_the_start_leaves_nothing_running_and_nothing_locked() -> None:
    chance = random.Random(27)
    with Installation() as installation:
        for _ in range(INSTANTS):
            up = installation.start("up")
            time.sleep(chance.uniform(0.05, 3.5))  # the instant itself is what is tried
            if up.poll() is None:
                up.send_signal(signal.SIGINT)
            up.wait(timeout=60)
            assert not installation.processes(), installation.output("up")
            assert not installation.postmasters(), installation.output("up")
        before = len(installation.output("up"))
        up = installation.start("up")
        wait_for(lambda: "everything is up" in installation.output("up")[before:])
        up.send_signal(signal.SIGTERM)
        assert up.wait(timeout=60) == 0
        assert "Traceback" not in installation.output("up")[before:]
