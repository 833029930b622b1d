"""Conformance suites: subclass one where the fixtures are that it asks for."""
