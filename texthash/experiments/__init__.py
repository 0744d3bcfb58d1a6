"""Steps from a corpus and a configuration to a served release, shared by the CLI and the pipelines.

    prepare -> search (optional) -> train with each seed -> evaluate -> register -> release

Every selection uses the validation split only. The test split is used once for each final model.
"""
