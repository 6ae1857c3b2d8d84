"""The smallest difference that a comparison would find."""

from scipy import special

from amplitune.study.statistics.intervals import critical_value

POWER = 0.8


def detectable_difference(error: float, degrees: float, power: float = POWER) -> float:
    """The true difference whose test at level 0.05 comes out significant with probability `power`.

    `delta / error` is the noncentrality at which the noncentral t distribution exceeds the critical value
    with probability `power`. A single comparison is meant: Holm's adjustment for several asks for more.

    Args:
        error: standard error of the difference.
        degrees: its degrees of freedom.
        power: the probability of finding it.

    Returns:
        The difference, in the unit of `error`; 0 for an error of 0.

    Example:
        >>> round(detectable_difference(1.0, 4), 2), round(detectable_difference(1.0, 1e6), 2)
        (3.76, 2.8)
    """
    # The other tail, significant with the wrong sign, adds less than 1e-4 to the power.
    return error * float(special.nctdtrinc(degrees, 1 - power, critical_value(degrees)))
