"""The named configurations, wherever they lie.

In a checkout that is its folder `configs/`, which this package stands for. An installed wheel holds
that folder itself in this place (see setup.py), so that no package named `configs`, a name that
many projects use, gets into site-packages.
"""

import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the configurations that code imports: a checker does not follow `__path__`
    from configs import (
        default,
        dicor_coarse_refsegrs,
        dicor_coarse_risbench,
        dicor_coarse_rrsisd,
        dicor_coarse_small,
        dicor_guide_refsegrs,
        dicor_joint_refsegrs,
        dicor_refiner_refsegrs,
        lgce_plus_refsegrs,
        lgce_refsegrs,
        lgce_small,
        rs2sam2_refsegrs,
        rsrefseg2_refsegrs,
    )

    __all__ = [
        "default",
        "dicor_coarse_refsegrs",
        "dicor_coarse_risbench",
        "dicor_coarse_rrsisd",
        "dicor_coarse_small",
        "dicor_guide_refsegrs",
        "dicor_joint_refsegrs",
        "dicor_refiner_refsegrs",
        "lgce_plus_refsegrs",
        "lgce_refsegrs",
        "lgce_small",
        "rs2sam2_refsegrs",
        "rsrefseg2_refsegrs",
    ]

__path__ = [str(pathlib.Path(__file__).parents[2] / "configs")]
