"""Real processes that are killed, frozen and starved, and the count of what they lost."""
