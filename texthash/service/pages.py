"""HTML pages of the service: the search page, put together from the files of ``page/``, and those of problems.

Scripts and styles become part of the page, so that it is one response that works behind any prefix and without a key,
and its policy can name the scripts by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from importlib.resources import files

from texthash.api.problems import KINDS

_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.-]+)">')
_SCRIPTS = re.compile(r'(?:<script src="[\w.-]+"></script>\s*)+')
_SCRIPT = re.compile(r'src="([\w.-]+)"')


@cache
def page_file(name: str) -> str:
    """Return the content of a file of the page."""
    return (files("texthash.service") / "page" / name).read_text(encoding="utf-8")


@cache
def search_page() -> str:
    """Return the search page."""
    page = _STYLE.sub(lambda link: f"<style>\n{page_file(link[1])}</style>", page_file("index.html"))
    return _SCRIPTS.sub(lambda tags: _script("\n".join(map(page_file, _SCRIPT.findall(tags[0])))), page)


def problem_page(kind: str, root_path: str = "") -> str:
    """Return the page of a kind of problem."""
    shown = KINDS[kind]
    others = "".join(
        f'<li><a href="{root_path}/problems/{name}">{name}</a> <span>{other.status}</span></li>'
        for name, other in KINDS.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(shown.title)} · texthash</title>
<link rel="icon" href="{root_path}/favicon.svg" type="image/svg+xml">
<style>
{page_file("style.css")}</style>
</head>
<body>
<div class="wrap article">
<header>
{page_file("favicon.svg")}
<p><a href="{root_path}/">texthash</a></p>
<nav><a href="{root_path}/docs">API</a></nav>
</header>
<main>
<p class="kind">{shown.status} · {kind}</p>
<h1>{html.escape(shown.title[0].upper() + shown.title[1:])}</h1>
<p>{_with_code(shown.explanation)}</p>
<h2>All kinds of problem</h2>
<ul>{others}</ul>
</main>
</div>
</body>
</html>"""


def policy_of(page: str) -> dict[str, str]:
    """Return a Content-Security-Policy for the page's own scripts and server only, whatever a document contains."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(hashes) or "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {"content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items())}


def _script(code: str) -> str:
    return f"<script>\n{code}</script>\n"


def _with_code(text: str) -> str:
    """Return a text as HTML, in which backticks mark code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
