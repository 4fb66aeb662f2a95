#!/bin/sh
# Build the images and label each with the commit and the code digest.
#
#   infra/images/build.sh [stage] [flow] [dashboard]     without a name all three
#
# STAGE_BASE=IMAGE puts the stage on another base, such as a CUDA one. PIP_INDEX_URL and
# PIP_EXTRA_INDEX_URL are handed on to pip.
set -eu

cd "$(dirname "$0")/../.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
code=$(.venv/bin/python -m components.execution.image_code)

[ $# -gt 0 ] || set -- stage flow dashboard
for name in "$@"; do
    base=
    [ "$name" = stage ] && base=${STAGE_BASE:-}
    docker build --tag "strata-$name:$version" --file "infra/images/$name.Dockerfile" \
        ${base:+--build-arg BASE="$base"} \
        --build-arg COMMIT="$commit" --build-arg CODE="$code" \
        ${PIP_INDEX_URL:+--build-arg PIP_INDEX_URL="$PIP_INDEX_URL"} \
        ${PIP_EXTRA_INDEX_URL:+--build-arg PIP_EXTRA_INDEX_URL="$PIP_EXTRA_INDEX_URL"} .
done
