"""How a model's word on a request becomes P(needs the slow lane): a logistic map per language, fitted on labelled rows, kept as JSON.

A file is of one model, one wording of the questions and one calibration of the answers beneath it: another of any of these makes the numbers wrong.
"""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from router.artifacts import MAX_MANIFEST_BYTES, PlattNumbers
from router.calibration import Calibration, PlattMap
from tandem.errors import RouterArtifactInvalid
from tandem.schemas.base import Wire

FOLDER: Final = Path(__file__).parents[1] / "artifacts" / "backends"
QUESTIONS_VERSION: Final = 1
"""Raised with every change of the questions' words in ``router/backends/questions.py``."""
RAW: Final = "none"
"""Version where nothing was fitted: the model's own probability is taken."""


class ScorerCalibration(Wire):
    """What stands in a calibration file."""

    format: Literal[1] = 1
    version: str = Field(min_length=1, max_length=100)
    model: str
    questions_version: int
    answers_calibration: str
    """Version of the calibration under which the model answered."""
    rows: int = Field(ge=0)
    overall: PlattNumbers
    by_language: dict[str, PlattNumbers]

    def maps(self) -> Calibration:
        """The maps, ready to be used."""
        by_language = {language: PlattMap(numbers.slope, numbers.offset) for language, numbers in self.by_language.items()}
        return Calibration(PlattMap(self.overall.slope, self.overall.offset), by_language)


def raw_calibration(model: str) -> ScorerCalibration:
    """P(slow) as the model says it."""
    overall = PlattNumbers(slope=1.0, offset=0.0)
    version, answers = RAW, RAW
    return ScorerCalibration(
        version=version, model=model, questions_version=QUESTIONS_VERSION, answers_calibration=answers, rows=0, overall=overall, by_language={}
    )


def load_scorer_calibration(model: str, folder: Path = FOLDER) -> ScorerCalibration:
    """The calibration of a model for the present questions; the raw one where none was fitted.

    Raises:
        RouterArtifactInvalid: The file is damaged.
    """
    path = calibration_path(model, folder)
    try:
        with path.open("rb") as file:
            calibration = ScorerCalibration.model_validate_json(file.read(MAX_MANIFEST_BYTES))
    except FileNotFoundError:
        return raw_calibration(model)
    except (OSError, ValidationError) as error:
        reason = f"Scorer calibration {str(path)!r} cannot be read ({type(error).__name__})."
        raise RouterArtifactInvalid(f"{reason} Restore the file, or fit it again with `python -m router.evaluation.backends`.") from error
    is_ours = calibration.model == model and calibration.questions_version == QUESTIONS_VERSION
    return calibration if is_ours else raw_calibration(model)


def calibration_path(model: str, folder: Path = FOLDER) -> Path:
    """Where a model's calibration stands."""
    return folder / f"{model.replace('/', '--')}.json"
