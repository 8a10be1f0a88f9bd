#!/bin/sh
# The install steps of the image, in one place: the Dockerfile runs them, and so does the test that starts every component from
# a bare folder, so that neither can drift from the other.
#
#   install.sh dependencies FOLDER   a virtual environment of the hashed runtime requirements, and nothing else
#   install.sh project FOLDER        the wheel, built in an environment of its own, installed there without dependencies
#
# PYTHON and UV name the programs to use. Files are copied, never linked to a cache, and compiled: nothing is written later.
set -eu

verb=${1:?dependencies or project}
folder=${2:?the folder of the virtual environment}
source=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
uv=${UV:-uv}

install() { # PYTHON ARGUMENTS...: install exactly what the hashes allow
  into=$1
  shift
  "$uv" pip install --quiet --link-mode copy --python "$into" "$@"
}

case $verb in
  dependencies)
    "$uv" venv --quiet --no-project --python "$python" "$folder"
    install "$folder/bin/python" --compile-bytecode --no-deps --require-hashes -r "$source/requirements/runtime.txt"
    ;;
  project)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$uv" venv --quiet --no-project --python "$python" "$work/venv"
    install "$work/venv/bin/python" --no-deps --require-hashes -r "$source/requirements/build.txt"
    "$uv" build --quiet --wheel --no-build-isolation --python "$work/venv/bin/python" \
      --out-dir "$work/dist" "$source"
    install "$folder/bin/python" --compile-bytecode --no-deps "$work"/dist/*.whl
    rm -f "$folder"/lib/python*/site-packages/kube_job_runner-*.dist-info/direct_url.json # names the folder of the build
    ;;
  *)
    echo "install.sh: unknown step $verb; there are: dependencies, project" >&2
    exit 2
    ;;
esac
