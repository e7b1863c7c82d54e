"""The named configurations, wherever they lie.

In a checkout that is its folder `configs/`, which this package stands for. An installed wheel holds
that folder itself in this place (see setup.py), so that no package named `configs`, a name that
many projects use, gets into site-packages.
"""

import pathlib

__path__ = [str(pathlib.Path(__file__).parents[2] / "configs")]
