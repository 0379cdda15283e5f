"""Finding faces in a photo, cutting the chosen one out as FFHQ does, and the ways to find them.

``find_faces`` and ``align`` take any backend with ``detect(pixels)``; ``paste_back`` puts an edited face back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from encoders.detector import FaceDetector, box_overlap, merge
from encoders.landmarks import LandmarkNet, unmirrored
from workbench.crop import crop, ffhq_quad, landmark_quad, quad_side, warp_square
from workbench.errors import BadRequest, MissingWeights, NoFace
from workbench.face import AlignedFace, CropTransform, Detection, Photo
from workbench.paste import paste_back

__all__ = [
    "Backend",
    "FaceAlignmentBackend",
    "StarterBackend",
    "align",
    "already_aligned",
    "crop",
    "detection_from_points",
    "ffhq_quad",
    "find_faces",
    "paste_back",
]

WORKING_SIDE = 640  # long side of the first look at a photo
COARSE_SIDES = (256, 128)  # cheap looks for faces that fill the picture
FINE_SIDE = 1600  # a third one, only when the first finds none or only small ones
SMALL_FACE = 34  # pixels of the first look below which the third is worth its time
MOST_FACES = 64
LEAST_FACE, SURE_FACE = 0.9, 0.99  # of the landmark network at its first and second look, from training photos
# Sizes and angles of the crops whose mean the points are.
SECOND_LOOK = ((1.0, 0.0), (1.1, 6.0), (0.92, -6.0))


class Backend(Protocol):
    """Anything that finds faces in ``pixels`` (H,W,3) uint8 RGB."""

    def detect(self, pixels: np.ndarray) -> Sequence[Detection]:
        """The faces, in any order; none is an empty sequence."""
        ...


class StarterBackend:
    """The project's own detector and landmark network, on ``device``. Works offline."""

    def __init__(
        self,
        detector: FaceDetector,
        landmarks: LandmarkNet,
        device: str | torch.device = "cpu",
        *,
        threshold: float = 0.6,
    ) -> None:
        self.device = torch.device(device)
        self.detector = detector.to(self.device).eval()
        self.landmarks = landmarks.to(self.device).eval()
        self.threshold = threshold

    @torch.inference_mode()
    def detect(self, pixels: np.ndarray) -> tuple[Detection, ...]:
        """Faces of ``pixels`` (H,W,3) uint8 RGB with both kinds of points, in pixels of the photo (edges whole)."""
        long = max(pixels.shape[:2])
        side = min(max(long, WORKING_SIDE // 2), WORKING_SIDE)
        working = resized(pixels, side)
        looks = [self.look(working, long / side)]
        looks += [self.look(resized(working, coarse), long / coarse) for coarse in COARSE_SIDES]
        scores, boxes, points = self.pool(looks)
        if long > 1.3 * side:
            sizes = (boxes[:, 2:] - boxes[:, :2]).amax(-1) * side / long
            if not len(sizes) or float(sizes.min()) < SMALL_FACE:
                fine = min(long, FINE_SIDE)
                looks.append(self.look(resized(pixels, fine), long / fine))
                scores, boxes, points = self.pool(looks)
        return self.finish(pixels, working, scores, boxes, points)

    def look(self, pixels: np.ndarray, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Candidates of one size of the photo: scores (N,), boxes (N,4), points (N,5,2) in the photo's pixels."""
        height, width = pixels.shape[:2]
        padded = np.full((-(-height // 32) * 32, -(-width // 32) * 32, 3), 127, np.uint8)
        padded[:height, :width] = pixels
        tensor = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        out = self.detector(tensor.contiguous(memory_format=torch.channels_last))
        scores = out.logits[0].sigmoid()
        keep = scores > 0.25
        keep[scores.argsort(descending=True)[2000:]] = False
        return tuple(t.float().cpu() for t in (scores[keep], out.boxes[0][keep] * scale, out.points[0][keep] * scale))  # type: ignore[return-value]

    def pool(self, looks: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """One guess per face from several looks, those below the threshold left out."""
        scores, boxes, points = merge(
            torch.cat([s for s, _, _ in looks]),
            torch.cat([b for _, b, _ in looks]),
            torch.cat([p for _, _, p in looks]),
        )
        keep = (scores > self.threshold).nonzero()[:MOST_FACES, 0]
        return scores[keep], boxes[keep], points[keep]

    def finish(
        self, pixels: np.ndarray, working: np.ndarray, scores: Tensor, boxes: Tensor, points: Tensor
    ) -> tuple[Detection, ...]:
        """Landmarks for each guess; guesses in which the landmark network sees no face are dropped.

        The network looks twice: the second crop is cut by the first look's points, which are better than the detector's.
        """
        five = points.double().cpu().numpy()
        place, faces = self.read(pixels, working, five)
        place, faces = self.read(pixels, working, place[:, 68:], faces > LEAST_FACE, SECOND_LOOK)
        found: list[Detection] = []
        spans = torch.from_numpy(np.concatenate([place.min(1), place.max(1)], axis=1))
        taken = spans[:0]
        for i, (own, face) in enumerate(zip(place, faces, strict=True)):
            score = float(np.sqrt(float(scores[i]) * face))
            # Two guesses on parts of one face end on the same points.
            if len(taken) and float(box_overlap(spans[i : i + 1], taken).max()) > 0.35:
                continue
            if face > SURE_FACE:
                taken = torch.cat([taken, spans[i : i + 1]])
                box = tuple(float(v) for v in boxes[i])
                found.append(describe(Detection(box, own[68:], own[:68], min(score, 1.0)), pixels.shape))  # type: ignore[arg-type]
        return tuple(found)

    def read(
        self,
        pixels: np.ndarray,
        working: np.ndarray,
        five: np.ndarray,
        wanted: np.ndarray | None = None,
        views: Sequence[tuple[float, float]] = ((1.0, 0.0),),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points (N,73,2) in the photo and the chance (N,) of a face for crops around five points (N,5,2).

        Both are means over ``views`` (size of the crop, degrees it is turned) and their mirror images.
        """
        size = self.landmarks.input_size
        place, faces = np.zeros((len(five), 73, 2)), np.zeros(len(five))
        crops, quads, kept = [], [], []
        for i, own in enumerate(five):
            if wanted is not None and not wanted[i]:
                continue
            try:
                quad = landmark_quad(own)
            except BadRequest:  # points on one spot: no face
                continue
            for scale, degrees in views:
                quads.append(turned(quad, scale, degrees))
                crops.append(view(pixels, working, quads[-1], size))
                kept.append(i)
        if not crops:
            return place, faces
        batch = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        # The mean of a crop and its mirror image: what the network does to one side only cancels out.
        both_sides = (batch, batch.flip(3))
        plain, mirror = (self.landmarks(v.contiguous(memory_format=torch.channels_last)) for v in both_sides)
        mirror = unmirrored(mirror)
        logits = ((plain.logit + mirror.logit) / 2).sigmoid().double().cpu().numpy()
        both = torch.cat([plain.points68 + mirror.points68, plain.points5 + mirror.points5], 1).double() / 2
        for i, quad, relative, chance in zip(kept, quads, both.cpu().numpy(), logits, strict=True):
            tl, bl, _, tr = quad
            place[i] += (tl + relative @ np.stack([tr - tl, bl - tl])) / len(views)
            faces[i] += chance / len(views)
        return place, faces


class FaceAlignmentBackend:
    """The ``face-alignment`` package (2D landmarks only) with its weights from ``files``; nothing is downloaded.

    ``files`` are those of ``FILES``, in any folders. Raises MissingWeights when one is absent, or the package is.
    """

    FILES = ("s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar")

    def __init__(self, files: Sequence[Path], device: str = "cpu") -> None:
        there = {path.name for path in files if path.is_file()}
        missing = [name for name in self.FILES if name not in there]
        if missing:
            raise MissingWeights(
                f"The alignment backend 'face-alignment' needs {' and '.join(missing)}; "
                "get them by 'python cli.py weights fetch', or choose the starter backend."
            )
        try:
            import face_alignment  # heavy and optional: loaded only for whoever chooses this backend
        except ImportError as error:
            raise MissingWeights(
                "The package 'face-alignment' is not installed; install it or choose the starter backend."
            ) from error
        before = torch.backends.cudnn.benchmark
        hub = torch.hub.get_dir()
        torch.hub.set_dir(str(seed_hub(files)))
        try:
            self.network = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D, device=str(device), compile=False, face_detector="sfd"
            )
        finally:
            torch.hub.set_dir(hub)
            torch.backends.cudnn.benchmark = before

    def detect(self, pixels: np.ndarray) -> tuple[Detection, ...]:
        """Faces of ``pixels`` (H,W,3) uint8 RGB with 68 points; photos are looked at with at most 1280 pixels."""
        scale = min(1.0, 1280 / max(pixels.shape[:2]))
        small = pixels if scale == 1 else resized(pixels, round(max(pixels.shape[:2]) * scale))
        scale = small.shape[1] / pixels.shape[1]
        boxes = self.network.face_detector.detect_from_image(np.ascontiguousarray(small[..., ::-1]))
        if boxes is None or not len(boxes):
            return ()
        points = self.network.get_landmarks_from_image(small, detected_faces=boxes)
        found = []
        for box, one in zip(boxes, points or (), strict=False):
            place = (np.asarray(one, np.float64)[:, :2] + 0.5) / scale
            corners = tuple(float(v) / scale for v in box[:4])
            found.append(describe(Detection(corners, five_of(place), place, float(box[4])), pixels.shape))  # type: ignore[arg-type]
        return tuple(found)


def seed_hub(files: Sequence[Path]) -> Path:
    """A folder beside ``files``, laid out as torch's hub cache, in which they are."""
    hub = files[0].parent / "hub"
    (hub / "checkpoints").mkdir(parents=True, exist_ok=True)
    for path in files:
        link = hub / "checkpoints" / path.name
        if not link.exists():
            link.unlink(missing_ok=True)  # a link whose file has moved
            link.symlink_to(path.resolve())
    return hub


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """``pixels`` with a long side of ``side`` pixels, averaged when it gets smaller."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale == 1:
        return pixels
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def view(pixels: np.ndarray, working: np.ndarray, quad: np.ndarray, size: int) -> np.ndarray:
    """The square ``quad`` of the photo at ``size`` pixels, from the reduced photo where that is fine enough."""
    scale = working.shape[1] / pixels.shape[1]
    if scale < 1 and quad_side(quad) * scale >= size:
        pixels, quad = working, quad * scale
    fineness = min(max(round(quad_side(quad) / size), 1), 8)
    return warp_square(pixels, quad - 0.5, size, fineness)


def turned(quad: np.ndarray, scale: float, degrees: float) -> np.ndarray:
    """``quad`` (4,2) scaled and turned about its centre."""
    centre, angle = quad.mean(0), np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return centre + scale * (quad - centre) @ turn


def five_of(points: np.ndarray) -> np.ndarray:
    """Five points of 68: eye centres, nose tip, mouth corners."""
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])


def describe(detection: Detection, shape: Sequence[int]) -> Detection:
    """``detection`` with the warnings that apply in a photo of ``shape`` (H, W, ...)."""
    x0, y0, x1, y1 = detection.box
    height, width = shape[:2]
    eye, other, nose, left, right = detection.points5
    across, notes = other - eye, []
    down = (left + right) / 2 - (eye + other) / 2
    if max(x1 - x0, y1 - y0) < 64:
        notes.append(f"This face is only {max(x1 - x0, y1 - y0):.0f} pixels high; the result will be soft.")
    span = float(np.hypot(*across))
    along = float((nose - eye) @ across) / max(span * span, 1e-9)
    if not 0.12 < along < 0.88 or span < 0.55 * float(np.hypot(*down)):
        notes.append("This face is seen from the side; edits of profiles are often poor.")
    if abs(np.degrees(np.arctan2(across[1], across[0]))) > 30:
        notes.append("This head is tilted strongly; check that the crop is upright.")
    if detection.score < 0.84:
        notes.append("This may not be a face, or it is hidden, dark or blurred.")
    if (
        x0 < -0.05 * (x1 - x0)
        or y0 < -0.05 * (y1 - y0)
        or x1 > width + 0.05 * (x1 - x0)
        or y1 > height + 0.05 * (y1 - y0)
    ):
        notes.append("Part of this face lies outside the photo; the missing part is made up.")
    return replace(detection, warnings=tuple(notes))


def detection_from_points(points: np.ndarray, photo: Photo) -> Detection:
    """A detection from 5 or 68 points (N,2) marked by hand, in pixels of ``photo``. Raises BadRequest."""
    points = np.asarray(points, dtype=np.float64)
    quad = ffhq_quad(points)
    if quad_side(quad) < 8:
        raise BadRequest("The marked points lie within a few pixels of each other; mark eyes, nose and mouth corners.")
    five = five_of(points) if len(points) == 68 else points
    if (five[1] - five[0]) @ (quad[3] - quad[0]) <= 0:
        raise BadRequest(
            "The points are in another order; mark left eye, right eye, nose, left and right mouth corner as seen."
        )
    low, high = quad.min(0), quad.max(0)
    middle, half = (low + high) / 2, 0.28 * quad_side(quad)
    box = tuple(float(v) for v in (*(middle - half), *(middle + half)))
    if np.any(five < 0) or np.any(five > photo.size):
        raise BadRequest(f"A marked point lies outside the photo of {photo.size[0]} x {photo.size[1]} pixels.")
    return describe(Detection(box, five, points if len(points) == 68 else None, 1.0), photo.pixels.shape)  # type: ignore[arg-type]


def find_faces(photo: Photo, backend: Backend) -> tuple[Detection, ...]:
    """All faces of ``photo``, the largest first. Raises NoFace."""
    found = sorted(backend.detect(photo.pixels), key=lambda d: -(d.box[2] - d.box[0]) * (d.box[3] - d.box[1]))
    if not found:
        raise NoFace(
            f"No face was found in '{photo.name}'; use a photo in which the face is larger and seen from the front, "
            "or a face that is cut out and aligned already."
        )
    return tuple(found)


def align(photo: Photo, backend: Backend, size: int, face: int | Detection = 0) -> AlignedFace:
    """The crop (size,size) of one face of ``photo``: number ``face``, 0 is the largest, or a detection found before.

    Raises NoFace, or BadRequest when there is no face of that number.
    """
    if isinstance(face, Detection):
        chosen = face
    else:
        found = find_faces(photo, backend)
        if not 0 <= face < len(found):
            raise BadRequest(
                f"'{photo.name}' has {len(found)} face(s); choose one from 0 to {len(found) - 1}, not {face}."
            )
        chosen = found[face]
    points = chosen.points5 if chosen.points68 is None else chosen.points68
    return crop(photo, ffhq_quad(points), size, detection=chosen)


def already_aligned(photo: Photo, size: int) -> AlignedFace:
    """``photo`` as the crop itself: its central square, resized with averaging to (size,size)."""
    width, height = photo.size
    side = min(width, height)
    x, y = (width - side) // 2, (height - side) // 2
    square = photo.pixels[y : y + side, x : x + side]
    if side != size:
        method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        square = cv2.resize(square, (size, size), interpolation=method)
    corners = np.array([[x, y], [x, y + side], [x + side, y + side], [x + side, y]], dtype=np.float64)
    return AlignedFace(photo, np.ascontiguousarray(square), CropTransform(corners, size))
