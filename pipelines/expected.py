"""Send queries with expected documents to a running service, and count those that find one among their first hits.

    python pipelines/expected.py http://127.0.0.1:8000
    python pipelines/expected.py http://127.0.0.1:8000 --mode semantic --least 0
    python pipelines/expected.py http://127.0.0.1:8000 --queries mine.yaml --weight 0.35

The exit status is 1 if fewer than ``--least`` of them do. Of each query one line shows the rank of the first expected
document, the first hits, and the expected documents that the index does not have.
"""

import sys
from typing import Any

from common import bare_parser, finish
from expected_queries import ExpectedQuery, judge, read_expected

from texthash.client import Client, ServiceError
from texthash.errors import TexthashError
from texthash.progress import log_line

OPTIONS = bare_parser(__doc__)
OPTIONS.add_argument("url", help="address of the service")
OPTIONS.add_argument("--queries", default="queries/quickstart.yaml", help="file of queries; see configs/queries/")
OPTIONS.add_argument("--mode", choices=["hybrid", "semantic", "keyword"], help="default: that of the service")
OPTIONS.add_argument("--weight", type=float, help="weight of the meaning in hybrid search; default: the release's")
OPTIONS.add_argument("--first", type=int, default=5, metavar="K", help="number of first hits that count")
OPTIONS.add_argument("--least", type=float, default=0.9, metavar="SHARE", help="smallest share of queries")


def main() -> dict[str, Any]:
    arguments = OPTIONS.parse_args()
    queries = read_expected(arguments.queries)
    with Client(arguments.url) as client:
        reply = client.search(
            [query.text for query in queries], mode=arguments.mode, weight=arguments.weight, limit=arguments.first
        )
        found = [
            judge(query, [hit.id for hit in result.hits], _known(client, query), arguments.first)
            for query, result in zip(queries, reply.results, strict=True)
        ]
    for one in found:
        log_line(str(one))
    hits = sum(one.rank is not None for one in found)
    if hits < arguments.least * len(found):
        raise TexthashError(
            f"{hits} of {len(found)} queries find what is expected among the first {arguments.first} hits.",
            f"at least {arguments.least:.0%} of them should; see the hits above.",
        )
    return {f"hit@{arguments.first}": hits / len(found), "queries": len(found)}


def _known(client: Client, query: ExpectedQuery) -> list[str]:
    return [id_ for id_ in query.expected if _has(client, id_)]


def _has(client: Client, id_: str) -> bool:
    try:
        client.document(id_)
    except ServiceError as error:
        if error.status == 404:
            return False
        raise
    return True


if __name__ == "__main__":
    sys.exit(finish(main, OPTIONS.parse_args().verbose))
