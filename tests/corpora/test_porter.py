"""The stemmer is NLTK's, without the rest of NLTK."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from texthash.corpora.porter import porter_stemmer
words = ["running", "ponies", "relational", "dying", "skies", "read", "oed", "generously", "at", "", "naive"]
own = [porter_stemmer().stem(word) for word in words]
assert not {"nltk", "nltk.stem", "scipy.stats", "pandas"} & set(sys.modules)
import nltk
from nltk.stem.porter import PorterStemmer
assert nltk.word_tokenize and nltk.stem.SnowballStemmer
assert own == [PorterStemmer().stem(word) for word in words], own
"""


def test_the_stems_are_those_of_nltk_which_can_be_imported_afterwards() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_nltk_that_is_imported_already_is_used_as_it_is() -> None:
    program = "import nltk\n" + PROGRAM.replace("assert not {", "assert {")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
