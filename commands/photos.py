"""What every command on photos shares: which files, where the results go, and one line per photo."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import BadImage, BadRequest, FacetError
from workbench.export import SUFFIXES as PICTURES
from workbench.export import check_place, form_of

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif"}
)


@dataclass(frozen=True)
class Inputs:
    """The photos of one call, and whether results go into a folder (several photos, or a folder was named)."""

    photos: tuple[Path, ...]
    many: bool


def collect(names: Sequence[str]) -> Inputs:
    """Files, the pictures directly inside folders, and those that a list (.txt, one a line) names; in order, each once.

    Raises BadImage when a folder or a list holds none, or a list cannot be read.
    """
    found: dict[Path, None] = {}
    many = len(names) > 1
    for name in names:
        path = Path(name)
        if path.is_dir():
            many = True
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not inside:
                raise BadImage(f"The folder '{path}' holds no pictures; name a folder with photos directly inside it.")
            found.update(dict.fromkeys(inside))
        elif path.suffix.lower() == ".txt":
            many = True
            found.update(dict.fromkeys(listed(path)))
        else:
            found[path] = None
    return Inputs(tuple(found), many)


def listed(path: Path) -> list[Path]:
    """The pictures that a list names, seen from its own folder; a name without an ending stands for the picture of that stem."""
    try:
        names = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadImage(f"The list '{path}' cannot be read ({error}).") from error
    found = []
    for name in filter(None, names):
        place = path.parent / name
        endings = [place.with_name(place.name + ending) for ending in sorted(SUFFIXES)]
        found.append(place if place.is_file() else next((p for p in endings if p.is_file()), place))
    if not found:
        raise BadImage(f"The list '{path}' names no pictures; write one file name a line.")
    return found


def places(inputs: Inputs, out: str | None, suffix: str, option: str = "--out") -> Mapping[Path, Path | None]:
    """Where the result of each photo goes: ``out`` itself for one photo, ``out``/stem+suffix otherwise.

    Raises BadRequest when a result would overwrite one of the photos, or ``out`` is a file where a folder is needed or has no
    suffix of a picture where ``suffix`` is one, and CannotWrite where no file can be made: all before any work is done.
    """
    if out is None:
        return dict.fromkeys(inputs.photos)
    folder = Path(out)
    if not inputs.many and not folder.is_dir() and not out.endswith("/"):
        found: dict[Path, Path | None] = {inputs.photos[0]: folder}
    else:
        if folder.is_file():
            raise BadRequest(f"{option} '{out}' is a file, and several photos need a folder; name a folder.")
        found = {}
        taken: set[Path] = set()
        for photo in inputs.photos:
            place = folder / f"{photo.stem}{suffix}"
            count = 2
            while place in taken:
                place = folder / f"{photo.stem}-{count}{suffix}"
                count += 1
            taken.add(place)
            found[photo] = place
    originals = {photo.resolve() for photo in inputs.photos}
    for place in found.values():
        if place is not None and place.resolve() in originals:
            raise BadRequest(f"{option} '{place}' would overwrite the photo itself; choose another name.")
    for place in {place.parent: place for place in found.values() if place is not None}.values():
        check_place(place)
        if suffix in PICTURES:
            form_of(place)
    return found


@dataclass
class Clock:
    """Seconds per stage of one photo."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started

    def rounded(self) -> dict[str, float]:
        """The stages and their total, in seconds."""
        total = {"total": sum(self.seconds.values())}
        return {name: round(value, 4) for name, value in (self.seconds | total).items()}


def emit(body: Mapping[str, Any], text: str, as_json: bool) -> None:
    """One line on stdout: the object as JSON, or the sentence."""
    print(json.dumps(body, ensure_ascii=False) if as_json else text, flush=True)


def complain(sentence: str) -> None:
    """One line on stderr."""
    print(" ".join(sentence.split()), file=sys.stderr, flush=True)


def each(photos: Sequence[Path], work: Callable[[Path], tuple[Mapping[str, Any], str]], as_json: bool) -> int:
    """Do ``work`` on every photo, print its object or sentence; returns 1 when one of them failed, else 0."""
    failed = 0
    for photo in photos:
        try:
            body, text = work(photo)
        except FacetError as error:
            failed += 1
            complain(f"{photo}: {error}")
        except Exception as error:  # a defect of ours must not cost the photos that come after this one
            failed += 1
            complain(f"{photo}: an unexpected error, please report it ({type(error).__name__}: {error}).")
        else:
            emit(body, text, as_json)
    return 1 if failed else 0
