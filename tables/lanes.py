# ruff: noqa: ARG001 - numba counts what an intrinsic takes
"""What numba has no words for: eight numbers side by side inside compiled loops, the upper half of a product, and bytes that a loop returns.

LLVM makes of eight what a processor has: eight at once, or four, or two. Each lane is added to and taken from by itself in the order written,
none ever meets another, and nothing is fused: the bits are those of eight loops one after the other. It never checks a bound: arrays are as
wide as they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import box, intrinsic, models, register_model

Floats = npt.NDArray[np.float64]
Octets = npt.NDArray[np.uint8]

WIDE = 8


class Lanes(types.Type):
    """The type of eight float64 in compiled code; there are none outside it."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


LANES = Lanes()
_VECTOR = ir.VectorType(ir.DoubleType(), WIDE)


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Any) -> None:
        super().__init__(manager, lanes, _VECTOR)  # type: ignore[no-untyped-call]


def _all(builder: Any, value: Any) -> Any:
    """A vector of one number."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), WIDE), [0] * WIDE)
    return builder.shuffle_vector(one, one, places)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _VECTOR.as_pointer())


@intrinsic
def _zero(_typing: Any) -> Any:
    return LANES(), lambda context, builder, signature, args: ir.Constant(_VECTOR, [0.0] * WIDE)


@intrinsic
def _load(_typing: Any, array: Any, at: Any) -> Any:
    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *args), align=8)

    return LANES(array, types.intp), make


@intrinsic
def _store(_typing: Any, array: Any, at: Any, lanes: Any) -> Any:
    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, at, value = args
        builder.store(value, _pointer(context, builder, signature.args[0], array, at), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES), make


@intrinsic
def _plus(_typing: Any, lanes: Any, f: Any, other: Any) -> Any:
    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes, f, other = args
        return builder.fadd(lanes, builder.fmul(_all(builder, f), other))

    return LANES(LANES, types.float64, LANES), make


@intrinsic
def _less(_typing: Any, lanes: Any, f: Any, other: Any) -> Any:
    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes, f, other = args
        return builder.fsub(lanes, builder.fmul(_all(builder, f), other))

    return LANES(LANES, types.float64, LANES), make


@intrinsic
def _over(_typing: Any, lanes: Any, f: Any) -> Any:
    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fdiv(args[0], _all(builder, args[1]))

    return LANES(LANES, types.float64), make


@intrinsic
def _sum(_typing: Any, lanes: Any, other: Any) -> Any:
    return LANES(LANES, LANES), lambda context, builder, signature, args: builder.fadd(*args)


class Returned(types.Array):
    """The type of an array of bytes that becomes Python's bytes where compiled code ends."""

    def __init__(self) -> None:
        super().__init__(types.uint8, 1, "C", name="Returned")


RETURNED = Returned()
register_model(Returned)(models.ArrayModel)


@box(Returned)  # type: ignore[untyped-decorator]
def _boxed(returned: Any, value: Any, c: Any) -> Any:
    array = c.context.make_array(returned)(c.context, c.builder, value=value)
    data = c.builder.bitcast(array.data, ir.IntType(8).as_pointer())
    made = c.pyapi.bytes_from_string_and_size(data, array.nitems)
    c.context.nrt.decref(c.builder, returned, value)
    return made


@intrinsic
def _returned(_typing: Any, array: Any) -> Any:
    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return impl_ret_borrowed(context, builder, RETURNED, args[0])

    return RETURNED(array), make


@intrinsic
def _upper(_typing: Any, a: Any, b: Any) -> Any:
    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = (builder.zext(one, ir.IntType(128)) for one in args)
        return builder.trunc(builder.lshr(builder.mul(a, b), ir.Constant(ir.IntType(128), 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), make


zero = cast("Callable[[], Lanes]", _zero)
"""Noughts."""
load = cast("Callable[[Floats, int], Lanes]", _load)
"""Of a C-contiguous array of any dimensions, from the entry at this place of all."""
store = cast("Callable[[Floats, int, Lanes], None]", _store)
plus = cast("Callable[[Lanes, float, Lanes], Lanes]", _plus)
"""lanes + f · other."""
less = cast("Callable[[Lanes, float, Lanes], Lanes]", _less)
"""lanes - f · other."""
over = cast("Callable[[Lanes, float], Lanes]", _over)
"""lanes / f."""
both = cast("Callable[[Lanes, Lanes], Lanes]", _sum)
"""lanes + other."""
returned = cast("Callable[[Octets], bytes]", _returned)
"""A contiguous array of bytes, as Python has it from a function whose signature leaves out what it returns."""
upper = cast("Callable[[np.uint64, np.uint64], np.uint64]", _upper)
"""The upper 64 of the 128 bits of the product of two whole numbers."""
