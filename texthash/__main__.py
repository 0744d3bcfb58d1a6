"""``python -m texthash``."""

from texthash.cli import main

if __name__ == "__main__":
    main()
