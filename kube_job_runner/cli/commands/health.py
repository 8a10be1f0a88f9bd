"""`kjr health`: whether a process beside us is ready, for exec probes and for people."""

from __future__ import annotations

import click

from kube_job_runner.cli import text


@click.command("health", short_help="Ask a process of the server here whether it is ready.")
@click.option("--url", metavar="URL", help="Where it listens. [default: KJR_METRICS_PORT or KJR_PORT on this machine]")
@click.option("--live", is_flag=True, help="Ask only whether it is alive (/livez).")
@click.option(
    "--timeout", "timeout_seconds", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds."
)
def command(url: str | None, live: bool, timeout_seconds: float) -> int:
    """Print the readiness checks of the process that listens here, one line each; exit code 0 when it is ready, else 1.

    Its port is that of KJR_METRICS_PORT where one is set, and of KJR_PORT where not: in a container of a component, its own.
    """
    import http.client
    import urllib.error
    import urllib.request

    address = (url or _address()).rstrip("/") + ("/livez" if live else "/readyz?verbose")
    if not address.startswith(("http://", "https://")):
        raise click.UsageError(f"--url {address}: must begin with http:// or https://")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=timeout_seconds) as answer:
            click.echo(text.block(answer.read().decode("utf-8", "replace")), nl=False)
            return 0
    except urllib.error.HTTPError as error:
        click.echo(text.block(error.read().decode("utf-8", "replace")), nl=False)
        return 1
    except (OSError, http.client.HTTPException) as error:
        click.echo(f"kjr: {address} does not answer: {text.line(getattr(error, 'reason', None) or error)}", err=True)
        return 1


def _address() -> str:
    from kube_job_runner import settings as settings_module

    settings = settings_module.load()
    port = settings.metrics_port if settings.metrics_port > 0 else settings.port
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host.strip("[]"), settings.host.strip("[]"))  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
