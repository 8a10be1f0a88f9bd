"""Rows for what the API server answers when a Job, or the pod of a Job, is created.

The Job controller meets the same answers as we do and tells them in the Kubernetes Event `FailedCreate`. The HTTP code is a poor
guide: policies refuse with 403 as quotas do, and a webhook's "no" may come as 500. So the text comes before the reason.
"""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row

_api = functools.partial(row, where="api")

RULES: tuple[Rule, ...] = (
    _api(
        "api-too-large",
        r"request (entity )?(is )?too large|larger than max|exceeds the limit .{0,40}bytes|limit is \d{6,}|size limit|"
        r"may not be more than \d+ bytes|must have at most \d+ bytes",
        category="request_invalid",
        verdict="fail_now",
        explanation=(
            "The job is too large for the cluster: {message}. Move large values out of its environment and "
            "arguments."
        ),
        source="apiserver and etcd request limits (3 MiB, 1.5 MiB)",
    ),
    _api(
        "webhook-broken",
        r"fail(ed|ing) (to call|calling) (\S+ )?webhook.*(has prevented the request from succeeding|allowed\W{1,6}false)",
        category="admission_unavailable",
        verdict="fail_after_grace",
        grace="admission",
        explanation="An admission webhook of the cluster answers with an error: {message}. Its operator must mend it.",
        source="apiserver admission/plugin/webhook; client-go GenericServerResponse",
    ),
    _api(
        "webhook-denied",
        r"denied the request|denied request|admission webhook .{0,300}denied|ValidatingAdmissionPolicy .{0,300}denied",
        category="admission_denied",
        verdict="fail_now",
        explanation="A policy of the cluster refused the job: {message}. Change the job so that the policy allows it.",
        source="apiserver webhook/errors/statuserror.go; policy/validating",
    ),
    _api(
        "webhook-unreachable",
        r"fail(ed|ing) (to call|calling) (\S+ )?webhook|no endpoints available for service|conversion webhook|"
        r"webhook.{0,300}(timed? ?out|deadline|refused|unavailable|no such host|x509|EOF)",
        category="admission_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "An admission webhook of the cluster does not answer, so the job could not be made: {message}. It is "
            "tried again."
        ),
        source="apiserver admission/plugin/webhook, failurePolicy Fail",
    ),
    _api(
        "admission-not-ready",
        r"not yet ready to handle request|no API token found for service account|caches? not synchronized",
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The API server is still starting up: {message}. It is asked again.",
        source="apiserver admission initializer, serviceaccount admission",
    ),
    _api(
        "quota-spec",
        r"failed quota|insufficient quota to (match|consume)",
        category="admission_denied",
        verdict="fail_now",
        explanation=(
            "A quota of the namespace wants more said about the job: {message}. Set the requests and limits that it "
            "names."
        ),
        source="apiserver plugin/resourcequota, resource_access.go and controller.go",
    ),
    _api(
        "quota-zero",
        r"exceeded quota.*limited: [^\s=]*=0(?![.\d])",
        category="quota_exceeded",
        verdict="fail_after_grace",
        grace="infrastructure",
        explanation="A quota of the namespace allows none of what the job needs, ever: {message}. Have the quota raised.",
        source="apiserver plugin/resourcequota/controller.go",
    ),
    _api(
        "quota-full",
        r"exceeded quota|status unknown for quota|quota.{0,60}exceeded|exceeds quota",
        category="quota_exceeded",
        verdict="wait",
        explanation="The quota of the namespace is used up: {message}. The job waits until others have ended.",
        source="apiserver plugin/resourcequota/controller.go",
    ),
    _api(
        "quota-busy",
        r"resource ?quota.{0,80}(timed? ?out|timeout)|cannot be fulfilled on resourcequotas",
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The API server could not count the quota in time: {message}. It is asked again.",
        source="apiserver plugin/resourcequota/controller.go",
    ),
    _api(
        "pod-security",
        r"violates PodSecurity|PodSecurityPolicy|security context constraint|\bscc\b",
        category="admission_denied",
        verdict="fail_now",
        explanation=(
            "The security standard of the namespace forbids the pod of the job: {message}. Change its security "
            "settings, or "
            "use another namespace."
        ),
        source="pod-security-admission; OpenShift security context constraints",
    ),
    _api(
        "service-account-missing",
        r"service ?accounts? \S{0,300} ?not found|error looking up service account|service account .{0,300}(was )?not found|"
        r"\b(secret|configmap)s? \"\S{1,300}\" not found",
        category="config_missing",
        verdict="fail_after_grace",
        grace="config",
        explanation=(
            "The job refers to something that is missing in its namespace: {message}. Create it, or correct the "
            "name."
        ),
        source="apiserver plugin serviceaccount admission",
    ),
    _api(
        "namespace-missing",
        r"namespaces? \S{1,300} not found|namespaces? .{0,300} does not exist",
        category="config_missing",
        verdict="fail_now",
        explanation="The namespace of the job does not exist: {message}. Create it, or use another.",
        source="apiserver plugin namespace/lifecycle admission",
    ),
    _api(
        "namespace-terminating",
        r"because it is being terminated",
        category="admission_denied",
        verdict="fail_now",
        explanation="The namespace of the job is being deleted: {message}. Use another.",
        source="apiserver plugin namespace/lifecycle admission",
    ),
    _api(
        "rbac",
        r"cannot \w+ resource|cannot (create|get|list|watch|delete|patch|update|impersonate) |is not allowed to|"
        r"attempting to grant .{0,40}privileges",
        category="admission_denied",
        verdict="fail_now",
        explanation="The service itself lacks a right in the cluster: {message}. Its operator must grant it.",
        source="apiserver authorization, responsewriters/errors.go",
    ),
    _api(
        "api-conflict",
        r"the object has been modified|object is being deleted|"
        r"operation cannot be fulfilled|StorageError|precondition failed|try again later",
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Somebody else changed the same object at that moment: {message}. It is tried again.",
        source="apiserver registry/generic, storage conflicts",
    ),
    _api(
        "api-name-taken",
        r"already exists",
        category="name_taken",
        verdict="fail_now",
        explanation="An object of that name exists in the cluster and is not this job's: {message}.",
        source="apiserver registry/generic AlreadyExists",
    ),
    _api(
        "request-invalid",
        r" is invalid: |invalid value|required value|unknown field|strict decoding error|"
        r"cannot unmarshal|could not find the "
        r"requested resource|no matches for kind|error (decoding|parsing|converting)|unsupported value|field is immutable|"
        r"must be (a|an|one|no|less|greater|specified|unique|valid)\b|duplicate value|cannot be handled as a|"
        r"the provided .{0,40} is not|unrecognized type|is not a known|converting \(|failed to parse",
        category="request_invalid",
        verdict="fail_now",
        explanation="The cluster does not accept the job as it is written: {message}. Correct the field it names.",
        source="apiserver validation and decoding",
    ),
    _api(
        "admission-refused",
        r" is forbidden: |is forbidden\b.{0,40}:|pod rejected|not allowed by policy",
        category="admission_denied",
        verdict="fail_now",
        explanation="A rule of the cluster refused the job: {message}. Change the job so that it is allowed.",
        source="apiserver admission plugins: LimitRanger, Priority, RuntimeClass, NodeRestriction and others",
    ),
    _api(
        "api-unavailable",
        r"etcd|leader changed|(request )?timed? ?out|timeout|deadline ?exceeded|context cancell?ed|"
        r"connection (refused|reset|lost|closed)|"
        r"\bEOF\b|broken pipe|GOAWAY|too many requests|please try again|could not be completed|server (is )?(currently )?"
        r"(unable|overloaded|busy)|server was unable|apiserver (not ready|is (shutting|starting))|shutting down|"
        r"internal server error|bad gateway|service unavailable|gateway time|no such host|no route to host|unreachable|"
        r"stream error|dial tcp|i/o timeout|TLS handshake|x509|http2:|unauthorized|"
        r"asked for the client to provide credentials|"
        r"token (has )?expired|the server rejected our request|an error on the server|raft|mvcc|database space exceeded",
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The API server of the cluster could not do it now: {message}. It is tried again.",
        source="apiserver, etcd, client-go and net/http error texts",
    ),
    _api(
        "api-reason-unavailable",
        reasons=(
            "InternalError", "ServerTimeout", "Timeout", "TooManyRequests", "ServiceUnavailable", "Conflict", "Expired",
            "Unauthorized", "StoreReadError", "Gone", "Unknown",
        ),
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The API server of the cluster could not do it now ({reason}): {message}. It is tried again.",
        source="meta/v1 StatusReason",
    ),
    _api(
        "api-reason-name-taken",
        reasons=("AlreadyExists",),
        category="name_taken",
        verdict="fail_now",
        explanation="An object of that name exists in the cluster and is not this job's: {message}.",
        source="meta/v1 StatusReason",
    ),
    _api(
        "api-reason-invalid",
        reasons=(
            "Invalid", "BadRequest", "RequestEntityTooLarge", "UnsupportedMediaType", "MethodNotAllowed",
            "NotAcceptable", "NotFound",
        ),
        category="request_invalid",
        verdict="fail_now",
        explanation="The cluster does not accept the job as it is written ({reason}): {message}. Correct the job.",
        source="meta/v1 StatusReason",
    ),
    _api(
        "api-reason-forbidden",
        reasons=("Forbidden",),
        category="admission_denied",
        verdict="fail_now",
        explanation="A rule of the cluster refused the job: {message}. Change the job so that it is allowed.",
        source="meta/v1 StatusReason",
    ),
)  # fmt: skip
