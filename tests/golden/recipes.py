"""How a golden manifest writes inputs and slices, read without executing any text of it.

Inputs are recipes over ``fill_input`` (an expression, a ``fill_input`` record or a ``picture`` record); the part of an
output that is stored is written as a subscript such as ``[..., 1::4, 2::4]`` or ``[:, [0, 8, 17], :] of (2,18,512)``.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tests.golden.data.fill import fill_input

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
METHODS = ("repeat_interleave", "view", "reshape")


class BadRecipe(ValueError):
    """A recipe uses something this reader does not know."""


def _filled(name: str, shape: tuple[int, ...], seed: int, low: float | None, high: float | None) -> Tensor:
    return fill_input(name, shape, seed=seed, low=low, high=high)


def _call(node: ast.Call, seed: int) -> Any:
    values = [_value(argument, seed) for argument in node.args]
    named = {keyword.arg: _value(keyword.value, seed) for keyword in node.keywords}
    if isinstance(node.func, ast.Name) and node.func.id == "fill_input":
        name, shape = values
        return _filled(name, shape, seed, named.get("low"), named.get("high"))
    if isinstance(node.func, ast.Attribute):
        owner = node.func.value
        if isinstance(owner, ast.Name) and owner.id == "torch" and node.func.attr == "tensor":
            return torch.tensor(*values)
        if node.func.attr in METHODS and not named:
            return getattr(_value(owner, seed), node.func.attr)(*values)
    raise BadRecipe(f"unknown call in recipe: {ast.unparse(node)}")


def _value(node: ast.expr, seed: int) -> Any:
    match node:
        case ast.Constant(value=value) if isinstance(value, int | float | str):
            return value
        case ast.Name(id="S"):
            return seed
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, seed)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return BINARY[type(op)](_value(left, seed), _value(right, seed))
        case ast.Tuple(elts=elements):
            return tuple(_value(element, seed) for element in elements)
        case ast.List(elts=elements):
            return [_value(element, seed) for element in elements]
        case ast.Call():
            return _call(node, seed)
    raise BadRecipe(f"unknown expression in recipe: {ast.unparse(node)}")


def picture(name: str, batch: int, size: int, low: float, high: float, seed: int) -> Tensor:
    """Blocky noise (batch,3,size,size): 0.7 of 8x8 blocks and 0.3 of fine noise, both uniform in [low, high)."""
    blocks = _filled(f"{name}.blocks", (batch, 3, 8, 8), seed, low, high)
    noise = _filled(f"{name}.noise", (batch, 3, size, size), seed, low, high)
    return 0.7 * blocks.repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3) + 0.3 * noise


def make_input(recipe: str | Mapping[str, Any], seed: int) -> Tensor:
    """The input a recipe describes, with every seed in it replaced by ``seed``; a "then" is left to the adapter."""
    if isinstance(recipe, str):
        return _value(ast.parse(recipe, mode="eval").body, seed)
    if "picture" in recipe:
        p = recipe["picture"]
        return picture(p["name"], p["batch"], p["size"], p["low"], p["high"], seed)
    if "fill_input" in recipe:
        f = recipe["fill_input"]
        return _filled(f["name"], tuple(f["shape"]), seed, f.get("low"), f.get("high"))
    raise BadRecipe(f"unknown input record: {sorted(recipe)}")


def _index(node: ast.expr) -> Any:
    match node:
        case ast.Slice(lower=lower, upper=upper, step=step):
            return slice(*(None if part is None else ast.literal_eval(part) for part in (lower, upper, step)))
        case ast.Tuple(elts=elements):
            return tuple(_index(element) for element in elements)
    return ast.literal_eval(node)


def parse_subscript(text: str | None) -> Any:
    """The index of a stored part: None where the whole is stored, or where ``text`` does not begin with a subscript."""
    if not text or not text.startswith("["):
        return None
    expression = ast.parse("x" + text.split(" of ")[0])
    statement = expression.body[0]
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Subscript):
        raise BadRecipe(f"unknown slice: {text}")
    return _index(statement.value.slice)
