#!/bin/sh
# Resolve the dependencies anew and write hash-locked requirements that name no address. Called by `make lock`.
set -eu
uv=${UV:-uv}
compile() {
  "$uv" pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
    --no-annotate --no-header --no-emit-index-url --quiet "$@"
}
compile --all-extras --group dev -o requirements/dev.txt
# The images get the very versions that were tested.
compile -c requirements/dev.txt -o requirements/operator.txt
compile --extra workloads -c requirements/dev.txt -o requirements/workloads.txt
