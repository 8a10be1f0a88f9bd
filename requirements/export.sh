#!/bin/sh
# Writes the hashed requirement files from uv.lock. The lock itself is not committed: it records the download addresses of one
# package index. These files hold only versions and hashes.
set -eu
uv=$1
cd "$(dirname "$0")/.."
options="--quiet --frozen --no-emit-project --no-header --no-annotate --format requirements-txt"
$uv export $options --no-default-groups --extra otel --extra s3 --extra sqs -o requirements/runtime.txt
$uv export $options --all-groups -o requirements/dev.txt
$uv export $options --only-group build -o requirements/build.txt
