"""The chaos table and the memory curve, as text."""

from collections.abc import Mapping, Sequence
from statistics import median

from tandem.testing.chaos.scene import Tally

_HEAD = ("row", "database", "injections", "jobs", "kills", "lost", "duplicates", "gaps", "raw calls", "verdict", "note")


def table(tallies: Sequence[Tally]) -> str:
    """One line per row and database, by number."""
    lines: list[tuple[str, ...]] = [_HEAD]
    for tally in sorted(tallies, key=lambda each: (each.row, each.database)):
        verdict = "ok" if tally.lost == tally.duplicates == tally.gaps == 0 else "FAILED"
        counts = (tally.injections, tally.jobs, tally.kills, tally.lost, tally.duplicates, tally.gaps, tally.raw_calls)
        lines.append((str(tally.row), tally.database, *map(str, counts), verdict, tally.note))
    return _aligned(lines)


def memory(curves: Mapping[str, Sequence[float]]) -> str:
    """Resident megabytes of each process: start, median, end, max."""
    lines: list[tuple[str, ...]] = [("process", "samples", "start MB", "median MB", "end MB", "max MB")]
    for name, samples in curves.items():
        if samples:
            lines.append((name, str(len(samples)), *(f"{value:.1f}" for value in (samples[0], median(samples), samples[-1], max(samples)))))
    return _aligned(lines)


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


__all__ = ["memory", "table"]
