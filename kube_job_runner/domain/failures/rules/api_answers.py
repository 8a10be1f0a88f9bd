"""Rows for answers of the API server when a Job, or the pod of a Job, is created.

The Job controller gets the same answers as we do and repeats them in the Kubernetes Event `FailedCreate`. The HTTP status code
says little: policies answer 403 as quotas do, and a webhook's refusal may come as 500. So the text comes before the reason.
`refusal` says what the text means when it is the answer to a request of ours.
"""

import functools

from kube_job_runner.domain.failures import refusals
from kube_job_runner.domain.failures.rule import Rule, fail_after_grace, fail_now, retry_free, wait
from kube_job_runner.domain.failures.rules.rule_rows import by_reason, row

_text = functools.partial(row, where="api")
_reason = functools.partial(by_reason, where="api")

RULES: tuple[Rule, ...] = (
    _text(
        "api-too-large",
        r"request (entity )?(is )?too large|larger than max|exceeds the limit .{0,40}bytes|limit is \d{6,}|size limit|"
        r"may not be more than \d+ bytes|must have at most \d+ bytes",
        fail_now("request_invalid"),
        "The job is too large for the cluster: {message}. Move large values out of its environment and arguments.",
        "apiserver and etcd request limits (3 MiB, 1.5 MiB)",
        refusal=refusals.SPEC_REJECTED,
    ),
    _text(
        "webhook-broken",
        r"fail(ed|ing) (to call|calling) (\S+ )?webhook.*(has prevented the request from succeeding|allowed\W{1,6}false)",
        fail_after_grace("admission_unavailable", "admission"),
        "An admission webhook of the cluster answers with an error: {message}. Its operator must fix it.",
        "apiserver admission/plugin/webhook; client-go GenericServerResponse",
    ),
    _text(
        "webhook-denied",
        r"denied the request|denied request|admission webhook .{0,300}denied|ValidatingAdmissionPolicy .{0,300}denied",
        fail_now("admission_denied"),
        "A policy of the cluster refused the job: {message}. Change the job so that the policy allows it.",
        "apiserver webhook/errors/statuserror.go; policy/validating",
        refusal=refusals.ADMISSION_DENIED,
    ),
    _text(
        "webhook-unreachable",
        r"fail(ed|ing) (to call|calling) (\S+ )?webhook|no endpoints available for service|conversion webhook|"
        r"webhook.{0,300}(timed? ?out|deadline|refused|unavailable|no such host|x509|EOF)",
        retry_free("admission_unavailable", "infrastructure"),
        "An admission webhook of the cluster does not answer, so the job could not be created: {message}. The create is retried.",
        "apiserver admission/plugin/webhook, failurePolicy Fail",
    ),
    _text(
        "admission-not-ready",
        r"not yet ready to handle request|no API token found for service account|caches? not synchronized",
        retry_free("api_unavailable", "infrastructure"),
        "The API server is still starting up: {message}. The request is retried.",
        "apiserver admission initializer, serviceaccount admission",
    ),
    _text(
        "quota-spec",
        r"failed quota|insufficient quota to (match|consume)",
        fail_now("admission_denied"),
        "A quota of the namespace needs values that the job does not set: {message}. Set the requests and limits that it names.",
        "apiserver plugin/resourcequota, resource_access.go and controller.go",
    ),
    _text(
        "quota-zero",
        r"exceeded quota.*limited: [^\s=]*=0(?![.\d])",
        fail_after_grace("quota_exceeded", "infrastructure"),
        "A quota of the namespace sets a limit of 0 for something that the job needs: {message}. Have the quota raised.",
        "apiserver plugin/resourcequota/controller.go",
        refusal=refusals.QUOTA_EXCEEDED,
    ),
    _text(
        "quota-full",
        r"exceeded quota|status unknown for quota|quota.{0,60}exceeded|exceeds quota",
        wait("quota_exceeded"),
        "The quota of the namespace is used up: {message}. The job waits until others of the namespace have ended. "
        "Whoever administers the namespace can raise the quota.",
        "apiserver plugin/resourcequota/controller.go",
        refusal=refusals.QUOTA_EXCEEDED,
    ),
    _text(
        "quota-busy",
        r"resource ?quota.{0,80}(timed? ?out|timeout)|cannot be fulfilled on resourcequotas",
        retry_free("api_unavailable", "infrastructure"),
        "The API server could not count the quota in time: {message}. The request is retried.",
        "apiserver plugin/resourcequota/controller.go",
        refusal=refusals.QUOTA_BUSY,
    ),
    _text(
        "pod-security",
        r"violates PodSecurity|PodSecurityPolicy|security context constraint|\bscc\b",
        fail_now("admission_denied"),
        "The security standard of the namespace forbids the pod of the job: {message}. "
        "Change its security settings, or use another namespace.",
        "pod-security-admission; OpenShift security context constraints",
    ),
    _text(
        "service-account-missing",
        r"service ?accounts? \S{0,300} ?not found|error looking up service account|"
        r"service account .{0,300}(was )?not found|\b(secret|configmap)s? \"\S{1,300}\" not found",
        fail_after_grace("config_missing", "config"),
        "The job refers to an object that is missing in its namespace: {message}. Create it, or correct the name.",
        "apiserver plugin serviceaccount admission",
    ),
    _text(
        "namespace-missing",
        r"namespaces? \S{1,300} not found|namespaces? .{0,300} does not exist",
        fail_now("config_missing"),
        "The namespace of the job does not exist: {message}. Create it, or use another namespace.",
        "apiserver plugin namespace/lifecycle admission",
    ),
    _text(
        "namespace-terminating",
        r"because it is being terminated",
        fail_now("admission_denied"),
        "The namespace of the job is being deleted: {message}. Use another namespace.",
        "apiserver plugin namespace/lifecycle admission",
        refusal=refusals.NAMESPACE_TERMINATING,
    ),
    _text(
        "rbac",
        r"cannot \w+ resource|cannot (create|get|list|watch|delete|patch|update|impersonate) |is not allowed to|"
        r"attempting to grant .{0,40}privileges",
        fail_now("admission_denied"),
        "This installation lacks a right in the cluster: {message}. Its operator must grant it.",
        "apiserver authorization, responsewriters/errors.go",
        refusal=refusals.FORBIDDEN,
    ),
    _text(
        "api-conflict",
        r"the object has been modified|object is being deleted|operation cannot be fulfilled|StorageError|"
        r"precondition failed|try again later",
        retry_free("api_unavailable", "infrastructure"),
        "Somebody else changed the same object at that moment: {message}. The request is retried.",
        "apiserver registry/generic, storage conflicts",
    ),
    _text(
        "api-name-taken",
        r"already exists",
        fail_now("name_taken"),
        "An object with that name exists in the cluster and does not belong to this job: {message}.",
        "apiserver registry/generic AlreadyExists",
    ),
    _text(
        "request-invalid",
        r" is invalid: |invalid value|required value|unknown field|strict decoding error|cannot unmarshal|"
        r"could not find the requested resource|no matches for kind|error (decoding|parsing|converting)|unsupported value|"
        r"field is immutable|must be (a|an|one|no|less|greater|specified|unique|valid)\b|duplicate value|cannot be handled as a|"
        r"the provided .{0,40} is not|unrecognized type|is not a known|converting \(|failed to parse",
        fail_now("request_invalid"),
        "The cluster does not accept the job as it is written: {message}. Correct the field that it names.",
        "apiserver validation and decoding",
    ),
    _text(
        "admission-refused",
        r" is forbidden: |is forbidden\b.{0,40}:|pod rejected|not allowed by policy",
        fail_now("admission_denied"),
        "A rule of the cluster refused the job: {message}. Change the job so that the rule allows it.",
        "apiserver admission plugins: LimitRanger, Priority, RuntimeClass, NodeRestriction and others",
    ),
    _text(
        "api-unavailable",
        r"etcd|leader changed|(request )?timed? ?out|timeout|deadline ?exceeded|context cancell?ed|"
        r"connection (refused|reset|lost|closed)|\bEOF\b|broken pipe|GOAWAY|too many requests|please try again|"
        r"could not be completed|server (is )?(currently )?(unable|overloaded|busy)|server was unable|"
        r"apiserver (not ready|is (shutting|starting))|shutting down|internal server error|bad gateway|service unavailable|"
        r"gateway time|no such host|no route to host|unreachable|stream error|dial tcp|i/o timeout|TLS handshake|x509|http2:|"
        r"unauthorized|asked for the client to provide credentials|token (has )?expired|the server rejected our request|"
        r"an error on the server|raft|mvcc|database space exceeded",
        retry_free("api_unavailable", "infrastructure"),
        "The API server of the cluster could not do it now: {message}. The request is retried.",
        "apiserver, etcd, client-go and net/http error texts",
    ),
    _reason(
        "api-reason-unavailable",
        "InternalError ServerTimeout Timeout TooManyRequests ServiceUnavailable Conflict Expired Unauthorized "
        "StoreReadError Gone Unknown",
        retry_free("api_unavailable", "infrastructure"),
        "The API server of the cluster could not do it now ({reason}): {message}. The request is retried.",
        "meta/v1 StatusReason",
    ),
    _reason(
        "api-reason-name-taken",
        "AlreadyExists",
        fail_now("name_taken"),
        "An object with that name exists in the cluster and does not belong to this job: {message}.",
        "meta/v1 StatusReason",
    ),
    _reason(
        "api-reason-invalid",
        "Invalid BadRequest RequestEntityTooLarge UnsupportedMediaType MethodNotAllowed NotAcceptable NotFound",
        fail_now("request_invalid"),
        "The cluster does not accept the job as it is written ({reason}): {message}. Correct the job.",
        "meta/v1 StatusReason",
    ),
    _reason(
        "api-reason-forbidden",
        "Forbidden",
        fail_now("admission_denied"),
        "A rule of the cluster refused the job: {message}. Change the job so that the rule allows it.",
        "meta/v1 StatusReason",
    ),
)
