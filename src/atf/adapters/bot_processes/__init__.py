"""Bots' processes from outside: the zygote that forks them, and the service's end of both."""
