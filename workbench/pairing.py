"""Pictures of two folders that belong together: the same name without its suffix, exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pairs:
    """``matched`` pairs in the order of their names, and the files of either side that have no partner, or several."""

    matched: tuple[tuple[Path, Path], ...]
    only_first: tuple[Path, ...]
    only_second: tuple[Path, ...]
    ambiguous: tuple[Path, ...]


def match(first: Sequence[Path], second: Sequence[Path]) -> Pairs:
    """Pair by exact stem: "1" is not "10". A stem that one side has twice is paired with nothing."""
    sides = (_by_stem(first), _by_stem(second))
    matched, alone, ambiguous = [], ([], []), []
    for stem in sorted({*sides[0], *sides[1]}):
        a, b = (side.get(stem, []) for side in sides)
        if len(a) == len(b) == 1:
            matched.append((a[0], b[0]))
        elif not b:
            alone[0].extend(a)
        elif not a:
            alone[1].extend(b)
        else:
            ambiguous += [*a, *b]
    return Pairs(tuple(matched), tuple(alone[0]), tuple(alone[1]), tuple(ambiguous))


def distinct_names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each of ``paths``: its stem, with a number where another one has that name already."""
    taken: set[str] = set()
    found: dict[Path, str] = {}
    for path in paths:
        name, count = path.stem, 2
        while name in taken:
            name, count = f"{path.stem}-{count}", count + 1
        taken.add(name)
        found[path] = name
    return found


def _by_stem(paths: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        found[path.stem].append(path)
    return found
