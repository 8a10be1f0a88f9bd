"""A real Kubernetes control plane on loopback, for tests and measurements.

The product's promises depend on how Kubernetes really behaves, so they are checked against the real API server,
controllers and scheduler. Only the nodes are simulated (by KWOK), unless a test asks for the real one. See
docs/testbed.md. Nothing here ships with the product.
"""

from testbed import build, cluster, floor, images, manifests, realnode

__all__ = ["build", "cluster", "floor", "images", "manifests", "realnode"]
