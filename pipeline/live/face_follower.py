"""The largest face in picture after picture, told without the pictures after it.

    picture     0   1   2   3   4   5   6   7   8   9      detect_every 5
    MTCNN       D                   D       D               on every fifth, where a scene begins, and where a
    O-Net           r   r   r   r       r!      r   r       face that was followed is lost (!)

Stage one interpolates between detections instead. With `detect_every: 1` both detect in every picture and
give the same faces, but where stage one tells a flash from a cut.
"""

from __future__ import annotations

from pipeline.config import FaceConfig
from pipeline.faces.choice import FaceChooser, TrackedFace
from pipeline.faces.detector import Detector, Face
from pipeline.faces.track_links import TrackLinker
from pipeline.live.face_refiner import FaceRefiner
from pipeline.live.live_source import LiveFrame
from pipeline.live.scene_watch import SceneWatch

# A face once found is followed while O-Net gives it so much: MTCNN's own threshold for that network, which
# sees a square from the picture before less well placed than MTCNN's own.
MIN_FOLLOWED = 0.7


class FaceFollower:
    """Follows the faces of a live source, and chooses whose counts, as `FaceChooser` does for `largest`.

    Args:
        detector: Finds faces in a whole picture.
        refiner: Finds faces again that were near.
        config: How often to detect, which faces count.
    """

    def __init__(self, detector: Detector, refiner: FaceRefiner, config: FaceConfig) -> None:
        self._detector, self._refiner, self._config = detector, refiner, config
        self._scenes, self._linker, self._chooser = SceneWatch(), TrackLinker(), FaceChooser("largest")
        self._faces: list[Face] = []  # of the picture before
        self._num_followed = 0  # pictures since the last detection

    def face(self, frame: LiveFrame) -> Face | None:
        """The largest face in the next picture, None where there is none."""
        begins_scene = self._scenes.begins(frame.rgb)
        if begins_scene:
            self._linker.begin_scene()
        self._faces = self._faces_of(frame, begins_scene=begins_scene)
        tracks = self._linker.link(frame.time_s, self._faces)
        tracked = [
            TrackedFace(track=track, face=face) for track, face in zip(tracks, self._faces, strict=True)
        ]
        chosen = self._chooser.choose(tracked, frame.time_s, frame.rgb.shape[1], begins_scene=begins_scene)
        return None if chosen is None else chosen.face

    def _faces_of(self, frame: LiveFrame, *, begins_scene: bool) -> list[Face]:
        self._num_followed += 1
        if not begins_scene and self._num_followed < self._config.detect_every:
            faces = self._refiner.refine(frame.rgb, self._faces)
            if all(face.score >= min(MIN_FOLLOWED, self._config.min_probability) for face in faces):
                return faces
        self._num_followed = 0
        (found,) = self._detector.detect([frame.rgb])
        return [face for face in found if face.score >= self._config.min_probability]
