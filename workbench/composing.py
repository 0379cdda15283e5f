"""An edit put back: into the whole photo, or as the face alone."""

from __future__ import annotations

import torch

from workbench.detail import detail_gain
from workbench.editor import EditResult
from workbench.face import Face, Photo, to_uint8
from workbench.paste import paste_back


def composed(face: Face, result: EditResult, *, crop: bool, keep_detail: bool, colour_match: bool) -> Photo:
    """The photo of ``face`` with the edited face in it, or the face alone with ``crop``; see ``Engine.compose``."""
    unedited = face.target if result.on_photo else face.image
    # What lies on the photo already is no rendering and hides nothing.
    gain = detail_gain(result.image, unedited) if keep_detail and not result.on_photo else None
    if crop:
        added = face.target + (result.image - unedited) if keep_detail else result.image
        if gain is not None and gain.min() < 1:
            added = result.image + torch.from_numpy(gain)[None] * (added - result.image)
        return Photo(to_uint8(added), face.aligned.photo.name)
    # Inside its mask a result is finished, seam included: weighing it once more would fade the edit.
    support = None if result.mask is None else (result.mask > 0).float()
    base = unedited if keep_detail else None
    return paste_back(face.aligned, result.image, base=base, colour_match=colour_match, mask=support, detail=gain)
