"""Documents and their codes on disk and in memory: built, searched, written to, and released as a whole.

    building      writing/build         encode the corpus once, write one Lance dataset a shard (storage/shard_format)
    releasing     releases/release      an immutable record of a model, an index and a version of each shard
                  releases/publish      the pointer to the current release, and rollback
    opening       shard                 codes in memory (memory/), words on demand (keywords/), documents from disk
                  mapped_contents       the same from a file that the processes of a node share
    searching     search                over all shards in this process; the service does it by its own coordinator
                  rescoring             a finer order of the nearest documents
                  fusion                one list from a list by meaning and a list by words
                  filters/              conditions, facets and sorting by attributes
    writing       writing/writer        one writer: commit, sync, publish, acknowledge
                  writing/reencode      another model under a live index
    keeping       releases/             snapshots, backup, verify

Documents have numbers in the order of their first insert, which decide between equal distances. A reader stays with one
release for as long as it likes.
"""
