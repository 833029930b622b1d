"""The ``calculator`` tool: exact arithmetic and units, in English and Chinese spelling. Nothing is evaluated by Python itself."""
