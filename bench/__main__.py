"""`python -m bench [submit|admission|sqs|jobs|verdicts]`: run the benchmarks and print their tables."""

from __future__ import annotations

import argparse
import sys

from bench import admission, jobs, sqs, submit, verdicts
from testbed import build, elasticmq


def main() -> int:
    """Run what is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["submit", "admission", "sqs", "jobs", "verdicts", "all"], default="all"
    )
    parser.add_argument("--jobs", type=int, default=5_000, help="jobs through the whole product (default 5,000)")
    parser.add_argument(
        "--cleanup-delay", type=float, default=300.0, help="seconds a finished Job stays in the cluster"
    )
    arguments = parser.parse_args()
    if arguments.what in ("submit", "all"):
        submit.main()
    if arguments.what in ("admission", "all"):
        admission.main()
    if arguments.what in ("sqs", "all"):
        try:
            sqs.main()
        except elasticmq.ElasticMQUnavailable as error:
            print(f"skipped: sqs ({error})", file=sys.stderr)
    if arguments.what in ("jobs", "verdicts", "all"):
        try:
            build.ensure_built()
        except build.GoMissing as error:
            print(f"skipped: jobs, verdicts ({error})", file=sys.stderr)
            return 0
    if arguments.what in ("jobs", "all"):
        jobs.main(jobs=arguments.jobs, cleanup_delay_seconds=arguments.cleanup_delay)
    if arguments.what in ("verdicts", "all"):
        verdicts.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
