"""Formulas that are shown as they are computed."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

Number = float
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
}


def near_root(number: float) -> int:
    """The largest divisor of a whole number that is not above its square root.

    Example:
        >>> [near_root(number) for number in (64, 96, 13)]
        [8, 8, 1]
    """
    whole = int(number)
    return next(d for d in range(math.isqrt(whole), 0, -1) if whole % d == 0)


FUNCTIONS: dict[str, Callable[..., float]] = {
    "ceil": math.ceil,
    "floor": math.floor,
    "max": max,
    "min": min,
    "round": round,
    "near_root": near_root,
}


def evaluate(formula: str, names: Mapping[str, Number]) -> int:
    """Compute a formula.

    Args:
        formula: an expression of + - * / **, `a if b < c else d`, the functions of `FUNCTIONS`, and names.
        names: their values.

    Returns:
        The value, which is whole.

    Raises:
        ValueError: the value is not whole, a name has none, or the expression has something else in it.

    Example:
        >>> evaluate("r * (d_in + d_out)", {"r": 8, "d_in": 64, "d_out": 32})
        768
    """
    value = float(_value(ast.parse(formula, mode="eval").body, names))
    if not math.isclose(value, round(value), abs_tol=1e-6):
        raise ValueError(f"`{formula}` must give a whole number, but gives {value} for {dict(names)}.")
    return round(value)


def pretty(formula: str) -> str:
    """A formula as mathematics writes it.

    Example:
        >>> pretty("depth * n_qubits + r ** 2 / 2")
        'depth·n_qubits + r²/2'
    """
    for plain, written in ((" * ", "·"), (" ** 2", "²"), (" / ", "/")):
        formula = formula.replace(plain, written)
    return formula


def _value(node: ast.AST, names: Mapping[str, Number]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, names) else orelse, names)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_value(argument, names) for argument in args))
    raise ValueError(f"`{ast.unparse(node)}` cannot be computed from {', '.join(sorted(names))}.")
