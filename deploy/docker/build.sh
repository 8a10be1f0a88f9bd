#!/bin/sh
# Builds the image, for this machine or, with every platform, into a registry: `make docker`, `make docker-publish`.
#
#   build.sh local|publish IMAGE TAG PLATFORMS
#
# DOCKER names the engine's client. A publish pins the base image by the digest that its tag has now, carries an SBOM and
# provenance, and refuses a checkout with changes, because its label would name a commit that does not hold them.
set -eu

verb=${1:?local or publish}
image=${2:?the name of the image}
tag=${3:?the tag}
platforms=${4:-}
docker=${DOCKER:-docker}
cd "$(dirname "$0")/../.."

stop() {
  echo "kjr: $1" >&2
  exit 1
}

command -v "$docker" >/dev/null 2>&1 || stop "no container engine: $docker is not installed. Install Docker, or name another client with DOCKER=podman. \
Without an engine \`make test\` still runs the content of the image (tests/integration/image)."
answer=$("$docker" version 2>&1 >/dev/null) || stop "no container engine: $docker is installed, and no engine answers it. Start one, or set DOCKER_HOST. It says: $answer"

revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
changes=$(git status --porcelain 2>/dev/null || true)
base=$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)
base=${BASE_IMAGE:-$base}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' kube_job_runner/__init__.py)
created=$(git log -1 --format=%cI 2>/dev/null || date -u +%Y-%m-%dT%H:%M:%SZ)
digest=

if [ "$verb" = publish ]; then
  case $image in
    */*) ;;
    *) stop "IMAGE=$image names no registry: make docker-publish IMAGE=registry.example.com/team/kube-job-runner TAG=$tag" ;;
  esac
  [ -z "$changes" ] || stop "the checkout has changes that no commit holds; commit them, then publish"
  "$docker" buildx version >/dev/null 2>&1 || stop "$docker has no buildx, which makes images for several platforms with an SBOM: install docker-buildx"
  case $base in
    *@sha256:*) ;;
    *) base=$base@$("$docker" buildx imagetools inspect --format '{{.Manifest.Digest}}' "$base") ;;
  esac
  digest=${base##*@}
elif [ -n "$changes" ]; then
  revision=$revision-dirty
fi

set -- --build-arg "BASE_IMAGE=$base" --build-arg "BASE_DIGEST=$digest" --build-arg "VERSION=$version" \
  --build-arg "REVISION=$revision" --build-arg "CREATED=$created" --build-arg "SOURCE=${SOURCE:-}" --tag "$image:$tag"

case $verb in
  local)
    DOCKER_BUILDKIT=1 "$docker" build "$@" .
    echo "kjr: built $image:$tag"
    ;;
  publish)
    "$docker" buildx build --platform "$platforms" --sbom=true --provenance=mode=max --push "$@" .
    echo "kjr: published $image:$tag for $platforms"
    ;;
  *) stop "unknown verb $verb; there are: local, publish" ;;
esac
