"""How a result is shown and written: a table for people, a file for the next run to be compared with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.machine import commit
from benchmarks.measure import Metric


def result_of(name: str, bench: Bench, machine: dict[str, Any]) -> dict[str, Any]:
    """Return the file's content."""
    syncs = bench.disk_syncs
    return {
        "name": name,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": bench.options.quick,
        "size": bench.options.size,
        "machine": machine,
        "versions": bench.versions,
        "disk_sync_ms": {"median": median(syncs) * 1000, "max": max(syncs) * 1000} if syncs else None,
        "notes": bench.notes,
        "metrics": [_rounded(metric.as_json()) for metric in bench.metrics],
    }


def write(result: dict[str, Any], folder: Path) -> Path:
    """Write a result and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['name']}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return path


def show(name: str, metrics: Sequence[Metric], console: Console) -> None:
    """Print a table; the range is that of the ratio where there is one, else of the value."""
    table = Table(title=f"bench_{name}", title_justify="left")
    table.add_column("metric")
    for column in ("value", "unit", "baseline", "ratio", "goal", "met", "rounds", "range"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    for metric in metrics:
        rounds = f"{metric.rounds}" + (f" (+{metric.void_rounds} void)" if metric.void_rounds else "")
        low, high = metric.spread.get("ratio", metric.spread["value"])
        table.add_row(
            metric.metric,
            _shown(metric.value),
            metric.unit,
            _shown(metric.baseline),
            _shown(metric.ratio),
            "" if metric.goal is None else str(metric.goal),
            {None: "", True: "true", False: "[bold red]false[/]"}[metric.met],
            rounds,
            f"{_shown(low)} .. {_shown(high)}",
        )
    console.print(table)


def _shown(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.3g}"


def _rounded(node: Any) -> Any:
    """Four digits say all that a measurement can say, and keep the file's differences readable."""
    if isinstance(node, dict):
        return {name: _rounded(part) for name, part in node.items()}
    if isinstance(node, list):
        return [_rounded(part) for part in node]
    return float(f"{node:.4g}") if isinstance(node, float) else node
