"""The step on a CPU by lines of the cache: weights are written around it, and it need not fetch what is overwritten.

Four streams through memory, not five. What compilers make of a loop does not do this; hence LLVM's code, by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rdasde._compiled.jit import Compiled, compilable, compiled_by, fma

LINE = 64  # bytes


@compilable
def to_line(array):
    """How many entries lie before the first line of the cache that begins in an array; all where none does."""
    n, address = len(array), np.int64(array.ctypes.data)
    return n if address % array.itemsize else min(n, -address % LINE // array.itemsize)


def _line(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """LLVM's code for ``x = A + rate grad; A = x; w = S(x, threshold)``, a line of the cache in a vector."""
    from llvmlite import ir
    from numba.np import arrayobj

    make_array: Any = arrayobj.make_array
    kind = context.get_value_type(signature.args[4])
    size = context.get_abi_sizeof(kind)
    vector = ir.VectorType(kind, LINE // size)

    def place(k: int) -> Any:
        data = make_array(signature.args[k])(context, builder, arguments[k]).data
        return builder.bitcast(builder.gep(data, [arguments[3]]), vector.as_pointer())

    def everywhere(number: Any) -> Any:
        nothing, first = ir.Constant(vector, ir.Undefined), ir.IntType(32)(0)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
        return builder.shuffle_vector(builder.insert_element(nothing, number, first), nothing, lanes)

    def multiply_add(*factors: Any) -> Any:
        name = f"llvm.fma.v{vector.count}f{8 * size}"
        function = builder.module.globals.get(name)
        function = function or ir.Function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        return builder.call(function, factors)

    rate, threshold = map(everywhere, arguments[4:])
    accumulator = place(0)
    x = multiply_add(rate, builder.load(place(2), align=size), builder.load(accumulator, align=size))
    builder.store(x, accumulator, align=size)
    above, below = builder.fsub(x, threshold), builder.fadd(x, threshold)
    none = builder.fmul(x, builder.fsub(threshold, threshold))  # NaN stays NaN
    negative = builder.fcmp_ordered("<", x, builder.fsub(ir.Constant(vector, [-0.0] * vector.count), threshold))
    positive = builder.fcmp_ordered(">", x, threshold)
    w = builder.select(positive, above, builder.select(negative, below, none))
    store = builder.store(w, place(1), align=LINE)
    store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
    return context.get_dummy_value()


def _by_lines() -> Compiled:
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def line(typing_context, a, w, grad, i, rate, threshold):
        return types.void(a, w, grad, types.intp, rate, rate), _line

    @intrinsic
    def all_written(typing_context):
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.fence("seq_cst")  # only here do x86 processors wait for such stores
            return context.get_dummy_value()

        return types.void(), code

    def shrink(a: Any, w: Any, grad: Any, first: int, last: int, rate: Any, threshold: Any) -> None:
        for i in range(first, last, LINE // a.itemsize):
            line(a, w, grad, i, rate, threshold)  # type: ignore[call-arg]
        all_written()  # type: ignore[call-arg]

    return shrink


@compiled_by(_by_lines)
def shrink_lines(a, w, grad, first, last, rate, threshold):
    """Accumulate and map the entries from `first`, where a line of the weights begins, to `last`, where one ends."""
    zero = threshold - threshold
    for i in range(first, last):
        x = fma(rate, grad[i], a[i])
        a[i] = x
        w[i] = x - threshold if x > threshold else (x + threshold if x < -threshold else x * zero)
