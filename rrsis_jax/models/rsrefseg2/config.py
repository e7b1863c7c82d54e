"""The sections of RSRefSeg 2: both encoders, their adapters, what lies between, and its loss."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.backbones.sam2 import config as sam2
from rrsis_jax.models.backbones.siglip import config as siglip
from rrsis_jax.models.layers import adapter_config
from rrsis_jax.validators import Rule

# The layers that the published networks adapt: SAM 2's attention and pyramid, SigLIP's attention,
# the layers of its image head (which never see a gradient) and the head of its text tower.
ADAPTED = {
    "sam2": r"attn/(qkv|proj)|neck/convs_\d+",
    "siglip": r"self_attn/(q|k|v|out)_proj|head/(attention/out_proj|mlp/fc[12])|text/head",
}


def get_config() -> ml_collections.ConfigDict:
    """Returns RSRefSeg 2 as its authors train it (Chen et al., 2025)."""
    config = ml_collections.ConfigDict()
    config.model = ml_collections.ConfigDict()
    config.model.name = "rsrefseg2"  # the folder of rrsis_jax/models
    config.model.dtype = "float32"  # compute type; "bfloat16", or "float64" for verification
    config.model.remat = False  # recompute the encoders' layers in the backward pass: less memory
    config.model.scan = False  # loop over equal layers of the encoders: compiles faster
    config.model.siglip = siglip.get_config("siglip2_so400m_patch16_512")
    config.model.sam2 = sam2.get_config("sam2.1_hiera_large")
    config.model.lora = adapter_config.get_config(ADAPTED)
    config.model.shared_padding = False  # read padding up to a batch's longest phrase, as published
    config.model.stability = True  # in predictions an unstable mask gives way to the best of three

    config.model.prompter = ml_collections.ConfigDict()  # from SigLIP's features to SAM 2's prompts
    config.model.prompter.num_text_queries = 3  # that the words of a phrase are pooled to
    config.model.prompter.num_prompts = 9  # sparse prompts
    config.model.prompter.num_heads = 8  # attention heads
    config.model.prompter.inner = 512  # width of queries, keys and values
    config.model.prompter.mlp_dim = 512  # inner width of its feed-forward layers
    config.model.prompter.depth = 2  # layers of each of its three stages

    config.loss = ml_collections.ConfigDict()
    config.loss.cross_entropy = 5.0  # factor of the binary cross entropy
    config.loss.dice = 5.0  # factor of the Dice loss with squares below
    config.loss.queries = 0.5  # factor of the overlap between both sets of text queries
    config.loss.contrast = 0.5  # factor of telling a batch's pairs of image and phrase apart

    config.groups = ml_collections.ConfigDict()
    config.groups.siglip = 0.0  # learning rate of SigLIP's own weights; 0: only adapters learn
    config.groups.sam2_encoder = 0.0  # the same of SAM 2's image encoder
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts."""
    config = get_config()
    config.model.siglip = siglip.get_small()
    config.model.siglip.patch_size = 8
    config.model.siglip.image_size = 16
    config.model.sam2 = sam2.get_small()
    config.model.lora.rank = 2
    config.model.lora.alpha = 2.0
    config.model.prompter.num_prompts = 2
    config.model.prompter.num_heads = 2
    config.model.prompter.inner = 16
    config.model.prompter.mlp_dim = 16
    config.model.prompter.depth = 1
    return config


_PROMPTER = ("num_text_queries", "num_prompts", "num_heads", "inner", "mlp_dim", "depth")
TERMS = ("cross_entropy", "dice", "queries", "contrast")  # of the loss
RULES: Mapping[str, Rule] = {
    "model.name": validators.TEXT,
    "model.dtype": validators.DTYPE,
    "model.remat": validators.FLAG,
    "model.scan": validators.FLAG,
    **siglip.RULES,
    **sam2.RULES,
    **adapter_config.rules(ADAPTED),
    "model.shared_padding": validators.FLAG,
    "model.stability": validators.FLAG,
    **{f"model.prompter.{name}": validators.COUNT for name in _PROMPTER},
    **{f"loss.{term}": validators.FROM_ZERO for term in TERMS},
    "optim.groups.siglip": validators.FROM_ZERO,
    "optim.groups.sam2_encoder": validators.FROM_ZERO,
}

OLD: Mapping[str, str] = {}  # younger than every former name

RECIPE = "rsrefseg2_refsegrs"

# A name that no other model's published weights hold.
MARK = r"prompter\.two_queries_text_attn_layers\..*"
