"""Requests to the interface of one provider, such as Telegram: no URL, header or key of them is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from atf.adapters.channels.silence import silence
from atf.errors import ConfigurationError
from atf.notifications.channel import ChannelUnavailable

_CONNECT_SECONDS: Final = 10.0
_TOO_LARGE: Final = 413


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said; ``document`` is empty if it was no JSON object, such as a page of a gateway.

    ``retry_after``: the seconds of the header of that name.
    """

    status: int
    document: Mapping[str, Any]
    retry_after: float | None = None


class ProviderHttp:
    """Keeps connections to one provider.

    ``proxy``: through which it goes; what the environment says of proxies is not used. Reading has no time-out
    of its own, connecting has one of ten seconds.
    """

    def __init__(
        self, provider: str, base_url: str, *, auth: tuple[str, str] | None = None, proxy: str | None = None
    ) -> None:
        self._provider = provider
        try:
            self._client = httpx.AsyncClient(
                base_url=_checked(provider, base_url),
                auth=auth,
                proxy=proxy,
                timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
                follow_redirects=False,
                trust_env=False,
            )
        except (httpx.InvalidURL, ValueError) as exc:
            raise ConfigurationError(f"the proxy for {provider} is no URL") from exc

    async def post(
        self,
        path: str,
        fields: Mapping[str, str],
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
    ) -> Answer:
        """Send a form and return the answer, whatever its status is.

        Errors: ChannelUnavailable if there is none, or one of a gateway or a page in place of the interface's.
        """
        try:
            with silence():
                response = await self._client.post(path, data=dict(fields), files=files)
        except httpx.ConnectTimeout as exc:
            raise ChannelUnavailable(f"{self._provider} cannot be reached: no connection in time") from exc
        except httpx.ConnectError as exc:
            raise ChannelUnavailable(f"{self._provider} cannot be reached: no connection") from exc
        except (httpx.HTTPError, OSError) as exc:
            raise ChannelUnavailable(f"{self._provider} cannot be reached: the connection broke off") from exc
        answer = _answer(response)
        if answer.status >= 500 or (not answer.document and answer.status != _TOO_LARGE):
            said = "" if answer.document else " and nothing that can be read"
            raise ChannelUnavailable(f"{self._provider} is not available (HTTP {answer.status}{said})")
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _answer(response: httpx.Response) -> Answer:
    try:
        document = response.json()
    except ValueError:  # UnicodeDecodeError is one
        document = None
    waits = response.headers.get("retry-after", "")
    return Answer(
        response.status_code,
        document if isinstance(document, dict) else {},
        float(waits) if waits.isascii() and waits.isdecimal() else None,
    )


def _checked(provider: str, base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"the base URL for {provider} is none") from exc
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(f"the base URL for {provider} must begin with https:// and name a host")
    return url
