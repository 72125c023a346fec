"""What the service's own OpenAPI document promises, held against the service by schemathesis.

Its hypothesis strategies alone: the plugin by which it makes tests is not of this pytest's version.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
EXAMPLES = 6  # of each operation


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation_answers_as_documented(besieged, mode):
    schema = schemathesis.openapi.from_url(f"{besieged.url}/docs.json")
    failed, tried = {}, 0
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def answers(case):
            case.call_and_validate(base_url=besieged.url, checks=CHECKS)

        try:
            answers()
            tried += 1
        except Unsatisfiable:
            pass  # nothing in it can be got wrong
        except Exception as error:
            failed[operation.label] = str(error)
    assert not failed, "\n".join(f"{operation}: {words}" for operation, words in failed.items())
    assert tried > 10
