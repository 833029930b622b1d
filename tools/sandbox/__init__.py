"""Where programs of a model run: a process in namespaces of its own, made with bubblewrap. Knows no tool, no job and no model."""
