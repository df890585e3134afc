"""A Ray cluster on loopback: a head without CPUs, and nodes with one each. Prints its address; lines on stdin change it.

``add`` starts a node, ``kill`` kills one with all its processes; the end of stdin ends all.
"""

import os
import sys

os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}

from ray.cluster_utils import Cluster

NODES = 2


def main() -> None:
    """Run until stdin ends."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(NODES):
        cluster.add_node(num_cpus=1)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "add":
            cluster.add_node(num_cpus=1)
        else:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
