"""What a sample proves of the whole: an upper bound by the hypergeometric distribution, exact and without tables."""

from __future__ import annotations

from math import exp, lgamma, sqrt
from typing import Final

LEVEL: Final = 0.95
# A count is further from its mean than this many roots of the sample's size less than once in 10^40 (Hoeffding).
_REACH: Final = 7


def bad_at_most(population: int, sampled: int, bad: int, level: float = LEVEL) -> int:
    """Return how many of a population can be bad, with confidence `level`, when `bad` of those sampled were.

    The sample is drawn without replacement, each set of its size being as likely as any other. The bound is the largest
    number that would have shown `bad` or fewer in the sample with a probability above 1 - level. With none bad in a
    small share of a large population it is the rule of three: about 3 / sampled of it.
    """
    if not 0 <= bad <= sampled <= population:
        raise ValueError(f"{bad} bad of {sampled} sampled of {population} is impossible")
    low, high = bad, population - (sampled - bad)
    while low < high:
        middle = (low + high + 1) // 2
        if _at_most(bad, population, middle, sampled) > 1 - level:
            low = middle
        else:
            high = middle - 1
    return low


def _at_most(seen: int, population: int, bad: int, sampled: int) -> float:
    """Return the probability of at most `seen` bad ones in a sample, when `bad` of the population are."""
    mean, reach = sampled * bad / population, _REACH * sqrt(sampled)
    if seen > mean + reach:
        return 1.0
    whole, total = _log_choose(population, sampled), 0.0
    first = max(0, sampled - (population - bad), int(mean - reach))
    for k in range(first, min(seen, bad, sampled) + 1):
        total += exp(_log_choose(bad, k) + _log_choose(population - bad, sampled - k) - whole)
    return total


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
