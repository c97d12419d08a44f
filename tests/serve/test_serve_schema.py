"""The service keeps to its own description, whatever it is sent: requests made from its OpenAPI schema."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from plain import service, teach
from schemathesis import GenerationMode, checks
from schemathesis.python import asgi
from schemathesis.schemas import BaseSchema

from openfsar.serve import create_app, open_model

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
OPERATIONS = 16


@pytest.fixture
def described(tmp_path: Path, plain_clips: Path) -> Iterator[BaseSchema]:
    """The schema of a service that knows two actions and may read one folder."""
    with service(tmp_path) as client:
        teach(client, plain_clips, "red", "blue")
    app = create_app(open_model(tmp_path / "model"), tmp_path / "model", hosts={asgi.HOST}, paths=plain_clips)
    yield schemathesis.openapi.from_asgi("/api/openapi.json", app)
    asgi.shutdown_lifespans()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # schemathesis does
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_meets_a_server_error_or_an_answer_that_is_not_described(
    described: BaseSchema, mode: GenerationMode
) -> None:
    operations = [result.ok() for result in described.get_all_operations()]
    assert len(operations) == OPERATIONS
    statuses: set[int] = set()
    for operation in operations:

        @seed(0)
        @settings(
            max_examples=15,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def asked(case: schemathesis.Case) -> None:
            response = case.call()
            statuses.add(response.status_code)
            case.validate_response(response, checks=CHECKS)

        with suppress(Unsatisfiable):  # nothing can be wrong with a request that has no parameters
            asked()
    assert statuses >= ({200, 404, 422} if mode is GenerationMode.POSITIVE else {404, 422})
