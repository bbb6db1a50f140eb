"""``python -m atf`` is the ``atf`` command."""

from atf import main

main()
