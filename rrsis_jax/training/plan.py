"""The planned lengths of a run, in steps."""

import dataclasses

import ml_collections

from rrsis_jax.distributed import parallel


@dataclasses.dataclass(frozen=True)
class Plan:
    """The lengths of a run, in steps."""

    steps_per_epoch: int
    total: int
    eval_every: int

    def is_validated(self, step: int) -> bool:
        """Returns whether the run is validated and saved after `step`."""
        return step % self.eval_every == 0 or step == self.total


def check_batch_sizes(config: ml_collections.ConfigDict) -> None:
    """Refuses batch sizes that the devices cannot share, before anything is prepared for them.

    Raises:
      ValueError: naming the nearest sizes that fit.
    """
    micro_batches = config.optim.accumulate_steps
    parallel.check_batch_size("train.batch_size", config.train.batch_size, micro_batches)
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)


def make_plan(config: ml_collections.ConfigDict, num_samples: int) -> Plan:
    """Returns the run's lengths.

    Args:
      config: the whole configuration.
      num_samples: the size of the training split.

    Raises:
      ValueError: if the split is smaller than a batch, or the run would have no step.
    """
    train = config.train
    steps_per_epoch = num_samples // train.batch_size
    if not steps_per_epoch:
        raise ValueError(
            f"The training split has {num_samples} sample(s), fewer than one batch of "
            f"{train.batch_size}. Lower train.batch_size."
        )
    total = round(train.epochs * steps_per_epoch)
    if total < 1:
        raise ValueError(f"train.epochs is {train.epochs}, which is no step at all. Raise it.")
    return Plan(steps_per_epoch, total, max(1, round(train.eval_every_epochs * steps_per_epoch)))
