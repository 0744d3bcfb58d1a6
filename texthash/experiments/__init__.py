"""The way of one configuration from a corpus to a served release, in steps that the CLI and the programs share.

    prepare -> search (optional) -> train on each seed -> evaluate -> register -> release

Everything that steers a choice sees the validation split only. The test split is released once for each final model.
"""
