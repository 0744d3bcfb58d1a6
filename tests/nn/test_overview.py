"""The overview of the parts names each of them."""

import pkgutil
import re

import texthash.nn


def test_every_module_is_named_and_every_name_is_a_module():
    modules = {module.name for module in pkgutil.iter_modules(texthash.nn.__path__)}
    rows = re.findall(r"^ {4}.{26}(\w+) {2,}\S", texthash.nn.__doc__, re.MULTILINE)
    assert set(rows) == modules
