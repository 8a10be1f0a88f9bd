#!/bin/sh
# Puts the product of this checkout, with PostgreSQL and ElasticMQ, into minikube, and takes it out again.
#
#   local.sh up|down
#
# MINIKUBE_PROFILE names the cluster (minikube). No other cluster is touched, whatever the current context of kubectl is.
set -eu

verb=${1:?up or down}
profile=${MINIKUBE_PROFILE:-minikube}
namespace=kube-job-runner
cd "$(dirname "$0")/../.."

stop() {
  echo "kjr: $1" >&2
  exit 1
}

need() { # PROGRAM WHERE: it must be installed
  command -v "$1" >/dev/null 2>&1 || stop "$1 is not installed, and this needs it: $2. To run all of it without a cluster: make up"
}

kube() { kubectl --context "$profile" "$@"; }

need minikube "https://minikube.sigs.k8s.io/docs/start/"
need kubectl "https://kubernetes.io/docs/tasks/tools/"
need helm "https://helm.sh/docs/intro/install/"
minikube --profile "$profile" status >/dev/null 2>&1 || stop "the minikube cluster $profile does not run. Start it: minikube --profile $profile start --cpus 4 --memory 4g"

up() {
  need docker "https://docs.docker.com/get-started/get-docker/ (its client is enough: the engine is minikube's)"
  kube apply -k deploy/minikube
  # From here on docker talks to the engine of the cluster: an image built there needs no registry.
  variables=$(minikube --profile "$profile" docker-env --shell sh) || stop "minikube --profile $profile docker-env failed: the cluster must run on docker (minikube start --container-runtime docker)"
  eval "$variables"
  deploy/docker/build.sh local kube-job-runner local
  docker build --quiet --tag sample-job:local examples/sample-job
  # A tag of its own for every build: Deployments take no notice of an image that changes behind its tag.
  id=$(docker image inspect --format '{{.Id}}' kube-job-runner:local)
  tag=local-$(printf %s "${id#sha256:}" | cut -c1-12)
  docker tag kube-job-runner:local "kube-job-runner:$tag"
  kube --namespace "$namespace" rollout status statefulset/postgresql --timeout 5m
  kube --namespace "$namespace" rollout status deployment/elasticmq --timeout 5m
  helm --kube-context "$profile" upgrade --install kube-job-runner deploy/helm/kube-job-runner --namespace "$namespace" \
    --values deploy/minikube/values.yaml --set-string "image.tag=$tag" --wait --timeout 5m
  cat <<TEXT

kube-job-runner runs in $profile. To use it from here:

  kubectl --context $profile -n $namespace port-forward service/kube-job-runner 8080:80 &
  export KJR_SERVER=http://127.0.0.1:8080
  export KJR_TOKEN="\$(kubectl --context $profile -n $namespace exec deployment/kube-job-runner-web-server -- kjr token create me)"
  .venv/bin/kjr submit -f examples/sample-job/job.yaml --set image=sample-job:local --wait
TEXT
}

down() {
  helm --kube-context "$profile" uninstall kube-job-runner --namespace "$namespace" --ignore-not-found --wait
  kube delete -k deploy/minikube --ignore-not-found --wait
  echo "kjr: nothing of kube-job-runner is left in $profile"
}

case $verb in
  up | down) "$verb" ;;
  *) stop "unknown verb $verb; there are: up, down" ;;
esac
