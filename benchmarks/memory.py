"""How much memory a training step needs on one device, with and without rematerialisation.

  python -m benchmarks.memory --batch 8 --dtype bfloat16 --json out/memory.json
  python -m benchmarks.memory --config=lgce_refsegrs --device-memory 16 24 40 80

The second form compiles nothing: it says the largest batch that fits devices of so many GB, by the
parameters, the optimiser's state, the gradients and what the traced step holds at once (see
`liveness`).

In the first form two figures stand side by side. XLA's account of the compiled program is exact for
the backend that compiled it; on a CPU that is not what an accelerator would need, because the CPU
computes parts of a bfloat16 program in float32. The residuals, what the forward pass saves for the
backward pass, follow from the traced program alone and are the same everywhere.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from benchmarks import harness, liveness, programs
from rrsis_jax.models import registry
from rrsis_jax.training import optim
from rrsis_jax.weights import trees

GIGA = 1e9
_TRACED = (2, 4)  # batches


def make_loss(config) -> Callable:
    """Returns the loss of (trained parameters, all other variables, batch), as trained.

    It comes with the new statistics of batch norms.
    """
    model = registry.build(config)
    network = model.network()

    def loss(trained, others, batch) -> tuple[Any, Any]:
        outputs, updates = network.apply(
            {**others, "params": trees.join(trained, others["params"])},
            batch["images"],
            batch["text"],
            train=True,
            **({"arrays": batch["arrays"]} if "arrays" in batch else {}),
            rngs={"dropout": jax.random.PRNGKey(0)},
            mutable=["batch_stats"],
        )
        return sum(model.loss_sums(outputs, batch, lambda x: x).values()), updates

    return loss


def residual_bytes(config, batch: int) -> int:
    """Returns the bytes that the forward pass keeps for the backward pass, parameters excluded."""
    loss = make_loss(config)
    inputs = jax.tree.map(_shape, programs.make_batch(config, batch))

    def residuals(trained, others, inputs) -> list[jax.Array]:
        _, pull, _ = jax.vjp(lambda p: loss(p, others, inputs), trained, has_aux=True)
        arguments = {id(leaf) for leaf in jax.tree.leaves((trained, others, inputs))}
        return [leaf for leaf in jax.tree.leaves(pull) if id(leaf) not in arguments]

    return _bytes(jax.eval_shape(residuals, *variable_shapes(config), inputs))


def held_bytes(config, batch: int) -> int:
    """Returns what loss and gradients hold at once beside parameters and gradients."""
    inputs = jax.tree.map(_shape, programs.make_batch(config, batch))
    gradients = jax.value_and_grad(make_loss(config), has_aux=True)
    traced = jax.make_jaxpr(gradients)(*variable_shapes(config), inputs)
    return liveness.peak_bytes(traced) + _bytes(inputs)


def state_bytes(config) -> dict[str, int]:
    """Returns what a device holds whatever the batch: parameters, optimiser and gradients."""
    model = registry.build(config)
    _, make_state = programs.make_training(config)
    state = jax.eval_shape(make_state, model.shapes())
    trained, _ = optim.split_frozen(state.params, model)
    return {
        "parameters": _bytes((state.params, state.batch_stats, state.ema)),
        "optimiser": _bytes(state.opt_state),
        "gradients": _bytes(trained),
    }


def fitting(config, memories: Sequence[float], share: float) -> dict:
    """Returns one row: what a step holds, and the largest batch for each size of memory.

    What a step holds grows by the same bytes with every sample, so two traces tell it.

    Args:
      config: of the run, with its dtype and `remat`.
      memories: of devices, in GB.
      share: of the memory that arrays may take.
    """
    always = state_bytes(config)
    few, more = (held_bytes(config, batch) for batch in _TRACED)
    sample = (more - few) / (_TRACED[1] - _TRACED[0])
    fixed = sum(always.values()) + few - _TRACED[0] * sample
    return {
        **{f"{key} GB": value / GIGA for key, value in always.items()},
        "GB a sample": sample / GIGA,
        **{
            f"batch in {memory:g} GB": max(0, int((share * memory * GIGA - fixed) // sample))
            for memory in memories
        },
    }


def variable_shapes(config) -> tuple[Any, Any]:
    """Returns the shapes of the trained parameters, and of all other variables."""
    model = registry.build(config)
    variables = model.shapes()
    trained, frozen = optim.split_frozen(variables["params"], model)
    return trained, {**variables, "params": frozen}


def _bytes(tree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _shape(x) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def compiled_bytes(config, batch: int) -> dict[str, int]:
    """Returns XLA's account of the training step compiled for one device."""
    step, make_state = programs.make_training(config)
    state = jax.eval_shape(make_state, registry.build(config).shapes())
    inputs = jax.tree.map(_shape, programs.make_batch(config, batch))
    shapes = (programs.replicated_shapes(state), programs.replicated_shapes(inputs))
    analysis = step.lower(*shapes).compile().memory_analysis()
    if analysis is None:
        raise SystemExit("This backend does not say how much memory a program needs.")
    return {"arguments": analysis.argument_size_in_bytes, "temporary": analysis.temp_size_in_bytes}


def measure(config, batch: int, compile_too: bool) -> dict:
    """Returns one row of the table, in GB of 10⁹ bytes."""
    row = {
        "batch": batch,
        "residuals GB": residual_bytes(config, batch) / GIGA,
        "arguments GB": None,
        "temporary GB": None,
        "total GB": None,
    }
    if compile_too:
        sizes = compiled_bytes(config, batch)
        row |= {f"{key} GB": value / GIGA for key, value in sizes.items()}
        row["total GB"] = sum(sizes.values()) / GIGA  # the results reuse the arguments' memory
    return row


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=int, help="side of the images instead of the config's")
    parser.add_argument("--batch", type=int, default=8, help="samples on the device")
    parser.add_argument("--dtype", default="bfloat16", help="compute type")
    parser.add_argument("--remat", nargs="+", choices=["off", "on"], default=["off", "on"])
    parser.add_argument("--residuals-only", action="store_true", help="compile nothing")
    parser.add_argument(
        "--device-memory", type=float, nargs="+", metavar="GB", help="say what batch fits"
    )
    parser.add_argument(
        "--share", type=float, default=0.9, help="of that memory, what arrays may take"
    )
    arguments = parser.parse_args(argv)
    config = harness.load_config(arguments.config, arguments.size)
    config.model.dtype = arguments.dtype
    rows = []
    for remat in arguments.remat:
        config.model.remat = remat == "on"
        if arguments.device_memory:
            row = fitting(config, arguments.device_memory, arguments.share)
        else:
            row = measure(config, arguments.batch, not arguments.residuals_only)
        kind = {"model": config.model.name, "dtype": config.model.dtype, "remat": remat}
        rows.append({**kind, "size": config.data.image_size, **row})
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
