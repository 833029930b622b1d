"""llama.cpp's own HTTP server, out of the ``xllamacpp`` wheel: OpenAI-compatible, with parallel slots, continuous batching and a prompt cache.

Knows nothing of lanes, settings, priorities or where the file came from. The library's threads run in this process. ``/props`` cannot be switched off
and tells template and file path: the server therefore never listens beyond loopback, and asks for the key everywhere but at ``/health`` and
``/v1/models`` when one is set.
"""

import importlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tandem.errors import DependencyMissing, ProcessFailed

LOOPBACK: Final = "127.0.0.1"
PROMPT_CACHE_MIB: Final = 512
"""Host memory for prompts of slots that have moved on; llama.cpp's default of 8 GiB is more than a laptop has."""
SPARE_HTTP_THREADS: Final = 14
"""Beyond one per slot: a waiting request holds a thread, and ``/health`` must answer while many wait."""
_QUIET, _TALKATIVE = 1, 4
"""llama.cpp's verbosity: errors only, or everything."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What is served, and with how much of the machine."""

    path: Path
    name: str
    port: int
    """0 lets the system choose."""
    slots: int
    context_tokens: int
    """Of one slot."""
    threads: int | None = None
    """Null takes every core this process may use."""
    keeps_polling: bool = True
    """Whether waiting threads spin for a while: quicker between tokens, but it takes the cores from others."""
    api_key: str | None = field(default=None, repr=False)
    is_verbose: bool = False


class LlamaCppServer:
    """A running server; it answers ``/health`` with 200 once the model is loaded, which is when the constructor returns.

    Raises:
        DependencyMissing: ``xllamacpp`` is not installed.
        ProcessFailed: llama.cpp could not load the file or bind the port; it has written why to standard error.
    """

    def __init__(self, options: ServeOptions) -> None:
        library = load_library()
        self.name = options.name
        try:
            self._server: Any = library.Server(_parameters(library, options))
        except RuntimeError as error:
            reason = f"llama.cpp could not serve {options.name!r} on {LOOPBACK}:{options.port}: {error}"
            raise ProcessFailed(f"{reason} Its reason stands above; is the port taken, or memory short?") from error

    @property
    def address(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return str(self._server.listening_address)


def load_library() -> ModuleType:
    """The ``xllamacpp`` module.

    Raises:
        DependencyMissing: It is not installed.
    """
    try:
        return importlib.import_module("xllamacpp")
    except ModuleNotFoundError as error:
        remedy = 'install "tandem-agents[model-cpu]", or give the lane the url of another server'
        raise DependencyMissing(f"the embedded model server needs the package {error.name!r}: {remedy}") from error


def _parameters(library: ModuleType, options: ServeOptions) -> Any:
    parameters = library.CommonParams()
    parameters.model.path = str(options.path)
    parameters.model_alias = {options.name}
    parameters.hostnames = [LOOPBACK]
    parameters.port = options.port
    parameters.n_parallel = options.slots
    parameters.n_ctx = options.context_tokens * options.slots  # llama.cpp divides it among the slots
    parameters.kv_unified = False  # a long conversation must not take its neighbour's context
    parameters.fit_params = False  # serve what was asked for, or fail
    parameters.cache_ram_mib = PROMPT_CACHE_MIB
    # The weights are repacked for the CPU at load: mapping the file too would count every byte twice.
    parameters.load_mode = library.llama_load_mode.LLAMA_LOAD_MODE_NONE
    parameters.n_threads_http = options.slots + SPARE_HTTP_THREADS
    parameters.verbosity = _TALKATIVE if options.is_verbose else _QUIET
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.endpoint_metrics = False
    parameters.cors_origins = f"http://{LOOPBACK}:{options.port}"  # no page in a browser may read replies
    parameters.cors_credentials = False
    if options.api_key:
        parameters.api_keys = [options.api_key]
    threads = options.threads or len(os.sched_getaffinity(0))
    for group in (parameters.cpuparams, parameters.cpuparams_batch):
        group.n_threads = threads
        if not options.keeps_polling:
            group.poll = 0
    return parameters
