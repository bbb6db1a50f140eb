"""``python -m atf.services.trading [options]`` is ``atf trading start [options]``.

The command line lies above the services and may not be imported from here. It is run as the program that it is,
in this very process, so that process id, signals and exit status are those of the ``atf`` command.
"""

import runpy
import sys

_COMMANDS = ("start", "reconcile", "--help")
words = sys.argv[1:]
sys.argv = ["atf", "trading", *(words if words[:1] and words[0] in _COMMANDS else ["start", *words])]
runpy.run_module("atf", run_name="__main__", alter_sys=True)
