"""The library yfinance as ATF uses it: opened with the first request, called in threads, its errors converted.

All that asks Yahoo in a process shares one client: the library has a single place for the session, the cookie and
the crumb that Yahoo wants back, whoever asks.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from atf.adapters.providers.yahoo_session import AnswerNotes, open_session
from atf.errors import AtfError, ConfigurationError, InvalidInput, NotFound, TemporaryFailure
from atf.market.symbols import canonical, yahoo_symbol

_ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_COOKIE_KEY: Final = "curlCffi"
"""What yfinance calls the cookie in its file."""
_UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Result = TypeVar("Result")


class YahooClient:
    """The library, a session for it, and threads that wait for the network.

    ``notes`` holds what the last answer to a thread said; ``timeout`` is in seconds, for each request.
    """

    def __init__(self, timeout: timedelta, calls_at_once: int, cache_folder: Path | None = None) -> None:
        """``cache_folder``: where yfinance keeps time zones and cookies; its own place if not given."""
        self.timeout = timeout.total_seconds()
        self.notes = AnswerNotes()
        self._cache_folder = cache_folder
        self._opening = threading.Lock()
        self._library: Any = None
        self._session: Any = None
        self._threads = ThreadPoolExecutor(calls_at_once, thread_name_prefix="yahoo")

    async def in_thread(self, call: Callable[[], Result]) -> Result:
        """Call in the pool; who is cancelled does not wait, the thread ends with the library's time-out."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def aclose(self) -> None:
        """Let the threads go; one that waits for the network ends with the library's time-out."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def asking(self, symbol: str) -> Iterator[tuple[Any, Any, str]]:
        """Yield the library, the session and Yahoo's spelling of a symbol.

        Errors: NotFound, TemporaryFailure and ConfigurationError in place of what the library raises inside.
        """
        name = yahoo_name(symbol)
        library, session = self._opened()
        try:
            yield library, session, name
        except AtfError:
            raise
        except library.exceptions.YFRateLimitError as exc:
            raise TemporaryFailure("yahoo takes no more requests for now") from exc
        except library.exceptions.YFTickerMissingError as exc:
            raise NotFound(f"yahoo does not know {name}") from exc
        except OSError as exc:
            trouble = "did not answer in time" if "Timeout" in type(exc).__name__ else "cannot be reached"
            raise TemporaryFailure(f"yahoo {trouble}") from exc
        except (library.exceptions.YFException, *_UNREADABLE) as exc:
            raise TemporaryFailure("yahoo gave an answer that cannot be read") from exc
        finally:
            # yfinance keeps answers about the past for ever, also pages of HTML in their place.
            library.data.YfData.cache_get.cache_clear()

    def forget_cookie(self) -> None:
        """Have the library fetch another cookie, after Yahoo did not take this one.

        By itself it would take the one of its file again, for as long as that is not expired: a year.
        """
        library, session = self._opened()
        library.cache.get_cookie_cache().store(_COOKIE_KEY, None)
        session.cookies.clear()

    def _opened(self) -> tuple[Any, Any]:
        """Return the library and a session for it, made with the first request."""
        with self._opening:
            if self._library is None:
                self._library = _import_library(self._cache_folder)
                self._session = open_session(self.timeout, self.notes)
            return self._library, self._session


def yahoo_name(symbol: str) -> str:
    """Return Yahoo's spelling.

    Errors: NotFound for what is no symbol, or a number that yfinance would look up somewhere.
    """
    try:
        spelled = yahoo_symbol(canonical(symbol))
    except InvalidInput as exc:
        raise NotFound(f"yahoo does not know {symbol}: {exc}") from exc
    if _ISIN.fullmatch(spelled):
        raise NotFound(f"yahoo does not know {symbol}: an ISIN is not a symbol")
    return spelled


def _import_library(cache_folder: Path | None) -> Any:
    try:
        import curl_cffi  # noqa: F401 - the library would do without it; Yahoo's servers would not
        import yfinance
    except ImportError as exc:
        raise ConfigurationError("data of Yahoo needs an extra: pip install 'atf[yahoo]'") from exc
    # yfinance 1.7 asks for a warning at each use of what pandas 3.1 calls outdated, which is no user's business.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="yfinance")
    # What it logs as an error is raised as well, and told in our words.
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    yfinance.config.debug.hide_exceptions = False
    if cache_folder is not None:
        yfinance.set_tz_cache_location(str(cache_folder))
    return yfinance
