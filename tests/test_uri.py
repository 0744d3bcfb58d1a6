"""Addresses with passwords: what is shown of them."""

import pytest

from texthash.uri import password_in, scrubbed, with_password, without_secrets


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:s3cret@db.example:5432/runs", "postgresql://me@db.example:5432/runs"),
        ("postgresql+psycopg2://me:p%40ss@db/runs?sslmode=require", "postgresql+psycopg2://me@db/runs?sslmode=require"),
        ("postgresql://me:a@b:c@db/runs", "postgresql://me@db/runs"),
        ("postgresql://me@db/runs", "postgresql://me@db/runs"),
        ("postgresql://:s3cret@db/runs", "postgresql://db/runs"),
        ("mysql://db/runs?user=me&password=s3cret&charset=utf8", "mysql://db/runs?user=me&charset=utf8"),
        ("https://me:s3cret@mlflow.example/", "https://mlflow.example/"),
        ("https://token@mlflow.example/", "https://mlflow.example/"),
        ("https://mlflow.example/?access_token=s3cret", "https://mlflow.example/"),
        ("https://mlflow.example/?a=b c", "https://mlflow.example/?a=b c"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("sqlite:////home/a@b/runs.db", "sqlite:////home/a@b/runs.db"),
        ("file:///home/a:b@c/mlruns", "file:///home/a:b@c/mlruns"),
        ("runs.db", "runs.db"),
    ],
)
def test_an_address_is_shown_without_its_secrets(uri, shown):
    assert without_secrets(uri) == shown
    assert without_secrets(shown) == shown


def test_a_password_is_put_where_a_user_has_none():
    full = with_password("postgresql://me@db/runs", "p@ss/wörd")
    assert without_secrets(full) == "postgresql://me@db/runs"
    assert password_in(full) == "p%40ss%2Fw%C3%B6rd"
    for uri in ("postgresql://me:own@db/runs", "postgresql://db/runs", "sqlite:///runs.db"):
        assert with_password(uri, "another") == uri


def test_a_message_loses_the_password_in_every_spelling():
    uri = "postgresql://me:p%40ssword@db/runs"
    said = f"cannot open {uri}: login me:p@ssword@db failed, p%40ssword is wrong"
    assert scrubbed(said, uri) == "cannot open postgresql://me@db/runs: login me:***@db failed, *** is wrong"
    assert scrubbed("a message with an a", "postgresql://me:a@db/runs") == "a message with an a"
