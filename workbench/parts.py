"""The parts of a face that an editor of components tells apart, for whoever draws them."""

from iafaces.editing import OUTPUT_MODES
from iafaces.regions import BOXES, COMPONENTS

__all__ = ["BOXES", "COMPONENTS", "OUTPUT_MODES"]
