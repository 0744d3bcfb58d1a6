"""Baseline of the memory of a service: an application of Ray Serve that does nothing, on a cluster as that of ours.

python -m benchmarks.empty_serve PORT

It prints a line when it answers, and ends on SIGINT.
"""

from __future__ import annotations

import sys

import httpx

from texthash.service.foreground import foreground, interrupt_on_signals
from texthash.service.haproxy import haproxy_environment
from texthash.service.local_cluster import service_cluster

STDOUT = sys.stdout


class Hello:
    """Deployment that answers every request alike."""

    async def __call__(self) -> str:
        """Return a greeting."""
        return "hello"


def main(port: int) -> None:
    """Serve on a port of 127.0.0.1 until a signal."""
    with haproxy_environment(), service_cluster():
        interrupt_on_signals()
        from ray import serve  # reads its settings on import
        from ray.serve.config import HTTPOptions, ProxyLocation

        serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=HTTPOptions(host="127.0.0.1", port=port))
        serve.run(serve.deployment(name="ingress", ray_actor_options={"num_cpus": 0.1})(Hello).bind())
        with foreground(f"http://127.0.0.1:{port}"):
            httpx.get(f"http://127.0.0.1:{port}/", timeout=60).raise_for_status()
            print(port, file=STDOUT, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
