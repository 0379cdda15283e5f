"""Which editors there are, and how each is put together from a family's networks. Methods are imported when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from workbench.editor import Editor
from workbench.errors import BadRequest
from workbench.face import Face
from workbench.weights import Store


@runtime_checkable
class SheetEditor(Protocol):
    """An editor that renders many strengths in one batched solve."""

    def strip(self, face: Face, attribute: str, strengths: Sequence[float]) -> Tensor:
        """Pictures (N,3,H,W) of one attribute at each strength."""
        ...

    def grid(self, face: Face, attribute_a: str, attribute_b: str, strengths: Sequence[float]) -> Tensor:
        """Pictures (N*N,3,H,W) of two attributes, rows by the first."""
        ...


def _sdflow(store: Store) -> Editor:
    from sdflow.editor import SDFlowEditor

    flow, estimator = store.network("sdflow_flow"), store.network("sdflow_estimator")
    return SDFlowEditor(store.generator(), flow.module, estimator.module)


EDITORS: Mapping[str, Callable[[Store], Editor]] = {"sdflow": _sdflow}


def names() -> tuple[str, ...]:
    """Names of all editors, whether their weights are there or not."""
    return tuple(EDITORS)


def create(name: str, store: Store) -> Editor:
    """The editor ``name`` on the networks of ``store``. Raises BadRequest with the names that exist, MissingWeights."""
    if name not in EDITORS:
        raise BadRequest(f"There is no editor called '{name}'; there are: {', '.join(EDITORS)}.")
    return EDITORS[name](store)
