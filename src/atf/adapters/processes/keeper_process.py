"""The worker's side of the keeper (keeper.py): its start, what it is told, its end."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from atf.adapters.processes.environment import clean_environment, program


class KeeperProcess:
    """A small process that clears up after this one, should this one be killed."""

    def __init__(self, mark: str, scratch: Path) -> None:
        its_end, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                program("atf.adapters.processes.keeper", mark, str(scratch)),
                stdin=its_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=clean_environment(os.environ, scratch, "keeper"),
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(its_end)

    @property
    def has_ended(self) -> bool:
        """Whether somebody has killed it."""
        return self._process.poll() is not None

    def tell(self, line: str) -> None:
        """Name a session that begins ("+1234") or has ended ("-1234")."""
        with suppress(BrokenPipeError):
            os.write(self._lifeline, f"{line}\n".encode())

    def close(self) -> None:
        """Let it clear up and wait for its end."""
        os.close(self._lifeline)
        self._process.wait()
