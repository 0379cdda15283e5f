"""Masked edit: choosing, the part shown, the job and its queue, masks of one's own, going on, forgetting."""

from __future__ import annotations

import inspect
import io
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from data import container
from encoders.compact_parser import CompactParser
from maskfacegan import presets
from maskfacegan.controls import spec
from tests.pages.conftest import ALIGN, calm, errors, texts, upload, work
from tests.tiny_family import SIZE, write_family
from ui import brush, export, masked, masked_state, work_queue
from ui.viewer import ViewOptions, view
from workbench.editor import Cancel, EditRequest, Progress
from workbench.errors import BadRequest, Cancelled
from workbench.export import read_request
from workbench.face import Face
from workbench.jobs import Job

PAGE, LONG = "pages/masked_edit.py", 60.0
START, CANCEL = "masked_start", "masked_cancel"


@pytest.fixture(scope="module")
def tiny_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny family with a random parser whose classes come in patches."""
    folder = tmp_path_factory.mktemp("masked-page")
    path = write_family(folder)
    arch = {"widths": [4, 8], "neck": [8], "input_size": SIZE}
    torch.manual_seed(3)
    state = CompactParser(**arch).state_dict()
    state["place"] = 3 * torch.randn_like(state["place"])
    state["head.0.weight"] = 6 * state["head.0.weight"]
    container.save(folder / "tiny" / "parser.safetensors", state, {"kind": "parser", "arch": arch, "licence": "none"})
    path.write_text(path.read_text() + '\n[starter.files.parser]\nfile = "parser.safetensors"\nsize = 0\nsha256 = ""\n')
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    masked_state.paces.clear()


@pytest.fixture
def page(app: AppTest) -> AppTest:
    return calm(app.switch_page(PAGE).run())


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit that takes long enough to be stopped."""
    slow = replace(presets.FAST, edit=100_000, patience=0.0)
    monkeypatch.setitem(presets.PRESETS, "fast", slow)  # type: ignore[arg-type]


def face_of(app: AppTest) -> Face:
    found = work(app).face
    assert found is not None
    return found


def settings(app: AppTest) -> masked_state.Settings:
    return app.session_state[masked_state.SETTINGS]


def jobs(app: AppTest) -> tuple[Job, ...]:
    return work_queue.queue().of(app.session_state[work_queue.OWNER])


def choose(app: AppTest, *names: str, region: str = "mouth", effort: int = 0) -> AppTest:
    app.button_group(key="masked_region").set_value(region).run()
    app.button_group(key=f"masked_attributes/{region}").set_value(list(names)).run()
    return calm(app.button_group(key="masked_effort").set_value(effort).run())


def finish(app: AppTest) -> AppTest:
    """Wait for this visit's newest job, and look at the page again."""
    assert jobs(app)[-1].wait(LONG)
    return calm(app.run())


def test_nothing_starts_before_an_attribute_is_chosen(page: AppTest) -> None:
    assert page.button(key=START).disabled
    assert "Nothing is asked for yet" in texts(page)
    assert "Coloured: what may change" in texts(page)
    choose(page, "smiling")
    assert not page.button(key=START).disabled
    assert "At most about" in texts(page)
    assert "Smiling" in texts(page)


def test_what_is_there_is_taken_away_at_first_and_the_rest_added(page: AppTest, machine) -> None:
    there = machine.readout(face_of(page).target).values
    choose(page, "smiling", "big_lips")
    for name, attribute in (("smiling", "Smiling"), ("big_lips", "Big_Lips")):
        assert settings(page).values[name] == (-1.0 if there[attribute] > 0.5 else 1.0)


def test_an_edit_runs_beside_the_page_and_shows_what_it_did(page: AppTest, machine) -> None:
    choose(page, "smiling", effort=0)
    calm(page.slider(key="masked_value/smiling").set_value(0.6).run())
    calm(page.button(key=START).click().run())
    finish(page)
    outcome = jobs(page)[-1].result()
    assert outcome.order.request.values["smiling"] == pytest.approx(0.6)
    assert outcome.order.request.values["preset"] == 0
    assert "The judge" in " ".join(e.value for e in [*page.success, *page.warning])
    assert "Outside the part" in texts(page)
    assert "identical" in texts(page)
    face, result = face_of(page), outcome.result
    outside = (result.mask == 0).expand(3, -1, -1)
    assert torch.equal(result.image[outside], face.target[outside])
    shown = view(machine, work(page), face, result, ViewOptions())
    assert shown.labels[0] == "Before"
    saved = export.picture(machine, work(page), face, result, ViewOptions())
    assert read_request(saved) == outcome.order.request


def test_leaving_and_coming_back_finds_the_job(page: AppTest, endless: None) -> None:
    choose(page, "smiling", effort=1)
    page.button(key=START).click().run()
    job = jobs(page)[-1]
    calm(page.switch_page(ALIGN).run())
    assert not job.done
    calm(page.switch_page(PAGE).run())
    assert page.button(key=CANCEL)
    assert [b.key for b in page.button].count(START) == 0
    calm(page.button(key=CANCEL).click().run())
    assert job.wait(LONG)
    assert job.state == "cancelled"
    calm(page.run())
    assert "stopped" in " ".join(element.value for element in page.info)
    assert page.button(key=START)


def test_a_second_visitor_sees_the_place_in_the_queue(page: AppTest, machine, endless: None) -> None:
    def wait(progress: Progress, cancel: Cancel) -> str:
        while not cancel():
            time.sleep(0.005)
        raise Cancelled("Stopped.")

    other = work_queue.queue().submit(Job(wait, "Masked edit", owner="somebody else"), machine.device)
    try:
        choose(page, "smiling")
        assert "1 edit is before it" in texts(page)
        calm(page.button(key=START).click().run())
        mine = jobs(page)[-1]
        assert mine.state == "waiting"
        assert other not in jobs(page)
        said = " ".join(str(element.proto.text) for element in page.get("progress"))
        assert "1 edit of other visitors" in said
    finally:
        other.cancel()
    finish(page)
    assert mine.state == "done"


def test_forgetting_stops_and_drops_the_jobs(page: AppTest, machine, endless: None) -> None:
    choose(page, "smiling", effort=1)
    page.button(key=START).click().run()
    owner, job = page.session_state[work_queue.OWNER], jobs(page)[-1]
    calm(page.sidebar.button(key="wipe").click().run())
    assert job.wait(LONG)
    assert job.state == "cancelled"
    assert work_queue.queue().of(owner) == ()
    assert work_queue.OWNER not in page.session_state or page.session_state[work_queue.OWNER] != owner


def test_editing_again_starts_from_the_result(page: AppTest) -> None:
    choose(page, "smiling")
    page.button(key=START).click().run()
    finish(page)
    before = face_of(page)
    calm(page.button(key="masked_again").click().run())
    assert face_of(page).hash != before.hash
    asked = EditRequest("maskfacegan", "1", settings(page).values)
    assert not masked_state.attributes(spec(), asked)
    assert "Outside the part" not in texts(page)


def test_a_mask_of_ones_own_is_asked_for_taken_and_kept_to(page: AppTest) -> None:
    choose(page, "smiling")
    page.button_group(key="masked_source").set_value("file").run()
    assert page.button(key=START).disabled
    assert "no mask for this face" in texts(page)
    drawn = np.zeros((64, 64), np.uint8)
    drawn[20:40, 10:50] = 255
    page.file_uploader(key="masked_upload").upload("m.png", cv2.imencode(".png", drawn)[1].tobytes(), "image/png")
    calm(page.run())
    calm(page.button(key=START).click().run())
    finish(page)
    result = jobs(page)[-1].result().result
    small = cv2.resize(drawn, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert bool((result.mask[0].numpy()[small == 0] == 0).all())
    assert bool((result.mask > 0).any())


@pytest.mark.parametrize(
    ("picture", "words"),
    [(np.zeros((32, 32), np.uint8), "black all over"), (np.full((32, 60), 255, np.uint8), "give a square picture")],
)
def test_a_mask_that_cannot_be_one_gets_a_sentence(page: AppTest, picture: np.ndarray, words: str) -> None:
    page.button_group(key="masked_source").set_value("file").run()
    data = cv2.imencode(".png", picture)[1].tobytes()
    calm(page.file_uploader(key="masked_upload").upload("m.png", data, "image/png").run())
    assert words in errors(page)
    assert settings(page).own is None


def test_the_brush_takes_what_was_painted(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canvas itself needs a browser; what it is asked for is checked by the package, and its answer is played."""
    package = pytest.importorskip("streamlit_drawable_canvas")
    canvas = np.zeros((brush.SIDE, brush.SIDE, 4), np.uint8)
    canvas[100:160, 90:200, 3] = 140
    names = set(inspect.signature(package.st_canvas).parameters)

    def played(**asked: object) -> SimpleNamespace:
        assert set(asked) <= names
        assert asked["drawing_mode"] == "freedraw"
        assert "label" not in asked  # refused by the package for this mode
        assert asked["return_image_data"]
        return SimpleNamespace(image_data=canvas)

    monkeypatch.setattr(package, "st_canvas", played)
    choose(page, "smiling")
    calm(page.button_group(key="masked_source").set_value("brush").run())
    assert settings(page).own is not None
    calm(page.button(key=START).click().run())
    finish(page)
    mask = jobs(page)[-1].result().result.mask[0].numpy()
    assert (mask[: int(0.3 * SIZE)] == 0).all()
    assert (mask > 0).any()
    canvas[:] = 0
    calm(page.run())
    assert settings(page).own is None


def test_whole_photos_keep_every_pixel_outside(app: AppTest, machine, photo_bytes) -> None:
    upload(app, photo_bytes(150, 130))
    calm(app.switch_page(PAGE).run())
    choose(app, "big_nose", region="nose")
    app.button(key=START).click().run()
    finish(app)
    now, face, result = work(app), face_of(app), jobs(app)[-1].result().result
    shown = view(machine, now, face, result, ViewOptions(whole=True))
    assert shown.after.shape == (130, 150, 3)
    y, x = np.nonzero((shown.after != now.photo.pixels).any(-1))
    assert len(y) > 0
    tl, bl, _, tr = face.aligned.transform.quad
    inside = np.linalg.solve(np.stack([tr - tl, bl - tl], 1), np.stack([x + 0.5, y + 0.5]) - tl[:, None]) * SIZE
    reach = cv2.dilate((result.mask[0].numpy() > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
    column, row = np.clip(inside, 0, SIZE - 1).astype(int)
    assert reach.min() == 0
    assert (reach[row, column] == 1).all()


def test_a_family_without_a_parser_says_so(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.errors import MissingWeights

    def missing(machine: object) -> None:
        raise MissingWeights("The starter family has no 'parser' network; choose another.")

    monkeypatch.setattr(masked_state, "editor", missing)
    calm(app.switch_page(PAGE).run())
    assert "no 'parser' network" in errors(app)


def test_paint_anywhere_is_mask_and_no_paint_is_none() -> None:
    canvas = np.zeros((320, 320, 4), np.uint8)
    assert brush.painted(canvas, SIZE) is None
    canvas[100:200, 60:120] = (53, 183, 166, 140)
    mask = brush.painted(canvas, SIZE)
    assert mask is not None
    assert mask.shape == (SIZE, SIZE)
    assert mask[15, 9] == 255
    assert mask[2, 2] == 0


def test_a_grey_file_keeps_its_greys() -> None:
    grey = np.tile(np.linspace(0, 255, SIZE, dtype=np.uint8), (SIZE, 1))
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    assert np.abs(brush.from_file(buffer.getvalue(), "m.png", SIZE).astype(int) - grey).max() <= 1
    with pytest.raises(BadRequest, match="black"):
        brush.from_file(cv2.imencode(".png", 0 * grey)[1].tobytes(), "m.png", SIZE)


def test_a_request_is_told_in_one_line() -> None:
    request = spec().neutral()
    asked = replace(request, values={"smiling": 1.0, "big_nose": -0.5, "preset": 2.0, "size": 0.5})
    assert masked.describe(asked) == "Smiling +1.00, big nose −0.50 · paper"


def test_a_session_without_a_browser_is_gone_after_a_while_and_not_before() -> None:
    visitors, open_ones = work_queue.Visitors(), {"tab-a", "tab-b"}
    visitors.greet("a", "tab-a")
    visitors.greet("b", "tab-b")

    def gone(now: float) -> list[str]:
        return visitors.gone(lambda session: session in open_ones, now)

    assert gone(0) == []
    open_ones.discard("tab-a")
    assert gone(1000) == []
    open_ones.add("tab-a")
    assert gone(1100) == []
    open_ones.discard("tab-a")
    assert gone(1200) == []
    assert gone(1200 + work_queue.PATIENCE - 1) == []
    assert gone(1200 + work_queue.PATIENCE + 1) == ["a"]
    assert gone(9999) == []
