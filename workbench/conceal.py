"""De-identification of one photo while somebody waits, with what a recogniser says before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from idswap.swap import Codes, Strengths
from workbench.donors import Donors, DonorSettings, grouped, keyed_seed
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import FacetError
from workbench.face import Face, to_tensor, to_uint8
from workbench.judges import Judge, five_points, judge_of
from workbench.manifest import families
from workbench.swap_studio import Studio
from workbench.swapping import request_of

SAME = 0.4
"""Cosine from which two photos are taken to show one person, and from which a face counts as recognised."""


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody whose photo was de-identified: ``embedding`` (D,) by the family's recogniser, and the donor's seed."""

    embedding: Tensor
    seed: int


def person_of(engine: Engine, face: Face, key: bytes, known: Sequence[Person]) -> Person:
    """The one of ``known`` whom ``face`` shows, else a new one whose seed only ``key`` leads to."""
    embedding = engine.embedding(face.target)
    at = grouped([embedding], SAME, [one.embedding for one in known])[0]
    return known[at] if at < len(known) else Person(embedding, keyed_seed(key, embedding))


@dataclass(frozen=True, eq=False)
class Concealed:
    """A de-identified photo.

    ``own`` is what the same network makes of the photo with its own identity. Cosines by ``judge``: ``before`` of the
    photo with ``own``, ``after`` of the photo with the result; ``second_before`` and ``second_after`` of another photo of
    the person with the photo and with the result, where there is one.
    """

    result: EditResult
    own: EditResult
    before: float
    after: float
    second_before: float | None
    second_after: float | None
    judge: Judge

    @property
    def request(self) -> EditRequest:
        """What the export carries: no seed, with which a turned identity could be turned back."""
        return self.result.request


def conceal(
    studio: Studio,
    method: str,
    settings: DonorSettings,
    face: Face,
    person: Person,
    judge: Judge,
    second: Face | None = None,
) -> Concealed:
    """Give ``face`` the donor of ``person`` and verify. Raises BadRequest when no donor is unlike enough."""
    swapping = studio.swapping
    codes = swapping.codes(method, face)
    donor = Donors(swapping, method, settings).donor(person.seed, [person.embedding], [codes.identity[0]])
    request = request_of(method, Strengths(), what="deidentify")
    made = swapping.replaced(method, Codes(donor, codes.attributes), face, request)
    own = swapping.replaced(method, codes, face, request)
    device, points = studio.engine.device, five_points(face.aligned)

    def seen(image: Tensor) -> Tensor:
        return judge.embed(to_tensor(to_uint8(image)), device, points)

    photo, result = seen(face.target), seen(made.image)
    other = None if second is None else judge.embed(second.target, device, five_points(second.aligned))
    return Concealed(
        made,
        own,
        float(photo @ seen(own.image)),
        float(photo @ result),
        None if other is None else float(photo @ other),
        None if other is None else float(result @ other),
        judge,
    )


def best_judge(engine: Engine) -> Judge:
    """A recogniser that took no part in the training, when another family's file is there; else the family's own."""
    for name, family in families(engine.store.family.manifest).items():
        if name == engine.family or "identity" not in family.records:
            continue
        path = family.find("identity")
        if path is None:
            continue
        try:
            return judge_of(engine, path)
        except FacetError:
            continue
    return judge_of(engine, None)
