"""SDFlow's controls, and what they ask of the flow: the condition to go to and the rows to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sdflow.solver import CHECKED, OFFICIAL, Solver
from workbench.editor import Control, EditorSpec
from workbench.errors import BadRequest

NAME, VERSION = "sdflow", "1"
ADD_GOAL, REMOVE_GOAL = 1.2, -0.2
STRENGTHS = ("a change from this face", "a fixed target (official slider)")
SOLVERS: Mapping[str, Solver] = {"RK4, checked by halving the step": CHECKED, "dopri5 (official)": OFFICIAL}

# What the two ends mean, where the name alone does not say it.
_HELP = {
    "eyeglasses": "Right puts glasses on, left takes them off.",
    "male": "Right makes the face more masculine, left more feminine.",
    "smiling": "Right makes the face smile, left makes it serious.",
    "wavy_hair": "Right gives wavy hair, left straight hair.",
    "young": "Right makes the face younger, left older.",
}


@dataclass(frozen=True)
class Order:
    """A request in the flow's terms: strength per attribute, absolute or not, rows ``first`` to ``last``, solver."""

    strengths: tuple[float, ...]
    absolute: bool
    first: int
    last: int
    solver: Solver

    @property
    def neutral(self) -> bool:
        """Whether the request changes nothing."""
        return not any(self.strengths)

    def targets(self, source: Tensor) -> Tensor:
        """The condition (n,) to go to from ``source`` (n,), the estimator's values of the photo.

        A change from the face goes the fraction |k| of the way to 1.2 (add) or -0.2 (remove). A fixed target is that of
        the authors' slider at |k|: 1.4|k| - 0.2 for a photo without the attribute (add), 1.2 - 1.4|k| with it (remove).
        """
        out = source.clone()
        for index, strength in enumerate(self.strengths):
            size = abs(strength)
            if strength == 0:
                continue
            if self.absolute:
                out[index] = 1.4 * size - 0.2 if strength > 0 else 1.2 - 1.4 * size
            else:
                out[index] += size * ((ADD_GOAL if strength > 0 else REMOVE_GOAL) - source[index])
        return out


def control_name(attribute: str) -> str:
    """Name of the control of a CelebA attribute."""
    return attribute.lower()


def spec(attributes: Sequence[str], rows: int) -> EditorSpec:
    """The editor's spec for ``attributes`` (CelebA names) and a W+ of ``rows`` rows."""
    controls = [
        Control(
            control_name(a), a.replace("_", " ").capitalize(), -1, 1, 0, attribute=a,
            help=_HELP.get(a.lower(), "Right adds it, left removes it.") + " The middle leaves it as it is.",
        )
        for a in attributes
    ]  # fmt: skip
    layers = "Layers outside the range keep the photo's code; low layers hold shape, high ones colour and texture."
    controls += [
        Control(
            "absolute", "Strength means", 0, 1, 0, 1, choices=STRENGTHS, advanced=True,
            help="With a fixed target every face goes to the same value, whatever it shows now.",
        ),
        Control("first_layer", "First layer", 0, rows - 1, 0, 1, help=layers, advanced=True),
        Control("last_layer", "Last layer", 0, rows - 1, rows - 1, 1, help=layers, advanced=True),
        Control(
            "solver", "Solver", 0, 1, 0, 1, choices=tuple(SOLVERS), advanced=True,
            help="The official solver is slower and a little less exact; it is there for comparison.",
        ),
    ]  # fmt: skip
    paper = "Li et al., Semantic Latent Decomposition with Normalizing Flows for Face Editing, arXiv 2309.05314"
    return EditorSpec(NAME, VERSION, "SDFlow", paper, tuple(controls))


def _whole(values: Mapping[str, float], name: str) -> int:
    value = values[name]
    if value != round(value):
        raise BadRequest(f"'{name}' must be a whole number; {value:g} is not.")
    return int(value)


def order(attributes: Sequence[str], values: Mapping[str, float]) -> Order:
    """Read validated ``values`` of all controls. Raises BadRequest for a fraction of a layer or an empty range."""
    first, last = _whole(values, "first_layer"), _whole(values, "last_layer")
    if first > last:
        raise BadRequest(f"The first layer ({first}) lies behind the last one ({last}); choose a range with one in it.")
    strengths = tuple(values[control_name(a)] for a in attributes)
    solver = list(SOLVERS.values())[_whole(values, "solver")]
    return Order(strengths, bool(_whole(values, "absolute")), first, last, solver)


def attribute_of(editor: EditorSpec, name: str) -> str:
    """Name of the attribute control called ``name``. Raises BadRequest for another kind of control."""
    control = editor.control(name)
    if control.attribute is None:
        names = ", ".join(c.name for c in editor.controls if c.attribute)
        raise BadRequest(f"A strip needs an attribute, and '{control.name}' is none; choose one of: {names}.")
    return control.name


def conditions(orders: Sequence[Order], sources: Sequence[Tensor]) -> Tensor:
    """Targets (B,n) of ``orders`` for faces with estimates ``sources``, each (n,)."""
    return torch.stack([o.targets(s) for o, s in zip(orders, sources, strict=True)])
