"""``tools/audit_dependencies.py`` against a pip-audit that says what a test wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "audit_dependencies.py"
ADVISORY = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"], "description": "bad"}


def run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run the tool with a module pip_audit whose text this is."""
    (folder / "pip_audit.py").write_text(body)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, TOOL], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def saying(vulnerabilities: list[Any], status: int) -> str:
    found = {"dependencies": [{"name": "some", "version": "1.0", "vulns": vulnerabilities}], "fixes": []}
    return f"import sys\nprint({json.dumps(json.dumps(found))})\nsys.exit({status})"


def test_a_known_vulnerability_fails_and_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, saying([ADVISORY], 1))
    assert done.returncode == 1
    assert "vulnerable: some 1.0, PYSEC-1, fixed in 1.1" in done.stdout


def test_none_passes(tmp_path: Path) -> None:
    done = run(tmp_path, saying([], 0))
    assert (done.returncode, done.stdout) == (0, "dependencies: 1 of 1 audited, 0 vulnerabilities\n")


@pytest.mark.parametrize(
    "body",
    [
        "import sys\nsys.exit('ERROR: Could not connect to the vulnerability feed')",
        "raise SystemExit(1)",
        "print('{}')",
        "print('[]')",
        """print('{"dependencies": [{"name": "a", "version": "1", "skip_reason": "not found"}]}')""",
        "raise ImportError('half installed')",
    ],
)
def test_without_an_answer_it_passes_and_says_in_one_line_that_nothing_was_looked_at(
    tmp_path: Path, body: str
) -> None:
    done = run(tmp_path, body)
    assert done.returncode == 0
    assert done.stdout.startswith("dependencies: not audited: no answer")
    assert done.stdout.count("\n") == 1


def test_an_audit_without_end_is_given_up(tmp_path: Path) -> None:
    short = tmp_path / "short.py"
    short.write_text(TOOL.read_text().replace("PATIENCE_SECONDS = 180", "PATIENCE_SECONDS = 1"))
    (tmp_path / "pip_audit.py").write_text("import time\ntime.sleep(60)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, short], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (
        0,
        "dependencies: not audited: it did not answer within 1 seconds\n",
    )
