"""Program that makes the file from which the processes of a node map a version of a shard, and ends."""

from __future__ import annotations

import sys

from texthash.index.mapped_contents import MappedFiles
from texthash.index.shard import Shard


def main(path: str, version: str, checksum: str, most_bytes: str) -> None:
    """Make the file, unless there is one or no room for it. Arguments are those of the command line."""
    Shard.open(path, int(version), checksum=checksum, files=MappedFiles(int(most_bytes), least_documents=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
