"""The app on the tiny family. Finding faces is played, because the tiny family has no detector: the rest is real."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

import ui.engine
import ui.steps
from ui import state
from workbench.engine import Engine
from workbench.errors import NoFace
from workbench.face import Detection, Photo

APP = Path(__file__).resolve().parents[2] / "app.py"
EDIT = "pages/semantic_edit.py"
ALIGN = "pages/align_and_project.py"


def find_played(photo: Photo) -> tuple[Detection, ...]:
    """Wide photos have two faces, flat ones none, all others one in the middle."""
    width, height = photo.size
    if photo.pixels.std() < 2:
        raise NoFace(
            f"No face was found in '{photo.name}'; use a photo with a larger face, or place five points by hand."
        )
    centres = [0.3, 0.75] if width > 1.5 * height else [0.5]
    found = []
    for at in centres:
        x, y, unit = width * at, height * 0.5, height * 0.12
        offsets = np.array([(-1, -1), (1, -1), (0, 0), (-0.7, 1), (0.7, 1)])
        points = np.array([x, y]) + unit * offsets
        found.append(Detection((x - 2 * unit, y - 2 * unit, x + 2 * unit, y + 2 * unit), points, None, 0.9))
    return tuple(found)


@pytest.fixture
def machine(tiny_manifest: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A real engine on the tiny family, used by the app in place of the starter family's."""
    made = Engine("starter", "cpu", family_file=tiny_manifest)
    monkeypatch.setattr(made, "detect", find_played)
    # A script moves sliders faster than a hand; each of its moves is to be a step.
    monkeypatch.setattr(ui.steps, "ONE_MOVE", 0.0)
    monkeypatch.setattr(ui.engine, "build", lambda family, device, precision="float32": made)
    return made


@pytest.fixture
def app(machine: Engine, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The app as a first-time visitor finds it.

    A server runs the router every time once ``st.navigation`` was called; AppTest forgets that between two runs.
    """
    begin = PagesManager.__init__

    def routed(self: PagesManager, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", routed)
    return AppTest.from_file(str(APP), default_timeout=60).run()


@pytest.fixture
def photo_bytes() -> Callable[..., bytes]:
    """Makes the file of a generated pattern, so that no photo of a person is needed."""

    def make(width: int = 120, height: int = 100, *, flat: bool = False, seed: int = 0, form: str = "PNG") -> bytes:
        rng = np.random.default_rng(seed)
        small = rng.integers(30, 220, (6, 6, 3), dtype=np.uint8)
        pixels = np.full((height, width, 3), 90, np.uint8)
        if not flat:
            pixels = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form)
        return buffer.getvalue()

    return make


def calm(app: AppTest) -> AppTest:
    """The app, which must have run without an exception."""
    assert not app.exception, [e.value for e in app.exception]
    return app


def work(app: AppTest) -> state.Workspace:
    """What the visitor works on."""
    found = app.session_state[state.WORKSPACE]
    assert isinstance(found, state.Workspace)
    return found


def errors(app: AppTest) -> str:
    """All sentences shown as errors."""
    return " ".join(element.value for element in app.error)


def texts(app: AppTest) -> str:
    """All that the page and the sidebar say in HTML."""
    return " ".join(element.proto.body for element in app.get("html"))


def upload(app: AppTest, data: bytes, name: str = "photo.png", mime: str = "image/png") -> AppTest:
    """Bring a file through the uploader and let the page work on it."""
    app.file_uploader(key="upload").upload(name, data, mime)
    return app.run()
