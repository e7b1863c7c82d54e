"""Packaging of rrsis_jax: the only place where dependencies are named."""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
VERSION = re.findall(r'__version__ = "(.+)"', (HERE / "rrsis_jax/__init__.py").read_text())[0]
DATASETS = sorted(path.parent.name for path in HERE.glob("tfds_*/*_dataset_builder.py"))
COCO = ["pycocotools>=2.0.8"]  # draws polygons; only UAVid-RIS, VDD-RIS and the like have them
GEO = ["geopandas>=1.0", "rasterio>=1.4"]

setuptools.setup(
    name="rrsis-jax",
    version=VERSION,
    description="Referring remote sensing image segmentation in JAX: LGCE and LAVT.",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["rrsis_jax*", "tfds_*"]),
    package_dir={"rrsis_jax.configs": "configs"},  # see rrsis_jax/configs/__init__.py
    package_data={
        "": ["README.md"],  # the cards of models
        "rrsis_jax.reporting": ["templates/*"],
        **{name: ["*.md", "*.txt", "*.bib", "*.tsv"] for name in DATASETS},
    },
    entry_points={
        "console_scripts": [
            f"rrsis-{name} = rrsis_jax.cli.programs:{name}"
            for name in (
                "train",
                "predict",
                "export",
                "report",
                "compare",
                "weights",
                "prompts",
                "dataset",
            )
        ]
    },
    install_requires=[
        "absl-py>=2.1",
        "array-record>=0.8.1,<0.9",
        "clu>=0.0.12,<0.1",
        "flax>=0.12.7,<0.13",
        "grain>=0.2.15,<0.3",
        "huggingface_hub>=0.34,<1",  # as transformers 4 wants it
        "importlib_resources>=6",  # imported by tensorflow-datasets, which does not declare it
        "jax>=0.10,<0.13",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "ml-collections>=1.1,<2",
        "numpy>=2.0,<3",
        "optax>=0.2.6,<0.3",
        "orbax-checkpoint>=0.12,<0.13",
        "pillow>=11",
        "rich>=13",
        "safetensors>=0.6,<1",
        "scipy>=1.14",
        "tensorboard>=2.20,<2.22",  # imported by clu.metric_writers, which does not declare it
        "tensorflow>=2.20,<2.22",
        "tensorflow-datasets>=4.9.9,<5",
        "tokenizers>=0.22,<0.24",
        "tqdm>=4.66",
        "transformers>=4.57,<5",  # 5.0 removed the Flax models
    ],
    extras_require={
        "cuda": ["jax[cuda12]>=0.10,<0.13"],
        "tpu": ["jax[tpu]>=0.10,<0.13"],
        "torch": ["torch>=2.6"],
        "tfds-cli": ["apache-beam", "mlcroissant"],
        "docs": [*GEO, "furo>=2025.9.25", "myst-parser>=5,<6", "sphinx>=9,<10"],  # imports all
        "colab": ["ipykernel>=6.29", "nbclient>=0.10", "nbstripout>=0.8"],  # to run colab/ locally
        "coco": COCO,
        "geo": GEO,
        "test": [
            *COCO,
            *GEO,
            "build>=1.2",
            "dill>=0.3.8",  # imported by tfds.testing, which does not declare it
            "pyright[nodejs]==1.1.414",  # every release finds something else
            "pytest>=8.3",
            "pytest-xdist>=3.8",
            "ruff>=0.12",
            "setuptools>=77",
            "torch==2.13.0",
        ],
    },
)
