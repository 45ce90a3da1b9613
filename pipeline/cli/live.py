"""`tagf live`."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options

if TYPE_CHECKING:
    from pipeline.live.live_session import LiveSession


@click.command("live")
@click.argument("media", type=options.PATH, required=False)
@click.option("--camera", help="Number of a camera, or its device file, instead of a file.")
@click.option(
    "--microphone",
    is_flag=False,
    flag_value="default",
    help="With --camera: listen to this ALSA device, by default the default one. Without it, a camera's "
    "audio rows are silence.",
)
@click.option(
    "--checkpoint",
    required=True,
    help="A run's best.safetensors, its folder, a folder of `tagf export`, or OWNER/NAME on the Hugging Face "
    "Hub; trained on features with extract.audio.anchor end.",
)
@click.option("--out", type=options.OUT, help="CSV file to write; by default, standard output.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Answer every n-th frame; those between hold its embeddings.",
)
@click.option("--seconds", type=options.FiniteRange(min=0, min_open=True), help="Stop after so long.")
@click.option(
    "--as-fast-as-possible",
    is_flag=True,
    help="Do not keep a file's own pace: answer each frame, one after the other.",
)
@click.option(
    "--params",
    type=options.PATH,
    help="YAML file whose extract section says where the backbones' weights are.",
)
@options.weights_option
@options.device_option
def command(
    media: Path | None,
    camera: str | None,
    microphone: str | None,
    checkpoint: str,
    out: Path | None,
    every: int,
    seconds: float | None,
    as_fast_as_possible: bool,
    params: Path | None,
    weights: tuple[tuple[str, str], ...],
    device: str,
) -> None:
    """Valence and arousal of a camera, or of a file at its own pace.

    Writes a line time_s,valence,arousal,face_found,latency_ms per answer; a terminal shows the latest one.
    Latency is the time from a frame's arrival to its answer. A frame that arrives while another is worked on
    is skipped when a newer one follows. Ends with the file or with Ctrl-C, and says how fast it was.

    \b
    Examples:
        tagf live clip.mp4 --checkpoint runs/live
        tagf live clip.mp4 --checkpoint runs/live --out clip.csv --as-fast-as-possible
        tagf live --camera 0 --microphone --checkpoint runs/live --out session.csv
    """
    if (media is None) == (camera is None):
        raise click.UsageError("expected either a file or --camera, got " + ("both" if media else "neither"))
    if camera is not None and as_fast_as_possible:
        raise click.UsageError("--as-fast-as-possible is for files: a camera has its own pace")
    if camera is None and microphone is not None:
        raise click.UsageError("--microphone goes with --camera: a file brings its own sound")

    from pipeline.live.live_session import open_session

    session = open_session(
        checkpoint,
        media=media,
        camera=camera,
        microphone=microphone,
        every=every,
        at_own_pace=not as_fast_as_possible,
        params=params,
        weights=dict(weights),
        device=device,
    )
    for note in session.notes:
        click.echo(f"live: note: {note}", err=True)
    _run(session, out, seconds)


def _run(session: LiveSession, out: Path | None, seconds: float | None) -> None:
    from pipeline.live.answer_output import CsvOutput, TerminalOutput, new_file
    from pipeline.live.live_summary import LiveTally

    tally, answers = LiveTally(), session.answers()
    started_s = time.monotonic()
    with ExitStack() as stack:
        outputs: list[CsvOutput | TerminalOutput] = []
        if out is not None:
            outputs.append(CsvOutput(stack.enter_context(new_file(out))))
        try:
            if sys.stdout.isatty():
                outputs.append(TerminalOutput(sys.stdout))
            elif out is None:
                outputs.append(CsvOutput(sys.stdout))
            for answer in answers:
                tally.add(answer)
                for output in outputs:
                    output.add(answer)
                if seconds is not None and time.monotonic() - started_s >= seconds:
                    break
        except KeyboardInterrupt:
            pass  # the usual end of a live prediction
        except BrokenPipeError:
            # Whoever read the lines has enough; what Python still holds back would fail once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            answers.close()
            for output in outputs:
                output.close()
            if tally.num_answers:
                elapsed_s = time.monotonic() - started_s
                click.echo(f"live: {tally.summary(session.source, elapsed_s)}", err=True)
