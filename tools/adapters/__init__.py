"""How a tool is told to others, and theirs to us: one module per protocol, each a pure translation of declarations and results.

``openai`` (function tools), ``langchain`` (``BaseTool``; needs langchain-core, which the worker's LangGraph brings) and ``mcp`` (``tools/list`` and
``tools/call``). A schema that goes out and comes back is the same schema.
"""
