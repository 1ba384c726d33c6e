"""What help(procession) shows: each public name with a sentence, and no private one."""

import inspect
import pydoc
import re

import procession
import pytest


def sentence_of(name):
    """What the package's own documentation says of a name."""
    found = re.search(rf"^    {re.escape(name)} - (\S.*\.)$", procession.__doc__, re.M)
    return found and found[1]


@pytest.mark.parametrize("name", procession.__all__)
def test_each_name_has_a_sentence(name):
    assert sentence_of(name)


def test_each_name_is_shown():
    text = pydoc.plain(pydoc.render_doc(procession))
    assert not [name for name in procession.__all__ if not re.search(rf"\b{name}\b", text)]


def test_no_private_name_is_shown():
    text = pydoc.plain(pydoc.render_doc(procession))
    # What modules there are is no help of ours: pydoc lists files.
    text = re.sub(r"^PACKAGE CONTENTS\n(    .*\n)+", "", text, flags=re.M)
    # What Python itself calls, and variables of types, need no name of ours.
    lines = [line for line in text.splitlines() if not re.search(r"__\w+__", line)]
    found = [line for line in lines if re.search(r"(?<![\w~.])_[a-zA-Z]\w*|\bprocession\._", line)]
    assert found == []


def public_callables():
    """Names with dots, of functions, classes and their methods, of what is ours."""
    for name in procession.__all__:
        thing = getattr(procession, name)
        if not (getattr(thing, "__module__", None) or "").startswith("procession"):
            continue
        yield name, thing
        if inspect.isclass(thing):
            for own, member in vars(thing).items():
                if not own.startswith("_") and callable(getattr(thing, own)):
                    yield f"{name}.{own}", getattr(thing, own)
                elif not own.startswith("_") and inspect.isdatadescriptor(member):
                    yield f"{name}.{own}", member


@pytest.mark.parametrize(("name", "thing"), [pytest.param(*c, id=c[0]) for c in public_callables()])
def test_each_callable_has_a_docstring(name, thing):
    first = (thing.__doc__ or "").strip().split("\n\n")[0]
    assert first, f"{name} has no docstring"


def test_dir_has_what_is_imported_later():
    assert set(procession.__all__) <= set(dir(procession))
