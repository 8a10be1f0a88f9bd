"""Rows for pulls that a registry refuses, and for those whose cause is unknown. They are tried after `pull_causes`."""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row
from kube_job_runner.domain.failures.rules.pull_causes import pull

_image = functools.partial(row, where="container.waiting")

RULES: tuple[Rule, ...] = (
    pull(
        "pull-manifest-unknown",
        r"manifest[ _]unknown|name[ _]unknown|blob[ _]unknown|manifest for .{0,300}not found|"
        r"repository name not known|manifest tagged by|named manifest is not known|no such (image|manifest)|"
        r"image .{0,200}does not exist in|tag .{0,100}(does not exist|was deleted|has expired|not found)|"
        r"does not use the \S{1,130} tag|unsupported docker v1 repository",
        category="image_not_found",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The image of container {container}, or its tag, does not exist in the registry: {message}. "
            "Check the name and the tag. If the image is missing, push it."
        ),
        source=(
            "distribution errcode MANIFEST_UNKNOWN, NAME_UNKNOWN; ECR, ACR, Artifact Registry, Quay, Nexus, JFrog "
            "answers"
        ),
    ),
    pull(
        "pull-hub-name-unknown",
        r"pull access denied for (docker\.io/library/)?[^/\s,]+, repository does not exist|"
        r"in docker\.io/library/\S+: .{0,60}denied",
        without_names=False,
        category="image_not_found",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "Docker Hub has no official image with the name that container {container} asks for: {message}. "
            "Check the spelling, or put the registry and the owner before the name."
        ),
        source="Docker Hub answers `denied` for a repository that does not exist; moby, containers/image",
    ),
    pull(
        "pull-unauthorized",
        r"unauthori[sz]ed|\b401\b|\b403\b|forbidden|authentication (is )?required|"
        r"authorization (failed|required|token)|access (is |was |to .{0,80} (is|was) )?denied|accessdenied|"
        r"\bdenied\b|permission.{0,120}denied|no basic auth|basic auth|insufficient_?scope|not authori[sz]ed|"
        r"invalid username|incorrect username|invalid (user )?credentials|bad credentials|parse json key|"
        r"unable to retrieve auth token|login required|docker login|"
        r"credentials? (are|is|has|have) (expired|invalid|missing)|token (has |is )?(expired|invalid)|"
        r"failed to (authorize|fetch (anonymous|oauth) token)|(get|getting) credentials|"
        r"anonymous (users|access|caller)|permission to|don't have access|does not have .{0,60}access",
        category="image_unauthorized",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The registry refused to pull the image of container {container}: {message}. "
            "Check that the image exists, and that the service account has a pull secret that may read it."
        ),
        source="distribution errcode UNAUTHORIZED, DENIED; containerd ErrInvalidAuthorization; registries' own texts",
    ),
    pull(
        "pull-not-found",
        r"not ?found|\b404\b|no such image|does not exist|doesn't exist|unable to find image|is not present",
        category="image_not_found",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The image of container {container}, or its tag, does not exist: {message}. Check the name and the tag. "
            "If the image is missing, push it."
        ),
        source="containerd errdefs NotFound; HTTP 404 of registries",
    ),
    _image(
        "pull-registry-unavailable",
        reasons=("RegistryUnavailable",),
        category="registry_unavailable",
        verdict="retry_free",
        grace="registry",
        explanation=(
            "The registry of the image of container {container} does not work as it should: {message}. "
            "This is not the job's fault. The node keeps trying, and a new attempt is free."
        ),
        source="cri-api pkg/errors ErrRegistryUnavailable",
    ),
    _image(
        "pull-cause-untold",
        r"^(Back-off pulling image \S+\.?|)$",
        reasons=("ImagePullBackOff", "ErrImagePull"),
        category="unknown",
        verdict="fail_after_grace",
        grace="registry",
        explanation=(
            "The image of container {container} could not be pulled, and node {node} does not say why ({message}). "
            "Check that the image exists and that the cluster may pull it."
        ),
        source="kubelet images/image_manager.go before 1.31: the cause is told only between two tries",
    ),
)
