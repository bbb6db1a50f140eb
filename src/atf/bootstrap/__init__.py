"""Composition roots, one module a process: the only place that names concrete adapters and storage."""
