"""Rows for images that cannot be pulled: from the texts of runtimes and registries, for the kubelet's reason says little.

One message may tell of several tries: the kubelet asks with each pull secret and then without one, CRI-O asks mirrors first.
So causes come before the refusals (401, 403) that a last try without credentials always ends in.
"""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row, text

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})


_pull = functools.partial(row, where="container.waiting", reasons=_PULL, without_names=True)

_REGISTRY_WAITS = (
    "The registry of the image of container {container} does not answer as it should: {message}. This is not the job's "
    "fault; the node keeps trying, and a new attempt is free."
)

RULES: tuple[Rule, ...] = (
    Rule(
        name="image-name-invalid",
        where="container.waiting",
        reasons=frozenset({"InvalidImageName"}),
        category="image_reference_invalid",
        verdict="fail_now",
        explanation=(
            "The image of container {container} is not a valid image reference: {message}. Correct it: lower case, no "
            "spaces, no `https://`, no variable left unexpanded."
        ),
        source="kubelet images/types.go ErrInvalidImageName; distribution reference",
    ),
    Rule(
        name="image-signature",
        where="container.waiting",
        reasons=frozenset({"SignatureValidationFailed"}),
        category="image_policy",
        verdict="fail_now",
        explanation=(
            "The image of container {container} did not pass the signature policy of the node: {message}. Sign "
            "the image, "
            "or use one that the policy allows."
        ),
        source="cri-api pkg/errors ErrSignatureValidationFailed; CRI-O",
    ),
    Rule(
        name="image-never-pulled",
        where="container.waiting",
        reasons=frozenset({"ErrImageNeverPull"}),
        category="image_not_found",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "Node {node} has no copy of the image of container {container}, and the pull policy `Never` forbids "
            "to fetch "
            "one. Load the image onto the nodes, or use another pull policy."
        ),
        source="kubelet images/image_manager.go",
    ),
    Rule(
        name="image-short-name",
        where="container.waiting",
        reasons=_PULL | {"ImageInspectError"},
        pattern=text(r"short.?name .{0,300}(did not resolve|ambiguous|enforcing)|no unqualified.search registries"),
        category="image_reference_invalid",
        verdict="fail_now",
        explanation=(
            "The image of container {container} names no registry, and the nodes may not guess one: {message}. Write the "
            "registry before its name, as in `docker.io/library/busybox:1`."
        ),
        source="containers/image pkg/shortnames; CRI-O",
    ),
    Rule(
        name="image-store-full",
        where="container.waiting",
        reasons=frozenset({"ImageInspectError"}),
        pattern=text(r"no space left on device|disk quota exceeded"),
        category="node_disk_full",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The disk of node {node} is full: {message}. Another node is tried, at no cost to the job.",
        source="kubelet images/image_manager.go; kernel ENOSPC",
    ),
    Rule(
        name="image-store-broken",
        where="container.waiting",
        reasons=frozenset({"ImageInspectError"}),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "Node {node} could not read its store of images: {message}. This is the node's fault; a new attempt is "
            "free."
        ),
        source="kubelet images/types.go ErrImageInspect",
    ),
    _pull(
        "pull-runtime-unreachable",
        r"(containerd|crio|cri-dockerd|docker)\.sock|cannot connect to the docker daemon|unknown service runtime\.",
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "The container runtime of node {node} does not answer: {message}. This is the node's fault; a new "
            "attempt is free."
        ),
        source="kubelet cri-client; grpc transport errors",
        without_names=False,
    ),
    _pull(
        "pull-disk-full",
        r"no space left on device|disk quota exceeded|not enough space on the disk",
        category="node_disk_full",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "The disk of node {node} is full, so the image of container {container} could not be stored: {message}. "
            "Another node is tried, at no cost to the job."
        ),
        source="kernel ENOSPC through containerd snapshots, containers/storage and moby layers",
    ),
    _pull(
        "pull-kubelet-rate",
        r"pull QPS exceeded",
        category="registry_rate_limited",
        verdict="retry_free",
        grace="registry",
        explanation="Node {node} pulls many images at once and makes this one wait its turn; nothing needs to be done.",
        source="kubelet images/helpers.go, throttledImageService (registryPullQPS)",
    ),
    _pull(
        "pull-registry-quota",
        r"(bandwidth|transfer|traffic|egress|storage|download|billing|plan|account)\b.{0,40}\b(quota|limit|allowance|cap)\b"
        r".{0,40}\b(exceed|reach|used up|exhaust)|(exceed|reach|exhaust)\w*\b.{0,60}\b(bandwidth|data transfer|transfer|"
        r"traffic|egress|storage|download)\b.{0,20}\b(quota|limit|allowance|cap)\b|\b402 Payment Required|payment required",
        category="registry_quota",
        verdict="retry_free",
        grace="registry",
        explanation=(
            "The account of the image's registry has used up its own quota, so the pull for container {container} was "
            "refused: {message}. Raise that quota with the registry, or pull from another one."
        ),
        source="errors of hosted registries: JFrog, GitHub Packages, Quay, Docker Hub plans",
    ),
    _pull(
        "pull-rate-limited",
        r"too ?many ?requests|\b429\b(?! ?[mk]?b)|rate.?limit|rate (of \w+ )?exceeded|pull limit|quota.{0,80}exceeded|"
        r"exceeded.{0,80}quota|throttl|slow ?down|request limit|(requests?|calls?) per (second|minute|hour)",
        category="registry_rate_limited",
        verdict="retry_free",
        grace="registry",
        explanation=(
            "The registry limits how often images are pulled, and the limit is reached: {message}. The node "
            "keeps trying and "
            "a new attempt is free; a pull secret or a mirror raises the limit."
        ),
        source="distribution errcode TOOMANYREQUESTS; Docker Hub, ECR, Artifact Registry, ACR, Quay, GitLab answers",
    ),
    _pull(
        "pull-image-policy",
        r"severity of vulnerabilit|\d+ vulnerabilit|vulnerab\w+ (scan|severity|status)|"
        r"cannot be pulled due to|412 precondition failed|configured policy|policyviolation|"
        r"source image rejected|rejected by policy|(denied|blocked|forbidden|prohibited) by .{0,40}\bpolicy|"
        r"policy.{0,40}(denied|blocked|rejected|violat)|signature (was )?required|"
        r"signature validation|invalid signature for|"
        r"(image|artifact) is not signed|not signed in|no (matching |valid )?signatures?\b|signature verification|"
        r"content trust|(is|was|been|are|in|under) quarantine|blocked by (jfrog )?(xray|curation|"
        r"firewall)|is blocked|malware (was )?(found|detected)",
        category="image_policy",
        verdict="fail_now",
        explanation=(
            "A policy forbids the image of container {container}: {message}. Use an image that the policy "
            "allows (scanned, "
            "signed), or have the policy changed."
        ),
        source=(
            "Harbor PROJECTPOLICYVIOLATION; containers/image policy.json; JFrog Xray; Nexus firewall; ACR quarantine"
        ),
    ),
    _pull(
        "pull-reference-invalid",
        r"invalid reference format|could not parse reference|couldn't parse image|invalid image name|"
        r"repository name must be (lowercase|canonical)|name invalid|NAME_INVALID|TAG_INVALID|invalid tag format|"
        r"invalid checksum digest (length|format)",
        category="image_reference_invalid",
        verdict="fail_now",
        explanation=(
            "The image of container {container} is not a valid image reference: {message}. Correct the image of the "
            "job."
        ),
        source="distribution reference; errcode NAME_INVALID",
    ),
    _pull(
        "pull-platform",
        r"no match(ing manifest)? for (the )?platform|no matching manifest|no manifest found for platform|"
        r"no image found in (image index|manifest list)|no match for platform|(does not|"
        r"doesn't) match the (specified|expected) "
        r"platform|cannot be used on this platform|no child with platform|not a supported platform|unsupported (platform|"
        r"architecture)|is incompatible with a .{0,40}\bhost|no (compatible|suitable) (image|"
        r"manifest)|could not find a match for "
        r"platform|no supported platform found|not compatible with (the host|this) platform|exec format error",
        category="image_platform",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The image of container {container} exists, but not for the CPU type and system of node {node}: "
            "{message}. Build "
            "it for that platform, or choose nodes of another one."
        ),
        source="containerd platforms; containers/image manifest choice; moby distribution/pull_v2",
    ),
    _pull(
        "pull-image-unreadable",
        r"(unsupported|unexpected) (manifest )?media ?type(?!.{0,60}text/html)|media ?type .{0,120}(no longer supported|"
        r"not supported)|manifest schema ?v?1\b|"
        r"schema ?1 (manifest|image|support)|unsupported (manifest|image) (format|type|schema|version)|encountered unknown type|"
        r"manifest invalid|MANIFEST_INVALID|"
        r"unable to prepare image.{0,40}unsupported|missing signature key|is not a (container )?image",
        category="image_unreadable",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The image of container {container} is there, but the runtime of node {node} cannot read it: "
            "{message}. Build and "
            "push it anew with a current tool."
        ),
        source="containerd images and remotes/docker/schema1",
    ),
    _pull(
        "pull-damaged",
        r"invalid tar header|invalid (gzip|zstd) header|gzip: invalid|zstd: invalid|wrong diff id|media ?type.{0,60}text/html|"
        r"flate: corrupt|checksum error|crc32",
        category="registry_unavailable",
        verdict="retry_free",
        grace="registry",
        explanation=(
            "What node {node} got as the image of container {container} is damaged: {message}. It is fetched again, and a "
            "new attempt is free; if it stays so, push the image anew, and look at proxies on the way."
        ),
        source="archive/tar, compress/gzip; containerd diff; pages of proxies that were stored as manifests",
    ),
    _pull(
        "pull-node-store",
        r"failed to extract layer|open /var/lib/(docker|containers?|containerd)/|"
        r"failed to prepare extraction snapshot|content (digest|store)|parent snapshot|snapshotter|"
        r"failed to (unmount|mount)|failed to register layer|layer does not exist|input/output error|read-only file system|"
        r"structure needs cleaning|cannot allocate memory|too many open files|insufficient (UIDs|GIDs)|lock file|"
        r"error creating (read-write|overlay) layer|adding layer with blob|ApplyLayer|invalid policy in",
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "Node {node} fetched the image of container {container} but could not unpack it: {message}. This is "
            "the node's "
            "fault; a new attempt is free."
        ),
        source="containerd diff and content stores; containers/storage; moby layer store",
    ),
    _pull(
        "pull-registry-untrusted",
        r"x509: |certificate (is not trusted|has expired|signed by unknown|verify failed|is valid for)|unknown authority|"
        r"server gave HTTP response to HTTPS client|http: server gave|first record does not look like a TLS handshake|"
        r"client sent an HTTP request to an HTTPS server|tls: (unsupported|no application protocol|protocol version)",
        category="registry_unavailable",
        verdict="fail_after_grace",
        grace="registry",
        explanation=(
            "Node {node} cannot make a safe connection to the registry of the image of container {container}: "
            "{message}. The "
            "operator must install the registry's certificate on the nodes, or name the registry as plain HTTP."
        ),
        source="Go crypto/x509, crypto/tls and net/http error texts",
    ),
    _pull(
        "pull-registry-unknown-host",
        r"no such host|NXDOMAIN|name or service not known|nodename nor servname",
        category="registry_unavailable",
        verdict="fail_after_grace",
        grace="registry",
        explanation=(
            "The host of the image of container {container} is not known to the name service of node {node}: "
            "{message}. Check "
            "the host in the image's name; if it is right, the node's DNS is broken."
        ),
        source="Go net DNSError; glibc getaddrinfo",
    ),
    _pull(
        "pull-token-expired",
        r"authorization token has expired|reauthenticate and try again",
        category="image_unauthorized",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The pull secret for the image of container {container} has expired: {message}. Renew it; tokens of "
            "cloud registries live for hours, so have something renew them."
        ),
        source="ECR, whose tokens live for 12 hours",
    ),
    _pull(
        "pull-registry-down",
        r"\b50[0-9] (internal|bad|service|gateway|not impl|http|origin|site|insufficient|loop)|\b52[0-9]\b|"
        r"(status|status code|code|http|https?/\d(\.\d)?|response)\W{0,8}(\[[^\]]*\]\W{0,3})?5\d\d\b|internal server error|"
        r"internal_?error\b|service ?(is )?(temporarily )?unavailable|bad gateway|gateway time-?out|registry is unavailable|"
        r"temporarily unavailable|"
        r"i/o timeout|timed? ?out|deadline ?exceeded|context cancell?ed|code = (Unavailable|Canceled)|"
        r"request cancell?ed|connection (was )?(refused|reset|closed|aborted)|broken pipe|server misbehaving|"
        r"temporary failure in name resolution|try again|network is (unreachable|down)|"
        r"no route to host|host is (down|unreachable)|"
        r"EHOSTUNREACH|ECONNREFUSED|tls: |TLS handshake|\bEOF\b|stream error|http2: |GOAWAY|proxyconnect|"
        r"(use|using) of closed network connection|server closed idle connection|forcibly closed|dial tcp|dial unix|"
        r"unexpected commit digest|failed size validation|(digest|layer|checksum) (mismatch|"
        r"verification failed)|failed to verify|"
        r"does not match (the )?(expected )?digest|short (read|copy)|wrong size|no progress|stalled|"
        r"fetching blob: StatusCode: 4(?!0[134])\d\d|\b400 bad request|proxy authentication|\b407\b|missing protocol scheme|"
        r"signature format, starting with binary 0x3c|"
        r"under maintenance|read-only mode|SignatureDoesNotMatch|request has expired|ExpiredToken|RequestTimeTooSkewed",
        category="registry_unavailable",
        verdict="retry_free",
        grace="registry",
        explanation=_REGISTRY_WAITS,
        source="Go net, net/http, crypto/tls and grpc error texts; HTTP 5xx as containerd, CRI-O and moby word them",
    ),
    _pull(
        "pull-manifest-unknown",
        r"manifest[ _]unknown|name[ _]unknown|blob[ _]unknown|manifest for .{0,300}not found|repository name not known|"
        r"manifest tagged by|named manifest is not known|no such (image|manifest)|"
        r"image .{0,200}does not exist in|tag .{0,100}"
        r"(does not exist|was deleted|has expired|not found)|does not use the \S{1,130} tag|"
        r"unsupported docker v1 repository",
        category="image_not_found",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The image of container {container}, or its tag, does not exist in the registry: {message}. Check "
            "the name and "
            "the tag, and push the image if it is missing."
        ),
        source=(
            "distribution errcode MANIFEST_UNKNOWN, NAME_UNKNOWN; ECR, ACR, Artifact Registry, Quay, Nexus, JFrog "
            "answers"
        ),
    ),
    _pull(
        "pull-hub-name-unknown",
        r"pull access denied for (docker\.io/library/)?[^/\s,]+, repository does not exist|"
        r"in docker\.io/library/\S+: .{0,60}denied",
        without_names=False,
        category="image_not_found",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "Docker Hub has no official image of the name that container {container} asks for: {message}. Check "
            "the spelling, "
            "or put the registry and the owner before the name."
        ),
        source="Docker Hub answers `denied` for a repository that does not exist; moby, containers/image",
    ),
    _pull(
        "pull-unauthorized",
        r"unauthori[sz]ed|\b401\b|\b403\b|forbidden|authentication (is )?required|authorization (failed|required|token)|"
        r"access (is |was |to .{0,80} (is|was) )?denied|accessdenied|\bdenied\b|"
        r"permission.{0,120}denied|no basic auth|basic auth|"
        r"insufficient_?scope|not authori[sz]ed|invalid username|incorrect username|invalid (user )?credentials|"
        r"bad credentials|parse json key|unable to retrieve auth token|login required|docker login|"
        r"credentials? (are|is|has|have) "
        r"(expired|invalid|missing)|token (has |is )?(expired|invalid)|failed to (authorize|fetch (anonymous|oauth) token)|"
        r"(get|getting) credentials|anonymous (users|access|caller)|permission to|don't have access|"
        r"does not have .{0,60}access",
        category="image_unauthorized",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The registry refused the pull of the image of container {container}: {message}. Check that the "
            "image exists, and "
            "that the service account has a pull secret which may read it."
        ),
        source="distribution errcode UNAUTHORIZED, DENIED; containerd ErrInvalidAuthorization; registries' own texts",
    ),
    _pull(
        "pull-not-found",
        r"not ?found|\b404\b|no such image|does not exist|doesn't exist|unable to find image|is not present",
        category="image_not_found",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The image of container {container}, or its tag, does not exist: {message}. Check the name and the "
            "tag, and push "
            "the image if it is missing."
        ),
        source="containerd errdefs NotFound; HTTP 404 of registries",
    ),
    Rule(
        name="pull-registry-unavailable",
        where="container.waiting",
        reasons=frozenset({"RegistryUnavailable"}),
        category="registry_unavailable",
        verdict="retry_free",
        grace="registry",
        explanation=_REGISTRY_WAITS,
        source="cri-api pkg/errors ErrRegistryUnavailable",
    ),
    Rule(
        name="pull-cause-untold",
        where="container.waiting",
        reasons=frozenset({"ImagePullBackOff", "ErrImagePull"}),
        pattern=text(r"^(Back-off pulling image \S+\.?|)$"),
        category="unknown",
        verdict="fail_after_grace",
        grace="registry",
        explanation=(
            "The image of container {container} could not be pulled, and node {node} does not say why "
            "({message}). Check "
            "that the image exists and that the cluster may pull it."
        ),
        source="kubelet images/image_manager.go before 1.31: the cause is told only between two tries",
    ),
)
