"""Print how much of each room the last test run has executed; nothing fails because of it."""

from collections import defaultdict
from pathlib import Path

from coverage import Coverage

SOURCE = Path(__file__).parents[1] / "src" / "atf"


def main() -> None:
    coverage = Coverage()
    coverage.load()
    rooms: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file in sorted(SOURCE.rglob("*.py")):
        _, statements, _, missing, _ = coverage.analysis2(str(file))
        room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        rooms[room][0] += len(statements)
        rooms[room][1] += len(missing)
    print("\ncoverage by room (statements executed by the tests' own processes)")
    for room, (total, unseen) in sorted(rooms.items()):
        if total:
            print(f"{100 * (total - unseen) / total:6.1f} %  {total:5d}  {room}")


if __name__ == "__main__":
    main()
