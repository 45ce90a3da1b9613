"""One clip: what is planned for it, and its pictures, sound and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.sample_corpus.episodes import Episode
from pipeline.sample_corpus.expression import Expression, Pose, express, move
from pipeline.sample_corpus.person import Person
from pipeline.sample_corpus.scene import Cover, ScenePainter
from pipeline.sample_corpus.soundtrack import control_times_s, mix_soundtrack, own_voice_share
from pipeline.sample_corpus.trajectories import MixedTrajectory, Trajectory
from pipeline.sample_corpus.voice import SAMPLE_RATE_HZ, Speaker, Utterance, speak

Split = Literal["Train_Set", "Validation_Set", "Test_Set"]
NOT_ANNOTATED = -5.0

_COVER_RAMP_S = 0.3
_LEAN_RAMP_S = 0.45
_OUT_OF_PICTURE = 1.15

# One stream of randomness for each purpose, so that a change in one leaves the others alone.
_VOICE, _SOUNDTRACK, _EXPRESSION, _POSE = range(4)


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """Everything that determines a clip.

    Attributes:
        clip_id: Name of the clip and its subject.
        split: Folder of the labels.
        num_frames: Pictures in the clip.
        fps: Pictures per second.
        seed: Seed of what is drawn while rendering.
        person: The subject's looks.
        speaker: The subject's voice.
        other_speaker: Whoever speaks off screen.
        valence: True valence.
        arousal: True arousal.
        face_valence: Valence that the face shows.
        face_arousal: Arousal that the face shows.
        voice_valence: Valence that the voice carries.
        voice_arousal: Arousal that the voice carries.
        episodes: Stretches in which a modality is of no use.
        not_annotated_s: Start and end of each stretch without labels, in seconds.
    """

    clip_id: str
    split: Split
    num_frames: int
    fps: int
    seed: tuple[int, ...]
    person: Person
    speaker: Speaker
    other_speaker: Speaker
    valence: Trajectory
    arousal: Trajectory
    face_valence: MixedTrajectory
    face_arousal: MixedTrajectory
    voice_valence: MixedTrajectory
    voice_arousal: MixedTrajectory
    episodes: tuple[Episode, ...]
    not_annotated_s: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """Length of the clip in seconds."""
        return self.num_frames / self.fps

    @property
    def frame_times_s(self) -> NDArray[np.float64]:
        """Time of each picture in seconds, shape (N,)."""
        return np.arange(self.num_frames) / self.fps


def labels(plan: ClipPlan) -> NDArray[np.float64]:
    """Valence and arousal of each picture, -5 where not annotated, shape (N, 2)."""
    times_s = plan.frame_times_s
    rows = np.stack([plan.valence.at(times_s), plan.arousal.at(times_s)], axis=1)
    for start_s, end_s in plan.not_annotated_s:
        rows[(times_s >= start_s) & (times_s < end_s)] = NOT_ANNOTATED
    return rows


def voice(plan: ClipPlan) -> Utterance:
    """The subject's voice, a little longer than the clip at both ends."""
    times_s = control_times_s(plan.seconds)
    valence, arousal = plan.voice_valence.at(times_s), plan.voice_arousal.at(times_s)
    return speak(plan.speaker, valence, arousal, float(times_s[0]), _randomness(plan, _VOICE))


def sound(plan: ClipPlan, utterance: Utterance) -> NDArray[np.float32]:
    """The sound of the clip, episodes included, at `SAMPLE_RATE_HZ`, shape (n,)."""
    num_samples = round(plan.seconds * SAMPLE_RATE_HZ)
    rng = _randomness(plan, _SOUNDTRACK)
    room_db = plan.speaker.room_db
    return mix_soundtrack(utterance, plan.episodes, plan.other_speaker, room_db, num_samples, rng)


def acting(plan: ClipPlan, utterance: Utterance) -> list[tuple[Expression, Pose, Cover | None]]:
    """What the subject's face and head do, and what covers the face, for each picture."""
    times_s = plan.frame_times_s
    arousal = plan.face_arousal.at(times_s)
    mouth = utterance.level_at(times_s) * own_voice_share(plan.episodes, times_s)
    lean = np.zeros(plan.num_frames)
    covers: list[Cover | None] = [None] * plan.num_frames
    for episode in plan.episodes:
        if episode.kind == "absence":
            side = -1.0 if episode.variant == "left" else 1.0
            lean += side * _OUT_OF_PICTURE * episode.weight(times_s, _LEAN_RAMP_S)
        elif episode.kind == "occlusion":
            for index, weight in enumerate(episode.weight(times_s, _COVER_RAMP_S)):
                if weight > 0:
                    covers[index] = Cover(variant=episode.variant, weight=float(weight))
    valence = plan.face_valence.at(times_s)
    expressions = express(valence, arousal, mouth, times_s, _randomness(plan, _EXPRESSION))
    poses = move(arousal, lean, times_s, plan.person.restlessness, _randomness(plan, _POSE))
    return list(zip(expressions, poses, covers, strict=True))


def pictures(plan: ClipPlan, utterance: Utterance) -> Iterator[NDArray[np.uint8]]:
    """Draw the pictures of the clip one by one, RGB, each of shape (240, 320, 3)."""
    painter = ScenePainter(plan.person)
    for expression, pose, cover in acting(plan, utterance):
        yield painter.paint(expression, pose, cover)


def _randomness(plan: ClipPlan, purpose: int) -> np.random.Generator:
    """The stream of randomness for one purpose in one clip."""
    return np.random.default_rng((*plan.seed, purpose))
