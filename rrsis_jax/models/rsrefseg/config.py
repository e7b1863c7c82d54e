"""The sections `model`, `loss` and `optim.groups` of RSRefSeg."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.backbones.sam import config as sam
from rrsis_jax.models.backbones.siglip import config as siglip
from rrsis_jax.models.layers import adapter_config
from rrsis_jax.validators import Rule

# The layers that the published networks adapt. The adapter of the image head sees no gradient.
ADAPTED = {
    "sam": r"attn/(qkv|proj)|mlp/fc[12]|neck_conv[12]",
    "siglip": r"self_attn/(q|k|v|out)_proj|head/attention/out_proj|text/head",
}


def get_config() -> ml_collections.ConfigDict:
    """Returns RSRefSeg-b as its authors train it (Chen et al., IGARSS 2025)."""
    config = ml_collections.ConfigDict()
    config.model = ml_collections.ConfigDict()
    config.model.name = "rsrefseg"  # the folder of rrsis_jax/models
    config.model.dtype = "float32"  # compute type; "bfloat16", or "float64" for verification
    config.model.remat = False  # recompute encoder layers in the backward pass to save memory
    config.model.scan = False  # loop over equal encoder layers: compiles faster
    config.model.siglip = siglip.get_config("siglip_so400m_patch14_384")
    config.model.sam = sam.get_config("sam_vit_b")
    config.model.lora = adapter_config.get_config(ADAPTED, rank=16, alpha=16.0, dropout=0.1)
    config.model.prompter = ml_collections.ConfigDict()
    config.model.prompter.halvings = 2  # how often SigLIP's map is halved on the way to prompts
    config.model.prompter.dense = True  # the similarity to the phrase is a mask prompt as well

    config.loss = ml_collections.ConfigDict()
    config.loss.cross_entropy = 5.0  # factor of the binary cross entropy
    config.loss.dice = 0.0  # factor of a soft Dice loss, which the paper has not

    config.groups = ml_collections.ConfigDict()
    config.groups.siglip = 0.0  # learning rate of SigLIP's own weights; 0: only adapters learn
    config.groups.sam_encoder = 0.0  # the same of SAM's image encoder
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts; nothing of it is frozen."""
    config = get_config()
    config.model.siglip = siglip.get_small()
    config.model.sam = sam.get_small()
    config.model.lora.rank = 2
    config.model.prompter.halvings = 1
    config.groups.siglip = 1.0
    config.groups.sam_encoder = 1.0
    return config


RULES: Mapping[str, Rule] = {
    "model.name": validators.TEXT,
    "model.dtype": validators.DTYPE,
    "model.remat": validators.FLAG,
    "model.scan": validators.FLAG,
    **siglip.RULES,
    **sam.RULES,
    **adapter_config.rules(ADAPTED),
    "model.prompter.halvings": validators.whole(0, 8),
    "model.prompter.dense": validators.FLAG,
    "loss.cross_entropy": validators.POSITIVE,
    "loss.dice": validators.FROM_ZERO,
    "optim.groups.siglip": validators.FROM_ZERO,
    "optim.groups.sam_encoder": validators.FROM_ZERO,
}

OLD: Mapping[str, str] = {}  # younger than every former name

RECIPE = "rsrefseg_refsegrs"

# A name that no other model's published weights hold.
MARK = r"prompter_down_channel\.conv\.weight"
