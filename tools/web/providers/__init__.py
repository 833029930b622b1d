"""The search providers, one file each: how a query is asked and how an answer is read. None of them sends anything itself."""
