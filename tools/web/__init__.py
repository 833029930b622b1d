"""The web for System 2: search through a chain of providers, and pages as Markdown. Everything goes out through ``tandem.egress``."""
