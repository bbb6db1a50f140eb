"""Symbols: the one spelling that ATF uses inside, and how people, files and providers write the same.

Pairs are ``BASE/QUOTE``, stocks as their exchange has them, with Yahoo's suffix outside of the United States.
Pure; no other module knows spellings.
"""

from __future__ import annotations

import re
from typing import Final

from atf.errors import InvalidInput, shown
from atf.market.patterns import NO_PATTERNS, Patterns
from atf.security.limits import LONGEST_SYMBOL

ALWAYS_OPEN: Final = "24/7"
WEEKDAYS: Final = "24/5"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FIAT: Final = _words(
    "USD EUR GBP JPY CHF AUD CAD NZD CNY CNH HKD SGD KRW INR TWD THB IDR MYR PHP VND TRY ZAR BRL MXN ARS CLP COP"
    " RUB UAH PLN CZK HUF RON BGN SEK NOK DKK ISK ILS SAR AED NGN XAU XAG XPT XPD"
)
"""Currencies and metals that are traded against each other from Monday to Friday."""
_STABLE: Final = _words("USDT USDC FDUSD TUSD BUSD USDP USDE PYUSD DAI EURC")
_COINS: Final = _STABLE | _words(
    "BTC ETH BNB XRP SOL ADA DOGE TRX DOT LTC BCH LINK XLM AVAX MATIC POL UNI ATOM ETC XMR FIL NEAR APT ARB ALGO"
    " AAVE MKR EOS XTZ DASH ZEC SHIB PEPE SUI TON ICP HBAR VET GRT SAND MANA"
)
_QUOTES: Final = _FIAT | _STABLE | {"BTC", "ETH", "BNB"}
_UNMISTAKABLE: Final = ("FDUSD", "USDT", "USDC")
"""Endings that no stock has. TUSD is none of them: DOTUSD is DOT in dollars."""
_OTHER_NAMES: Final = {"XBT": "BTC"}

_MARKS: Final = {
    "XLON": "L IL ^FTSE",
    "XETR": "DE ^GDAXI ^STOXX50E",
    "XPAR": "PA ^FCHI",
    "XAMS": "AS ^AEX",
    "XMIL": "MI",
    "XMAD": "MC ^IBEX",
    "XSWX": "SW ^SSMI",
    "XFRA": "F",
    "XBRU": "BR",
    "XLIS": "LS",
    "XWBO": "VI",
    "XSTO": "ST",
    "XCSE": "CO",
    "XHEL": "HE",
    "XOSL": "OL",
    "XICE": "IC",
    "XDUB": "IR",
    "XWAR": "WA",
    "XPRA": "PR",
    "XBUD": "BD",
    "ASEX": "AT",
    "XIST": "IS",
    "XDUS": "DU",
    "XHAM": "HM",
    "XSTU": "SG",
    "XTAL": "TL",
    "XRIS": "RG",
    "XTKS": "T ^N225",
    "XHKG": "HK ^HSI",
    "XSHG": "SS SZ",
    "XTAI": "TW TWO",
    "XKRX": "KS KQ ^KS11",
    "XBOM": "BO NS ^BSESN ^NSEI",
    "XSES": "SI",
    "XIDX": "JK",
    "XKLS": "KL",
    "XBKK": "BK",
    "XASX": "AX ^AXJO",
    "XNZE": "NZ",
    "XTSE": "TO NE ^GSPTSE",
    "XTSX": "V",
    "BVMF": "SA",
    "XMEX": "MX",
    "XBUE": "BA",
    "XSGO": "SN",
    "XJSE": "JO",
    "XTAE": "TA",
    "XSAU": "SR",
}
"""Calendars outside of the United States by Yahoo's suffixes of stocks and by the names of indices."""
_CALENDARS: Final = {mark: name for name, marks in _MARKS.items() for mark in marks.split()}

_ALLOWED: Final = re.compile(r"[A-Z0-9^$][A-Z0-9$=+&._-]*")
_PAIR: Final = re.compile(r"([A-Z0-9$]+)/([A-Z0-9]{2,}(?::[A-Z0-9]+(?:[-_][A-Z0-9]+)*)?)")
_PARTED: Final = re.compile(r"([A-Z0-9]+)[-_]([A-Z0-9]+)")
_YAHOO_FIAT: Final = re.compile(r"([A-Z]{3})?([A-Z]{3})=X")
_DOTTED: Final = re.compile(r"([A-Z]{3})\.([A-Z]{3})")
_SHARE_CLASS: Final = re.compile(r"([A-Z]{1,5})([-_/.])([A-Z])")


def canonical(symbol: str) -> str:
    """Return the spelling of a symbol that ATF uses; that spelling itself stays as it is.

    BTCUSDT, BTC-USDT and btc_usdt are BTC/USDT; EURUSD and EURUSD=X are EUR/USD; BRK-B is BRK.B. Letters that
    could be a pair as well as a stock are left alone.

    Errors: InvalidInput with ``field`` "symbol".
    """
    text = symbol.strip().upper()
    if not symbol.isascii() or not text or len(text) > LONGEST_SYMBOL:
        raise _no_symbol(symbol)
    pair = _PAIR.fullmatch(text) or _parted(text)
    if pair is not None:
        return _pair(pair[1], pair[2], symbol)
    if is_share_class(text):
        return re.sub("[-_/]", ".", text)
    joined_pair = _split(text)
    if joined_pair is not None:
        return _pair(*joined_pair, symbol)
    if not _ALLOWED.fullmatch(text) or ".." in text or text[-1] in "._-":
        raise _no_symbol(symbol)
    return text


def is_pair(symbol: str) -> bool:
    """Whether a canonical symbol is one currency or coin in units of another."""
    return "/" in symbol


def is_fiat_pair(symbol: str) -> bool:
    """Whether a canonical symbol is a pair of currencies or metals, without a coin."""
    return is_pair(symbol) and set(symbol.split("/")) <= _FIAT


def is_share_class(symbol: str) -> bool:
    """Whether a symbol is a stock of the United States and the letter of a class, such as BRK.B.

    Letters that stand for an exchange are none: VOD.L is a stock in London.
    """
    found = _SHARE_CLASS.fullmatch(symbol)
    return found is not None and found[3] not in _CALENDARS


def joined(symbol: str) -> str:
    """Return a canonical pair in one word, as exchanges name it: BTCUSDT; others stay."""
    return symbol.partition(":")[0].replace("/", "")


def yahoo_symbol(symbol: str) -> str:
    """Return how Yahoo spells a canonical symbol: BTC-USD, EURUSD=X, BRK-B, VOD.L, ^GSPC."""
    if is_fiat_pair(symbol):
        return f"{joined(symbol)}=X"
    if is_pair(symbol):
        return symbol.partition(":")[0].replace("/", "-")
    return symbol.replace(".", "-") if is_share_class(symbol) else symbol


def file_spellings(symbol: str) -> tuple[str, ...]:
    """Return the names, without ending, that a file of a canonical symbol may have, the preferred one first."""
    stem = symbol.replace("/", "_").replace(":", "_")
    names = [stem]
    if is_pair(symbol):
        names += [stem.replace("_", "-"), stem.replace("_", "")]
    elif is_share_class(symbol):
        names += [stem.replace(".", "-"), stem.replace(".", "_")]
    return tuple(dict.fromkeys([*names, *(name.lower() for name in names)]))


def calendar_name(symbol: str, overrides: Patterns = NO_PATTERNS) -> str:
    """Return the name of the trading calendar of a canonical symbol; what the user chose comes first.

    Coins trade always, currencies and what has an unknown suffix on weekdays, a plain stock in New York.
    """
    chosen = overrides.find(symbol)
    if chosen:
        return chosen[0]
    if is_pair(symbol):
        return WEEKDAYS if is_fiat_pair(symbol) else ALWAYS_OPEN
    if symbol.endswith("=F"):
        return "CMES"
    _, dot, suffix = symbol.rpartition(".")
    if not dot or is_share_class(symbol):
        return _CALENDARS.get(symbol, "XNYS") if symbol.startswith("^") else "XNYS"
    return _CALENDARS.get(suffix, WEEKDAYS)


def _parted(text: str) -> re.Match[str] | None:
    """Return base and quote of BTC-USD or BTC_USDT, and of EUR.USD."""
    found = _PARTED.fullmatch(text)
    if found is not None and found[2] in _QUOTES:
        return found
    dotted = _DOTTED.fullmatch(text)
    return dotted if dotted is not None and {dotted[1], dotted[2]} <= _FIAT else None


def _split(text: str) -> tuple[str, str] | None:
    """Return base and quote of a pair in one word; None if it might be something else."""
    yahoo = _YAHOO_FIAT.fullmatch(text)
    if yahoo is not None:
        return yahoo[1] or "USD", yahoo[2]
    if not text.isalnum():
        return None
    for at in range(len(text) - 3, 2, -1):
        base, quote = text[:at], text[at:]
        if quote in _QUOTES and (base in _FIAT or base in _COINS or base in _OTHER_NAMES):
            return base, quote
    ending = next((coin for coin in _UNMISTAKABLE if text.endswith(coin) and text != coin), None)
    return None if ending is None else (text.removesuffix(ending), ending)


def _pair(base: str, quote: str, given: str) -> str:
    base, quote = _OTHER_NAMES.get(base, base), _OTHER_NAMES.get(quote, quote)
    if base == quote:
        raise _no_symbol(given)
    return f"{base}/{quote}"


def _no_symbol(given: str) -> InvalidInput:
    return InvalidInput(
        f"{shown(given)} is no symbol; write one such as AAPL, BTC/USDT or EUR/USD", field="symbol"
    )
