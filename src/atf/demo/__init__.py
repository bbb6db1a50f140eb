"""The demo: real prices that ship with ATF, replayed through the whole pipeline."""
