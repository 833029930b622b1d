"""The error tree keeps its promises."""

import inspect
from collections.abc import Iterator

from tandem import errors
from tandem.errors import TandemError


def tree(root: type[TandemError] = TandemError) -> Iterator[type[TandemError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:  # a room's private subclass carries its parent's code
            yield from tree(child)


def test_every_class_is_drawn_in_the_module_docstring_with_its_code() -> None:
    drawing = errors.__doc__ or ""
    for cls in set(tree()) - {TandemError}:
        assert cls.__name__ in drawing, cls
    for cls in {cls for cls in tree() if not cls.__subclasses__()}:
        assert cls.code in drawing, cls


def test_leaves_have_distinct_codes() -> None:
    leaves = [cls for cls in tree() if not cls.__subclasses__()]
    codes = [cls.code for cls in leaves]
    assert len(codes) == len(set(codes)), sorted(code for code in codes if codes.count(code) > 1)


def test_every_class_says_when_it_is_raised() -> None:
    assert all(inspect.getdoc(cls) for cls in tree())


def test_an_error_carries_its_facts() -> None:
    error = errors.TooManyRequests("the queue is full", param="priority", retry_after_s=1.5)
    assert (str(error), error.param, error.retry_after_s, error.retryable) == ("the queue is full", "priority", 1.5, True)
