from kube_job_runner.client import AsyncClient as AsyncClient
from kube_job_runner.client import Client as Client
from kube_job_runner.client import JobFailed as JobFailed

__version__: str
__all__ = ["AsyncClient", "Client", "JobFailed", "__version__"]
