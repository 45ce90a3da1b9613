"""Faces by tracking against facenet-pytorch's `MTCNN.detect` on every frame, on the same frames.

The frames are decoded beforehand, for both. Ours includes the search for cuts, the tracks and the crops,
which the other side is spared. Everything is a ratio within one run, since two runs on a shared machine
differ by more than what is measured; the two sides take turns, and each keeps its best turn.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN
from machine import write_result
from PIL import Image

from pipeline.config import CorpusConfig, FaceConfig
from pipeline.faces.cropped_faces import cropped_faces
from pipeline.faces.detector import Face, FaceDetector
from pipeline.faces.scene_cuts import scenes_of
from pipeline.faces.track_links import intersection_over_union
from pipeline.faces.tracks import track_faces
from pipeline.media.video import VideoFrame, decode_video
from pipeline.sample_corpus import write_sample_corpus

CORPUS = CorpusConfig(clips=4, seconds=6.0)
FACES = FaceConfig()
TURNS = 3
CROPS = (48,)


def frames_of(pictures: list[np.ndarray]) -> list[VideoFrame]:
    return [
        VideoFrame(index=index, time_s=index / 25, rgb=picture, row_times_s=(index / 25,))
        for index, picture in enumerate(pictures)
    ]


def two_people(clips: list[list[VideoFrame]], sway_px: float, frames_per_radian: float) -> list[VideoFrame]:
    """Two people who sway before the camera, then a cut to a close-up of a third, and twice back."""
    left, right, third = ([frame.rgb for frame in clip[:100]] for clip in clips[:3])
    pictures = []
    for number, (one, other) in enumerate(zip(left, right, strict=True)):
        both = np.concatenate((one, other), axis=1)  # 640 x 240
        zoom = 1.1 + 0.1 * np.sin(number / 9)
        x = 80 + sway_px * np.sin(number / frames_per_radian)
        box = (x, 120 - 120 / zoom, x + 480 / zoom, 120 + 120 / zoom)
        pictures.append(np.asarray(Image.fromarray(both).resize((640, 320), Image.Resampling.BILINEAR, box)))
    close = [np.asarray(Image.fromarray(each).resize((640, 320), box=(40, 30, 280, 150))) for each in third]
    return frames_of([*pictures[:40], *close[:30], *pictures[40:70], *close[30:50]])


def hd_clip(clip: list[VideoFrame]) -> list[VideoFrame]:
    """Two seconds in 720p."""
    enlarged = (
        Image.fromarray(frame.rgb).resize((960, 720), Image.Resampling.BICUBIC) for frame in clip[:50]
    )
    return frames_of(
        [np.pad(np.asarray(each), ((0, 0), (160, 160), (0, 0)), mode="edge") for each in enlarged]
    )


def every_frame(mtcnn: MTCNN, frames: list[VideoFrame]) -> list[list[Face]]:
    """The package's own answer for each frame."""
    found = []
    for frame in frames:
        boxes, scores, landmarks = mtcnn.detect(frame.rgb, landmarks=True)
        faces = [] if boxes is None else zip(boxes, scores, landmarks, strict=True)
        found.append(
            [
                Face(box=box.astype(np.float32), score=float(score), landmarks=points)
                for box, score, points in faces
                if score >= FACES.min_probability
            ]
        )
    return found


def agreement(crops: list, exact: list[list[Face]]) -> list[bool]:
    """Whether each frame has the face that detection finds in it, with an overlap of 0.85.

    Where a frame shows several people, whose face it is, is a matter of choice: then the face must be one of
    those detected. Where detection finds none, there must be none.
    """
    agree = []
    for crop, faces in zip(crops, exact, strict=True):
        if crop.box is None or not faces:
            agree.append(crop.box is None and not faces)
        else:
            agree.append(max(intersection_over_union(crop.box, face.box) for face in faces) >= 0.85)
    return agree


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measured(
    clips: list[list[VideoFrame]], detector: FaceDetector, mtcnn: MTCNN, spill: Path
) -> dict[str, object]:
    """Both sides on some clips."""

    def tracked() -> list:
        return [
            crop
            for frames in clips
            for crop in track_faces(iter(frames), detector, FACES, CROPS, "largest", spill)
        ]

    whole = [frame for frames in clips for frame in frames]
    some = [frame.rgb for frame in whole[::8]]
    ours_s, theirs_s, alone_s, cuts_s = [], [], [], []
    for _ in range(TURNS):
        seconds, exact = timed(lambda: every_frame(mtcnn, whole))
        theirs_s.append(seconds)
        seconds, crops = timed(tracked)
        ours_s.append(seconds)
        theirs_on_some_s = timed(lambda: [mtcnn.detect(picture, landmarks=True) for picture in some])[0]
        alone_s.append((theirs_on_some_s, timed(lambda: detector.detect(some))[0]))
        cuts_s.append(timed(lambda: [list(scenes_of(frames)) for frames in clips])[0])
    theirs_on_some_s, ours_on_some_s = (min(side) for side in zip(*alone_s, strict=True))
    return {
        "picture": f"{whole[0].rgb.shape[1]} x {whole[0].rgb.shape[0]}",
        "frames": len(whole),
        "mtcnn_every_frame_per_s": round(len(whole) / min(theirs_s), 1),
        "tracked_frames_per_s": round(len(whole) / min(ours_s), 1),
        "ratio": round(min(theirs_s) / min(ours_s), 2),
        "detector_alone_ratio": round(theirs_on_some_s / ours_on_some_s, 2),
        "cuts_ms_per_frame": round(1000 * min(cuts_s) / len(whole), 3),
        "share_within_iou_0.85": round(float(np.mean(agreement(crops, exact))), 4),
    }


def cropped_images_per_s(frames: list[VideoFrame], folder: Path) -> dict[str, float]:
    """Faces that come cropped, 112 x 112 as in Aff-Wild2, on one core."""
    for frame in frames:
        face = Image.fromarray(frame.rgb).resize((112, 112), box=(60, 0, 300, 240))
        face.save(folder / f"{frame.index + 1:05d}.jpg", quality=95)

    def seconds_for(size_px: int) -> float:
        return min(timed(lambda: list(cropped_faces(frames, folder, (size_px,))))[0] for _ in range(TURNS))

    return {f"{size_px} px": round(len(frames) / seconds_for(size_px)) for size_px in (48, 112)}


def main() -> None:
    torch.set_num_threads(1)  # of both sides: a worker has one core
    detector = FaceDetector(FACES.min_size_px)
    mtcnn = MTCNN(keep_all=True, min_face_size=FACES.min_size_px).eval()
    with tempfile.TemporaryDirectory() as folder:
        write_sample_corpus(Path(folder) / "corpus", CORPUS)
        media = sorted((Path(folder) / "corpus" / "videos").iterdir())
        clips = [list(decode_video(path)) for path in media]
        sets = {
            "sample_corpus": clips,
            # Faces of 110 to 180 px move by up to 8 px from frame to frame and turn back within a second.
            "two_people_fast_motion_cuts": [two_people(clips, 50, 8)],
            # By up to 21 px, and back within 0.6 s: the limit of straight lines over five frames.
            "two_people_shaking_camera_cuts": [two_people(clips, 80, 5)],
            "720p": [hd_clip(clips[0])],
        }
        spill = Path(folder) / "spill"
        spill.mkdir()
        results = {name: measured(each, detector, mtcnn, spill) for name, each in sets.items()}
        images = Path(folder) / "cropped"
        images.mkdir()
        cropped = cropped_images_per_s(frames_of([frame.rgb for clip in clips for frame in clip]), images)
    write_result(
        "faces",
        {"detect_every": FACES.detect_every, "threads": 1, "clips": results, "cropped_images_per_s": cropped},
    )


if __name__ == "__main__":
    main()
