"""Composed training scenes for the detector: labelled photos pasted on clutter without faces, then spoiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.teachers import decode, held_out, photos

SURE = 0.5  # faces on which fewer views of the teacher agree are neither wanted nor punished
DROP, IGNORE, WANTED = 0, 1, 2


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """Compressed bytes of a photo with ``boxes`` (N,4), ``points`` (N,5,2) in its pixels and ``agreement`` (N,)."""

    data: bytes
    boxes: np.ndarray
    points: np.ndarray
    agreement: np.ndarray
    points68: np.ndarray


def read_photos(archive: Path, labels: Path, keep_held_out: bool = False) -> list[LabelledPhoto]:
    """The photos of a zip with their cached labels; people held out are left away, or the only ones kept."""
    with np.load(labels) as file:
        stored = {key: file[key] for key in file.files}
    index = {str(name): i for i, name in enumerate(stored["names"])}
    result = []
    for name, data in photos(archive):
        if name not in index or held_out(name) != keep_held_out:
            continue
        own = stored["owner"] == index[name]
        parts = (stored[key][own] for key in ("box", "points5", "agreement", "points68"))
        result.append(LabelledPhoto(data, *parts))
    return result


@dataclass(frozen=True, eq=False)
class Scene:
    """``image`` (S,S,3) uint8 with ``boxes`` (N,4), ``points`` (N,5,2) and ``state`` (N,) WANTED or IGNORE."""

    image: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    state: np.ndarray


class SceneMaker:
    """Makes endless scenes of side ``size`` from labelled photos; ``bank`` backgrounds are made once, then varied."""

    def __init__(
        self, sources: Sequence[Sequence[LabelledPhoto]], size: int, rng: np.random.Generator, bank: int = 0
    ) -> None:
        self.sources, self.size, self.rng = sources, size, rng
        self.bank: list[np.ndarray] = []
        self.bank = [self.background() for _ in range(bank)]

    def pick(self) -> LabelledPhoto:
        source = self.sources[0 if self.rng.random() < 0.6 else int(self.rng.integers(len(self.sources)))]
        return source[int(self.rng.integers(len(source)))]

    def varied(self) -> np.ndarray:
        """One of the bank's backgrounds: mirrored, turned, zoomed, colours swapped."""
        rng, s = self.rng, self.size
        image = self.bank[rng.integers(len(self.bank))]
        side = int(rng.uniform(0.4, 1) * s)
        x, y = rng.integers(0, s - side + 1, 2)
        image = cv2.resize(image[y : y + side, x : x + side], (s, s))
        image = np.rot90(image, int(rng.integers(4)))[:, :: int(rng.choice([-1, 1]))]
        return np.ascontiguousarray(image[..., rng.permutation(3)] if rng.random() < 0.5 else image)

    def texture(self) -> np.ndarray:
        """Noise of several octaves, stripes, discs, lines and letters: structure that is not a face."""
        rng, s = self.rng, self.size
        image = np.zeros((s, s, 3), np.float32) + rng.uniform(0, 255, 3).astype(np.float32)
        for octave in (2, 4, 8, 16, 32, 64):
            if rng.random() < 0.6:
                noise = rng.normal(0, rng.uniform(5, 60), (octave, octave, 1 if rng.random() < 0.6 else 3))
                up = cv2.resize(noise.astype(np.float32), (s, s), interpolation=cv2.INTER_CUBIC)
                image += up[..., None] if up.ndim == 2 else up
        canvas = np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))
        for _ in range(rng.integers(0, 14)):
            colour = tuple(int(c) for c in rng.integers(0, 255, 3))
            a, b = (tuple(int(v) for v in rng.integers(0, s, 2)) for _ in range(2))
            thick = int(rng.integers(1, 8))
            kind = rng.integers(5)
            if kind == 0:
                cv2.line(canvas, a, b, colour, thick)
            elif kind == 1:
                cv2.circle(canvas, a, int(rng.integers(2, s // 3)), colour, thick if rng.random() < 0.5 else -1)
            elif kind == 2:
                axes = tuple(int(v) for v in rng.integers(2, s // 4, 2))
                cv2.ellipse(
                    canvas, a, axes, float(rng.uniform(0, 180)), 0, 360, colour, thick if rng.random() < 0.5 else -1
                )
            elif kind == 3:
                cv2.rectangle(canvas, a, b, colour, thick if rng.random() < 0.5 else -1)
            else:
                text = "".join(chr(c) for c in rng.integers(48, 123, rng.integers(1, 8)))
                cv2.putText(canvas, text, a, cv2.FONT_HERSHEY_SIMPLEX, float(rng.uniform(0.4, 3)), colour, thick)
        return canvas

    def faceless_patch(self) -> np.ndarray:
        """A piece of a photo that touches no face, or a face cut into squares and shuffled."""
        rng = self.rng
        photo = self.pick()
        image = decode(photo.data)
        h, w = image.shape[:2]
        if rng.random() < 0.2 and len(photo.boxes):
            x0, y0, x1, y1 = np.clip(photo.boxes[0], 0, [w, h, w, h]).astype(int)
            face = cv2.resize(image[y0 : max(y1, y0 + 8), x0 : max(x1, x0 + 8)], (96, 96))
            n = int(rng.choice([3, 4, 6]))
            tiles = face.reshape(n, 96 // n, n, 96 // n, 3).swapaxes(1, 2).reshape(n * n, 96 // n, 96 // n, 3)
            tiles = tiles[rng.permutation(n * n)]
            return np.ascontiguousarray(tiles.reshape(n, n, 96 // n, 96 // n, 3).swapaxes(1, 2).reshape(96, 96, 3))
        for _ in range(12):
            pw, ph = (int(rng.uniform(0.2, 0.6) * v) for v in (w, h))
            x, y = int(rng.integers(0, w - pw)), int(rng.integers(0, h - ph))
            boxes = photo.boxes
            wide = 0.12 * (boxes[:, 2:] - boxes[:, :2])
            low, high = boxes[:, :2] - wide, boxes[:, 2:] + wide
            if not np.any((low[:, 0] < x + pw) & (high[:, 0] > x) & (low[:, 1] < y + ph) & (high[:, 1] > y)):
                return image[y : y + ph, x : x + pw]
        return self.texture()

    def background(self) -> np.ndarray:
        rng, s = self.rng, self.size
        canvas = self.texture()
        if rng.random() < 0.3:
            return canvas
        for _ in range(int(rng.choice([1, 2, 4, 8, 14]))):
            patch = self.faceless_patch()
            side = int(rng.uniform(0.2, 1.3) * s)
            patch = cv2.resize(patch, (side, max(8, int(side * patch.shape[0] / patch.shape[1]))))
            if rng.random() < 0.3:
                patch = np.rot90(patch, int(rng.integers(4)))
            x, y = int(rng.integers(-side // 2, s)), int(rng.integers(-side // 2, s))
            part = patch[max(-y, 0) : s - y, max(-x, 0) : s - x]
            canvas[max(y, 0) : max(y, 0) + part.shape[0], max(x, 0) : max(x, 0) + part.shape[1]] = part
        return canvas

    def scene(self) -> Scene:
        """One scene: background, zero to eight photos, occluders, light and lens."""
        rng, s = self.rng, self.size
        canvas = self.varied() if self.bank else self.background()
        owner = np.zeros((s, s), np.int16)
        boxes: list[np.ndarray] = []
        points: list[np.ndarray] = []
        state: list[int] = []
        owners: list[int] = []
        many = int(rng.choice([0, 1, 2, 3, 5, 8], p=[0.12, 0.38, 0.2, 0.12, 0.1, 0.08]))
        for n in range(1, many + 1):
            photo = self.pick()
            if not len(photo.boxes):
                continue
            image = decode(photo.data)
            h, w = image.shape[:2]
            main = photo.boxes[0]
            face = float(np.sqrt(np.prod(main[2:] - main[:2])))
            top = 0.95 * s if many == 1 else 0.9 * s / np.sqrt(many)
            want = float(np.exp(rng.uniform(np.log(12), np.log(top))))
            scale, angle = want / face, float(rng.choice([rng.normal(0, 8), rng.uniform(-45, 45)]))
            flip = rng.random() < 0.5
            centre = (main[:2] + main[2:]) / 2
            place = (
                rng.uniform(0.05, 0.95, 2) * s
                if many > 1
                else s / 2 + rng.uniform(-0.5, 0.5, 2) * max(s - want, 0.3 * s)
            )
            if image.shape[0] * scale < 0.5 * image.shape[0]:
                k = max(scale * 1.5, 0.02)
                image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
            k = image.shape[1] / w
            turn = np.deg2rad(angle)
            a = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            if flip:
                a = a @ np.diag([-1.0, 1.0])
            shift = place - a @ centre
            matrix = np.concatenate([a, shift[:, None]], 1)
            matrix_pixels = np.concatenate([a / k, (shift + a @ [0.5, 0.5] / k - 0.5)[:, None]], 1)
            warped = cv2.warpAffine(image, matrix_pixels, (s, s), flags=cv2.INTER_LINEAR)
            outline = np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ a.T + shift
            mask = np.zeros((s, s), np.uint8)
            cv2.fillConvexPoly(mask, outline.round().astype(np.int32), 255)
            mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
            if rng.random() < 0.3:
                mask = cv2.blur(mask, (int(rng.integers(2, 9)),) * 2)
                alpha = mask[..., None].astype(np.float32) / 255
                canvas = (canvas * (1 - alpha) + warped * alpha).astype(np.uint8)
            else:
                canvas[mask > 0] = warped[mask > 0]
            owner[mask > 127] = n
            for box, five, agreement in zip(photo.boxes, photo.points, photo.agreement, strict=True):
                middle = matrix[:, :2] @ ((box[:2] + box[2:]) / 2) + shift
                half = (box[2:] - box[:2]) / 2 * scale
                c, d = abs(np.cos(turn)), abs(np.sin(turn))
                half = np.sqrt([(half[0] * c) ** 2 + (half[1] * d) ** 2, (half[0] * d) ** 2 + (half[1] * c) ** 2])
                moved = five @ a.T + shift
                boxes.append(np.concatenate([middle - half, middle + half]))
                points.append(moved[[1, 0, 2, 4, 3]] if flip else moved)
                state.append(WANTED if agreement >= SURE else IGNORE)
                owners.append(n)
        for _ in range(int(rng.choice([0, 0, 1, 3])) if boxes else 0):
            self.occlude(canvas, owner, boxes[int(rng.integers(len(boxes)))])
        for i, box in enumerate(boxes):
            low, high = np.clip(box[:2], 0, s).astype(int), np.clip(np.ceil(box[2:]), 0, s).astype(int)
            area = max(np.prod(box[2:] - box[:2]), 1.0)
            seen = float((owner[low[1] : high[1], low[0] : high[0]] == owners[i]).sum()) / area
            if seen < 0.15:
                state[i] = DROP
            elif seen < 0.62 or np.sqrt(area) < 10:
                state[i] = IGNORE
        keep = [i for i, k in enumerate(state) if k != DROP]
        return Scene(
            spoil(canvas, rng),
            np.array([boxes[i] for i in keep], np.float32).reshape(-1, 4),
            np.array([points[i] for i in keep], np.float32).reshape(-1, 5, 2),
            np.array([state[i] for i in keep], np.int64),
        )

    def occlude(self, canvas: np.ndarray, owner: np.ndarray, box: np.ndarray) -> None:
        """Hide part of a face behind a rectangle or disc of plain colour or clutter, in place."""
        rng, s = self.rng, self.size
        side = (box[2:] - box[:2]) * rng.uniform(0.15, 0.55, 2)
        middle = box[:2] + (box[2:] - box[:2]) * rng.uniform(-0.1, 1.1, 2)
        mask = np.zeros((s, s), np.uint8)
        low, high = ((middle + k * side / 2).round().astype(int) for k in (-1, 1))
        if rng.random() < 0.5:
            cv2.rectangle(mask, tuple(low.tolist()), tuple(high.tolist()), 1, -1)
        else:
            axes = tuple(np.maximum(side / 2, 1).astype(int).tolist())
            cv2.ellipse(mask, tuple(middle.astype(int).tolist()), axes, 0, 0, 360, 1, -1)
        fill = (
            self.varied()
            if self.bank and rng.random() < 0.5
            else np.broadcast_to(rng.integers(0, 255, 3), canvas.shape)
        )
        canvas[mask > 0] = fill[mask > 0]
        owner[mask > 0] = -1


def spoil(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, colour, grey, blur, noise and JPEG, each sometimes."""
    x = image.astype(np.float32)
    if rng.random() < 0.6:
        x = 255 * (x / 255) ** float(np.exp(rng.normal(0, 0.4)))
        mean = x.mean()
        x = (x - mean) * rng.uniform(0.5, 1.3) + mean * rng.uniform(0.6, 1.25)
    if rng.random() < 0.12:
        x = x * rng.uniform(0.08, 0.4)
    if rng.random() < 0.3:
        x = x * rng.uniform(0.7, 1.3, 3).astype(np.float32)
    if rng.random() < 0.2:
        x = np.repeat(x @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=2)
    if rng.random() < 0.2:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.4, 2.0)))
    elif rng.random() < 0.07:
        kernel = np.zeros((9, 9), np.float32)
        length = int(rng.integers(1, 5))
        kernel[4, 4 - length : 5 + length] = 1 / (2 * length + 1)
        x = cv2.filter2D(x, -1, kernel if rng.random() < 0.5 else kernel.T)
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(1, 14), (*x.shape[:2], 1 if rng.random() < 0.5 else 3)).astype(np.float32)
    result = np.clip(x, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))]
        packed = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
        return result if packed is None else packed
    return result
