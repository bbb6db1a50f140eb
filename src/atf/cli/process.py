"""How commands become the process of a service."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from atf.lifecycle import Progress, Service, run_process
from atf.logs import configure_logging
from atf.settings import Settings, load_settings

OpenService = Callable[[Settings, Progress], AbstractAsyncContextManager[Service]]


def run_service(name: str, open_service: OpenService) -> None:
    """Run a service until the process is told to stop; ``name`` stands in its log lines."""
    settings = load_settings()
    configure_logging(name)
    progress = Progress()
    run_process(lambda: open_service(settings, progress), progress=progress)
