"""Rows for answers of the API server when a Job, or the pod of a Job, is created.

The Job controller gets the same answers as we do and repeats them in the Kubernetes Event `FailedCreate`. The HTTP status code
says little: policies answer 403 as quotas do, and a webhook's refusal may come as 500. So the text comes before the reason.
`refusal` says what the text means when it is the answer to a request of ours.
"""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures import refusals
from kube_job_runner.domain.failures.rule import Rule, row

_api = functools.partial(row, where="api")

RULES: tuple[Rule, ...] = (
    _api(
        "api-too-large",
        r"request (entity )?(is )?too large|larger than max|exceeds the limit .{0,40}bytes|limit is \d{6,}|"
        r"size limit|may not be more than \d+ bytes|must have at most \d+ bytes",
        category="request_invalid",
        verdict="fail_now",
        explanation=(
            "The job is too large for the cluster: {message}. Move large values out of its environment and arguments."
        ),
        source="apiserver and etcd request limits (3 MiB, 1.5 MiB)",
        refusal=refusals.SPEC_REJECTED,
    ),
    _api(
        "webhook-broken",
        r"fail(ed|ing) (to call|calling) (\S+ )?webhook.*(has prevented the request from succeeding|"
        r"allowed\W{1,6}false)",
        category="admission_unavailable",
        verdict="fail_after_grace",
        grace="admission",
        explanation=("An admission webhook of the cluster answers with an error: {message}. Its operator must fix it."),
        source="apiserver admission/plugin/webhook; client-go GenericServerResponse",
    ),
    _api(
        "webhook-denied",
        r"denied the request|denied request|admission webhook .{0,300}denied|"
        r"ValidatingAdmissionPolicy .{0,300}denied",
        category="admission_denied",
        verdict="fail_now",
        explanation=(
            "A policy of the cluster refused the job: {message}. Change the job so that the policy allows it."
        ),
        source="apiserver webhook/errors/statuserror.go; policy/validating",
        refusal=refusals.ADMISSION_DENIED,
    ),
    _api(
        "webhook-unreachable",
        r"fail(ed|ing) (to call|calling) (\S+ )?webhook|no endpoints available for service|conversion webhook|"
        r"webhook.{0,300}(timed? ?out|deadline|refused|unavailable|no such host|x509|EOF)",
        category="admission_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "An admission webhook of the cluster does not answer, so the job could not be created: {message}. "
            "The create is retried."
        ),
        source="apiserver admission/plugin/webhook, failurePolicy Fail",
    ),
    _api(
        "admission-not-ready",
        r"not yet ready to handle request|no API token found for service account|caches? not synchronized",
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The API server is still starting up: {message}. The request is retried.",
        source="apiserver admission initializer, serviceaccount admission",
    ),
    _api(
        "quota-spec",
        r"failed quota|insufficient quota to (match|consume)",
        category="admission_denied",
        verdict="fail_now",
        explanation=(
            "A quota of the namespace needs values that the job does not set: {message}. "
            "Set the requests and limits that it names."
        ),
        source="apiserver plugin/resourcequota, resource_access.go and controller.go",
    ),
    _api(
        "quota-zero",
        r"exceeded quota.*limited: [^\s=]*=0(?![.\d])",
        category="quota_exceeded",
        verdict="fail_after_grace",
        grace="infrastructure",
        explanation=(
            "A quota of the namespace sets a limit of 0 for something that the job needs: {message}. "
            "Have the quota raised."
        ),
        source="apiserver plugin/resourcequota/controller.go",
        refusal=refusals.QUOTA_EXCEEDED,
    ),
    _api(
        "quota-full",
        r"exceeded quota|status unknown for quota|quota.{0,60}exceeded|exceeds quota",
        category="quota_exceeded",
        verdict="wait",
        explanation="The quota of the namespace is used up: {message}. The job waits until other jobs have ended.",
        source="apiserver plugin/resourcequota/controller.go",
        refusal=refusals.QUOTA_EXCEEDED,
    ),
    _api(
        "quota-busy",
        r"resource ?quota.{0,80}(timed? ?out|timeout)|cannot be fulfilled on resourcequotas",
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The API server could not count the quota in time: {message}. The request is retried.",
        source="apiserver plugin/resourcequota/controller.go",
        refusal=refusals.QUOTA_EXCEEDED,
    ),
    _api(
        "pod-security",
        r"violates PodSecurity|PodSecurityPolicy|security context constraint|\bscc\b",
        category="admission_denied",
        verdict="fail_now",
        explanation=(
            "The security standard of the namespace forbids the pod of the job: {message}. "
            "Change its security settings, or use another namespace."
        ),
        source="pod-security-admission; OpenShift security context constraints",
    ),
    _api(
        "service-account-missing",
        r"service ?accounts? \S{0,300} ?not found|error looking up service account|"
        r"service account .{0,300}(was )?not found|\b(secret|configmap)s? \"\S{1,300}\" not found",
        category="config_missing",
        verdict="fail_after_grace",
        grace="config",
        explanation=(
            "The job refers to an object that is missing in its namespace: {message}. Create it, or correct the name."
        ),
        source="apiserver plugin serviceaccount admission",
    ),
    _api(
        "namespace-missing",
        r"namespaces? \S{1,300} not found|namespaces? .{0,300} does not exist",
        category="config_missing",
        verdict="fail_now",
        explanation="The namespace of the job does not exist: {message}. Create it, or use another namespace.",
        source="apiserver plugin namespace/lifecycle admission",
    ),
    _api(
        "namespace-terminating",
        r"because it is being terminated",
        category="admission_denied",
        verdict="fail_now",
        explanation="The namespace of the job is being deleted: {message}. Use another namespace.",
        source="apiserver plugin namespace/lifecycle admission",
        refusal=refusals.NAMESPACE_TERMINATING,
    ),
    _api(
        "rbac",
        r"cannot \w+ resource|cannot (create|get|list|watch|delete|patch|update|impersonate) |is not allowed to|"
        r"attempting to grant .{0,40}privileges",
        category="admission_denied",
        verdict="fail_now",
        explanation="This installation lacks a right in the cluster: {message}. Its operator must grant it.",
        source="apiserver authorization, responsewriters/errors.go",
        refusal=refusals.FORBIDDEN,
    ),
    _api(
        "api-conflict",
        r"the object has been modified|object is being deleted|operation cannot be fulfilled|StorageError|"
        r"precondition failed|try again later",
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Somebody else changed the same object at that moment: {message}. The request is retried.",
        source="apiserver registry/generic, storage conflicts",
    ),
    _api(
        "api-name-taken",
        r"already exists",
        category="name_taken",
        verdict="fail_now",
        explanation="An object with that name exists in the cluster and does not belong to this job: {message}.",
        source="apiserver registry/generic AlreadyExists",
    ),
    _api(
        "request-invalid",
        r" is invalid: |invalid value|required value|unknown field|strict decoding error|cannot unmarshal|"
        r"could not find the requested resource|no matches for kind|error (decoding|parsing|converting)|"
        r"unsupported value|field is immutable|must be (a|an|one|no|less|greater|specified|unique|valid)\b|"
        r"duplicate value|cannot be handled as a|the provided .{0,40} is not|unrecognized type|is not a known|"
        r"converting \(|failed to parse",
        category="request_invalid",
        verdict="fail_now",
        explanation=(
            "The cluster does not accept the job as it is written: {message}. Correct the field that it names."
        ),
        source="apiserver validation and decoding",
    ),
    _api(
        "admission-refused",
        r" is forbidden: |is forbidden\b.{0,40}:|pod rejected|not allowed by policy",
        category="admission_denied",
        verdict="fail_now",
        explanation="A rule of the cluster refused the job: {message}. Change the job so that the rule allows it.",
        source="apiserver admission plugins: LimitRanger, Priority, RuntimeClass, NodeRestriction and others",
    ),
    _api(
        "api-unavailable",
        r"etcd|leader changed|(request )?timed? ?out|timeout|deadline ?exceeded|context cancell?ed|"
        r"connection (refused|reset|lost|closed)|\bEOF\b|broken pipe|GOAWAY|too many requests|please try again|"
        r"could not be completed|server (is )?(currently )?(unable|overloaded|busy)|server was unable|"
        r"apiserver (not ready|is (shutting|starting))|shutting down|internal server error|bad gateway|"
        r"service unavailable|gateway time|no such host|no route to host|unreachable|stream error|dial tcp|"
        r"i/o timeout|TLS handshake|x509|http2:|unauthorized|asked for the client to provide credentials|"
        r"token (has )?expired|the server rejected our request|an error on the server|raft|mvcc|"
        r"database space exceeded",
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The API server of the cluster could not do it now: {message}. The request is retried.",
        source="apiserver, etcd, client-go and net/http error texts",
    ),
    _api(
        "api-reason-unavailable",
        reasons=(
            "InternalError",
            "ServerTimeout",
            "Timeout",
            "TooManyRequests",
            "ServiceUnavailable",
            "Conflict",
            "Expired",
            "Unauthorized",
            "StoreReadError",
            "Gone",
            "Unknown",
        ),
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "The API server of the cluster could not do it now ({reason}): {message}. The request is retried."
        ),
        source="meta/v1 StatusReason",
    ),
    _api(
        "api-reason-name-taken",
        reasons=("AlreadyExists",),
        category="name_taken",
        verdict="fail_now",
        explanation="An object with that name exists in the cluster and does not belong to this job: {message}.",
        source="meta/v1 StatusReason",
    ),
    _api(
        "api-reason-invalid",
        reasons=(
            "Invalid",
            "BadRequest",
            "RequestEntityTooLarge",
            "UnsupportedMediaType",
            "MethodNotAllowed",
            "NotAcceptable",
            "NotFound",
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
        explanation="A rule of the cluster refused the job: {message}. Change the job so that the rule allows it.",
        source="meta/v1 StatusReason",
    ),
)
