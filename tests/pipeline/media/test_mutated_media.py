"""Damaged files decode or are refused by name, and do nothing else; a sample of the soak run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NUM_FILES, DEADLINE_S = 210, 600
MUTATED_MEDIA = Path(__file__).resolve().parents[2] / "mutated_media.py"

# In a process of its own: a decoder that crashes or hangs is to fail the test, not the test run.
DECODE = """
import importlib.util, sys
from pathlib import Path
import numpy as np
from pipeline.media.audio import stream_sound
from pipeline.errors import PipelineError
from pipeline.media.video import decode_video, video_facts

spec = importlib.util.spec_from_file_location("mutated_media", sys.argv[1])
mutated_media = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutated_media)
path, num_files = Path(sys.argv[2]), int(sys.argv[3])
seeds = mutated_media.seeds()
names = sorted(seeds)


def count(what):
    try:
        return len(list(what()))
    except PipelineError as error:
        assert "\\n" not in str(error) and repr(str(path)) in str(error), str(error)
        return None


ways = [lambda: decode_video(path), lambda: decode_video(path, pictures=False),
        lambda: stream_sound(path).pieces, lambda: video_facts(path)]
for name in names:
    path.write_bytes(seeds[name])
    assert count(ways[0]) == count(ways[1]) == 12, name
    assert count(ways[2]), name
decoded = refused = 0
for number in range(num_files):
    rng = np.random.default_rng([number, 3])
    name, other = names[number % len(names)], names[int(rng.integers(len(names)))]
    path.write_bytes(mutated_media.mutate(seeds[name], rng, seeds[other]))
    counts = [count(way) for way in ways]
    decoded += sum(each is not None for each in counts)
    refused += sum(each is None for each in counts)
    assert counts[0] == counts[1], (number, name, counts)
print("decoded", decoded, "refused", refused)
"""


def test_damaged_files_decode_or_are_refused_by_name(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DECODE, str(MUTATED_MEDIA), str(tmp_path / "clip.bin"), str(NUM_FILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    _, decoded, _, refused = done.stdout.splitlines()[-1].split()
    assert min(int(decoded), int(refused)) > NUM_FILES // 2  # damage that is neither harmless nor hopeless
