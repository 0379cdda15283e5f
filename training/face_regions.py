"""First guesses of face parsing on aligned faces without any labelled mask.

68 landmarks give brows, eyes, nose, mouth and the face's outline as polygons. Hair, skin, background and what is below the
face are told apart by one palette per picture (colour histograms under position priors, fitted by expectation
maximisation: the idea of probabilistic index maps, Jojic and Caspi 2004), with hair palettes shared between
faces of one labelled hair colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.landmarks import LandmarkNet
from encoders.parser import FACE_CLASSES

COARSE = ("background", "skin", "hair", "belowface")
IGNORED = 255
HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
CROP = (0.125, 0.145, 0.75)
"""Left, top and side of the landmark network's square in an FFHQ-aligned picture."""


@torch.inference_mode()
def landmarks(network: LandmarkNet, images: Tensor) -> np.ndarray:
    """(B,68,2) x, y in [0, 1] of aligned ``images`` (B,3,S,S) in [-1, 1]."""
    size = images.shape[2]
    left, top, side = CROP
    rows = slice(round(top * size), round((top + side) * size))
    part = images[:, :, rows, round(left * size) : round((left + side) * size)]
    small = F.interpolate(part, (network.input_size,) * 2, mode="bilinear", antialias=True, align_corners=False)
    return (network(small).points68 * side + torch.tensor([left, top])).cpu().numpy()


def filled(shape: int, *polygons: np.ndarray) -> np.ndarray:
    """(shape,shape) bool: inside any of ``polygons`` (N,2), coordinates in [0, 1]."""
    canvas = np.zeros((shape, shape), np.uint8)
    for polygon in polygons:
        points = np.round((polygon * shape - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [points], 1, lineType=cv2.LINE_8, shift=4)
    return canvas.astype(bool)


def grown(polygon: np.ndarray, factor: float, rise: float = 0.0) -> np.ndarray:
    """``polygon`` enlarged about its centre; ``rise`` stretches it vertically by that much more."""
    centre = polygon.mean(0)
    return centre + (polygon - centre) * np.array([factor, factor + rise])


def brow(points: np.ndarray) -> np.ndarray:
    """A band around the five points of an eyebrow, which the landmark network puts near its upper edge.

    Fitted to the brows of 30 faces that were drawn by hand (``data/parser-masks.json``, even seeds).
    """
    wide = np.hypot(*(points[-1] - points[0]))
    up, down = points - np.array([0, 0.04 * wide]), points + np.array([0, 0.12 * wide])
    return np.concatenate([up, down[::-1]])


def nose(points: np.ndarray) -> np.ndarray:
    """Outline of the nose from its nine points: a narrow bridge that widens to the nostrils."""
    top, base = points[27], points[31:36]
    wide = base[-1] - base[0]
    left, right = points[29] - 0.32 * wide, points[29] + 0.32 * wide
    sides = [top - 0.16 * wide, left, base[0] - 0.22 * wide]
    other = [base[-1] + 0.22 * wide, right, top + 0.16 * wide]
    low = base + np.array([0, 0.12]) * np.hypot(*wide)
    return np.array([*sides, *low, *other])


def parts(points: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Masks (size,size) bool of brows, eyes, nose and mouth from the points (68,2) of one face."""
    return {
        "nose": filled(size, nose(points)),
        "mouth": filled(size, grown(points[48:60], 1.06, 0.06)),
        "eyes": filled(size, grown(points[36:42], 1.12, 0.25), grown(points[42:48], 1.12, 0.25)),
        "eyebrows": filled(size, brow(points[17:22]), brow(points[22:27])),
    }


def forehead(points: np.ndarray, height: float) -> np.ndarray:
    """Outline of the face: the jaw, closed by half an ellipse whose top is ``height`` noses above the brows."""
    left, right = points[0], points[16]
    centre, half = (left + right) / 2, (right - left) / 2
    brows = points[17:27].mean(0)
    up = brows - points[30:36].mean(0)
    top = brows + height * up - centre
    angles = np.linspace(0, np.pi, 17)
    arc = centre + np.cos(angles)[:, None] * half + np.sin(angles)[:, None] * top
    return np.concatenate([points[:17], arc])


def distance(mask: np.ndarray) -> np.ndarray:
    """Distance in sides of the picture to ``mask``, negative inside."""
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    return (outside - inside) / mask.shape[0]


def coarse_prior(points: np.ndarray, size: int) -> np.ndarray:
    """(4,size,size) position prior of COARSE for one face, from its points alone."""
    core = filled(size, np.concatenate([points[:17], points[17:27][::-1]]))
    low, high = filled(size, forehead(points, 0.55)), filled(size, forehead(points, 1.15))
    y, x = np.mgrid[:size, :size] / size
    chin, middle = points[8, 1], points[8, 0]
    width = abs(points[16, 0] - points[0, 0])
    away = distance(high)
    beneath = 1 / (1 + np.exp(-(y - np.interp(x, points[2:15, 0], points[2:15, 1]) + 0.01) / 0.03))
    sides = 1 / (1 + np.exp((chin - y) / 0.04))
    beneath = np.where(np.abs(x - middle) < 0.42 * width, beneath, sides)
    near = np.exp(-np.clip(away, 0, None) / 0.16)
    hair = 0.62 * near + 0.06
    cheek = np.exp(-np.clip(away, 0, None) / 0.02) * (y > points[17:27, 1].mean()) * (y < points[48:60, 1].mean())
    prior = np.stack([1 - hair, 0.03 + 0.3 * cheek, hair, np.full_like(hair, 0.02)])
    under = np.stack([0.12 + 0 * hair, 0.02 + 0 * hair, 0.30 * near + 0.05, 0.62 + 0.3 * (1 - near)])
    prior = prior * (1 - beneath) + under * beneath
    zones = ((high, (0.02, 0.35, 0.62, 0.01)), (low, (0.01, 0.8, 0.18, 0.01)), (core, (0.004, 0.97, 0.02, 0.006)))
    for zone, values in zones:
        prior = np.where(zone, np.array(values)[:, None, None], prior)
    return prior / prior.sum(0)


def guided(guide: Tensor, values: Tensor, radius: int, epsilon: float) -> Tensor:
    """Guided filter (He et al. 2010) of ``values`` (B,C,H,W) by a grey ``guide`` (B,1,H,W)."""

    def box(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2 * radius + 1, 1, radius, count_include_pad=False)

    mean, level = box(guide), box(values)
    spread = box(guide * guide) - mean * mean
    slope = (box(guide * values) - mean * level) / (spread + epsilon)
    return box(slope) * guide + box(level - slope * mean)


@dataclass(frozen=True)
class Palette:
    """Settings of the colour model: ``bins`` per axis of Lab, how much position and the shared hair palette count."""

    bins: int = 12
    rounds: int = 8
    position: float = 0.7
    colour: float = 1.2
    shared: float = 0.15


def colour_bins(images: np.ndarray, bins: int) -> Tensor:
    """(B,H*W) index into bins^3 of the Lab colours of ``images`` (B,H,W,3) uint8."""
    lab = np.stack([cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_RGB2LAB) for i in images]).astype(np.float32)
    # a and b of faces fill the middle of their range only.
    scaled = np.stack([lab[..., 0] / 256, (lab[..., 1] - 128) / 96 + 0.5, (lab[..., 2] - 128) / 96 + 0.5], -1)
    index = np.clip(scaled * bins, 0, bins - 1).astype(np.int64)
    return torch.from_numpy((index[..., 0] * bins + index[..., 1]) * bins + index[..., 2]).flatten(1)


def histograms(index: Tensor, weight: Tensor, bins: int) -> Tensor:
    """Blurred colour histograms (B,C,bins^3), each summing to 1, of pixels ``index`` (B,P) weighted by ``weight`` (B,C,P)."""
    made = torch.zeros(*weight.shape[:2], bins**3)
    made.scatter_add_(2, index[:, None].expand(-1, weight.shape[1], -1), weight)
    cube = made.view(-1, 1, bins, bins, bins)
    kernel = torch.tensor([0.25, 0.5, 0.25])
    for axis in (2, 3, 4):
        shape = [1] * 5
        shape[axis] = 3
        pad = [0, 0, 0]
        pad[axis - 2] = 1
        cube = F.conv3d(cube, kernel.view(shape), padding=pad)
    made = cube.view_as(made)
    return made / made.sum(2, keepdim=True).clamp_min(1e-6)


def coarse_posterior(images: np.ndarray, prior: Tensor, group: np.ndarray, palette: Palette) -> Tensor:
    """(B,4,h,w) probability of COARSE in ``images`` (B,h,w,3) uint8, from position ``prior`` (B,4,h,w).

    ``group`` (B,) hair colour of each face, -1 unknown; faces of one group share part of their hair palette.
    """
    index = colour_bins(images, palette.bins)
    side = images.shape[1]
    grey = torch.from_numpy(images.astype(np.float32).mean(-1) / 255)[:, None]
    log_prior = palette.position * prior.clamp_min(1e-5).log()
    now = prior
    for _ in range(palette.rounds):
        colours = histograms(index, now.flatten(2), palette.bins)
        hair = COARSE.index("hair")
        for value in np.unique(group[group >= 0]):
            mine = torch.from_numpy(np.flatnonzero(group == value))
            common = colours[mine, hair].mean(0)
            colours[mine, hair] = (1 - palette.shared) * colours[mine, hair] + palette.shared * common
        likely = colours.gather(2, index[:, None].expand(-1, 4, -1)).view(len(images), 4, side, side)
        now = (log_prior + palette.colour * (likely + 1e-5).log()).softmax(1)
        now = guided(grey, now, max(1, side // 32), 1e-3).clamp_min(1e-4)
        now = now / now.sum(1, keepdim=True)
    return now


def hair_group(labels: np.ndarray) -> np.ndarray:
    """Hair colour (B,) of faces by CelebA's ``labels`` (B,40): index into HAIR_COLOURS, -1 where none or several."""
    columns = labels[:, [CELEBA_ATTRIBUTES.index(name) for name in HAIR_COLOURS]]
    return np.where(columns.sum(1) == 1, columns.argmax(1), -1)


def assemble(coarse: np.ndarray, points: np.ndarray, sure: float = 0.65) -> np.ndarray:
    """Class map (S,S) uint8 over FACE_CLASSES of one face from ``coarse`` (4,S,S) and its points; 255 where unsure."""
    size = coarse.shape[1]
    best = coarse.argmax(0)
    out = np.array([FACE_CLASSES.index(name) for name in COARSE], np.uint8)[best]
    outline = filled(size, forehead(points, 1.15))
    y = np.mgrid[:size, :size][0] / size
    skin, ears = FACE_CLASSES.index("skin"), FACE_CLASSES.index("ears")
    beside = (y > points[17:27, 1].mean() - 0.02) & (y < points[60:68, 1].mean()) & ~outline
    out[(out == skin) & beside] = ears
    low = (out == skin) & ~outline & ~beside & (y > points[60:68, 1].mean())
    out[low] = FACE_CLASSES.index("belowface")
    out[coarse.max(0) < sure] = IGNORED
    for name, mask in parts(points, size).items():
        # A fringe may cover the brows; everything else of the face lies in front of hair.
        out[mask & ((best != COARSE.index("hair")) | (name != "eyebrows"))] = FACE_CLASSES.index(name)
    return out
