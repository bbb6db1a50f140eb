"""ATF, the Advanced Trading Framework: background services for a trader's own machine."""

__version__ = "0.1.0"


def main() -> None:
    """Run the ``atf`` command; the command line is imported here so that ``import atf`` stays cheap."""
    from atf.cli import run

    run()
