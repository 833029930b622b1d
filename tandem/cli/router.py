"""``tandem router``: hands over to ``python -m router`` in this interpreter; the kernel knows nothing of the router until then."""

from importlib import import_module

from typer import Context, Typer

from tandem.errors import DependencyMissing


def build() -> Typer:
    """The command; everything behind its name belongs to the router, also ``--help``."""
    app = Typer(add_completion=False)
    settings: dict[str, bool | list[str]] = {
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    }
    app.command("router", add_help_option=False, context_settings=settings)(route)
    return app


def route(context: Context) -> int:
    """Score, explain, judge, train and tune the router."""
    try:
        return int(import_module("router.__main__").run(context.args, "tandem router"))
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            f"the module {error.name!r}, which this command needs, is not installed here; `pip install tandem-agents[router]`, "
            "and for `train`, `eval` and `calibrate` also scikit-learn, SciPy and threadpoolctl"
        ) from error
