"""Models: what is there, fetching with progress and cancel, a file dragged in, and another family for the session."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ui.engine
import ui.family
import workbench.manifest
from data import container
from tests.pages.conftest import ALIGN, EDIT, calm, errors, find_played, texts, upload, work
from tests.tiny_family import write_family
from tests.workbench.web import Web, page, serving, stall, whole
from ui import state
from workbench.engine import Engine
from workbench.export import code_bytes

MODELS = "pages/models.py"
DATA = b"\x80\x02weights" * 100_000


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as made:
        yield made


@pytest.fixture
def manifest(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two whole families with different generators, one that misses files, and a collection at the server."""
    first = write_family(tmp_path)
    other = write_family(tmp_path / "made", seed=1)
    (other.parent / "tiny").rename(tmp_path / "second")
    text = first.read_text()
    for line in ("detector", "landmarks"):
        # Finding faces is played in these tests; the files only have to be there.
        weights, header = container.load(tmp_path / "tiny" / "judge.safetensors")
        container.save(tmp_path / "tiny" / f"{line}.safetensors", weights, {**header, "kind": line})
        text += f'\n[starter.files.{line}]\nfile = "{line}.safetensors"\n'
    second = text.replace("[starter", "[second").replace('folders = ["tiny"]', 'folders = ["second", "tiny"]')
    second = second.replace('title = "Tiny"', 'title = "Second"')
    empty = text.replace("[starter", "[official").replace(
        'folders = ["tiny"]', 'folders = ["nowhere"]\nabout = "Adds more."'
    )
    text += second + empty
    text += '\n[helpers]\nfolders = ["ckpt"]\n'
    for kind, where in (("net", 'urls = ["{}/net"]'), ("hand", 'by_hand = "the shelf"')):
        text += f'[helpers.files.{kind}]\nfile = "{kind}_1.pt"\nformat = "torch"\n{where.format(web.address)}\n'
    first.write_text(text)
    web.put("/net", whole(DATA))
    monkeypatch.setattr(workbench.manifest, "MANIFEST", first)
    return first


@pytest.fixture
def machine(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Real engines on the two families; finding faces is played."""
    made: dict[str, Engine] = {}

    def build(family: str, device: str, precision: str = "float32") -> Engine:
        if family not in made:
            made[family] = Engine(family, "cpu", family_file=manifest)
            monkeypatch.setattr(made[family], "detect", find_played)
        return made[family]

    monkeypatch.setattr(ui.engine, "build", build)
    monkeypatch.setattr(ui.family, "build", build)
    return build("starter", "cpu")


@pytest.fixture
def models(app: AppTest) -> AppTest:
    return calm(app.switch_page(MODELS).run())


def choose(app: AppTest, family: str) -> AppTest:
    return calm(app.segmented_control(key="models_family").set_value(family).run())


def finish(app: AppTest) -> AppTest:
    """Let the long step end and the page see it."""
    if state.MODELS_JOB in app.session_state:
        assert app.session_state[state.MODELS_JOB].wait(30)
        app.run()
    return calm(app)


def test_every_family_says_what_is_there_and_what_is_missing(models: AppTest, manifest: Path) -> None:
    said = texts(models)
    assert "in use" in said
    assert "needed files are missing: generator.safetensors" in said
    assert "Adds more." in said
    assert models.button(key="use/starter").disabled
    assert not models.button(key="use/second").disabled
    assert models.button(key="use/official").disabled
    assert "no licence stated" in said
    assert said.count("facet-state present") == len(workbench.manifest.open_family("starter").records)
    said = texts(choose(models, "official"))
    assert said.count("facet-state missing") == len(workbench.manifest.open_family("official").records)


def test_every_byte_can_be_checked(models: AppTest, manifest: Path) -> None:
    (manifest.parent / "tiny" / "judge.safetensors").write_bytes(b"<html><title>Sign in</title></html>")
    models.button(key="verify/starter").click().run()
    finish(models)
    assert "'judge.safetensors' is broken: it is a web page" in errors(models)
    assert texts(models).count("facet-state verified") == 9
    assert texts(models).count("facet-state broken") == 1


def test_a_file_is_fetched_when_asked_for_and_not_before(models: AppTest, web: Web, manifest: Path) -> None:
    choose(models, "helpers")
    assert web.requests == []
    assert "facet-state missing" in texts(models)
    models.button(key="fetch/helpers/net").click().run()
    finish(models)
    assert (manifest.parent / "ckpt" / "net_1.pt").read_bytes() == DATA
    assert "facet-state verified" in texts(models)
    assert [box.value for box in models.success] == ["Everything that was asked for is here."]
    assert any("the shelf" in text.value for text in models.markdown)


def test_a_download_that_fails_is_a_sentence(models: AppTest, web: Web, manifest: Path) -> None:
    web.put("/net", page("<html><title>Drive - Quota exceeded</title></html>"))
    choose(models, "helpers")
    models.button(key="fetch/helpers/net").click().run()
    finish(models)
    assert "too many people have downloaded the file" in errors(models)
    assert "get it by hand" in errors(models)
    assert not list((manifest.parent / "ckpt").glob("*.pt*"))


def test_a_download_can_be_cancelled_and_goes_on_later(models: AppTest, web: Web, manifest: Path) -> None:
    web.put("/net", stall(DATA, 400_000), whole(DATA))
    choose(models, "helpers")
    models.button(key="fetch/helpers/net").click().run()
    part = manifest.parent / "ckpt" / "net_1.pt.part"
    for _ in range(500):
        if part.exists() and part.stat().st_size == 400_000:
            break
        time.sleep(0.02)
    calm(models.run())
    assert models.button(key="fetch/helpers/net").disabled
    models.button(key="models_cancel").click().run()
    finish(models)
    assert any("cancelled" in box.value for box in models.info)
    assert part.stat().st_size == 400_000
    models.button(key="fetch/helpers/net").click().run()
    finish(models)
    assert (manifest.parent / "ckpt" / "net_1.pt").read_bytes() == DATA
    assert web.ranges() == [None, "bytes=400000-"]


def test_forgetting_everything_stops_a_download(models: AppTest, web: Web) -> None:
    web.put("/net", stall(DATA, 1000))
    choose(models, "helpers")
    models.button(key="fetch/helpers/net").click().run()
    running = models.session_state[state.MODELS_JOB]
    calm(models.sidebar.button(key="wipe").click().run())
    assert running.cancelled
    assert state.MODELS_JOB not in models.session_state


def test_another_family_works_at_once_on_every_page(models: AppTest, machine: Engine) -> None:
    calm(models.button(key="use/second").click().run())
    assert models.session_state[state.CHOICE].family == "second"
    calm(models.switch_page(ALIGN).run())
    made = work(models).face.latent.generator
    assert made != machine.generator_id
    calm(models.switch_page(EDIT).run())
    calm(models.slider(key="control/sdflow/smiling").set_value(0.6).run())
    assert not errors(models)
    calm(models.switch_page(MODELS).run())
    assert models.button(key="use/second").disabled
    calm(models.button(key="use/starter").click().run())
    calm(models.switch_page(EDIT).run())
    assert work(models).face.latent.generator == machine.generator_id


def test_the_photo_stays_and_is_projected_anew(app: AppTest, machine: Engine, photo_bytes) -> None:
    upload(app, photo_bytes(), "anna.png")
    calm(app.switch_page(MODELS).run())
    calm(app.button(key="use/second").click().run())
    calm(app.switch_page(EDIT).run())
    assert work(app).photo.name == "anna.png"
    assert work(app).face.latent.generator != machine.generator_id
    assert not errors(app)


def test_a_code_of_the_other_generator_is_refused_with_the_reason(app: AppTest, machine: Engine) -> None:
    latent = machine.random_face(1).latent
    calm(app.switch_page(MODELS).run())
    calm(app.button(key="use/second").click().run())
    calm(app.switch_page(ALIGN).run())
    app.segmented_control(key="source_kind").set_value("random").run()
    app.file_uploader(key="code_upload").upload(
        "code.safetensors", code_bytes(latent, None), "application/octet-stream"
    )
    calm(app.run())
    assert "generator" in errors(app)
    assert machine.generator_id in errors(app)


def test_a_family_that_does_not_load_is_not_switched_to(models: AppTest, manifest: Path) -> None:
    (manifest.parent / "second" / "projector.safetensors").write_bytes(b"broken")
    calm(models.button(key="use/second").click().run())
    assert "projector.safetensors" in errors(models)
    assert state.CHOICE not in models.session_state


def test_the_sidebar_offers_the_families_that_are_whole(models: AppTest) -> None:
    box = models.sidebar.selectbox[0]
    assert box.options == ["starter", "second"]
    assert "files are missing: official" in texts(models)
    box.set_value("second").run()
    calm(models.sidebar.button(key="use_engine").click().run())
    assert models.session_state[state.CHOICE].family == "second"


def drag(app: AppTest, name: str, data: bytes) -> AppTest:
    app.file_uploader(key="stranger").upload(name, data, "application/octet-stream")
    return calm(app.run())


def test_a_file_that_is_dragged_in_is_named_and_kept_only_on_request(models: AppTest, manifest: Path) -> None:
    place = manifest.parent / "nowhere" / "judge.safetensors"
    (manifest.parent / "tiny" / "judge.safetensors").rename(manifest.parent / "away.safetensors")
    data = (manifest.parent / "away.safetensors").read_bytes()
    drag(models, "from-a-friend.safetensors", data)
    assert any("from-a-friend.safetensors" in text.value for text in models.markdown)
    assert not (manifest.parent / "tiny" / "judge.safetensors").exists()
    calm(models.button(key="stranger_add").click().run())
    assert (manifest.parent / "tiny" / "judge.safetensors").read_bytes() == data
    assert "judge of the starter family" in models.success[0].value
    assert not place.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"<html><title>Quota exceeded</title>", "web page"), (b"PK\x03\x04 cut", "")],
)
def test_what_is_no_weights_is_refused_by_its_own_name(models: AppTest, data: bytes, words: str) -> None:
    drag(models, "e4e.pt", data)
    assert "'e4e.pt'" in errors(models)
    assert "facet-" not in errors(models)
    assert words in errors(models)
    assert "stranger_add" not in [button.key for button in models.button]


def test_the_header_of_our_own_file_is_read(models: AppTest, manifest: Path, tmp_path: Path) -> None:
    state_of, header = container.load(manifest.parent / "tiny" / "identity.safetensors")
    container.save(tmp_path / "x.safetensors", {**state_of}, {**header, "kind": "nothing"})
    drag(models, "x.safetensors", (tmp_path / "x.safetensors").read_bytes())
    assert "stranger_add" not in [button.key for button in models.button]
