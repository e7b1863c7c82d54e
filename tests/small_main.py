"""main.py that knows the stand-in models: for tests of everything around the network.

python -m tests.small_main --config=tests/small_config.py --workdir=…
"""

import tests.stand_ins  # noqa: F401, names the stand-ins
from rrsis_jax.cli import train

if __name__ == "__main__":
    train.run()
