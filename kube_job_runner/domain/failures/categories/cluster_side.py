"""Categories of the API server: its refusals and its own faults."""

import functools

from kube_job_runner.domain.failures.categories.category import category

_AGAIN = "Nothing, if it passes: the request is retried, with growing pauses."
_user = functools.partial(category, "user")
_platform = functools.partial(category, "platform")
_cluster = functools.partial(category, "cluster")

CATEGORIES = (
    _user(
        "admission_denied",
        "A rule of the cluster refused the job",
        "An admission webhook, a policy, Pod Security, a LimitRange or another plugin of the API server refused the job.",
        "The message names the rule. Change the job so that it fits.",
        "Or ask the cluster's operator for an exception.",
        verdict="fail_now",
    ),
    _cluster(
        "admission_unavailable",
        "An admission webhook does not answer",
        "The cluster asks a webhook about every new object, and this webhook is down, slow or broken.",
        "Nothing, if it passes.",
        "The webhook's operator must fix it, or remove its configuration if it is left over.",
        verdict="retry_free",
        settings="KJR_INFRASTRUCTURE_GRACE_SECONDS KJR_ADMISSION_GRACE_SECONDS",
    ),
    _cluster(
        "quota_exceeded",
        "The quota of the namespace is used up",
        "The namespace may not hold more pods, CPU, memory or Jobs now.",
        "Wait: there is room when other jobs end.",
        "Have the quota raised, or lower KJR_MAX_IN_FLIGHT so that jobs wait in the database instead.",
        verdict="wait",
        settings="KJR_MAX_IN_FLIGHT KJR_ADMISSION_GRACE_SECONDS",
    ),
    _cluster(
        "api_unavailable",
        "The API server could not do it now",
        "The API server, its etcd or the network to it failed or was overloaded, or two changes were in conflict.",
        _AGAIN,
        verdict="retry_free",
        settings="KJR_INFRASTRUCTURE_GRACE_SECONDS",
    ),
    _cluster(
        "name_taken",
        "A Job with that name exists and is not ours",
        "The name of a cluster job is made from the job's id and attempt, so somebody else created an object with the same name.",
        "Remove the object, if nobody needs it, and submit the job again.",
        "Two installations must not share KJR_INSTANCE in one namespace.",
        verdict="fail_now",
        settings="KJR_INSTANCE",
    ),
    _cluster(
        "labels_changed",
        "Something in the cluster changes our labels",
        "An admission webhook or a policy changed or removed labels of `kube-job-runner.io` on the new Job or its pod.",
        "Exclude Jobs and pods with the label `app.kubernetes.io/managed-by=kube-job-runner` from the webhook or the policy.",
        "The job was removed at once, because nobody could have watched it. Run it again with `kjr rerun ID`.",
    ),
    _platform(
        "forbidden",
        "This installation lacks a right in the cluster",
        "The service account of kube-job-runner lacks a right that it needs. Jobs wait, because it is not their fault.",
        "Apply the roles under `deploy/kubernetes` to every namespace of KJR_NAMESPACES.",
        settings="KJR_NAMESPACES",
    ),
    _user(
        "namespace_not_found",
        "The namespace does not exist",
        "The job asked for a namespace that the cluster does not have.",
        "Create the namespace, or use another.",
        settings="KJR_NAMESPACES",
    ),
    _user(
        "namespace_terminating",
        "The namespace is being deleted",
        "The cluster creates nothing new in a namespace that is being deleted. It also counts as deleted when the pod or the Job "
        "of the job was removed and the right to create another one is missing: both go with the namespace.",
        "Use another namespace, or wait until it is gone and create it again.",
        "If the namespace is still there, grant the right again and run the job again with `kjr rerun ID`.",
    ),
    _user(
        "spec_rejected",
        "The cluster rejected the spec of the job",
        "The API server answered 400, 413 or 422: a field is invalid, unknown or too large.",
        "The message names the field. Correct it.",
    ),
    _platform(
        "unauthorized",
        "The API server does not accept our credentials",
        "The token of this installation is missing, wrong or expired. It is read again, and the request is retried. Jobs wait.",
        "Check the kubeconfig or the service account of this installation.",
        settings="KJR_KUBECONFIG KJR_KUBE_CONTEXT",
    ),
    _platform(
        "credentials_unavailable",
        "The credentials for the cluster are not available",
        "The plugin that makes the credentials of the kubeconfig failed or did not answer.",
        "Run the plugin by hand, as the user of this installation. The message comes from the plugin.",
        settings="KJR_KUBECONFIG",
    ),
    _cluster(
        "cluster_busy",
        "The API server asks us to slow down",
        "The API server answered 429. We wait at least as long as it asks for.",
        _AGAIN,
        "If it lasts, lower KJR_CLUSTER_CONCURRENCY.",
        settings="KJR_CLUSTER_CONCURRENCY",
    ),
    _cluster(
        "cluster_unavailable",
        "The API server is unreachable or fails",
        "The API server did not answer, or answered 5xx. Jobs wait. Running jobs keep running.",
        _AGAIN,
    ),
    _cluster("conflict", "Somebody else changed the object at that moment", "The API server answered 409.", _AGAIN),
    _platform(
        "unexpected_answer",
        "Something other than the API server answered",
        "The answer came from something in between, such as a proxy, a login page or a redirect.",
        "Check the server's address in the kubeconfig, and the proxies on the way to it.",
        settings="KJR_KUBECONFIG",
    ),
    _cluster(
        "silent",
        "The API server stopped in the middle of an answer",
        "A stream of the API server was silent for too long, so it was closed and opened again.",
        _AGAIN,
        settings="KJR_WATCH_IDLE_SECONDS",
    ),
)
