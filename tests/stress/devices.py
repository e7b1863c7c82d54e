"""Models against themselves, by compiled programs: what `training_contract_test.py` only traces.

  python -m tests.stress.devices [NAME …]

For each model at the size of its `get_small`: loss, gradients and batch statistics of one step in
float64 on 2 devices, and on 4 that compute blocks anew on the way back, against one device;
log-odds in bfloat16 against float32. Takes minutes a model; ends with 1 if anything is too far off.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    " --xla_cpu_use_fusion_emitters=false"  # compiles in half the time
)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

import sys
import time

import jax
import numpy as np

from rrsis_jax.models import registry
from tests.conftest import random_variables
from tests.models import small_models

ROUND_OFF = 1e-11  # relative to the largest loss, gradient and statistic
ROUGH = 0.05  # of the range of log-odds, in bfloat16


def difference(tree, other) -> float:
    """Returns the largest difference of two trees, relative to the largest value of the second."""
    pairs = list(zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True))
    largest = max(float(np.abs(x).max()) for _, x in pairs)
    return max(float(np.abs(x - y).max()) for x, y in pairs) / largest


def step_differences(name: str) -> dict[str, float]:
    """Returns how far loss, gradients and statistics are from those of one device."""
    with jax.enable_x64(True):
        config = small_models.still_config(name)
        results = {}
        for devices in (1, 2, 4):
            if devices == 4 and "model.remat" in registry.rules(name):
                config.model.remat = True
            model = registry.build(config)
            step = small_models.Step(model, devices)
            results[f"{devices} devices"] = step(small_models.make_batch(model))
    alone = results.pop("1 devices")
    return {way: max(map(difference, result, alone)) for way, result in results.items()}


def rough_difference(name: str) -> float:
    """Returns how far log-odds in bfloat16 are from those in float32, relative to their range."""
    config = small_models.small_config(name)
    model = registry.build(config)
    variables, batch = random_variables(model), small_models.make_batch(model)
    config.model.dtype = "bfloat16"
    exact, rough = (
        jax.jit(m.outputs)(variables, batch["images"], batch["text"]).log_odds
        for m in (model, registry.build(config))
    )
    return float(np.abs(exact - rough).max() / np.ptp(exact))


def main(names: list[str]) -> int:
    """Prints a line for each comparison; returns how many are too far away."""
    failed = 0
    for name in names or registry.names():
        start = time.perf_counter()
        lines = {way: (x, ROUND_OFF) for way, x in step_differences(name).items()}
        lines["bfloat16"] = (rough_difference(name), ROUGH)
        for way, (x, limit) in lines.items():
            failed += not x < limit
            print(f"{name:14} {way:12} {x:.1e} {'' if x < limit else 'TOO FAR'}", flush=True)
        print(f"{name:14} {time.perf_counter() - start:.0f} s", flush=True)
        jax.clear_caches()
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
