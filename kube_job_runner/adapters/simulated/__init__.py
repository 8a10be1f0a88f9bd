"""A scripted cluster in memory, for tests and for trying out policies."""

from kube_job_runner.adapters.simulated.agenda import SteppedClock
from kube_job_runner.adapters.simulated.cluster import SimulatedCluster
from kube_job_runner.adapters.simulated.faults import Fault
from kube_job_runner.adapters.simulated.script import Script

__all__ = ["Fault", "Script", "SimulatedCluster", "SteppedClock"]
