"""The fixtures of the test kit, for every suite."""

pytest_plugins = ["atf.testing.pytest_plugin"]
