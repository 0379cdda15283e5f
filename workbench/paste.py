"""Putting an edited face back into its photo, without touching a pixel outside the seam."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from torch import Tensor

from workbench.errors import BadRequest
from workbench.face import AlignedFace, Photo, to_uint8


def paste_back(
    aligned: AlignedFace,
    image: np.ndarray | Tensor,
    *,
    base: np.ndarray | Tensor | None = None,
    feather: float = 0.12,
    colour_match: bool = False,
    mask: np.ndarray | Tensor | None = None,
    detail: np.ndarray | None = None,
) -> Photo:
    """The whole photo with the face ``image`` in place of the crop of ``aligned``.

    ``image``: (S,S,3) uint8 or (3,S,S) float in [-1, 1], of any S. Without ``base`` it replaces the photo's pixels.
    With ``base``, the rendering of the unedited face in the same form, only the difference ``image - base`` is added:
    the photo keeps its own fine detail, and an edit that changes nothing gives it back bit for bit. ``feather`` is the
    width of the seam as a part of the square's side, 0 to 0.5. ``colour_match`` fits the colours near the seam to the
    photo's. ``mask`` (S,S) or (1,S,S) in [0, 1] limits the change further. ``detail`` (S,S) in [0, 1], with a ``base``:
    how much of the photo's own detail stays; where it is 0 the pixels of ``image`` take its place (``workbench.detail``).
    Every pixel whose centre lies outside the square is bit-identical. Raises BadRequest on other shapes or values.
    """
    if not 0 <= feather <= 0.5:
        raise BadRequest(f"The seam's width must lie between 0 and 0.5 of the face; {feather:g} does not.")
    new = picture(image, "The edited face")
    old = None if base is None else picture(base, "The unedited face")
    if old is not None and old.shape != new.shape:
        raise BadRequest(f"The edited face {new.shape[:2]} and the unedited face {old.shape[:2]} must have one size.")
    pixels, quad = aligned.photo.pixels, aligned.transform.quad
    height, width = pixels.shape[:2]
    low = np.clip(np.floor(quad.min(0)), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(quad.max(0)), 0, [width, height]).astype(int)
    if np.any(high <= low):
        return replace(aligned.photo, request=None)
    u, v = square_coordinates(quad, low, high)
    weight = seam(u, v, feather)
    layer = new if old is None else new - old
    if colour_match:
        ring = seam_ring(new.shape[0], feather)
        layer = (
            match_colours(layer, shown(aligned, new.shape[0]), ring) if old is None else layer - ring_mean(layer, ring)
        )
    layers = layer if mask is None else np.concatenate([layer, mask_layer(mask, new.shape[0])], axis=2)
    sampled = sample(layers, quad, u, v)
    if mask is not None:
        weight = weight * np.clip(sampled[..., 3], 0, 1)
    region = pixels[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    change = sampled[..., :3] if old is not None else sampled[..., :3] - region
    if detail is not None and old is not None and detail.min() < 1:
        # A remap takes four layers at most, so these have one of their own.
        plain = sample(np.concatenate([old, mask_layer(detail, new.shape[0])], axis=2), quad, u, v)
        change = change + (1 - np.clip(plain[..., 3:], 0, 1)) * (plain[..., :3] - region)
    mixed = np.rint(np.clip(region + weight[..., None] * change, 0, 255)).astype(np.uint8)
    result = pixels.copy()
    result[low[1] : high[1], low[0] : high[0]] = mixed
    return Photo(result, aligned.photo.name, aligned.photo.notes)


def picture(image: np.ndarray | Tensor, what: str) -> np.ndarray:
    """Either form of a square picture as (S,S,3) float32 in [0, 255]; tensors keep their fractions."""
    if isinstance(image, Tensor):
        if image.ndim == 4 and image.shape[0] == 1:
            image = image[0]
        if image.ndim != 3 or image.shape[0] != 3 or image.shape[1] != image.shape[2]:
            raise BadRequest(f"{what} must be a square picture (3, S, S), not {tuple(image.shape)}.")
        scaled = image.detach().float().clamp(-1, 1).add(1).mul(127.5)
        return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[0] != image.shape[1] or image.dtype != np.uint8:
        raise BadRequest(f"{what} must be a square uint8 picture (S, S, 3), not {image.shape} {image.dtype}.")
    return image.astype(np.float32)


def mask_layer(mask: np.ndarray | Tensor, size: int) -> np.ndarray:
    """A mask in any of its forms as (size,size,1) float32."""
    values = mask.detach().float().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask, np.float32)
    values = values.reshape(values.shape[-2:]) if values.ndim > 2 else values
    if values.ndim != 2 or not np.isfinite(values).all():
        raise BadRequest(f"The mask must be one square layer, not {np.shape(mask)}.")
    if values.shape != (size, size):
        values = cv2.resize(values, (size, size), interpolation=cv2.INTER_LINEAR)
    return values.astype(np.float32)[..., None]


def square_coordinates(quad: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixel centres of a region of the photo lie in the square, 0 to 1 rightwards and downwards."""
    tl, bl, _, tr = quad
    inverse = np.linalg.inv(np.stack([tr - tl, bl - tl], axis=1))
    x = np.arange(low[0], high[0])[None] + 0.5 - tl[0]
    y = np.arange(low[1], high[1])[:, None] + 0.5 - tl[1]
    u = inverse[0, 0] * x + inverse[0, 1] * y
    v = inverse[1, 0] * x + inverse[1, 1] * y
    return u.astype(np.float32), v.astype(np.float32)


def seam(u: np.ndarray, v: np.ndarray, feather: float) -> np.ndarray:
    """Weight of the new face: 0 outside the square and on its edge, rising smoothly to 1 over ``feather``."""
    edge_u, edge_v = np.minimum(u, 1 - u), np.minimum(v, 1 - v)
    if feather == 0:
        return ((edge_u > 0) & (edge_v > 0)).astype(np.float32)
    rise = [np.clip(e / feather, 0, 1) for e in (edge_u, edge_v)]
    a, b = (t * t * (3 - 2 * t) for t in rise)
    return a * b


def sample(layers: np.ndarray, quad: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values of ``layers`` (S,S,C) at ``u``, ``v``; averaged first where the photo's face is smaller than S pixels."""
    side = float(np.hypot(*(quad[3] - quad[0])))
    size = layers.shape[0]
    if side < size:
        size = max(round(side), 1)
        layers = cv2.resize(layers, (size, size), interpolation=cv2.INTER_AREA)
        layers = layers.reshape(size, size, -1)
    return cv2.remap(layers, u * size - 0.5, v * size - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).reshape(
        *u.shape, -1
    )


def seam_ring(size: int, feather: float) -> np.ndarray:
    """Weights (S,S,1), summing to 1, of the crop's pixels on and just inside the seam."""
    t = (np.arange(size, dtype=np.float32) + 0.5) / size
    u, v = np.meshgrid(t, t)
    edge = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
    ring = (edge < max(1.6 * feather, 0.08)).astype(np.float32)
    return (ring / ring.sum())[..., None]


def ring_mean(layer: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Mean colour (3,) of ``layer`` under the ``ring`` weights."""
    return (layer * ring).sum((0, 1))


def match_colours(layer: np.ndarray, photo: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """``layer`` with its mean and spread per channel under ``ring`` moved to ``photo``'s (Reinhard 2001)."""
    mean, goal = ring_mean(layer, ring), ring_mean(photo, ring)
    spread, wanted = (np.sqrt(ring_mean((x - m) ** 2, ring)) for x, m in ((layer, mean), (photo, goal)))
    gain = np.clip((wanted + 1) / (spread + 1), 0.7, 1.4)
    return (layer - mean) * gain + goal


def shown(aligned: AlignedFace, size: int) -> np.ndarray:
    """The aligned photo at ``size`` pixels, (S,S,3) float32."""
    image = aligned.image if isinstance(aligned.image, np.ndarray) else to_uint8(aligned.image)
    if image.shape[0] != size:
        method = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
        image = cv2.resize(image, (size, size), interpolation=method)
    return image.astype(np.float32)
