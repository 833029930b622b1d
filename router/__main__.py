"""``python -m router COMMAND``, which is also ``tandem router COMMAND``."""

import sys
from collections.abc import Sequence
from typing import Final

from tandem.cli.rooms import Room

COMMANDS: Final = {
    "score": "Decide the lane of every line of a file.",
    "explain": "Say how one message would be routed, and why.",
    "eval": "Judge the router on public outcomes, calibration, robustness and slow share.",
    "train": "Train the scoring artefact from the public sets.",
    "calibrate": "Fit an artefact's probabilities to labelled rows, its weights unchanged.",
    "policies": "Draft, look at, publish and withdraw routing policies.",
    "replay": "Say what a policy would have done with logged traffic.",
    "labels": "Look at, approve, reject and export labels.",
    "collect": "Score both lanes on questions with known answers, for training.",
}
"""Each is the module ``router.commands.<name>``."""
_ROOM: Final = Room("router.commands", "Score, explain, judge, train and tune the router.", COMMANDS)
run = _ROOM.run


def main(arguments: Sequence[str]) -> int:
    """Run as a program."""
    return _ROOM.main(arguments, "python -m router")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
