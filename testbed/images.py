"""Container images made from files of this machine, so that the real node needs no registry.

`localhost/pause:1` keeps a pod's sandbox; `localhost/busybox:1` has a shell for everything else. The tag is not
`latest`, so the pull policy defaults to IfNotPresent and no registry is asked.
"""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PAUSE_IMAGE = "localhost/pause:1"
BUSYBOX_IMAGE = "localhost/busybox:1"
BUSYBOX = Path("/bin/busybox")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_EPOCH = "1970-01-01T00:00:00Z"
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"
_GROUP = b"root:x:0:\nuser:x:1000:\n"


class LayerWriter:
    """Adds entries to a layer; owner and time are fixed, so the same content has the same digest."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def file(self, name: str, content: bytes, mode: int = 0o755) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), mode
        self._tar.addfile(info, io.BytesIO(content))

    def folder(self, name: str, mode: int = 0o755) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(info)

    def tree(self, name: str, source: Path, keep: Callable[[Path], bool] = lambda path: True) -> None:
        """Everything below a folder, as root's; with its times, by which Python knows its compiled files."""

        def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
            if not keep(source / Path(info.name).relative_to(name)):
                return None
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            return info

        self._tar.add(source, name, filter=plain)

    def link(self, name: str, target: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        self._tar.addfile(info)


def write_all(folder: Path, *, helper: Path) -> list[Path]:
    """Writes both images as archives for `ctr images import`; `helper` is the built program with the pause loop."""
    folder.mkdir(parents=True, exist_ok=True)
    pause, busybox = folder / "pause.tar", folder / "busybox.tar"
    write(
        pause, PAUSE_IMAGE, lambda layer: layer.file("pause", helper.read_bytes()), {"Entrypoint": ["/pause", "pause"]}
    )
    write_busybox(busybox)
    return [pause, busybox]


def write_busybox(target: Path, tag: str = BUSYBOX_IMAGE) -> None:
    """Writes the image with the shell, as a docker-archive."""
    write(target, tag, _fill_busybox, {"Env": ["PATH=/bin"], "Cmd": ["sh"]})


def write(target: Path, tag: str, fill: Callable[[LayerWriter], None], run_config: Mapping[str, Any]) -> None:
    """Writes a docker-archive with one layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        fill(LayerWriter(tar))
    layer = buffer.getvalue()
    image_config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": _EPOCH,
        "config": dict(run_config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": _EPOCH}],
    }
    config = json.dumps(image_config, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [tag], "Layers": ["layer.tar"]}]
    with tarfile.open(target, mode="w") as tar:
        archive = LayerWriter(tar)
        archive.file(config_name, config, 0o644)
        archive.file("layer.tar", layer, 0o644)
        archive.file("manifest.json", json.dumps(manifest).encode(), 0o644)


def _fill_busybox(layer: LayerWriter) -> None:
    for name in ("bin", "etc", "proc", "sys", "dev", "root"):
        layer.folder(name)
    layer.folder("tmp", 0o1777)
    layer.file("etc/passwd", _PASSWD, 0o644)
    layer.file("etc/group", _GROUP, 0o644)
    layer.file("bin/busybox", BUSYBOX.read_bytes())
    layer.file("bin/badformat", b"not a program\n")  # executable, but "exec format error"
    listing = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout
    for applet in listing.split():
        if applet != "busybox":
            layer.link(f"bin/{applet}", "busybox")
