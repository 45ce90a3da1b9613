"""Pictures to a server, the faces in them back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.backbone_server.wire import Message
from pipeline.faces.detector import Face


def faces_message(faces_of: Sequence[Sequence[Face]]) -> Message:
    """A message that carries the faces of several pictures."""
    faces = [face for picture in faces_of for face in picture]
    return Message(
        kind="faces",
        fields={"counts": [len(picture) for picture in faces_of], "scores": [face.score for face in faces]},
        arrays=(
            np.array([face.box for face in faces], dtype=np.float32).reshape(-1, 4),
            np.array([face.landmarks for face in faces], dtype=np.float32).reshape(-1, 5, 2),
        ),
    )


def faces_of(message: Message) -> list[tuple[Face, ...]]:
    """The faces that a message carries, of each picture."""
    boxes, landmarks = message.arrays
    faces = (
        Face(box=box, score=score, landmarks=points)
        for box, score, points in zip(boxes, message.fields["scores"], landmarks, strict=True)
    )
    return [tuple(next(faces) for _ in range(count)) for count in message.fields["counts"]]
