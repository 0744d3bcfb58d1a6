"""The service: HTTP and gRPC over one release, on Ray Serve.

A search passes, in this order,

    middleware/       limits, keys, deadline, log; or short_search, the same for an ordinary search in one step
    routes/search     the request and its answer
    batching          requests that wait while a pass runs share the next one
    coordinator       one pass: query_codes -> shard_search and keyword_search -> merge -> documents of the hits
    replicas/         encoder and shards, in this process or, by remote, in deployments of their own (placement)

A write passes routes/writes -> index_writes -> replicas/writer, the one writer of the index; release_watcher then moves
every ingress to the release that holds it. serve_app puts the deployments together, run starts them, and http_app is
the application of one ingress, which tests call without a cluster.
"""
