"""What turns data into code, or words into a shell's, is in no other place than those that are explained here."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

import atf

SOURCE: Final = Path(atf.__file__).parent

EXPLAINED: Final = {
    (
        "adapters/apscheduler/tick_store.py",
        "import pickle",
    ): "reads APScheduler's rows, and only what ATF put there",
    ("testing/yahoo_redirection.py", "import pickle"): "of the test kit: reads what it has pickled itself",
    ("testing/yahoo_redirection.py", "pickle.loads"): "of the test kit: reads what it has pickled itself",
    ("cli/__init__.py", "import_module"): "loads a module of commands by a name that stands in the same file",
    ("cli/dev.py", "import_module"): "loads the local Telegram by a name that stands in the same file",
    ("indicators/talib_alone.py", "import_module"): "loads talib",
    (
        "adapters/processes/child.py",
        "import_module",
    ): "loads the handler that its worker names over a private pipe",
    (
        "adapters/backtrader/strategy_loading.py",
        "import_module",
    ): "loads, in a bot's own process, the strategy that the service has looked up in its catalogue",
    (
        "adapters/bot_processes/preloading.py",
        "import_module",
    ): "loads Backtrader and ATF's own modules by names that stand in its file and in the catalogue",
    ("services/scheduler/__main__.py", "runpy.run_module"): "runs `python -m atf`",
    ("services/trading/__main__.py", "runpy.run_module"): "runs `python -m atf`",
    ("adapters/apscheduler/tick_store.py", "import apscheduler.jobstores.sqlalchemy"): "unpickles; see there",
    ("adapters/dask/executor.py", "import distributed"): "its protocol pickles; only with ATF_DASK_ADDRESS",
    ("adapters/dask/executor.py", "import distributed.client"): "as above",
    ("adapters/dask/executor.py", "import distributed.scheduler"): "as above",
    ("adapters/dask/supervised_run.py", "import distributed"): "as above",
    ("adapters/providers/yahoo_client.py", "import yfinance"): "pickles cookies into ATF's own cache folder",
    ("adapters/providers/yahoo.py", "import yfinance.exceptions"): "as above",
    ("testing/yahoo_redirection.py", "import yfinance"): "of the test kit",
    (
        "notifications/letter_environment.py",
        "import jinja2",
    ): "reads files of the operator's in a sandbox; no message",
    ("notifications/letter_environment.py", "import jinja2.exceptions"): "as above",
    ("notifications/letter_environment.py", "import jinja2.runtime"): "as above",
    ("notifications/letter_environment.py", "import jinja2.sandbox"): "as above",
    ("notifications/letter_templates.py", "import jinja2"): "as above",
}
"""Each place, with the reason why it is no way in for strangers; docs/threat-model.md has more words."""

MODULES: Final = frozenset(
    {
        *("pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "ruamel", "code"),
        *("codeop", "jinja2", "mako", "xmlrpc", "telnetlib", "pty", "multiprocessing", "distributed", "yfinance"),
        *("apscheduler.jobstores.sqlalchemy", "xml.sax", "xml.etree", "xml.dom"),
    }
)
"""Modules that unpickle, evaluate, or read what can name more than it is."""
NAMES: Final = frozenset({"eval", "exec", "compile", "__import__"})
CALLS: Final = frozenset(
    {
        *("os.system", "os.popen", "pickle.load", "pickle.loads", "subprocess.getoutput", "tempfile.mktemp"),
        *("subprocess.getstatusoutput", "runpy.run_module", "runpy.run_path", "importlib.import_module"),
        *("numpy.load", "np.load", "asyncio.create_subprocess_shell", "shutil.unpack_archive"),
        "ssl._create_unverified_context",
    }
)
METHODS: Final = frozenset(
    {"import_module", "extractall", "create_subprocess_shell", "read_pickle", "loads_unsafe"}
)
ARGUMENTS: Final = frozenset({"shell", "allow_pickle", "trust_remote_code"})


def findings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (f"import {one.name}" for one in names if is_watched(one.name))
            case ast.ImportFrom(module=str(module), level=0):
                if is_watched(module):
                    yield f"import {module}"
            case ast.Call():
                yield from of_call(node)


def is_watched(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:length]) in MODULES for length in range(1, len(parts) + 1))


def of_call(call: ast.Call) -> Iterator[str]:
    called = ast.unparse(call.func)
    last = called.rpartition(".")[2]
    if called in NAMES or called in CALLS:
        yield "import_module" if last == "import_module" else called
    elif last in METHODS:
        yield last
    for argument in call.keywords:
        if argument.arg in ARGUMENTS and not (
            isinstance(argument.value, ast.Constant) and argument.value.value is False
        ):
            yield f"{argument.arg}={ast.unparse(argument.value)}"
        if argument.arg == "verify" and ast.unparse(argument.value) == "False":
            yield "verify=False"


@cache
def found_in_source() -> set[tuple[str, str]]:
    return {
        (str(path.relative_to(SOURCE)), finding)
        for path in SOURCE.rglob("*.py")
        for finding in findings(path.read_text("utf-8"))
    }


def test_nothing_in_the_source_turns_data_into_code_but_what_is_explained() -> None:
    unexplained = found_in_source() - EXPLAINED.keys()
    assert not unexplained, "explain it in EXPLAINED and docs/threat-model.md, or do without"


def test_no_explanation_is_left_over() -> None:
    assert EXPLAINED.keys() - found_in_source() == set()


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("import pickle", "import pickle"),
        ("from pickle import loads", "import pickle"),
        ("import yaml\nyaml.load(text)", "import yaml"),
        ("def f():\n    from multiprocessing import Pool", "import multiprocessing"),
        ("eval(text)", "eval"),
        ("exec(text, {})", "exec"),
        ("__import__(name)", "__import__"),
        ("compile(text, 'a', 'exec')", "compile"),
        ("subprocess.run(words, shell=True)", "shell=True"),
        ("subprocess.run(words, shell=is_windows)", "shell=is_windows"),
        ("os.system(words)", "os.system"),
        ("await asyncio.create_subprocess_shell(words)", "asyncio.create_subprocess_shell"),
        ("np.load(path, allow_pickle=True)", "np.load"),
        ("importlib.import_module(name)", "import_module"),
        ("import_module(name)", "import_module"),
        ("tarfile.open(path).extractall(folder)", "extractall"),
        ("httpx.AsyncClient(verify=False)", "verify=False"),
        ("import xml.etree.ElementTree", "import xml.etree.ElementTree"),
    ],
)
def test_each_dangerous_call_is_seen(source: str, finding: str) -> None:
    wrapped = f"async def f():\n{textwrap.indent(source, '    ')}"
    assert finding in set(findings(wrapped))


@pytest.mark.parametrize("source", ["re.compile(p)", "run(words, shell=False)", "text.evaluate()", "import json"])
def test_harmless_calls_are_not(source: str) -> None:
    assert list(findings(source)) == []


def test_every_exception_from_ruffs_security_rules_has_its_reason() -> None:
    bare = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (found := re.search(r"#\s*noqa:\s*[A-Z0-9, ]*\bS\d+[A-Z0-9, ]*(.*)$", line))
        and not found[1].strip(" -()")
    ]
    assert bare == []
