"""What every editing method offers: its controls, a request, a result. Types only; methods may import this module."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from workbench.errors import BadRequest
from workbench.face import Face

Progress = Callable[[float, str], None]
Cancel = Callable[[], bool]


def quiet(fraction: float, message: str = "") -> None:
    """A progress callback that says nothing."""


def never() -> bool:
    """A cancel callback that never cancels."""
    return False


@dataclass(frozen=True)
class Control:
    """One number a user can set: a slider in the app, a flag on the command line, an entry of the JSON schema.

    ``attribute`` is the CelebA attribute the control moves, if it moves one. ``choices`` replaces the range for a
    control with named values (the value is then an index into it). ``advanced`` controls are folded away in the app.
    ``where`` names the parts of the face that it changes, where an editor tells them apart.
    """

    name: str
    label: str
    low: float
    high: float
    neutral: float
    step: float = 0.05
    unit: str = ""
    help: str = ""
    attribute: str | None = None
    choices: tuple[str, ...] = ()
    advanced: bool = False
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class EditorSpec:
    """Name, version, needs and controls of an editor. ``cost`` says whether a change can follow a slider.

    ``takes``: what a request may bring besides values; with "reference", ``edit`` has a keyword of that name.
    """

    name: str
    version: str
    title: str
    paper: str
    controls: tuple[Control, ...]
    needs: tuple[Literal["latent", "reference", "mask"], ...] = ("latent",)
    cost: Literal["interactive", "seconds", "minutes"] = "interactive"
    takes: tuple[Literal["reference"], ...] = ()

    def control(self, name: str) -> Control:
        """The control called ``name`` (case-insensitive). Raises BadRequest with the names that exist."""
        for control in self.controls:
            if control.name.lower() == name.lower():
                return control
        names = ", ".join(c.name for c in self.controls)
        raise BadRequest(f"{self.title} has no control called '{name}'; it has: {names}.")

    def neutral(self) -> EditRequest:
        """The request that changes nothing."""
        return EditRequest(self.name, self.version, {})

    def validate(self, request: EditRequest) -> dict[str, float]:
        """All controls with their values, defaults filled in. Raises BadRequest on a stranger or a value out of range."""
        if request.editor != self.name:
            raise BadRequest(f"This request is for the editor '{request.editor}', not for '{self.name}'.")
        values = {c.name: c.neutral for c in self.controls}
        for name, value in request.values.items():
            control = self.control(name)
            value = float(value)
            if not math.isfinite(value) or not control.low - 1e-9 <= value <= control.high + 1e-9:
                raise BadRequest(
                    f"'{control.name}' must lie between {control.low:g} and {control.high:g}; {value:g} does not."
                )
            values[control.name] = value
        return values

    def asked(self, request: EditRequest) -> frozenset[str]:
        """The attributes that ``request`` moves. Raises BadRequest as ``validate`` does."""
        values = self.validate(request)
        return frozenset(c.attribute for c in self.controls if c.attribute and values[c.name] != c.neutral)


@dataclass(frozen=True)
class EditRequest:
    """A frozen, JSON-able order: the same request on the same face gives the same pixels everywhere.

    ``reference`` names the face that is borrowed from, "" for none (see ``workbench.references``).
    """

    editor: str
    version: str
    values: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    reference: str = ""

    def to_json(self) -> str:
        """One line of JSON with sorted keys."""
        body = {"editor": self.editor, "version": self.version, "values": dict(self.values), "seed": self.seed}
        if self.reference:
            body["reference"] = self.reference
        return json.dumps(body, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> EditRequest:
        """Read what ``to_json`` wrote. Raises BadRequest when it is something else."""
        try:
            body = json.loads(text)
            values = {str(k): float(v) for k, v in body["values"].items()}
            seed, reference = int(body.get("seed", 0)), str(body.get("reference", ""))
            return cls(str(body["editor"]), str(body["version"]), values, seed, reference)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRequest(
                f"This is not an edit request of this program ({type(error).__name__}: {error})."
            ) from error


@dataclass(frozen=True, eq=False)
class EditResult:
    """What an editor gives back.

    ``image`` (3,H,W) float in [-1, 1]; ``code`` (L,512) or None; ``mask`` (1,H,W) in [0, 1], 0 where nothing may change, or
    None; ``stats`` (NFE, steps, seconds, log-likelihood ...); ``weights`` ids of the weights that took part. ``on_photo``:
    ``image`` is the aligned photo with the edit finished in it, not a rendering to be compared with the projection's.
    """

    image: Tensor
    code: Tensor | None
    mask: Tensor | None
    request: EditRequest
    stats: Mapping[str, float] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    on_photo: bool = False


class Editor(Protocol):
    """The interface every method implements."""

    spec: EditorSpec

    def edit(
        self, face: Face, request: EditRequest, *, progress: Progress = quiet, cancel: Cancel = never
    ) -> EditResult:
        """Carry out ``request`` on ``face``. A neutral request returns the projection itself."""
        ...
