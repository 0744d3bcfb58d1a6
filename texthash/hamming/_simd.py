"""SIMD vectors for the kernels: a Numba type of 32 codes side by side, and operations on it.

The vectors are explicit because LLVM's automatic choice is 256 bits on many CPUs that have 512 (its feature
``prefer-256-bit``), and a slow instruction for the minimum of 64-bit lanes. A value of type ``lanes`` is 32 lanes of 64
bits, which LLVM splits into the registers of the machine: four of AVX-512, eight of AVX2, sixteen of NEON. On AVX-512 a
step of the scan is ``vpxorq``, ``vpopcntq``, ``vpminuw`` for every eight codes.

These operations work only inside functions compiled with `compiled` or `inlined`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from texthash.io import kernel_cache

LANES = 32

_WORD = ir.IntType(64)
_LANES = ir.VectorType(_WORD, LANES)
# A distance is at most 1024: it fits the low 16 bits of a lane, and the others are zero. The minimum over 16-bit parts,
# one fast instruction, is therefore the minimum over lanes.
_PARTS = ir.VectorType(ir.IntType(16), 4 * LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_LINE_BYTES = 64


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="lanes")


lanes = _LanesType()

# Numba's annotations describe the function that generates code, not the operation that a compiled function calls.
_operation: Any = intrinsic


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _LANES)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile ``function`` by :func:`texthash.io.kernel_cache.compiled`, with division by zero as in NumPy."""
    return kernel_cache.compiled(function, error_model="numpy")


def inlined(function: Callable[..., Any]) -> Any:
    """Compile ``function`` inline into its callers: a call per block would pass lanes and arrays through memory.

    The function cannot create arrays, and does not count references to its arguments. Numba counts references by atomic
    calls, before which the vector registers are saved; per block and query, this took longer than the block itself.
    """
    uncounted: Any = {"_nrt": False}  # Numba's annotations lack this option.
    return njit(function, nogil=True, error_model="numpy", forceinline=True, **uncounted)


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_LANES, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _call(builder: Any, name: str, kind: Any, *values: Any) -> Any:
    signature = ir.FunctionType(kind, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), values)


def _prefetch(builder: Any, pointer: Any) -> None:
    """Prefetch the cache line at a pointer for reading, into the second-level cache."""
    number = ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0i8")
    builder.call(function, [pointer, number(0), number(2), number(1)])


def _element(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, kind: Any) -> Any:
    """Return a pointer to ``kind`` at element ``offset`` of a C-contiguous array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), kind.as_pointer())


def _rows_of_word(context: Any, builder: Any, words_type: Any, words: Any, word: Any, row: Any) -> Any:
    """Return a pointer to the lanes of one word of the codes, beginning at a row."""
    rows = builder.extract_value(context.make_array(words_type)(context, builder, words).shape, 1)
    return _element(context, builder, words_type, words, builder.add(builder.mul(word, rows), row), _LANES)


@_operation
def xor_popcount(typing: Any, words: Any, word: Any, row: Any, query_word: Any) -> Any:
    """xor_popcount(words uint64 [w, N], word, row, query_word): differing bits of a word of rows row..row+31."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _rows_of_word(context, builder, signature.args[0], *values[:3])
        codes = builder.load(pointer, align=8)
        return _call(builder, f"llvm.ctpop.v{LANES}i64", _LANES, builder.xor(codes, _splat(builder, values[3])))

    return lanes(words, types.intp, types.intp, types.uint64), generate


@_operation
def fetch_rows(typing: Any, words: Any, word: Any, row: Any) -> Any:
    """fetch_rows(words, word, row): prefetch one word of rows row..row+31; only a hint, and harmless past the end."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _rows_of_word(context, builder, signature.args[0], *values)
        start = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        for line in range(0, 8 * LANES, _LINE_BYTES):
            _prefetch(builder, builder.gep(start, [ir.Constant(_WORD, line)]))
        return context.get_dummy_value()

    return types.void(words, types.intp, types.intp), generate


@_operation
def filled(typing: Any, value: Any) -> Any:
    """filled(value): the value in every lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _splat(builder, values[0])

    return lanes(types.uint64), generate


@_operation
def added(typing: Any, a: Any, b: Any) -> Any:
    """added(a, b): sum of each pair of lanes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.add(*values)

    return lanes(lanes, lanes), generate


@_operation
def smaller(typing: Any, a: Any, b: Any) -> Any:
    """smaller(a, b): minimum of each pair of lanes, which must be below 65536."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = [builder.bitcast(value, _PARTS) for value in values]
        return builder.bitcast(_call(builder, f"llvm.umin.v{4 * LANES}i16", _PARTS, *parts), _LANES)

    return lanes(lanes, lanes), generate


@_operation
def below(typing: Any, a: Any, bound: Any) -> Any:
    """below(a, bound): uint32 whose bit i is set if lane i is below the bound."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(builder.icmp_unsigned("<", values[0], _splat(builder, values[1])), ir.IntType(LANES))

    return types.uint32(lanes, types.uint64), generate


@_operation
def where_allowed(typing: Any, a: Any, mask: Any, other: Any) -> Any:
    """where_allowed(a, mask, other): lane i of a if bit i of the uint32 mask is set, otherwise the value other."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(builder.bitcast(values[1], _MASK), values[0], _splat(builder, values[2]))

    return lanes(lanes, types.uint32, types.uint64), generate


@_operation
def store(typing: Any, out: Any, offset: Any, a: Any) -> Any:
    """store(out uint16 array, offset, a): write 32 lanes at an element offset of a C-contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        narrow = ir.VectorType(ir.IntType(16), LANES)
        pointer = _element(context, builder, signature.args[0], values[0], values[1], narrow)
        builder.store(builder.trunc(values[2], narrow), pointer, align=2)
        return context.get_dummy_value()

    return types.void(out, types.intp, lanes), generate


@_operation
def popcount(typing: Any, value: Any) -> Any:
    """popcount(value): number of set bits of an unsigned integer, as uint64."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = values[0].type
        count = _call(builder, f"llvm.ctpop.i{kind.width}", kind, values[0])
        return count if kind.width == 64 else builder.zext(count, _WORD)

    return types.uint64(value), generate


@_operation
def fetch(typing: Any, array: Any, offset: Any) -> Any:
    """fetch(array, offset): prefetch one element of a C-contiguous array; only a hint."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_data_type(signature.args[0].dtype)
        element = _element(context, builder, signature.args[0], values[0], values[1], kind)
        _prefetch(builder, builder.bitcast(element, ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@_operation
def lowest(typing: Any, mask: Any) -> Any:
    """lowest(mask): position of the lowest set bit of a uint32, which must not be zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        nonzero = ir.Constant(ir.IntType(1), 1)
        position = _call(builder, "llvm.cttz.i32", ir.IntType(32), values[0], nonzero)
        return builder.zext(position, _WORD)

    return types.intp(types.uint32), generate
