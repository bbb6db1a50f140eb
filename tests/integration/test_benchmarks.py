"""The benchmarks run, on sizes that measure nothing, and write what their readers expect."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.bench import Bench, Options
from benchmarks.misbehaviour import KINDS
from benchmarks.peers import compared_peers, installed_peers
from benchmarks.run import main
from rich.console import Console

PEERS = {"pgqueuer": "ratio >= 1.3", "procrastinate": "ratio >= 25"}
GOALS = {
    "jobs": {
        "drain_noop": "ratio >= 0.5",
        **{f"drain_noop_against_{peer}": PEERS[peer] for peer in installed_peers()},
        "drain_by_two_processes": "ratio >= 1",
        "drain_with_history": "ratio >= 0.9",
        "pick_up_p50": "value <= 5",
        "pick_up_p95": "value <= 10",
        "pick_up_batch_p50": "value <= 5",
        "pick_up_batch_p95": "value <= 10",
    },
    "schedules": {
        "tick": "ratio <= 2",
        "tick_missed": "value <= 0",
        "tick_loop_blocked": "value <= 100",
        "groups_due_together": "value <= 3",
        "groups_due_together_loop_blocked": "value <= 100",
        "groups_missed": "value <= 3",
        "groups_missed_loop_blocked": "value <= 100",
        "process_start": "value <= 3",
        "process_idle_cores": "value <= 0.01",
        "process_memory": "value <= 150",
    },
    "trading": {
        "bots_live": "value <= 5",
        "bots_live_again": "value <= 10",
        "order_of_one_p50": "value <= 8",
        "orders_at_once_p50": "value <= 60",
        "orders_at_once_p99": "value <= 150",
    },
    "isolation": {
        f"{kind}_{figure}": "value <= 50"
        for kind in (*KINDS, "raises_with_history")
        for figure in ("later", "latest")
    },
    "bots": {
        "bots_ready": "value <= 5",
        "bot_memory": "value <= 12",
        "bot_answer_p50": "value <= 2",
        "bots_idle": "value <= 6",
    },
    "retention": {"drop_history": "value <= 1"},
    "notifications": {
        "notify_per_second": "ratio >= 0.5",
        "notify_p99": "ratio <= 6",
        "delivered": "value >= 2000",
        "burst_lost": "value <= 0",
        "burst_violations": "value <= 0",
    },
    "alerts": {
        "arithmetic_of_ten_times_as_many": "value <= 10.5",
        "end_to_end_batch_2000": "ratio >= 0.5",
        "end_to_end_batch_2000_own_share": "value <= 0.2",
        "end_to_end_batch_5000": "ratio >= 0.5",
        "end_to_end_batch_5000_own_share": "value <= 0.2",
        "two_workers": "ratio >= 1.4",
    },
    "data": {
        "import": "ratio >= 0.5",
        "read": "ratio >= 0.5",
        "read_warm": "value <= 5",
        "read_warm_later": "value <= 5",
        "callers_of_one_fetches": "value <= 50",
        "callers_of_all_fetches": "value <= 50",
        "hanging_ticker": "ratio <= 1.5",
        "indicators": "ratio <= 1.1",
        "indicators_together": "ratio <= 1.1",
        "indicator_call_overhead": "value <= 20",
        "indicator_call_overhead_worst": "value <= 20",
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


@pytest.mark.parametrize("name", GOALS)
def test_a_quick_benchmark_writes_its_result(name: str, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=160)
    status = main(
        [name, "--quick", "--results", str(tmp_path)], probe_in=lambda _: lambda: 0.001, console=console
    )
    assert status == 0, console.file.getvalue()  # type: ignore[attr-defined]
    result = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
    assert result["name"] == name
    assert result["quick"] is True
    assert {"commit", "date", "size", "disk_sync_ms", "notes"} < set(result)
    assert {"cpu", "cores", "memory_bytes", "kernel"} < set(result["machine"])
    assert {"python", "atf", "postgresql", "numpy", "sqlalchemy", "psycopg"} < set(result["versions"])
    assert {each["metric"]: each["goal_text"] for each in result["metrics"] if each["goal_text"]} == GOALS[name]
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


def test_a_peer_that_is_not_installed_is_left_out_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.peers.find_spec", lambda _: None)
    bench = Bench(tmp_path, Options(quick=True), lambda: 0.001)
    assert compared_peers(bench) == {}
    assert [note for note in bench.notes if "pgqueuer" in note]
    assert [note for note in bench.notes if "procrastinate" in note]
