"""The benchmarks run, on sizes that measure nothing, and write what their readers expect."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.run import main
from rich.console import Console

GOALS = {
    "jobs": {
        "drain_noop": "ratio >= 0.5",
        "drain_with_history": "ratio >= 0.9",
        "tick": "ratio <= 2",
        "tick_loop_blocked": "value <= 100",
        "pick_up_p50": "value <= 5",
        "pick_up_p95": "value <= 10",
    },
    "alerts": {
        "parse": "value >= 25000",
        "end_to_end": "ratio >= 0.5",
        "end_to_end_batch_2000": "ratio >= 0.5",
        "end_to_end_batch_2000_own_share": "value <= 0.2",
    },
}
FIELDS = {
    "metric",
    "value",
    "unit",
    "baseline",
    "ratio",
    "goal",
    "goal_text",
    "met",
    "rounds",
    "void_rounds",
    "spread",
}


@pytest.mark.parametrize("name", ["jobs", "alerts"])
def test_a_quick_benchmark_writes_its_result(name: str, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=160)
    status = main(
        [name, "--quick", "--results", str(tmp_path)], probe_in=lambda _: lambda: 0.001, console=console
    )
    assert status == 0, console.file.getvalue()  # type: ignore[attr-defined]
    result = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
    assert result["name"] == name
    assert result["quick"] is True
    assert {"commit", "date", "size", "disk_sync_ms"} < set(result)
    assert {"cpu", "cores", "memory_bytes", "kernel"} < set(result["machine"])
    assert {"python", "atf", "postgresql", "numpy", "sqlalchemy", "psycopg"} < set(result["versions"])
    assert {each["metric"]: each["goal_text"] for each in result["metrics"] if each["goal"]} == GOALS[name]
    for each in result["metrics"]:
        _check(each)


def _check(metric: dict[str, Any]) -> None:
    assert set(metric) == FIELDS
    assert metric["value"] >= 0
    assert (metric["baseline"] is None) == (metric["ratio"] is None)
    assert (metric["goal"] is None) == (metric["met"] is None)
    assert (metric["rounds"], metric["void_rounds"]) == (1, 0)
    low, high = metric["spread"]["value"]
    assert low <= metric["value"] <= high
