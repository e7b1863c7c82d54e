"""The network's main operators in JAX and in PyTorch, forward and backward, on the same device.

  python -m benchmarks.torch_operators --json out/torch_operators.json

Shapes are those of Swin-B and the LGCE decoder at 480×480. One image's forward pass of the whole
reference model took 1.7 s where these were chosen, a training step of two images 13.5 s: the
operators tie such figures to the machine and the moment of a measurement. Takes the `torch` extra.
PyTorch's side is compiled by `torch.compile` on a GPU, and with `--compile` on a CPU, where that
takes a C++ compiler.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from rrsis_jax.models.backbones.swin import network as swin
from rrsis_jax.models.layers import convolution

WINDOW = 12
PASSES = ("forward", "forward and backward")
Calls = tuple[Callable[[], None], Callable[[], None]]  # of both passes


@dataclasses.dataclass(frozen=True)
class Block:
    """A plain Swin block on a square map."""

    side: int
    channels: int
    heads: int

    def __str__(self) -> str:
        """As a row of the table names it."""
        return f"Swin block, {self.side}×{self.side}×{self.channels}"

    def in_jax(self, batch: int, dtype: str) -> Calls:
        """Returns the calls with this project's block."""
        kind = jnp.dtype(dtype)
        block = swin.SwinBlock(self.heads, WINDOW, shifted=False, drop_path=0.0, dtype=kind)
        x = jnp.asarray(_random(batch, self.side, self.side, self.channels), dtype)
        variables = jax.jit(functools.partial(block.init, train=False))(jax.random.key(0), x)
        return _jax_calls(lambda variables, x: block.apply(variables, x, False), variables, x)

    def in_torch(self, batch: int, dtype: str, compiled: bool) -> Calls:
        """Returns the calls with PyTorch's operators."""
        import torch
        from torch import nn

        side, channels, heads = self.side, self.channels, self.heads
        area, padded = WINDOW * WINDOW, -(-side // WINDOW) * WINDOW
        count = padded // WINDOW
        types: dict[str, Any] = {"device": _device(), "dtype": getattr(torch, dtype)}
        norms = [nn.LayerNorm(channels, **types) for _ in range(2)]
        qkv = nn.Linear(channels, 3 * channels, **types)
        proj = nn.Linear(channels, channels, **types)
        mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels, **types),
            nn.GELU(),
            nn.Linear(4 * channels, channels, **types),
        )
        bias = torch.zeros(heads, area, area, requires_grad=True, **types)

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

        return _torch_calls(block, _random(batch, side, side, channels), dtype, compiled)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A 3×3 convolution on a square map."""

    side: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        """As a row of the table names it."""
        return f"3×3 convolution, {self.side}×{self.side}, {self.inputs} → {self.outputs}"

    def in_jax(self, batch: int, dtype: str) -> Calls:
        """Returns the calls with this project's convolution."""
        x = jnp.asarray(_random(batch, self.side, self.side, self.inputs), dtype)
        kernel = jnp.asarray(_random(3, 3, self.inputs, self.outputs), dtype)
        return _jax_calls(convolution.convolve_same, x, kernel)

    def in_torch(self, batch: int, dtype: str, compiled: bool) -> Calls:
        """Returns the calls with PyTorch's operator."""
        import torch

        types: dict[str, Any] = {"device": _device(), "dtype": getattr(torch, dtype)}
        convolution = torch.nn.Conv2d(self.inputs, self.outputs, 3, padding=1, bias=False, **types)
        x = _random(batch, self.inputs, self.side, self.side)
        return _torch_calls(convolution, x, dtype, compiled)


Operator = Block | Convolution
OPERATORS = (
    Block(60, 256, 8),  # of Swin-B's stages 2 and 3
    Block(30, 512, 16),
    Convolution(60, 768, 512),
    Convolution(120, 640, 512),
)
TINY = (Block(12, 16, 2), Convolution(8, 4, 4))


def operators(tiny: bool = False) -> tuple[Operator, ...]:
    """Returns what is measured, or the smallest of its kind."""
    return TINY if tiny else OPERATORS


def _jax_calls(function, *arguments) -> Calls:
    forward = jax.jit(function)
    squares = jax.jit(
        jax.grad(
            lambda *arguments: jnp.sum(jnp.square(function(*arguments))),
            argnums=tuple(range(len(arguments))),
        )
    )
    return (
        lambda: jax.block_until_ready(forward(*arguments)),
        lambda: jax.block_until_ready(squares(*arguments)),
    )


def _torch_calls(function, values: np.ndarray, dtype: str, compiled: bool) -> Calls:
    import torch

    x = torch.from_numpy(values).to(_device(), getattr(torch, dtype)).requires_grad_(True)
    if compiled:
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


def measure(
    operator: Operator, batch: int, dtype: str, repeats: int, compiled: bool | None = None
) -> list[dict]:
    """Returns a row for each pass of an operator.

    Args:
      operator: which one.
      batch: images.
      dtype: "float32" or "bfloat16".
      repeats: timed calls.
      compiled: whether PyTorch compiles its side; where it has a GPU if left out.
    """
    import torch

    compiled = torch.cuda.is_available() if compiled is None else compiled
    ours, theirs = (
        [harness.spread(harness.seconds(call, repeats))["seconds"] for call in calls]
        for calls in (operator.in_jax(batch, dtype), operator.in_torch(batch, dtype, compiled))
    )
    return [
        {
            "operator": str(operator),
            "pass": name,
            "JAX ms": 1e3 * jax_time,
            "PyTorch ms": 1e3 * torch_time,
            "PyTorch / JAX": torch_time / jax_time,
        }
        for name, jax_time, torch_time in zip(PASSES, ours, theirs, strict=True)
    ]


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--batch", type=int, default=1, help="images")
    parser.add_argument("--dtype", default="float32", help="compute type of both")
    parser.add_argument(
        "--compile", action="store_true", default=None, help="compile PyTorch's side on a CPU too"
    )
    arguments = parser.parse_args(argv)
    settings = arguments.batch, arguments.dtype, arguments.repeats, arguments.compile
    rows = [row for operator in OPERATORS for row in measure(operator, *settings)]
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
