"""``tandem router``: hands over to ``python -m router`` in this interpreter."""

from typer import Typer

from tandem.cli.rooms import handing_over


def build() -> Typer:
    """The command."""
    return handing_over(
        "router",
        "Score, explain, judge, train and tune the router.",
        "`pip install tandem-agents[router]`, and for `train`, `eval` and `calibrate` also scikit-learn, SciPy and threadpoolctl",
    )
