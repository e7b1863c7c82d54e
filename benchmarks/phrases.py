"""What further phrases of one image cost: the whole network each time, or its parts.

  python -m benchmarks.phrases --phrases 1 10 --json out/phrases.json

The parts are those of the contract: the image is encoded once, every phrase once, and every pair is
segmented. Each program is compiled once, for one image and one phrase; whole and parts take turns,
so that a busy machine slows both.
"""

import functools
import statistics
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import harness, programs
from rrsis_jax.models import registry

PARTS = ("encode_image", "encode_text", "segment")


def compile_programs(config) -> tuple[dict[str, jax.stages.Compiled], dict[str, Any]]:
    """Returns the network's programs for one image and one phrase, and their arguments.

    Args:
      config: of the network.

    Returns:
      "whole" and `PARTS`, compiled; and `variables`, `images` and `text` on the device.
    """
    model = registry.build(config)
    network: Any = model.network()
    batch = jax.device_put(programs.make_batch(config, 1))
    variables = jax.device_put(programs.make_variables(config))
    images, text = batch["images"], batch["text"]

    def whole(variables: Any, images: Any, text: Any) -> jax.Array:
        return model.outputs(variables, images, text).answer()

    def part(method: str, variables: Any, *inputs: Any) -> Any:
        outputs: Any = network.apply(variables, *inputs, method=method)
        return outputs.answer() if method == "segment" else outputs

    functions = {"whole": whole, **{name: functools.partial(part, name) for name in PARTS}}
    encoded = [
        jax.eval_shape(functions[name], variables, inputs)
        for name, inputs in (("encode_image", images), ("encode_text", text))
    ]
    inputs = dict(zip(functions, ((images, text), (images,), (text,), encoded), strict=True))
    compiled = {
        name: jax.jit(function).lower(variables, *inputs[name]).compile()
        for name, function in functions.items()
    }
    return compiled, {"variables": variables, "images": images, "text": text}


def make_passes(
    compiled: dict[str, jax.stages.Compiled], arguments: dict[str, Any], phrases: int
) -> dict[str, Callable[[], None]]:
    """Returns what segments one image for so many phrases, by the whole network and by parts."""
    variables, images, text = (arguments[name] for name in ("variables", "images", "text"))

    def whole() -> None:
        jax.block_until_ready([compiled["whole"](variables, images, text) for _ in range(phrases)])

    def parts() -> None:
        image = compiled["encode_image"](variables, images)
        words = [compiled["encode_text"](variables, text) for _ in range(phrases)]
        jax.block_until_ready([compiled["segment"](variables, image, word) for word in words])

    return {"whole": whole, "parts": parts}


def measure(config, phrases: list[int], repeats: int) -> list[dict]:
    """Returns one row for each number of phrases."""
    compiled, arguments = compile_programs(config)
    rows = []
    for number in phrases:
        taken = harness.alternate(make_passes(compiled, arguments, number), repeats)
        ratios = [a / b for a, b in zip(taken["parts"], taken["whole"], strict=True)]
        rows.append(
            {
                "size": config.data.image_size,
                "phrases": number,
                "whole s": statistics.median(taken["whole"]),
                "parts s": statistics.median(taken["parts"]),
                "parts / whole": statistics.median(ratios),
                "from": min(ratios),
                "to": max(ratios),
            }
        )
    return rows


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[None], help="sides instead of the config's"
    )
    parser.add_argument("--phrases", type=int, nargs="+", default=[1, 10], help="of one image")
    arguments = parser.parse_args(argv)
    rows = [
        row
        for size in arguments.sizes
        for row in measure(
            harness.load_config(arguments.config, size), arguments.phrases, arguments.repeats
        )
    ]
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
