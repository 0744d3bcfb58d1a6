"""Adapters to other libraries, one module each; nothing else of texthash imports them.

Each module needs the package that its extra installs, such as ``pip install "texthash[langchain]"``.
"""
