"""Downloads, against a real server on loopback that truncates, stalls, redirects, refuses and serves web pages."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.workbench.web import (
    Web,
    chunked,
    cut,
    page,
    redirect,
    serving,
    stall,
    status,
    whole,
    without_length,
)
from workbench import download, seen
from workbench.download import Order, Patience
from workbench.errors import Cancelled, CannotFetch, CannotWrite
from workbench.fetch import fetch, fetch_file
from workbench.locks import held
from workbench.manifest import check, open_family, verify

ROOT = Path(__file__).resolve().parents[2]
DATA = bytes(range(1, 251)) * 4000
QUOTA = "<!DOCTYPE html><html><head><title>Drive - Quota exceeded</title></head><body>Sorry</body></html>"


class Rest:
    """Counts the seconds that would have been waited."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float, cancel: object) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def rest() -> Rest:
    return Rest()


@pytest.fixture
def patience(rest: Rest) -> Patience:
    return Patience(pauses=(1, 2, 3), silence=0.4, longest=60, rest=rest, free=lambda folder: 1 << 40)


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    with serving() as web:
        yield web


@pytest.fixture
def web(server: Web) -> Web:
    server.plans.clear()
    server.requests.clear()
    return server


def order(folder: Path, *urls: str, known: bool = False, size: int = 0) -> Order:
    digest = hashlib.sha256(DATA).hexdigest() if known else ""
    return Order("w.pt", urls, folder / "w.pt", size, digest)


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_fetched_checked_and_its_hash_is_kept(web: Web, tmp_path: Path, patience: Patience) -> None:
    said: list[tuple[float, str]] = []
    url = web.put("/w", whole(DATA))
    made = fetch_file(order(tmp_path, url, known=True), patience=patience, progress=lambda f, m="": said.append((f, m)))
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert (made.sha256, made.size, made.address, made.resumed) == (
        hashlib.sha256(DATA).hexdigest(), len(DATA), url, 0,
    )  # fmt: skip
    assert left(tmp_path) == [seen.NAME, "w.pt"]
    note = seen.recall(tmp_path / "w.pt")
    assert note is not None
    assert (note.sha256, note.source) == (made.sha256, url)
    assert any("1 MB of 1 MB" in text for _, text in said)
    assert said[-1][0] == 1.0


def test_a_broken_connection_is_continued_where_it_ended(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", cut(DATA, 300_000), cut(DATA, 200_000), whole(DATA))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert web.ranges() == [None, "bytes=300000-", "bytes=500000-"]
    assert web.requests[1][1]["if-range"].startswith('"')


def test_progress_made_is_not_counted_as_failure(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", *[cut(DATA, 100_000)] * 9, whole(DATA))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == DATA


def test_a_server_that_never_delivers_is_given_up_and_the_part_is_kept(
    web: Web, tmp_path: Path, patience: Patience, rest: Rest
) -> None:
    url = web.put("/w", cut(DATA, 300_000), cut(DATA, 0))
    with pytest.raises(CannotFetch, match=r"broke off.*0\.30 MB are kept.*get it by hand from http") as error:
        fetch_file(order(tmp_path, url), patience=patience)
    assert str(tmp_path / "w.pt") in str(error.value)
    assert rest.seconds == [1, 2, 3]
    assert (tmp_path / "w.pt.part").read_bytes() == DATA[:300_000]
    web.put("/w", whole(DATA))
    assert fetch_file(order(tmp_path, url), patience=patience).resumed == 300_000
    assert (tmp_path / "w.pt").read_bytes() == DATA


def test_a_killed_download_resumes(web: Web, tmp_path: Path) -> None:
    url = web.put("/w", stall(DATA, 400_000), whole(DATA, tag=False))
    code = (
        "from pathlib import Path; from workbench.fetch import fetch_file; from workbench.download import Order;"
        f"fetch_file(Order('w.pt', ({url!r},), Path({str(tmp_path / 'w.pt')!r})))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    part = tmp_path / "w.pt.part"
    for _ in range(600):
        if part.exists() and part.stat().st_size == 400_000:
            break
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert part.stat().st_size == 400_000
    made = fetch_file(order(tmp_path, url), patience=Patience(pauses=()))
    assert made.resumed == 400_000
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert left(tmp_path) == [seen.NAME, "w.pt"]


def test_a_server_that_ignores_range_starts_over(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", cut(DATA, 300_000), whole(DATA, ranges=False))
    made = fetch_file(order(tmp_path, url), patience=patience)
    assert made.resumed == 0
    assert (tmp_path / "w.pt").read_bytes() == DATA


def test_a_file_that_changed_on_the_server_starts_over(web: Web, tmp_path: Path, patience: Patience) -> None:
    other = DATA[::-1]
    url = web.put("/w", cut(DATA, 300_000), whole(other))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == other


def test_without_a_mark_another_length_tells_a_changed_file(web: Web, tmp_path: Path, patience: Patience) -> None:
    other = DATA[::-1] + b"more"
    url = web.put("/w", cut(DATA, 300_000, tag=False), whole(other, tag=False))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == other


def test_a_part_that_was_damaged_is_thrown_away_when_the_hash_tells(
    web: Web, tmp_path: Path, patience: Patience
) -> None:
    url = web.put("/w", whole(DATA))
    (tmp_path / "w.pt.part").write_bytes(b"\1" * 1000)
    fetch_file(order(tmp_path, url, known=True), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert web.ranges() == ["bytes=1000-", None]


def test_a_part_that_is_whole_already_only_needs_its_name(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", whole(DATA))
    (tmp_path / "w.pt.part").write_bytes(DATA)
    fetch_file(order(tmp_path, url, known=True), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert web.ranges() == [f"bytes={len(DATA)}-"]


def test_a_silent_server_is_left_and_asked_again(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", stall(DATA, 500_000), whole(DATA))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert web.ranges() == [None, "bytes=500000-"]


def test_redirects_are_followed_and_keep_the_range(web: Web, tmp_path: Path, patience: Patience) -> None:
    there = web.put("/there", cut(DATA, 300_000), whole(DATA))
    url = web.put("/w", redirect(there))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert web.ranges() == [None, None, "bytes=300000-", "bytes=300000-"]


@pytest.mark.parametrize("to", ["/w", "ftp://127.0.0.1/w", "file:///etc/passwd"])
def test_redirects_in_a_circle_or_out_of_the_web_are_refused(
    web: Web, tmp_path: Path, patience: Patience, to: str
) -> None:
    url = web.put("/w", redirect(to))
    with pytest.raises(CannotFetch, match=r"30[0-9]"):
        fetch_file(order(tmp_path, url), patience=patience)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "meaning"),
    [(401, "password"), (403, "refuses it"), (404, "does not have it"), (410, "no longer"), (418, "no file")],
)
def test_a_refusal_is_not_repeated(
    web: Web, tmp_path: Path, patience: Patience, rest: Rest, code: int, meaning: str
) -> None:
    url = web.put("/w", status(code, b"no"))
    with pytest.raises(CannotFetch, match=rf"{meaning}.*\({code}\)"):
        fetch_file(order(tmp_path, url), patience=patience)
    assert (len(web.requests), rest.seconds) == (1, [])


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_or_faulty_server_is_asked_again_later(
    web: Web, tmp_path: Path, patience: Patience, rest: Rest, code: int
) -> None:
    later = formatdate(time.time() + 30, usegmt=True)
    url = web.put("/w", status(code), status(code, Retry_After="7"), status(code, Retry_After=later), whole(DATA))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert rest.seconds[:2] == [1, 7]
    assert 20 < rest.seconds[2] <= 30


def test_a_server_that_asks_for_too_much_patience_is_given_up(
    web: Web, tmp_path: Path, patience: Patience, rest: Rest
) -> None:
    url = web.put("/w", status(429, Retry_After="7200"))
    with pytest.raises(CannotFetch, match="asks to wait 2 h 0 min"):
        fetch_file(order(tmp_path, url), patience=patience)
    assert rest.seconds == []
    url = web.put("/w", status(500))
    with pytest.raises(CannotFetch, match=r"fault of its own \(500\), 4 times"):
        fetch_file(order(tmp_path, url), patience=patience)


def test_the_next_mirror_is_tried(web: Web, tmp_path: Path, patience: Patience) -> None:
    bad, good = web.put("/bad", status(404)), web.put("/good", whole(DATA))
    assert fetch_file(order(tmp_path, "http://127.0.0.1:9/w", bad, good), patience=patience).address == good
    assert (tmp_path / "w.pt").read_bytes() == DATA


def test_a_mirror_continues_the_part_when_the_hash_is_known(web: Web, tmp_path: Path, patience: Patience) -> None:
    short, good = web.put("/short", cut(DATA, 300_000), status(403)), web.put("/good", whole(DATA))
    assert fetch_file(order(tmp_path, short, good, known=True), patience=patience).address == good
    assert web.ranges()[-1] == "bytes=300000-"
    (tmp_path / "w.pt").unlink()
    web.put("/short", cut(DATA, 300_000), status(403))
    fetch_file(order(tmp_path, short, good), patience=patience)
    assert web.ranges()[-1] is None
    assert (tmp_path / "w.pt").read_bytes() == DATA


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (QUOTA, 200, "too many people"),
        (QUOTA, 403, "too many people"),
        ("\n<html><head><title>Sign in</title></head></html>", 200, "titled 'Sign in'"),
    ],
)
def test_a_web_page_is_recognised_and_never_kept(
    web: Web, tmp_path: Path, patience: Patience, text: str, code: int, words: str
) -> None:
    url = web.put("/w", page(text, code))
    with pytest.raises(CannotFetch, match=rf"web page \({words}.*get it by hand from"):
        fetch_file(order(tmp_path, url), patience=patience)
    assert left(tmp_path) == []


def test_a_web_page_does_not_cost_the_part(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", cut(DATA, 300_000), page(QUOTA))
    with pytest.raises(CannotFetch, match=r"0\.30 MB are kept"):
        fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt.part").read_bytes() == DATA[:300_000]


def test_the_virus_scan_question_is_answered_as_the_user_would(web: Web, tmp_path: Path, patience: Patience) -> None:
    form = (
        '<html><head><title>Drive - Virus scan warning</title></head><body><form action="{}" method="get">'
        '<input type="hidden" name="confirm" value="t"><input type="submit"></form></body></html>'
    )
    web.put("/file", cut(DATA, 300_000), whole(DATA))
    url = web.put("/w", page(form.format("/file?id=7")))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert [path for path, _ in web.requests] == ["/w", "/file?id=7&confirm=t"] * 2
    assert web.ranges()[-1] == "bytes=300000-"
    url = web.put("/w", page(form.format("https://example.invalid/download")))
    (tmp_path / "w.pt").unlink()
    with pytest.raises(CannotFetch, match="virus scan"):
        fetch_file(order(tmp_path, url), patience=patience)


def test_a_wrong_hash_is_refused_and_the_next_mirror_asked(web: Web, tmp_path: Path, patience: Patience) -> None:
    bad, good = web.put("/bad", whole(DATA[::-1])), web.put("/good", whole(DATA))
    wanted = order(tmp_path, bad, known=True)
    with pytest.raises(CannotFetch, match="SHA-256"):
        fetch_file(wanted, patience=patience)
    assert left(tmp_path) == []
    assert fetch_file(replace(wanted, urls=(bad, good)), patience=patience).address == good
    (tmp_path / "w.pt").unlink()
    start = hashlib.sha256(DATA).hexdigest()[:8]
    fetch_file(replace(wanted, urls=(good,), sha256=start), patience=patience)
    with pytest.raises(CannotFetch, match="SHA-256"):
        fetch_file(replace(wanted, urls=(good,), sha256="0" + start[1:]), patience=patience)


@pytest.mark.parametrize("served", [DATA[:-1], DATA + b"x"])
def test_a_wrong_length_is_refused_before_anything_is_written(
    web: Web, tmp_path: Path, patience: Patience, served: bytes
) -> None:
    url = web.put("/w", whole(served))
    with pytest.raises(CannotFetch, match="and should have 1,000,000"):
        fetch_file(order(tmp_path, url, size=len(DATA)), patience=patience)
    url = web.put("/w", without_length(served))
    with pytest.raises(CannotFetch, match=r"1,000,000 bytes|broke off"):
        fetch_file(order(tmp_path, url, size=len(DATA)), patience=patience)
    assert not (tmp_path / "w.pt").exists()


def test_bodies_without_a_length_are_read_to_their_end(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", without_length(DATA))
    fetch_file(order(tmp_path, url), patience=patience)
    (tmp_path / "w.pt").rename(tmp_path / "first.pt")
    url = web.put("/w", chunked(DATA[:600_000], complete=False), chunked(DATA))
    fetch_file(order(tmp_path, url), patience=patience)
    assert (tmp_path / "first.pt").read_bytes() == (tmp_path / "w.pt").read_bytes() == DATA


def test_an_archive_without_its_end_is_refused(web: Web, tmp_path: Path, patience: Patience) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("data", DATA)
    url = web.put("/w", without_length(packed.getvalue()[:500_000]))
    with pytest.raises(CannotFetch, match="incomplete"):
        fetch_file(order(tmp_path, url), patience=patience)
    url = web.put("/w", without_length(packed.getvalue()))
    fetch_file(order(tmp_path, url), patience=patience)


@pytest.mark.parametrize("body", [b"", b"version https://git-lfs.github.com/spec/v1\nsize 12\n"])
def test_nothing_and_a_pointer_are_refused(web: Web, tmp_path: Path, patience: Patience, body: bytes) -> None:
    url = web.put("/w", whole(body))
    with pytest.raises(CannotFetch, match=r"empty|Git LFS pointer, a note that stands for a file of 12 bytes"):
        fetch_file(order(tmp_path, url), patience=patience)
    assert left(tmp_path) == []


def test_a_disk_without_room_is_noticed_before_a_byte_is_written(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", whole(DATA))
    tight = replace(patience, free=lambda folder: len(DATA) + 10, reserve=11)
    with pytest.raises(CannotWrite, match=r"needs 1 MB more.*1 MB are free"):
        fetch_file(order(tmp_path, url), patience=tight)
    assert left(tmp_path) == []
    fetch_file(order(tmp_path, url), patience=replace(tight, reserve=10))


def test_a_full_disk_loses_nothing(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", whole(DATA))
    (tmp_path / "w.pt").write_bytes(b"the old file")
    # The operating system refuses to let a file of this process grow further, as a full disk does.
    code = (
        "import resource; from pathlib import Path; from workbench.fetch import fetch_file;"
        "from workbench.download import Order; from workbench.errors import CannotWrite\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        f"try: fetch_file(Order('w.pt', ({url!r},), Path({str(tmp_path / 'w.pt')!r})))\n"
        "except CannotWrite as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert "0.50 MB are kept, and a later fetch continues there." in done.stdout
    assert (tmp_path / "w.pt").read_bytes() == b"the old file"
    assert (tmp_path / "w.pt.part").read_bytes() == DATA[:500_000]
    assert fetch_file(order(tmp_path, url), patience=patience).resumed == 500_000
    assert (tmp_path / "w.pt").read_bytes() == DATA


def test_two_at_once_do_not_corrupt(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", stall(DATA, 400_000), whole(DATA))
    slow = replace(patience, silence=1.5)
    first = threading.Thread(target=fetch_file, args=(order(tmp_path, url),), kwargs={"patience": slow})
    first.start()
    while not (tmp_path / "w.pt.part").exists():
        time.sleep(0.01)
    with pytest.raises(CannotFetch, match="another run"):
        fetch_file(order(tmp_path, url), patience=patience)
    first.join(20)
    assert (tmp_path / "w.pt").read_bytes() == DATA
    assert left(tmp_path) == [seen.NAME, "w.pt"]


def test_the_lock_holds_between_processes_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from workbench.locks import held\n"
        f"with held(Path({str(path)!r})) as ours:\n print(ours, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    with held(path) as ours:
        assert not ours
    child.kill()
    child.wait()
    with held(path) as ours:
        assert ours
    assert not path.exists()


def test_a_cancel_does_not_wait_for_a_silent_server(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", stall(DATA, 400_000), whole(DATA))
    stop = threading.Event()
    patient = replace(patience, silence=25)
    started = time.monotonic()

    def progress(fraction: float, message: str = "") -> None:
        if "MB" in message or fraction > 0.3:
            threading.Timer(0.1, stop.set).start()

    with pytest.raises(Cancelled, match="kept"):
        fetch_file(order(tmp_path, url), patience=patient, progress=progress, cancel=stop.is_set)
    assert time.monotonic() - started < 20  # the server would have been waited for 25 s
    assert (tmp_path / "w.pt.part").read_bytes() == DATA[:400_000]
    assert fetch_file(order(tmp_path, url), patience=patience).resumed == 400_000


def test_a_cancel_ends_a_pause(web: Web, tmp_path: Path, patience: Patience) -> None:
    url = web.put("/w", status(503, Retry_After="50"))
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Cancelled):
        fetch_file(order(tmp_path, url), patience=replace(patience, rest=download._rest), cancel=stop.is_set)


def test_what_cannot_be_fetched_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    wanted = replace(order(tmp_path), by_hand="the folder https://example.invalid/f")
    with pytest.raises(
        CannotFetch, match=r"by hand from the folder https://example\.invalid/f, and put it to '.*w\.pt'"
    ):
        fetch_file(wanted)
    with pytest.raises(CannotFetch, match="no address of the web"):
        fetch_file(replace(wanted, urls=("file:///etc/passwd",)))


def test_a_folder_that_cannot_be_written_to_is_a_sentence(web: Web, tmp_path: Path, patience: Patience) -> None:
    (tmp_path / "file").write_text("")
    url = web.put("/w", whole(DATA))
    with pytest.raises(CannotWrite, match="could not be written"):
        fetch_file(order(tmp_path / "file", url), patience=patience)


@pytest.fixture
def manifest(tmp_path: Path, web: Web) -> Path:
    """A family of one file at the server, which publishes no SHA-256."""
    lines = ["[some]", 'folders = ["ckpt"]', "[some.files.net]", 'file = "net/w.pt"', 'format = "torch"']
    lines.append(f'urls = ["{web.put("/w", whole(DATA))}"]')
    (tmp_path / "weights.toml").write_text("\n".join(lines))
    return tmp_path / "weights.toml"


def test_the_first_use_is_remembered_and_a_change_is_noticed(manifest: Path, web: Web, patience: Patience) -> None:
    family = open_family("some", manifest)
    made = fetch(family, "net", patience=patience)
    assert made.path == manifest.parent / "ckpt" / "net" / "w.pt"
    assert fetch(family, "net", patience=patience).address is None
    assert len(web.requests) == 1
    assert check(family, "net", full=False).state == "verified"
    assert "first seen" in verify(family, "net").message
    made.path.write_bytes(DATA[:-1] + b"?")
    assert check(family, "net", full=False).state == "present"
    assert verify(family, "net").state == "broken"
    assert verify(family, "net").state == "broken"


def test_a_file_put_there_by_hand_is_noted_at_its_first_check(manifest: Path) -> None:
    family = open_family("some", manifest)
    place = family.place("net")
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    assert check(family, "net").state == "present"
    assert check(family, "net").state == "present"
    assert verify(family, "net").state == "present"
    assert check(family, "net", full=False).state == "verified"


def test_a_web_page_in_the_place_of_a_file_is_broken_and_replaced(manifest: Path, patience: Patience) -> None:
    family = open_family("some", manifest)
    place = family.place("net")
    place.parent.mkdir(parents=True)
    place.write_text(QUOTA)
    found = check(family, "net", full=False)
    assert (found.state, "web page" in found.message) == ("broken", True)
    fetch(family, "net", patience=patience)
    assert place.read_bytes() == DATA


def test_another_folder_may_be_named(manifest: Path, tmp_path: Path, patience: Patience, web: Web) -> None:
    family = open_family("some", manifest)
    made = fetch(family, "net", tmp_path / "elsewhere", patience=patience)
    assert made.path == tmp_path / "elsewhere" / "net" / "w.pt"
    assert fetch(family, "net", tmp_path / "elsewhere", patience=patience).address is None
    assert len(web.requests) == 1
