"""Rows for pulls that fail because of a cause: the node, the registry, the connection, a policy, the form of the image.

The kubelet's reason says little, so the texts of runtimes and registries decide. One message may describe several tries: the
kubelet asks with each pull secret and then without one, and CRI-O asks mirrors first. So these rows come before the refusals
(`pull_refusals`), with which the last try without credentials always ends.
"""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row
from kube_job_runner.domain.failures.rules.image_checks import PULL
from kube_job_runner.domain.failures.rules.shared import NODE_FAULT

pull = functools.partial(row, where="container.waiting", reasons=PULL, without_names=True)

RULES: tuple[Rule, ...] = (
    pull(
        "pull-runtime-unreachable",
        r"(containerd|crio|cri-dockerd|docker)\.sock|cannot connect to the docker daemon|unknown service runtime\.",
        without_names=False,
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The container runtime of node {node} does not answer: {message}." + NODE_FAULT,
        source="kubelet cri-client; grpc transport errors",
    ),
    pull(
        "pull-disk-full",
        r"no space left on device|disk quota exceeded|not enough space on the disk",
        category="node_disk_full",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "The disk of node {node} is full, so it could not store the image of container {container}: {message}. "
            "A new attempt on another node is free."
        ),
        source="kernel ENOSPC through containerd snapshots, containers/storage and moby layers",
    ),
    pull(
        "pull-kubelet-rate",
        r"pull QPS exceeded",
        category="registry_rate_limited",
        verdict="retry_free",
        grace="registry",
        explanation="Node {node} pulls many images at once, so this pull waits its turn. Nothing needs to be done.",
        source="kubelet images/helpers.go, throttledImageService (registryPullQPS)",
    ),
    pull(
        "pull-registry-quota",
        r"(bandwidth|transfer|traffic|egress|storage|download|billing|plan|account)\b.{0,40}\b(quota|limit|"
        r"allowance|cap)\b.{0,40}\b(exceed|reach|used up|exhaust)|"
        r"(exceed|reach|exhaust)\w*\b.{0,60}\b(bandwidth|data transfer|transfer|traffic|egress|storage|download)"
        r"\b.{0,20}\b(quota|limit|allowance|cap)\b|\b402 Payment Required|payment required",
        category="registry_quota",
        verdict="retry_free",
        grace="registry",
        explanation=(
            "The registry refused to pull the image of container {container}, because the registry account has used "
            "up its quota: {message}. Raise that quota at the registry, or pull from another registry."
        ),
        source="errors of hosted registries: JFrog, GitHub Packages, Quay, Docker Hub plans",
    ),
    pull(
        "pull-rate-limited",
        r"too ?many ?requests|\b429\b(?! ?[mk]?b)|rate.?limit|rate (of \w+ )?exceeded|pull limit|"
        r"quota.{0,80}exceeded|exceeded.{0,80}quota|throttl|slow ?down|request limit|"
        r"(requests?|calls?) per (second|minute|hour)",
        category="registry_rate_limited",
        verdict="retry_free",
        grace="registry",
        explanation=(
            "The registry's limit on image pulls is reached: {message}. "
            "The node keeps trying, and a new attempt is free. A pull secret or a mirror raises the limit."
        ),
        source="distribution errcode TOOMANYREQUESTS; Docker Hub, ECR, Artifact Registry, ACR, Quay, GitLab answers",
    ),
    pull(
        "pull-image-policy",
        r"severity of vulnerabilit|\d+ vulnerabilit|vulnerab\w+ (scan|severity|status)|cannot be pulled due to|"
        r"412 precondition failed|configured policy|policyviolation|source image rejected|rejected by policy|"
        r"(denied|blocked|forbidden|prohibited) by .{0,40}\bpolicy|policy.{0,40}(denied|blocked|rejected|violat)|"
        r"signature (was )?required|signature validation|invalid signature for|(image|artifact) is not signed|"
        r"not signed in|no (matching |valid )?signatures?\b|signature verification|content trust|"
        r"(is|was|been|are|in|under) quarantine|blocked by (jfrog )?(xray|curation|firewall)|is blocked|"
        r"malware (was )?(found|detected)",
        category="image_policy",
        verdict="fail_now",
        explanation=(
            "A policy forbids the image of container {container}: {message}. "
            "Use an image that the policy allows (scanned, signed), or have the policy changed."
        ),
        source="Harbor PROJECTPOLICYVIOLATION; containers/image policy.json; JFrog Xray; Nexus firewall; ACR quarantine",
    ),
    pull(
        "pull-reference-invalid",
        r"invalid reference format|could not parse reference|couldn't parse image|invalid image name|"
        r"repository name must be (lowercase|canonical)|name invalid|NAME_INVALID|TAG_INVALID|invalid tag format|"
        r"invalid checksum digest (length|format)",
        category="image_reference_invalid",
        verdict="fail_now",
        explanation=(
            "The image of container {container} is not a valid image reference: {message}. "
            "Correct the image of the job."
        ),
        source="distribution reference; errcode NAME_INVALID",
    ),
    pull(
        "pull-platform",
        r"no match(ing manifest)? for (the )?platform|no matching manifest|no manifest found for platform|"
        r"no image found in (image index|manifest list)|no match for platform|"
        r"(does not|doesn't) match the (specified|expected) platform|cannot be used on this platform|"
        r"no child with platform|not a supported platform|unsupported (platform|architecture)|"
        r"is incompatible with a .{0,40}\bhost|no (compatible|suitable) (image|manifest)|"
        r"could not find a match for platform|no supported platform found|"
        r"not compatible with (the host|this) platform|exec format error",
        category="image_platform",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The image of container {container} exists, but not for the CPU type and system of node {node}: "
            "{message}. Build it for that platform, or choose nodes with another platform."
        ),
        source="containerd platforms; containers/image manifest choice; moby distribution/pull_v2",
    ),
    pull(
        "pull-image-unreadable",
        r"(unsupported|unexpected) (manifest )?media ?type(?!.{0,60}text/html)|"
        r"media ?type .{0,120}(no longer supported|not supported)|manifest schema ?v?1\b|"
        r"schema ?1 (manifest|image|support)|unsupported (manifest|image) (format|type|schema|version)|"
        r"encountered unknown type|manifest invalid|MANIFEST_INVALID|unable to prepare image.{0,40}unsupported|"
        r"missing signature key|is not a (container )?image",
        category="image_unreadable",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The image of container {container} exists, but the runtime of node {node} cannot read it: {message}. "
            "Build and push it again with a current tool."
        ),
        source="containerd images and remotes/docker/schema1",
    ),
    pull(
        "pull-damaged",
        r"invalid tar header|invalid (gzip|zstd) header|gzip: invalid|zstd: invalid|wrong diff id|"
        r"media ?type.{0,60}text/html|flate: corrupt|checksum error|crc32",
        category="registry_unavailable",
        verdict="retry_free",
        grace="registry",
        explanation=(
            "Node {node} received a damaged image for container {container}: {message}. "
            "The image is pulled again, and a new attempt is free. "
            "If it stays damaged, push the image again and check the proxies on the way."
        ),
        source="archive/tar, compress/gzip; containerd diff; pages of proxies that were stored as manifests",
    ),
    pull(
        "pull-node-store",
        r"failed to extract layer|open /var/lib/(docker|containers?|containerd)/|"
        r"failed to prepare extraction snapshot|content (digest|store)|parent snapshot|snapshotter|"
        r"failed to (unmount|mount)|failed to register layer|layer does not exist|input/output error|"
        r"read-only file system|structure needs cleaning|cannot allocate memory|too many open files|"
        r"insufficient (UIDs|GIDs)|lock file|error creating (read-write|overlay) layer|adding layer with blob|"
        r"ApplyLayer|invalid policy in",
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "Node {node} pulled the image of container {container} but could not unpack it: {message}." + NODE_FAULT
        ),
        source="containerd diff and content stores; containers/storage; moby layer store",
    ),
    pull(
        "pull-registry-untrusted",
        r"x509: |certificate (is not trusted|has expired|signed by unknown|verify failed|is valid for)|"
        r"unknown authority|server gave HTTP response to HTTPS client|http: server gave|"
        r"first record does not look like a TLS handshake|client sent an HTTP request to an HTTPS server|"
        r"tls: (unsupported|no application protocol|protocol version)",
        category="registry_unavailable",
        verdict="fail_after_grace",
        grace="registry",
        explanation=(
            "Node {node} cannot make a safe connection to the registry of the image of container {container}: "
            "{message}. "
            "The cluster's operator must install the registry's certificate on the nodes, or configure the registry "
            "as plain HTTP."
        ),
        source="Go crypto/x509, crypto/tls and net/http error texts",
    ),
    pull(
        "pull-registry-unknown-host",
        r"no such host|NXDOMAIN|name or service not known|nodename nor servname",
        category="registry_unavailable",
        verdict="fail_after_grace",
        grace="registry",
        explanation=(
            "Node {node} cannot resolve the host in the image name of container {container}: {message}. "
            "Check the host in the image name. If it is right, the node's DNS is broken."
        ),
        source="Go net DNSError; glibc getaddrinfo",
    ),
    pull(
        "pull-token-expired",
        r"authorization token has expired|reauthenticate and try again",
        category="image_unauthorized",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The pull secret for the image of container {container} has expired: {message}. Renew it. "
            "Tokens of cloud registries live for hours, so let a tool renew them."
        ),
        source="ECR, whose tokens live for 12 hours",
    ),
    pull(
        "pull-registry-down",
        r"\b50[0-9] (internal|bad|service|gateway|not impl|http|origin|site|insufficient|loop)|\b52[0-9]\b|"
        r"(status|status code|code|http|https?/\d(\.\d)?|response)\W{0,8}(\[[^\]]*\]\W{0,3})?5\d\d\b|"
        r"internal server error|internal_?error\b|service ?(is )?(temporarily )?unavailable|bad gateway|"
        r"gateway time-?out|registry is unavailable|temporarily unavailable|i/o timeout|timed? ?out|"
        r"deadline ?exceeded|context cancell?ed|code = (Unavailable|Canceled)|request cancell?ed|"
        r"connection (was )?(refused|reset|closed|aborted)|broken pipe|server misbehaving|"
        r"temporary failure in name resolution|try again|network is (unreachable|down)|no route to host|"
        r"host is (down|unreachable)|EHOSTUNREACH|ECONNREFUSED|tls: |TLS handshake|\bEOF\b|stream error|http2: |"
        r"GOAWAY|proxyconnect|(use|using) of closed network connection|server closed idle connection|"
        r"forcibly closed|dial tcp|dial unix|unexpected commit digest|failed size validation|"
        r"(digest|layer|checksum) (mismatch|verification failed)|failed to verify|"
        r"does not match (the )?(expected )?digest|short (read|copy)|wrong size|no progress|stalled|"
        r"fetching blob: StatusCode: 4(?!0[134])\d\d|\b400 bad request|proxy authentication|\b407\b|"
        r"missing protocol scheme|signature format, starting with binary 0x3c|under maintenance|read-only mode|"
        r"SignatureDoesNotMatch|request has expired|ExpiredToken|RequestTimeTooSkewed",
        category="registry_unavailable",
        verdict="retry_free",
        grace="registry",
        explanation=(
            "The registry of the image of container {container} does not work as it should: {message}. "
            "This is not the job's fault. The node keeps trying, and a new attempt is free."
        ),
        source="Go net, net/http, crypto/tls and grpc error texts; HTTP 5xx as containerd, CRI-O and moby word them",
    ),
)
