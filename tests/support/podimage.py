"""The image as an archive for a real node: what the Dockerfile's steps make, above a root file system of this machine's parts.

No engine builds it and no registry has it. The base is the Python that runs the tests, its shared libraries, and busybox as
the shell. Everything above the base is `BareImage`, the same as in the shipped image.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from testbed import images
from tests.support import bareimage, dockerfile

_TOOLS = ("sh", "cat", "date", "echo", "env", "id", "ls", "sleep", "test", "true")
_UNUSED = re.compile(
    r"/(test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|site-packages|config-3[^/]*|pydoc_data)$"
)


def write(target: Path, tag: str) -> None:
    """Write the product's image as a docker-archive. Raises CalledProcessError when a step of the Dockerfile fails."""
    plan = dockerfile.read(dockerfile.ROOT / "Dockerfile")
    image = bareimage.BareImage()
    try:
        image.build(plan.stage("build"))
        run_config = {
            "Env": [f"{name}={value}" for name, value in plan.stages[-1].environment().items()],
            "User": plan.stages[-1].of("USER")[0],
            "WorkingDir": "/",
            "Entrypoint": ["kjr"],
        }
        images.write(target, tag, lambda layer: _fill(layer, image.tree), run_config)
    finally:
        image.remove()


def _fill(layer: images.LayerWriter, tree: Path) -> None:
    for name in ("bin", "etc", "proc", "sys", "dev", "opt", "run", "usr", "usr/bin"):
        layer.folder(name)
    layer.folder("tmp", 0o1777)
    layer.file("bin/busybox", images.BUSYBOX.read_bytes())
    for tool in _TOOLS:
        layer.link(f"bin/{tool}", "busybox")
    layer.file("etc/passwd", b"root:x:0:0::/:/bin/sh\nkjr:x:65532:65532::/nonexistent:/bin/false\n", 0o644)
    _python(layer, tree)
    layer.tree(bareimage.PREFIX.strip("/"), tree)


def _python(layer: images.LayerWriter, tree: Path) -> None:
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program, library = base / "bin" / version, base / "lib" / version
    for folder in reversed(program.parents[:-1]):
        layer.folder(str(folder).strip("/"))
    layer.file(str(program).strip("/"), program.read_bytes())
    layer.tree(str(library).strip("/"), library, keep=lambda path: not _UNUSED.search(str(path)))
    for shared in sorted(_libraries(program, library / "lib-dynload", tree)):
        layer.file(str(shared).strip("/"), shared.resolve().read_bytes())


def _libraries(program: Path, *folders: Path) -> set[Path]:
    """Return the shared libraries, by the names that the loader uses."""
    modules = [str(path) for folder in folders for path in folder.rglob("*.so*") if path.is_file()]
    listing = subprocess.run(["ldd", str(program), *modules], capture_output=True, text=True, check=False).stdout
    found = {Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listing, re.MULTILINE)}
    return {path for path in found if not any(path.is_relative_to(folder) for folder in folders)}
