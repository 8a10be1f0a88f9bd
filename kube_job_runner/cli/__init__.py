"""The command line. Verbs for jobs talk HTTP through `kube_job_runner.client`; only verbs for operators import the server."""
