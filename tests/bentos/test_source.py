"""The digest of a function's source: what it computes counts, how it is written down does not."""

import ast

import pytest

from bentos import contract
from bentos.meaning import DEFAULT, Meaning
from bentos.source import Source, canonical, source_digest
from tests.kettle import Kettle

HOOK = '''
import numpy as np
from bentos.kettle.heat import CAPACITY, joules

POWER = 1000
UNUSED = 1


def preprocess(values):
    """One row."""
    # of three columns
    return (np.array([joules(values), POWER, 0], np.float32),)

'''
HEAT = "CAPACITY = 4186\nUNUSED = 2\n\n\ndef joules(values):\n    return CAPACITY * values['litres']\n"


@pytest.fixture
def hooked(kettle: Kettle) -> Kettle:
    kettle.edit("model.py", "\nMODEL", HOOK + "\nMODEL")
    kettle.edit("model.py", 'unit="s"', 'unit="s", preprocess=preprocess')
    (kettle.folder / "heat.py").write_text(HEAT)
    return kettle


def digest() -> str:
    return Meaning.of(contract.model("kettle")).preprocess


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "    # of three columns\n", ""),
        ("model.py", '"""One row."""', '"""A row, once more."""'),
        ("model.py", "return (np.array([joules(values), POWER, 0]", "return (np.array([joules(values),POWER,   0]"),
        ("model.py", "UNUSED = 1", "UNUSED = 3"),
        ("model.py", 'title="Kettle"', 'title="The kettle"'),
        ("model.py", "1, 95, 15", "1, 96, 16"),
        ("model.py", "import Field, Fields", "import DATATYPES, Field, Fields"),
        ("heat.py", "UNUSED = 2", "UNUSED = 4"),
    ],
)
def test_what_does_not_compute_does_not_count(file: str, old: str, new: str, hooked: Kettle) -> None:
    before = digest()
    hooked.edit(file, old, new)
    assert digest() == before != DEFAULT


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "POWER, 0]", "0, POWER]"),
        ("model.py", "POWER = 1000", "POWER = 1"),
        ("model.py", "CAPACITY, joules", "CAPACITY as joules"),
        ("model.py", "POWER = 1000", "POWER = 1000\nnp.random.seed(7)"),
        ("heat.py", "CAPACITY = 4186", "CAPACITY = 1"),
        ("heat.py", "CAPACITY * values", "CAPACITY + values"),
    ],
)
def test_what_computes_counts(file: str, old: str, new: str, hooked: Kettle) -> None:
    before = digest()
    hooked.edit(file, old, new)
    assert digest() != before


def test_a_lambda_counts_with_its_whole_module(kettle: Kettle) -> None:
    kettle.edit("model.py", 'unit="s"', 'unit="s", postprocess=lambda outputs: []')
    before = Meaning.of(contract.model("kettle")).postprocess
    kettle.edit("model.py", "outputs: []", "outputs: [1]")
    assert Meaning.of(contract.model("kettle")).postprocess != before != DEFAULT


def test_a_function_from_elsewhere_has_a_digest_too() -> None:
    assert source_digest(ast.parse, "no.such.module") == source_digest(ast.parse, "no.such.module")
    assert len(source_digest(len, "builtins")) == 64


@pytest.mark.parametrize(
    ("one", "other"),
    [("f(1)", "f( 1 )"), ("def f():\n  'Docs.'\n  return 1", "def f(): return 1"), ("x = 'a'", 'x = "a"')],
)
def test_the_same_tree_is_the_same_text(one: str, other: str) -> None:
    assert [canonical(n) for n in Source(ast.parse(one)).statements] == [
        canonical(n) for n in Source(ast.parse(other)).statements
    ]


@pytest.mark.parametrize(("one", "other"), [("x = 1", "x = 1.0"), ("x = None", "x = 0"), ("x = b'a'", "x = 'a'")])
def test_other_constants_are_another_text(one: str, other: str) -> None:
    assert canonical(ast.parse(one)) != canonical(ast.parse(other))
