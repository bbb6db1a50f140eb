"""/report, /screener, /runs and /cancel: heavy work that runs elsewhere, and what became of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from atf.jobs.run import RunFilter, RunRecord
from atf.jobs.run_request import RunCreate
from atf.jobs.runs_service import FEWEST_DIGITS
from atf.security.role import Permission
from atf.telegram.ask import Ask, UsageError
from atf.telegram.command import Command
from atf.telegram.commands.run_card import run_card, run_line, short_id
from atf.telegram.commands.run_words import report_of, screener_of
from atf.telegram.local import local_of
from atf.telegram.paging import PAGE_SIZE, page_of
from atf.telegram.reply import Button, Reply
from atf.telegram.rich_text import bold, code, lines, rich

_MOST_PAGES: Final = 20
_TELL: Final = ("telegram",)


async def report(ask: Ask) -> Reply:
    """Make a report of tickers."""
    return await _started(ask, report_of(ask))


async def screener(ask: Ask) -> Reply:
    """Screen a set of tickers."""
    return await _started(ask, screener_of(ask))


async def _started(ask: Ask, request: RunCreate) -> Reply:
    """Store a run that tells the person of its end, and say how it is called meanwhile."""
    ask.user.caller.require(Permission.EDIT)
    run = await ask.user.jobs.create_run(ask.user.user_id, replace(request, notify=_TELL))
    text = lines(
        [
            rich(ask.texts("runs-started", name=request.name or request.job_type)),
            bold(ask.texts("runs-number")) + " " + code(short_id(run)),
            code(str(run.run_id)),
        ]
    )
    look = Button(ask.texts("run-button-look"), f"runs {run.run_id}")
    return Reply(text, ((look, Button(ask.texts("run-button-cancel"), f"cancel {run.run_id}")),))


async def runs(ask: Ask) -> Reply:
    """Show a page of the newest runs, or one run."""
    match ask.parts():
        case []:
            return await _page(ask, 1)
        case ["page", number]:
            return await _page(ask, ask.number(number, "page"))
        case [word] if word.isdigit() and len(word) < FEWEST_DIGITS:
            return await _page(ask, ask.number(word, "page"))
        case [word]:
            return await run_card(ask, await _run_of(ask, word))
        case _:
            raise UsageError(ask.texts("runs-words"), field="runs")


async def cancel(ask: Ask) -> Reply:
    """Cancel a run that waits, or ask the worker of one that is running to stop it."""
    match ask.parts():
        case [word]:
            found = await _run_of(ask, word)
            is_over = await ask.user.jobs.cancel_run(ask.user.user_id, found.run_id)
            head = ask.texts("runs-cancelled" if is_over else "runs-asked-to-stop", run=short_id(found))
            return await run_card(ask, await ask.user.jobs.get_run(ask.user.user_id, found.run_id), head)
        case _:
            raise UsageError(ask.texts("runs-one"), field="run")


async def _run_of(ask: Ask, word: str) -> RunRecord:
    """Return a run of the person's own by the beginning of its id, with its progress."""
    found = await ask.user.jobs.find_run(ask.user.user_id, word)
    return await ask.user.jobs.get_run(ask.user.user_id, found.run_id)


async def _page(ask: Ask, number: int) -> Reply:
    wanted = min(max(1, number), _MOST_PAGES)
    # One more than are shown, so that it is known whether there is a next page.
    most = min(wanted + 1, _MOST_PAGES) * PAGE_SIZE
    found = await ask.user.jobs.list_runs(RunFilter(ask.user.user_id, limit=most))
    if not found:
        return Reply.of(ask.texts("runs-none"))
    page, local = page_of(found, wanted), await local_of(ask)
    text = lines([bold(ask.texts("runs-head")), *(run_line(one, ask.texts, local) for one in page.items)])
    buttons = [Button(short_id(one), f"runs {one.run_id}") for one in page.items]
    rows = tuple(tuple(buttons[at : at + 3]) for at in range(0, len(buttons), 3))
    return Reply(text, (*rows, *page.turning("runs page", ask.texts)))


COMMANDS: Final = (
    Command("report", report, usage="TICKERS [TIMEFRAME] [charts] [REPORT]", asks=True),
    Command("screener", screener, usage="NAME|TICKERS|JSON", asks=True),
    Command("runs", runs, usage="[RUN | page N]"),
    Command("cancel", cancel, usage="RUN", in_menu=False),
)
