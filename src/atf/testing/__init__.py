"""Fakes and harnesses, shipped so that users can test what they build on ATF."""
