"""Trains and evaluates; the command `rrsis-train` does the same.

python main.py --config=configs/quickstart.py --workdir=runs/quickstart
python main.py --config=configs/quickstart.py --workdir=runs/quickstart --mode=evaluate
"""

from rrsis_jax.cli import programs

if __name__ == "__main__":
    programs.train()
