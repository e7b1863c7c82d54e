"""The network's main operators in JAX and in PyTorch, forward and backward, on the same processor.

  python -m benchmarks.torch_operators --json out/torch_operators.json

Shapes are those of Swin-B and the LGCE decoder at 480×480. One image's forward pass of the whole
reference model took 1.7 s where these were chosen, a training step of two images 13.5 s: the
operators tie such figures to the machine and the moment of a measurement. Takes the `torch` extra.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from rrsis_jax.models.backbones.swin import network as swin
from rrsis_jax.models.layers import convolution

BLOCKS = ((60, 256, 8), (30, 512, 16))  # map side, channels, heads: of stages 2 and 3
CONVOLUTIONS = ((60, 768, 512), (120, 640, 512))  # map side, channels in and out
WINDOW = 12


def jax_block(side: int, channels: int, heads: int, batch: int):
    """Returns forward and forward-with-backward calls of a plain Swin block."""
    block = swin.SwinBlock(num_heads=heads, window=WINDOW, shifted=False, drop_path=0.0)
    x = jnp.asarray(_random(batch, side, side, channels))
    variables = jax.jit(functools.partial(block.init, train=False))(jax.random.key(0), x)
    return _jax_calls(lambda variables, x: block.apply(variables, x, False), variables, x)


def jax_convolution(side: int, inputs: int, outputs: int, batch: int):
    """Returns forward and forward-with-backward calls of a 3×3 convolution."""
    x = jnp.asarray(_random(batch, side, side, inputs))
    return _jax_calls(convolution.convolve_same, x, jnp.asarray(_random(3, 3, inputs, outputs)))


def _jax_calls(function, *arguments):
    forward = jax.jit(function)
    squares = jax.jit(
        jax.grad(
            lambda *arguments: jnp.sum(jnp.square(function(*arguments))),
            argnums=tuple(range(len(arguments))),
        )
    )
    return tuple(
        lambda call=call: jax.block_until_ready(call(*arguments)) for call in (forward, squares)
    )


def torch_block(side: int, channels: int, heads: int, batch: int):
    """Returns the calls of `jax_block` with PyTorch's operators."""
    import torch
    from torch import nn

    torch.set_default_device(_device())
    area = WINDOW * WINDOW
    padded = -(-side // WINDOW) * WINDOW
    count = padded // WINDOW
    norms = [nn.LayerNorm(channels) for _ in range(2)]
    qkv, proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
    mlp = nn.Sequential(
        nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
    )
    bias = torch.zeros(heads, area, area, requires_grad=True)

    def block(x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.pad(norms[0](x), (0, 0, 0, padded - side, 0, padded - side))
        y = y.view(batch, count, WINDOW, count, WINDOW, channels).transpose(2, 3)
        y = y.reshape(-1, area, channels)
        q, k, v = qkv(y).reshape(-1, area, 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
        weights = ((q * (channels // heads) ** -0.5) @ k.transpose(-2, -1) + bias).softmax(-1)
        y = proj((weights @ v).transpose(1, 2).reshape(-1, area, channels))
        y = y.view(batch, count, count, WINDOW, WINDOW, channels).transpose(2, 3)
        x = x + y.reshape(batch, padded, padded, channels)[:, :side, :side]
        return x + mlp(norms[1](x))

    return _torch_calls(block, torch.from_numpy(_random(batch, side, side, channels)))


def torch_convolution(side: int, inputs: int, outputs: int, batch: int):
    """Returns the calls of `jax_convolution` with PyTorch's operator."""
    import torch

    torch.set_default_device(_device())
    convolution = torch.nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return _torch_calls(convolution, torch.from_numpy(_random(batch, inputs, side, side)))


def _torch_calls(function, x):
    import torch

    x = x.to(_device()).requires_grad_(True)
    if torch.cuda.is_available():
        function = torch.compile(function)

    def forward() -> None:
        with torch.no_grad():
            function(x)
        _wait()

    def backward() -> None:
        function(x).square().sum().backward()
        _wait()

    return forward, backward


def _device():
    """Returns PyTorch's accelerator where it has one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _wait() -> None:
    """Waits for the accelerator, which works behind PyTorch's back."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--batch", type=int, default=1, help="images")
    arguments = parser.parse_args(argv)
    cases = [("Swin block", jax_block, torch_block, shape) for shape in BLOCKS]
    cases += [
        ("3×3 convolution", jax_convolution, torch_convolution, shape) for shape in CONVOLUTIONS
    ]
    rows = []
    for name, ours, theirs, shape in cases:
        seconds = [
            harness.spread(harness.seconds(call, arguments.repeats))["seconds"]
            for make in (ours, theirs)
            for call in make(*shape, arguments.batch)
        ]
        for step, jax_time, torch_time in zip(
            ("forward", "forward and backward"), seconds[:2], seconds[2:], strict=True
        ):
            rows.append(
                {
                    "operator": name,
                    "shape": "×".join(map(str, shape)),
                    "pass": step,
                    "JAX ms": 1e3 * jax_time,
                    "PyTorch ms": 1e3 * torch_time,
                    "PyTorch / JAX": torch_time / jax_time,
                }
            )
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
