"""The options of ``swap`` and of every command built on it."""

from __future__ import annotations

import argparse
from typing import TypeAlias

RANGE = "from -0.5 to 1.5, beyond 0 and 1 it overshoots"
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
    options.add_argument(
        "--identity-strength", type=float, default=1.0, metavar="S", help=f"0 own to 1 the whole swap; {RANGE}"
    )
    options.add_argument(
        "--attribute-strength",
        type=float,
        default=1.0,
        metavar="S",
        help=f"0 the identity photo's to 1 the attribute photo's; {RANGE}",
    )
    options.add_argument(
        "--base",
        choices=("w", "photo"),
        default="w",
        help="both codes through the mapper (default), or from the photo's own code",
    )
    return options


def add(commands: Commands, plain: argparse.ArgumentParser) -> None:
    """``swap`` and the commands built on it."""
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

    between = commands.add_parser("interpolate", parents=[shared], help="frames between two swaps")
    between.add_argument(
        "folder", metavar="FOLDER", help="folders of three pictures: two 'attr' and one 'id', or reverse"
    )
    between.add_argument("--out", required=True, metavar="FOLDER", help="where to; a stopped call is continued")
    between.add_argument("--frames", type=int, default=9, metavar="N", help="both ends included (default: 9)")
    between.add_argument("--space", choices=("z", "w"), default="z", help="mix codes (default) or mapped codes")
    between.add_argument("--fps", type=float, default=10.0, metavar="N", help="of GIF and MP4 (default: 10)")
    nobody = commands.add_parser("deidentify", parents=[shared], help="faces of nobody, one per person")
    nobody.add_argument("photos", nargs="+", metavar="PHOTO", help="photos, or folders of photos")
    nobody.add_argument("--out", required=True, metavar="FOLDER", help="where to; a stopped call is continued")
    nobody.add_argument("--key", required=True, metavar="FILE", help="your secret; made when it is not there")
    nobody.add_argument("--mode", choices=("synthetic", "rotate", "k-same"), default="synthetic")
    nobody.add_argument("--threshold", type=float, default=0.2, help="highest similarity of a synthetic donor")
    nobody.add_argument("--strength", type=float, default=75.0, metavar="DEGREES", help="how far 'rotate' turns")
    nobody.add_argument("--k", type=int, default=5, help="donors that 'k-same' averages (default: 5)")
    nobody.add_argument("--gallery", type=int, default=64, metavar="N", help="generated faces to choose them from")
    nobody.add_argument(
        "--people", metavar="FILE", help="persons and donors of all calls, private as the key (default: beside the key)"
    )
    nobody.add_argument(
        "--told-apart",
        choices=("faces", "names", "one"),
        default="faces",
        help="people by their faces (default), by file names that differ in the number at the end alone, or one person",
    )
    nobody.add_argument("--same", type=float, default=0.4, help="similarity from which two photos show one person")
    nobody.add_argument("--verify", type=float, default=0.4, help="similarity from which a face counts as recognised")
    nobody.add_argument("--judge", metavar="FILE", help="a recogniser that took no part in the training")
    video = commands.add_parser("swap-video", parents=[shared], help="one identity over a clip")
    video.add_argument("--identity", required=True, metavar="PHOTO", help="who")
    video.add_argument("--video", required=True, metavar="CLIP", help="the clip that gets the new face")
    video.add_argument("--out", required=True, metavar="OUT", help="video to write, .mp4")
    video.add_argument(
        "--identity-strength", type=float, default=1.0, metavar="S", help=f"0 own to 1 the whole swap; {RANGE}"
    )
    video.add_argument(
        "--attribute-strength", type=float, default=1.0, metavar="S", help=f"0 the photo's to 1 the clip's; {RANGE}"
    )
    video.add_argument("--smooth", type=float, default=1.0, metavar="HZ", help="steadies the face's square; 0: not")


def run(options: argparse.Namespace) -> int:
    """Carry out one of them."""
    # Each brings its libraries along; only the one that was asked for is loaded.
    if options.command == "swap":
        from commands import swapping

        return swapping.swap(options)
    if options.command == "interpolate":
        from commands import interpolating

        return interpolating.interpolate(options)
    if options.command == "deidentify":
        from commands import deidentifying

        return deidentifying.deidentify(options)
    if options.command == "swap-video":
        from commands import swap_video

        return swap_video.swap_video(options)
    from commands import swap_folders

    return {"swap-dirs": swap_folders.swap_dirs, "swap-pairs": swap_folders.swap_pairs}[options.command](options)


NAMES = ("swap", "swap-dirs", "swap-pairs", "interpolate", "deidentify", "swap-video")
