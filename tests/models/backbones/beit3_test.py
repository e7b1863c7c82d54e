import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.backbones import recordings


def test_computes_what_was_recorded():
    golden = recordings.load("beit3_tiny")
    inputs = golden.arrays["token_ids"].astype(np.int32), golden.arrays["attention_mask"]
    outputs, inner = recordings.run(golden, None, golden.image, *inputs)
    recordings.check(np.concatenate(inner["layers_0"], axis=1), golden.arrays["beit3_layer0"])
    recordings.check(np.concatenate(outputs, axis=1), golden.arrays["beit3"])


@pytest.mark.parametrize(
    ("size", "tokens", "message"),
    [
        (48, 4, "48×48 pixels; expected 32×32, the size its position table was made for"),
        (32, 39, "got 39 tokens; expected at most 38"),
    ],
)
def test_what_the_position_tables_do_not_hold_is_refused(size, tokens, message):
    word = jax.ShapeDtypeStruct((1, tokens), jnp.int32)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(recordings.network("beit3_tiny").init, jax.random.key(0), image, word, word)
