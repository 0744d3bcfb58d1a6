"""Packed codes, and exact search among them.

    codes             packing, widths and text forms; words for the kernels
    kernels           search and counting by a scan: the public functions, over the loops of _scan, _histogram, _simd
    multi_index       search by tables of substrings, over the loops of _mih
    asymmetric        real values of a query against bits: by NumPy, and over the loop of _asymmetric
    plain_scan        the same by NumPy, for a program that asks few queries
    interop           files of codes for other systems

A code of ``bits`` bits is ``bits / 8`` bytes, most significant bit first.
"""

from texthash.environment import check_numba

check_numba()  # before a module of this package loads Numba
