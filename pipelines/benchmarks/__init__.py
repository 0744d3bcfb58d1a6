"""Commands of pipelines/benchmark.py, one module each."""
