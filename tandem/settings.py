"""One frozen ``Settings`` per process, read once in its main and passed down.

Sources, strongest first: environment ``TANDEM_<SECTION>_<KEY>`` (``TANDEM_GATEWAY_PORT``, ``TANDEM_HOME``), then the TOML file named by
``TANDEM_CONFIG``, else ``tandem.toml`` in ``TANDEM_HOME``, then the defaults below. A key nobody knows, or a value out of range, stops the start
and names the key. Secrets are ``SecretStr``: masked in ``repr``, never logged.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from tandem.errors import SettingsInvalid

ENV_PREFIX: Final = "TANDEM_"
CONFIG_VARIABLE: Final = "TANDEM_CONFIG"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaList = Annotated[list[str], NoDecode, BeforeValidator(_split_commas)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DatabaseSettings(Section):
    """Where the truth lives."""

    url: SecretStr | None = None
    """``postgresql://user:password@host/name`` or ``sqlite:///absolute/path``; empty means ``TANDEM_HOME/tandem.sqlite3``."""
    pool_size: int = Field(default=5, ge=1, le=200)
    """Connections per process (PostgreSQL)."""
    synchronous: Literal["full", "normal"] = "full"
    """SQLite durability: ``full`` survives power loss, ``normal`` only a crash of the process."""


class RedisSettings(Section):
    """Wake-up hints and live notifications; nothing is lost when it is wiped."""

    url: SecretStr | None = None
    """``redis://[:password@]host:port/db``; empty makes ``tandem up`` start an embedded Valkey."""
    port: Port = 8702
    """Loopback port of the embedded Valkey."""
    prefix: str = Field(default="tandem:", pattern=r"^[a-z0-9_-]+:$")
    """Prefix of every key and channel, so that a Redis can be shared."""
    timeout_s: float = Field(default=0.25, gt=0, le=10)
    """Longest seconds a request may wait for a hint or a notification to be sent."""


class GatewaySettings(Section):
    """The front door."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8700
    """TCP port."""
    max_body_bytes: int = Field(default=1_048_576, ge=1_024, le=1_073_741_824)
    """Larger request bodies get 413."""
    max_depth: int = Field(default=64, ge=4, le=500)
    """Deepest nesting of a JSON body."""
    max_input_chars: int = Field(default=100_000, ge=100, le=10_000_000)
    """Longest text of one message or task, in characters."""
    max_documents_chars: int = Field(default=200_000, ge=100, le=100_000_000)
    """Characters of all documents of one job together."""
    max_in_flight: int = Field(default=256, ge=1, le=100_000)
    """Chat requests answered at once by one process; more get 429 with ``Retry-After``."""
    max_queued_jobs: int = Field(default=1_000, ge=1, le=10_000_000)
    """Unfinished jobs of one tenant; more get 429."""
    heartbeat_s: float = Field(default=15.0, gt=0, le=300)
    """Seconds between two keep-alive comments on a silent stream."""
    stream_max_s: float = Field(default=900.0, gt=0, le=86_400)
    """A native event stream is closed cleanly after this many seconds; the client resumes."""
    send_timeout_s: float = Field(default=30.0, gt=0, le=600)
    """A stream whose client takes nothing for this many seconds is closed; the client resumes."""
    key_cache_s: float = Field(default=5.0, ge=0, le=60)
    """Seconds a verified key is trusted without asking the database: the longest a revoked key still works."""


class ModelSettings(Section):
    """One lane's model: a server by URL, or an embedded one."""

    url: str | None = Field(default=None, pattern=r"^https?://")
    """Base URL of an OpenAI-compatible server, with ``/v1`` (vLLM, Ollama, a hosted API); empty starts the embedded server."""
    model: str | None = None
    """Model name: of the server when ``url`` is set, else of the catalogue; empty takes the lane's default."""
    api_key: SecretStr | None = None
    """Bearer token for ``url``."""
    port: Port = 8703
    """Loopback port of the embedded server."""
    context_tokens: int = Field(default=4_096, ge=512, le=2_000_000)
    """Context of one conversation in tokens."""
    slots: int = Field(default=2, ge=1, le=64)
    """Requests the embedded server works on at once."""
    threads: int | None = Field(default=None, ge=1, le=256)
    """CPU threads of the embedded server; empty takes all cores."""
    niceness: int = Field(default=0, ge=0, le=19)
    """OS niceness of the embedded server; higher gives way to others."""
    connect_timeout_s: float = Field(default=5.0, gt=0, le=120)
    """Seconds to connect."""
    read_timeout_s: float = Field(default=120.0, gt=0, le=3_600)
    """Longest silence between two pieces of a reply, in seconds."""
    input_usd_per_million: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens in US dollars."""
    output_usd_per_million: float = Field(default=0.0, ge=0)
    """Price of a million generated tokens in US dollars."""


class RouterSettings(Section):
    """When a request goes slow, before any policy is published, and what scores it."""

    threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    """``auto`` requests with P(needs the slow lane) at or above it go slow, until a policy is published."""
    check_at: float = Field(default=0.35, ge=0.0, le=1.0)
    """From here up to the threshold the fast answer is tested, and a failed test starts a job. At or above the threshold: no such band."""
    artifact: Path | None = None
    """Another scoring artefact than the shipped one."""
    log_prompts: bool = False
    """Keep the ask of each decision, cut and redacted, so that labels can be trained on."""
    poll_s: float = Field(default=0.5, gt=0.0, le=60.0)
    """Seconds between two looks at the published policies."""
    decision_model_url: str | None = Field(default=None, pattern=r"^https?://")
    """Base URL with ``/v1`` of a decision model: it answers ``/v1/systemone`` and ``/v1/decisions`` in place of the fast model, and scores for
    policies whose backend is ``decision_model``."""
    decision_model: str = "default"
    """Name its server knows it by."""
    decision_model_door: Literal["systemone", "decisions"] = "systemone"
    """Which of the two protocols it speaks."""
    decision_model_api_key: SecretStr | None = None
    """Sent as a bearer token."""
    scorer_timeout_s: float = Field(default=0.5, gt=0.0, le=30.0)
    """Longest a scoring backend that asks a model may take; then the linear model's word stands."""


class WorkerSettings(Section):
    """System 2's process."""

    concurrency: int = Field(default=1, ge=1, le=256)
    """Jobs one worker process group runs at once."""
    lease_s: float = Field(default=15.0, ge=1, le=3_600)
    """A job whose worker is silent this long is given to another."""
    max_attempts: int = Field(default=5, ge=1, le=100)
    """A job that loses this many workers fails with ``worker_lost``."""
    step_timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """Longest seconds of one step."""
    model_patience_s: float = Field(default=900.0, ge=0, le=604_800)
    """A job whose model server is away is put off, again and again, for this many seconds before it fails; 0 fails it at once."""
    drain_s: float = Field(default=8.0, ge=0, le=3_600)
    """A worker that is told to stop lets its job reach the next checkpoint for this many seconds, then gives it back. Shorter than the grace of
    whoever stops it (``tandem up``: 10 s)."""
    ageing_s: float = Field(default=60.0, gt=0, le=86_400)
    """A waiting job gains one priority level per this many seconds."""
    input_ttl_s: float = Field(default=86_400.0, ge=1, le=2_592_000)
    """Seconds a question waits for its answer."""
    budget_grace_s: float = Field(default=86_400.0, ge=1, le=2_592_000)
    """Seconds a job waits in ``budget_reached`` before it ends as ``incomplete``."""
    max_artifact_bytes: int = Field(default=5_242_880, ge=1, le=1_073_741_824)
    """Largest file a job may keep."""


class DispatcherSettings(Section):
    """Webhooks and the reaper."""

    poll_s: float = Field(default=0.5, gt=0, le=60)
    """Seconds between two looks at the outbox and at expired leases."""
    rehint_after_s: float = Field(default=3.0, gt=0, le=3_600)
    """A queued job is hinted again after this many seconds, then less and less often up to a minute."""


class WebhookSettings(Section):
    """Endpoints that hear of jobs."""

    rotation_s: float = Field(default=86_400.0, ge=0, le=604_800)
    """Seconds an old secret signs beside the new one."""
    disable_after_s: float = Field(default=432_000.0, ge=1, le=2_592_000)
    """An endpoint that has only failed for this many seconds is switched off."""
    endpoint_concurrency: int = Field(default=4, ge=1, le=32)
    """Deliveries to one receiver at once, per dispatcher."""
    max_endpoints: int = Field(default=50, ge=1, le=10_000)
    """Endpoints of one tenant."""


class RetentionSettings(Section):
    """How long ended work is kept."""

    jobs_days: float = Field(default=30.0, gt=0, le=36_500)
    """Ended jobs with their events and artifacts, and stored responses."""
    events_days: float = Field(default=30.0, gt=0, le=36_500)
    """Events of ended jobs, and of threads; readers that come later get a snapshot."""
    work_days: float = Field(default=7.0, gt=0, le=36_500)
    """Checkpoints and recorded steps of ended jobs: how long a retry can take them over."""
    deliveries_days: float = Field(default=30.0, gt=0, le=36_500)
    """The log of webhook deliveries."""
    decisions_days: float = Field(default=90.0, gt=0, le=36_500)
    """The log of routing decisions with their outcomes: how far back a replay can look. Approved labels and policies are kept."""
    unstored_s: float = Field(default=600.0, ge=1, le=86_400)
    """Jobs of ``store: false`` can be polled for this many seconds after their end."""
    sweep_s: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds between two sweeps."""


class EgressSettings(Section):
    """The guarded way out."""

    allow: CommaList = Field(default_factory=list)
    """CIDRs or host names that may be reached although private or loopback, and over plain http; empty allows none."""
    timeout_s: float = Field(default=20.0, gt=0, le=300)
    """Total seconds of one outbound request; a tool's own limit may be shorter."""


class ToolSettings(Section):
    """What System 2 may use. Only the operator sets these; no request can."""

    offer: CommaList = Field(default_factory=lambda: ["*"])
    """Names of the tools this platform offers, where they work; ``*`` at the end of a name stands for anything, alone for all."""
    tenants: dict[str, list[str]] = Field(default_factory=dict)
    """What a tenant may use of them, by tenant, in the same spelling; a tenant that is not named may use all."""
    approval: Literal["writes", "tainted"] = "writes"
    """Which calls that write need somebody's approval: every one, or only those of a job that has read words of strangers."""
    approval_ttl_s: float = Field(default=3_600.0, ge=1, le=2_592_000)
    """Seconds an approval waits for somebody; then the call is refused."""
    known_hosts: CommaList = Field(default_factory=list)
    """Hosts that a job may fetch from also after it has read words of strangers."""
    max_file_bytes: int = Field(default=20_971_520, ge=1, le=1_073_741_824)
    """Largest uploaded file."""
    max_files_bytes: int = Field(default=1_073_741_824, ge=1)
    """All uploaded files of one tenant together."""
    max_memories: int = Field(default=1_000, ge=1, le=1_000_000)
    """Facts remembered for one tenant."""
    python_workers: int = Field(default=2, ge=1, le=64)
    """Interpreters of the ``python`` tool that one worker process keeps."""
    sandbox_packages: Path | None = None
    """Folder of the packages that ``python_full`` offers (NumPy, pandas, SymPy, Matplotlib); empty means ``sandbox`` beside this Python."""
    sandbox_url: str | None = Field(default=None, pattern=r"^https?://")
    """Base URL of a code execution server with Piston's protocol, which ``python_full`` then uses instead of this machine."""
    sandbox_key: SecretStr | None = None
    """Sent to it as ``Authorization``."""
    search: CommaList = Field(default_factory=list)
    """Search providers in the order they are tried: ``searxng``, ``brave``, ``tavily``, ``duckduckgo``; empty offers no web search."""
    searxng_url: str | None = Field(default=None, pattern=r"^https?://")
    """Base URL of a SearXNG instance that answers ``format=json``."""
    brave_key: SecretStr | None = None
    """Subscription token of Brave's search API."""
    tavily_key: SecretStr | None = None
    """API key of Tavily."""
    http_file: Path | None = None
    """JSON file of the hosts that ``http_request`` may reach, with the secrets it sends there; empty means ``TANDEM_HOME/http.json``."""
    mcp_file: Path | None = None
    """JSON file of the MCP servers (``{"mcpServers": {…}}``); empty means ``TANDEM_HOME/mcp.json``."""
    sql_file: Path | None = None
    """JSON file of the databases that ``sql`` may read; empty means ``TANDEM_HOME/sql.json``."""
    embeddings_url: str | None = Field(default=None, pattern=r"^https?://")
    """Base URL, with ``/v1``, of a server with OpenAI's embeddings, for the search in documents; empty searches by words alone."""
    embeddings_model: str = "default"
    """Name that server knows its model by."""
    embeddings_key: SecretStr | None = None
    """Sent to it as a bearer token."""


class UiSettings(Section):
    """The Streamlit pages."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8501
    """TCP port."""
    api_key: SecretStr | None = None
    """The key the pages use towards the gateway; empty takes the local key under ``TANDEM_HOME``."""


class LogSettings(Section):
    """Structured logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""
    format: Literal["json", "console"] = "json"
    """``json`` for machines, ``console`` for people."""


class Settings(BaseSettings):
    """Everything a Tandem process is told from outside."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="_", env_nested_max_split=1, frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    home: Path = Field(default_factory=lambda: Path.home() / ".tandem")
    """Folder of all state: database, models, secrets, logs."""
    api_url: str | None = Field(default=None, pattern=r"^https?://")
    """Gateway the ``tandem`` command and the UI talk to; empty means this machine's."""
    api_key: SecretStr | None = None
    """Key of the ``tandem`` command; empty takes the local key under ``TANDEM_HOME``."""
    pepper: SecretStr | None = Field(default=None, min_length=32)
    """Secret mixed into the stored digests of API keys, at least 32 characters; empty makes one under ``TANDEM_HOME``. All gateways share it."""
    webhook_secret: SecretStr | None = None
    """Signing secret ``whsec_…`` of jobs' ``webhook_url``; empty makes one under ``TANDEM_HOME``. All dispatchers share it."""
    models_dir: Path | None = None
    """Folder of verified model files; empty means ``TANDEM_HOME/models``. Files already there are checked, not fetched."""
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    gateway: GatewaySettings = GatewaySettings()
    fast: ModelSettings = ModelSettings()
    slow: ModelSettings = ModelSettings(port=8704, niceness=10)
    router: RouterSettings = RouterSettings()
    worker: WorkerSettings = WorkerSettings()
    dispatcher: DispatcherSettings = DispatcherSettings()
    webhooks: WebhookSettings = WebhookSettings()
    retention: RetentionSettings = RetentionSettings()
    egress: EgressSettings = EgressSettings()
    tools: ToolSettings = ToolSettings()
    ui: UiSettings = UiSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="before")
    @classmethod
    def _keep_lane_defaults(cls, data: Any) -> Any:
        """A partial ``slow`` section keeps the slow lane's own port and niceness."""
        if isinstance(data, dict) and isinstance(slow := data.get("slow"), dict):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            data["slow"] = {"port": 8704, "niceness": 10} | slow
        return data  # pyright: ignore[reportUnknownVariableType]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Constructing reads nothing by itself: ``load`` is the one place that looks at the environment and the file."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings of this process.

        Raises:
            SettingsInvalid: A key is unknown or a value bad; the message names the variable or the file.
        """
        environ = os.environ if environ is None else environ
        overrides = _read_environment(cls, environ)
        home = Path(str(overrides.get("home") or Path.home() / ".tandem")).expanduser()
        origin, file_values = _read_file(environ, home)
        try:
            return cls(**_merge(file_values, overrides | {"home": home}))
        except ValidationError as error:
            raise SettingsInvalid(_explain(error, overrides, origin)) from None

    @property
    def models_path(self) -> Path:
        return self.models_dir or self.home / "models"

    @property
    def gateway_url(self) -> str:
        """Base URL of the gateway without ``/v1``."""
        return self.api_url or f"http://{'127.0.0.1' if self.gateway.host == '0.0.0.0' else self.gateway.host}:{self.gateway.port}"  # noqa: S104

    @property
    def database_url(self) -> str:
        return self.database.url.get_secret_value() if self.database.url else f"sqlite:///{(self.home / 'tandem.sqlite3').absolute()}"

    @property
    def redis_url(self) -> str:
        return self.redis.url.get_secret_value() if self.redis.url else f"redis://127.0.0.1:{self.redis.port}/0"

    @property
    def is_loopback_only(self) -> bool:
        """Whether nobody but this machine can reach the gateway."""
        return self.gateway.host in _LOOPBACK

    def model_url(self, lane: Literal["fast", "slow"]) -> str:
        """Base URL, with ``/v1``, of a lane's model server."""
        section = self.fast if lane == "fast" else self.slow
        return (section.url or f"http://127.0.0.1:{section.port}/v1").rstrip("/")


def _read_environment(settings: type[BaseSettings], environ: Mapping[str, str]) -> dict[str, Any]:
    """Values from ``TANDEM_*``, nested by section; unknown variables stop the start."""
    known = {CONFIG_VARIABLE}
    for name, field in settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            known |= {f"{ENV_PREFIX}{name}_{key}".upper() for key in section.model_fields}
        else:
            known.add(f"{ENV_PREFIX}{name}".upper())
    ours = {key: value for key, value in environ.items() if key.startswith(ENV_PREFIX) and value != ""}
    if unknown := sorted(set(ours) - known):
        raise SettingsInvalid(f"unknown setting {unknown[0]!r} in the environment; docs/settings.md lists the known ones")
    source = EnvSettingsSource(settings)
    source.env_vars = {key.lower(): value for key, value in ours.items()}
    return source()


def _read_file(environ: Mapping[str, str], home: Path) -> tuple[str, dict[str, Any]]:
    named = environ.get(CONFIG_VARIABLE)
    path = Path(named).expanduser() if named else home / "tandem.toml"
    if not path.exists():
        if named:
            raise SettingsInvalid(f"{CONFIG_VARIABLE} names {str(path)!r}, which does not exist")
        return "defaults", {}
    try:
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsInvalid(f"cannot read {str(path)!r}: {error}") from None


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = _merge(cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", value))
        merged[key] = value
    return merged


def _explain(error: ValidationError, overrides: Mapping[str, Any], origin: str) -> str:
    lines: list[str] = []
    for fault in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in fault["loc"]]
        section: Any = overrides
        for part in path:
            section = cast("Mapping[str, Any]", section).get(part) if isinstance(section, Mapping) else None
        where = f"environment variable {ENV_PREFIX}{'_'.join(path).upper()}" if section is not None else f"{'.'.join(path) or 'settings'} in {origin}"
        lines.append(f"{where}: {fault['msg']}")
    return "; ".join(lines)


__all__ = ["ENV_PREFIX", "Section", "Settings"]
