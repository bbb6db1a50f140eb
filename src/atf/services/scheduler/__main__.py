"""``python -m atf.services.scheduler <command>`` is ``atf scheduler <command>``; without a command it starts.

The command line lies above the services and may not be imported from here. It is run as the program that it is,
in this very process, so that process id, signals and exit status are those of the ``atf`` command.
"""

import runpy
import sys

sys.argv = ["atf", "scheduler", *(sys.argv[1:] or ["start"])]
runpy.run_module("atf", run_name="__main__", alter_sys=True)
