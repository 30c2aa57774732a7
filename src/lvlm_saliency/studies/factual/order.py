"""Facts about numbers and order, made by rules."""

from __future__ import annotations

from itertools import pairwise

_SMALL = (
    "zero,one,two,three,four,five,six,seven,eight,nine,ten,eleven,twelve,thirteen,fourteen,fifteen,sixteen,seventeen,"
    "eighteen,nineteen"
)
_UNITS = _SMALL.split(",")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ROMAN = ((50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))

_SERIES = {
    "day of the week": "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday",
    "month": "January,February,March,April,May,June,July,August,September,October,November,December",
    "planet from the sun": "Mercury,Venus,Earth,Mars,Jupiter,Saturn,Uranus,Neptune",
    "letter of the alphabet": ",".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
}


def in_words(number: int) -> str:
    """A number from 0 to 99 in English words."""
    if number < 20:
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_UNITS[units]}" if units else "")


def roman(number: int) -> str:
    """A number from 1 to 89 as a Roman numeral."""
    text = ""
    for value, sign in _ROMAN:
        count, number = divmod(number, value)
        text += sign * count
    return text


def neighbours() -> list[tuple[str, str]]:
    """("day of the week after Monday", "Tuesday") and so on: what comes directly before and after, no series closed
    into a circle."""
    found = []
    for kind, members in _SERIES.items():
        for one, other in pairwise(members.split(",")):
            found += [(f"{kind} after {one}", other), (f"{kind} before {other}", one)]
    return found


def sums() -> list[tuple[str, str]]:
    """Sums of a number up to 32 and one up to 13."""
    return [(f"{a} plus {b}", str(a + b)) for a, b in ((3 + 7 * k % 30, 2 + 5 * k % 12) for k in range(60))]


def differences() -> list[tuple[str, str]]:
    """Differences of two numbers, above zero."""
    pairs = ((25 + 13 * k % 70, 1 + 5 * k % 23) for k in range(53))
    return [(f"{a} minus {b}", str(a - b)) for a, b in pairs]


def products() -> list[tuple[str, str]]:
    """The table of multiplication from 2 to 12, each pair once."""
    return [(f"{a} times {b}", str(a * b)) for a in range(2, 13) for b in range(a, 13)]
