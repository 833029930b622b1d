"""One module per format: bytes in, text with pages out. They run in the child; ``kinds`` alone runs in the worker, and it parses nothing."""
