"""Temperatures of the read-out probabilities, one per kind of question, fitted on labelled rows the model was not asked about otherwise.

A temperature above 1 takes certainty out of the probabilities; the order of the options stays. A file is of one model and one wording of the prompt.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from fast_model.question_prompts import PROMPT_VERSION
from tandem.errors import SettingsInvalid
from tandem.schemas.base import Wire
from tandem.schemas.questions import QuestionKind

FOLDER: Final = Path(__file__).parent / "calibrations"
MAX_BYTES: Final = 100_000
RAW: Final = "none"
"""Version of probabilities that nothing was fitted to."""
_LOWEST, _HIGHEST = 0.05, 20.0
_STEPS: Final = 60


class FittedTemperature(Wire):
    """The temperature of one kind of question, with what it did on rows it was not fitted on."""

    temperature: float = Field(gt=0, le=100)
    rows: int = Field(ge=1)
    """Labelled rows it was fitted on."""
    loss_before: float = Field(ge=0)
    """Mean negative log-likelihood of the right option at temperature 1, on held-out rows."""
    loss_after: float = Field(ge=0)
    ece_before: float = Field(ge=0, le=1)
    """Calibration error of the likeliest option on held-out rows."""
    ece_after: float = Field(ge=0, le=1)
    accuracy: float = Field(ge=0, le=1)
    """Of the likeliest option, which no temperature changes."""


class ReadoutCalibration(Wire):
    """What stands in a calibration file."""

    format: Literal[1] = 1
    version: str = Field(min_length=1, max_length=100)
    model: str
    prompt_version: int
    temperatures: dict[QuestionKind, FittedTemperature]
    sources: list[str]
    """Data it was fitted on, with their licences."""

    def temperature(self, kind: QuestionKind) -> float:
        """1 where nothing was fitted."""
        fitted = self.temperatures.get(kind)
        return fitted.temperature if fitted else 1.0


def raw_calibration(model: str) -> ReadoutCalibration:
    """The probabilities as the model gives them."""
    return ReadoutCalibration(version=RAW, model=model, prompt_version=PROMPT_VERSION, temperatures={}, sources=[])


def load_calibration(model: str, folder: Path = FOLDER) -> ReadoutCalibration:
    """The calibration of a model for the present prompt; the raw one where none was fitted.

    Raises:
        SettingsInvalid: The file is damaged; restore it, or fit again with ``python -m fast_model.calibrate``.
    """
    path = folder / f"{model.replace('/', '--')}.json"
    try:
        with path.open("rb") as file:
            calibration = ReadoutCalibration.model_validate_json(file.read(MAX_BYTES))
    except FileNotFoundError:
        return raw_calibration(model)
    except (OSError, ValidationError) as error:
        reason = f"the calibration {str(path)!r} cannot be read ({type(error).__name__})"
        raise SettingsInvalid(f"{reason}; restore it, or fit it again with `python -m fast_model.calibrate`") from error
    is_ours = calibration.model == model and calibration.prompt_version == PROMPT_VERSION
    return calibration if is_ours else raw_calibration(model)


def tempered(logits: Sequence[float], temperature: float) -> list[float]:
    """Softmax of the logits divided by the temperature."""
    peak = max(logits)
    weights = [math.exp((logit - peak) / temperature) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def fit_temperature(logits: Sequence[Sequence[float]], labels: Sequence[int]) -> float:
    """The temperature under which the right options are likeliest; the loss has one valley, found by ternary search on its logarithm."""
    return _valley(lambda log_t: mean_loss(logits, labels, math.exp(log_t)), math.log(_LOWEST), math.log(_HIGHEST))


def mean_loss(logits: Sequence[Sequence[float]], labels: Sequence[int], temperature: float) -> float:
    """Mean negative log-likelihood of the right options."""
    losses = [-math.log(max(tempered(row, temperature)[label], 1e-12)) for row, label in zip(logits, labels, strict=True)]
    return sum(losses) / len(losses)


def _valley(loss: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(_STEPS):
        third = (high - low) / 3
        if loss(low + third) <= loss(high - third):
            high -= third
        else:
            low += third
    return math.exp((low + high) / 2)
