"""Many jobs under many faults (row 27), in small; ``make chaos`` runs it at length."""

from tandem.testing.chaos.receiver import Receiver
from tandem.testing.chaos.scene import Scene
from tandem.testing.chaos.soak import Soak


async def test_row_27_jobs_under_a_fault_every_second_all_end_once(scene: Scene, receiver: Receiver) -> None:
    soak = Soak(scene, receiver, jobs=40, fault_every_s=1.0, max_s=20.0)
    await soak.run()
    assert len(soak.accepted) >= 10
