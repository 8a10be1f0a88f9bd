"""Rows for what the kubelet says about an image before it pulls: its name, its policy, the node's own store."""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row
from kube_job_runner.domain.failures.rules.shared import NODE_FAULT

PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})

_image = functools.partial(row, where="container.waiting")

RULES: tuple[Rule, ...] = (
    _image(
        "image-name-invalid",
        reasons=("InvalidImageName",),
        category="image_reference_invalid",
        verdict="fail_now",
        explanation=(
            "The image of container {container} is not a valid image reference: {message}. "
            "Correct it: lower case, no spaces, no `https://`, no unexpanded variable."
        ),
        source="kubelet images/types.go ErrInvalidImageName; distribution reference",
    ),
    _image(
        "image-signature",
        reasons=("SignatureValidationFailed",),
        category="image_policy",
        verdict="fail_now",
        explanation=(
            "The image of container {container} did not pass the node's signature policy: {message}. "
            "Sign the image, or use one that the policy allows."
        ),
        source="cri-api pkg/errors ErrSignatureValidationFailed; CRI-O",
    ),
    _image(
        "image-never-pulled",
        reasons=("ErrImageNeverPull",),
        category="image_not_found",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "Node {node} has no copy of the image of container {container}, and the pull policy `Never` forbids "
            "pulling it. Load the image onto the nodes, or use another pull policy."
        ),
        source="kubelet images/image_manager.go",
    ),
    _image(
        "image-short-name",
        r"short.?name .{0,300}(did not resolve|ambiguous|enforcing)|no unqualified.search registries",
        reasons=PULL | {"ImageInspectError"},
        category="image_reference_invalid",
        verdict="fail_now",
        explanation=(
            "The image of container {container} names no registry, and the nodes may not guess one: {message}. "
            "Write the registry before the name, as in `docker.io/library/busybox:1`."
        ),
        source="containers/image pkg/shortnames; CRI-O",
    ),
    _image(
        "image-store-full",
        r"no space left on device|disk quota exceeded",
        reasons=("ImageInspectError",),
        category="node_disk_full",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The disk of node {node} is full: {message}. A new attempt on another node is free.",
        source="kubelet images/image_manager.go; kernel ENOSPC",
    ),
    _image(
        "image-store-broken",
        reasons=("ImageInspectError",),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not read its image store: {message}." + NODE_FAULT,
        source="kubelet images/types.go ErrImageInspect",
    ),
)
