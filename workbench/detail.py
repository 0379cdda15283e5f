"""How much of a photo's own detail an edit leaves standing.

The detail that a rendering cannot draw is given back by adding only what an edit changed to the photo. Where the edit
draws something new, glasses over eyes or teeth in a closed mouth, the old pattern would shine through: there the
rendering itself is taken. The local least-squares gain from the unedited to the edited rendering (the slope of the guided filter,
He et al. 2010) tells the two apart, and does not mind a change of brightness or colour; a very large one is another surface, and
so is a strong pattern that the old one does not explain.
"""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

WINDOW = 1 / 40
"""Standard deviation of the window, as a part of the picture's side."""
QUIET = 0.05
"""Contrast, in units of [-1, 1], below which there is no pattern that could be gone."""
GONE, STAYS = 0.1, 0.9
"""Gains at and beyond which a pattern counts as gone, and as whole."""
SHADE, COVER = 0.35, 0.7
"""Changes of the local mean, in units of [-1, 1]: up to the first it is light or colour, from the second on another surface."""
LIKE, NEW = 0.18, 0.28
"""Contrasts of the part of the new pattern that is no multiple of the old: up to the first none, from the second on another surface."""
LOOKED_AT = 256
"""Side at which larger pictures are compared."""
DECIDED, REACH = 0.9, 1 / 20
"""From the first on a pattern is gone for certain; around such places, as far as the second (a part of the side), it goes too."""


def detail_gain(edited: Tensor, unedited: Tensor) -> np.ndarray:
    """Weight (S,S) float32 in [0, 1] of the photo's detail, from two renderings (3,S,S) in [-1, 1].

    1 where the pattern of ``unedited`` is still that of ``edited``, exactly so where they are equal; 0 where it is gone.
    """
    new, old = (np.ascontiguousarray(x.detach().float().mean(0).cpu().numpy()) for x in (edited, unedited))
    if np.array_equal(new, old):
        return np.ones_like(new)
    side = new.shape[0]
    if side > LOOKED_AT:
        # The windows are wide, and a slider waits for this.
        new, old = (cv2.resize(x, (LOOKED_AT, LOOKED_AT), interpolation=cv2.INTER_AREA) for x in (new, old))
    gain = _gain(new, old)
    return gain if len(gain) == side else cv2.resize(gain, (side, side), interpolation=cv2.INTER_LINEAR)


def _gain(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    sigma = max(1.0, WINDOW * new.shape[0])

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)

    centre, moved = mean(old), mean(new)
    together = mean(new * old) - moved * centre
    spread = np.maximum(mean(old * old) - centre * centre, 0)
    gain = (together + QUIET**2) / (spread + QUIET**2)
    unexplained = np.sqrt(np.maximum(mean(new * new) - moved**2 - together**2 / (spread + 1e-4), 0))
    # Decided, since half of an eye behind glasses is worse than none; then smooth, since a jump would draw an edge of its own.
    stands = _step(gain, GONE, STAYS)
    stands *= 1 - _step(np.abs(moved - centre), SHADE, COVER)
    stands *= 1 - _step(unexplained, LIKE, NEW)
    gone = (1 - stands).astype(np.float32)
    # A thing that hides the old pattern is found at its edges first, and hides it everywhere. Single points are chance.
    found = cv2.erode((gone > DECIDED).astype(np.float32), _disc(new.shape[0] / 128))
    whole = cv2.dilate(found, _disc(REACH * new.shape[0]))
    return np.clip(1 - np.maximum(mean(gone), cv2.GaussianBlur(whole, (0, 0), 0.7 * sigma)), 0, 1)


def _disc(radius: float) -> np.ndarray:
    """A filled circle as a mask of morphology."""
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to ``low``, 1 from ``high`` on, smooth between."""
    part = np.clip((x - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)
