"""The table of bad requests: each with the exact status, code and pointers of its answer, on any store."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

JSON = {"Content-Type": "application/json"}
ID = "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3"
BAD_JSON, INVALID, NOT_FOUND = "malformed-json", "validation-failed", "not-found"


@dataclasses.dataclass(frozen=True)
class Bad:
    """A request that must be refused, and how. `pointers` are in the order of the answer."""

    name: str
    body: bytes = b""
    status: int = 422
    code: str = INVALID
    pointers: tuple[str, ...] = ()
    method: str = "POST"
    path: str = "/v1/jobs"
    headers: dict[str, str] = dataclasses.field(default_factory=lambda: dict(JSON))


def _encoded(spec: Any) -> bytes:
    return json.dumps(spec, separators=(",", ":")).encode()


def _spec(title: str, /, *pointers: str, path: str = "/v1/jobs", **fields: Any) -> Bad:
    return Bad(title, _encoded({"image": "busybox", **fields}), pointers=pointers, path=path)


def _raw(name: str, body: bytes, *pointers: str, **more: Any) -> Bad:
    return Bad(name, body, status=400, code=BAD_JSON, pointers=pointers or ("",), **more)


def _get(name: str, path: str, status: int, code: str, *pointers: str, **more: Any) -> Bad:
    return Bad(name, status=status, code=code, pointers=pointers, method="GET", path=path, headers={}, **more)


def _bodies() -> Iterator[Bad]:
    yield Bad("empty body", b"", status=400, code=BAD_JSON)
    yield Bad("white space only", b" \n\t", status=400, code=BAD_JSON)
    yield _raw("cut off", b'{"image":"busy')
    yield _raw("trailing comma", b'{"image":"busybox",}')
    yield _raw("two documents", b'{"image":"busybox"}{"image":"busybox"}')
    yield _raw("single quotes", b"{'image':'busybox'}")
    yield _raw("comment", b'{"image":"busybox" /* why */}')
    yield _raw("byte order mark", b'\xef\xbb\xbf{"image":"busybox"}')
    yield _raw("UTF-16", '{"image":"busybox"}'.encode("utf-16"))
    yield _raw("broken UTF-8 in a value", b'{"image":"busy\xffbox"}')
    yield _raw("broken UTF-8 in a key", b'{"image":"busybox","\xc3":1}')
    yield _raw("UTF-8 that is overlong", b'{"image":"\xc0\xaf"}')
    yield _raw("UTF-8 of a surrogate", b'{"image":"\xed\xa0\x80"}')
    yield _raw("raw NUL byte", b'{"image":"busy\x00box"}')
    yield _raw("raw line feed in a string", b'{"image":"busy\nbox"}')
    yield _raw("bad escape", b'{"image":"\\x41"}')
    yield _raw("lone surrogate", b'{"image":"busybox","args":["ok","\\ud800"]}', "/args/1")
    yield _raw("lone surrogate in a key", b'{"image":"busybox","env":{"\\udfff":"x"}}', "/env")
    yield _raw("key twice", b'{"image":"busybox","image":"busybox"}', "/image")
    yield _raw("key twice, one escaped", b'{"image":"busybox","im\\u0061ge":"x"}', "/image")
    yield _raw("key twice, masked by escapes", b'{"image":"\\u0022\\u0022\\u0022\\u0022","image":"a"}', "/image")
    yield _raw("key twice, deep", b'{"image":"busybox","env":{"A":"1","B":"2","A":"3"}}', "/env/A")
    yield _raw("key twice in an unknown field", b'{"image":"busybox","x":[{"a/b":1,"a/b":2}]}', "/x/0/a~1b")
    yield _raw("NaN", b'{"image":"busybox","priority":NaN}', "/priority")
    yield _raw("Infinity", b'{"image":"busybox","retry":{"backoff_seconds":Infinity}}', "/retry/backoff_seconds")
    yield _raw("minus Infinity in an unknown field", b'{"image":"busybox","x":-Infinity}', "/x")
    yield _raw(
        "number out of range", b'{"image":"busybox","retry":{"backoff_seconds":1e999}}', "/retry/backoff_seconds"
    )
    yield _raw("nested 40 deep", b'{"image":"busybox","x":' + b"[" * 40 + b"]" * 40 + b"}", "/x" + "/0" * 31)
    yield _raw("nested 100,000 deep", b"[" * 100_000 + b"]" * 100_000)
    yield _raw("objects nested 100,000 deep", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    for name, body in (("null", b"null"), ("a number", b"5"), ("a string", b'"busybox"'), ("an array", b"[]")):
        yield Bad(f"{name} for a body", body, pointers=("",))


def _types() -> Iterator[Bad]:
    yield Bad("no image", b"{}", pointers=("/image",))
    yield Bad("null image", b'{"image":null}', pointers=("/image",))
    yield _spec("image is a number", "/image", image=5)
    yield _spec("name is an array", "/name", name=["a"])
    yield _spec("command is a string", "/command", command="echo hello")
    yield _spec("args hold a number", "/args/1", args=["a", 1])
    yield _spec("env is an array", "/env", env=[["A", "1"]])
    yield _spec("env value is a number", "/env/A", env={"A": 1})
    yield _spec("env value is null", "/env/A", env={"A": None})
    yield _spec("priority is a string", "/priority", priority="5")
    yield _spec("priority is a boolean", "/priority", priority=True)
    yield _spec("priority is a fraction", "/priority", priority=1.5)
    yield _spec("read_only is a string", "/volumes/0/read_only", volumes=[_volume(read_only="yes")])
    yield _spec("resources is null", "/resources", resources=None)
    yield _spec("retry is a number", "/retry", retry=3)
    yield _spec("toleration effect", "/tolerations/0/effect", tolerations=[{"key": "a", "effect": "NoRun"}])
    yield _spec("secret without a key", "/secrets/0/key", secrets=[{"env": "A", "name": "s"}])


def _limits() -> Iterator[Bad]:
    yield _spec("priority too high", "/priority", priority=101)
    yield _spec("priority huge", "/priority", priority=10**30)
    yield Bad("priority of 5,000 digits", b'{"image":"a","priority":' + b"9" * 5000 + b"}", pointers=("/priority",))
    yield _spec("attempts zero", "/retry/attempts", retry={"attempts": 0})
    yield _spec("run time negative", "/timeouts/run_seconds", timeouts={"run_seconds": -1})
    yield _spec("gpu negative", "/resources/gpu", resources={"gpu": -1})
    yield _spec("image empty", "/image", image="")
    yield _spec("image of 2,000 characters", "/image", image="a" * 2000)
    yield _spec("name of 64 characters", "/name", name="a" * 64)
    yield _spec("name upper case", "/name", name="Nightly")
    yield _spec("name ends with a line feed", "/name", name="nightly\n")
    yield _spec("name with unicode", "/name", name="nächtlich")
    yield _spec("100,000 env vars", "/env", env={f"V{i}": "x" for i in range(100_000)})
    yield _spec("1,001 args", "/args", args=["x"] * 1001)
    yield _spec("argument of 200,000 characters", "/args/0", args=["x" * 200_000])
    yield _spec("argument of 160,000 bytes", "/args/0", args=["ä" * 80_000])
    yield _spec("spec of 300 KiB", "", args=["x" * 100_000, "y" * 100_000, "z" * 100_000])
    yield _spec("annotations of 300 KiB", "/annotations", "", annotations={f"a{i}": "x" * 60_000 for i in range(5)})
    yield _spec("65 labels", "/labels", labels={f"l{i}": "x" for i in range(65)})
    yield _spec("cpu quantity", "/resources/cpu", resources={"cpu": "half"})
    yield _spec("memory quantity", "/resources/memory", resources={"memory": "1GB"})
    yield _spec("working_dir relative", "/working_dir", working_dir="tmp")
    yield _spec("namespace not allowed", "/namespace", namespace="kube-system")
    yield _spec("queue with a blank", "/queue", queue="my queue")


def _rules() -> Iterator[Bad]:
    for name, image in (
        ("upper case", "Busybox"),
        ("URL", "https://registry.example.com/app"),
        ("blank", "busy box"),
        ("two tags", "busybox:1:2"),
        ("empty tag", "busybox:"),
        ("short digest", "busybox@sha256:abc"),
        ("path traversal", "../busybox"),
        ("bare id", "a" * 64),
        ("line feed", "busybox\n"),
        ("unicode", "büsybox"),
        ("leading dash", "-rm"),
        ("shell", "busybox;id"),
    ):
        yield _spec(f"image: {name}", "/image", image=image)
    yield _spec("NUL in an argument", "/args/0", args=["a\0b"])
    yield _spec("NUL in an env value", "/env/A", env={"A": "\0"})
    yield _spec("NUL in an env name", "/env/A\0", env={"A\0": "x"})
    yield _spec("NUL in working_dir", "/working_dir", working_dir="/a\0b")
    yield _spec("NUL in an annotation", "/annotations/a", annotations={"a": "\0"})
    yield _spec("env name with a blank", "/env/MY VAR", env={"MY VAR": "x"})
    yield _spec("env name with =", "/env/A=B", env={"A=B": "x"})
    yield _spec("label key with two slashes", "/labels/a~1b~1c", labels={"a/b/c": "x"})
    yield _spec("label key empty", "/labels/", labels={"": "x"})
    yield _spec("label key with a tilde", "/labels/~0a", labels={"~a": "x"})
    yield _spec("label value with a blank", "/labels/team", labels={"team": "a b"})
    yield _spec("label value of 64 characters", "/labels/team", labels={"team": "a" * 64})
    yield _spec("reserved label", "/labels/kubernetes.io~1os", labels={"kubernetes.io/os": "linux"})
    yield _spec("reserved label below k8s.io", "/labels/batch.k8s.io~1x", labels={"batch.k8s.io/x": "y"})
    yield _spec(
        "our own label", "/labels/kube-job-runner.io~1job-id", labels={"kube-job-runner.io/job-id": "x", "team": "a"}
    )
    yield _spec("reserved annotation", "/annotations/kubernetes.io~1x", annotations={"kubernetes.io/x": "y"})
    yield _spec(
        "env both plain and secret", "/secrets/0/env", env={"A": "1"}, secrets=[{"env": "A", "name": "s", "key": "k"}]
    )
    yield _spec("volume without a source", "/volumes/0", volumes=[{"name": "v", "mount_path": "/v"}])
    yield _spec("volume with two sources", "/volumes/0", volumes=[_volume(config_map="c")])
    yield _spec("volume name twice", "/volumes/1/name", volumes=[_volume(), _volume(mount_path="/w")])
    yield _spec("sub_path climbs", "/volumes/0/sub_path", volumes=[_volume(sub_path="a/../../b")])
    yield _spec("toleration without key", "/tolerations/0/operator", tolerations=[{"value": "x"}])
    yield _spec("unknown field, strict", "/imgae", path="/v1/jobs?strict=true", imgae="busybox")
    yield _spec(
        "unknown fields at two depths, strict",
        "/retry/tries",
        "/hostNetwork",
        path="/v1/jobs?strict=true",
        retry={"tries": 3},
        hostNetwork=True,
    )
    yield _spec(
        "many faults of all kinds at once",
        "/image",
        "/name",
        "/args/0",
        "/env/1A",
        "/retry/attempts",
        "/namespace",
        "/labels/k8s.io~1x",
        image=7,
        name="A",
        args=[1],
        env={"1A": "x"},
        retry={"attempts": 99},
        namespace="nope",
        labels={"k8s.io/x": "y"},
    )


def _volume(**fields: Any) -> dict[str, Any]:
    return {"name": "v", "mount_path": "/v", "empty_dir": {}, **fields}


def _media() -> Iterator[Bad]:
    good = b'{"image":"busybox"}'
    wrong = "unsupported-media-type"

    def media(name: str, headers: dict[str, str], status: int, code: str, *pointers: str, body: bytes = good) -> Bad:
        return Bad(name, body, status=status, code=code, pointers=pointers, headers=headers)

    yield media("no content type", {}, 415, wrong)
    yield media("form", {"Content-Type": "application/x-www-form-urlencoded"}, 415, wrong)
    yield media("text", {"Content-Type": "text/plain"}, 415, wrong)
    yield media("YAML", {"Content-Type": "application/yaml"}, 415, wrong)
    yield media("other charset", {"Content-Type": "application/json; charset=latin-1"}, 415, wrong)
    yield media("gzip", {**JSON, "Content-Encoding": "gzip"}, 415, wrong)
    yield media("too large by its length", JSON, 413, "body-too-large", body=b" " * 16_777_217)
    yield media("not acceptable", {**JSON, "Accept": "application/xml"}, 406, "not-acceptable")
    for name, key in (("empty", ""), ("long", "k" * 256), ("with an open quote", '"abc'), ("with a tab", "a\tb")):
        headers = {**JSON, "Idempotency-Key": key}
        yield media(f"idempotency key: {name}", headers, 400, "malformed-header", "/Idempotency-Key")


def _batches() -> Iterator[Bad]:
    def batch(name: str, body: bytes, *pointers: str, status: int = 422, code: str = INVALID, query: str = "") -> Bad:
        return Bad(name, body, status=status, code=code, pointers=pointers, path="/v1/jobs:batch" + query)

    yield batch("batch: no jobs", b"{}", "/jobs")
    yield batch("batch: empty", b'{"jobs":[]}', "/jobs")
    yield batch("batch: not an array", b'{"jobs":{}}', "/jobs")
    yield batch("batch: an array as body", b"[]", "")
    yield batch("batch: 1,001 jobs", _encoded({"jobs": [{"image": "a"}] * 1001}), "/jobs")
    yield batch("batch: unknown field, strict", b'{"jobs":[{"image":"a"}],"x":1}', "/x", query="?strict=1")
    yield batch("batch: key twice", b'{"jobs":[{"image":"a","image":"b"}]}', "/jobs/0/image", status=400, code=BAD_JSON)
    yield batch("batch: broken", b'{"jobs":[', "", status=400, code=BAD_JSON)


def _reads() -> Iterator[Bad]:
    yield _get("unknown id", f"/v1/jobs/{ID}", 404, NOT_FOUND)
    yield _get("malformed id", "/v1/jobs/42", 404, NOT_FOUND)
    yield _get("id with NUL", "/v1/jobs/%00", 404, NOT_FOUND)
    yield _get("id of broken UTF-8", "/v1/jobs/%ff", 404, NOT_FOUND)
    yield _get("id with SQL", "/v1/jobs/1'%20or%20'1'='1", 404, NOT_FOUND)
    yield _get("unknown path", "/v2/jobs", 404, NOT_FOUND)
    yield _get("trailing slash", "/v1/jobs/", 404, NOT_FOUND)
    for part in ("attempts", "transitions", "spec", "logs", "timeline", "explanation"):
        yield _get(f"{part} of an unknown job", f"/v1/jobs/{ID}/{part}", 404, NOT_FOUND)
    yield _get("limit zero", "/v1/jobs?limit=0", 422, INVALID, "/limit")
    yield _get("limit 501", "/v1/jobs?limit=501", 422, INVALID, "/limit")
    yield _get("limit words", "/v1/jobs?limit=many", 422, INVALID, "/limit")
    yield _get("limit twice", "/v1/jobs?limit=1&limit=2", 422, INVALID, "/limit")
    yield _get("limit huge", f"/v1/jobs?limit={'9' * 400}", 422, INVALID, "/limit")
    yield _get("unknown state", "/v1/jobs?state=queued,done", 422, INVALID, "/state")
    yield _get("reason with a blank", "/v1/jobs?reason=out%20of%20memory", 422, INVALID, "/reason")
    yield _get("reason empty", "/v1/jobs?reason=", 422, INVALID, "/reason")
    yield _get("rerun_of no id", "/v1/jobs?rerun_of=first", 422, INVALID, "/rerun_of")
    yield _get("unknown parameter", "/v1/jobs?sort=name", 422, INVALID, "/sort")
    yield _get("two faults", "/v1/jobs?limit=0&created_after=today", 422, INVALID, "/limit", "/created_after")
    yield _get("time without zone", "/v1/jobs?created_after=2026-01-15T09:30:00", 422, INVALID, "/created_after")
    early = "/v1/jobs?created_before=0001-01-01T00:00:00%2B14:00"
    yield _get("time before year 1", early, 422, INVALID, "/created_before")
    yield _get("null for a time", "/v1/jobs?created_after=null", 422, INVALID, "/created_after")
    yield _get("number for a time", "/v1/jobs?created_after=0", 422, INVALID, "/created_after")
    yield _get("null for a number", f"/v1/jobs/{ID}/logs?tail=null", 422, INVALID, "/tail")
    yield _get("bad cursor", "/v1/jobs?cursor=abc", 422, INVALID, "/cursor")
    yield _get("cursor with SQL", "/v1/jobs?cursor=';drop%20table%20jobs;--", 422, INVALID, "/cursor")
    yield _get("NUL in a filter", "/v1/jobs?name=a%00b", 422, INVALID, "/name")
    yield _get("broken UTF-8 in the query", "/v1/jobs?name=%ff", 400, "malformed-query")
    many = "/v1/jobs?" + "&".join(f"p{i}=1" for i in range(200))
    yield _get("200 parameters", many, 400, "malformed-query")
    for selector in ("=a", "a in b", "a in (b", "a,,b", "a b", "!a=b", "-a", "a=b c", "a in (b,c d)", "a/b/c", ","):
        quoted = selector.replace(" ", "%20").replace("=", "%3D").replace(",", "%2C")
        yield _get(f"selector {selector!r}", f"/v1/jobs?labels={quoted}", 422, INVALID, "/labels")
    yield _get("33 terms", "/v1/jobs?labels=" + "%2C".join(f"l{i}" for i in range(33)), 422, INVALID, "/labels")
    yield _get("wait in words", f"/v1/jobs/{ID}?wait=soon", 422, INVALID, "/wait")
    yield _get("wait negative", f"/v1/jobs/{ID}?wait=-5s", 422, INVALID, "/wait")
    yield _get("since negative", f"/v1/jobs/{ID}?since=-1", 422, INVALID, "/since")
    yield _get("tail negative", f"/v1/jobs/{ID}/logs?tail=-1", 422, INVALID, "/tail")
    yield _get("attempt zero", f"/v1/jobs/{ID}/logs?attempt=0", 422, INVALID, "/attempt")
    yield _get("follow maybe", f"/v1/jobs/{ID}/logs?follow=maybe", 422, INVALID, "/follow")


def _others() -> Iterator[Bad]:
    yield Bad("DELETE", method="DELETE", path=f"/v1/jobs/{ID}", status=405, code="method-not-allowed", headers={})
    yield Bad("PUT", b"{}", method="PUT", path="/v1/jobs", status=405, code="method-not-allowed")
    yield Bad(
        "GET of the batch", method="GET", path="/v1/jobs:batch", status=405, code="method-not-allowed", headers={}
    )
    yield Bad("cancel unknown job", b"{}", path=f"/v1/jobs/{ID}:cancel", status=404, code=NOT_FOUND)
    yield Bad("cancel malformed id", b"{}", path="/v1/jobs/x:cancel", status=404, code=NOT_FOUND)
    yield Bad("cancel reason is a number", b'{"reason":1}', path=f"/v1/jobs/{ID}:cancel", pointers=("/reason",))
    nul = b'{"reason":"\\u0000"}'
    yield Bad("NUL in a cancel reason", nul, path=f"/v1/jobs/{ID}:cancel", pointers=("/reason",))
    long = _encoded({"reason": "x" * 1025})
    yield Bad("long cancel reason", long, path=f"/v1/jobs/{ID}:cancel", pointers=("/reason",))
    for grace in (-1, 3601, 1.5, "5", True):
        body = _encoded({"grace_seconds": grace})
        yield Bad(f"grace of {grace!r}", body, path=f"/v1/jobs/{ID}:cancel", pointers=("/grace_seconds",))
    large = _encoded({"reason": "x" * 70_000})
    yield Bad("cancel body of 70 KB", large, path=f"/v1/jobs/{ID}:cancel", status=413, code="body-too-large")


def _reruns() -> Iterator[Bad]:
    def rerun(name: str, body: bytes, *pointers: str, **more: Any) -> Bad:
        return Bad(f"rerun: {name}", body, pointers=pointers, path=f"/v1/jobs/{ID}:rerun", **more)

    yield rerun("unknown job", b"{}", status=404, code=NOT_FOUND)
    yield rerun("set is a list", b'{"set":["a"]}', "/set")
    yield rerun("empty path", b'{"set":{"":1}}', "/set/")
    yield rerun("NUL in a path", b'{"set":{"a\\u0000":1}}', "/set/a\0")
    yield rerun("101 changes", _encoded({"set": {f"env.V{n}": "x" for n in range(101)}}), "/set")
    yield rerun("force is a number", b'{"force":1}', "/force")
    yield rerun("path twice", b'{"set":{"image":"a","image":"b"}}', "/set/image", status=400, code=BAD_JSON)
    yield rerun("key with a tab", b"{}", "/Idempotency-Key", status=400, code="malformed-header",
                headers={**JSON, "Idempotency-Key": "a\tb"})  # fmt: skip


def _simulations() -> Iterator[Bad]:
    def simulation(name: str, body: Any, *pointers: str) -> Bad:
        return Bad(f"simulate: {name}", _encoded(body), pointers=pointers, path="/v1/retry-policies:simulate")

    oom = {"reason": "OutOfMemory"}
    grow = {"action": "grow_memory", "reasons": ["OutOfMemory"]}
    yield simulation("no policy", {"failures": [oom]}, "/policy")
    yield simulation("nothing to try it on", {"policy": {}}, "/jobs")
    yield simulation("jobs and failures", {"policy": {}, "jobs": [ID], "failures": [oom]}, "/jobs")
    yield simulation("unknown jobs", {"policy": {}, "jobs": [ID, ID]}, "/jobs/0", "/jobs/1")
    yield simulation("malformed job id", {"policy": {}, "jobs": ["x"]}, "/jobs/0")
    yield simulation("101 jobs", {"policy": {}, "jobs": [ID] * 101}, "/jobs")
    yield simulation("memory of jobs", {"policy": {}, "jobs": [ID], "memory": "1Gi"}, "/memory")
    yield simulation("memory", {"policy": {}, "failures": [oom], "memory": "1GB"}, "/memory")
    yield simulation("attempts zero", {"policy": {"attempts": 0}, "failures": [oom]}, "/policy/attempts")
    yield simulation(
        "rule fits all", {"policy": {"rules": [{"action": "retry"}]}, "failures": [oom]}, "/policy/rules/0"
    )
    yield simulation("grow without end", {"policy": {"rules": [grow]}, "failures": [oom]}, "/policy/rules/0/max_memory")
    shrinks = {"policy": {"rules": [{**grow, "max_memory": "1Gi"}]}, "failures": [oom], "memory": "2Gi"}
    yield simulation("grow to less", shrinks, "/policy/rules/0/max_memory")
    yield simulation("no reason", {"policy": {}, "failures": [{"exit_code": 3}]}, "/failures/0/reason")
    yield simulation("exit code 256", {"policy": {}, "failures": [{**oom, "exit_code": 256}]}, "/failures/0/exit_code")
    yield simulation("signal 0", {"policy": {}, "failures": [{**oom, "signal": 0}]}, "/failures/0/signal")
    yield simulation("cause", {"policy": {}, "failures": [{**oom, "cause": "weather"}]}, "/failures/0/cause")


TABLE = [
    *_bodies(), *_types(), *_limits(), *_rules(), *_media(), *_batches(), *_reads(), *_others(), *_reruns(), *_simulations(),
]  # fmt: skip
