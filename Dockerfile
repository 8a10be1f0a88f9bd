# syntax=docker/dockerfile:1
# One image for all components: `docker run IMAGE serve web-server`. Built by `make docker`; described in docs/reference/image.md.

# A release pins both by digest (`make docker-publish`): BASE_IMAGE=docker.io/library/python:3.13-slim-trixie@sha256:...
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-trixie
ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.13.9

FROM ${UV_IMAGE} AS uv

FROM ${BASE_IMAGE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PYTHON_DOWNLOADS=never
WORKDIR /src
# Dependencies first: a change of our own code leaves this layer as it is.
COPY deploy/docker/install.sh deploy/docker/
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN --mount=type=cache,target=/root/.cache/uv deploy/docker/install.sh dependencies /opt/kjr
COPY pyproject.toml README.md LICENSE ./
COPY kube_job_runner kube_job_runner
RUN --mount=type=cache,target=/root/.cache/uv deploy/docker/install.sh project /opt/kjr

FROM ${BASE_IMAGE}
# A name for the user, as some programs want one. The state folder is the only place it may write to, and only `kjr up` and
# KJR_CLUSTER=local use it: every component of a cluster runs with a root file system that is read-only.
RUN groupadd --system --gid 65532 kjr \
    && useradd --system --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin kjr \
    && install -d -o 65532 -g 65532 -m 0700 /var/lib/kube-job-runner
COPY --from=build /opt/kjr /opt/kjr
ENV PATH=/opt/kjr/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/nonexistent \
    KJR_DATA_DIR=/var/lib/kube-job-runner \
    KJR_HOST=0.0.0.0 \
    KJR_PORT=8080 \
    KJR_METRICS_PORT=9090
WORKDIR /
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["kjr"]
CMD ["--help"]

# Last, since they change with every commit.
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=
ARG BASE_IMAGE
ARG BASE_DIGEST=
LABEL org.opencontainers.image.title="kube-job-runner" \
      org.opencontainers.image.description="Run any container to completion on Kubernetes, and always know the truth about it." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
