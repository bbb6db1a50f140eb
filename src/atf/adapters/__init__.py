"""Everything outside, behind the Protocols of the rooms: providers, channels, timers."""
