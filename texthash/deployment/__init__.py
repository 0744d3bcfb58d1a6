"""From a corpus to a served release, and changes of a live index; the command line and the pipelines call these.

    steps             one function a step: prepare, train, tune, evaluate, release
    finish            final models of an experiment: evaluation on test, registry, release
    release_model     registration, index and release of a trained model; known_items chooses the order of results
    promote           another model under a running service
    champion          the alias that follows the release
    index_files, code_exchange        documents and codes from files into a live index, and out of it

An interrupted step goes on where it ended when it is called again.
"""
