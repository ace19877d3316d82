#!/bin/sh
# Resolve pyproject.toml into the lock files. Reads UV.
set -eu
compile() {
    "$UV" pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header --no-annotate --quiet "$@"
}
dir=deployments/locks
# what builds the package itself, where it must not come unpinned
printf 'hatchling>=1.26\neditables>=0.5\n' | "$UV" pip compile - --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate --quiet -o $dir/build.lock
compile -o $dir/base.lock
compile --group dev -c $dir/base.lock -o $dir/dev.lock
compile --group dev --group bench -c $dir/dev.lock -o $dir/bench.lock
compile --extra cuda12 -c $dir/base.lock -o $dir/cuda12.lock
compile --extra cuda13 -c $dir/base.lock -o $dir/cuda13.lock
