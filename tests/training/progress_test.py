"""The plan of a run, the scalars on the device, and stopping from outside."""

import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.distributed import preemption
from rrsis_jax.training import progress
from rrsis_jax.training.plan import Plan, check_batch_sizes, make_plan


def scalars(loss):
    return {
        "loss": jnp.float32([loss] * 4),
        "grad_norm": jnp.float32([1.0] * 4),
        "finite": jnp.array([np.isfinite(loss)] * 4),
    }


def test_the_plan_counts_whole_batches(tiny_config):
    tiny_config.train.epochs = 2.5
    tiny_config.train.eval_every_epochs = 0.5
    plan = make_plan(tiny_config, num_samples=18)
    assert plan == Plan(steps_per_epoch=4, total=10, eval_every=2)
    assert [step for step in range(1, 11) if plan.is_validated(step)] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.batch_size": 20}, "fewer than one batch of 20"),
        ({"train.epochs": 0.0}, "no step at all"),
    ],
)
def test_a_plan_that_cannot_run_is_refused(tiny_config, changes, message):
    tiny_config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        make_plan(tiny_config, num_samples=18)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.batch_size": 6}, "train.batch_size is 6.*Set it to 4 or 8"),
        ({"eval.batch_size": 5}, "eval.batch_size is 5.*Set it to 4 or 8"),
        ({"optim.accumulate_steps": 2}, "2 micro-batches.*Set it to 8"),
    ],
)
def test_batches_that_the_devices_cannot_share_are_refused(tiny_config, changes, message):
    check_batch_sizes(tiny_config)
    tiny_config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        check_batch_sizes(tiny_config)


def test_scalars_come_back_once_in_order():
    pending = progress.PendingScalars()
    for loss in (0.5, 0.25):
        pending.add(scalars(loss), jnp.arange(4))
    assert [s["loss"] for s in pending.fetch(last_step=7)] == [0.5, 0.25]
    assert pending.fetch(last_step=7) == []


def test_a_loss_that_is_not_finite_stops_with_its_step_and_samples():
    pending = progress.PendingScalars()
    pending.add(scalars(0.5), jnp.array([[0, 1], [2, 3]]))
    pending.add(scalars(float("nan")), jnp.array([[8, 5], [6, 7]]))
    pending.add(scalars(float("inf")), jnp.array([[9, 9], [9, 9]]))
    with pytest.raises(FloatingPointError) as error:
        pending.fetch(last_step=12)
    message = str(error.value)
    assert "Step 11: the loss is nan" in message
    assert "samples [8, 5, 6, 7]" in message
    assert "optim.learning_rate" in message


def test_the_memory_closes_the_losses_at_each_validation():
    plan = Plan(steps_per_epoch=4, total=8, eval_every=4)
    memory = progress.Progress(losses=[1.0, 3.0])
    record = memory.record(4, plan, {"mIoU": 0.5})
    assert record == {"step": 4, "epoch": 1.0, "train_loss": 2.0, "mIoU": 0.5}
    assert memory.history == [record]
    assert memory.losses == []


def test_a_signal_is_remembered_and_a_second_one_stops_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.StopRequest() as stop:
        assert not stop.reached(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reached(1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        stopped = stop.stopped(step=3, total=9)
    assert signal.getsignal(signal.SIGTERM) is before
    assert stopped.signal == signal.SIGTERM
    assert "Stopped by SIGTERM after step 3 of 9" in str(stopped)
    assert "same command again" in str(stopped)
