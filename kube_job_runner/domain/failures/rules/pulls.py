"""Rows for images that cannot be pulled: because of the image itself, the node, the connection, or the registry.

The kubelet's reason says little, so the texts of runtimes and registries decide.
"""

import functools

from kube_job_runner.domain.failures.rule import Rule, fail_after_grace, fail_now, retry_free
from kube_job_runner.domain.failures.rules.rule_rows import NODE_FAULT, by_reason, row

_PULL = "ErrImagePull ImagePullBackOff RegistryUnavailable"

_image = functools.partial(by_reason, where="container.waiting")
_image_text = functools.partial(row, where="container.waiting")
_pull = functools.partial(_image_text, reasons=_PULL, without_names=True)

RULES: tuple[Rule, ...] = (
    # What the kubelet says before it pulls: the name, the policy, the node's own store.
    _image(
        "image-name-invalid",
        "InvalidImageName",
        fail_now("image_reference_invalid"),
        "The image of container {container} is not a valid image reference: {message}. "
        "Correct it: lower case, no spaces, no `https://`, no unexpanded variable.",
        "kubelet images/types.go ErrInvalidImageName; distribution reference",
    ),
    _image(
        "image-signature",
        "SignatureValidationFailed",
        fail_now("image_policy"),
        "The image of container {container} did not pass the node's signature policy: {message}. "
        "Sign the image, or use one that the policy allows.",
        "cri-api pkg/errors ErrSignatureValidationFailed; CRI-O",
    ),
    _image(
        "image-never-pulled",
        "ErrImageNeverPull",
        fail_after_grace("image_not_found", "image"),
        "Node {node} has no copy of the image of container {container}, and the pull policy `Never` forbids pulling "
        "it. Load the image onto the nodes, or use another pull policy.",
        "kubelet images/image_manager.go",
    ),
    _image_text(
        "image-short-name",
        r"short.?name .{0,300}(did not resolve|ambiguous|enforcing)|no unqualified.search registries",
        fail_now("image_reference_invalid"),
        "The image of container {container} names no registry, and the nodes may not guess one: {message}. "
        "Write the registry before the name, as in `docker.io/library/busybox:1`.",
        "containers/image pkg/shortnames; CRI-O",
        reasons=f"{_PULL} ImageInspectError",
    ),
    _image_text(
        "image-store-full",
        r"no space left on device|disk quota exceeded",
        retry_free("node_disk_full", "infrastructure"),
        "The disk of node {node} is full: {message}. A new attempt on another node is free.",
        "kubelet images/image_manager.go; kernel ENOSPC",
        reasons="ImageInspectError",
    ),
    _image(
        "image-store-broken",
        "ImageInspectError",
        retry_free("runtime_error", "infrastructure"),
        "Node {node} could not read its image store: {message}." + NODE_FAULT,
        "kubelet images/types.go ErrImageInspect",
    ),
    # Causes. One message may describe several tries: the kubelet asks with each pull secret and then without one, and
    # CRI-O asks mirrors first. So these rows come before the refusals, with which the last try without credentials ends.
    _pull(
        "pull-runtime-unreachable",
        r"(containerd|crio|cri-dockerd|docker)\.sock|cannot connect to the docker daemon|unknown service runtime\.",
        retry_free("runtime_error", "infrastructure"),
        "The container runtime of node {node} does not answer: {message}." + NODE_FAULT,
        "kubelet cri-client; grpc transport errors",
        without_names=False,
    ),
    _pull(
        "pull-disk-full",
        r"no space left on device|disk quota exceeded|not enough space on the disk",
        retry_free("node_disk_full", "infrastructure"),
        "The disk of node {node} is full, so it could not store the image of container {container}: {message}. "
        "A new attempt on another node is free.",
        "kernel ENOSPC through containerd snapshots, containers/storage and moby layers",
    ),
    _pull(
        "pull-kubelet-rate",
        r"pull QPS exceeded",
        retry_free("registry_rate_limited", "registry"),
        "Node {node} pulls many images at once, so this pull waits its turn. Nothing needs to be done.",
        "kubelet images/helpers.go, throttledImageService (registryPullQPS)",
    ),
    _pull(
        "pull-registry-quota",
        r"(bandwidth|transfer|traffic|egress|storage|download|billing|plan|account)\b.{0,40}\b(quota|limit|"
        r"allowance|cap)\b.{0,40}\b(exceed|reach|used up|exhaust)|"
        r"(exceed|reach|exhaust)\w*\b.{0,60}\b(bandwidth|data transfer|transfer|traffic|egress|storage|download)"
        r"\b.{0,20}\b(quota|limit|allowance|cap)\b|\b402 Payment Required|payment required",
        retry_free("registry_quota", "registry"),
        "The registry refused to pull the image of container {container}, because the registry account has used up "
        "its quota: {message}. Raise that quota at the registry, or pull from another registry.",
        "errors of hosted registries: JFrog, GitHub Packages, Quay, Docker Hub plans",
    ),
    _pull(
        "pull-rate-limited",
        r"too ?many ?requests|\b429\b(?! ?[mk]?b)|rate.?limit|rate (of \w+ )?exceeded|pull limit|quota.{0,80}exceeded|"
        r"exceeded.{0,80}quota|throttl|slow ?down|request limit|(requests?|calls?) per (second|minute|hour)",
        retry_free("registry_rate_limited", "registry"),
        "The registry's limit on image pulls is reached: {message}. "
        "The node keeps trying, and a new attempt is free. A pull secret or a mirror raises the limit.",
        "distribution errcode TOOMANYREQUESTS; Docker Hub, ECR, Artifact Registry, ACR, Quay, GitLab answers",
    ),
    _pull(
        "pull-image-policy",
        r"severity of vulnerabilit|\d+ vulnerabilit|vulnerab\w+ (scan|severity|status)|cannot be pulled due to|"
        r"412 precondition failed|configured policy|policyviolation|source image rejected|rejected by policy|"
        r"(denied|blocked|forbidden|prohibited) by .{0,40}\bpolicy|policy.{0,40}(denied|blocked|rejected|violat)|"
        r"signature (was )?required|signature validation|invalid signature for|(image|artifact) is not signed|not signed in|"
        r"no (matching |valid )?signatures?\b|signature verification|content trust|(is|was|been|are|in|under) quarantine|"
        r"blocked by (jfrog )?(xray|curation|firewall)|is blocked|malware (was )?(found|detected)",
        fail_now("image_policy"),
        "A policy forbids the image of container {container}: {message}. "
        "Use an image that the policy allows (scanned, signed), or have the policy changed.",
        "Harbor PROJECTPOLICYVIOLATION; containers/image policy.json; JFrog Xray; Nexus firewall; ACR quarantine",
    ),
    _pull(
        "pull-reference-invalid",
        r"invalid reference format|could not parse reference|couldn't parse image|invalid image name|"
        r"repository name must be (lowercase|canonical)|name invalid|NAME_INVALID|TAG_INVALID|invalid tag format|"
        r"invalid checksum digest (length|format)",
        fail_now("image_reference_invalid"),
        "The image of container {container} is not a valid image reference: {message}. Correct the image of the job.",
        "distribution reference; errcode NAME_INVALID",
    ),
    _pull(
        "pull-platform",
        r"no match(ing manifest)? for (the )?platform|no matching manifest|no manifest found for platform|"
        r"no image found in (image index|manifest list)|no match for platform|"
        r"(does not|doesn't) match the (specified|expected) platform|cannot be used on this platform|no child with platform|"
        r"not a supported platform|unsupported (platform|architecture)|is incompatible with a .{0,40}\bhost|"
        r"no (compatible|suitable) (image|manifest)|could not find a match for platform|no supported platform found|"
        r"not compatible with (the host|this) platform|exec format error",
        fail_after_grace("image_platform", "image"),
        "The image of container {container} exists, but not for the CPU type and system of node {node}: {message}. "
        "Build it for that platform, or choose nodes with another platform.",
        "containerd platforms; containers/image manifest choice; moby distribution/pull_v2",
    ),
    _pull(
        "pull-image-unreadable",
        r"(unsupported|unexpected) (manifest )?media ?type(?!.{0,60}text/html)|"
        r"media ?type .{0,120}(no longer supported|not supported)|manifest schema ?v?1\b|schema ?1 (manifest|image|support)|"
        r"unsupported (manifest|image) (format|type|schema|version)|encountered unknown type|manifest invalid|MANIFEST_INVALID|"
        r"unable to prepare image.{0,40}unsupported|missing signature key|is not a (container )?image",
        fail_after_grace("image_unreadable", "image"),
        "The image of container {container} exists, but the runtime of node {node} cannot read it: {message}. "
        "Build and push it again with a current tool.",
        "containerd images and remotes/docker/schema1",
    ),
    _pull(
        "pull-damaged",
        r"invalid tar header|invalid (gzip|zstd) header|gzip: invalid|zstd: invalid|wrong diff id|"
        r"media ?type.{0,60}text/html|flate: corrupt|checksum error|crc32",
        retry_free("registry_unavailable", "registry"),
        "Node {node} received a damaged image for container {container}: {message}. The image is pulled again, and a "
        "new attempt is free. If it stays damaged, push the image again and check the proxies on the way.",
        "archive/tar, compress/gzip; containerd diff; pages of proxies that were stored as manifests",
    ),
    _pull(
        "pull-node-store",
        r"failed to extract layer|open /var/lib/(docker|containers?|containerd)/|failed to prepare extraction snapshot|"
        r"content (digest|store)|parent snapshot|snapshotter|failed to (unmount|mount)|failed to register layer|"
        r"layer does not exist|input/output error|read-only file system|structure needs cleaning|cannot allocate memory|"
        r"too many open files|insufficient (UIDs|GIDs)|lock file|error creating (read-write|overlay) layer|"
        r"adding layer with blob|ApplyLayer|invalid policy in",
        retry_free("runtime_error", "infrastructure"),
        "Node {node} pulled the image of container {container} but could not unpack it: {message}." + NODE_FAULT,
        "containerd diff and content stores; containers/storage; moby layer store",
    ),
    _pull(
        "pull-registry-untrusted",
        r"x509: |certificate (is not trusted|has expired|signed by unknown|verify failed|is valid for)|unknown authority|"
        r"server gave HTTP response to HTTPS client|http: server gave|first record does not look like a TLS handshake|"
        r"client sent an HTTP request to an HTTPS server|tls: (unsupported|no application protocol|protocol version)",
        fail_after_grace("registry_unavailable", "registry"),
        "Node {node} cannot make a safe connection to the registry of the image of container {container}: {message}. "
        "The cluster's operator must install the registry's certificate on the nodes, or configure the registry as plain HTTP.",
        "Go crypto/x509, crypto/tls and net/http error texts",
    ),
    _pull(
        "pull-registry-unknown-host",
        r"no such host|NXDOMAIN|name or service not known|nodename nor servname",
        fail_after_grace("registry_unavailable", "registry"),
        "Node {node} cannot resolve the host in the image name of container {container}: {message}. "
        "Check the host in the image name. If it is right, the node's DNS is broken.",
        "Go net DNSError; glibc getaddrinfo",
    ),
    _pull(
        "pull-token-expired",
        r"authorization token has expired|reauthenticate and try again",
        fail_after_grace("image_unauthorized", "image"),
        "The pull secret for the image of container {container} has expired: {message}. "
        "Renew it. Tokens of cloud registries live for hours, so let a tool renew them.",
        "ECR, whose tokens live for 12 hours",
    ),
    _pull(
        "pull-registry-down",
        r"\b50[0-9] (internal|bad|service|gateway|not impl|http|origin|site|insufficient|loop)|\b52[0-9]\b|"
        r"(status|status code|code|http|https?/\d(\.\d)?|response)\W{0,8}(\[[^\]]*\]\W{0,3})?5\d\d\b|internal server error|"
        r"internal_?error\b|service ?(is )?(temporarily )?unavailable|bad gateway|gateway time-?out|registry is unavailable|"
        r"temporarily unavailable|i/o timeout|timed? ?out|deadline ?exceeded|context cancell?ed|code = (Unavailable|Canceled)|"
        r"request cancell?ed|connection (was )?(refused|reset|closed|aborted)|broken pipe|server misbehaving|"
        r"temporary failure in name resolution|try again|network is (unreachable|down)|no route to host|"
        r"host is (down|unreachable)|EHOSTUNREACH|ECONNREFUSED|tls: |TLS handshake|\bEOF\b|stream error|http2: |GOAWAY|"
        r"proxyconnect|(use|using) of closed network connection|server closed idle connection|forcibly closed|dial tcp|"
        r"dial unix|unexpected commit digest|failed size validation|(digest|layer|checksum) (mismatch|verification failed)|"
        r"failed to verify|does not match (the )?(expected )?digest|short (read|copy)|wrong size|no progress|stalled|"
        r"fetching blob: StatusCode: 4(?!0[134])\d\d|\b400 bad request|proxy authentication|\b407\b|missing protocol scheme|"
        r"signature format, starting with binary 0x3c|under maintenance|read-only mode|SignatureDoesNotMatch|"
        r"request has expired|ExpiredToken|RequestTimeTooSkewed",
        retry_free("registry_unavailable", "registry"),
        "The registry of the image of container {container} does not work as it should: {message}. "
        "This is not the job's fault. The node keeps trying, and a new attempt is free.",
        "Go net, net/http, crypto/tls and grpc error texts; HTTP 5xx as containerd, CRI-O and moby word them",
    ),
    # Refusals of a registry, and pulls whose cause is unknown.
    _pull(
        "pull-manifest-unknown",
        r"manifest[ _]unknown|name[ _]unknown|blob[ _]unknown|manifest for .{0,300}not found|"
        r"repository name not known|manifest tagged by|named manifest is not known|no such (image|manifest)|"
        r"image .{0,200}does not exist in|tag .{0,100}(does not exist|was deleted|has expired|not found)|"
        r"does not use the \S{1,130} tag|unsupported docker v1 repository",
        fail_after_grace("image_not_found", "image"),
        "The image of container {container}, or its tag, does not exist in the registry: {message}. "
        "Check the name and the tag. If the image is missing, push it.",
        "distribution errcode MANIFEST_UNKNOWN, NAME_UNKNOWN; ECR, ACR, Artifact Registry, Quay, Nexus, JFrog answers",
    ),
    _pull(
        "pull-hub-name-unknown",
        r"pull access denied for (docker\.io/library/)?[^/\s,]+, repository does not exist|"
        r"in docker\.io/library/\S+: .{0,60}denied",
        fail_after_grace("image_not_found", "image"),
        "Docker Hub has no official image with the name that container {container} asks for: {message}. "
        "Check the spelling, or put the registry and the owner before the name.",
        "Docker Hub answers `denied` for a repository that does not exist; moby, containers/image",
        without_names=False,
    ),
    _pull(
        "pull-unauthorized",
        r"unauthori[sz]ed|\b401\b|\b403\b|forbidden|authentication (is )?required|authorization (failed|required|token)|"
        r"access (is |was |to .{0,80} (is|was) )?denied|accessdenied|\bdenied\b|permission.{0,120}denied|no basic auth|"
        r"basic auth|insufficient_?scope|not authori[sz]ed|invalid username|incorrect username|invalid (user )?credentials|"
        r"bad credentials|parse json key|unable to retrieve auth token|login required|docker login|"
        r"credentials? (are|is|has|have) (expired|invalid|missing)|token (has |is )?(expired|invalid)|"
        r"failed to (authorize|fetch (anonymous|oauth) token)|(get|getting) credentials|anonymous (users|access|caller)|"
        r"permission to|don't have access|does not have .{0,60}access",
        fail_after_grace("image_unauthorized", "image"),
        "The registry refused to pull the image of container {container}: {message}. "
        "Check that the image exists, and that the service account has a pull secret that may read it.",
        "distribution errcode UNAUTHORIZED, DENIED; containerd ErrInvalidAuthorization; registries' own texts",
    ),
    _pull(
        "pull-not-found",
        r"not ?found|\b404\b|no such image|does not exist|doesn't exist|unable to find image|is not present",
        fail_after_grace("image_not_found", "image"),
        "The image of container {container}, or its tag, does not exist: {message}. "
        "Check the name and the tag. If the image is missing, push it.",
        "containerd errdefs NotFound; HTTP 404 of registries",
    ),
    _image(
        "pull-registry-unavailable",
        "RegistryUnavailable",
        retry_free("registry_unavailable", "registry"),
        "The registry of the image of container {container} does not work as it should: {message}. "
        "This is not the job's fault. The node keeps trying, and a new attempt is free.",
        "cri-api pkg/errors ErrRegistryUnavailable",
    ),
    _image_text(
        "pull-cause-untold",
        r"^(Back-off pulling image \S+\.?|)$",
        fail_after_grace("unknown", "registry"),
        "The image of container {container} could not be pulled, and node {node} does not say why ({message}). "
        "Check that the image exists and that the cluster may pull it.",
        "kubelet images/image_manager.go before 1.31: the cause is told only between two tries",
        reasons="ImagePullBackOff ErrImagePull",
    ),
)
