"""Print pip's configuration as environment variables that uv reads, one NAME=value a line.

    python -m pip config list | python deploy/uv_settings.py

Ends with status 3 if a setting has no counterpart in uv, and then names it: the packages have to be installed by pip.
Values can contain passwords, so none is part of a message. A file index that does not exist is left out, as pip does.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The variable of uv for each setting of pip, and what separates several values there.
_COUNTERPARTS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
}
# What these settings say does not change which packages are installed.
_WITHOUT_EFFECT = frozenset(
    {
        "cache-dir",
        "disable-pip-version-check",
        "no-color",
        "no-input",
        "no-warn-script-location",
        "progress-bar",
        "quiet",
        "require-virtualenv",
        "retries",
        "root-user-action",
        "verbose",
    }
)
_SECTIONS = ("global", "install", ":env:")  # a later one has precedence


def settings_of_pip(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return the values of each setting that ``pip install`` obeys, by its name without the section."""
    found: dict[str, dict[str, list[str]]] = {section: {} for section in _SECTIONS}
    for line in lines:
        key, separator, text = line.strip().partition("=")
        section, _, name = key.rpartition(".")
        if separator and section in found:
            found[section][name.removeprefix("default-")] = ast.literal_eval(text).split()
    return {name: values for section in _SECTIONS for name, values in found[section].items()}


def variables_of_uv(settings: dict[str, list[str]]) -> dict[str, str]:
    """Translate settings of pip.

    Raises:
        LookupError: A setting has no counterpart; the message is its name.
    """
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # pip's: the highest version of all indexes
    for name, values in settings.items():
        if name in _WITHOUT_EFFECT:
            continue
        if name not in _COUNTERPARTS:
            raise LookupError(name)
        variable, separator = _COUNTERPARTS[name]
        if kept := [value for value in values if _exists(value)]:
            variables[variable] = separator.join(kept)
    return variables


def _exists(value: str) -> bool:
    address = urlsplit(value)
    return address.scheme != "file" or Path(unquote(address.path)).exists()


def main() -> int:
    """Translate what standard input says."""
    try:
        variables = variables_of_uv(settings_of_pip(sys.stdin))
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 3
    for name, value in variables.items():
        print(f"{name}={value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
