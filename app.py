"""Facet in the browser: the router. Start it with ``streamlit run app.py``."""

from __future__ import annotations

import streamlit as st

from ui import sidebar, style
from ui.engine import sentences
from ui.state import ROUTED, WANTED

st.set_page_config(page_title="Facet", page_icon=str(style.ASSETS / "icon.png"), layout="wide")
style.apply()

page = st.navigation(
    [
        st.Page("pages/align_and_project.py", title="Align & project", icon=":material/crop_free:", default=True),
        st.Page("pages/semantic_edit.py", title="Semantic edit", icon=":material/tune:"),
        st.Page("pages/identity_and_attributes.py", title="Identity & attributes", icon=":material/swap_horiz:"),
        st.Page("pages/components.py", title="Components", icon=":material/face_retouching_natural:"),
        st.Page("pages/masked_edit.py", title="Masked edit", icon=":material/brush:"),
        st.Page("pages/compare_methods.py", title="Compare methods", icon=":material/compare:"),
        st.Page("pages/models.py", title="Models", icon=":material/deployed_code:"),
    ]
)
st.session_state[ROUTED] = True
if wanted := st.session_state.pop(WANTED, None):
    st.switch_page(wanted)
with sentences():
    page.run()
sidebar.show()
