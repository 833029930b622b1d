"""Work on bytes of strangers in a child process that is started for it and gone after it. Knows no format and no tool."""
