"""The golden item of FFHQ's alignment: the plan of every crop, and its pixels."""

from __future__ import annotations

import numpy as np

from tests.golden.items import Adapter, Context, GoldenError, Outputs
from workbench.crop import CropPlan, crop, ffhq_quad, plan_crop, prepare, quad_side, warp_square
from workbench.face import Photo

SIZE = 256


def synthetic_photo(width: int, height: int, cell: int, flip: int) -> np.ndarray:
    """Two colour ramps and a chequerboard (height,width,3) uint8, mirrored in both directions when ``flip`` is 1."""
    x, y = np.arange(width)[None], np.arange(height)[:, None]
    across, down = (width - 1 - x, height - 1 - y) if flip else (x, y)
    red = 255 * across // (width - 1) + 0 * y
    green = 255 * down // (height - 1) + 0 * x
    blue = 40 + 175 * ((x // cell + y // cell) % 2)
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def aligned(photo: Photo, quad: np.ndarray, plan: CropPlan) -> np.ndarray:
    """The crop (256,256,3) with fractions cut off, as Pillow's warp does; ours rounds, so it may be one level higher.

    Raises GoldenError when the crop that the app makes is not that.
    """
    exact = warp_square(prepare(photo.pixels, plan).astype(np.float32), plan.quad, SIZE)
    # Landmarks are pixel centres at whole numbers, a crop's square has pixel edges there.
    ours = crop(photo, quad + 0.5, SIZE, antialias=False).image
    apart = float(np.abs(ours - exact).max())
    if apart > 1:
        raise GoldenError(f"the crop is up to {apart:.1f} grey levels away from its own exact warp")
    return np.floor(exact.astype(np.float64) + 1e-4)


def alignment(context: Context) -> Outputs:
    photo = Photo(synthetic_photo(*(int(value) for value in context.stored("picture"))))
    quads = [ffhq_quad(points) for points in context.stored("landmarks").astype(np.float64)]
    plans = [plan_crop(quad, photo.size, SIZE) for quad in quads]
    faces = [aligned(photo, quad, plan) for quad, plan in zip(quads, plans, strict=True)]
    return {
        "quad": np.stack(quads),
        "side": np.array([quad_side(quad) for quad in quads]),
        "shrink": np.array([plan.shrink for plan in plans]),
        "border": np.array([plan.border for plan in plans]),
        "crop": np.array([plan.box for plan in plans]),
        "cropped": np.array([plan.cropped for plan in plans]),
        "pad_needed": np.array([plan.pad_needed for plan in plans]),
        "padded": np.array([plan.padded for plan in plans]),
        "pad": np.array([plan.pad for plan in plans]),
        "quad_in_cropped": np.stack([plan.quad for plan in plans]),
        "mean": np.stack([face.mean((0, 1)) for face in faces]),
        "std": np.stack([face.std((0, 1)) for face in faces]),
        "aligned_64": np.stack([face.reshape(64, 4, 64, 4, 3).mean((1, 3)) for face in faces]),
    }


ADAPTERS: dict[str, Adapter] = {"alignment": alignment}
