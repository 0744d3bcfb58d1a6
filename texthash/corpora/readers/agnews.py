r"""``agnews``: AG's News in the selection of Zhang et al., 120,000 training and 7,600 test news of 4 classes.

Its file formats, and the form of its documents, are described in :mod:`~texthash.corpora.readers.zhang`. A text is
title and description. Backslashes are kept: in this corpus a backslash alone stands for a line break
(``dwindling\band``), also before an ``n`` (``a\new record``), so that it cannot be distinguished from the line break
``\n`` of the file's description.
"""

from __future__ import annotations

from texthash.corpora.corpus_record import CorpusRecord, Download
from texthash.corpora.readers import zhang

record = CorpusRecord(
    name="agnews",
    title="AG's News topic classification, version 3",
    documents=127_600,
    labels=4,
    multi_label=False,
    licence="for research and other non-commercial use; no redistribution licence",
    source="https://github.com/zhangxiangxiao/Crepe",
    citation="Zhang, Zhao, LeCun, Character-level Convolutional Networks for Text Classification, NIPS 2015; "
    "Gulli, AG's corpus of news articles, 2004",
    survey="127,600 documents, 4 labels, single-label",
    splits={"train": 120_000, "test": 7_600},
    terms="The collectors of the news give them to the academic community for research in data mining, information "
    "retrieval and the like, and for any other non-commercial activity.",
    downloads=(
        Download(
            url="https://s3.amazonaws.com/fast-ai-nlp/ag_news_csv.tgz",
            file="ag_news_csv.tgz",
            bytes=11_784_419,
            checksum="md5:b86f328f4dbd072486591cb7a5644dcd",
        ),
    ),
)
TABLE = zhang.Table(
    record=record,
    folder="ag_news_csv",
    classes=("World", "Sports", "Business", "Sci/Tech"),
    fields=2,
    parquet=("ag_news/data/train-00000-of-00001.parquet", "ag_news/data/test-00000-of-00001.parquet"),
    label="label",
    texts=("text",),
)
files, parts = TABLE.files, TABLE.parts
