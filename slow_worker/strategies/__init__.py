"""Ways to make one complete attempt, one file each; every strategy turns an order into a ``Try`` and asks the model exactly once."""
