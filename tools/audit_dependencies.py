"""Ask pip-audit whether a known vulnerability is in what is installed here; `make check` ends with it.

It fails for a vulnerability alone. Without pip-audit, without a network, or if the service does not answer in
time, it says in one line that nothing was looked at: a checkout on a train must pass its checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

PATIENCE_SECONDS = 180
REQUEST_SECONDS = 10
ACCEPTED: dict[str, str] = {}
"""Advisories that are known and do no harm here, each with the reason."""


def main() -> int:
    """Audit, and return the exit status."""
    if find_spec("pip_audit") is None:
        return skipped("pip-audit is not installed (pip install pip-audit)")
    # What is installed from a folder, as ATF itself, is on no index: another project may have its name there.
    words = ["--local", "--skip-editable", "--format", "json", "--progress-spinner", "off"]
    words += ["--timeout", str(REQUEST_SECONDS)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return skipped(f"it did not answer within {PATIENCE_SECONDS} seconds")
    try:
        audited = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return skipped(f"no answer: {lines[-1].strip()[:200] if lines else f'exit status {done.returncode}'}")
    return judged(audited)


def judged(audited: list[dict[str, Any]]) -> int:
    """Tell what was found; 1 if anything must be mended."""
    found = 0
    for one in audited:
        for advisory in one.get("vulns", ()):
            if not {advisory["id"], *advisory.get("aliases", ())} & ACCEPTED.keys():
                found += 1
                fixed = ", ".join(advisory.get("fix_versions", ())) or "no version yet"
                print(f"vulnerable: {one['name']} {one['version']}, {advisory['id']}, fixed in {fixed}")
    looked_at = sum("vulns" in one for one in audited)
    if not looked_at:  # a mirror of packages alone answers so
        return skipped(f"no answer: the service knows none of {len(audited)} packages")
    print(f"dependencies: {looked_at} of {len(audited)} audited, {found} vulnerabilities")
    return 1 if found else 0


def skipped(reason: str) -> int:
    """Tell that nothing was looked at, and why."""
    print(f"dependencies: not audited: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
