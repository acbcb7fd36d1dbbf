"""Many machines, through Ray: the only door to it."""

from srdeploy.cluster.run import Cluster, open_cluster

__all__ = ["Cluster", "open_cluster"]
