"""The records of local jobs on disk: `<root>/<uid>/job.json`, the log, and the scratch folder.

A record is written to a new file that replaces the old one, so a crash of ours leaves the old or the new record. It is not
fsynced: after a power cut every local process is gone as well, and a job without a record counts as gone.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec.structs import replace

from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import OwnedObject
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)


class Record(msgspec.Struct, kw_only=True):
    """One cluster job. `pod.uid` is set from the start; `pod.phase` is empty until the pod exists.

    `job_gone`: the Job was deleted in the background, and its process has not ended yet.
    """

    job_id: UUID
    attempt: int
    namespace: str
    cluster_name: str
    spec_hash: str
    spec: JobSpec
    job: JobFacts
    pod: PodFacts
    job_gone: bool = False
    installation: str = ""

    @property
    def uid(self) -> str:
        return self.job.uid

    def owned_job(self) -> OwnedObject:
        return OwnedObject(
            kind="Job",
            namespace=self.namespace,
            name=self.cluster_name,
            uid=self.job.uid,
            created_at=self.job.created_at,
            job_id=self.job_id,
            attempt=self.attempt,
            installation=self.installation,
            deleting=self.job.deleting,
        )

    def owned_pod(self) -> OwnedObject:
        pod = self.pod
        owned = self.owned_job()
        return replace(owned, kind="Pod", name=pod.name, uid=pod.uid, owner_uid=self.job.uid, deleting=pod.deleting)

    @property
    def waits_for_slot(self) -> bool:
        """Whether its process has never been started."""
        return any(c.type == "PodScheduled" and c.status == "False" for c in self.pod.conditions)

    @property
    def refused_config(self) -> bool:
        """Whether its container waits for a Secret, which a local cluster does not have."""
        return self.pod.phase == "Pending" and any(
            c.reason == "CreateContainerConfigError" for c in self.pod.containers
        )


class Folder:
    """The records of one data directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Record)

    def log_path(self, uid: str) -> Path:
        return self._root / uid / "log"

    def work_path(self, uid: str) -> Path:
        """Return the scratch folder of a job, where it starts if its spec names no working directory."""
        return self._root / uid / "work"

    def create(self, record: Record) -> None:
        """Write a new record.

        Raises:
            OSError: it could not be written, and nothing is left of it.
        """
        try:
            self.work_path(record.uid).mkdir(parents=True, mode=0o700)
            self.log_path(record.uid).touch(mode=0o600)
            self.save(record)
        except OSError:
            self.remove(record.uid)
            raise

    def save(self, record: Record) -> None:
        """Replace a record.

        Raises:
            OSError: it could not be written, and the old record stays.
        """
        target = self._root / record.uid / "job.json"
        fresh = target.with_suffix(".new")
        fresh.write_bytes(self._encoder.encode(record))
        fresh.replace(target)

    def remove(self, uid: str) -> None:
        """Delete everything of a job. What cannot be deleted is deleted by the next start."""
        with contextlib.suppress(OSError):
            (self._root / uid / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self._root / uid, ignore_errors=True)

    def identity(self) -> str:
        """Return the id of this folder, a UUID that is made once and kept beside it.

        Raises:
            OSError: it could not be read or written.
        """
        path = self._root.with_name("local.id")
        with contextlib.suppress(FileNotFoundError):
            if text := path.read_text("ascii").strip():
                return text
        text = str(uuid.uuid4())
        fresh = path.with_suffix(".new")
        fresh.write_text(f"{text}\n", "ascii")
        fresh.replace(path)
        return text

    def load(self, claim: Callable[[], None]) -> list[Record]:
        """Return all records, oldest first. Folders without a readable record are removed.

        `claim` is called when the folder exists, before anything in it is changed.

        Raises:
            OSError: the folder cannot be created or read.
        """
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        claim()
        records = []
        with os.scandir(self._root) as entries:
            folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        for folder in folders:
            try:
                records.append(self._decoder.decode((self._root / folder.name / "job.json").read_bytes()))
            except (FileNotFoundError, msgspec.MsgspecError) as error:
                log.warning(
                    "local job without a readable record is removed",
                    action="local.load",
                    uid=folder.name,
                    error=str(error),
                )
                self.remove(folder.name)
        return sorted(records, key=lambda record: record.job.resource_version)
