"""Binary codes as bytes: packing, widths, words for the kernels, and text forms.

A code of ``bits`` bits is ``bits / 8`` bytes, most significant bit first: bit ``i`` of a code is bit ``7 - i % 8`` of
byte ``i // 8``. This is ``numpy.packbits``, and the layout that faiss, usearch, pgvector and sentence-transformers
("ubinary") read, so the same bytes go into any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError

MIN_BITS = 8
MAX_BITS = 1024

# Size of a cache line: a vector of 64 bytes that straddles two lines needs a second load.
_ALIGNMENT = 64


def check_bits(bits: int) -> int:
    """Return ``bits`` if it is a permitted width of codes.

    Raises:
        TexthashError: ``bits`` is not a multiple of 8 from 8 to 1024.
    """
    if bits % 8 or not MIN_BITS <= bits <= MAX_BITS:
        raise TexthashError(
            f"codes cannot have {bits} bits", f"choose a multiple of 8 from {MIN_BITS} to {MAX_BITS} bits"
        )
    return bits


def check_codes(codes: NDArray[np.uint8], bits: int | None = None, name: str = "codes") -> int:
    """Check an array of codes, and return its width in bits.

    Args:
        codes: Packed codes, uint8 [N, bits / 8].
        bits: Expected width; None admits any permitted width.
        name: Name of the codes in error messages.

    Raises:
        TexthashError: ``codes`` is not a uint8 array of two dimensions, or its width is not permitted.
        ModelMismatchError: The width is not ``bits``.
    """
    if not isinstance(codes, np.ndarray) or codes.dtype != np.uint8 or codes.ndim != 2:
        kind = f"{codes.dtype} array of shape {codes.shape}" if isinstance(codes, np.ndarray) else type(codes).__name__
        raise TexthashError(
            f"{name} are a {kind}, not a uint8 array [N, bits / 8]", "pack them with texthash.hamming.codes.pack"
        )
    width = check_bits(8 * codes.shape[1])
    if bits is not None and width != bits:
        raise ModelMismatchError(
            f"{name} have {width} bits where {bits} are expected", "encode them with the model that made the index"
        )
    return width


def pack(bits: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack ``[N, B]`` zeros and ones into codes ``[N, B / 8]``, most significant bit first.

    Raises:
        TexthashError: The array is not two-dimensional, holds other values than 0 and 1, or B is not a permitted width.
    """
    array = np.asarray(bits)
    if array.ndim != 2 or array.dtype not in (np.bool_, np.uint8):
        raise TexthashError(
            f"bits to pack are a {array.dtype} array of shape {array.shape}", "give a bool or uint8 array [N, bits]"
        )
    check_bits(array.shape[1])
    if array.dtype == np.uint8 and array.size and array.max() > 1:
        raise TexthashError(f"bits to pack hold the value {array.max()}", "give zeros and ones only")
    return np.packbits(array.astype(np.bool_, copy=False), axis=1)


def unpack(codes: NDArray[np.uint8], bits: int | None = None) -> NDArray[np.uint8]:
    """Unpack codes into zeros and ones, uint8 [N, bits]; the inverse of `pack`. Raises the errors of `check_codes`."""
    check_codes(codes, bits)
    return np.unpackbits(codes, axis=1)


def to_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return ``codes`` as 64-bit words ``[words, N]``, word-major, the last word padded with zero bits.

    Word-major means that word j of all codes is contiguous: a vector register then holds the same word of neighbouring
    codes, and comparing them needs no shuffles. The result is always a copy, aligned to cache lines. Words have the
    byte order of the machine, so words of different machines must not be compared. Raises the errors of `check_codes`.
    """
    width = check_codes(codes) // 8
    rows = len(codes)
    words = -(-width // 8)
    out = empty_words(words, rows)
    if width == 8 * words:
        out[:] = np.ascontiguousarray(codes).view(np.uint64).T
        return out
    padded = np.zeros((rows, 8 * words), np.uint8)
    padded[:, :width] = codes
    out[:] = padded.view(np.uint64).T
    return out


def to_hex(codes: NDArray[np.uint8]) -> list[str]:
    """Return each code as ``bits / 4`` lower-case hexadecimal digits. Raises the errors of `check_codes`."""
    check_codes(codes)
    return [row.tobytes().hex() for row in codes]


def from_hex(texts: Sequence[str], bits: int | None = None) -> NDArray[np.uint8]:
    """Return the codes of hexadecimal strings, uint8 [N, bits / 8]; the inverse of `to_hex`.

    Raises:
        TexthashError: A string is not hexadecimal, or ``texts`` is empty and ``bits`` is not given.
        ModelMismatchError: The strings differ in length, or the width is not ``bits``.
    """
    if not texts:
        if bits is None:
            raise TexthashError("no hexadecimal codes were given", "give at least one, or their width in bits")
        return np.zeros((0, check_bits(bits) // 8), np.uint8)
    rows = []
    for text in texts:
        try:
            rows.append(bytes.fromhex(text))
        except ValueError as error:
            raise TexthashError(
                f"{text!r} is not a hexadecimal code", "give two digits of 0-9 and a-f for each 8 bits"
            ) from error
        if len(rows[-1]) != len(rows[0]):
            raise ModelMismatchError(
                f"code {text!r} has {8 * len(rows[-1])} bits, the first code has {8 * len(rows[0])}",
                "give codes of one width",
            )
    codes = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1).copy()
    check_codes(codes, bits)
    return codes


def to_bitstring(codes: NDArray[np.uint8]) -> list[str]:
    """Return each code as a string of zeros and ones, bit 0 first (pgvector's text form of ``bit(n)``)."""
    check_codes(codes)
    digits = np.unpackbits(codes, axis=1) + np.uint8(ord("0"))
    return [row.tobytes().decode("ascii") for row in digits]


def empty_words(words: int, rows: int) -> NDArray[np.uint64]:
    """Return an uninitialised uint64 array ``[words, rows]`` that begins on a cache line.

    With vectors that straddle lines, a batch of queries takes 1.4 times as long to scan codes in the first-level cache.
    """
    size = 8 * words * rows
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(np.uint64).reshape(words, rows)


def as_readonly(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only contiguous view.

    Read-only arrays (shared memory, files) and writable ones are different types to Numba, which would compile the
    kernels for both.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
