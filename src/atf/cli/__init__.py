"""The ``atf`` command: one module a subject, imported only when it is the one that was asked for.

Exit statuses: 0 done; 1 refused or failed, with one sentence on standard error; 2 the command line itself is
wrong; 3 try again later, as the database or a provider cannot be reached now; 130 interrupted.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from atf import __version__
from atf.errors import AtfError, InvalidInput, TemporaryFailure

EXIT_REFUSED: Final = 1
EXIT_TRY_LATER: Final = 3
EXIT_INTERRUPTED: Final = 130

_EPILOG: Final = (
    "Start with: atf demo   ·   Exit status: 0 done, 1 refused or failed, 2 wrong command line, 3 try again"
    " later, 130 interrupted"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A word after ``atf``: where it is implemented and what it is for."""

    name: str
    help: str
    is_group: bool = True

    def load(self) -> Any:
        """Import the subject's module and return its sub-app, or its command."""
        gc.disable()  # importing makes many objects and no garbage: looking for it takes a tenth of the start
        module = importlib.import_module(f"atf.cli.{self.name}")
        gc.freeze()
        gc.enable()
        return module.app if self.is_group else getattr(module, self.name)


SUBJECTS: Final = (
    Subject("demo", "Replay real prices through the whole pipeline and watch.", is_group=False),
    Subject("up", "Start everything and keep it alive.", is_group=False),
    Subject("status", "Say what runs where and whether it is well.", is_group=False),
    Subject("alerts", "Add, list, show, explain, preview, replay, pause, resume and delete alerts."),
    Subject("bots", "Add, list, show, edit, start, stop, pause and delete bots; say what they did and hold."),
    Subject("schedules", "Add, list, show, edit, pause, resume, delete and run schedules."),
    Subject("runs", "Start, list, show, follow, cancel and retry runs."),
    Subject("workers", "List the processes that do runs."),
    Subject("dlq", "List, show, requeue and drop runs that failed for good."),
    Subject("notify", "Hand a message to a user.", is_group=False),
    Subject("notifications", "List deliveries; say how you are told; run the notification service."),
    Subject("trading", "Run bots, and compare what they hold with their venues."),
    Subject("telegram", "Run the Telegram bot with the notification service."),
    Subject("data", "Fetch, import, check, show and export bars."),
    Subject("indicators", "List and show indicators; compute them on real bars."),
    Subject("strategies", "List strategies; check that one works before a bot trades by it."),
    Subject("universes", "List, load, show and delete universes of symbols."),
    Subject("fundamentals", "Load and show fundamentals."),
    Subject("cron", "Say when a cron expression runs."),
    Subject("scheduler", "Run the scheduler; check settings, database and schemas."),
    Subject("worker", "Run a worker."),
    Subject("users", "Add users; decide what they may do, and how much; set passwords, make links."),
    Subject("tokens", "Make, list and revoke tokens for programs and services."),
    Subject("secrets", "Store, list and delete secrets; rotate the key that seals them."),
    Subject("audit", "Say who did what: list and export the audit log."),
    Subject("config", "Show the settings and where each comes from."),
    Subject("db", "Start, stop, migrate and look into the database."),
    Subject("dev", "Tools for developing: a Telegram to chat with."),
)


def run() -> None:
    """Run the command line and leave with its exit status; a user's mistake is one sentence, no traceback."""
    try:
        _build(sys.argv[1:])()
    except InvalidInput as exc:
        _leave(str(exc), EXIT_REFUSED)
    except TemporaryFailure as exc:
        _leave(str(exc), EXIT_TRY_LATER)
    except AtfError as exc:
        _leave(str(exc), EXIT_REFUSED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _leave(sentence: str, status: int) -> None:
    sys.stderr.write(f"atf: {sentence}\n")
    sys.exit(status)


def _build(arguments: list[str]) -> typer.Typer:
    """Return the command line with the wanted subject loaded and the others as their help alone."""
    app = typer.Typer(
        name="atf",
        help="ATF, the Advanced Trading Framework: a trader's background work on the trader's own machine.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    completing = "_ATF_COMPLETE" in os.environ
    for subject in SUBJECTS:
        _add(app, subject, is_loaded=completing or subject.name == wanted)
    return app


def _add(app: typer.Typer, subject: Subject, *, is_loaded: bool) -> None:
    if subject.is_group:
        sub_app = subject.load() if is_loaded else typer.Typer()
        app.add_typer(sub_app, name=subject.name, help=subject.help, no_args_is_help=True)
    else:
        command: Callable[..., None] = subject.load() if is_loaded else _unloaded
        app.command(subject.name, help=None if is_loaded else subject.help)(command)


def _unloaded() -> None:
    raise AssertionError("a subject that is run is loaded first")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"atf {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
