"""A plug-in package whose job types have sensitive fields, made in a folder and found as an installed one is.

``courier`` does what its parameter ``do`` says, with its token in hand; ``heavy_courier`` hands on to a child
process what that must know, which is not the token.
"""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

PACKAGE: Final = "atf_test_courier"
_SECRET: Final = {"type": "string", "minLength": 6, "x-sensitive": True}
PARAMS: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["token"],
    "properties": {
        "token": _SECRET,
        "do": {"enum": ["return", "raise", "log", "echo", "temporary"]},
        "hooks": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"url": {"type": "string"}, "key": _SECRET},
            },
        },
    },
}
RESULT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"session": {"type": "string", "x-sensitive": True}},
}
_MODULE: Final = """
    import logging
    import os
    from datetime import timedelta

    from atf.errors import TemporaryFailure
    from atf.jobs.job_type import JobLimits, JobTypeDefinition
    from atf.jobs.schema_validator import SchemaValidator

    SCHEMAS = SchemaValidator("atf_test_courier", root="task_params")

    def definition(name):
        return JobTypeDefinition(
            name,
            lambda target, task_params: SCHEMAS.validate(task_params, "courier"),
            JobLimits(timedelta(seconds=20), 1, timedelta(seconds=0.1), 10),
            sensitive_params=SCHEMAS.sensitive("courier"),
            sensitive_result=SCHEMAS.sensitive("courier_result"),
        )

    class CourierHandler:
        job_type = "courier"

        async def handle(self, job):
            token, do = job.task_params["token"], job.task_params.get("do", "return")
            if do == "log":
                logging.getLogger("courier").warning("sending with %s", token, extra={"header": f"x {token}"})
                logging.getLogger("courier").warning("token=%s", token)
            if do == "raise":
                raise ValueError(f"the other side refuses {token}")
            if do == "temporary":
                raise TemporaryFailure(f"not now, {token}", retry_after_seconds=5)
            note = f"sent with {token}" if do == "echo" else "sent"
            return {"session": f"session-of-{token}", "length": len(token), "note": note}

    class HeavyCourierHandler:
        job_type = "heavy_courier"
        compute = "atf_test_courier:compute"

        async def prepare(self, job):
            return {"length": len(job.task_params["token"])}

    def compute(document):
        return {**document, "environment": dict(os.environ)}

    class Plugin:
        def __init__(self, name, handler):
            self.definition = definition(name)
            self._handler = handler

        def build_handler(self, settings):
            return self._handler()

    COURIER = Plugin("courier", CourierHandler)
    HEAVY = Plugin("heavy_courier", HeavyCourierHandler)
"""
_ENTRY_POINTS: Final = """
    [atf.job_types]
    courier = atf_test_courier:COURIER
    heavy_courier = atf_test_courier:HEAVY
"""


def install(folder: Path) -> Path:
    """Write the package into a folder, which belongs onto the path."""
    schemas = folder / PACKAGE / "schemas"
    schemas.mkdir(parents=True)
    (folder / PACKAGE / "__init__.py").write_text(dedent(_MODULE))
    (schemas / "courier.schema.json").write_text(json.dumps(PARAMS))
    (schemas / "courier_result.schema.json").write_text(json.dumps(RESULT))
    info = folder / f"{PACKAGE}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: atf-test-courier\nVersion: 1\n")
    (info / "entry_points.txt").write_text(dedent(_ENTRY_POINTS).lstrip())
    return folder
