"""Checkpoints: what is kept, what comes back, and what is said when something is broken."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rrsis_jax.models import contract
from rrsis_jax.training import train_state
from rrsis_jax.weights import checkpoints

WIDTH = 4096  # large enough that orbax does not keep the values among its metadata


class Groups:
    """All that a state asks a model: what is optimised."""

    def __init__(self, is_frozen):
        self.is_frozen = is_frozen

    def param_group(self, path):
        return None if self.is_frozen(path) else contract.Group()


def make_state(step: int = 0, width: int = WIDTH) -> train_state.TrainState:
    variables = {
        "params": {"decoder": {"kernel": jnp.sin(jnp.arange(width, dtype=jnp.float32)) + step}},
        "batch_stats": {"bn": {"mean": jnp.zeros(2)}},
    }
    state = train_state.create_state(
        variables, optax.adamw(1e-3), Groups(lambda path: False), jax.random.PRNGKey(0)
    )
    return jax.device_get(state.replace(step=jnp.int32(step)))


def save_three(folder):
    saved = checkpoints.Checkpoints(folder, keep_latest=2)
    for step, score in ((1, 0.3), (2, 0.9), (3, 0.5), (4, 0.4)):
        saved.save(step, make_state(step), {"history": [step]}, score)
    saved.wait()
    return saved


def newest_data_file(folder, step):
    files = [f for f in (folder / str(step) / "state").rglob("*") if f.is_file()]
    return max((f for f in files if "/d/" in str(f)), key=lambda f: f.stat().st_size)


def test_keeps_the_latest_and_the_best(tmp_path):
    saved = save_three(tmp_path)
    assert saved.steps() == [2, 3, 4]
    assert saved.best_step() == 2
    saved.close()


def test_restores_the_state_bit_for_bit_with_its_progress(tmp_path):
    saved = save_three(tmp_path)
    state, progress = saved.restore_latest(make_state())
    assert progress == {"history": [4]}
    jax.tree.map(np.testing.assert_array_equal, state, make_state(4))
    assert jax.tree.structure(state) == jax.tree.structure(make_state(4))
    np.testing.assert_array_equal(
        saved.restore_variables(2)["params"]["decoder"]["kernel"],
        make_state(2).params["decoder"]["kernel"],
    )
    saved.close()


def test_a_state_without_batch_statistics_comes_back(tmp_path):
    saved = checkpoints.Checkpoints(tmp_path, keep_latest=1)
    variables = {"params": make_state().params}
    groups = Groups(lambda path: False)
    state = train_state.create_state(variables, optax.sgd(1e-3), groups, jax.random.PRNGKey(0))
    saved.save(1, jax.device_get(state), {}, 0.5)
    saved.wait()
    _, restored = saved.restore_best()
    jax.tree.map(np.testing.assert_array_equal, restored, {**variables, "batch_stats": {}})
    saved.close()


def test_a_new_folder_has_nothing_to_restore(tmp_path):
    saved = checkpoints.Checkpoints(tmp_path / "new")
    assert saved.restore_latest(make_state()) is None
    assert saved.best_step() is None
    saved.close()


def test_a_flipped_byte_is_noticed_and_the_checkpoint_before_it_used(tmp_path):
    save_three(tmp_path).close()
    damage(newest_data_file(tmp_path, 4))
    saved = checkpoints.Checkpoints(tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match=r"4 is damaged"):
        saved.restore(4, make_state())
    state, _ = saved.restore_latest(make_state())
    assert state.step == 3
    saved.save(4, make_state(4), {}, 0.1)
    saved.wait()
    assert saved.restore(4, make_state())[0].step == 4
    saved.close()


def test_all_damaged_stops_and_says_so(tmp_path):
    save_three(tmp_path).close()
    for step in (2, 3, 4):
        damage(newest_data_file(tmp_path, step))
    saved = checkpoints.Checkpoints(tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="No whole checkpoint is left"):
        saved.restore_latest(make_state())
    saved.close()


def test_another_models_checkpoint_is_refused_with_the_differences(tmp_path):
    save_three(tmp_path).close()
    saved = checkpoints.Checkpoints(tmp_path)
    with pytest.raises(checkpoints.OtherModelError) as error:
        saved.restore_latest(make_state(width=5))
    assert "saved float32[4096], configured float32[5]" in str(error.value)
    assert "choose another --workdir" in str(error.value)
    assert saved.steps() == [2, 3, 4]
    saved.close()


FROZEN = {"text_encoder": {"kernel": np.arange(WIDTH, dtype=np.float32)}}


def whole_state(step: int = 0) -> train_state.TrainState:
    """Returns a state with frozen and averaged parameters."""
    variables = {
        "params": {"decoder": {"kernel": jnp.full(WIDTH, step, jnp.float32)}, **FROZEN},
        "batch_stats": {"bn": {"mean": jnp.zeros(2)}},
    }
    key = jax.random.PRNGKey(0)
    state = train_state.create_state(
        variables, optax.adamw(1e-3), Groups(is_frozen), key, keep_ema=True
    )
    return jax.device_get(state.replace(step=jnp.int32(step)))


def is_frozen(path):
    return path[0] == "text_encoder"


def save_frozen(folder, steps=(1, 2)):
    saved = checkpoints.Checkpoints(folder)
    saved.keep_frozen(FROZEN)
    for step in steps:
        saved.save(step, whole_state(step).without_frozen(Groups(is_frozen)), {}, 0.1 * step)
    saved.close()


def test_frozen_parameters_are_kept_once_and_come_back_bit_for_bit(tmp_path):
    save_frozen(tmp_path)
    (folder,) = tmp_path.glob("frozen-*")
    written = (folder / "variables.safetensors").stat().st_mtime_ns
    names = [path.name for path in (tmp_path / "2" / "state").rglob("*")]
    assert not any("text_encoder" in name for name in names)
    saved = checkpoints.Checkpoints(tmp_path)
    state, _ = saved.restore_latest(whole_state())
    jax.tree.map(np.testing.assert_array_equal, state, whole_state(2))
    saved.keep_frozen(FROZEN)  # as a run that goes on does
    assert (folder / "variables.safetensors").stat().st_mtime_ns == written
    variables = saved.restore_variables(1)
    np.testing.assert_array_equal(variables["params"]["decoder"]["kernel"], np.ones(WIDTH))
    jax.tree.map(
        np.testing.assert_array_equal, variables["params"]["text_encoder"], FROZEN["text_encoder"]
    )
    saved.close()


@pytest.mark.parametrize("fault", ["changed", "cannot be read"])
def test_frozen_parameters_that_changed_are_named(tmp_path, fault):
    save_frozen(tmp_path, steps=(1,))
    (path,) = tmp_path.glob("frozen-*/variables.safetensors")
    if fault == "changed":
        damage(path)
    else:
        path.unlink()
    saved = checkpoints.Checkpoints(tmp_path, read_only=True)
    with pytest.raises(checkpoints.CheckpointError) as error:
        saved.restore_latest(whole_state())
    assert f"the frozen parameters that it shares, {path.parent}, {fault}" in str(error.value)
    assert "Restore a backup" in str(error.value)
    saved.close()


def test_a_checkpoint_of_version_0_1_goes_on_without_averages_of_frozen_parameters(tmp_path):
    state = whole_state(3)
    old = state.replace(ema=jax.tree.map(lambda x: x + 1, state.params))
    saved = checkpoints.Checkpoints(tmp_path)
    saved.save(3, old, {"history": []}, 0.5)
    saved.wait()
    np.testing.assert_array_equal(
        saved.restore_variables(3)["params"]["text_encoder"]["kernel"],
        FROZEN["text_encoder"]["kernel"] + 1,
    )
    restored, _ = saved.restore_latest(whole_state())
    expected = state.replace(ema={"decoder": old.ema["decoder"]})
    jax.tree.map(np.testing.assert_array_equal, restored, expected)
    with pytest.raises(checkpoints.OtherModelError, match="only in the checkpoint: ema/decoder"):
        saved.restore_latest(whole_state().replace(ema={}))
    saved.close()


def damage(path):
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content)):
        content[place] ^= 0xFF
    path.write_bytes(bytes(content))


def test_looking_at_a_run_disturbs_no_save_in_flight(tmp_path, caplog):
    save_three(tmp_path).close()
    in_flight = tmp_path / "9.orbax-checkpoint-tmp"
    in_flight.mkdir()
    looking = checkpoints.Checkpoints(tmp_path, read_only=True)
    assert looking.best_step() == 2
    assert looking.restore_variables(2)["params"]["decoder"]["kernel"].shape == (WIDTH,)
    looking.close()
    assert in_flight.is_dir()
    assert [record for record in caplog.records if "orbax" in record.pathname] == []


def test_looking_at_a_run_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match="There is no checkpoint yet"):
        checkpoints.Checkpoints(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
