"""Every case of the corpus ends as it is said to, and the service is as well after it as before."""

import pytest

from tests.hostile.case import Case, judged
from tests.hostile.corpus import cases
from tests.hostile.requests import KNOWN, right
from tests.hostile.wire import ask

CASES = {case.name: case for case in cases()}
KNOWN_CASE = Case("known", (KNOWN,), frozenset({200}), right=right)


def test_no_two_cases_have_one_name():
    assert len(CASES) == len(cases())


@pytest.mark.parametrize("name", CASES)
def test_it_ends_as_it_should(name, port):
    case = CASES[name]
    assert not judged(case, ask(port, case.pieces, case.answers, case.head))
    assert not judged(KNOWN_CASE, ask(port, KNOWN_CASE.pieces))
