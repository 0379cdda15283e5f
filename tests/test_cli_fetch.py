"""``weights fetch``, ``list`` and ``verify`` on the command line, with a server on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli
from commands import fetching
from tests.workbench.web import Web, page, serving, status, whole
from workbench.download import Patience

DATA = b"\x80\x02weights" * 1000
FIELDS = {"family", "kind", "file", "state", "size", "licence", "origin", "needed_for", "urls", "by_hand", "place"}


class Shell:
    """Runs ``cli.py weights`` on a manifest of its own."""

    def __init__(self, manifest: Path, web: Web, capsys: pytest.CaptureFixture[str]) -> None:
        self.manifest, self.web, self.capsys = manifest, web, capsys

    def __call__(self, *words: str, as_json: bool = True) -> tuple[int, list[dict[str, object]], str]:
        self.capsys.readouterr()
        given = ["weights", *words, "--manifest", str(self.manifest), *(["--json"] if as_json else [])]
        status = cli.main(given)
        out, err = self.capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()] if as_json else [], out + err


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    with serving() as web:
        lines = ["[one]", 'folders = ["one"]']
        for kind, where in (("net", "/net"), ("other", "/other"), ("hand", "")):
            lines += [f"[one.files.{kind}]", f'file = "{kind}.pt"', 'format = "torch"', 'needed_for = "tests"']
            lines.append(f'urls = ["{web.address}{where}"]' if where else 'by_hand = "the shelf"')
        lines += ["[two]", 'folders = ["two", "one"]', "[two.files.net]", 'file = "net.pt"', 'format = "torch"']
        lines += ['folder = "one"', f'urls = ["{web.address}/net"]']
        lines += ["[two.files.hand]", 'file = "elsewhere.pt"', 'format = "torch"']
        (tmp_path / "weights.toml").write_text("\n".join(lines))
        web.put("/net", whole(DATA))
        web.put("/other", whole(DATA[::-1]))
        short = Patience(pauses=(), reserve=0)
        real = fetching.fetch
        monkeypatch.setattr(fetching, "fetch", lambda options: real(options, short))
        yield Shell(tmp_path / "weights.toml", web, capsys)


def test_files_are_fetched_by_name_and_are_then_listed_and_verified(shell: Shell, tmp_path: Path) -> None:
    status, lines, err = shell("fetch", "net.pt", "other")
    assert (status, err.count("\n")) == (0, 2)
    assert [(line["kind"], line["fetched"], line["size"]) for line in lines] == [
        ("net", True, len(DATA)), ("other", True, len(DATA)),
    ]  # fmt: skip
    assert (tmp_path / "one" / "net.pt").read_bytes() == DATA
    _, lines, _ = shell("fetch", "one/net")
    assert lines[0]["fetched"] is False
    _, lines, _ = shell("list")
    assert [(line["family"], line["state"]) for line in lines] == [
        ("one", "verified"), ("one", "verified"), ("one", "missing"), ("two", "verified"), ("two", "missing"),
    ]  # fmt: skip
    assert set(lines[0]) >= FIELDS
    assert shell("verify")[0] == 0
    (tmp_path / "one" / "other.pt").write_bytes(DATA)
    status, _, err = shell("verify")
    assert status == 1
    assert "one other ('other.pt') is broken: has changed since" in err


def test_the_list_for_people_says_licence_origin_and_use(shell: Shell) -> None:
    status, _, text = shell("list", as_json=False)
    assert status == 0
    for word in ("needed for tests", "licence: unknown", "by hand: the shelf", "weights fetch net.pt"):
        assert word in text


def test_everything_with_an_address(shell: Shell, tmp_path: Path) -> None:
    status, lines, _ = shell("fetch", "--all")
    assert (status, [line["file"] for line in lines]) == (0, ["net.pt", "other.pt"])
    status, lines, err = shell("fetch", "--family", "one", "--folder", str(tmp_path / "there"))
    assert (status, len(lines)) == (1, 2)
    assert "'hand.pt' cannot be fetched by a program; get it by hand from the shelf" in err
    assert (tmp_path / "there" / "net.pt").read_bytes() == DATA


def test_one_failure_does_not_stop_the_others(shell: Shell) -> None:
    shell.web.put("/net", status(404))
    code, lines, err = shell("fetch", "--all")
    assert (code, [line["file"] for line in lines]) == (1, ["other.pt"])
    assert len(err.strip().splitlines()) == 2  # the other one is the JSON of 'other'
    assert "does not have it (404)" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fetch"], "--all"),
        (["fetch", "nothing"], "no file called 'nothing'"),
        (["fetch", "hand"], "one/hand, two/hand"),
        (["fetch", "--family", "three"], "one, two"),
    ],
)
def test_what_is_not_clear_is_asked_back(shell: Shell, words: list[str], sentence: str) -> None:
    status, lines, err = shell(*words)
    assert (status, lines) == (1, [])
    assert sentence in err
    assert shell.web.requests == []


def test_a_web_page_is_no_file(shell: Shell, tmp_path: Path) -> None:
    shell.web.put("/net", page("<html><title>Sign in</title></html>"))
    status, _, err = shell("fetch", "net")
    assert status == 1
    assert "web page (titled 'Sign in')" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "one" / "net.pt").exists()
    assert shell("verify")[0] == 0
    (tmp_path / "one" / "net.pt").write_text("<html><title>Sign in</title></html>")
    status, _, err = shell("verify")
    assert (status, err.count("is broken: is a web page")) == (1, 2)
    assert shell("list")[0] == 0
