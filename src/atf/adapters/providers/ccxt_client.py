"""The library ccxt as a provider needs it: one client of one exchange, and its errors in ours.

ccxt is an extra, and takes seconds to load: it is imported when an exchange is first asked, in a thread.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from atf.errors import AtfError, ConfigurationError, NotFound, TemporaryFailure
from atf.market.bars import Series

_UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What ccxt's parsers raise on an answer that is JSON, and yet not what the exchange promises."""


async def open_client(
    exchange_id: str, *, base_url: str | None, patience: timedelta, settings: Mapping[str, Any]
) -> Any:
    """Return a ccxt client; its ``session`` is to be closed by the caller.

    Errors: ConfigurationError without the extra, or for an exchange that ccxt does not have.
    """
    module = await asyncio.to_thread(_import_ccxt)
    if exchange_id not in module.exchanges:
        near = get_close_matches(exchange_id, module.exchanges, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigurationError(f"no exchange {exchange_id!r} in ccxt{hint}")
    client = _strict(getattr(module, exchange_id))(
        {
            "timeout": round(patience.total_seconds() * 1000),
            **settings,
            "enableRateLimit": True,
            "session": _session(),
        }
    )
    client.has["fetchCurrencies"] = False  # a second, larger answer that bars do not need
    if exchange_id.startswith("binance") and "spot" in client.options.get("fetchMarkets", {}).get("types", []):
        client.options["fetchMarkets"] = {**client.options["fetchMarkets"], "types": ["spot"]}
    if base_url is not None:
        client.urls["api"] = _moved(client.urls["api"], base_url)
    return client


async def exchange_names() -> frozenset[str]:
    """Return the exchanges that ccxt has. Errors: ConfigurationError without the extra."""
    return frozenset((await asyncio.to_thread(_import_ccxt)).exchanges)


def _import_ccxt() -> Any:
    try:
        import ccxt.async_support
    except ImportError as exc:
        raise ConfigurationError("bars of exchanges need an extra: pip install 'atf[crypto]'") from exc
    return ccxt.async_support


def _session() -> Any:
    """Return a session of our own: ccxt's is closed only after a pause, and made with an outdated option."""
    import aiohttp
    import certifi

    trusted = ssl.create_default_context(cafile=certifi.where())
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted))


def _strict(exchange: type[Any]) -> type[Any]:
    """Return a class of clients that take nothing but JSON for an answer and keep Retry-After with the error.

    ccxt itself passes an HTML page or half a document on to its parsers, which see no markets and no bars in it.
    """
    from ccxt.base import errors

    class StrictClient(exchange):  # type: ignore[misc]
        async def fetch(self, url: str, *args: Any, **kwargs: Any) -> Any:
            answer = await super().fetch(url, *args, **kwargs)
            if not isinstance(answer, dict | list):
                raise errors.BadResponse(f"{self.id} did not answer with JSON")
            return answer

        def parse_ohlcv(self, *args: Any, **kwargs: Any) -> Any:
            row = super().parse_ohlcv(*args, **kwargs)
            if row[0] is None:  # ccxt would drop it, and what is left looks like an answer without bars
                raise errors.BadResponse(f"{self.id} gave a bar without a time")
            return row

        def handle_errors(
            self, code: int, reason: str, url: str, method: str, headers: dict[str, str], body: str, *rest: Any
        ) -> None:
            try:
                super().handle_errors(code, reason, url, method, headers, body, *rest)
                self.handle_http_status_code(code, reason, url, method, body)
                if code >= 400:
                    raise errors.ExchangeNotAvailable(f"{self.id} {code}")
            except errors.BaseError as exc:
                exc.retry_after = _retry_after(headers, datetime.now(UTC))
                raise

    return StrictClient


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that the other side asks to wait: a number of them, or the date when it may be asked."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _moved(urls: Any, base_url: str) -> Any:
    """Return the addresses of an exchange with another scheme and host."""
    if isinstance(urls, dict):
        return {name: _moved(each, base_url) for name, each in urls.items()}
    if not isinstance(urls, str):
        return urls
    new = urlsplit(base_url)
    return urlunsplit(urlsplit(urls)._replace(scheme=new.scheme, netloc=new.netloc))


@contextmanager
def own_errors(name: str, series: Series | None = None) -> Iterator[None]:
    """Convert what ccxt raises into errors that say what the caller must do; NotFound only of a named series."""
    from aiohttp import ClientError
    from ccxt.base.errors import BaseError

    try:
        yield
    except AtfError:
        raise
    except BaseError as exc:
        raise _translated(name, series, exc) from exc
    except (OSError, ClientError) as exc:
        raise TemporaryFailure(f"{name} cannot be reached") from exc
    except _UNREADABLE as exc:
        raise TemporaryFailure(f"{name} gave an answer that cannot be read") from exc


def _translated(name: str, series: Series | None, exc: Exception) -> AtfError:
    from ccxt.base import errors

    if series is not None and isinstance(exc, errors.BadSymbol):
        return NotFound(f"{name} does not know {series.symbol}")
    if series is not None and isinstance(exc, errors.NotSupported | errors.BadRequest):
        return NotFound(f"{name} does not have these bars of {series}")
    if isinstance(exc, errors.AuthenticationError | errors.InvalidProxySettings):
        return ConfigurationError(f"{name} refuses the request: it wants an account, or the proxy a password")
    return TemporaryFailure(f"{name} {_trouble(exc)}", retry_after_seconds=getattr(exc, "retry_after", None))


def _trouble(exc: Exception) -> str:
    from ccxt.base import errors

    if isinstance(exc, errors.RateLimitExceeded | errors.DDoSProtection):
        return "takes no more requests for now"
    if isinstance(exc, errors.OnMaintenance):
        return "is under maintenance"
    if isinstance(exc, errors.RequestTimeout):
        return "did not answer in time"
    if isinstance(exc, errors.NetworkError):
        return "is not available"
    if isinstance(exc, errors.ExchangeError) and exc.__cause__ is None:
        return "reports an error"
    return "gave an answer that cannot be read"
