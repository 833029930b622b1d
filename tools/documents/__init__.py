"""The ``documents`` tool: lists, reads and searches the files of a job. Formats are parsed in a child process (``tools/confined``)."""
