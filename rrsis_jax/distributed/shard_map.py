"""What `jax.pmap` does, by `jax.shard_map`: the backend for releases of JAX without pmap."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rrsis_jax.types import Device


def mapped(
    function: Callable,
    axis: str,
    donate_argnums: tuple[int, ...] = (),
    devices: Sequence[Device] | None = None,
) -> Any:
    """Returns `function` mapped over the leading device axis of all its arguments.

    Takes and returns the arrays of `jax.pmap`: (devices of this host, …) on every host, laid out
    over them in their order.

    Args:
      function: what every device runs.
      axis: name of the mapped axis.
      donate_argnums: arguments whose memory may be reused.
      devices: which ones; all of all hosts by default.
    """
    mesh = Mesh(np.array(jax.devices() if devices is None else devices), (axis,))
    rows = PartitionSpec(axis)

    def on_a_device(*arguments: Any) -> Any:
        own = jax.tree.map(lambda x: x.squeeze(axis=0), arguments)
        return jax.tree.map(lambda x: x[None], function(*own))

    program = jax.jit(
        # With check_vma JAX would sum gradients over the devices, which the step does itself.
        jax.shard_map(on_a_device, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False),
        donate_argnums=donate_argnums,
        in_shardings=NamedSharding(mesh, rows),
        out_shardings=NamedSharding(mesh, rows),
    )
    if jax.process_count() == 1:
        return program

    def on_all_hosts(*arguments: Any) -> Any:
        everywhere = multihost_utils.host_local_array_to_global_array(arguments, mesh, rows)
        return multihost_utils.global_array_to_host_local_array(program(*everywhere), mesh, rows)

    return on_all_hosts
