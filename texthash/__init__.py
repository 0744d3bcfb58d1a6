"""texthash: documents learned into short binary codes, searched exactly in Hamming space."""

__version__ = "0.1.0"
