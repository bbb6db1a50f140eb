"""Commands that rotate the key, set secrets and change users, killed: nothing is lost or goes unrecorded."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import pytest

from atf.bootstrap.secrets import build_secrets
from atf.settings import Settings
from atf.storage.database import Database
from atf.testing.processes import kill, run_atf
from tests.chaos.site import Site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

KILLS: Final = max(8, int(os.environ.get("ATF_CHAOS_KILLS", "8")) // 2)
NAMES: Final = ("broker", "bot", "smtp")
COMMANDS: Final = (("secrets", "rotate"), ("secrets", "set", "broker"), ("users", "limits", "ann", "--alerts"))
POINTS: Final = ("secrets.half_rotated", "secrets.rotated", None, None)


class SecretSite(Site):
    """A home with secrets, and a user whose limits change."""

    def set_secret(self, name: str, value: str) -> None:
        stored = run_atf(["secrets", "set", name], self.full_environment, stdin=value)
        assert stored.returncode == 0, stored.stderr

    def values(self) -> Mapping[str, str]:
        """The secrets as services open them, with the key that is in place."""

        async def opened() -> dict[str, str]:
            database = Database(self.handle.url())
            try:
                secrets = build_secrets(Settings(home=self.home), database)
                await secrets.list_secrets(1)
                return {name: await secrets.reveal(1, name) for name in NAMES}
            finally:
                await database.close()

        return asyncio.run(opened())

    def strike(self, words: tuple[str, ...], value: str, point: str | None) -> None:
        """Begin a command and kill it: where it pauses, or at some time in its life."""
        environment = {**self.full_environment, **({} if point is None else {"ATF_PAUSE_AT": point})}
        process = subprocess.Popen(
            [sys.executable, "-m", "atf", *words],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(value)
            process.stdin.close()
            if point is not None and words[:2] == ("secrets", "rotate"):
                assert process.stderr.readline() == f"paused at {point}\n"
            else:
                time.sleep(random.uniform(0.2, 2.5))
            kill(process.pid)

    def chain(self, object_type: str, field: str) -> Iterator[tuple[Any, Any]]:
        """What a field was and became, by each entry of the audit log, oldest first."""
        yield from self.query(
            "SELECT before ->> %(field)s, after ->> %(field)s FROM audit_log "
            "WHERE object_type = %(kind)s AND action LIKE '%%.update' AND after ? %(field)s ORDER BY id",
            kind=object_type,
            field=field,
        )


def test_whatever_is_killed_every_secret_opens_and_every_change_is_recorded() -> None:
    with SecretSite() as site:
        for name in NAMES:
            site.set_secret(name, f"{name} value 0")
        assert site.run("users", "add", "ann").returncode == 0
        possible = {name: {f"{name} value 0"} for name in NAMES}
        for number in range(1, KILLS + 1):
            words = COMMANDS[number % len(COMMANDS)]
            if words[0] == "users":
                words = (*words, str(number))
            value = f"broker value {number}"
            site.strike(words, value, POINTS[number // len(COMMANDS) % len(POINTS)])
            if words[:2] == ("secrets", "set"):
                possible["broker"].add(value)
            found = site.values()
            assert all(found[name] in possible[name] for name in NAMES)
            possible["broker"] = {found["broker"], value}  # a commit may be done after who asked for it is dead
        assert site.run("secrets", "rotate").returncode == 0
        assert set(site.values()) == set(NAMES)

        # The log tells the present: each entry begins where the one before it ended.
        for kind, field, now in (
            ("master_key", "key_id", site.query("SELECT key_id FROM master_key")[0][0]),
            ("user", "alerts_limit", site.query("SELECT alerts_limit FROM users WHERE name = 'ann'")[0][0]),
        ):
            entries = list(site.chain(kind, field))
            assert all(one[1] == other[0] for one, other in pairwise(entries))
            assert (entries[-1][1] if entries else None) == (None if now is None else str(now))
