"""How a service and its process begin, work and end: one contract for all of them."""

from atf.lifecycle.group import ServiceGroup
from atf.lifecycle.process import LIFELINE_VARIABLE, run_process
from atf.lifecycle.progress import Progress
from atf.lifecycle.service import Service

__all__ = ["LIFELINE_VARIABLE", "Progress", "Service", "ServiceGroup", "run_process"]
