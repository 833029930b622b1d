"""Runtimes that serve a model file over HTTP, one module each."""
