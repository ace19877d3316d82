"""Every answer of the service is one that its OpenAPI document declares.

A few examples an address here; ``python -m benchmarks.api_contract`` asks thousands.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.contract import app_with_everything, operations, probe

EXAMPLES = 4


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return list(operations(app_with_everything(tmp_path_factory.mktemp("contract"))))


def test_every_answer_is_one_that_is_declared(probed: list[Any]) -> None:
    assert len(probed) > 40
    failures = []
    for operation in probed:
        try:
            probe(operation, EXAMPLES)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - all are told at once
            failures.append(f"{operation.label}: {error}")
    assert not failures, "\n\n".join(failures)
