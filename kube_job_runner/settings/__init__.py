"""Settings: frozen, grouped, validated. This package is the only reader of the environment.

`groups` has the structs, `variables` reads the `KJR_*` variables into them, `standard_variables` reads those that other
programs have named. Each part of the server gets its group unchanged.
"""

from kube_job_runner.settings.groups import Settings
from kube_job_runner.settings.standard_variables import (
    KubernetesEnvironment,
    aws_region,
    kubernetes_environment,
    plain_environment,
    secrets,
    tracing_protocol,
    tracing_wanted,
)
from kube_job_runner.settings.variables import (
    PREFIX,
    SETTINGS,
    Setting,
    SettingsError,
    changed,
    load,
    shown,
    suggestion,
    unknown_variables,
)

__all__ = [
    "PREFIX",
    "SETTINGS",
    "KubernetesEnvironment",
    "Setting",
    "Settings",
    "SettingsError",
    "aws_region",
    "changed",
    "kubernetes_environment",
    "load",
    "plain_environment",
    "secrets",
    "shown",
    "suggestion",
    "tracing_protocol",
    "tracing_wanted",
    "unknown_variables",
]
