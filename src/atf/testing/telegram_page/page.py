"""The routes of the page. Other sites can do nothing here: they cannot set the header, nor read under a name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any, Final

from aiohttp import web

from atf.testing.telegram import LocalTelegram
from atf.testing.telegram_api.refusals import Refusal
from atf.testing.telegram_chats import Chat
from atf.testing.telegram_page.shown import shown_state

_HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_ASSETS: Final = {"page.js": "text/javascript", "page.css": "text/css"}

Deed = Callable[[Chat, Mapping[str, Any]], Awaitable[object]]


class Page:
    """The page of one local Telegram."""

    def __init__(self, telegram: LocalTelegram) -> None:
        self._telegram = telegram

    def add_to(self, application: web.Application) -> None:
        """Serve the page at ``/``."""
        router = application.router
        router.add_get("/", _index)
        router.add_get("/page/events", self._events)
        router.add_get("/page/state", self._state)
        router.add_get("/page/files/{file_id}", self._file)
        router.add_get("/page/{asset}", _asset)
        router.add_post("/page/open", self._open)
        router.add_post("/page/upload", self._upload)
        for name, deed in {"say": _say, "press": _press, "block": _block}.items():
            router.add_post(f"/page/{name}", self._doing(deed))
        application.middlewares.append(_guard)

    async def _state(self, _request: web.Request) -> web.Response:
        return web.json_response(shown_state(self._telegram))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Say one word whenever anything has changed; the page then asks for all of it."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        await response.prepare(request)
        changes = self._telegram.changes
        while True:
            count = changes.count
            await response.write(f"data: {count}\n\n".encode())
            await changes.until_after(count)

    async def _file(self, request: web.Request) -> web.Response:
        stored = self._telegram.files.find(request.match_info["file_id"])
        if stored is None:
            raise web.HTTPNotFound
        kind = stored.mime_type if stored.width else "application/octet-stream"
        return web.Response(body=stored.content, content_type=kind)

    def _doing(self, deed: Deed) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def do(request: web.Request) -> web.Response:
            asked = json.loads(await request.text())
            await deed(self._telegram.chats[int(asked["chat_id"])], asked)
            return web.Response(status=204)

        return do

    async def _open(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.text())
        if asked["kind"] == "group":
            self._telegram.group(asked["name"])
        else:
            language = asked["language"] or None
            self._telegram.private_chat(first_name=asked["name"], language_code=language, is_started=False)
        return web.Response(status=204)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file, chat = form["file"], self._telegram.chats[int(str(form["chat_id"]))]
        if not isinstance(file, web.FileField):
            return web.Response(status=400, text="no file")
        content, caption = file.file.read(), str(form["caption"])
        try:
            if file.content_type.startswith("image/"):
                await chat.send_photo(content, caption=caption, name=file.filename)
            else:
                await chat.send_document(content, file.filename, caption=caption)
        except Refusal as refusal:
            return web.Response(status=400, text=refusal.description)
        return web.Response(status=204)


async def _say(chat: Chat, asked: Mapping[str, Any]) -> None:
    await chat.say(asked["text"])


async def _press(chat: Chat, asked: Mapping[str, Any]) -> None:
    message = chat.find(int(asked["message_id"]))
    if message is None:
        raise ValueError("the message is gone")
    await chat.press(asked["data"], message=message, is_stale=True)


async def _block(chat: Chat, _asked: Mapping[str, Any]) -> None:
    """Block the bot or put it out of a group, or undo that."""
    if chat.is_group:
        await (chat.add_bot() if chat.is_kicked or chat.has_left else chat.kick_bot())
    else:
        await (chat.unblock() if chat.is_blocked else chat.block())


@web.middleware
async def _guard(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let no page of another site do what people do here, nor read it under a name that leads here."""
    if request.path.startswith("/bot") or request.path.startswith("/file/"):
        return await handler(request)
    if request.url.host not in _HOSTS:
        raise web.HTTPForbidden
    if request.method != "GET" and "X-ATF-Page" not in request.headers:
        raise web.HTTPForbidden
    response: web.StreamResponse
    try:
        response = await handler(request)
    except (KeyError, ValueError) as error:  # something is missing, or is not what it must be
        response = web.Response(status=400, text=str(error))
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response


async def _index(_request: web.Request) -> web.Response:
    return web.Response(text=await _text("index.html"), content_type="text/html")


async def _asset(request: web.Request) -> web.Response:
    name = request.match_info["asset"]
    if name not in _ASSETS:
        raise web.HTTPNotFound
    return web.Response(text=await _text(name), content_type=_ASSETS[name])


async def _text(name: str) -> str:
    return await asyncio.to_thread(lambda: (files(__package__) / name).read_text())
