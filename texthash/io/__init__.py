"""Files that are whole or absent, at places that several processes and nodes share.

    atomic, fsync     files and directories that appear at once, and stay after a crash
    records           small JSON files, sealed and validated
    places            records in a file system or an object store: create, swap; conditional has the requests
    leases, claims    one process at a time
    folders, copies   directories published as a whole, and their verified copies
    object_store_cache, local_copies, array_file      what a node keeps of them
    ragged            rows of different lengths in flat arrays

Functions that take the path of a shared place take an address of an object store too.
"""
