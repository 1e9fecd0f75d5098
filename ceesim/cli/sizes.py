"""Lists of sizes on the command line."""

from __future__ import annotations

from ceesim.errors import OptionError


def sizes(text: str, option: str, example: str) -> tuple[int, ...]:
    """``3,32,32`` as numbers.

    Args:
        option: as it is called, and `example` as it may be written, for the error.

    Raises:
        OptionError: if it is anything else than positive whole numbers.
    """
    numbers = tuple(int(part) for part in text.split(",") if part.strip().isdecimal() and int(part) > 0)
    if len(numbers) != text.count(",") + 1:
        raise OptionError("not a list of sizes", where=option, got=text, expected=f"sizes like {example}")
    return numbers
