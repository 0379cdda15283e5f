"""The options of ``swap`` and of every command built on it."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def common(plain: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Options that all of them have."""
    options = argparse.ArgumentParser(add_help=False, parents=[plain])
    options.add_argument("--method", choices=("nitzan", "zhou"), default="nitzan", help="default: nitzan")
    options.add_argument("--aligned", action="store_true", help="the pictures are aligned faces already")
    options.add_argument("--crop", action="store_true", help="write the face alone")
    options.add_argument("--family", default="starter", help="family of weights (default: starter)")
    options.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    return options


def strengths() -> argparse.ArgumentParser:
    """How much of each source."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--identity-strength", type=float, default=1.0, metavar="S", help="0 own to 1 the other's")
    options.add_argument(
        "--attribute-strength", type=float, default=1.0, metavar="S", help="0 the identity photo's to 1"
    )
    options.add_argument(
        "--base", choices=("w", "photo"), default="w", help="published way, or from the photo's own code"
    )
    return options


def add(commands: Commands, plain: argparse.ArgumentParser) -> None:
    """``swap``, ``swap-dirs`` and ``swap-pairs``."""
    shared, amount = common(plain), strengths()
    swap = commands.add_parser("swap", parents=[shared, amount], help="one face's identity on another's attributes")
    swap.add_argument("--identity", required=True, metavar="PHOTO", help="who")
    swap.add_argument("--attributes", required=True, metavar="PHOTO", help="pose, expression, light; gets the new face")
    swap.add_argument("--out", required=True, metavar="OUT", help="picture to write")
    for name, meaning in (
        ("swap-dirs", "every identity on every photo, with a contact sheet"),
        ("swap-pairs", "identities and photos of the same file name"),
    ):
        folders = commands.add_parser(name, parents=[shared, amount], help=meaning)
        folders.add_argument("--identities", required=True, metavar="FOLDER", help="who, one photo each")
        folders.add_argument("--attributes", required=True, metavar="FOLDER", help="the photos that get the new faces")
        folders.add_argument("--out", required=True, metavar="FOLDER", help="where to; a stopped call is continued")


def run(options: argparse.Namespace) -> int:
    """Carry out one of them."""
    # Each brings its libraries along; only the one that was asked for is loaded.
    if options.command == "swap":
        from commands import swapping

        return swapping.swap(options)
    from commands import swap_folders

    return {"swap-dirs": swap_folders.swap_dirs, "swap-pairs": swap_folders.swap_pairs}[options.command](options)


NAMES = ("swap", "swap-dirs", "swap-pairs")
