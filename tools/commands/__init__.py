"""One file per command of ``tandem tools``: a module ``tools.commands.<name>`` with ``build() -> Typer``, named in ``tools.__main__.COMMANDS``.

A command returns its exit code or nothing, raises ``TandemError`` for what is to be told in one line, and is imported only when it runs.
"""
