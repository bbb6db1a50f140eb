"""PostgreSQL run by ATF itself: found, initialised, started, shared between processes, stopped.

Only its lifecycle lives here; tables and queries do not.
"""

from atf.storage.embedded.cluster import ClusterHandle, ClusterStatus, EmbeddedCluster

__all__ = ["ClusterHandle", "ClusterStatus", "EmbeddedCluster"]
