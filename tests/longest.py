"""Print the ten longest files and functions, so that growth is seen; nothing fails because of it."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def functions(file: Path) -> list[tuple[int, str]]:
    tree = ast.parse(file.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [
        (
            (node.end_lineno or node.lineno) - node.lineno + 1,
            f"{file.relative_to(SOURCE)}:{node.lineno} {node.name}",
        )
        for node in found
    ]


def main() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    lengths = [(len(file.read_text("utf-8").splitlines()), str(file.relative_to(SOURCE))) for file in files]
    for title, rows in (
        ("longest files", lengths),
        ("longest functions", [row for file in files for row in functions(file)]),
    ):
        print(f"\n{title} (lines)")
        for length, name in sorted(rows, reverse=True)[:10]:
            print(f"{length:6d}  {name}")


if __name__ == "__main__":
    main()
