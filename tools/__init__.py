"""What System 2 may use: a registry of tools, and a sandbox for code that a model wrote. Tools never call models."""
