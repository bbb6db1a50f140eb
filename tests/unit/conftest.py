"""Settings of all unit tests."""

from hypothesis import settings

# An example's time says more about what else the machine does than about our code.
settings.register_profile("atf", deadline=None)
settings.load_profile("atf")
