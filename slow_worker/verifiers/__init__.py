"""Checks of an answer, ordered by trust; a model's own opinion is none of them."""
