"""``dbpedia``: the DBpedia ontology in the selection of Zhang et al.

It consists of 560,000 training and 70,000 test abstracts of 14 classes.

Its file formats, and the form of its documents, are described in :mod:`~texthash.corpora.readers.zhang`. A text is the
title of a Wikipedia article and its abstract. The survey uses a sample of 60,000 documents that it does not specify;
``corpus.edition.sample`` draws a sample of that size.
"""

from __future__ import annotations

from texthash.corpora.corpus_record import CorpusRecord, Download
from texthash.corpora.readers import zhang

record = CorpusRecord(
    name="dbpedia",
    title="DBpedia ontology classification, version 2",
    documents=630_000,
    labels=14,
    multi_label=False,
    licence="CC BY-SA 3.0 and GNU Free Documentation License",
    source="https://github.com/zhangxiangxiao/Crepe",
    citation="Zhang, Zhao, LeCun, Character-level Convolutional Networks for Text Classification, NIPS 2015; "
    "Lehmann et al., DBpedia: a large-scale, multilingual knowledge base extracted from Wikipedia, Semantic Web 6, "
    "2015",
    survey="60,000 documents (a sample of the 630,000), 14 labels, single-label",
    splits={"train": 560_000, "test": 70_000},
    downloads=(
        Download(
            url="https://s3.amazonaws.com/fast-ai-nlp/dbpedia_csv.tgz",
            file="dbpedia_csv.tgz",
            bytes=68_341_743,
            checksum="sha256:42db5221ddedddb673a4cabcc5f3a7d869714c878bcfe4ba94b29d14aa38e417",
        ),
    ),
)
TABLE = zhang.Table(
    record=record,
    folder="dbpedia_csv",
    classes=(
        "Company",
        "EducationalInstitution",
        "Artist",
        "Athlete",
        "OfficeHolder",
        "MeanOfTransportation",
        "Building",
        "NaturalPlace",
        "Village",
        "Animal",
        "Plant",
        "Album",
        "Film",
        "WrittenWork",
    ),
    fields=2,
    parquet=("dbpedia_14/train-00000-of-00001.parquet", "dbpedia_14/test-00000-of-00001.parquet"),
    label="label",
    texts=("title", "content"),
)
files, parts = TABLE.files, TABLE.parts
