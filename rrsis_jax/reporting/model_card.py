"""The card of a published model: what it is, what it reached, on what, and how it is used."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rrsis_jax.evaluation import metrics, scores

# What is known of the licences of data, see docs/dataset_card.md and docs/datasets.
_DATA_LICENCES = {
    "refsegrs/official": "CC-BY-4.0 as its authors state; the images have terms of their own",
    "refsegrs/synthetic": "Apache-2.0, rendered by rrsis_jax",
    "rrsisd": "none in its repository; the images (DIOR) are for non-commercial use",
    "risbench": "CC-BY-4.0 as its README states; DOTA's images are for academic use, DIOR's for "
    "non-commercial use",
    "uavid_ris": "its card names none; the images (UAVid) have terms of their own",
    "vdd_ris": "MIT for the phrases as its card states",
}
_UNKNOWN = "not known to rrsis_jax: that of the folder's owner"
_VIEWS = "Predictions were averaged over views (`eval.test_time = {}`), which a bundle does not do."


def render(facts: Mapping[str, Any], repo: str, licence: str) -> str:
    """Returns a card in Markdown with the front matter of the Hugging Face hub.

    Args:
      facts: of a run, as `run_facts.read` returns them, with metrics.
      repo: "owner/name" where the model goes.
      licence: of the weights, by the hub's name, like "apache-2.0".
    """
    sections = [
        _front_matter(facts, repo, licence),
        f"# {repo.partition('/')[2]}",
        f"A `{facts['model']}` of [rrsis_jax](https://pypi.org/project/rrsis-jax) "
        f"{facts['version']}: an aerial or satellite image and an English phrase go in, the mask "
        f"of what the phrase means comes out. It reads squares of {facts['image_size']} pixels.",
        "## Use",
        _commands(repo),
        "Nothing in it is pickled: programs of `jax.export`, weights as safetensors, checksums "
        "over all files.",
        "## Measured",
        scores.table(facts["splits"]),
        f"In percent, with bootstrap 95 % intervals; checkpoint {facts['checkpoint_step']}, chosen "
        f"on validation; configuration {facts['config_sha256'][:12]}.",
        _legend(facts["splits"]),
        *([] if facts["test_time"] == "none" else [_VIEWS.format(facts["test_time"])]),
        "## Data",
        _data(facts["dataset"]),
        "## Licence",
        f"The weights: {licence}. rrsis_jax: Apache-2.0. The data: see above.",
        "## Made from",
        _origins(facts["sources"]),
        "## Limits",
        "Measured on the data above only. Another resolution, sensor, season or region, and words "
        "that its phrases do not have, are not. A phrase that names nothing in the image may get a "
        "mask all the same.",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(facts: Mapping[str, Any], repo: str, licence: str) -> str:
    """Returns YAML between lines of dashes; its values are JSON, which YAML contains."""
    results = [
        {
            "task": {"type": "image-segmentation"},
            "dataset": {"name": f"{facts['dataset']}, {name}", "type": facts["dataset"]},
            "metrics": [
                {"type": column, "name": f"{column} (%)", "value": round(100 * values[column], 2)}
                for column in scores.COLUMNS
            ],
        }
        for name, values in facts["splits"].items()
    ]
    fields = {
        "license": licence,
        "library_name": "rrsis-jax",
        "pipeline_tag": "image-segmentation",
        "tags": ["remote-sensing", "referring-segmentation", "jax", facts["model"]],
        "model-index": [{"name": repo.partition("/")[2], "results": results}],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _commands(repo: str) -> str:
    return f"""```bash
pip install "rrsis-jax[geo]"
rrsis-predict --bundle hf://{repo} --image scene.tif --expression "tree" --output out/
```

```python
from rrsis_jax import Predictor

prediction = Predictor.from_bundle("hf://{repo}").predict("photo.png", ["tree"])
```"""


def _legend(splits: Mapping[str, Any]) -> str:
    named = {name for values in splits.values() for name in values}
    return "\n".join(f"- {name}: {text}" for name, text in metrics.LEGEND.items() if name in named)


def _data(dataset: str) -> str:
    lines = []
    for name in dataset.split("+"):
        known = _DATA_LICENCES.get(name, _DATA_LICENCES.get(name.partition("/")[0], _UNKNOWN))
        lines.append(f"- Trained and measured on `{name}`. Licence: {known}.")
    return "\n".join(lines)


def _origins(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns a line for each file that the weights began with."""
    lines = [
        f"- `{record['source']}`"
        + (f", commit `{record['commit']}`" if record.get("commit") else "")
        + f": `{name}`, SHA-256 `{digest}`"
        for record in records
        for name, digest in record["files"].items()
    ]
    return "\n".join(lines) or "No earlier run or release, as far as `init_from` says."
