"""The failure table: what each signal means, whatever the runtime or the registry calls it."""

from __future__ import annotations

import pytest

from kube_job_runner.domain import failures

PULLS = [
    (
        "rpc error: code = NotFound desc = failed to pull and unpack image: failed to resolve reference: not found",
        "ImageNotFound",
    ),
    ("manifest for nginx:l4t3st not found: manifest unknown: manifest unknown", "ImageNotFound"),
    ("reading manifest 3.4 in registry.example.com/team/app: manifest unknown", "ImageNotFound"),
    ("unknown: repository name not known to registry: name unknown", "ImageNotFound"),
    ("pulling from host r.example.com failed with status code [manifests 1]: 401 Unauthorized", "ImageUnauthorized"),
    (
        "pull access denied for nginxs, repository does not exist or may require 'docker login': denied",
        "ImageUnauthorized",
    ),
    ("no basic auth credentials", "ImageUnauthorized"),
    ("unexpected status from HEAD request: 403 Forbidden", "ImageUnauthorized"),
    ("toomanyrequests: You have reached your pull rate limit", "RegistryUnavailable"),
    (
        "pulling from host r.example.com failed with status code [manifests 1]: 503 Service Unavailable",
        "RegistryUnavailable",
    ),
    ("failed to do request: Head: dial tcp: lookup r.invalid on 127.0.0.53:53: no such host", "RegistryUnavailable"),
    ("dial tcp 127.0.0.1:80: connect: connection refused", "RegistryUnavailable"),
    ("net/http: TLS handshake timeout", "RegistryUnavailable"),
    ("no match for platform in manifest sha256:0: not found", "ImagePlatform"),
    ("write /var/lib/x: no space left on device", "NodeDiskFull"),
]


@pytest.mark.parametrize(("message", "reason"), PULLS)
@pytest.mark.parametrize("signal", ["ErrImagePull", "ImagePullBackOff"])
def test_a_pull_is_judged_by_its_message(signal: str, message: str, reason: str) -> None:
    found = failures.classify("container.waiting", signal, message)
    assert found is not None
    assert found.reason == reason


def test_a_missing_secret_is_not_a_cache_that_is_late() -> None:
    missing = failures.classify("container.waiting", "CreateContainerConfigError", 'secret "nope" not found')
    assert missing is not None
    assert missing.reason == "ConfigMissing"
    assert (
        failures.classify("container.waiting", "CreateContainerConfigError", "failed to sync secret cache: timed out")
        is None
    )


def test_what_no_rule_knows_has_no_meaning() -> None:
    assert failures.classify("container.waiting", "BrandNew", "?") is None
    assert failures.classify("container.terminated", "Error", "") is None


@pytest.mark.parametrize("rule", failures.RULES, ids=lambda rule: f"{rule.where}-{rule.reason}")
def test_every_rule_explains_itself_and_cites_its_source(rule: failures.Rule) -> None:
    assert rule.source
    assert rule.reasons or rule.pattern or rule.where in ("pod.condition", "job.condition")
    assert (rule.action == "fail_after_grace") == bool(rule.grace)
    text = failures.finding(rule, "what the cluster said.", container="main", node="node-1").explanation
    assert "{" not in text
    assert text.endswith((".", ")"))


def test_a_long_message_is_shortened() -> None:
    found = failures.classify("container.waiting", "InvalidImageName", "x" * 5000)
    assert found is not None
    assert len(found.explanation) < 700


def test_the_last_rule_of_a_failed_job_fits_everything() -> None:
    assert failures.classify("job.condition", "Whatever", "") is not None
