"""The app's few rules of style and the small pieces of HTML that Streamlit has no widget for."""

from __future__ import annotations

import html
from pathlib import Path

import streamlit as st

ASSETS = Path(__file__).parent / "assets"


def asset(name: str) -> str:
    """Text of a file in ``ui/assets``."""
    return (ASSETS / name).read_text("utf-8")


def apply() -> None:
    """Put the rules on the page."""
    st.html(f"<style>{asset('style.css')}</style>")


def lead(text: str) -> None:
    """The line under a title."""
    st.html(f'<p class="facet-lead">{html.escape(text)}</p>')


def small(text: str) -> None:
    """A quiet line."""
    st.html(f'<p class="facet-small">{html.escape(text)}</p>')


def caption(text: str) -> None:
    """A line under a picture."""
    st.html(f'<p class="facet-cap">{html.escape(text)}</p>')


def facts(items: list[tuple[str, str, str]], *, tight: bool = False) -> None:
    """Numbers with what they mean: label, value, and a small explanation each."""
    cells = "".join(
        f"<div><span>{html.escape(label)}</span><b>{html.escape(value)}</b><span>{html.escape(note)}</span></div>"
        for label, value, note in items
    )
    least, kind = ("64px", "facet-facts tight") if tight else ("92px", "facet-facts")
    st.html(f'<div class="{kind}" style="--least:{least}">{cells}</div>')
