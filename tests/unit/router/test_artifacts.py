import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from router.artifacts import SHIPPED, load_classifier, save_artifact
from router.calibration import Calibration, Calibrations, PlattMap
from router.classifier import ConversationWeights
from router.features import BUCKETS, DENSE_NAMES
from router.heads import HEADS, Blend, Heads
from tandem.errors import RouterArtifactInvalid
from tandem.ports import Turns


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for path in (SHIPPED, SHIPPED.with_suffix(".npz")):
        shutil.copy(path, tmp_path)
    return tmp_path / SHIPPED.name


def edit(manifest: Path, **changes: object) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def replace_weights(manifest: Path, data: bytes) -> None:
    manifest.with_suffix(".npz").write_bytes(data)
    edit(manifest, weights_sha256=hashlib.sha256(data).hexdigest())


def packed(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType] - numpy's stub confuses the arrays with allow_pickle
    return buffer.getvalue()


def save(path: Path) -> Path:
    calibration = Calibration(PlattMap(1.0, 0.5), {"zh": PlattMap(2.0, 0.0)})
    save_artifact(
        path,
        version="mine",
        heads=Heads(
            buckets=np.zeros((BUCKETS, len(HEADS)), dtype=np.float32),
            dense=np.ones((len(DENSE_NAMES), len(HEADS)), dtype=np.float32),
            intercepts=np.full(len(HEADS), -1.0, dtype=np.float32),
        ),
        blend=Blend(limit=4.0, exam_slope=1.0, exam_fails=0.5, exam_offset=0.0, math_slope=1.0, math_offset=0.0),
        calibrations=Calibrations(slow=calibration, fast_fails=calibration, slow_fixes=calibration, tools=calibration),
        conversation=ConversationWeights(reask=1.0, negative=2.0),
    )
    return path


def arrays(
    buckets: tuple[int, ...] = (BUCKETS, len(HEADS)), dense: tuple[int, ...] = (len(DENSE_NAMES), len(HEADS)), value: float = 0.0
) -> dict[str, np.ndarray]:
    return {
        "buckets": np.full(buckets, value, dtype=np.float16),
        "dense": np.zeros(dense, dtype=np.float32),
        "intercepts": np.zeros(len(HEADS), dtype=np.float32),
    }


def test_the_shipped_artefact_is_small_and_has_its_card() -> None:
    files = list(SHIPPED.parent.iterdir())
    assert sum(file.stat().st_size for file in files) < 10_000_000
    assert {"CARD.md", "metrics.json"} <= {file.name for file in files}


def test_a_saved_artefact_loads_and_scores(tmp_path: Path) -> None:
    classifier = load_classifier(save(tmp_path / "mine.json"))
    assert classifier.version == "mine"
    assert 0 < classifier.score(Turns(text="hello")).p_slow < 1


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = save(tmp_path / "first.json"), save(tmp_path / "second.json")
    assert first.with_suffix(".npz").read_bytes() == second.with_suffix(".npz").read_bytes()


def test_a_missing_artefact_is_named(tmp_path: Path) -> None:
    with pytest.raises(RouterArtifactInvalid, match=r"nowhere\.json.*cannot be read"):
        load_classifier(tmp_path / "nowhere.json")


def test_missing_weights_are_named(manifest: Path) -> None:
    manifest.with_suffix(".npz").unlink()
    with pytest.raises(RouterArtifactInvalid, match=r"linear\.npz.*cannot be read"):
        load_classifier(manifest)


@pytest.mark.parametrize("place", [0, 100, 50_000, -1])
def test_one_changed_byte_is_refused(manifest: Path, place: int) -> None:
    weights = manifest.with_suffix(".npz")
    data = bytearray(weights.read_bytes())
    data[place] ^= 1
    weights.write_bytes(data)
    with pytest.raises(RouterArtifactInvalid, match="SHA-256"):
        load_classifier(manifest)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 2}', "\x00"])
def test_a_file_that_is_no_manifest_is_refused(manifest: Path, content: str) -> None:
    manifest.write_text(content, encoding="utf-8")
    with pytest.raises(RouterArtifactInvalid, match="not a router manifest"):
        load_classifier(manifest)


@pytest.mark.parametrize(
    "changes",
    [{"weights_file": "../linear.npz"}, {"blend": {"limit": 0}}, {"conversation": {"reask": "nan"}}, {"surprise": 1}, {"weights_sha256": "0"}],
)
def test_a_manifest_with_a_bad_field_is_refused(manifest: Path, changes: dict[str, object]) -> None:
    edit(manifest, **changes)
    with pytest.raises(RouterArtifactInvalid, match=f"not a router manifest \\({next(iter(changes))}"):
        load_classifier(manifest)


@pytest.mark.parametrize("changes", [{"features_version": 0}, {"dense_names": ["length"]}, {"heads": ["kind"]}])
def test_an_artefact_of_other_features_is_refused(manifest: Path, changes: dict[str, object]) -> None:
    edit(manifest, **changes)
    with pytest.raises(RouterArtifactInvalid, match="features version"):
        load_classifier(manifest)


def test_pickled_weights_are_never_loaded(manifest: Path) -> None:
    replace_weights(manifest, packed(buckets=np.array([{"a": 1}], dtype=object), dense=np.zeros(1)))
    with pytest.raises(RouterArtifactInvalid, match="three arrays"):
        load_classifier(manifest)


def test_weights_that_are_no_archive_are_refused(manifest: Path) -> None:
    replace_weights(manifest, b"PK\x03\x04 not really")
    with pytest.raises(RouterArtifactInvalid, match="three arrays"):
        load_classifier(manifest)


def test_a_missing_array_is_refused(manifest: Path) -> None:
    replace_weights(manifest, packed(buckets=np.zeros(BUCKETS, dtype=np.float16)))
    with pytest.raises(RouterArtifactInvalid, match="three arrays"):
        load_classifier(manifest)


def test_arrays_of_another_shape_are_refused(manifest: Path) -> None:
    replace_weights(manifest, packed(**arrays(buckets=(7,))))
    with pytest.raises(RouterArtifactInvalid, match="shape"):
        load_classifier(manifest)


def test_weights_that_are_not_finite_are_refused(manifest: Path) -> None:
    replace_weights(manifest, packed(**arrays(value=np.inf)))
    with pytest.raises(RouterArtifactInvalid, match="not finite"):
        load_classifier(manifest)


def test_a_huge_file_is_refused_without_being_read_whole(manifest: Path) -> None:
    with manifest.open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(RouterArtifactInvalid, match="larger than"):
        load_classifier(manifest)
