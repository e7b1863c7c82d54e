"""How much memory a training step needs on one device, with and without rematerialisation.

  python -m benchmarks.memory --batch 8 --dtype bfloat16 --json out/memory.json

Two figures stand side by side. XLA's account of the compiled program is exact for the backend that
compiled it; on a CPU that is not what an accelerator would need, because the CPU computes parts of
a bfloat16 program in float32. The residuals, what the forward pass saves for the backward pass,
follow from the traced program alone and are the same everywhere.
"""

import jax
import jax.numpy as jnp

from benchmarks import harness, programs
from rrsis_jax.models import registry

GIGA = 1e9


def residual_bytes(config, size: int, batch: int) -> int:
    """Returns the bytes that the forward pass keeps for the backward pass, parameters excluded."""
    model = registry.build(config)
    network, variables = model.network(), model.shapes()
    inputs = jax.tree.map(_shape, programs.make_batch(config, size, batch))

    def residuals(variables, inputs) -> list[jax.Array]:
        def loss(params) -> jax.Array:
            outputs, _ = network.apply(
                {**variables, "params": params},
                inputs["images"],
                inputs["text"],
                train=True,
                rngs={"dropout": jax.random.PRNGKey(0)},
                mutable=["batch_stats"],
            )
            sums = model.loss_sums(outputs, inputs, lambda x: x)
            return sum(sums.values(), jnp.float32(0))

        _, pull = jax.vjp(loss, variables["params"])
        given = {id(leaf) for leaf in jax.tree.leaves((variables, inputs))}
        return [leaf for leaf in jax.tree.leaves(pull) if id(leaf) not in given]

    kept = jax.eval_shape(residuals, variables, inputs)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in kept)


def _shape(x) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def compiled_bytes(config, size: int, batch: int) -> dict[str, int]:
    """Returns XLA's account of the training step compiled for one device."""
    step, make_state = programs.make_training(config)
    state = jax.eval_shape(make_state, registry.build(config).shapes())
    inputs = jax.tree.map(_shape, programs.make_batch(config, size, batch))
    shapes = (programs.replicated_shapes(state), programs.replicated_shapes(inputs))
    analysis = step.lower(*shapes).compile().memory_analysis()
    if analysis is None:
        raise ValueError("This backend gives no account of its programs' memory.")
    return {"arguments": analysis.argument_size_in_bytes, "temporary": analysis.temp_size_in_bytes}


def measure(config, size: int, batch: int, compile_too: bool) -> dict:
    """Returns one row of the table, in GB of 10⁹ bytes."""
    row = {
        "dtype": config.model.dtype,
        "remat": config.model.remat,
        "size": size,
        "batch": batch,
        "residuals GB": residual_bytes(config, size, batch) / GIGA,
        "arguments GB": None,
        "temporary GB": None,
        "total GB": None,
    }
    if compile_too:
        sizes = compiled_bytes(config, size, batch)
        row |= {f"{key} GB": value / GIGA for key, value in sizes.items()}
        row["total GB"] = sum(sizes.values()) / GIGA  # the results reuse the arguments' memory
    return row


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=int, default=480, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=8, help="samples on the device")
    parser.add_argument("--dtype", default="bfloat16", help="compute type")
    parser.add_argument("--remat", nargs="+", choices=["off", "on"], default=["off", "on"])
    parser.add_argument("--residuals-only", action="store_true", help="compile nothing")
    arguments = parser.parse_args(argv)
    config = harness.load_config(arguments.config)
    config.model.dtype = arguments.dtype
    rows = []
    for remat in arguments.remat:
        config.model.remat = remat == "on"
        rows.append(measure(config, arguments.size, arguments.batch, not arguments.residuals_only))
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
