"""Every shared key of a run with its default, and the sections of one model.

The shared defaults are the paper's LGCE recipe (Yuan et al., TGRS 2024). The keys of a model, in
`model`, `loss` and `optim.groups`, stand in its folder: `rrsis_jax/models/<name>/config.py`. Other
configs start from `get_config(name)` and override. Keys cannot be added by an override; `main.py`
refuses unknown names and lists near ones.
"""

import ml_collections

from rrsis_jax.models import registry


def get_config(model: str = "lgce") -> ml_collections.ConfigDict:
    """Returns the locked default configuration.

    Args:
      model: the name of a model, one of `registry.names()`.

    Raises:
      ValueError: if there is no such model.
    """
    config = ml_collections.ConfigDict()
    config.seed = 0  # parameters, dropout, shuffling and augmentation all derive from it
    config.init_from = ()  # files, folders, runs, hf://owner/name[@revision][/path] to start from

    config.data = ml_collections.ConfigDict()
    config.data.dataset = "refsegrs/official"  # TFDS name, as rrsisd; several are "a+b"
    config.data.folder = ""  # the folder that the dataset is read from; of "a+b" "first:second"
    config.data.foreground = ""  # target in its masks: "above 50", "nonzero", a value; "" if clear
    config.data.accept_changes = False  # go on with other data than those the run began with
    config.data.weights = ()  # shares of "a+b" in training, as (2.0, 1.0); () follows their sizes
    config.data.data_dir = ""  # where TFDS keeps prepared datasets; "" for ~/tensorflow_datasets
    config.data.image_size = 480  # images and masks are resized to this square, in pixels
    config.data.ground_sampling_distance = 0.0  # metres a resized pixel, for scenes; 0: unknown
    config.data.tokenizer = ""  # hub name or folder; "" follows the text encoder, else trained
    config.data.num_threads = 8  # threads that read and decode ahead of the step
    config.data.prefetch = 8  # batches held ready on the host; at least num_threads

    config.data.augment = ml_collections.ConfigDict()
    config.data.augment.geometry = "none"  # "none", "flips" or "all" mirrorings and quarter turns
    config.data.augment.crop_scale = 1.0  # smallest side of a random crop, as a share; 1 for none
    config.data.augment.crop_keeps = 0.2  # share of the target that a crop must keep
    config.data.augment.absent_phrases = 0.0  # share of samples with a phrase that names nothing
    config.data.augment.black_boxes = 0.0  # share of samples with 20 to 60 black squares, as RMSIN
    config.data.augment.photometric = 0.0  # brightness, contrast, saturation by factors of 1 ± this

    sections = registry.defaults(model)
    if "arrays" in sections:
        config.data.arrays = sections.arrays  # .npy files of rows beside the training samples
    config.model, config.loss = sections.model, sections.loss

    config.optim = ml_collections.ConfigDict()
    config.optim.learning_rate = 5e-5  # peak
    config.optim.schedule = "polynomial"  # how it decays: "polynomial", "cosine" or "drop"
    config.optim.power = 0.9  # polynomial: (1 - step / total)^power
    config.optim.hold = 0.0  # cosine, drop: share of the run after which the decay begins
    config.optim.half_period = 0.0  # cosine: from peak to floor, share of the run; 0 ends with it
    config.optim.floor = 0.0  # cosine, drop: share of the peak that the rate falls to
    config.optim.warmup_steps = 0  # linear warm-up to the peak
    config.optim.warmup_start = 0.0  # share of the peak that it rises from
    config.optim.b1 = 0.9
    config.optim.b2 = 0.999
    config.optim.eps = 1e-8
    config.optim.weight_decay = 1e-2  # decoupled; spares backbone norms and position tables
    config.optim.clip_norm = 0.0  # global gradient norm; 0 for none
    config.optim.accumulate_steps = 1  # micro-batches a step; each device's batch is cut this often
    config.optim.ema_decay = 0.0  # decay of averaged weights used in evaluation; 0 for none

    config.optim.groups = sections.groups  # of parameters, each model's own

    config.train = ml_collections.ConfigDict()
    config.train.batch_size = 8  # global, over all devices and hosts
    config.train.epochs = 40.0  # passes over the training split
    config.train.log_every = 50  # steps between lines of training metrics
    config.train.eval_every_epochs = 1.0  # epochs between validations, each saves a checkpoint
    config.train.profile_steps = 0  # steps traced by the JAX profiler after warm-up; 0 for none

    config.eval = ml_collections.ConfigDict()
    config.eval.batch_size = 16  # global; padded where the split does not divide
    config.eval.test_time = "none"  # average over views: "none", 4 "flips" or "all" 8
    config.eval.absent_phrases = False  # also report how often phrases that name nothing get none
    config.eval.num_pictures = 8  # prediction pictures written per evaluation

    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.keep_latest = 2  # newest checkpoints held beside the best one

    config.distributed = ml_collections.ConfigDict()  # may change with every start of a run
    config.distributed.coordinator_address = ""  # of process 0, "host:port"; "auto" on TPU slices
    config.distributed.num_processes = 0  # 0 asks the environment; 1 keeps this process alone
    config.distributed.process_id = -1  # this process's number from 0; -1 asks the environment
    config.distributed.backend = "pmap"  # or "shard_map": how JAX maps a step over the devices
    config.distributed.cpu_devices = 0  # that a command computing on a CPU divides it into; 0: one
    config.distributed.timeout = 1800  # seconds that hosts wait for each other, as for the data
    return config.lock()
