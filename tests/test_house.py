"""The shape of the house: imports point down, documents name files that exist, no photo is committed."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each part may import, apart from itself and from libraries.
TYPES = {"workbench.editor", "workbench.face", "workbench.errors"}
BELOW: dict[str, set[str]] = {
    "stylegan2": set(),
    "encoders": set(),
    "data": set(),
    "sdflow": {"stylegan2", "encoders"},
    "idswap": {"stylegan2", "encoders"},
    "iafaces": {"stylegan2", "encoders"},
    "maskfacegan": {"stylegan2", "encoders"},
    "workbench": {"sdflow", "idswap", "iafaces", "maskfacegan", "stylegan2", "encoders", "data"},
    "training": {
        "workbench",
        "evaluation",
        "sdflow",
        "idswap",
        "iafaces",
        "maskfacegan",
        "stylegan2",
        "encoders",
        "data",
    },
    "evaluation": {
        "workbench",
        "sdflow",
        "idswap",
        "iafaces",
        "maskfacegan",
        "stylegan2",
        "encoders",
        "data",
        "training",
    },
    "ui": {"workbench", "encoders", "data"},
    "pages": {"ui", "workbench"},
    "app": {"ui", "workbench"},
}
OURS = set(BELOW) | {"cli", "commands"}


def modules(part: str) -> list[Path]:
    file = ROOT / f"{part}.py"
    return [file] if file.is_file() else sorted((ROOT / part).rglob("*.py"))


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


@pytest.mark.parametrize("part", sorted(BELOW))
def test_imports_point_down(part: str) -> None:
    files = modules(part)
    assert files
    for path in files:
        for name in imports(path):
            top = name.split(".")[0]
            if top not in OURS or top == part:
                continue
            typed = any(name == t or name.startswith(f"{t}.") for t in TYPES) or name == "workbench"
            assert typed or top in BELOW[part], f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("part", sorted(set(BELOW) - {"ui", "pages", "app"}))
def test_only_the_app_knows_streamlit(part: str) -> None:
    for path in modules(part):
        assert not any(n.split(".")[0] in {"streamlit", "torchvision"} for n in imports(path)), path


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_documents_name_files_that_exist() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    for document in documents:
        for name in re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|toml|ipynb|txt))`", document.read_text()):
            if "NAME" in name or name.startswith(("runs/", "faces/", "data/ckpt", ".venv")):
                continue
            places = (ROOT / name, document.parent / name)
            assert any(p.exists() for p in places) or any(ROOT.glob(f"*/{name}")), f"{document.name} names {name}"


def test_every_starter_weight_has_its_card() -> None:
    files = sorted((ROOT / "data" / "starter").glob("*.safetensors"))
    assert files
    for path in files:
        card = path.with_suffix(".md")
        assert card.is_file(), f"{path.name} has no model card"
        assert "non-commercial" in card.read_text(), f"{card.name} does not state its licence"


def test_the_family_fits_its_budget() -> None:
    total = sum(p.stat().st_size for p in (ROOT / "data" / "starter").iterdir())
    assert total < 64 * 2**20


def test_no_archive_or_foreign_weight_is_tracked() -> None:
    for name in tracked():
        assert not re.search(r"\.(jpe?g|webp|zip|tar|onnx|ckpt)$", name, re.I), name
