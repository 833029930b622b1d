"""One file per command of ``tandem router``: a module ``router.commands.<name>`` with ``build() -> Typer``, named in ``router.__main__.COMMANDS``.

A command returns its exit code or nothing, raises ``TandemError`` for what is to be told in one line, and is imported only when it runs.
"""
