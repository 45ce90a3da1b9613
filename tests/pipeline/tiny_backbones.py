"""Backbones that cost nothing, and one that makes trouble; the processes under test import them."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.backbones.backbone import Backbone
from pipeline.backbones.clip_stream import ClipFrames, ClipStream

# Held to the end of the process, so that a test sees when the last one has come to it.
if lifeline := os.environ.get("TEST_LIFELINE"):
    os.open(lifeline, os.O_WRONLY)


class TinyFaces(Backbone):
    """Mean and deviation of each colour."""

    takes = "faces"
    num_features = 6
    input_shape = (3, 40, 40)

    def __init__(self, weights: str) -> None:
        super().__init__()

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return torch.cat([faces.mean((2, 3)), faces.std((2, 3))], dim=1)


class TinyMel(Backbone):
    """Mean of every eighth band."""

    takes = "log_mel"
    num_features = 8
    input_shape = (1, 96, 64)

    def __init__(self, weights: str) -> None:
        super().__init__()

    def forward(self, examples: torch.Tensor) -> torch.Tensor:
        return examples[:, 0, :, ::8].mean(1)


class Trouble(ClipStream):
    """Ones; but clips are in trouble whose names say so."""

    num_features = 1

    def rows(self, clip: ClipFrames) -> NDArray[np.float32]:
        if "hangs" in clip.clip_id:
            threading.Event().wait()
        elif "crashes" in clip.clip_id:
            os.kill(os.getpid(), signal.SIGSEGV)
        elif "swells" in clip.clip_id:
            self.memory = [np.ones(2**20)]
            while True:
                self.memory.append(np.ones(2**20))  # 8 MiB
        elif "kills" in clip.clip_id:
            os.kill(os.getppid(), signal.SIGKILL)
            threading.Event().wait()
        elif "ends the run" in clip.clip_id:
            os.kill(int(os.environ["TEST_RUN_PID"]), signal.SIGKILL)
            threading.Event().wait()
        elif "raises" in clip.clip_id:
            raise RuntimeError("no such\nthing")
        return np.ones((len(clip.time_s), 1), np.float32)
