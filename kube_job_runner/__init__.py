"""kube-job-runner: run any container to completion on Kubernetes, and always know the truth about it."""

import importlib

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "JobFailed", "__version__"]

_LAZY = frozenset({"AsyncClient", "Client", "JobFailed"})


def __getattr__(name: str) -> object:
    # The SDK costs 150 ms to import; neither the server nor `kjr --help` should pay for it. The types are in __init__.pyi.
    if name in _LAZY:
        return getattr(importlib.import_module("kube_job_runner.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
