"""Moments as they may enter Tandem: with a time zone, and within the years that UTC can be written in."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def to_utc(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: Its offset takes it out of the years 1 to 9999.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 in UTC; choose a nearer moment") from None


Moment = Annotated[AwareDatetime, AfterValidator(to_utc)]
"""A caller's moment; kept in UTC, so that two spellings of one moment are one body."""
