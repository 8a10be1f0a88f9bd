"""An embedded PostgreSQL: a real server as our child process, used where no database URL is configured."""

from kube_job_runner.adapters.postgres.embedded.keeper import Keeper, KeptHealth
from kube_job_runner.adapters.postgres.embedded.server_process import USER, EmbeddedServer, running_url, start

__all__ = ["USER", "EmbeddedServer", "Keeper", "KeptHealth", "running_url", "start"]
