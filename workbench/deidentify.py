"""De-identification of a folder: people told apart, one donor each, and what a recogniser says before and after."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from idswap.swap import Codes, Strengths
from workbench.donors import Donors, DonorSettings, grouped, keyed_seed, mean_row, named
from workbench.engine import Engine
from workbench.errors import BadRequest, FacetError
from workbench.export import Provenance, check_place, save_image, write
from workbench.face import AlignedFace, content_hash, to_tensor, to_uint8
from workbench.judges import Judge, five_points
from workbench.ledger import Ledger
from workbench.swap_folders import Failed, Made, failure
from workbench.swapping import Swapping, request_of

TellApart = Literal["faces", "names", "one"]
"""How people are told apart: by the recogniser, by the names of their files, or not at all: all photos show one."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A photo after the first look: who is on it."""

    path: Path
    embedding: Tensor
    judged: Tensor
    code: Tensor
    person: int = -1


class People:
    """Persons of earlier calls with the seeds of their donors, in a file that the caller keeps to himself."""

    def __init__(self, path: Path | None, recogniser: str) -> None:
        self.path, self.recogniser = path, recogniser
        if path is not None:
            check_place(path)
        self.rows: list[Tensor] = []
        self.seeds: list[int] = []
        if path is None or not path.is_file():
            return
        try:
            body = json.loads(path.read_text("utf-8"))
            self.rows = [torch.tensor(one["embedding"], dtype=torch.float32) for one in body["people"]]
            self.seeds = [int(one["seed"]) for one in body["people"]]
            made_by = str(body["recogniser"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadRequest(f"'{path}' is no list of people of this program; name another file.") from error
        if made_by != recogniser:
            raise BadRequest(f"'{path}' was made with the recogniser {made_by}, not {recogniser}; name another file.")

    def add(self, row: Tensor, seed: int) -> None:
        """A person seen for the first time."""
        self.rows.append(row)
        self.seeds.append(seed)

    def save(self) -> None:
        """Write the file, if there is one. Raises CannotWrite."""
        if self.path is None:
            return
        people = [
            {"embedding": [round(v, 6) for v in row.tolist()], "seed": seed}
            for row, seed in zip(self.rows, self.seeds, strict=True)
        ]
        write(self.path, json.dumps({"recogniser": self.recogniser, "people": people}).encode())
        self.path.chmod(0o600)


class Deidentifier:
    """Gives every person on photos opened by ``read`` a face of nobody."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        settings: DonorSettings,
        judge: Judge,
        *,
        read: Callable[[Path], AlignedFace],
        same: float = 0.4,
        verify: float = 0.4,
        crop: bool = False,
        told_apart: TellApart = "faces",
    ) -> None:
        for what, number in (("same", same), ("verify", verify)):
            if not -1 <= number <= 1:
                raise BadRequest(f"--{what} is a cosine between -1 and 1; {number:g} is not.")
        self.engine, self.name, self.judge, self.read = engine, name, judge, read
        self.swapping = Swapping(engine)
        self.donors = Donors(self.swapping, name, settings)
        self.settings, self.same, self.verify, self.crop = settings, same, verify, crop
        self.told_apart = told_apart
        self.weights = self.swapping.weights(name)
        # The seed stays out of it: with it, a turned identity could be turned back.
        self.request = request_of(name, Strengths(), what="deidentify")

    def look(self, path: Path) -> Seen:
        """Read one photo's identity."""
        face = self.read(path)
        target = to_tensor(face.image)
        embedding = self.engine.embedding(target)
        judged = self.judge.embed(target, self.engine.device, five_points(face))
        code = self.swapping.codes(self.name, face).identity[0]
        self.engine.forget()
        return Seen(path, embedding, judged, code)

    def run(self, outputs: Mapping[Path, Path], key: bytes, people: People, ledger: Ledger) -> Iterator[Made | Failed]:
        """De-identify every photo of ``outputs``; the report is noted in ``ledger``."""
        seen: list[Seen] = []
        for path in outputs:
            try:
                seen.append(self.look(path))
            except Exception as error:
                yield failure(path, error)
        groups: dict[int, list[Seen]] = defaultdict(list)
        for one, person in zip(seen, self.people_of(seen, people), strict=True):
            groups[person].append(one)
        before, after = [], []
        for person in sorted(groups):
            group = groups[person]
            if person >= len(people.rows):
                mean = mean_row([s.embedding for s in group])
                people.add(mean, keyed_seed(key, mean))
            try:
                donor = self.donors.donor(people.seeds[person], [s.embedding for s in group], [s.code for s in group])
            except FacetError as error:
                yield from (Failed(s.path, error) for s in group)
                continue
            alike = _pairs([s.judged for s in group])
            before += alike
            for one in group:
                try:
                    made = self.one(one, person, donor, outputs[one.path], ledger)
                except Exception as error:
                    yield failure(one.path, error)
                    continue
                after.append(float(made.body["similarity_after"]))
                yield made
        people.save()
        ledger.note("report", self.report(len(groups), before, after))

    def people_of(self, seen: Sequence[Seen], people: People) -> list[int]:
        """Number of the person on each photo; those of ``people`` come first.

        Where the caller says whose photos they are, a group is somebody known when its mean face is.
        """
        if self.told_apart == "faces":
            return grouped([s.embedding for s in seen], self.same, people.rows)
        groups = named([s.path.stem for s in seen]) if self.told_apart == "names" else [0] * len(seen)
        means = [
            mean_row([s.embedding for s, g in zip(seen, groups, strict=True) if g == group])
            for group in range(max(groups, default=-1) + 1)
        ]
        numbers: list[int] = []
        for mean in means:
            near = [float(row @ mean) if at not in numbers else -1.0 for at, row in enumerate(people.rows)]
            best = max(range(len(near)), key=near.__getitem__, default=-1)
            new = len(people.rows) + sum(n >= len(people.rows) for n in numbers)
            numbers.append(new if best < 0 or near[best] < self.same else best)
        return [numbers[group] for group in groups]

    def one(self, seen: Seen, person: int, donor: Tensor, output: Path, ledger: Ledger) -> Made:
        """One photo with the donor's identity, written unless it is there."""
        face = self.read(seen.path)
        settings = (*astuple(self.settings), self.name, self.crop, self.judge.id, self.verify)
        key = content_hash(*settings, *self.weights, donor, face.photo.hash, face.transform.quad)
        kept = ledger.made(output, key)
        if kept is not None:
            return Made(output, kept, kept=True)
        own = self.swapping.codes(self.name, face)
        result = self.swapping.replaced(self.name, Codes(donor, own.attributes), face, self.request)
        pixels = self.swapping.place(face, result, crop=self.crop, square=True)
        save_image(output, pixels, Provenance(self.request, self.engine.family, self.weights))
        shown = to_tensor(to_uint8(result.image))
        alike = float(self.judge.embed(shown, self.engine.device, five_points(face)) @ seen.judged)
        body = {
            "input": str(seen.path),
            "person": person,
            "similarity_after": round(alike, 4),
            "verified_after": alike >= self.verify,
            "size": [pixels.shape[1], pixels.shape[0]],
            "output": str(output),
        }
        ledger.add(output, key, body)
        self.engine.forget()
        return Made(output, body, kept=False)

    def report(self, people: int, before: Sequence[float], after: Sequence[float]) -> dict[str, Any]:
        """Verification of a person's photos with each other, and of the results with their own photos."""

        def told(numbers: Sequence[float]) -> dict[str, Any]:
            if not numbers:
                return {"count": 0, "mean": None, "verified": None}
            share = sum(n >= self.verify for n in numbers) / len(numbers)
            return {"count": len(numbers), "mean": round(sum(numbers) / len(numbers), 4), "verified": round(share, 4)}

        return {
            "people": people,
            "before": told(before),
            "after": told(after),
            "threshold": self.verify,
            "judge": self.judge.id,
            "judge_independent": self.judge.independent,
        }


def _pairs(rows: Sequence[Tensor]) -> list[float]:
    return [float(a @ b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
