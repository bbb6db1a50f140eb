"""A plug-in package with two job types, made in a folder of the test's own and found as an installed one is.

``noted`` does its work inside the worker, ``heavy_noted`` in a child process. Each writes a line for every
attempt that it makes: what a run has done to the world can be counted afterwards, whatever was killed meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Final

_MODULE: Final = """
    import asyncio, os
    from datetime import timedelta
    from pathlib import Path

    from atf.jobs.job_type import JobLimits, JobTypeDefinition
    from atf.schedules.misfire import MisfirePolicy

    FOLDER = Path(__file__).parent

    def note(run_id, attempt, word):
        with (FOLDER / "effects.txt").open("a") as file:
            file.write(f"{run_id} {attempt} {word} {os.getpid()}\\n")

    def definition(name):
        limits = JobLimits(timedelta(seconds=60), 50, timedelta(seconds=0.2), 10)
        return JobTypeDefinition(name, lambda *_: None, limits, misfire_policy=MisfirePolicy.RUN_ALL)

    class NotedHandler:
        job_type = "noted"

        async def handle(self, job):
            note(job.run_id, job.attempt, "began")
            gate = job.task_params.get("gate")
            while gate and not (FOLDER / gate).exists():
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)  # so that whoever is killed has some in hand
            return {"attempt": job.attempt, "pid": os.getpid()}

    class HeavyNotedHandler:
        job_type = "heavy_noted"
        compute = "atf_chaos_jobs:compute"

        async def prepare(self, job):
            return {"run_id": str(job.run_id), "attempt": job.attempt}

    def compute(document):
        note(document["run_id"], document["attempt"], "computed")
        return {"attempt": document["attempt"]}

    class Noted:
        definition = definition("noted")
        @staticmethod
        def build_handler(settings):
            return NotedHandler()

    class HeavyNoted:
        definition = definition("heavy_noted")
        @staticmethod
        def build_handler(settings):
            return HeavyNotedHandler()
"""
_ENTRY_POINTS: Final = """
    [atf.job_types]
    noted = atf_chaos_jobs:Noted
    heavy_noted = atf_chaos_jobs:HeavyNoted
"""
_METADATA: Final = """
    Metadata-Version: 2.1
    Name: atf-chaos-jobs
    Version: 1
"""


class JobPlugin:
    """The plug-in's folder, which goes onto PYTHONPATH, and what its handlers have left there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        info = folder / "atf_chaos_jobs-1.dist-info"
        info.mkdir(parents=True)
        (folder / "atf_chaos_jobs.py").write_text(dedent(_MODULE))
        (info / "entry_points.txt").write_text(dedent(_ENTRY_POINTS).lstrip())
        (info / "METADATA").write_text(dedent(_METADATA).lstrip())

    def open_gate(self, name: str) -> None:
        """Let those runs go on that wait for it."""
        (self.folder / name).touch()

    def effects(self) -> list[tuple[str, int, str]]:
        """Return run, attempt and process of every attempt that began; a line cut by a kill is left out."""
        file = self.folder / "effects.txt"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [(line[0], int(line[1]), line[3]) for line in lines if len(line) == 4]
