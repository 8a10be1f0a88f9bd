"""Commands for people. They talk HTTP through `kube_job_runner.client`; only serve, up, migrate and token import the server."""
