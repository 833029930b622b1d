"""The graph's nodes, one file each: they read the workspace, act through the job's context, and return an update."""
