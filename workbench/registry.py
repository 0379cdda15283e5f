"""Which editors there are, and how each is made from a family's networks. Methods are imported when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from workbench.editor import Cancel, Editor, EditRequest, EditResult, Progress, never, quiet
from workbench.errors import BadCheckpoint, BadRequest, MissingWeights
from workbench.face import Face
from workbench.weights import Store


class Sheet(Protocol):
    """Many pictures at once."""

    @property
    def images(self) -> Tensor:
        """(N,3,H,W) in [-1, 1]."""
        ...


@runtime_checkable
class SheetEditor(Protocol):
    """An editor that renders many strengths in one batched solve, on top of the request ``base``."""

    def strip(self, face: Face, control: str, strengths: Sequence[float], *, base: EditRequest | None = None) -> Sheet:
        """One attribute at each strength."""
        ...

    def grid(
        self,
        face: Face,
        a: str,
        b: str,
        strengths_a: Sequence[float],
        strengths_b: Sequence[float],
        *,
        base: EditRequest | None = None,
    ) -> Sheet:
        """Two attributes against each other, row by row of the first."""
        ...


class Borrower(Protocol):
    """An editor whose spec says that it takes a reference: an aligned face (3,H,W) in [-1, 1] to borrow from."""

    def edit(
        self,
        face: Face,
        request: EditRequest,
        *,
        reference: Tensor | None = None,
        progress: Progress = quiet,
        cancel: Cancel = never,
    ) -> EditResult: ...


def carry_out(
    editor: Editor, face: Face, request: EditRequest, reference: Tensor | None, *, progress: Progress, cancel: Cancel
) -> EditResult:
    """``editor.edit``, with the reference for those that take one. Raises BadRequest when another is given one."""
    if reference is None:
        return editor.edit(face, request, progress=progress, cancel=cancel)
    if "reference" not in editor.spec.takes:
        raise BadRequest(f"{editor.spec.title} borrows nothing; leave the reference out.")
    borrower = cast(Borrower, editor)
    return borrower.edit(face, request, reference=reference, progress=progress, cancel=cancel)


def _sdflow(store: Store) -> Editor:
    from sdflow.editor import SDFlowEditor
    from sdflow.estimator import SemanticEstimator
    from sdflow.model import ConditionalFlow

    flow, estimator = store.network("sdflow_flow"), store.network("sdflow_estimator")
    if not isinstance(flow.module, ConditionalFlow) or not isinstance(estimator.module, SemanticEstimator):
        raise BadCheckpoint(f"The SDFlow files of the {store.family.name} family hold other networks; copy them again.")
    attributes = flow.header.get("attributes")
    if not attributes or attributes != estimator.header.get("attributes"):
        raise BadCheckpoint(
            f"The SDFlow flow of the {store.family.name} family edits {attributes} and its estimator reads "
            f"{estimator.header.get('attributes')}; use files that were trained together."
        )
    weights = (store.generator_id, flow.id, estimator.id)
    generator = store.generator()
    try:
        return SDFlowEditor(generator, estimator.module, flow.module, tuple(attributes), weights, store.device)
    except ValueError as error:
        raise BadCheckpoint(f"The {store.family.name} family's SDFlow files do not fit together: {error}.") from error


def _maskfacegan(store: Store) -> Editor:
    from encoders.compact import AttributeNet
    from maskfacegan.editor import MaskFaceGANEditor
    from maskfacegan.moves import principal_axes
    from maskfacegan.networks import AttributeFeatures, Networks

    # A family without a parser has no masked editing; the error says so and the pages leave it out.
    parser, guide = store.network("parser"), store.network("attributes")
    if not isinstance(guide.module, AttributeNet):
        raise MissingWeights(
            f"Masked editing measures likeness with the compact attribute network, which the {store.family.name} family "
            "has not; choose the starter family."
        )
    generator = store.generator()
    axes = principal_axes(generator.map, generator.style_dim, store.device)
    networks = Networks(
        generator, parser.module, guide.module, AttributeFeatures(guide.module), store.latent_avg(), axes
    )
    return MaskFaceGANEditor(networks, (store.generator_id, parser.id, guide.id), store.device)


def _iafaces(store: Store) -> Editor:
    from iafaces.editor import ComponentsEditor
    from workbench import component_networks

    components = component_networks.network(store)
    directions, ids = component_networks.directions(store.family, components.id)
    return ComponentsEditor(components.module, directions, (components.id, *ids), store.device)


EDITORS: Mapping[str, Callable[[Store], Editor]] = {"sdflow": _sdflow, "maskfacegan": _maskfacegan, "iafaces": _iafaces}


def names() -> tuple[str, ...]:
    """Names of all editors, whether their weights are there or not."""
    return tuple(EDITORS)


def create(name: str, store: Store) -> Editor:
    """The editor ``name`` on the networks of ``store``. Raises BadRequest with the names that exist, MissingWeights."""
    if name not in EDITORS:
        raise BadRequest(f"There is no editor called '{name}'; there are: {', '.join(EDITORS)}.")
    if store.family.face_size and name != "iafaces":
        raise MissingWeights(
            f"The {store.family.name} family edits photos part by part; '{name}' needs another family."
        )
    return EDITORS[name](store)
