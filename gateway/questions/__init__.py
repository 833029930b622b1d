"""Typed questions answered with probabilities: what stands behind ``/v1/systemone`` and ``/v1/decisions``."""

from gateway.questions.desk import READOUT_SHARE, QuestionDesk, open_decision_model, open_readout, open_scorers

__all__ = ["READOUT_SHARE", "QuestionDesk", "open_decision_model", "open_readout", "open_scorers"]
