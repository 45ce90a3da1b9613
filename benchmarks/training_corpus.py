"""A corpus of Aff-Wild2's size with random features: store, labels, and the rows as one npy file per clip.

The lengths are those of 434 real videos, drawn with a seed from a published list of the frame counts of
Aff-Wild2's trials until they made up the 2.07 million frames of its valence and arousal task.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache import ClipFeatures, ClipKey, FeatureSpec, FeaturesSource, StreamSpec
from cache.store_writer import write_store

LENGTHS = """
2862 300 847 5659 3362 4567 6841 1822 1800 2640 2517 3570 1912 4995 276 3677 5861 3562 3451 1773 4413 6511
3682 4379 3567 2248 5389 4450 10695 3841 2110 10671 4355 680 5086 308 2856 2555 3849 4582 2336 10076 2936
2308 4918 2502 3366 4578 2260 771 460 6153 4916 3854 5434 5986 7585 696 2911 1473 5232 2468 3861 1685 4753
1751 4830 3336 6667 4444 4665 2917 9423 5343 7011 2797 6213 5389 179 4925 5039 4156 6002 1930 1691 1272
3494 2267 11020 18144 784 8163 10281 6121 4422 5124 3790 6702 8789 3331 2866 6183 5265 992 5579 2713 18189
2932 940 7043 7741 4717 4432 5260 6702 2702 7862 1919 15020 4487 4556 11204 1394 6486 6397 2944 5685 5583
4892 21937 8217 1464 1728 3377 4388 15658 8433 4768 8123 2639 6415 2424 2873 4722 3288 23148 300 5335
27241 1939 8379 2704 1834 5070 2498 2664 2162 274 2928 2064 457 11644 2976 2929 4651 10469 886 116 10678
4054 5840 5199 3113 4207 4274 2403 5041 3591 3976 4081 2806 2978 4568 5453 2137 6791 1789 4001 4310 1095
4022 6286 4594 3222 1501 3598 7985 3817 2042 2393 1802 2499 4169 7010 2296 5925 2233 2501 2957 8001 3229
4602 2769 3526 7189 2494 3238 4777 6333 5673 4366 8419 3783 2983 7979 3937 12065 4717 4127 2693 4438 3004
2372 2420 5310 3096 9186 3509 11271 6645 630 5426 2375 3409 847 10855 3062 7553 2583 419 3310 8419 19352
1924 10013 2836 1673 1212 8012 2706 3172 2321 443 3386 2344 396 3288 5614 4407 26617 3062 3614 9978 3550
812 4300 7946 402 2284 6188 820 2913 3673 2883 9226 4203 12033 5204 19694 1265 2465 3038 2065 2530 3615
1067 1964 294 4405 3269 4744 9113 2468 4033 3794 8165 2554 4081 9013 5109 5473 18781 4777 2604 837 4263
8552 16418 2756 3512 4786 3950 3552 10628 3199 5315 6121 2412 11259 4442 1373 5402 5153 7757 1869 3592
2903 18189 1950 1404 2906 10921 15605 2779 4286 3603 710 324 2856 2064 7246 4404 5672 3240 7399 3937 2155
2276 3333 2015 4562 3891 4096 5743 3461 154 11868 8461 7801 3480 4365 7172 4120 4678 10679 6808 525 3662
2425 2944 1592 9423 1038 3398 5603 303 4157 10102 2553 1345 419 4850 3769 5693 10806 964 4619 5248 276
5787 1052 3591 4479 2988 6719 2212 10494 3591 7985 2270 3937 5915 15041 1631 3875 2919 4912 2335 2101 3318
4632 2978 4697 640 12486 8727 7413 2944 4590 6633 4165 4052 4459 3150
"""
# So many of the clips are for training, which gives some 7,000 windows of 300 frames every 200.
TRAINING_SHARE = 296 / 434

VISUAL_FEATURES, AUDIO_FEATURES = 512, 128
SPEC = FeatureSpec(
    streams=(
        StreamSpec(name="visual", num_features=VISUAL_FEATURES, views=("center",)),
        StreamSpec(name="audio", num_features=AUDIO_FEATURES),
    ),
    settings={"benchmark": "random rows"},
)
_FEWEST_CLIPS = 20  # give the windows of an epoch
_NUM_DRAWN_ROWS, _NUM_DRAWN_LABELS = 2**16, 1000


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Where everything lies.

    Attributes:
        store: Feature store.
        annotations: Labels, a split for training and one for validation.
        npy: Folder of CLIP.npy, ``(N, 512 + 128)`` float16.
        num_rows: Rows of all clips.
        num_clips: Number of clips.
    """

    store: Path
    annotations: Path
    npy: Path
    num_rows: int
    num_clips: int


def write_corpus(folder: Path, share: float, *, with_npy: bool = True) -> Corpus:
    """Write a corpus of a share of the clips below a folder; without npy files it takes half the disk."""
    lengths = [int(length) for length in LENGTHS.split()]
    lengths = lengths[: max(_FEWEST_CLIPS, round(share * len(lengths)))]
    num_training = round(TRAINING_SHARE * len(lengths))
    corpus = Corpus(
        store=folder / "features.zarr",
        annotations=folder / "annotations",
        npy=folder / "npy",
        num_rows=sum(lengths),
        num_clips=len(lengths),
    )
    corpus.npy.mkdir()
    random = np.random.default_rng(0)
    # Clips are pieces of one block of rows, which takes a tenth of the time of drawing each row.
    drawn = random.standard_normal((_NUM_DRAWN_ROWS, VISUAL_FEATURES + AUDIO_FEATURES), np.float32)
    rows = drawn.astype(np.float16)
    del drawn
    lines = np.array([f"{v:.3f},{a:.3f}\n" for v, a in random.uniform(-1, 1, (_NUM_DRAWN_LABELS, 2))])
    sources = []
    for number, length in enumerate(lengths):
        start = int(random.integers(_NUM_DRAWN_ROWS - length + 1))
        clip_rows = rows[start : start + length]
        clip_id = f"clip{number:03d}"
        if with_npy:
            np.save(corpus.npy / f"{clip_id}.npy", clip_rows)
        sources.append(_source(clip_id, number, clip_rows))
        split = "Train_Set" if number < num_training else "Validation_Set"
        path = corpus.annotations / split / f"{clip_id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("valence,arousal\n" + "".join(random.choice(lines, length)))
    write_store(sources, SPEC, corpus.store)
    return corpus


def _source(clip_id: str, number: int, rows: NDArray[np.float16]) -> FeaturesSource:
    key = ClipKey(
        clip_id=clip_id,
        media_sha256=f"{number:064x}",
        faces_sha256=None,
        selection="all",
        fingerprint=SPEC.fingerprint,
    )
    features = ClipFeatures(
        streams={"visual": rows[np.newaxis, :, :VISUAL_FEATURES], "audio": rows[:, VISUAL_FEATURES:]},
        time_s=np.arange(len(rows)) / 30,
        source_frame=np.arange(len(rows)),
        face_found=np.ones(len(rows), bool),
        audio_found=np.ones(len(rows), bool),
        face_box=np.ones((len(rows), 4), np.float32),
        face_score=np.ones(len(rows), np.float32),
    )
    return FeaturesSource(key, features, {})
