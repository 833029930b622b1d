"""The ``datetime`` tool: what time it is where, and what a calendar makes of a duration."""
