"""Settings: frozen, grouped, validated. This package is the only reader of the environment.

`groups` has the structs, `variables` reads the `KJR_*` variables into them, `database_url` reads the URL of the database in every
spelling, `standard_variables` reads those that other programs have named. Each part of the server gets its group unchanged.
"""

from kube_job_runner.settings.database_url import masked
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
    environment_secrets,
    load,
    shown,
    shown_text,
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
    "environment_secrets",
    "kubernetes_environment",
    "load",
    "masked",
    "plain_environment",
    "secrets",
    "shown",
    "shown_text",
    "suggestion",
    "tracing_protocol",
    "tracing_wanted",
    "unknown_variables",
]
