"""How much one run may take. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits of a run. Units: bytes, seconds.

    ``memory_bytes`` holds for each process (its own data) and for all processes of the run together (what they
    have in memory); ``grace_seconds`` passes between being told to stop and being killed.
    """

    memory_bytes: int = 1024 * MIB
    open_files: int = 256
    processes: int = 64
    result_bytes: int = MIB
    document_bytes: int = 16 * MIB
    grace_seconds: float = 2.0
