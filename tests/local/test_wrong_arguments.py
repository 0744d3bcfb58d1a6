"""Wrong arguments of the front door: each is refused with its name, its value and what is right."""

from __future__ import annotations

import re

import pytest

import texthash
from texthash.errors import UsageError

TEXTS = ["sort an array", "sort a list of numbers", "open a file", "read a table of numbers", "plot a graph"]


@pytest.fixture(scope="module")
def model():
    return texthash.train("lsh", TEXTS, bits=16)


@pytest.fixture
def index(model):
    return texthash.Index(model, TEXTS, ids=list("abcde"), labels=[1, 1, 2, 2, 3])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"k": 0}, "the number k of documents is 0. Give a whole number from 1."),
        ({"k": 2.5}, "the number k of documents is 2.5, a float. Give a whole number from 1."),
        ({"k": True}, "the number k of documents is True, a bool"),
        ({"mode": "x"}, "mode='x' is not known. Give one of hybrid, semantic, keyword."),
        ({"rescore": "x"}, "rescore='x' is not known. Give one of none, asymmetric, float."),
        ({"threads": 0}, "the number of threads is 0. Give a whole number from 1."),
        ({"radius": -1}, "the radius is -1. Give a whole number of bits from 0."),
        ({"radius": 1.0}, "the radius is 1.0, a float. Give a whole number of bits from 0."),
        ({"candidates": 0}, "the number of candidates is 0"),
        ({"labels": []}, "labels is empty"),
        ({"labels": {"a": 1}}, "labels"),
        ({"labels": [1.5]}, "labels"),
    ],
    ids=str,
)
def test_a_search_says_what_is_wrong(index, given, told):
    problem, _, remedy = told.partition(". Give ")
    with pytest.raises(UsageError, match=re.escape(problem)) as raised:
        index.search("sort", **given)
    assert remedy in raised.value.remedy


def test_labels_are_what_they_were_when_they_were_given(index):
    assert sorted(index.search("sort", labels=1).ids) == ["a", "b"]
    assert sorted(index.search("sort", labels=[1, "3"]).ids) == ["a", "b", "e"]


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ({"x", "y"}, "ids is a set, which has no order"),
        (["x", ""], "ids[1] is empty"),
        (["x" * 513, "y"], "ids[0] is 'xxxxxxxxxxxxxxxxxxxx'..., 513 characters"),
        (["x", "x"], "ids has 'x' twice"),
    ],
    ids=["set", "empty", "long", "twice"],
)
def test_ids_are_those_that_every_door_takes(index, model, ids, told):
    for write in (lambda: index.upsert(TEXTS[:2], ids=ids), lambda: texthash.Index(model, TEXTS[:2], ids=ids)):
        with pytest.raises(UsageError, match=re.escape(told)):
            write()
    assert len(index) == len(TEXTS)


def test_a_set_of_ids_is_enough_where_their_order_is_free(index):
    assert [document.id for document in index.get({"b", "a"})] == ["a", "b"]
    assert index.delete({"a", "b"}) == 2


def test_a_text_is_encoded_in_a_role_and_in_parts(model):
    with pytest.raises(UsageError, match="role='x' is not known"):
        model.encode(["sort"], role="x")
    for size in (0, "a", 1.5):
        with pytest.raises(UsageError, match="the batch_size is"):
            model.encode(["sort"], batch_size=size)


def test_an_evaluation_takes_one_cutoff_or_several(model):
    judged = ({"q": "sort"}, dict(zip("abcde", TEXTS, strict=True)), {"q": ["a"]})
    assert set(texthash.evaluate(model, *judged, k=2)) == set(texthash.evaluate(model, *judged, k=[2]))
    for given, told in (([], "there is no cutoff k"), ([0], "the cutoff k is 0"), (0.5, "the cutoff k is 0.5")):
        with pytest.raises(UsageError, match=told):
            texthash.evaluate(model, *judged, k=given)
    with pytest.raises(UsageError, match="the number of threads is 0"):
        texthash.evaluate(model, *judged, threads=0)


@pytest.mark.parametrize("name", [None, "", "a\0b", 7], ids=repr)
def test_what_is_no_path_is_refused(model, name):
    for use in (lambda: texthash.load(name), lambda: model.save(name), lambda: texthash.Index.open(name)):
        with pytest.raises(UsageError, match="is no path"):
            use()


def test_the_name_of_a_model_has_to_be_loaded():
    with pytest.raises(UsageError, match="model is a str") as raised:
        texthash.Index("latest", TEXTS)
    assert "texthash.load('latest')" in raised.value.remedy
