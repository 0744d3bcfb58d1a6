"""The commands of pipelines/benchmark.py, one module each."""
