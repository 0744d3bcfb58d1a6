"""Program that compiles the kernels of a service into the cache of this node, and ends.

Compiling takes 150 MB, which would stay with a process that goes on.
"""

from __future__ import annotations

from pathlib import Path

import texthash
from texthash.io.kernel_cache import is_cached
from texthash.processes import run_module

_PACKAGES = ("hamming", "index/keywords")


def compile_apart() -> None:
    """Compile the kernels in another process, unless the cache has them.

    What is missing afterwards is compiled by the process that needs it.
    """
    root = Path(texthash.__file__).parent
    if not all(is_cached(root / package) for package in _PACKAGES):
        run_module(__name__)


def main() -> None:
    """Compile all kernels that a service uses."""
    from texthash.hamming.kernels import warmup
    from texthash.index.keywords import top

    warmup()
    top.load_kernel()


if __name__ == "__main__":
    main()
