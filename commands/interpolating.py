"""``interpolate``: frames between two swaps, for folders of three pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.faces import engine_of
from commands.photos import SUFFIXES, each
from commands.swapping import aligned_of
from idswap.swap import Strengths
from workbench.clips import write_gif, write_mp4
from workbench.contact import ContactSheet
from workbench.errors import BadImage, BadRequest, FacetError
from workbench.export import Provenance, save_image
from workbench.face import content_hash, to_uint8
from workbench.ledger import Ledger
from workbench.swap_path import along, positions, shown, triple
from workbench.swapping import Swapping, request_of


def interpolate(options: argparse.Namespace) -> int:
    """PNG frames, a strip, a GIF and an MP4 for each set of three pictures."""
    root, out = Path(options.folder), Path(options.out)
    # Results may lie beside the sets: a second call must not take them for one.
    sets = [one for one in _sets(root) if one == root or one.resolve() != out.resolve()]
    positions(options.frames)
    if not 0 < options.fps <= 50:
        raise BadRequest(f"--fps lies above 0 and up to 50; {options.fps:g} was asked for.")
    if out.resolve() == root.resolve() or any(out.resolve() == one.resolve() for one in sets):
        raise BadRequest(f"--out '{out}' holds the photos themselves; name another folder for the results.")
    engine = engine_of(options)
    swapping = Swapping(engine)
    weights = swapping.weights(options.method)
    request = request_of(options.method, Strengths(), what="interpolate")

    failed: list[Mapping[str, str]] = []

    def work(folder: Path) -> tuple[Mapping[str, Any], str]:
        try:
            return one(folder)
        except FacetError as error:
            failed.append({"input": str(folder), "error": str(error)})
            raise

    def one(folder: Path) -> tuple[Mapping[str, Any], str]:
        way = triple(_pictures(folder))
        faces = [aligned_of(engine, path, options.aligned) for path in (way.kept, way.start, way.end)]
        place = out / folder.name if folder != root else out
        hashes = [content_hash(face.photo.hash, face.transform.quad) for face in faces]
        settings = (options.method, options.frames, options.space, options.crop, options.fps)
        key = content_hash(*settings, *weights, *hashes)
        last = place / "animation.mp4"
        pictures = [place / f"frame_{at:03d}.png" for at in range(options.frames)]
        before = ledger.made(last, key)
        if before is not None and all(
            one.exists() for one in (*pictures, place / "sheet.png", place / "animation.gif")
        ):
            return {**before, "kept": True}, f"{place}: there already"
        kept, start, end = (swapping.codes(options.method, face) for face in faces)
        path = along(swapping, options.method, way.moves, kept, start, end, options.frames, options.space)
        provenance = Provenance(request, engine.family, weights)
        held = "id" if way.moves == "attributes" else "attr"
        for name, face in zip((f"const_{held}", "start", "end"), faces, strict=True):
            save_image(place / f"{name}.png", face.image, Provenance(None, engine.family))
        strip = ContactSheet(1, len(path), engine.size)
        frames = []
        for at, code in enumerate(path):
            picture = swapping.render(options.method, code)
            frames.append(shown(swapping, picture, way.moves, faces[0], options.crop))
            strip.put(0, at, to_uint8(picture))
            save_image(pictures[at], frames[-1], provenance)
        # An earlier, longer set of frames would otherwise end in pictures of another path; no other files are ours.
        earlier = ledger.earlier(last)
        for at in range(options.frames, 0 if earlier is None else int(earlier.get("frames", 0))):
            (place / f"frame_{at:03d}.png").unlink(missing_ok=True)
        save_image(place / "sheet.png", strip.pixels, provenance)
        write_gif(place / "animation.gif", frames, 1 / options.fps, provenance)
        write_mp4(last, frames, options.fps, provenance)
        body = {
            "input": str(folder),
            "moves": way.moves,
            "kept_picture": str(way.kept),
            "start": str(way.start),
            "end": str(way.end),
            "frames": len(frames),
            "space": options.space,
            "size": [frames[0].shape[1], frames[0].shape[0]],
            "output": str(place),
            "request": json.loads(request.to_json()),
        }
        ledger.add(last, key, body)
        return {**body, "kept": False}, f"{folder}: {len(frames)} frames; written to {place}"

    with Ledger(out, "interpolate") as ledger:
        for name in ("method", "family", "frames", "space", "fps", "crop"):
            ledger.note(name, getattr(options, name))
        ledger.note("weights", list(weights))
        status = each(sets, work, options.json)
        ledger.note("failed", failed)
        return status


def _sets(root: Path) -> list[Path]:
    """``root`` itself when it holds pictures, else its folders. Raises BadImage."""
    if not root.is_dir():
        raise BadImage(f"'{root}' is no folder; name one with three pictures, or with folders of three pictures each.")
    if _pictures(root):
        return [root]
    found = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise BadImage(f"'{root}' holds neither pictures nor folders; put three pictures named 'id' and 'attr' in it.")
    return found


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
