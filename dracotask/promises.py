"""What only promises its work when it is called: coroutines, which are awaited here, and generators, which are not."""

from __future__ import annotations

import inspect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: What stands instead of a generator.
REMEDY = "do the work and return, or say async def and await it"


def is_coroutine(work: Callable[..., Any]) -> bool:
    """Tell whether a callable, a method or an object with ``__call__``, is an ``async def``."""
    return any(inspect.iscoroutinefunction(function) for function in _functions(work))


def is_generator(work: Callable[..., Any]) -> bool:
    """Tell whether a callable is a generator, of either kind: its call would do nothing, and nobody draws from it."""
    return any(inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in _functions(work))


def _functions(work: Callable[..., Any]) -> tuple[Any, Any]:
    # (Of an object that can be called, its class knows.)
    return work, getattr(type(work), "__call__", None)  # noqa: B004


def wait_for(promise: object) -> object:
    """Return what can be awaited comes to, on an event loop of its own."""
    import asyncio

    async def wait() -> object:
        return await promise  # type: ignore[misc]

    return asyncio.run(wait())


def kept(result: object, remedy: str) -> object:
    """Return what a call has returned, if the work is done with that.

    :param remedy: what would be right.
    :raises TypeError: it was only promised.
    """
    if inspect.isgenerator(result) or inspect.isasyncgen(result) or inspect.isawaitable(result):
        if inspect.isgenerator(result) or inspect.iscoroutine(result):
            result.close()
        raise TypeError(f"it returned a {type(result).__name__} instead of doing its work: {remedy}")
    return result
