"""The text encoder: BERT from transformers, as a Linen submodule."""

from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
from flax import linen as nn
from transformers import BertConfig
from transformers.models.bert.modeling_flax_bert import FlaxBertModule

from rrsis_jax.models.layers.precision import wide_type
from rrsis_jax.types import Dtype, Variables


@jax.custom_vjp
def _hold_first_row(table: jax.Array) -> jax.Array:
    """Returns `table`; no gradient reaches its first row."""
    return table


_hold_first_row.defvjp(lambda table: (table, None), lambda _, gradient: (gradient.at[0].set(0.0),))


def _on_words(function: Callable[[jax.Array], jax.Array]) -> Callable[[Variables], Variables]:
    """Returns the function of BERT's variables that replaces the table of words by its own."""
    path = ("params", "embeddings", "word_embeddings", "embedding")

    def replace(variables: Variables) -> Variables:
        flat = flax.traverse_util.flatten_dict(variables)
        return flax.traverse_util.unflatten_dict({**flat, path: function(flat[path])})

    return replace


class TextEncoder(nn.Module):
    """BERT without pooler (Devlin et al., NAACL 2019).

    Computes in float32 even where the rest of the model computes in less: its softmax follows the
    type of its layers, and at 20 words it is 1 % of the work. FlaxBertModule has no `param_dtype`;
    its parameters are drawn as float32 and then take the type that it computes in.

    Known difference: attention weights are not dropped. FlaxBertModule would draw one mask for the
    whole batch and all heads, where the reference draws one for each; training a small model from
    scratch with it did not converge.

    As in PyTorch, and unlike Flax, the row of [PAD] starts at zero and gets no gradient: LGCE's
    guide averages over padding, so a row that learns would make another model.

    Attributes:
      hidden_size: width D of the features.
      num_hidden_layers: encoder layers.
      num_attention_heads: heads of each layer.
      intermediate_size: inner width of the feed-forward layers.
      vocab_size: rows of the word table.
      max_position_embeddings: rows of the position table.
      dropout: rate on hidden states.
      dtype: compute type of the model; the encoder computes in float32 or wider.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    dropout: float = 0.1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, input_ids: jax.Array, attention_mask: jax.Array, train: bool) -> jax.Array:
        """Encodes phrases.

        Args:
          input_ids: int (B, N), padded with 0.
          attention_mask: (B, N), 1 on real tokens.
          train: whether dropout acts.

        Returns:
          (B, N, D), the last hidden states, float32 or wider.
        """
        config = BertConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            max_position_embeddings=self.max_position_embeddings,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=0.0,
        )
        wide = wide_type(self.dtype)

        def started(variables: Variables) -> Variables:
            variables = _on_words(lambda table: table.at[0].set(0.0))(variables)
            return jax.tree.map(lambda x: x.astype(wide), variables)

        bert_class = nn.map_variables(
            FlaxBertModule,
            "params",
            trans_in_fn=_on_words(_hold_first_row),
            trans_out_fn=started,
            init=self.is_initializing(),
        )
        bert = bert_class(config, dtype=wide, add_pooling_layer=False, name="bert")
        outputs: Any = bert(  # transformers says that it may be many things
            input_ids,
            attention_mask,
            token_type_ids=jnp.zeros_like(input_ids),
            position_ids=jnp.broadcast_to(jnp.arange(input_ids.shape[1])[None], input_ids.shape),
            deterministic=not train,
        )
        return outputs.last_hidden_state
