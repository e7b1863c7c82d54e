"""Where the weights of parts lie that several papers of this family publish under like names."""

from rrsis_jax.models.backbones.swin.weights import BACKBONE
from rrsis_jax.weights.mapping import CONV, Rule, Transform, linear, norm

# A 1×1 convolution is a linear layer: (out, in, 1, 1) <-> (in, out)
PIXELWISE = Transform(lambda x: x[:, :, 0, 0].T, lambda x: x.T[:, :, None, None])
# (1, out, in, rows, columns) <-> (rows, columns, in, out)
ROTATED = Transform(lambda x: CONV.to_ours(x[0]), lambda x: CONV.to_theirs(x)[None])


def batch_norm(source: str, target: str) -> list[Rule]:
    """Returns the rules of a batch norm with its running statistics.

    Args:
      source: its foreign name.
      target: its path below "params" and "batch_stats".
    """
    return [
        *norm(source, f"params/{target}"),
        Rule(f"{source}.running_mean", f"batch_stats/{target}/mean"),
        Rule(f"{source}.running_var", f"batch_stats/{target}/var"),
    ]


def intra_scale_rules() -> list[Rule]:
    """Returns the rules of a stage's spatial weights and their gate."""
    stage, ours = "backbone.layers.{i}", "backbone/layers_{i}"
    gate = BACKBONE + "/layers_{i}/visual_gate"
    rules = [
        *linear(f"{stage}.visual_gate.0", f"{gate}/fc1", bias=False),
        *linear(f"{stage}.visual_gate.2", f"{gate}/fc2", bias=False),
    ]
    for own, suffix in (("first", ""), ("second", "_2")):
        block = f"{stage}.visual_residual.repblock.brb_"
        parts = {
            "narrow": (f"{block}3x3{suffix}.conv1", f"{block}3x3{suffix}.bn1"),
            "wide": (f"{block}3x3{suffix}.conv2", f"{block}3x3{suffix}.bn2"),
            "point": (f"{block}1x1{suffix}.conv", f"{block}1x1{suffix}.bn"),
        }
        target = f"{ours}/spatial_weights/{own}"
        for name, (conv, bn) in parts.items():
            rules += linear(conv, f"params/{target}/{name}_conv", bias=False, transform=CONV)
            rules += batch_norm(bn, f"{target}/{name}_bn")
        rules += batch_norm(f"{block}identity{suffix}", f"{target}/identity_bn")
    return rules


def rotated_convolution_rules(source: str, target: str) -> list[Rule]:
    """Returns the rules of an adaptive rotated convolution.

    Args:
      source: its foreign name.
      target: its path below "params".
    """
    routing, ours = f"{source}.rounting_func", f"params/{target}/routing"
    return [
        Rule(f"{source}.weight", f"params/{target}/kernel", ROTATED),
        *linear(f"{routing}.dwc", f"{ours}/depthwise", bias=False, transform=CONV),
        *norm(f"{routing}.norm.norm", f"{ours}/norm"),
        *linear(f"{routing}.fc_alpha", f"{ours}/strength"),
        *linear(f"{routing}.fc_theta", f"{ours}/angle", bias=False),
    ]


def joint_scales_rules(source: str, target: str) -> list[Rule]:
    """Returns the rules of what surrounds the mixer of all scales.

    Args:
      source: its foreign name.
      target: its path below "params" and "batch_stats".
    """
    rules = [
        *linear(f"{source}.down_channel", f"params/{target}/down", transform=PIXELWISE),
        *linear(f"{source}.up_channel", f"params/{target}/up", transform=PIXELWISE),
        *batch_norm(f"{source}.bn", f"{target}/bn"),
    ]
    gate, ours = source + ".fusion.{i}", target + "/gate_{i}"
    for number, (foreign, own) in enumerate(
        (("local_embedding", "local"), ("global_embedding", "offset"), ("global_act", "factor")),
        start=1,
    ):
        rules += linear(f"{gate}.{foreign}", f"params/{ours}/{own}", transform=PIXELWISE)
        rules += batch_norm(f"{gate}.bn{number}", f"{ours}/{own}_bn")
    return rules
