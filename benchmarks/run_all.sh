#!/usr/bin/env bash
# Runs every benchmark with the settings of benchmarks/README.md, one after the other.
#
#   benchmarks/run_all.sh [FOLDER]      tables on the terminal, JSON files in FOLDER (out/benchmarks)
#
# Let nothing else run meanwhile. On 2 cores the longest part is compiling.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/benchmarks}
mkdir -p "$out"
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} TF_CPP_MIN_LOG_LEVEL=2

run() { # name, module, arguments…
  local name=$1 module=$2
  shift 2
  echo "== $name"
  "${PYTHON:-python}" -m "benchmarks.$module" --json "$out/$name.json" "$@" 2> "$out/$name.log" ||
    { tail -20 "$out/$name.log" >&2; return 1; }
}

run torch_operators torch_operators --repeats 5
run inference inference --batches 1 --repeats 5
run phrases phrases --phrases 1 10 --repeats 3
run train_step train_step --batches 2 --repeats 3
run train_step_scan train_step --batches 2 --repeats 2 --scan on
run startup startup --batch 1
run looks looks --steps 200
run input_pipeline input_pipeline --threads 1 2 8
run evaluation evaluation --repeats 3
run prepare_dataset prepare_dataset --samples 2000
run memory_residuals memory --residuals-only
run memory memory --remat on
run data_parallel data_parallel --config configs/quickstart.py --size 128 --repeats 3
