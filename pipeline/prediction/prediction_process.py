"""The child process that predicts clips: `python -m pipeline.prediction.prediction_process`.

It holds the networks and the heads. A file that makes it crash, hang or swell takes no other clip with it:
see `pipeline.run.clip_supervisor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache.file_digest import file_digest
from pipeline.errors import ExtractionError
from pipeline.prediction.prediction_task import PredictionTask, PredictorSettings
from pipeline.run.clip_process import Heart, serve

if TYPE_CHECKING:
    from pipeline.prediction.predictor import Predictor
    from pipeline.prediction.store_predictor import StorePredictor


def main() -> None:
    """Predict clips until the run says no more."""
    loaded = _LoadedPredictor()
    serve(loaded.predict)


class _LoadedPredictor:
    """The networks and heads of the last settings that were asked for."""

    def __init__(self) -> None:
        self._settings: PredictorSettings | None = None
        self._predictor: Predictor | StorePredictor | None = None

    def predict(self, task: PredictionTask, heart: Heart) -> object:
        """Whatever is wrong with the clip is in the answer; what is raised no clip would have survived."""
        # Late, because it imports torch: the run is told at once that its child is alive.
        from pipeline.prediction.clip_prediction import predict_clip

        predictor = self._get(task.predictor)
        heart.beat()
        return predict_clip(task, predictor, heart)

    def _get(self, settings: PredictorSettings) -> Predictor | StorePredictor:
        if self._predictor is None or settings != self._settings:
            self._predictor = None
            for path, digest in zip(settings.checkpoints, settings.digests, strict=True):
                if file_digest(path) != digest:
                    raise ExtractionError(
                        f"{path} was written to since the prediction began; run again when its training has "
                        "ended, or give a copy of it"
                    )
            self._predictor, self._settings = _load(settings), settings
        return self._predictor


def _load(settings: PredictorSettings) -> Predictor | StorePredictor:
    if settings.from_store:
        from pipeline.prediction.store_predictor import StorePredictor

        return StorePredictor.from_checkpoint(
            settings.checkpoints, device=settings.device, smoothing=settings.smoothing
        )
    from pipeline.prediction.predictor import Predictor

    return Predictor.from_checkpoint(
        list(settings.checkpoints),
        device=settings.device,
        params=settings.params,
        weights=dict(settings.weights),
        subject=settings.subject,
        smoothing=settings.smoothing,
    )


if __name__ == "__main__":
    main()
