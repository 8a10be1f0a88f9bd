"""The simulated cluster: a scripted cluster in memory, for tests and for trying out policies."""

from kube_job_runner.adapters.simulated.cluster import SimulatedCluster
from kube_job_runner.adapters.simulated.faults import Fault
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.adapters.simulated.simulated_time import SteppedClock

__all__ = ["Fault", "Script", "SimulatedCluster", "SteppedClock"]
