"""Names of the recursion's results, as the paper writes them: H0 is its input, H1 the first step's result."""

from __future__ import annotations


def step_names(num_steps: int, *, include_input: bool) -> tuple[str, ...]:
    """Names of a gate's candidates.

    Args:
        num_steps: Recursion steps T.
        include_input: Whether the recursion's input is a candidate.

    >>> step_names(2, include_input=True)
    ('H0', 'H1', 'H2')
    """
    return tuple(f"H{step}" for step in range(0 if include_input else 1, num_steps + 1))
