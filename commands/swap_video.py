"""``swap-video``: one identity over a clip."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.faces import engine_of
from commands.photos import complain, each
from commands.swapping import aligned_of, remarks
from idswap.swap import Strengths
from workbench.clips import mp4, open_video
from workbench.errors import BadRequest
from workbench.export import Provenance
from workbench.face import content_hash, to_tensor
from workbench.ledger import Ledger
from workbench.steady import Smoothing
from workbench.swap_video import VideoSwap
from workbench.swapping import Swapping, checked, described, request_of

TELL_EVERY = 100


def swap_video(options: argparse.Namespace) -> int:
    """Swap the face of a clip, frame after frame, and write the clip."""
    source, who, out = Path(options.video), Path(options.identity), Path(options.out)
    if out.suffix.lower() != ".mp4":
        raise BadRequest(f"--out '{out}' is written as MPEG-4; let its name end in .mp4.")
    if out.resolve() in (source.resolve(), who.resolve()):
        raise BadRequest(f"--out '{out}' would overwrite the source itself; choose another name.")
    if not 0 <= options.smooth < math.inf:
        raise BadRequest(f"--smooth is a frequency in Hz, 0 for none; {options.smooth:g} was asked for.")
    strengths = checked(Strengths(options.identity_strength, options.attribute_strength))
    engine = engine_of(options)
    swapping = Swapping(engine)
    weights = swapping.weights(options.method)
    request = request_of(options.method, strengths)

    def work(path: Path) -> tuple[Mapping[str, Any], str]:
        started = time.perf_counter()
        video = open_video(path)
        face = aligned_of(engine, who, options.aligned)
        settings = (options.method, strengths.identity, strengths.attributes, options.smooth, options.crop)
        # A clip may be larger than memory: its size and time of change stand for its content.
        state = path.stat()
        key = content_hash(*settings, *weights, face.image, str(path.resolve()), state.st_size, state.st_mtime_ns)
        before = ledger.made(out, key)
        if before is not None:
            return {**before, "kept": True}, f"{out}: there already"
        job = VideoSwap(
            engine,
            swapping,
            options.method,
            swapping.codes(options.method, face),
            to_tensor(face.image),
            video.rate,
            strengths=strengths,
            smoothing=Smoothing(options.smooth),
            aligned=options.aligned,
            crop=options.crop,
        )

        def tick(count: int) -> None:
            if count % TELL_EVERY == 0:
                complain(f"{path}: frame {count}{f' of {video.promised}' if video.promised else ''}")

        size = (engine.size, engine.size) if options.crop else video.size
        with mp4(out, size, video.rate, Provenance(request, engine.family, weights), sound=path) as writer:
            for frame in job.frames(video.frames(), tick):
                writer.add(frame)
        report = job.report()
        warnings = remarks(face)
        if video.request and (told := described(video.request)):
            warnings.append(f"{path.name}: {told}")
        if report["frames"] < video.promised:
            warnings.append(f"The clip ends after {report['frames']} of {video.promised} frames; it may be damaged.")
        if report["frames_without_face"]:
            warnings.append(f"{report['frames_without_face']} frames show no face that could be followed.")
        silent = writer.silent
        if silent:
            warnings.append(silent)
        if report["landmark_jitter"] is None:
            warnings.append("Landmark jitter was not measured: no landmark network, or too few frames with the face.")
        for warning in warnings:
            complain(f"{path}: {warning}")
        seconds = time.perf_counter() - started
        body = {
            "identity": str(who),
            "video": str(path),
            "method": options.method,
            **report,
            "identity_recogniser": engine.store.network("identity").id,
            "rate": round(video.rate, 3),
            "size": list(size),
            "sound": silent is None,
            "warnings": warnings,
            "seconds": round(seconds, 3),
            "weights": list(weights),
            "request": json.loads(request.to_json()),
            "output": str(out),
        }
        ledger.add(out, key, body)
        text = f"{path}: {report['frames']} frames in {seconds:.1f} s, identity {report['identity_coherence']['to_identity']}"
        return {**body, "kept": False}, f"{text}; written to {out}"

    # Clips of several calls share a folder, so each has a manifest of its own.
    with Ledger(out.parent, "swap-video", f"{out.stem}.manifest.json") as ledger:
        return each([source], work, options.json)
