"""ElasticMQ on loopback: a real server that speaks the protocol of Amazon SQS, with its limits enforced.

Its jars are fetched once through Maven, from the repository of the machine's Maven settings; each must have its recorded
checksum. A machine needs only Java and Maven.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from testbed import build, cache, processes

JAVA_DIR = Path(__file__).resolve().parent / "java"
CHECKSUMS = JAVA_DIR / "jars.sha256"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_FETCH_SECONDS = 300
_START_SECONDS = 60.0
_START_TRIES = 3
_FLAGS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_CONFIG = """\
include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-hostname = "127.0.0.1", bind-port = {port}, sqs-limits = strict }}
rest-stats {{ enabled = false }}
pekko.loglevel = "WARNING"
messages-storage {{
  enabled = {durable}
  driver-class = "org.h2.Driver"
  uri = "jdbc:h2:{folder}/messages;WRITE_DELAY=0"
  username = ""
  password = ""
  prune-data-on-init = false
}}
"""


class ElasticMQUnavailable(RuntimeError):
    """ElasticMQ cannot run on this machine; the message says what is missing."""


def ensure_fetched(report: build.Report = build.report_to_stderr) -> Path:
    """Returns the folder of the jars; fetches them when the cache has none.

    Raises ElasticMQUnavailable without Java or Maven, or when the jars cannot be had or are not the recorded ones.
    """
    if shutil.which("java") is None:
        raise ElasticMQUnavailable("Java (17 or newer) is not installed, ElasticMQ cannot run")
    key = hashlib.sha256(CHECKSUMS.read_bytes()).hexdigest()[:20]
    target = cache.builds_dir() / f"elasticmq-{key}"
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise ElasticMQUnavailable("Maven is not installed, the jars of ElasticMQ cannot be fetched")
    with cache.file_lock(cache.builds_dir() / f"elasticmq-{key}.lock"):
        if not target.is_dir():
            _fetch(maven, target, report)
    return target


def _fetch(maven: str, target: Path, report: build.Report) -> None:
    report("fetching ElasticMQ through Maven, once")
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        command = [maven, "-q", "-B", "-f", str(JAVA_DIR / "pom.xml"), _COPY, f"-DoutputDirectory={work}"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
        )
        if done.returncode != 0:
            raise ElasticMQUnavailable(f"Maven cannot fetch ElasticMQ:\n{(done.stdout + done.stderr)[-2000:]}")
        _verify(work)
        work.chmod(0o755)
        work.rename(target)
    except subprocess.TimeoutExpired as error:
        raise ElasticMQUnavailable(f"Maven did not fetch ElasticMQ within {_FETCH_SECONDS} s") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _verify(folder: Path) -> None:
    recorded = {name: digest for digest, name in (line.split() for line in CHECKSUMS.read_text().splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    wrong = sorted(name for name in recorded.keys() | found.keys() if recorded.get(name) != found.get(name))
    if wrong:
        raise ElasticMQUnavailable(f"not the recorded jars of ElasticMQ: {', '.join(wrong)}")


class ElasticMQ:
    """A running server. With `durable` its messages survive `kill` and `start`, as on SQS; otherwise they are in memory only."""

    def __init__(self, *, durable: bool = False) -> None:
        self._jars = ensure_fetched()
        self._durable = durable
        self.folder = Path(tempfile.mkdtemp(prefix="kjr-elasticmq-"))
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ElasticMQ":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs: any credentials, and the region in the server's addresses."""
        return {
            "AWS_ACCESS_KEY_ID": "testbed",
            "AWS_SECRET_ACCESS_KEY": "testbed",
            "AWS_DEFAULT_REGION": "elasticmq",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Starts the server, at the port that it had before."""
        fresh = self.port == 0
        for last in (False,) * (_START_TRIES - 1) + (True,):
            if fresh:
                self.port = processes.free_ports(["sqs"])["sqs"]
            self._launch()
            if self._wait_answering():
                return
            self.kill()
            if last:
                raise ElasticMQUnavailable(f"ElasticMQ does not start:\n{self._log.read_text()[-2000:]}")

    @property
    def _log(self) -> Path:
        return self.folder / "elasticmq.log"

    def _launch(self) -> None:
        config = self.folder / "elasticmq.conf"
        config.write_text(
            _CONFIG.format(port=self.port, folder=self.folder, durable="true" if self._durable else "false")
        )
        command = ["java", *_FLAGS, f"-Dconfig.file={config}", "-cp", f"{self._jars}/*", "org.elasticmq.server.Main"]
        if sys.platform == "linux" and shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", *command]  # the server ends with us, however we end
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, start_new_session=True
            )

    def _wait_answering(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/?Action=ListQueues", timeout=5):
                return True
            time.sleep(0.05)
        return False

    def send_signal(self, number: int) -> None:
        """Sends a signal: SIGSTOP or SIGCONT, for example."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the server at once; `start` brings it back."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=10)

    def close(self) -> None:
        """Ends the server and removes what it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
