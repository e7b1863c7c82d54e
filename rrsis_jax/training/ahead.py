"""The training step, compiled beside the making or the reading of what it starts from."""

import concurrent.futures
from typing import Any

import jax
import ml_collections
import numpy as np

from rrsis_jax.distributed import parallel
from rrsis_jax.models.contract import Model
from rrsis_jax.training import initialization
from rrsis_jax.training.train_state import TrainState
from rrsis_jax.types import Batch


def is_safe(config: ml_collections.ConfigDict, model: Model, last: int | None, total: int) -> bool:
    """Returns whether a step can be compiled before its state is there.

    Not where all steps are done, nor where hosts wait for each other, nor where weights of others
    come first: they may be refused, and XLA cannot be interrupted.

    Args:
      config: the whole configuration.
      model: built from it.
      last: step of the newest checkpoint; None if the run begins.
      total: steps of the whole run.
    """
    if jax.process_count() > 1:
        return False
    return last < total if last is not None else not initialization.reads_weights(config, model)


class CompiledAhead:
    """A mapped function that a thread compiles from shapes; the first call waits for it.

    A start then takes as long as the longer of both, not as their sum. XLA cannot be interrupted:
    a process that ends meanwhile, says why and waits for the thread.
    """

    def __init__(self, function: jax.stages.Wrapped, *shapes: Any):
        """Begins to compile.

        Args:
          function: made by `parallel.mapped`.
          *shapes: of its arguments, with their layout, see `on_devices`.
        """
        self._function = function
        pool = concurrent.futures.ThreadPoolExecutor(1, "compiling")
        self._compiled = pool.submit(lambda: function.lower(*shapes).compile())
        pool.shutdown(wait=False)

    def wait(self) -> None:
        """Waits for the program; a call meets the fault that there may have been, and raises it."""
        self._compiled.exception()

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function, which finds its program."""
        self.wait()
        return self._function(*arguments)


def shapes(state: TrainState, model: Model, batch_size: int) -> tuple[TrainState, Batch]:
    """Returns the shapes of what a training step is called with.

    Args:
      state: of shapes, see `train.state_shapes`.
      model: what is trained.
      batch_size: samples of all devices, which are this process's.
    """
    inputs = model.inputs()

    def rows(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch_size // jax.device_count(), *shape), dtype)

    batch = {
        "images": {
            name: rows((image.size, image.size, 3), np.uint8)
            for name, image in inputs.images.items()
        },
        "text": jax.tree.map(lambda x: rows(x.shape[1:], x.dtype), model.text_shapes()),
        "target": rows((inputs.target_size, inputs.target_size), np.uint8),
        "index": rows((), np.int32),
    }
    if inputs.arrays:
        batch["arrays"] = {name: rows(row.shape, row.dtype) for name, row in inputs.arrays.items()}
    return on_devices(state), on_devices(batch)


def on_devices(tree: Any) -> Any:
    """Returns the shapes of a tree of which every device has a copy or a part."""
    layout, devices = parallel.replicate(np.int32(0)).sharding, jax.local_device_count()
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((devices, *x.shape), x.dtype, sharding=layout), tree
    )
