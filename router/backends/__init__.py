"""Scoring backends that ask a model instead of weighing words: they implement ``ports.Scorer`` over ``ports.DecisionModel``."""

from router.backends.calibration import RAW, ScorerCalibration, load_scorer_calibration
from router.backends.questions import QuestionScorer

__all__ = ["RAW", "QuestionScorer", "ScorerCalibration", "load_scorer_calibration"]
