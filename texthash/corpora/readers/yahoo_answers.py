"""``yahoo_answers``: questions of Yahoo! Answers with their best answer, in the selection of Zhang et al.

It consists of 1,400,000 training and 60,000 test questions of 10 topics.

Its file formats, and the form of its documents, are described in :mod:`~texthash.corpora.readers.zhang`. A text is the
title of the question, its content (often empty), and the best answer.
"""

from __future__ import annotations

from texthash.corpora.corpus_record import CorpusRecord, Download
from texthash.corpora.readers import zhang

record = CorpusRecord(
    name="yahoo_answers",
    title="Yahoo! Answers topic classification, version 2",
    documents=1_460_000,
    labels=10,
    multi_label=False,
    licence="Yahoo! Webscope data sharing agreement: approved non-commercial research",
    source="https://github.com/zhangxiangxiao/Crepe",
    citation="Zhang, Zhao, LeCun, Character-level Convolutional Networks for Text Classification, NIPS 2015",
    survey="1,460,000 documents, 10 labels, single-label",
    splits={"train": 1_400_000, "test": 60_000},
    terms="The original corpus is for approved non-commercial research by recipients who have signed a data sharing "
    "agreement with Yahoo! (Webscope).",
    downloads=(
        Download(
            url="https://s3.amazonaws.com/fast-ai-nlp/yahoo_answers_csv.tgz",
            file="yahoo_answers_csv.tgz",
            bytes=319_476_345,
            checksum="sha256:2d4277855faf8b35259009425fa8f7fe1888b5644b47165508942d000f4c96ae",
        ),
    ),
)
TABLE = zhang.Table(
    record=record,
    folder="yahoo_answers_csv",
    classes=(
        "Society & Culture",
        "Science & Mathematics",
        "Health",
        "Education & Reference",
        "Computers & Internet",
        "Sports",
        "Business & Finance",
        "Entertainment & Music",
        "Family & Relationships",
        "Politics & Government",
    ),
    fields=3,
    parquet=(
        "yahoo_answers_topics/train-00000-of-00002.parquet",
        "yahoo_answers_topics/train-00001-of-00002.parquet",
        "yahoo_answers_topics/test-00000-of-00001.parquet",
    ),
    label="topic",
    texts=("question_title", "question_content", "best_answer"),
    line_breaks=True,
)
files, parts = TABLE.files, TABLE.parts
