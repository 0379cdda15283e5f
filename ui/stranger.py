"""A weights file that is dragged into the page: what it is, and keeping it. Until then it lives in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO

import streamlit as st

from ui import state, style
from workbench.errors import FacetError
from workbench.meter import megabytes
from workbench.official.converting import add
from workbench.official.inspecting import Inspection, inspect

# The largest published checkpoint has 1.3 GiB; photos keep the server's limit.
LARGEST_MIB = 1400
FOUND, ADDED = "facet_stranger", "facet_stranger_added"


@contextmanager
def _on_disk(name: str, data: BinaryIO) -> Iterator[Path]:
    """The upload as a file of its own name; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="facet-") as folder:
        path = Path(folder) / (PurePath(name).name or "file")
        data.seek(0)
        with path.open("wb") as file:
            shutil.copyfileobj(data, file, 1 << 22)
        yield path


def _plain(sentence: str, path: Path) -> str:
    """A sentence about the temporary file, as one about the user's."""
    return sentence.replace(str(path), path.name)


def show() -> None:
    """The field to drag a file into, and what became of it."""
    st.subheader("What is this file?")
    style.small(
        "Drag a checkpoint in and be told what it is. It is read as data, nothing in it is run, and it is only kept when "
        "you press 'Add'. Files that are too large for a browser can be asked about with 'python cli.py weights inspect "
        "FILE'."
    )
    upload = st.file_uploader(
        "A weights file",
        key="stranger",
        label_visibility="collapsed",
        max_upload_size=LARGEST_MIB,
    )
    added = st.session_state.get(ADDED)
    if upload is None:
        st.session_state.pop(FOUND, None)
        if added:
            st.success(added, icon=":material/check:")
        return
    known = st.session_state.get(FOUND)
    if known is None or known[0] != upload.file_id:
        st.session_state.pop(ADDED, None)
        with st.spinner("Reading …"):
            known = (upload.file_id, _look(upload.name, upload))
        st.session_state[FOUND] = known
        added = None
    found = known[1]
    if isinstance(found, str):
        st.error(found, icon=":material/error:")
        return
    _tell(found, upload.name)
    if added:
        st.success(added, icon=":material/check:")
    elif found.fits and found.serves:
        if st.button(
            f"Add it to {_family(found.serves[0])}", key="stranger_add", type="primary", icon=":material/add:"
        ):
            _add(upload.name, upload)
            st.rerun()
    elif found.fits:
        style.small("No family in the list has a place for it.")
    complaint = st.session_state.pop(state.COMPLAINT, None)
    if complaint:
        st.error(complaint, icon=":material/error:")


def _family(serves: str) -> str:
    return f"the {serves.partition(':')[0]} family"


def _look(name: str, data: BinaryIO) -> Inspection | str:
    with _on_disk(name, data) as path:
        try:
            return inspect(path)
        except FacetError as error:
            return _plain(str(error), path)


def _add(name: str, data: BinaryIO) -> None:
    with _on_disk(name, data) as path:
        try:
            place, written = add(path)
        except FacetError as error:
            st.session_state[state.COMPLAINT] = _plain(str(error), path)
            return
    st.session_state[ADDED] = (
        f"'{name}' is now the {place.role} of the {place.family} family: {written.path}, {megabytes(written.size)}."
    )


def _tell(found: Inspection, name: str) -> None:
    sizes = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.arch.items())
    with st.container(border=True, key="stranger_told"):
        st.markdown(f"**{name}** is a **{found.title}**" + (f" ({sizes})." if sizes else "."))
        style.facts(
            [
                ("Tensors", f"{found.tensors:,}", f"{found.network:,} belong to the network"),
                ("Numbers", f"{found.parameters:,}", megabytes(found.bytes)),
                ("Written as", found.container, f"weights under '{found.under}'"),
                ("Serves", str(len(found.serves)), ", ".join(found.serves) or "no family in the list"),
            ]
        )
        for note in found.notes:
            style.small(note)
        if not found.fits:
            st.warning(f"It cannot be used: {found.problem}.", icon=":material/warning:")
