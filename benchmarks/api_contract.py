"""Schemathesis over the whole OpenAPI document, many examples an address. Mark of issue 6.

``python -m benchmarks.api_contract [--examples 200] [--part 1/3]``: every check of schemathesis on
valid and on invalid requests; prints what failed, and how many answers had which status.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.api.contract import app_with_everything, operations, probe


def main() -> None:
    """Probe and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="1/1", help="Of the addresses, such as 2/3.")
    a = parser.parse_args()
    part, parts = (int(n) for n in a.part.split("/"))
    with tempfile.TemporaryDirectory(prefix="allsky360-api-contract-") as folder:
        app = app_with_everything(Path(folder) / "archive")
        begin, failed = time.perf_counter(), 0
        for operation in list(operations(app))[part - 1 :: parts]:
            try:
                probe(operation, a.examples, a.seed)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - a finding
                failed += 1
                print(f"FAILED {operation.label}\n{error}\n")
        statuses: Counter[int] = Counter()
        for (_, status), course in app.state.service.counts.courses.items():
            statuses[status] += course.count
        shown = ", ".join(f"{status}: {n}" for status, n in sorted(statuses.items()))
        print(f"{sum(statuses.values())} requests in {time.perf_counter() - begin:.0f} s; {shown}")
        server_errors = sum(n for status, n in statuses.items() if status >= 500)
        print(f"operations that failed: {failed}; answers of 5xx: {server_errors}")


if __name__ == "__main__":
    main()
