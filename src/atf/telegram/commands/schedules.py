"""/schedules: what runs when, and what can be done to it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from atf.errors import NotFound
from atf.jobs.run import JobType
from atf.notifications.local_format import LocalFormat
from atf.notifications.texts import Texts
from atf.schedules.schedule import Schedule, ScheduleCreate
from atf.security.role import Permission
from atf.telegram.ask import Ask, UsageError
from atf.telegram.command import Command
from atf.telegram.commands.run_card import short_id
from atf.telegram.commands.schedule_words import new_schedule_of
from atf.telegram.confirmation import confirmed
from atf.telegram.local import local_of, shortened
from atf.telegram.paging import page_of
from atf.telegram.reply import Button, Keyboard, Reply
from atf.telegram.rich_text import RichText, block, bold, code, lines, rich

_LONGEST_NAME: Final = 60
_LONGEST_PARAMS: Final = 600

Action = Callable[[Ask, Schedule], Awaitable[Reply]]


async def schedules(ask: Ask) -> Reply:
    """Show a page of schedules or one of them, add one, or do something to one."""
    match ask.parts():
        case []:
            return await _page(ask, 1)
        case ["page", number]:
            return await _page(ask, ask.number(number, "page"))
        case ["add", *_]:
            return await _add(ask)
        case [word, number] if word in _ACTIONS:
            ask.user.caller.require(Permission.EDIT)
            return await _ACTIONS[word](ask, await _schedule_of(ask, number))
        case [number] if number not in _ACTIONS:
            return await _card(ask, await _schedule_of(ask, number))
        case _:
            raise UsageError(ask.texts("schedules-words"), field="schedules")


async def _page(ask: Ask, number: int) -> Reply:
    """Alerts are schedules, too, and have a list of their own."""
    stored = await ask.user.jobs.list_schedules(ask.user.user_id)
    found = [one for one in stored if one.job_type != JobType.ALERT]
    if not found:
        return Reply.of(ask.texts("schedules-none"))
    page, local = page_of(found, number), await local_of(ask)
    text = lines(
        [
            bold(ask.texts("schedules-head", count=len(found))) + f" {page.words(ask.texts)}".rstrip(),
            *(_line(one, ask.texts, local) for one in page.items),
        ]
    )
    buttons = [Button(str(one.id), f"schedules {one.id}") for one in page.items]
    rows = tuple(tuple(buttons[at : at + 5]) for at in range(0, len(buttons), 5))
    return Reply(text, (*rows, *page.turning("schedules page", ask.texts)))


async def _add(ask: Ask) -> Reply:
    """Store a schedule whose cron is read on the person's own clock."""
    ask.user.caller.require(Permission.EDIT)
    new = new_schedule_of(ask, ask.words.partition("add")[2].strip())
    settings = await ask.user.preferences.settings(ask.user.user_id)
    made = await ask.user.jobs.create_schedule(
        ask.user.user_id,
        ScheduleCreate(
            name=new.name,
            job_type=new.job_type,
            target=new.target,
            cron=new.cron,
            timezone=settings.preferences.timezone,
            task_params=new.task_params,
        ),
    )
    is_handled = ask.user.jobs.is_handled(made.job_type)
    head = ask.texts("schedules-added" if is_handled else "schedules-added-unhandled", id=str(made.id))
    return await _card(ask, made, head)


async def _pause(ask: Ask, found: Schedule) -> Reply:
    changed = await ask.user.jobs.pause_schedule(ask.user.user_id, found.id)
    return await _card(ask, changed, ask.texts("schedules-paused", id=str(found.id)))


async def _resume(ask: Ask, found: Schedule) -> Reply:
    changed = await ask.user.jobs.resume_schedule(ask.user.user_id, found.id)
    return await _card(ask, changed, ask.texts("schedules-resumed", id=str(found.id)))


async def _run(ask: Ask, found: Schedule) -> Reply:
    run = await ask.user.jobs.trigger_schedule(ask.user.user_id, found.id)
    text = rich(ask.texts("schedules-run", id=str(found.id))) + " " + code(short_id(run))
    look = Button(ask.texts("run-button-look"), f"runs {run.run_id}")
    return Reply(text, ((look, _back(ask.texts, found)),))


async def _delete(ask: Ask, found: Schedule) -> Reply:
    name = shortened(found.name, _LONGEST_NAME)
    question = await confirmed(ask, ask.texts("schedules-delete-question", id=str(found.id), name=name))
    if question is not None:
        return question
    await ask.user.jobs.delete_schedule(ask.user.user_id, found.id)
    back = Button(ask.texts("schedules-button-list"), "schedules")
    return Reply.of(ask.texts("schedules-deleted", id=str(found.id)), (back,))


async def _schedule_of(ask: Ask, word: str) -> Schedule:
    """Return a schedule of the person's own; of anybody else's it is said that there is none."""
    number = ask.number(word, "schedule")
    try:
        return await ask.user.jobs.get_schedule(ask.user.user_id, number)
    except NotFound as exc:
        raise NotFound(ask.texts("schedules-no-such", id=str(number))) from exc


def _line(schedule: Schedule, texts: Texts, local: LocalFormat) -> RichText:
    at = schedule.next_run_at
    when = local.local_time(at) if schedule.enabled and at is not None else texts("schedules-rests")
    name = shortened(schedule.name, _LONGEST_NAME)
    return bold(str(schedule.id)) + f" {name}: " + code(schedule.cron) + f", {when}"


async def _card(ask: Ask, schedule: Schedule, head: str = "") -> Reply:
    texts, local = ask.texts, await local_of(ask)
    rests = not schedule.enabled or schedule.next_run_at is None
    when = texts("schedules-rests") if rests else local.local_time(schedule.next_run_at, "long")
    params = json.dumps(schedule.task_params, ensure_ascii=False)
    calendar = f", {schedule.calendar}" if schedule.calendar else ""
    parts = [
        rich(head),
        bold(texts("schedules-card-head", id=str(schedule.id), name=shortened(schedule.name, 255))),
        rich(f"{schedule.job_type}: {shortened(schedule.target, 120)}"),
        code(schedule.cron) + f" {schedule.timezone}{calendar}",
        bold(texts("schedules-next")) + f" {when}",
        block(shortened(params, _LONGEST_PARAMS)) if schedule.task_params else rich(""),
    ]
    return Reply(lines(part for part in parts if not part.is_empty), _buttons(schedule, texts))


def _buttons(schedule: Schedule, texts: Texts) -> Keyboard:
    switch = "pause" if schedule.enabled else "resume"
    names = (switch, "run", "delete")
    buttons = tuple(
        Button(texts(f"schedules-button-{name}"), f"schedules {name} {schedule.id}") for name in names
    )
    return (buttons, (Button(texts("schedules-button-list"), "schedules"),))


def _back(texts: Texts, schedule: Schedule) -> Button:
    return Button(texts("schedules-button-show", id=str(schedule.id)), f"schedules {schedule.id}")


_ACTIONS: Final[Mapping[str, Action]] = {"pause": _pause, "resume": _resume, "run": _run, "delete": _delete}

COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        "schedules",
        schedules,
        usage="[ID | page N | add TYPE TARGET [NAME] CRON [JSON] | pause|resume|run|delete ID]",
    ),
)
