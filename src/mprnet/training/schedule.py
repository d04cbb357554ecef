"""The learning rate as a pure function."""

from __future__ import annotations

import math


def learning_rate(step: int, *, steps: int, warmup: int, peak: float, final: float, passed: float = 0.0) -> float:
    """Return the rate of a step: a linear warm-up to `peak`, then half a cosine down to `final`.

    Args:
        step: optimizer steps already taken, from 0.
        steps: of the whole run.
        warmup: steps until `peak`.
        peak: highest rate.
        final: rate at the end.
        passed: share of the run's time that has passed, where time may end it; what is further on counts, the steps or
            the time.

    Example:
        >>> [round(learning_rate(s, steps=10, warmup=2, peak=1.0, final=0.0), 2) for s in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]

    Source: Section 4.2 (cosine annealing, Loshchilov and Hutter 2017); the warm-up is not in the paper.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, max(passed, (step - warmup) / max(1, steps - warmup)))
    return final + (peak - final) * (1 + math.cos(math.pi * progress)) / 2
