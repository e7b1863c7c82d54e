"""How parameters start: every class of them against the law that the reference draws from."""

import re
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from flax import traverse_util

DRAWS = 24
NORMAL = "normal, deviation 0.02"
STANDARD = "normal, deviation 1"
HE = "normal, deviation sqrt(2 / fan-in)"
UNIFORM = "uniform within ±1 / sqrt(fan-in)"
XAVIER = "uniform within ±sqrt(6 / (inputs + outputs))"
ONE, ZERO = "one", "zero"

# What all networks of this family have in common; the first pattern that fits a path counts.
SWIN = {
    r".*/scale": ONE,
    r".*(norm\w*|bn\w*|_bn)/bias": ZERO,
    r".*/relative_position_bias_table": NORMAL,
    r".*/(blocks_\d+/(attn|mlp)/\w+|downsample/reduction|\w*gate/fc\d)/kernel": NORMAL,
    r".*/blocks_\d+/(attn|mlp)/\w+/bias": ZERO,
    r"backbone/patch_embed/proj/(kernel|bias)": UNIFORM,
}
ROTATED = {
    r".*/turn_\w+/kernel": HE,
    r".*/routing/(depthwise|strength|angle)/kernel": NORMAL,
    r".*/routing/strength/bias": UNIFORM,
}


def assert_starts(network: nn.Module, laws: Mapping[str, str], text: Mapping) -> None:
    """Compares draws of every class of parameter with its law.

    Args:
      network: with the method `segment`.
      laws: pattern of our paths below "params" → law; each must fit some path.
      text: what `segment` takes, for one phrase.
    """
    image = jnp.zeros((1, 32, 32, 3))

    def draw(key: jax.Array) -> Mapping:
        return network.init(key, {"image": image}, text, method="segment")["params"]

    # XLA's own generator compiles much faster than Threefry, once for each of the parameters.
    keys = jax.random.split(jax.random.key(0, impl="unsafe_rbg"), DRAWS)
    drawn = jax.jit(jax.vmap(draw))(keys)
    params = traverse_util.flatten_dict(jax.tree.map(np.asarray, drawn), sep="/")
    pools = {}
    for path in params:
        pattern = next((p for p in laws if re.fullmatch(p, path)), None)
        assert pattern is not None, f"no law for {path}"
        pools.setdefault(pattern, []).append(path)
    assert pools.keys() == laws.keys()
    for pattern, paths in pools.items():
        law = laws[pattern]
        if law in (ONE, ZERO):
            assert all((params[path] == float(law == ONE)).all() for path in paths), pattern
            continue
        pool = np.concatenate([np.ravel(params[p] / _size(law, p, params)) for p in paths])
        unit = scipy.stats.uniform(-1, 2) if law in (UNIFORM, XAVIER) else scipy.stats.norm
        assert scipy.stats.kstest(pool, unit.cdf).pvalue > 1e-4, pattern
        assert abs(np.std(pool) / unit.std() - 1) <= 4 / np.sqrt(len(pool)), pattern


def _size(law: str, path: str, params: Mapping[str, np.ndarray]) -> float:
    """Returns the deviation of a normal law, or the bound of a uniform one."""
    if law == NORMAL:
        return 0.02
    if law == STANDARD:
        return 1.0
    if law == XAVIER:
        return np.sqrt(6 / sum(params[path].shape[1:]))
    kernel = params[path.removesuffix("bias").removesuffix("kernel") + "kernel"]
    fan_in = np.prod(kernel.shape[1:-1])  # the first axis counts the draws
    return np.sqrt(2 / fan_in) if law == HE else fan_in**-0.5
