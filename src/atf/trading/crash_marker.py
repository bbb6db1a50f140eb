"""The marker file of a running trading service: if it is there at a start, the last service was killed.

It is replaced only when recovery has finished, so that a crash during recovery is seen, too.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from atf.trading.service_store import Session

NAME: Final = ".trading_service_running"


@dataclass(frozen=True, slots=True)
class CrashMarker:
    """The file, in the state directory of an installation."""

    path: Path

    @classmethod
    def in_directory(cls, directory: Path) -> CrashMarker:
        """Return the marker of a state directory, which need not exist yet."""
        return cls(directory / NAME)

    @property
    def is_there(self) -> bool:
        """Whether a service runs here, or was killed."""
        return self.path.exists()

    def write(self, session: Session) -> None:
        """Say that a service runs, in one step: the file is whole or as it was."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {key: str(value) for key, value in asdict(session).items() if value is not None}
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        beside.replace(self.path)

    def remove(self) -> None:
        """Say that the service has ended as it should; harmless when repeated."""
        self.path.unlink(missing_ok=True)
