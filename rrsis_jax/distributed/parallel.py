"""One program on all devices, each with its share of the global batch; pmap or its successor."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import flax.jax_utils
import jax
from jax.experimental import multihost_utils

from rrsis_jax.distributed import shard_map
from rrsis_jax.types import Array, Batch, Device

AXIS = "batch"  # the mapped axis: devices of all hosts
PMAP = "pmap"
SHARD_MAP = "shard_map"


def mapped(
    function: Callable,
    donate_argnums: tuple[int, ...] = (),
    devices: Sequence[Device] | None = None,
    backend: str = PMAP,
) -> jax.stages.Wrapped:
    """Returns `function` mapped over the leading device axis of all its arguments.

    Args:
      function: what every device runs.
      donate_argnums: arguments whose memory may be reused.
      devices: which ones; all of all hosts by default.
      backend: `pmap` or `shard_map`, see `distributed.backend` of the configuration. Both take and
        return the same arrays.
    """
    if backend == SHARD_MAP:
        return shard_map.mapped(function, AXIS, donate_argnums, devices)
    return jax.pmap(function, axis_name=AXIS, donate_argnums=donate_argnums, devices=devices)


def replicate(tree: Any, devices: Sequence[Device] | None = None) -> Any:
    """Returns `tree` with one copy per device (all local ones by default), as a leading axis."""
    # Laid out under the mapped axis by its name: under another, the next step would compile anew.
    return flax.jax_utils.replicate(tree, devices, axis_name=AXIS)


def unreplicate(tree: Any) -> Any:
    """Returns the first device's copy of a replicated tree, as numpy arrays on the host."""
    copies = jax.device_get(jax.tree.map(lambda x: x.addressable_shards[0].data, tree))
    return jax.tree.map(lambda x: x.squeeze(axis=0), copies)


def shard(batch: Batch, devices: Sequence[Device] | None = None) -> Batch:
    """Splits a host's batch (b, …) over its devices: (devices, b / devices, …)."""
    count = len(devices) if devices else jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape((count, x.shape[0] // count, *x.shape[1:])), batch)


def device_batches(
    batches: Iterable[Batch], ahead: int = 2, devices: Sequence[Device] | None = None
) -> Iterator[Batch]:
    """Shards batches and copies them to the devices `ahead` of their use."""
    sharded = (shard(batch, devices) for batch in batches)
    return flax.jax_utils.prefetch_to_device(sharded, ahead, devices, axis_name=AXIS)


def sum_over_devices(tree: Any) -> Any:
    """Sums over all devices; only inside a `mapped` function."""
    return jax.lax.psum(tree, AXIS)


def gather_samples(tree: Any) -> Any:
    """Joins the devices' (b, …) arrays to the global (B, …); only inside a `mapped` function."""
    return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, tiled=True), tree)


def gather_hosts(tree: Any) -> Any:
    """Joins the hosts' (n, …) numpy arrays, equally long, to (hosts · n, …) on every host."""
    return multihost_utils.process_allgather(tree, tiled=True)


def device_key(key: Array, step: Array) -> jax.Array:
    """Derives the dropout key of this device at `step`; only inside a `mapped` function."""
    return jax.random.fold_in(jax.random.fold_in(key, step), jax.lax.axis_index(AXIS))


def check_batch_size(name: str, batch_size: int, micro_batches: int = 1) -> None:
    """Refuses a global batch that does not divide over the devices.

    Args:
      name: the config key, for the message.
      batch_size: the global batch size.
      micro_batches: into how many parts each device's share is cut.

    Raises:
      ValueError: naming the sizes next to `batch_size` that would fit.
    """
    unit = jax.device_count() * micro_batches
    if batch_size > 0 and batch_size % unit == 0:
        return
    below, above = batch_size // unit * unit, (max(batch_size, 0) // unit + 1) * unit
    near = " or ".join(str(size) for size in (below, above) if size > 0)
    cut = f" and {micro_batches} micro-batches" if micro_batches > 1 else ""
    raise ValueError(
        f"{name} is {batch_size}, which {jax.device_count()} device(s){cut} cannot share "
        f"equally. Set it to {near}."
    )
