"""What is kept on disk of each local job: `<root>/<uid>/job.json`, its log, and its scratch folder.

A record is written to a new file and renamed over the old one, so a crash of ours leaves the old or the new, never half.
It is not fsynced: after a power cut every local process is gone as well, and a lost record reads as a job that is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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
    """One cluster job. `pod.uid` is set from the start; `pod.phase` is empty until there is something to say of it.

    `job_gone` is a Job that was deleted in the background while its process still ends.
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
        """The uid of the cluster job."""
        return self.job.uid

    def owned_job(self) -> OwnedObject:
        """Return its Job as an inventory lists it."""
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
        """Return its pod as an inventory lists it."""
        pod = self.pod
        owned = self.owned_job()
        return replace(owned, kind="Pod", name=pod.name, uid=pod.uid, owner_uid=self.job.uid, deleting=pod.deleting)

    @property
    def waits_for_slot(self) -> bool:
        """Whether no process was ever ordered for it."""
        return any(c.type == "PodScheduled" and c.status == "False" for c in self.pod.conditions)

    @property
    def refused_config(self) -> bool:
        """Whether its container waits for something that a local cluster does not have."""
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
        """Return where a job's output goes."""
        return self._root / uid / "log"

    def work_path(self, uid: str) -> Path:
        """Return the scratch folder a job starts in when its spec names no working directory."""
        return self._root / uid / "work"

    def create(self, record: Record) -> None:
        """Write a new record.

        Raises:
            OSError: it could not be written; nothing is left of it.
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
            OSError: it could not be written; the old one stands.
        """
        target = self._root / record.uid / "job.json"
        fresh = target.with_suffix(".new")
        fresh.write_bytes(self._encoder.encode(record))
        fresh.replace(target)

    def remove(self, uid: str) -> None:
        """Delete all that is kept of a job; what cannot be deleted is left for the next start to try again."""
        with contextlib.suppress(OSError):
            (self._root / uid / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self._root / uid, ignore_errors=True)

    def load(self, claim: Callable[[], None]) -> list[Record]:
        """Return all records, oldest first, and remove what is left of jobs that have none.

        `claim` is called once the folder exists and before anything in it is touched.

        Raises:
            OSError: the folder cannot be made or read.
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
                log.warning("local job without a readable record is removed", uid=folder.name, error=str(error))
                self.remove(folder.name)
        return sorted(records, key=lambda record: record.job.resource_version)
