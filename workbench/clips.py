"""Moving pictures: frames to GIF and MP4, frames out of a video one at a time, and the sound that belongs to it.

Both carry the same XMP packet as a picture: that they are AI-edited, and the request.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from workbench.errors import BadImage, CannotWrite
from workbench.export import Provenance, request_in, write, xmp_packet
from workbench.marks import gif_with, mark_mp4, mp4_packet


def gif_bytes(frames: Sequence[np.ndarray], seconds: float, provenance: Provenance) -> bytes:
    """``frames`` (H,W,3) uint8 as an endless GIF in which each is shown for ``seconds``, with XMP and request."""
    pictures = [Image.fromarray(frame) for frame in frames]
    buffer = BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=max(round(1000 * seconds), 20), loop=0
    )
    return gif_with(buffer.getvalue(), xmp_packet(provenance))


def write_gif(path: Path, frames: Sequence[np.ndarray], seconds: float, provenance: Provenance) -> None:
    """``gif_bytes`` to ``path``. Raises CannotWrite."""
    write(path, gif_bytes(frames, seconds, provenance))


class FrameWriter:
    """Writes frames of one size as MPEG-4 to ``path``; odd sides get one more row or column, which the codec needs."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        self.path, self.size = path, size
        self.silent: str | None = None
        self._even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, self._even)
        if not self._writer.isOpened():
            raise CannotWrite(f"'{path}' could not be opened as a video; choose another place for the result.")

    def add(self, frame: np.ndarray) -> None:
        """Append ``frame`` (H,W,3) uint8 RGB."""
        right, below = self._even[0] - self.size[0], self._even[1] - self.size[1]
        if right or below:
            frame = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()


@contextmanager
def mp4(
    path: Path, size: tuple[int, int], rate: float, provenance: Provenance, *, sound: Path | None = None
) -> Iterator[FrameWriter]:
    """A writer whose file appears at ``path`` only when all went well, with XMP and request. ``size`` is (width, height).

    ``sound`` is a clip whose sound is put in; where that cannot be done, ``silent`` of the writer says why. Raises CannotWrite.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part.mp4")
        os.close(handle)
    except OSError as error:
        raise CannotWrite(f"'{path}' could not be written ({error.strerror}); choose another place.") from error
    temporary = Path(name)
    try:
        writer = FrameWriter(temporary, size, rate)
        try:
            yield writer
        finally:
            writer.close()
        if sound is not None:
            writer.silent = keep_sound(temporary, sound)
        try:
            mark_mp4(temporary, xmp_packet(provenance))
        except (OSError, ValueError) as error:
            raise CannotWrite(f"'{path}' could not be marked as AI-edited ({error}); choose another place.") from error
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_mp4(path: Path, frames: Sequence[np.ndarray], rate: float, provenance: Provenance) -> None:
    """``frames`` (H,W,3) uint8 of one size as MPEG-4. Raises CannotWrite."""
    height, width = frames[0].shape[:2]
    with mp4(path, (width, height), rate, provenance) as writer:
        for frame in frames:
            writer.add(frame)


@dataclass(frozen=True)
class Video:
    """A video file: size (width, height), frames per second, and how many frames its header promises (0: it does not).

    ``request`` is the JSON of the request that a clip of ours carries.
    """

    path: Path
    size: tuple[int, int]
    rate: float
    promised: int
    request: str | None = None

    def frames(self) -> Iterator[np.ndarray]:
        """The frames (H,W,3) uint8 RGB, upright, one at a time; nothing is kept."""
        capture = cv2.VideoCapture(str(self.path))
        try:
            while True:
                good, frame = capture.read()
                if not good:
                    return
                yield np.ascontiguousarray(frame[..., ::-1])
        finally:
            capture.release()


def open_video(path: Path) -> Video:
    """Look at the video ``path``. Raises BadImage when no frame can be read."""
    if not path.is_file():
        raise BadImage(f"The video '{path}' is not there; check its name.")
    capture = cv2.VideoCapture(str(path))
    try:
        good, frame = capture.read()
        rate, promised = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    if not good or (promised <= 1 and _is_picture(path)):
        raise BadImage(f"'{path}' is no video that can be read; convert it to MP4 (H.264 or MPEG-4).")
    if not 0 < rate <= 1000:
        rate = 25.0
    return Video(path, (frame.shape[1], frame.shape[0]), rate, max(promised, 0), request_in(mp4_packet(path)))


def _is_picture(path: Path) -> bool:
    """Whether the file is one still picture, which OpenCV would read as a clip of a single frame."""
    try:
        with Image.open(path) as picture:
            return getattr(picture, "n_frames", 1) == 1
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def keep_sound(silent: Path, source: Path) -> str | None:
    """Put the sound of ``source`` into the video ``silent``, in place; returns why not, when it could not be done."""
    program = shutil.which("ffmpeg")
    if program is None:
        return "The sound was left out: ffmpeg is not installed."
    together = silent.with_name(f".{silent.name}.sound.mp4")
    begin = [program, "-y", "-loglevel", "error", "-i", str(silent), "-i", str(source), "-map", "0:v", "-map", "1:a"]
    try:
        for codec in ("copy", "aac"):
            command = [*begin, "-c:v", "copy", "-c:a", codec, str(together)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode == 0 and together.is_file() and together.stat().st_size:
                os.replace(together, silent)
                return None
        if "matches no streams" in done.stderr:
            return "The clip has no sound."
        return f"The sound was left out: ffmpeg said '{done.stderr.strip()[:200]}'."
    except OSError as error:
        return f"The sound was left out: ffmpeg could not be started ({error.strerror})."
    finally:
        together.unlink(missing_ok=True)
