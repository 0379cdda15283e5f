"""The FFHQ square of a face and the crop it cuts out of a photo (Karras et al., arXiv:1812.04948, appendix C)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from workbench.errors import BadRequest
from workbench.face import AlignedFace, CropTransform, Detection, Photo


def ffhq_quad(points: np.ndarray) -> np.ndarray:
    """Corners (4,2) of the FFHQ square, top left, bottom left, bottom right, top right, from 68 or 5 points (N,2).

    Only the eye centres and the mouth corners count. Works in whatever coordinates the points have. Raises BadRequest
    when the points are of another number or fall together.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape == (68, 2):
        left, right = points[36:42].mean(0), points[42:48].mean(0)
        mouth = (points[48] + points[54]) / 2
    elif points.shape == (5, 2):
        left, right, mouth = points[0], points[1], (points[3] + points[4]) / 2
    else:
        raise BadRequest(
            f"A face is aligned by 68 or 5 points; {points.shape} numbers were given, mark the five points."
        )
    eyes = (left + right) / 2
    across, down = right - left, mouth - eyes
    x = across - np.array([-down[1], down[0]])
    length = float(np.hypot(*x))
    wanted = max(2.0 * float(np.hypot(*across)), 1.8 * float(np.hypot(*down)))
    if not np.isfinite(points).all() or length < 1e-6 or wanted < 1e-6:
        raise BadRequest("The eyes and the mouth of the face lie on one spot; mark the five points by hand.")
    x *= wanted / length
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def landmark_quad(points: np.ndarray) -> np.ndarray:
    """The square (4,2) that the landmark network sees: three quarters of the FFHQ square, a little lower."""
    quad = ffhq_quad(points)
    centre = quad.mean(0) + 0.02 * (quad[1] - quad[0])
    return centre + 0.75 * (quad - quad.mean(0))


def quad_side(quad: np.ndarray) -> float:
    """Side of the square ``quad`` (4,2) in photo pixels."""
    return float(np.hypot(*(quad[3] - quad[0])))


@dataclass(frozen=True, eq=False)
class CropPlan:
    """What FFHQ's script does to a photo before the warp: shrink, crop to ``box`` (x0, y0, x1, y1), pad by ``pad``.

    ``shrink`` of 0 or 1 leaves the size alone. ``border`` pixels are kept around the square; ``pad_needed`` and ``pad``
    are left, top, right, bottom; ``quad`` (4,2) is the square in the result. All but ``shrink`` in pixels of the
    shrunk photo, pixel centres at whole numbers.
    """

    shrink: int
    border: int
    box: tuple[int, int, int, int]
    cropped: bool
    pad_needed: tuple[int, int, int, int]
    padded: bool
    pad: tuple[int, int, int, int]
    quad: np.ndarray
    side: float


def plan_crop(quad: np.ndarray, photo_size: tuple[int, int], size: int) -> CropPlan:
    """Plan the crop of ``quad`` (4,2), here with pixel centres at whole numbers, to ``size`` pixels."""
    width, height = photo_size
    side = quad_side(quad)
    shrink = int(np.floor(side / size * 0.5))
    if shrink > 1:
        width, height = (max(int(np.rint(v / shrink)), 1) for v in (width, height))
        quad, side = quad / shrink, side / shrink
    border = max(int(np.rint(side * 0.1)), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    x0, y0 = max(int(low[0]) - border, 0), max(int(low[1]) - border, 0)
    x1, y1 = min(int(high[0]) + border, width), min(int(high[1]) + border, height)
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise BadRequest("The face lies outside the photo; mark points inside it.")
    cropped = x1 - x0 < width or y1 - y0 < height
    box = (x0, y0, x1, y1)
    quad = quad - (x0, y0)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    needed = (
        max(-int(low[0]) + border, 0),
        max(-int(low[1]) + border, 0),
        max(int(high[0]) - (x1 - x0) + border, 0),
        max(int(high[1]) - (y1 - y0) + border, 0),
    )
    padded = max(needed) > border - 4
    pad = (0, 0, 0, 0)
    if padded:
        least = int(np.rint(side * 0.3))
        left, top, right, bottom = (max(v, least) for v in needed)
        pad = (left, top, right, bottom)
        quad = quad + np.array([left, top])
    return CropPlan(shrink, border, box, cropped, needed, padded, pad, quad, side)


def prepare(pixels: np.ndarray, plan: CropPlan) -> np.ndarray:
    """Carry out ``plan`` on ``pixels`` (H,W,3) uint8: the piece of the photo in which ``plan.quad`` lies."""
    x0, y0, x1, y1 = plan.box
    pixels = shrunk_piece(pixels, plan.box, plan.shrink) if plan.shrink > 1 else pixels[y0:y1, x0:x1]
    return pad_softly(pixels, plan.pad, plan.side) if plan.padded else pixels


def shrunk_piece(pixels: np.ndarray, box: tuple[int, int, int, int], shrink: int) -> np.ndarray:
    """The part ``box`` of ``pixels`` reduced by ``shrink`` with Lanczos; only that part of a large photo is touched."""
    height, width = pixels.shape[:2]
    full = max(int(np.rint(width / shrink)), 1), max(int(np.rint(height / shrink)), 1)
    margin = 4  # Lanczos reaches three pixels of the result
    x0, y0 = max(box[0] - margin, 0), max(box[1] - margin, 0)
    x1, y1 = min(box[2] + margin, full[0]), min(box[3] + margin, full[1])
    right = width if x1 == full[0] else min(x1 * shrink, width)
    bottom = height if y1 == full[1] else min(y1 * shrink, height)
    piece = Image.fromarray(pixels[y0 * shrink : bottom, x0 * shrink : right])
    small = np.asarray(piece.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS))
    return small[box[1] - y0 : box[3] - y0, box[0] - x0 : box[2] - x0]


def pad_softly(pixels: np.ndarray, pad: tuple[int, int, int, int], side: float) -> np.ndarray:
    """Continue ``pixels`` by reflection, blurred and fading to the median colour away from the photo, as FFHQ does."""
    left, top, right, bottom = pad
    image = np.pad(pixels.astype(np.float32), ((top, bottom), (left, right), (0, 0)), "reflect")
    height, width = image.shape[:2]
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    across = 1 - np.minimum(x / left, (width - 1 - x) / right)
    down = 1 - np.minimum(y / top, (height - 1 - y) / bottom)
    mask = np.maximum(across, down)[..., None]
    sigma = side * 0.02
    reach = 2 * int(4 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(image, (reach, reach), sigma, borderType=cv2.BORDER_REFLECT)
    image += (blurred - image) * np.clip(mask * 3 + 1, 0, 1)
    image += (np.median(image, axis=(0, 1)) - image) * np.clip(mask, 0, 1)
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


def warp_square(pixels: np.ndarray, quad: np.ndarray, size: int, fineness: int = 1) -> np.ndarray:
    """Sample the square ``quad`` (pixel centres at whole numbers) of ``pixels`` to (size,size,3), bilinear.

    ``fineness`` n samples n x n points for each pixel of the result and averages them.
    """
    n = size * fineness
    tl, bl, _, tr = quad
    step_x, step_y = (tr - tl) / n, (bl - tl) / n
    matrix = np.stack([step_x, step_y, tl + (step_x + step_y) / 2], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fine = cv2.warpAffine(np.ascontiguousarray(pixels), matrix, (n, n), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return fine if fineness == 1 else cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)


def crop(
    photo: Photo, quad: np.ndarray, size: int, *, detection: Detection | None = None, antialias: bool = True
) -> AlignedFace:
    """Cut the square ``quad`` (4,2; whole numbers are pixel edges) out of ``photo`` as a (size,size,3) face.

    Where the photo ends it goes on by reflection with blur, as in FFHQ. With ``antialias`` several points are averaged
    per pixel when the square is larger than the crop; without it the result is that of FFHQ's script at
    ``transform_size == output_size``. Raises BadRequest when the square is empty or lies outside the photo.
    """
    quad = np.asarray(quad, dtype=np.float64)
    if quad.shape != (4, 2) or not np.isfinite(quad).all() or quad_side(quad) < 1:
        raise BadRequest("The square of the face is empty; mark the five points of the face again.")
    if size < 1:
        raise BadRequest(f"A crop of {size} pixels cannot be made; give a size of at least 1.")
    plan = plan_crop(quad - 0.5, photo.size, size)
    fineness = min(max(int(np.ceil(plan.side / size - 0.05)), 1), 4) if antialias else 1
    image = warp_square(prepare(photo.pixels, plan), plan.quad, size, fineness)
    return AlignedFace(photo, image, CropTransform(quad, size), detection)
