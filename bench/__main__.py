"""`python -m bench [submit|admission|sqs|jobs|verdicts]`: run the benchmarks and print their tables.

`python -m bench drills [GROUP...]` runs the fault drills.
"""

from __future__ import annotations

import argparse
import sys

from bench import admission, drills, jobs, sqs, submit, verdicts
from testbed import build, elasticmq


def main() -> int:
    """Run what is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["submit", "admission", "sqs", "jobs", "verdicts", "drills", "all"], default="all"
    )
    parser.add_argument("groups", nargs="*", help=f"drills: which of {', '.join(drills.GROUPS)} (default: all of them)")
    parser.add_argument("--fault", type=float, default=60.0, help="drills: seconds that a fault lasts (default 60)")
    parser.add_argument("--jobs", type=int, default=5_000, help="jobs through the whole product (default 5,000)")
    parser.add_argument(
        "--cleanup-delay", type=float, default=300.0, help="seconds a finished Job stays in the cluster"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(drills.GROUPS):
        parser.error(f"there are no drills {', '.join(sorted(unknown))}; there are {', '.join(drills.GROUPS)}")
    if arguments.what == "drills":  # an hour: never a part of `all`
        return drills.main(groups=arguments.groups or drills.GROUPS, fault_seconds=arguments.fault)
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
