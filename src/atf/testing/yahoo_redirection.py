"""Leads the library yfinance to another address than Yahoo's, for which it has no setting.

Its requests are changed where they leave for the network, so that its own code for cookies and crumbs runs.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

_DOMAIN: Final = ".yahoo.com"
_HOSTS: Final = tuple(
    f"{name}{_DOMAIN}" for name in ("query1.finance", "query2.finance", "fc", "guce", "consent")
)


class _Zones:
    """In place of the library's file of time zones in the user's home."""

    def __init__(self) -> None:
        self._zones: dict[str, str | None] = {}

    def lookup(self, symbol: str) -> str | None:
        return self._zones.get(symbol)

    def store(self, symbol: str, zone: str | None) -> None:
        self._zones[symbol] = zone


class _Cookies:
    """In place of the library's file of cookies, pickled as it does."""

    def __init__(self) -> None:
        self._pickled: dict[str, bytes] = {}

    def lookup(self, strategy: str) -> dict[str, Any] | None:
        found = self._pickled.get(strategy)
        return None if found is None else {"cookie": pickle.loads(found)}  # noqa: S301 - it pickled it itself

    def store(self, strategy: str, cookie: Any) -> None:
        self._pickled.pop(strategy, None)
        if cookie is not None:
            self._pickled[strategy] = pickle.dumps(cookie)


@contextmanager
def redirected(url: str, *, in_memory: bool = True) -> Iterator[None]:
    """Lead what is asked of Yahoo to a server on this machine, until the block ends.

    The names of hosts stay, for the server to tell them apart and for cookies, which hold for Yahoo's domain.
    ``in_memory``: the library's files are not touched.
    """
    import yfinance
    from curl_cffi import CurlOpt, requests

    port = urlsplit(url).port
    replaced: list[tuple[Any, str, Any]] = []

    def replace_with(owner: Any, name: str, value: Any) -> None:
        replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    send: Any = requests.Session.request

    def send_there(session: Any, method: str, target: str, *given: Any, **options: Any) -> Any:
        parts = urlsplit(target)
        host = parts.hostname or ""
        if host.endswith(_DOMAIN):
            if host not in _HOSTS:
                raise ConnectionError(f"nobody is {host} here")
            # All of them each time, as threads share a session.
            session.curl_options[CurlOpt.RESOLVE] = [f"{each}:{port}:127.0.0.1" for each in _HOSTS]
            target = urlunsplit(("http", f"{host}:{port}", *parts[2:]))
        return send(session, method, target, *given, **options)

    clients: dict[Any, Any] = yfinance.data.SingletonMeta._instances  # noqa: SLF001 - there is no other way
    try:
        # A client of before has a cookie and a crumb of some other server.
        clients.clear()
        replace_with(requests.Session, "request", send_there)
        if in_memory:
            zones, cookies = _Zones(), _Cookies()
            replace_with(yfinance.cache, "get_tz_cache", lambda: zones)
            replace_with(yfinance.cache, "get_cookie_cache", lambda: cookies)
        yield
    finally:
        for owner, name, value in reversed(replaced):
            setattr(owner, name, value)
        clients.clear()
