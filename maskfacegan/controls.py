"""MaskFaceGAN's controls, and what a request asks of the optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from encoders.attributes import CELEBA_ATTRIBUTES
from maskfacegan.blend import Seam
from maskfacegan.presets import PRESETS, Preset, Start
from maskfacegan.regions import REGIONS, MaskClasses, mask_classes
from workbench.editor import Control, EditorSpec
from workbench.errors import BadRequest

NAME, VERSION = "maskfacegan", "1"
PAPER = (
    "Pernuš, Štruc, Dobrišek, High Resolution Face Editing with Masked GAN Latent Code Optimization, arXiv 2103.11135"
)
SMOOTHING = 0.05
"""A target of 1 means this much less, and one of 0 this much more, as in the release."""

Mode = Literal["auto", "local", "global"]
MODES: tuple[Mode, ...] = ("auto", "local", "global")
SEAMS: tuple[Seam, ...] = ("feather", "laplacian")
STARTS: tuple[Start | Literal["as the preset"], ...] = ("as the preset", "mean", "projection")


@dataclass(frozen=True)
class Plan:
    """A request in the optimiser's terms: CelebA ``attributes`` with their ``targets`` (probabilities), the preset, the masks'
    classes, a factor on the edited part's area (None leaves it free), the in-region prior's factor and the seam."""

    attributes: tuple[str, ...]
    targets: tuple[float, ...]
    preset: Preset
    classes: MaskClasses
    area: float | None
    prior: float
    seam: Seam

    @property
    def neutral(self) -> bool:
        return not self.attributes

    @property
    def columns(self) -> tuple[int, ...]:
        return tuple(CELEBA_ATTRIBUTES.index(name) for name in self.attributes)


def control_name(attribute: str) -> str:
    """Name of the control of a CelebA attribute."""
    return attribute.lower()


def target_of(value: float) -> float:
    """Target probability of a control's ``value`` in [-1, 1]: 1 is 0.95, -1 is 0.05, in between the intensity."""
    return 0.5 + (0.5 - SMOOTHING) * value


def value_of(target: float) -> float:
    """The control's value for a ``target`` in [0, 1]; never 0, which would leave the attribute alone. Raises BadRequest."""
    if not 0 <= target <= 1:
        raise BadRequest(f"A target is a probability between 0 and 1; {target:g} is not.")
    value = max(-1.0, min(1.0, (target - 0.5) / (0.5 - SMOOTHING)))
    return value if abs(value) > 1e-3 else 1e-3


def region_of(attribute: str) -> str:
    """The part of the face an attribute is edited in, "whole face" for a global one."""
    return REGIONS.get(attribute, "whole face")


def _help(attribute: str) -> str:
    where = region_of(attribute)
    place = "the whole face but not the background" if where == "whole face" else f"the {where} alone"
    return f"Changes {place}. Right adds it, left removes it, the middle leaves it as it is; the distance is the intensity."


def spec() -> EditorSpec:
    """The editor's spec: one control per attribute, local ones first and grouped by region, then the settings."""
    order = ("mouth", "eyebrows", "eyes", "nose", "hair", "whole face")
    names = sorted(CELEBA_ATTRIBUTES, key=lambda name: order.index(region_of(name)))
    controls = [
        Control(
            control_name(a), a.replace("_", " ").capitalize(), -1, 1, 0, attribute=a, help=_help(a),
            unit=region_of(a), advanced=a not in REGIONS,
        )
        for a in names
    ]  # fmt: skip
    presets = tuple(PRESETS)
    controls += [
        Control(
            "size", "Size of the part", -1, 1, 0, help="Right makes the edited part larger, up to twice its area; left smaller, "
            "down to half. The middle leaves it free. Local edits only.",
        ),
        Control(
            "preset", "Effort", 0, len(presets) - 1, presets.index("fast"), 1, choices=presets,
            help="Preview is a glance, fast the usual way, paper the published procedure with all its steps.",
        ),
        Control(
            "mode", "Where", 0, 2, 0, 1, choices=MODES, advanced=True,
            help="Local edits one part of the face, global all of it; auto decides by the attribute.",
        ),
        Control(
            "likeness", "Keep this person's look", 0, 4, 1, advanced=True,
            help="How strongly the edited part stays like the photo's; 0 leaves it to the generator. Paper has no such term.",
        ),
        Control("seam", "Seam", 0, 1, 0, 1, choices=SEAMS, advanced=True, help="How edit and photo are joined."),
        Control(
            "start", "Start from", 0, 2, 0, 1, choices=STARTS, advanced=True,
            help="The mean face, as published, or the projection, which needs fewer steps.",
        ),
    ]  # fmt: skip
    return EditorSpec(NAME, VERSION, "MaskFaceGAN", PAPER, tuple(controls), ("latent",), "minutes")


def _choice(values: Mapping[str, float], name: str) -> int:
    if values[name] != round(values[name]):
        raise BadRequest(f"'{name}' must be a whole number; {values[name]:g} is not.")
    return int(values[name])


def classes_for(attributes: Sequence[str], mode: Mode, *, skin: bool) -> MaskClasses:
    """The masks of ``attributes`` in ``mode``. Raises BadRequest for a local edit of an attribute without a region."""
    strangers = [name for name in attributes if name not in REGIONS]
    if mode == "local" and strangers:
        raise BadRequest(
            f"'{control_name(strangers[0])}' has no part of the face of its own; edit it globally or by auto."
        )
    return mask_classes(attributes, skin=skin, globally=mode == "global")


def plan(values: Mapping[str, float]) -> Plan:
    """Read validated ``values`` of all controls. Raises BadRequest."""
    asked = [name for name in CELEBA_ATTRIBUTES if values[control_name(name)] != 0]
    preset = PRESETS[tuple(PRESETS)[_choice(values, "preset")]]
    start = STARTS[_choice(values, "start")]
    if start != "as the preset":
        preset = replace(preset, start=start)
    classes = classes_for(asked, MODES[_choice(values, "mode")], skin=preset.skin)
    area = 2.0 ** values["size"] if values["size"] else None
    targets = tuple(target_of(values[control_name(name)]) for name in asked)
    seam = SEAMS[_choice(values, "seam")]
    return Plan(tuple(asked), targets, preset, classes, area, values["likeness"], seam)
