"""Files that a run's settings name: where they are looked for, and the classifier whose features guide a training."""

from __future__ import annotations

from pathlib import Path

from encoders.compact import AttributeNet
from workbench.errors import BadCheckpoint, MissingWeights
from workbench.weights import load_file

ROOT = Path(__file__).resolve().parent.parent


def find(name: str, runs: Path) -> Path:
    """The file ``name``, seen from the folder of the runs or from the project. Raises MissingWeights."""
    for folder in (runs, ROOT):
        if (folder / name).is_file():
            return folder / name
    raise MissingWeights(f"The file '{name}' that the settings name is neither in '{runs}' nor in '{ROOT}'.")


def attribute_guide(name: str, runs: Path, device: str) -> AttributeNet:
    """The attribute classifier in the file ``name``, without gradients, in eval mode. Raises BadCheckpoint."""
    module, _, _ = load_file("attributes", find(name, runs))
    if not isinstance(module, AttributeNet):
        raise BadCheckpoint(f"'{name}' holds no attribute classifier; name one in the settings.")
    return module.to(device).eval().requires_grad_(False)
