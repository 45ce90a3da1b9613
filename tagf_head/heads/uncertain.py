"""Any head, with a predicted standard deviation beside each estimate.

The deviation sigma is heteroscedastic: one per frame and target, trained by the likelihood of the head's
errors (Nix and Weigend, 1994; Kendall and Gal, 2017). Unlike theirs, the likelihood trains sigma alone, and
the estimate stays that of its CCC loss.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from tagf_head.heads.head import Head, HeadOutput
from tagf_head.layers.deviation import DeviationEstimator


class UncertainHead(Head):
    """A head whose prediction stays what it is, and an estimator of its error's standard deviation.

    The estimator reads the features that the head's regressor reads, cut off from the gradient, and its first
    weights leave torch's random state as it was: so it changes nothing about the prediction, in training and
    after.

    Args:
        head: For any targets.
        hidden_features: Hidden width of the estimator.
        num_outputs: Number of the head's targets.
    """

    #: Name of the deviations' factor, `(num_outputs,)`, in the head's `state_dict`.
    SCALE: Final = "deviation.scale"

    def __init__(self, head: Head, hidden_features: int, num_outputs: int) -> None:
        super().__init__()
        self.head = head
        self.num_features = head.num_features
        self.gate_candidates = head.gate_candidates
        with torch.random.fork_rng(devices=[]):
            self.deviation = DeviationEstimator(head.num_features, hidden_features, num_outputs)

    def estimate(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> HeadOutput:
        """As `Head.estimate`, with the deviation."""
        found = self.head.estimate(visual, audio, frame_mask)
        # As in training, where the head's `forward` cuts off what stands in padding, which may be NaN.
        features = found.features.detach().masked_fill(~frame_mask[..., None], 0)
        return replace(found, deviation=self.deviation(features))
