"""The component editor's controls, and what their values ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from iafaces.directions import RECIPES, Direction
from iafaces.editing import OUTPUT_MODES, OutputMode
from iafaces.regions import COMPONENTS
from workbench.editor import Control, EditorSpec

NAME, VERSION = "iafaces", "1"
PAPER = "Huang, Tu, Xu, IA-FaceS: A Bidirectional Method for Semantic Face Editing, arXiv 2203.13097"
REACH = 4.0
"""Largest strength, in standard deviations."""

PLACES = {"l_eye": "eye on the left", "r_eye": "eye on the right", "nose": "nose", "mouth": "mouth"}
SWITCH = ("off", "on")
SEAMS = ("fitted", "as drawn")


def own(attribute: str, component: str) -> str:
    """Name of the control of ``attribute`` in one component alone."""
    return f"{attribute}@{component}"


@dataclass(frozen=True)
class Order:
    """A request in the network's terms: strengths per attribute and component, blends per component, output, and whether what
    is borrowed is levelled."""

    strengths: Mapping[str, tuple[float, ...]]
    blends: tuple[float, ...]
    output: OutputMode
    level: bool

    @property
    def neutral(self) -> bool:
        """Whether no embedding is asked to change."""
        return not self.strengths and not any(self.blends)


def spec(directions: Mapping[str, Direction]) -> EditorSpec:
    """The editor's spec for the attributes of ``directions``, those with a recipe in its order first."""
    known = list(RECIPES)
    directions = dict(sorted(directions.items(), key=lambda item: known.index(item[0]) if item[0] in known else 99))
    controls = []
    for name, direction in directions.items():
        inverted = name in RECIPES and RECIPES[name].inverted
        where = ", ".join(PLACES[c] for c in direction.components)
        controls.append(
            Control(
                name,
                name.replace("_", " ").capitalize(),
                -REACH,
                REACH,
                0.0,
                0.1,
                unit="σ",
                help=f"Right adds it, left removes it, in standard deviations over photos; changes: {where}.",
                attribute=None if inverted else direction.label,
                where=direction.components,
            )
        )
    controls += [
        Control(
            own(name, component),
            f"{name.replace('_', ' ').capitalize()}, {PLACES[component]} alone",
            -REACH,
            REACH,
            0.0,
            0.1,
            unit="σ",
            help="Comes on top of the strength for the whole face, in this component only.",
            advanced=True,
            where=(component,),
        )
        for name, direction in directions.items()
        if len(direction.components) > 1
        for component in direction.components
    ]
    controls += [
        Control(
            f"borrow_{name}",
            f"Borrow the {place}",
            0.0,
            1.0,
            0.0,
            help=f"How much of the {place} comes from the reference face; needs one.",
            where=(name,),
        )
        for name, place in PLACES.items()
    ]
    controls += [
        Control(
            f"edit_{name}",
            f"Attributes change the {place}",
            0,
            1,
            1,
            1,
            choices=SWITCH,
            advanced=True,
            help="Off keeps strengths for the whole face away from this component.",
            where=(name,),
        )
        for name, place in PLACES.items()
    ]
    controls.append(
        Control(
            "output",
            "Output",
            0,
            len(OUTPUT_MODES) - 1,
            0,
            1,
            choices=OUTPUT_MODES,
            advanced=True,
            help="Residual adds the change to the face, decoded shows the network's own picture, difference the change.",
        )
    )
    controls.append(
        Control(
            "seam",
            "Borrowed parts",
            0,
            1,
            0,
            1,
            choices=SEAMS,
            advanced=True,
            help="Fitted takes the light around a borrowed part off what it changes, so that less of a patch is left; as drawn does not.",
        )
    )
    return EditorSpec(NAME, VERSION, "Components (IA-FaceS)", PAPER, tuple(controls), needs=(), takes=("reference",))


def order(values: Mapping[str, float], directions: Mapping[str, Direction]) -> Order:
    """Read validated ``values`` of all controls."""
    reach: dict[str, tuple[float, ...]] = {}
    for name, direction in directions.items():
        amounts = tuple(_strength(values, name, component, direction) for component in COMPONENTS)
        if any(amounts):
            reach[name] = amounts
    return Order(
        strengths=reach,
        blends=tuple(values[f"borrow_{name}"] for name in COMPONENTS),
        output=OUTPUT_MODES[round(values["output"])],
        level=SEAMS[round(values["seam"])] == "fitted",
    )


def _strength(values: Mapping[str, float], name: str, component: str, direction: Direction) -> float:
    """What attribute ``name`` asks of ``component``: the whole face's strength where it is switched on, and its own."""
    if component not in direction.components:
        return 0.0
    whole = values[name] if round(values[f"edit_{component}"]) == 1 else 0.0
    return min(max(whole + values.get(own(name, component), 0.0), -REACH), REACH)
