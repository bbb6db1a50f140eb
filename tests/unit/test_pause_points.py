import asyncio

import pytest

from atf import pause_points
from atf.pause_points import pause_point


async def test_pause_point_is_inert_unless_the_environment_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pause_points, "_HELD_AT", "somewhere.else")
    async with asyncio.timeout(5):
        await pause_point("alerts.before_commit")
    assert capsys.readouterr().err == ""


async def test_held_process_announces_the_point_and_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pause_points, "_HELD_AT", "alerts.before_commit")
    held = asyncio.create_task(pause_point("alerts.before_commit"))
    await asyncio.sleep(0)
    assert not held.done()
    assert capsys.readouterr().err == "paused at alerts.before_commit\n"
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
