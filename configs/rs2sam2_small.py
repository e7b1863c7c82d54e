"""A small RS2-SAM2 at 128×128, from scratch, on rendered scenes: minutes on two CPU cores.

  python main.py --config=configs/rs2sam2_small.py --workdir=runs/rs2sam2

No download and no pretrained weights, so that SAM 2's image encoder is trained too, which the paper
freezes. For a folder of one's own give --config.data.dataset=refsegrs/folder
--config.data.folder=FOLDER.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("rs2sam2")
    config.data.dataset = "refsegrs/synthetic"
    config.data.image_size = 128
    config.data.num_threads = 2

    beit3, sam2 = config.model.beit3, config.model.sam2
    beit3.pretrained = sam2.pretrained = ""
    beit3.width, beit3.mlp_dim = 128, 256
    beit3.depth, beit3.num_heads = 2, 4
    beit3.image_size, beit3.patch_size = 64, 8
    beit3.vocab_size, beit3.text_positions, beit3.max_tokens = 256, 32, 20
    sam2.embed_dim, sam2.num_heads = 16, 1
    sam2.depths, sam2.windows = (1, 2, 4, 1), (8, 4, 8, 4)
    sam2.global_blocks, sam2.background = (5, 7), 4
    sam2.features, sam2.mask_channels = 64, 8
    sam2.decoder_heads, sam2.decoder_mlp_dim, sam2.iou_hidden = 4, 128, 32

    config.loss.dice = 0.5
    config.optim.groups.sam2_encoder = 1.0
    config.optim.groups.fast_rate = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 50
    config.optim.clip_norm = 1.0
    config.train.epochs = 14.0
    config.train.eval_every_epochs = 3.5
    config.eval.num_pictures = 4
    return config
