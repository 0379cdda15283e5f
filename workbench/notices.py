"""What a download can be instead of weights: a web page, a quota notice, a Git LFS pointer, nothing at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

HEAD = 4096
"""How many bytes of a file are looked at."""
QUOTA = re.compile(r"quota exceeded|too many users have viewed or downloaded|bandwidth limit|download limit", re.I)
SCAN = re.compile(r"virus scan warning|too large to scan for viruses|can't scan this file for viruses", re.I)


def is_page(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an HTML page."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml")) or b"<html" in start


def no_weights(head: bytes) -> str | None:
    """Why a file that begins with ``head`` holds no weights; None when nothing speaks against it."""
    if not head:
        return "is empty; fetch or copy it again"
    if is_page(head):
        return f"is a web page ({page_meaning(head)}), not weights; fetch it again"
    pointer = lfs_pointer(head)
    return f"is {pointer}; download the file itself (git lfs pull)" if pointer else None


def lfs_pointer(head: bytes) -> str | None:
    """What the Git LFS pointer that begins with ``head`` is, with the plain number of bytes it stands for; else None."""
    if not head.startswith(b"version https://git-lfs"):
        return None
    named = re.search(rb"^size (\d{1,20})\r?$", head, re.M)
    return f"a Git LFS pointer, a note that stands for a file{f' of {int(named[1])} bytes' if named else ''}"


def page_meaning(page: bytes) -> str:
    """What a web page that came instead of a file says, in a few words."""
    text = page.decode("utf-8", "replace").replace("&#39;", "'")
    if QUOTA.search(text):
        return "too many people have downloaded the file, try again tomorrow"
    if SCAN.search(text):
        return "the file is too large for a virus scan and waits to be confirmed"
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.I | re.S)
    words = " ".join(title[1].split())[:80] if title else ""
    return f"titled '{words}'" if words else "without a title"


@dataclass(frozen=True)
class _Form:
    action: str
    fields: Mapping[str, str]


class _Forms(HTMLParser):
    """Collects the forms of a page with their hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Form] = []
        self._fields: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and given.get("method", "get").lower() == "get":
            self._fields = {}
            self.found.append(_Form(given.get("action", ""), self._fields))
        elif tag == "input" and self._fields is not None and given.get("type") == "hidden" and given.get("name"):
            self._fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._fields = None


def confirmation(page: bytes, address: str) -> str | None:
    """The address behind "Download anyway" of Google Drive's virus-scan page that came from ``address``.

    None when the page is another one, or its form leads to a host that is neither the page's own nor Google's.
    """
    if not SCAN.search(page.decode("utf-8", "replace")):
        return None
    forms = _Forms()
    forms.feed(page.decode("utf-8", "replace"))
    here = urlsplit(address)
    for form in forms.found:
        there = urlsplit(urljoin(address, form.action))
        google = all(
            f".{part.hostname or ''}".endswith((".google.com", ".googleusercontent.com")) for part in (here, there)
        )
        if there.scheme == here.scheme and (there.netloc == here.netloc or google):
            query = "&".join(part for part in (there.query, urlencode(form.fields)) if part)
            return urlunsplit((there.scheme, there.netloc, there.path, query, ""))
    return None


def direct(address: str) -> str:
    """The address of the file itself for a Google Drive "view" link; every other address as it is."""
    parts = urlsplit(address)
    if parts.hostname == "drive.google.com":
        inside = re.fullmatch(r"/file/d/([\w-]+)(?:/.*)?", parts.path)
        opened = re.search(r"(?:^|&)id=([\w-]+)", parts.query) if parts.path in ("/open", "/uc") else None
        found = inside or opened
        if found:
            return f"https://drive.google.com/uc?export=download&id={found[1]}"
    return address
