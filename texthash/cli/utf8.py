"""UTF-8 text in a process whose locale is not UTF-8."""

from __future__ import annotations

import codecs
import io
import os
import sys

_VARIABLE = "PYTHONUTF8"


def ensure_utf8() -> None:
    """Start this program again in Python's UTF-8 mode where the locale is ASCII, as in a container without a locale.

    Arguments, names of files, standard streams and child processes are then UTF-8 too, which no ``encoding=`` in the
    code reaches. A locale of another encoding stays; what it cannot show is printed as an escape.
    """
    encoding = codecs.lookup(sys.getfilesystemencoding()).name
    if encoding == "ascii" and os.environ.get(_VARIABLE) != "1":
        os.environ[_VARIABLE] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="backslashreplace")
