"""Start HAProxy for Ray Serve, with statistics and metrics on 127.0.0.1, and end it with its parent.

    python -I -S haproxy_launcher.py HAPROXY ERRORS STATS_PORT METRICS_PORT [ARGUMENT]...

Serve has no setting for the address of these two ports, which HAProxy opens on all interfaces without a key. ERRORS is
the directory of the errors that it answers itself (:mod:`texthash.service.haproxy_errors`). Where the cluster
dies, Serve leaves HAProxy behind, which answers errors on its port. This module imports the standard library
only, because it runs at each reload.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SERVES_TEXT = (
    "    http-response deny deny_status 503 if { status 404 503 } { res.hdr(content-type) -m beg text/plain }\n"
)


def on_loopback(configuration: str, ports: list[str]) -> str:
    """Return the configuration with the ``bind`` of these ports moved from all addresses to 127.0.0.1."""
    return re.sub(rf"(?m)^(\s*bind )\*?:({'|'.join(ports)})$", r"\g<1>127.0.0.1:\g<2>", configuration)


def with_errors(configuration: str, folder: Path) -> str:
    """Return the configuration with the files of a directory as what is answered for the status that names each."""
    files = sorted(folder.glob("*.http"))
    for file in files:
        configuration = re.sub(rf"(?m)^\s*errorfile {file.stem} .*\n", "", configuration)
    lines = "".join(f"    errorfile {file.stem} {file}\n" for file in files)
    return re.sub(r"(?m)^defaults\n", lambda found: found[0] + lines, configuration)


def with_problems(configuration: str) -> str:
    """Return the configuration with problems, like all others, in place of Serve's own texts for paths and states.

    Serve opens the port before it knows the application, and answers 404 to every path until then: now 503. So are
    answers of its fallback proxy, which knows no path yet; those of the service are never plain text. While no replica
    is up the fallback proxy would hold requests until one is: a server of weight 0 gets none, and HAProxy answers 503.
    """
    begin = configuration.find("\nfrontend http_frontend\n")
    rules = configuration[begin : configuration.find("\n    default_backend default_backend", begin)]
    known = re.search(r"(?m)^ *use_backend ", rules) is not None
    configuration = re.sub(
        r"(?m)^(backend default_backend\n) *http-request return status 404 .*$",
        rf"\g<1>    http-request deny deny_status {404 if known else 503}",
        configuration,
    )
    configuration = re.sub(r"(?m)^( *server .* backup)$", r"\1 weight 0", configuration)
    return re.sub(r"(?m)^frontend http_frontend\n *bind .*\n", lambda found: found[0] + _SERVES_TEXT, configuration)


def main(arguments: list[str]) -> None:
    """Replace this process by HAProxy."""
    binary, errors, stats, metrics, *passed = arguments
    file = Path(passed[passed.index("-f") + 1])
    configuration = on_loopback(file.read_text(encoding="utf-8"), [stats, metrics])
    file.write_text(with_problems(with_errors(configuration, Path(errors))), encoding="utf-8")
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.execv(binary, [binary, *passed])


if __name__ == "__main__":
    main(sys.argv[1:])
