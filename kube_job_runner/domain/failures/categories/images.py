"""Categories of images and registries."""

import functools

from kube_job_runner.domain.failures.categories.category import category

_user = functools.partial(category, "user")
_external = functools.partial(category, "external")

CATEGORIES = (
    _user(
        "image_not_found",
        "The image or its tag does not exist",
        "The registry has no such repository, tag or digest; or the node may not pull and has no copy.",
        "Check the image's name and tag for typos. On Docker Hub, put the owner before the name.",
        "Push the image if it was never pushed, or if a retention rule of the registry removed it.",
        verdict="fail_after_grace",
        settings="KJR_IMAGE_GRACE_SECONDS",
    ),
    _user(
        "image_unauthorized",
        "The registry refused the pull",
        "The registry asked for credentials, or the given credentials may not read the image. "
        "Many registries answer the same for an image that does not exist.",
        "Check that the image exists, by pulling it with the same credentials.",
        "Give the namespace's service account a pull secret (`imagePullSecrets`) that may read the image.",
        "Credentials of cloud registries expire. Check that the tool that renews them still runs.",
        verdict="fail_after_grace",
        settings="KJR_IMAGE_GRACE_SECONDS",
    ),
    _user(
        "image_platform",
        "The image is not built for the node's CPU type or system",
        "The image exists, but its index has no entry for the platform of the chosen node.",
        "Build the image for several platforms (`docker buildx build --platform linux/amd64,linux/arm64`).",
        "Or choose nodes of the right type with a node selector on `kubernetes.io/arch`.",
        verdict="fail_after_grace",
        settings="KJR_IMAGE_GRACE_SECONDS",
    ),
    _user(
        "image_policy",
        "A policy forbids the image",
        "The registry or the node has a policy on images (vulnerabilities, signatures, quarantine), and this image "
        "does not pass it.",
        "Use an image that passes: scanned, fixed, signed.",
        "Or ask the owner of the registry or of the nodes for an exception.",
        verdict="fail_now",
    ),
    _user(
        "image_reference_invalid",
        "The image's name is not a valid reference",
        "The text given as image cannot be the name of an image: it has upper case, spaces, `https://`, or an "
        "unexpanded variable.",
        "Correct the image of the job, for example `registry.example.com/team/app:1.2`.",
        verdict="fail_now",
    ),
    _user(
        "image_unreadable",
        "The runtime cannot read the image",
        "The image is in the registry, but in a form that the node's runtime does not support, such as manifest schema 1.",
        "Build and push the image again with a current tool.",
        verdict="fail_after_grace",
        settings="KJR_IMAGE_GRACE_SECONDS",
    ),
    _external(
        "registry_unavailable",
        "The registry is unreachable or does not work",
        "Something failed between the node and the registry: DNS, the connection, TLS, a timeout, or the registry itself (5xx).",
        "Nothing, if it passes: the node keeps trying, and a new attempt is free.",
        "If it lasts: check from a node that the registry's host resolves and answers.",
        "An unknown certificate authority or plain HTTP must be configured on the nodes; it does not go away by itself.",
        verdict="retry_free",
        settings="KJR_REGISTRY_GRACE_SECONDS",
    ),
    _external(
        "registry_rate_limited",
        "The registry limits the rate of pulls",
        "There were too many pulls in a short time. "
        "The registry (429, `toomanyrequests`) or the kubelet's own limit makes them wait.",
        "Nothing, if it passes: the node retries.",
        "Pull with credentials, through a mirror or a pull-through cache, or less often (`IfNotPresent`).",
        verdict="retry_free",
        settings="KJR_REGISTRY_GRACE_SECONDS",
    ),
    _external(
        "registry_quota",
        "The registry's own quota is used up",
        "The account at the registry has no transfer, storage or billing allowance left. "
        "Unlike a rate limit, this does not pass in minutes.",
        "Raise the allowance at the registry, or pull the image from another one.",
        verdict="retry_free",
        settings="KJR_REGISTRY_GRACE_SECONDS",
    ),
)
