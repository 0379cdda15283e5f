"""The command line: align, project, edit, mask-edit, swap, weights, train, evaluate, bench. Run ``python cli.py COMMAND --help``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TypeAlias

from commands import evaluating, photos, swap_options

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    whole = argparse.ArgumentParser(prog="cli.py", description="A photo in, an edited face out.")
    whole.set_defaults(detector="starter", precision="float32")  # for the commands without the choice
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    plain = argparse.ArgumentParser(add_help=False)
    plain.add_argument("--json", action="store_true", help="print one JSON object per line and nothing else")
    plain.add_argument("--manifest", metavar="FILE", help="another list of weights than data/weights.toml")
    engine = argparse.ArgumentParser(add_help=False, parents=[plain])
    engine.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="photos, folders of photos, or lists (.txt) of names"
    )
    engine.add_argument("--out", metavar="OUT", help="file to write; for several photos or a folder, a folder")
    engine.add_argument("--face", type=int, default=0, metavar="N", help="which face, 0 is the largest (default)")
    engine.add_argument("--aligned", action="store_true", help="the picture is an aligned face already")
    engine.add_argument("--family", default="starter", help="family of weights (default: starter)")
    engine.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    engine.add_argument("--detector", default="starter", help="finds the faces: starter (default) or face-alignment")
    engine.add_argument("--precision", default="float32", help="of the generator: float32 (default) or bfloat16")
    projecting = argparse.ArgumentParser(add_help=False, parents=[engine])
    projecting.add_argument("--mode", choices=("encoder", "refined"), default="encoder", help="how to project")
    projecting.add_argument("--steps", type=int, metavar="N", help="steps of the refinement")

    commands.add_parser("align", parents=[engine], help="find the faces and cut one out")
    project = commands.add_parser("project", parents=[projecting], help="find the code of a face")
    project.add_argument("--code", metavar="FILE", help="write the code as safetensors; for several photos a folder")
    edit = commands.add_parser("edit", parents=[projecting], help="edit a face and give the photo back")
    edit.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a control; may be repeated")
    edit.add_argument("--editor", help="editing method (default: sdflow)")
    edit.add_argument("--request", metavar="FILE", help="take the request of an exported picture or a JSON file")
    edit.add_argument("--crop", action="store_true", help="write the face alone")
    edit.add_argument("--replace", action="store_true", help="the generator's pixels instead of the photo's own detail")
    edit.add_argument("--colour-match", action="store_true", help="match the colours at the seam")

    _masked(commands, engine)
    swap_options.add(commands, plain)
    _components(commands, engine, plain)
    _weights(commands, plain)
    train = commands.add_parser("train", help="train a model by configs/NAME.toml")
    train.add_argument("name", metavar="NAME")
    train.add_argument("--minutes", type=float, help="stop after this long")
    train.add_argument("--fresh", action="store_true", help="start anew instead of from the last saved state")
    train.add_argument("--faces", default="faces", metavar="FOLDER", help="the data set's zips and label files")
    train.add_argument("--out", metavar="FOLDER", help="run folder (default: runs/NAME)")
    train.add_argument("--device", default="cpu", help="cpu (default), cuda or mps")
    make = commands.add_parser("make-dataset", parents=[plain], help="generate faces with their w to train a swap on")
    make.add_argument("--out", required=True, metavar="FOLDER", help="where to; a stopped set is continued")
    make.add_argument("--layout", default="nitzan", help="nitzan (default), roich, yugong, yugong-evaluation or shard")
    make.add_argument("--count", type=int, default=70_000, metavar="N", help="pictures (default: 70000, the papers')")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--truncation", type=float, metavar="PSI", help="default: the layout's own")
    make.add_argument("--batch", type=int, default=8)
    make.add_argument("--workers", type=int, default=1, metavar="N", help="processes; ranks of torchrun share too")
    make.add_argument("--family", default="starter", help="family of weights (default: starter)")
    make.add_argument("--device", default="cpu", help="cpu (default), cuda or mps")
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a method by its own protocol",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=evaluating.listing(),
    )
    evaluate.add_argument("method", metavar="METHOD", help="which method or protocol")
    evaluate.add_argument("rest", nargs=argparse.REMAINDER, metavar="OPTIONS", help="its options, --json among them")
    bench = commands.add_parser("bench", help="measure: synthesis, slider, load, align, mask-edit ...")
    bench.add_argument("name", metavar="NAME")
    bench.add_argument("--repeats", type=int, help="how often to measure")
    bench.add_argument("--faces", metavar="FOLDER", help="aligned photos for those that edit (default: sample faces)")
    bench.add_argument("--json", action="store_true", help="print one JSON object")
    return whole


def _masked(commands: Commands, engine: argparse.ArgumentParser) -> None:
    """The options of ``mask-edit``."""
    masked = commands.add_parser("mask-edit", parents=[engine], help="edit one part of a face and leave the rest alone")
    masked.add_argument("--attribute", action="append", required=True, metavar="NAME", help="may be repeated")
    masked.add_argument("--target", action="append", type=float, metavar="P", help="0 to 1, one for all or one each")
    masked.add_argument("--size", type=float, default=1.0, metavar="FACTOR", help="the part's area, 0.5 to 2 (1: free)")
    masked.add_argument("--preset", choices=("preview", "fast", "paper"), default="fast", help="how much effort")
    masked.add_argument(
        "--mode", choices=("auto", "local", "global"), default="auto", help="auto goes by the attribute"
    )
    masked.add_argument("--mask", metavar="FILE", help="grey picture of the aligned face: where to edit")
    masked.add_argument("--save-mask", metavar="FILE", help="write the blend mask; for several photos a folder")
    masked.add_argument("--crop", action="store_true", help="write the face alone")
    masked.add_argument("--seed", type=int, default=0)
    masked.add_argument("--again", action="store_true", help="make results anew that are there already")


def _components(commands: Commands, engine: argparse.ArgumentParser, plain: argparse.ArgumentParser) -> None:
    """The edits of face parts."""
    parts = ("eyes", "l_eye", "r_eye", "nose", "mouth")
    again = argparse.ArgumentParser(add_help=False)
    again.add_argument("--again", action="store_true", help="make results anew that are there already")
    again.add_argument("--crop", action="store_true", help="write the face alone")
    output = argparse.ArgumentParser(add_help=False, parents=[again])
    output.add_argument(
        "--output-mode", choices=("residual", "decoded", "difference"), default="residual", help="what to write"
    )
    commands.add_parser("reconstruct", parents=[engine, again], help="a face as the component network draws it")
    attr = commands.add_parser("attr", parents=[engine, output], help="move attributes of face parts")
    attr.add_argument("--attribute", action="append", required=True, metavar="NAME", help="may be repeated")
    attr.add_argument("--strength", action="append", type=float, metavar="S", help="change in standard deviations")
    attr.add_argument("--to", action="append", type=float, metavar="T", help="place to arrive at instead, 0 is average")
    attr.add_argument("--component", action="append", choices=parts, help="change only this part; may be repeated")
    transfer = commands.add_parser("transfer", parents=[plain, output], help="borrow face parts from another photo")
    transfer.add_argument(
        "--target", nargs="+", required=True, metavar="PHOTO", help="photos, folders or lists to change"
    )
    transfer.add_argument("--reference", nargs="+", required=True, metavar="PHOTO", help="one, or one per target")
    transfer.add_argument("--component", action="append", required=True, choices=parts, help="may be repeated")
    transfer.add_argument(
        "--blend", type=float, default=1.0, help="0 keeps the target, 1 takes the reference (default)"
    )
    transfer.add_argument(
        "--as-drawn", action="store_true", help="do not fit a residual's borrowed part to the light around it"
    )
    transfer.add_argument("--out", metavar="OUT", help="file to write; for several targets a folder")
    transfer.add_argument("--face", type=int, default=0, metavar="N", help="which face, 0 is the largest (default)")
    transfer.add_argument("--aligned", action="store_true", help="the pictures are aligned faces already")
    transfer.add_argument("--family", default="starter", help="family of weights (default: starter)")
    transfer.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    actions = commands.add_parser("directions", help="attribute directions of the component network").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    listed = actions.add_parser("list", parents=[plain], help="attributes, components and held-out accuracy")
    listed.add_argument("--family", default="starter", help="family of weights (default: starter)")
    listed.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    fit = actions.add_parser("fit", parents=[plain], help="fit them on labelled faces")
    fit.add_argument("config", metavar="CONFIG", help="settings that name the labelled faces, as those of a training")
    fit.add_argument("--components", metavar="FILE", help="the network: one of ours, or a published file")
    fit.add_argument(
        "--family", metavar="NAME", help="the network of this family instead, whose directions these become"
    )
    fit.add_argument("--faces", default="faces", metavar="FOLDER", help="the data set's zips and label files")
    fit.add_argument("--out", metavar="FILE", help="default: directions.safetensors beside the network")
    fit.add_argument(
        "--remove", action="append", default=[], metavar="NAME:OTHER", help="keep OTHER out of NAME's step"
    )
    fit.add_argument("--limit", type=int, default=12_000, metavar="N", help="faces to use (default: 12000)")
    fit.add_argument("--seed", type=int, default=0)


def _weights(commands: Commands, plain: argparse.ArgumentParser) -> None:
    """The actions on weights files."""
    weights = commands.add_parser("weights", help="the weights files: list, fetch, verify, inspect, add, convert")
    actions = weights.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, meaning in (
        ("list", "the files of each family and whether they are there"),
        ("verify", "read every file and compare it with its recorded SHA-256"),
        ("record", "write size and SHA-256 of the files that are there into the list"),
    ):
        several = actions.add_parser(action, parents=[plain], help=meaning)
        several.add_argument("--family", help="only this family")
    fetch = actions.add_parser("fetch", parents=[plain], help="download files from where their authors put them")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="which files")
    fetch.add_argument("--family", help="all files of this family")
    fetch.add_argument("--all", action="store_true", help="all files that have an address")
    fetch.add_argument("--folder", metavar="FOLDER", help="where to put them (default: where they are looked for)")
    inspect = actions.add_parser("inspect", parents=[plain], help="say what a file is, and whether it would load")
    inspect.add_argument("file", metavar="FILE")
    add = actions.add_parser("add", parents=[plain], help="copy a file to the place where its family finds it")
    add.add_argument("file", metavar="FILE")
    add.add_argument("--family", help="for this family (default: the one that has a place for it)")
    convert = actions.add_parser("convert", parents=[plain], help="write a file as safetensors that says what it is")
    convert.add_argument("file", metavar="FILE")
    convert.add_argument("--out", required=True, metavar="OUT", help="file to write, ending in .safetensors")


def run(options: argparse.Namespace) -> int:
    """Carry out one parsed command; returns the exit status."""
    # Loading the networks' libraries takes seconds, which --help and a mistyped option need not wait for.
    if options.command in ("align", "project", "edit"):
        from commands import faces

        return {"align": faces.align, "project": faces.project, "edit": faces.edit}[options.command](options)
    if options.command == "weights" and options.action not in ("list", "verify", "record"):
        module = "fetching" if options.action == "fetch" else "checkpoints"
        return getattr(import_module(f"commands.{module}"), options.action)(options)
    if options.command == "mask-edit":
        from commands import masked

        return masked.mask_edit(options)
    if options.command in swap_options.NAMES:
        return swap_options.run(options)
    if options.command in ("reconstruct", "attr", "transfer", "directions"):
        return getattr(import_module("commands.components"), options.command)(options)
    if options.command == "make-dataset":
        from commands import datasets

        return datasets.make_dataset(options)
    if options.command == "evaluate":
        return evaluating.evaluate(options)
    from commands import manage

    return {"weights": manage.weights, "train": manage.train, "bench": manage.bench}[options.command](options)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: 0 when all was done, 1 with a sentence on stderr when something was not, 2 for wrong options."""
    from workbench.errors import FacetError

    options = parser().parse_args(argv)
    try:
        return run(options)
    except FacetError as error:
        photos.complain(str(error))
        return 1
    except KeyboardInterrupt:
        photos.complain("Stopped.")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
