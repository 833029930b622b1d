"""Reads and writes scoring artefacts: a JSON manifest and an ``.npz`` of weights, no pickle anywhere.

Covered: size, SHA-256 of the weights, format and feature versions, names, shapes, dtypes, finiteness. Not covered: the manifest is not signed, so
whoever can replace both files can replace the model.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field, ValidationError

from router.calibration import Calibration, Calibrations, PlattMap
from router.classifier import ConversationWeights, LinearClassifier
from router.features import BUCKETS, DENSE_NAMES, FEATURES_VERSION
from router.heads import HEADS, Blend, Heads
from tandem.errors import RouterArtifactInvalid
from tandem.ports import Classifier
from tandem.schemas.base import Wire

SHIPPED: Final = Path(__file__).parent / "artifacts" / "linear.json"
MAX_WEIGHTS_BYTES: Final = 10_000_000
MAX_MANIFEST_BYTES: Final = 100_000
DECIMALS: Final = 6
"""Numbers are rounded so that the last bits of a machine's arithmetic do not change the files."""


class PlattNumbers(Wire):
    """Log-odds = ``slope * score + offset``."""

    slope: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)


class CalibrationNumbers(Wire):
    """The maps of one output."""

    overall: PlattNumbers
    by_language: dict[str, PlattNumbers]


class CalibrationsNumbers(Wire):
    """The maps of the outputs that are probabilities."""

    slow: CalibrationNumbers
    fast_fails: CalibrationNumbers
    slow_fixes: CalibrationNumbers
    tools: CalibrationNumbers


class BlendNumbers(Wire):
    """As ``router.heads.Blend``."""

    limit: float = Field(gt=0, allow_inf_nan=False)
    exam_slope: float = Field(allow_inf_nan=False)
    exam_fails: float = Field(allow_inf_nan=False)
    exam_offset: float = Field(allow_inf_nan=False)
    math_slope: float = Field(allow_inf_nan=False)
    math_offset: float = Field(allow_inf_nan=False)


class ConversationNumbers(Wire):
    """As ``router.classifier.ConversationWeights``."""

    reask: float = Field(ge=0, allow_inf_nan=False)
    negative: float = Field(ge=0, allow_inf_nan=False)


class Manifest(Wire):
    """What stands in the JSON file beside the weights."""

    format: Literal[2] = 2
    version: str = Field(min_length=1, max_length=100)
    features_version: int
    dense_names: list[str]
    heads: list[str]
    weights_file: str = Field(pattern=r"^[A-Za-z0-9._-]+\.npz$")
    """File in the manifest's own folder."""
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    blend: BlendNumbers
    calibrations: CalibrationsNumbers
    conversation: ConversationNumbers


def load_classifier(path: Path | None = None) -> Classifier:
    """The classifier of a manifest; None means the shipped one.

    Raises:
        RouterArtifactInvalid: A file is missing, damaged, altered, or made for other features.
    """
    path = SHIPPED if path is None else path
    manifest = _read_manifest(path)
    heads = _read_weights(path.parent / manifest.weights_file, manifest.weights_sha256)
    numbers = manifest.calibrations
    return LinearClassifier(
        manifest.version,
        heads,
        Blend(**manifest.blend.model_dump()),
        Calibrations(
            slow=_calibration(numbers.slow),
            fast_fails=_calibration(numbers.fast_fails),
            slow_fixes=_calibration(numbers.slow_fixes),
            tools=_calibration(numbers.tools),
        ),
        ConversationWeights(reask=manifest.conversation.reask, negative=manifest.conversation.negative),
    )


def save_artifact(path: Path, *, version: str, heads: Heads, blend: Blend, calibrations: Calibrations, conversation: ConversationWeights) -> Manifest:
    """Write weights (hashed features in half precision) and manifest; the same model gives the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        buckets=heads.buckets.astype(np.float16),
        dense=heads.dense.astype(np.float32),
        intercepts=heads.intercepts.astype(np.float32),
    )
    weights = buffer.getvalue()
    manifest = Manifest(
        version=version,
        features_version=FEATURES_VERSION,
        dense_names=list(DENSE_NAMES),
        heads=list(HEADS),
        weights_file=f"{path.stem}.npz",
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        blend=BlendNumbers(**{name: round(value, DECIMALS) for name, value in asdict(blend).items()}),
        calibrations=CalibrationsNumbers(
            slow=_numbers(calibrations.slow),
            fast_fails=_numbers(calibrations.fast_fails),
            slow_fixes=_numbers(calibrations.slow_fixes),
            tools=_numbers(calibrations.tools),
        ),
        conversation=ConversationNumbers(reask=conversation.reask, negative=conversation.negative),
    )
    path.with_suffix(".npz").write_bytes(weights)
    path.write_text(json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(_read_bytes(path, MAX_MANIFEST_BYTES))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise _invalid(path, f"is not a router manifest ({'.'.join(map(str, problem['loc']))}: {problem['msg']})") from error
    if manifest.features_version != FEATURES_VERSION or tuple(manifest.dense_names) != DENSE_NAMES or tuple(manifest.heads) != HEADS:
        raise _invalid(path, f"was trained for features version {manifest.features_version!r}, this program has {FEATURES_VERSION!r}")
    return manifest


def _read_weights(path: Path, sha256: str) -> Heads:
    data = _read_bytes(path, MAX_WEIGHTS_BYTES)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise _invalid(path, f"has SHA-256 {found}, its manifest says {sha256}")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            buckets, dense, intercepts = arrays["buckets"], arrays["dense"], arrays["intercepts"]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise _invalid(path, f"does not hold the three arrays of a router artefact ({error})") from error
    if buckets.shape != (BUCKETS, len(HEADS)) or dense.shape != (len(DENSE_NAMES), len(HEADS)) or intercepts.shape != (len(HEADS),):
        raise _invalid(path, f"holds arrays of shape {buckets.shape!r}, {dense.shape!r} and {intercepts.shape!r}")
    has_types = buckets.dtype == np.float16 and dense.dtype == np.float32 and intercepts.dtype == np.float32
    if not has_types or not all(np.isfinite(array).all() for array in (buckets, dense, intercepts)):
        raise _invalid(path, "holds numbers that are not finite half and single precision floats")
    return Heads(buckets.astype(np.float32), dense, intercepts)


def _read_bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise _invalid(path, f"cannot be read ({error.strerror})") from error
    if len(data) > most:
        raise _invalid(path, f"is larger than {most} bytes")
    return data


def _invalid(path: Path, problem: str) -> RouterArtifactInvalid:
    return RouterArtifactInvalid(
        f"Router artefact {str(path)!r} {problem}. Restore the file, train again with `python -m router.training`, "
        "or unset `router.artifact` to use the shipped one."
    )


def _calibration(numbers: CalibrationNumbers) -> Calibration:
    return Calibration(
        overall=PlattMap(numbers.overall.slope, numbers.overall.offset),
        by_language={language: PlattMap(one.slope, one.offset) for language, one in numbers.by_language.items()},
    )


def _numbers(calibration: Calibration) -> CalibrationNumbers:
    return CalibrationNumbers(
        overall=_platt_numbers(calibration.overall),
        by_language={language: _platt_numbers(platt) for language, platt in sorted(calibration.by_language.items())},
    )


def _platt_numbers(platt: PlattMap) -> PlattNumbers:
    return PlattNumbers(slope=round(platt.slope, DECIMALS), offset=round(platt.offset, DECIMALS))
