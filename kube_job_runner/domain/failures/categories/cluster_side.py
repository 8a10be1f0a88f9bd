"""Categories of the API server: its refusals and its own faults."""

from kube_job_runner.domain.failures.categories.category import Category

_AGAIN = "Nothing, if it passes: the request is retried, with growing pauses."

CATEGORIES = (
    Category(
        name="admission_denied",
        title="A rule of the cluster refused the job",
        whose="user",
        happened=(
            "An admission webhook, a policy, Pod Security, a LimitRange or another plugin of the API server "
            "refused the job."
        ),
        remedy=(
            "The message names the rule. Change the job so that it fits.",
            "Or ask the cluster's operator for an exception.",
        ),
        verdict="fail_now",
    ),
    Category(
        name="admission_unavailable",
        title="An admission webhook does not answer",
        whose="cluster",
        happened="The cluster asks a webhook about every new object, and this webhook is down, slow or broken.",
        remedy=(
            "Nothing, if it passes.",
            "The webhook's operator must fix it, or remove its configuration if it is left over.",
        ),
        verdict="retry_free",
        settings=("KJR_INFRASTRUCTURE_GRACE_SECONDS", "KJR_ADMISSION_GRACE_SECONDS"),
    ),
    Category(
        name="quota_exceeded",
        title="The quota of the namespace is used up",
        whose="cluster",
        happened="The namespace may not hold more pods, CPU, memory or Jobs now.",
        remedy=(
            "Wait: there is room when other jobs end.",
            "Have the quota raised, or lower KJR_MAX_IN_FLIGHT so that jobs wait in the database instead.",
        ),
        verdict="wait",
        settings=("KJR_MAX_IN_FLIGHT", "KJR_ADMISSION_GRACE_SECONDS"),
    ),
    Category(
        name="api_unavailable",
        title="The API server could not do it now",
        whose="cluster",
        happened=(
            "The API server, its etcd or the network to it failed or was overloaded, or two changes were in conflict."
        ),
        remedy=(_AGAIN,),
        verdict="retry_free",
        settings=("KJR_INFRASTRUCTURE_GRACE_SECONDS",),
    ),
    Category(
        name="name_taken",
        title="A Job with that name exists and is not ours",
        whose="cluster",
        happened=(
            "The name of a cluster job is made from the job's id and attempt, so somebody else created an object "
            "with the same name."
        ),
        remedy=(
            "Remove the object, if nobody needs it, and submit the job again.",
            "Two installations must not share KJR_INSTANCE in one namespace.",
        ),
        verdict="fail_now",
        settings=("KJR_INSTANCE",),
    ),
    Category(
        name="forbidden",
        title="This installation lacks a right in the cluster",
        whose="platform",
        happened=(
            "The service account of kube-job-runner lacks a right that it needs. "
            "Jobs wait, because it is not their fault."
        ),
        remedy=("Apply the roles under `deploy/kubernetes` to every namespace of KJR_NAMESPACES.",),
        verdict=None,
        settings=("KJR_NAMESPACES",),
    ),
    Category(
        name="namespace_not_found",
        title="The namespace does not exist",
        whose="user",
        happened="The job asked for a namespace that the cluster does not have.",
        remedy=("Create the namespace, or use another.",),
        verdict=None,
        settings=("KJR_NAMESPACES",),
    ),
    Category(
        name="namespace_terminating",
        title="The namespace is being deleted",
        whose="user",
        happened="The cluster creates nothing new in a namespace that is being deleted.",
        remedy=("Use another namespace, or wait until it is gone and create it again.",),
        verdict=None,
    ),
    Category(
        name="spec_rejected",
        title="The cluster rejected the spec of the job",
        whose="user",
        happened="The API server answered 400, 413 or 422: a field is invalid, unknown or too large.",
        remedy=("The message names the field. Correct it.",),
        verdict=None,
    ),
    Category(
        name="unauthorized",
        title="The API server does not accept our credentials",
        whose="platform",
        happened=(
            "The token of this installation is missing, wrong or expired. "
            "It is read again, and the request is retried. Jobs wait."
        ),
        remedy=("Check the kubeconfig or the service account of this installation.",),
        verdict=None,
        settings=("KJR_KUBECONFIG", "KJR_KUBE_CONTEXT"),
    ),
    Category(
        name="credentials_unavailable",
        title="The credentials for the cluster are not available",
        whose="platform",
        happened="The plugin that makes the credentials of the kubeconfig failed or did not answer.",
        remedy=("Run the plugin by hand, as the user of this installation. The message comes from the plugin.",),
        verdict=None,
        settings=("KJR_KUBECONFIG",),
    ),
    Category(
        name="cluster_busy",
        title="The API server asks us to slow down",
        whose="cluster",
        happened="The API server answered 429. We wait at least as long as it asks for.",
        remedy=(_AGAIN, "If it lasts, lower KJR_CLUSTER_CONCURRENCY."),
        verdict=None,
        settings=("KJR_CLUSTER_CONCURRENCY",),
    ),
    Category(
        name="cluster_unavailable",
        title="The API server is unreachable or fails",
        whose="cluster",
        happened="The API server did not answer, or answered 5xx. Jobs wait. Running jobs keep running.",
        remedy=(_AGAIN,),
        verdict=None,
    ),
    Category(
        name="conflict",
        title="Somebody else changed the object at that moment",
        whose="cluster",
        happened="The API server answered 409.",
        remedy=(_AGAIN,),
        verdict=None,
    ),
    Category(
        name="unexpected_answer",
        title="Something other than the API server answered",
        whose="platform",
        happened="The answer came from something in between, such as a proxy, a login page or a redirect.",
        remedy=("Check the server's address in the kubeconfig, and the proxies on the way to it.",),
        verdict=None,
        settings=("KJR_KUBECONFIG",),
    ),
    Category(
        name="silent",
        title="The API server stopped in the middle of an answer",
        whose="cluster",
        happened="A stream of the API server was silent for too long, so it was closed and opened again.",
        remedy=(_AGAIN,),
        verdict=None,
        settings=("KJR_WATCH_IDLE_SECONDS",),
    ),
)
