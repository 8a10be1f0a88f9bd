"""The content of the image without a container engine: the Dockerfile's own steps in a folder, and programs run there.

As root on Linux, where the machine allows it, a program gets what a container gets: a mount namespace with its own root,
which is read-only and has neither /tmp nor this checkout; user 65532, no groups, no capabilities. Elsewhere it runs as the
current user, in a folder without write bits. Either way its home does not exist, and it gets only the image's variables.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.support.dockerfile import Stage, copy_context

PREFIX = "/opt/kjr"
STATE = "/var/lib/kube-job-runner"
USER = 65532
_KEPT = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "UV_INDEX_URL", "LANG")

# The new root, the Python below the environment, what is bound (lines of `from to mode`), the user, two programs; then a command.
_ENTER = r"""
set -eu
root=$1 python=$2 binds=$3 user=$4 chroot=$5 setpriv=$6
shift 6
mount -t tmpfs -o mode=0755 tmpfs "$root"
bind() {
  if [ -d "$1" ]; then mkdir -p "$root$2"; elif [ ! -e "$root$2" ]; then mkdir -p "$(dirname "$root$2")"; : >"$root$2"; fi
  mount --bind "$1" "$root$2"
  [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
}
for folder in /bin /sbin /lib /lib32 /lib64 /libx32; do
  if [ -L "$folder" ]; then ln -s "$(readlink "$folder")" "$root$folder"
  elif [ -d "$folder" ]; then bind "$folder" "$folder" ro; fi
done
for folder in /usr /etc; do bind "$folder" "$folder" ro; done
case $python in /usr | /usr/*) ;; *) bind "$python" "$python" ro ;; esac
for folder in /proc /dev; do mkdir "$root$folder"; mount --rbind "$folder" "$root$folder"; done
printf '%s\n' "$binds" | while read -r from to mode; do [ -z "$from" ] || bind "$from" "$to" "$mode"; done
mount -o remount,ro "$root"
cd /
[ "$user" != 0 ] || exec "$chroot" "$root" "$@"
exec "$chroot" "$root" "$setpriv" --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


class BareImage:
    """A folder that holds what the image holds. `confined` says which of the two ways programs run."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kjr-image-"))
        self.folder.chmod(0o755)
        for name in ("tree", "source", "root", "files", "state", "tmp"):
            (self.folder / name).mkdir(mode=0o755)
        self.tree = self.folder / "tree"
        self.files = self.folder / "files"
        """What a test gives the programs to read; `config` is their name for it."""
        self.state = self.folder / "state"
        """The only folder that they may write to, and only when they are given it."""
        self.confined = _may_confine()
        if self.confined:
            os.chown(self.state, USER, USER)
            self._name_the_user()
        self.environment: dict[str, str] = {}

    @property
    def prefix(self) -> str:
        """Where the programs see the tree."""
        return PREFIX if self.confined else str(self.tree)

    @property
    def config(self) -> str:
        """Where the programs see `files`."""
        return "/config" if self.confined else str(self.files)

    def build(self, stage: Stage) -> None:
        """Carry out COPY and RUN of the build stage, in order; then make the whole tree read-only."""
        for word, rest in stage.instructions:
            if word == "COPY" and not rest.startswith("--from"):
                copy_context(rest, self.folder / "source")
            elif word == "RUN":
                self._build_step(rest)
        for path in [self.tree, *self.tree.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)

    def _build_step(self, rest: str) -> None:
        words = [word for word in rest.split() if not word.startswith("--mount")]
        environment = {**_kept(), "PYTHON": _python(), "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp"}
        if not self.confined:
            argv = [word.replace(PREFIX, str(self.tree)) for word in words]
            environment |= {"UV": _uv(), "UV_CACHE_DIR": _cache(), "HOME": str(self.folder / "tmp")}
            subprocess.run(argv, cwd=self.folder / "source", env=environment, check=True, timeout=300)
            return
        binds = [(self.folder / "source", "/src", "rw"), (self.tree, PREFIX, "rw"), (self.folder / "tmp", "/tmp", "rw")]
        binds += [(Path(_uv()), "/uv", "ro"), (Path(_cache()), "/cache", "rw")]
        environment |= {"UV": "/uv", "UV_CACHE_DIR": "/cache"}
        argv = self._enter(["sh", "-c", 'cd /src && exec "$@"', "sh", *words], binds, user=0)
        subprocess.run(argv, env=environment, check=True, timeout=300)

    def command(self, *argv: str, state: bool = False) -> list[str]:
        """Return how to run a program of the tree as the image would; it becomes the process itself, without a shell above it."""
        if not self.confined:
            return [f"{self.tree}/bin/{argv[0]}", *argv[1:]]
        binds = [(self.tree, PREFIX, "ro"), (self.files, "/config", "ro"), (self.files / "passwd", "/etc/passwd", "ro")]
        if state:
            binds.append((self.state, STATE, "rw"))
        return self._enter([f"{PREFIX}/bin/{argv[0]}", *argv[1:]], binds, user=USER)

    def env(self, variables: Mapping[str, str] | None, *, state: bool = False) -> dict[str, str]:
        """Return the environment of a program: the image's, with these on top."""
        seen = self.environment | {"PATH": f"{self.prefix}/bin:/usr/local/bin:/usr/bin:/bin"}
        if state and not self.confined:
            seen["KJR_DATA_DIR"] = str(self.state)
        return seen | dict(variables or {})

    def run(
        self, *argv: str, variables: Mapping[str, str] | None = None, state: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            self.command(*argv, state=state),
            env=self.env(variables, state=state),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(
        self, *argv: str, output: IO[bytes], variables: Mapping[str, str], state: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start a program."""
        return subprocess.Popen(
            self.command(*argv, state=state),
            env=self.env(variables, state=state),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def snapshot(self) -> dict[str, tuple[int, int, int]]:
        """Mode, size and time of change of everything in the tree."""
        found = {}
        for path in self.tree.rglob("*"):
            status = path.lstat()
            found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
        return found

    def remove(self) -> None:
        """Remove the folder."""
        for path in [self.tree, *self.tree.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(self.folder)

    def _enter(self, argv: Sequence[str], binds: Sequence[tuple[Path, str, str]], *, user: int) -> list[str]:
        lines = "\n".join(f"{source} {target} {mode}" for source, target, mode in binds)
        root = str(self.folder / "root")
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "enter"]
        programs = [shutil.which("chroot") or "", shutil.which("setpriv") or ""]
        return [*enter, root, sys.base_prefix, lines, str(user), *programs, *argv]

    def _name_the_user(self) -> None:
        entry = f"kjr:x:{USER}:{USER}::/nonexistent:/usr/sbin/nologin\n"
        (self.files / "passwd").write_text(Path("/etc/passwd").read_text() + entry)


def _may_confine() -> bool:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    if not all(shutil.which(program) for program in ("unshare", "setpriv", "chroot")):
        return False
    tried = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    return subprocess.run(tried, capture_output=True).returncode == 0


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def _python() -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return str(Path(sys.base_prefix) / "bin" / f"python{version}")


def _uv() -> str:
    found = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    assert Path(found).exists(), "uv is missing: make install"
    return str(Path(found).resolve())


def _cache() -> str:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    ours = Path(os.environ.get("KJR_CACHE_DIR") or caches / "kube-job-runner")  # as the Makefile has it
    cache = Path(os.environ.get("UV_CACHE_DIR") or ours / "uv")
    cache.mkdir(parents=True, exist_ok=True)
    return str(cache)
