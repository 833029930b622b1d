"""``tandem router train``: ``python -m router.training`` under the name operators look for."""

from typer import Context, Typer


def build() -> Typer:
    """The command; all arguments, also ``--help``, are the training's own."""
    app = Typer(add_completion=False)
    settings: dict[str, bool | list[str]] = {
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    }
    app.command("train", add_help_option=False, context_settings=settings)(train)
    return app


def train(context: Context) -> None:
    """Train the scoring artefact from the public sets."""
    from router.training.__main__ import main  # noqa: PLC0415 - scikit-learn is only needed here

    main(context.args)
