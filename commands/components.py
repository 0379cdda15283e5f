"""``reconstruct``, ``attr``, ``transfer`` and ``directions``: edits of face parts with the component auto-encoder."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from commands.faces import Result, _aligned, engine_of
from commands.photos import Clock, collect, each, emit, places
from data import container
from iafaces.controls import REACH, SEAMS
from iafaces.editing import OUTPUT_MODES
from iafaces.editor import ComponentsEditor
from iafaces.regions import COMPONENTS, rows_of
from workbench import component_networks, registry
from workbench.devices import lock
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.export import Provenance, save_image
from workbench.face import Face, to_uint8
from workbench.manifest import open_family

Work = Callable[[ComponentsEditor, Face], tuple[EditRequest | None, EditResult | None]]


def editor_of(engine: Engine) -> ComponentsEditor:
    """The family's component editor. Raises MissingWeights."""
    editor = registry.create("iafaces", engine.store)
    assert isinstance(editor, ComponentsEditor)
    return editor


def _each_face(options: argparse.Namespace, names: Sequence[str], engine: Engine, work: Work) -> int:
    """Do ``work`` on one face of every photo and write what it gives; without a result, the reconstruction is written."""
    inputs = collect(names)
    outputs = places(inputs, options.out, ".png")
    editor = editor_of(engine)

    def one(path: Path) -> Result:
        output = outputs[path]
        if output is not None and output.is_file() and not options.again:
            return {"input": str(path), "output": str(output), "skipped": True}, f"{path}: there already, {output}"
        clock = Clock()
        with clock.stage("read"):
            _, aligned, _ = _aligned(engine, path, options, clock)
            face = engine.project(aligned)
        with clock.stage("edit"):
            request, result = work(editor, face)
        body: dict[str, object] = {"input": str(path), "output": None if output is None else str(output)}
        if result is None or request is None:
            with lock(engine.device):
                picture = editor.reconstruct(face.target)
            pixels, weights = to_uint8(picture), editor.weights
        else:
            weights = result.weights
            body |= {"values": dict(request.values), "stats": {k: float(v) for k, v in result.stats.items()}}
            if "identity" in engine.store.family.records:
                body["identity"] = round(engine.identity(result.image, face.image), 4)
            # A residual goes back into the photo, even when nothing changed; the other outputs are pictures of their own.
            whole = getattr(options, "output_mode", "residual") == "residual"
            pixels = engine.compose(face, result, crop=options.crop).pixels if whole else to_uint8(result.image)
        if output is not None:
            with clock.stage("write"):
                save_image(output, pixels, Provenance(request, engine.family, weights))
        body["seconds"] = clock.rounded()
        return body, f"{path}: done" + (f", {output}" if output is not None else "")

    return each(inputs.photos, one, options.json)


def reconstruct(options: argparse.Namespace) -> int:
    """Write the network's own picture of one face of each photo."""
    engine = engine_of(options)
    return _each_face(options, options.photos, engine, lambda editor, face: (None, None))


def attr(options: argparse.Namespace) -> int:
    """Move attributes of one face of each photo."""
    names, wanted = options.attribute, options.strength or options.to
    if options.strength and options.to:
        raise BadRequest("Give --strength (a change) or --to (a place to arrive at), not both.")
    if not wanted or len(wanted) not in (1, len(names)):
        raise BadRequest("Give one --strength or --to for all attributes, or one for each.")
    amounts = wanted * len(names) if len(wanted) == 1 else wanted
    engine = engine_of(options)
    editor = editor_of(engine)
    if not editor.attributes:
        raise component_networks.without_directions(engine.store.family)
    for name in names:
        whole, _, part = name.lower().replace(" ", "_").partition("@")
        if whole not in editor.attributes or (part and part not in COMPONENTS):
            raise BadRequest(
                f"There is no attribute '{name}' of face parts; there are: {', '.join(editor.attributes)}."
            )
        where = editor.spec.control(name).where
        if options.component and not {COMPONENTS[i] for i in rows_of(options.component)} & set(where):
            raise BadRequest(
                f"The attribute '{name}' shows in {', '.join(where)} and not in {', '.join(options.component)}; name a part that it "
                "shows in."
            )

    def work(editor: ComponentsEditor, face: Face) -> tuple[EditRequest, EditResult]:
        values: dict[str, float] = {"output": float(OUTPUT_MODES.index(options.output_mode))}
        for name, amount in zip(names, amounts, strict=True):
            control = editor.spec.control(name)
            strength = amount
            if options.to:
                strength = editor.strength_to(face.target, control.name, amount)
                strength = min(max(strength, -REACH), REACH)
            values[control.name] = strength
        if options.component:
            keep = rows_of(options.component)
            values |= {f"edit_{name}": float(i in keep) for i, name in enumerate(COMPONENTS)}
        request = EditRequest(editor.spec.name, editor.spec.version, values)
        with lock(engine.device):
            return request, editor.edit(face, request)

    return _each_face(options, options.photos, engine, work)


def transfer(options: argparse.Namespace) -> int:
    """Give each target components of the reference: one reference for all, or a folder paired in order of names."""
    engine = engine_of(options)
    targets, references = collect(options.target), collect(options.reference)
    if len(references.photos) not in (1, len(targets.photos)):
        raise BadRequest(
            f"There are {len(targets.photos)} targets and {len(references.photos)} references; give one or as many."
        )
    partner: Mapping[str, Path] = {
        str(t): references.photos[i if len(references.photos) > 1 else 0] for i, t in enumerate(targets.photos)
    }
    rows = rows_of(options.component)
    known: dict[Path, Face] = {}

    def read(path: Path) -> Face:
        if path not in known:
            known.clear()
            known[path] = engine.project(_aligned(engine, path, options, Clock())[1])
        return known[path]

    def work(editor: ComponentsEditor, face: Face) -> tuple[EditRequest, EditResult]:
        values = {f"borrow_{COMPONENTS[row]}": options.blend for row in rows}
        values["output"] = float(OUTPUT_MODES.index(options.output_mode))
        values["seam"] = float(SEAMS.index("as drawn" if options.as_drawn else "fitted"))
        lender = read(partner[str(current[0])])
        # The request names its reference, so that the app says what is missing when it opens the result.
        name = engine.references.lend(lender.aligned)
        request = EditRequest(editor.spec.name, editor.spec.version, values, reference=name)
        with lock(engine.device):
            return request, editor.edit(face, request, reference=lender.target)

    # A broken target must not shift the pairs behind it, so every target is its own call with its own partner.
    current: list[Path] = []
    status = 0
    outputs = places(targets, options.out, ".png")
    for path in targets.photos:
        current[:] = [path]
        place = outputs[path]
        single = argparse.Namespace(**{**vars(options), "out": None if place is None else str(place)})
        status = max(status, _each_face(single, [str(path)], engine, work))
    return status


def _network_to_fit(options: argparse.Namespace) -> tuple[Path, Path | None]:
    """The network's file, and where a family looks for its directions. Raises BadRequest and MissingWeights."""
    if (options.components is None) == (options.family is None):
        raise BadRequest("Say which network to fit directions for: --components FILE, or --family NAME for a family's.")
    if options.components is not None:
        return Path(options.components), None
    family = open_family(options.family, options.manifest)
    out = family.place("directions") if "directions" in family.records else None
    if out is not None and family.record("directions").shipped:
        raise BadRequest(
            f"The directions of the {family.name} family come with the program; fit others with --components and --out."
        )
    return family.path(component_networks.kind_of(family)), out


def directions(options: argparse.Namespace) -> int:
    """Fit directions for a network, or list those of a family."""
    if options.action == "fit":
        from training.directions import run

        file, out = _network_to_fit(options)
        found = run(
            options.config,
            file,
            options.faces,
            options.out or out,
            limit=options.limit,
            seed=options.seed,
            remove=options.remove,
        )
        facts = {name: {"components": list(d.components), "accuracy": d.accuracy} for name, d in found.items()}
    else:
        family = open_family(options.family, options.manifest)
        if family.find("directions") is None and family.record("directions").optional:
            raise component_networks.without_directions(family)
        facts = container.read_header(family.path("directions"))["directions"]
    for name, fact in facts.items():
        text = f"{name}: {', '.join(fact['components'])}, held-out accuracy {fact['accuracy']:.3f}"
        emit({"attribute": name, **fact}, text, options.json)
    return 0
