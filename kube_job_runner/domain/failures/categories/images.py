"""Categories of images and registries."""

from kube_job_runner.domain.failures.categories.category import Category

CATEGORIES = (
    Category(
        name="image_not_found",
        title="The image or its tag does not exist",
        whose="user",
        happened="The registry has no such repository, tag or digest; or the node may not pull and has no copy.",
        remedy=(
            "Check the image's name and tag for typos. On Docker Hub, put the owner before the name.",
            "Push the image if it was never pushed, or if a retention rule of the registry removed it.",
        ),
        verdict="fail_after_grace",
        settings=("KJR_IMAGE_GRACE_SECONDS",),
    ),
    Category(
        name="image_unauthorized",
        title="The registry refused the pull",
        whose="user",
        happened=(
            "The registry asked for credentials, or the given credentials may not read the image. "
            "Many registries answer the same for an image that does not exist."
        ),
        remedy=(
            "Check that the image exists, by pulling it with the same credentials.",
            "Give the namespace's service account a pull secret (`imagePullSecrets`) that may read the image.",
            "Credentials of cloud registries expire. Check that the tool that renews them still runs.",
        ),
        verdict="fail_after_grace",
        settings=("KJR_IMAGE_GRACE_SECONDS",),
    ),
    Category(
        name="image_platform",
        title="The image is not built for the node's CPU type or system",
        whose="user",
        happened="The image exists, but its index has no entry for the platform of the chosen node.",
        remedy=(
            "Build the image for several platforms (`docker buildx build --platform linux/amd64,linux/arm64`).",
            "Or choose nodes of the right type with a node selector on `kubernetes.io/arch`.",
        ),
        verdict="fail_after_grace",
        settings=("KJR_IMAGE_GRACE_SECONDS",),
    ),
    Category(
        name="image_policy",
        title="A policy forbids the image",
        whose="user",
        happened=(
            "The registry or the node has a policy on images (vulnerabilities, signatures, quarantine), and this "
            "image does not pass it."
        ),
        remedy=(
            "Use an image that passes: scanned, fixed, signed.",
            "Or ask the owner of the registry or of the nodes for an exception.",
        ),
        verdict="fail_now",
    ),
    Category(
        name="image_reference_invalid",
        title="The image's name is not a valid reference",
        whose="user",
        happened=(
            "The text given as image cannot be the name of an image: it has upper case, spaces, `https://`, or "
            "an unexpanded variable."
        ),
        remedy=("Correct the image of the job, for example `registry.example.com/team/app:1.2`.",),
        verdict="fail_now",
    ),
    Category(
        name="image_unreadable",
        title="The runtime cannot read the image",
        whose="user",
        happened=(
            "The image is in the registry, but in a form that the node's runtime does not support, such as "
            "manifest schema 1."
        ),
        remedy=("Build and push the image again with a current tool.",),
        verdict="fail_after_grace",
        settings=("KJR_IMAGE_GRACE_SECONDS",),
    ),
    Category(
        name="registry_unavailable",
        title="The registry is unreachable or does not work",
        whose="external",
        happened=(
            "Something failed between the node and the registry: DNS, the connection, TLS, a timeout, or the "
            "registry itself (5xx)."
        ),
        remedy=(
            "Nothing, if it passes: the node keeps trying, and a new attempt is free.",
            "If it lasts: check from a node that the registry's host resolves and answers.",
            (
                "An unknown certificate authority or plain HTTP must be configured on the nodes; it does not go "
                "away by itself."
            ),
        ),
        verdict="retry_free",
        settings=("KJR_REGISTRY_GRACE_SECONDS",),
    ),
    Category(
        name="registry_rate_limited",
        title="The registry limits the rate of pulls",
        whose="external",
        happened=(
            "There were too many pulls in a short time. "
            "The registry (429, `toomanyrequests`) or the kubelet's own limit makes them wait."
        ),
        remedy=(
            "Nothing, if it passes: the node retries.",
            "Pull with credentials, through a mirror or a pull-through cache, or less often (`IfNotPresent`).",
        ),
        verdict="retry_free",
        settings=("KJR_REGISTRY_GRACE_SECONDS",),
    ),
    Category(
        name="registry_quota",
        title="The registry's own quota is used up",
        whose="external",
        happened=(
            "The account at the registry has no transfer, storage or billing allowance left. "
            "Unlike a rate limit, this does not pass in minutes."
        ),
        remedy=("Raise the allowance at the registry, or pull the image from another one.",),
        verdict="retry_free",
        settings=("KJR_REGISTRY_GRACE_SECONDS",),
    ),
)
