"""`python -m testbed`: the test bed for people. Results go to standard output, progress to standard error."""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

from testbed import apiclient, build, chart, cluster, config, floor, helm, launch, realnode, state

DEFAULT_NAME = "default"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 for a failure with one line that says which."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except BrokenPipeError:
        return 1
    except (
        build.GoMissing,
        build.BuildError,
        helm.HelmError,
        apiclient.NotReadyError,
        floor.FloorError,
        realnode.RealNodeUnavailable,
        FileExistsError,
        FileNotFoundError,
        ValueError,
    ) as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed", description="A real Kubernetes cluster on loopback.")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    verb("build", _build, "build the cluster's programs into the cache")
    verb("key", _key, "print the name of the present sources' build, for a CI cache")
    up = verb("up", _up, "start a cluster and leave it running")
    up.add_argument("--profile", choices=sorted(config.PROFILES), default="raised")
    up.add_argument("--nodes", type=int, default=20, help="simulated nodes (default: 20)")
    up.add_argument("--audit", action="store_true", help="record what restricted users ask of Jobs and Pods")
    down = verb("down", _down, "stop a cluster and delete its data")
    down.add_argument("--all", action="store_true", help="every running cluster")
    verb("list", _list, "show the clusters on record")
    kubectl = verb("kubectl", _kubectl, "run kubectl as admin: python -m testbed kubectl get pods")
    helming = verb("helm", _helm, "run Helm, built from source: python -m testbed helm lint CHART")
    helming.add_argument("arguments", nargs=argparse.REMAINDER)
    verb(
        "chart",
        _chart,
        "write the files that are made from the chart: Kustomize base, golden renders, pages of reference",
    )
    measure = verb("floor", _floor, "measure plain client-go on a running cluster; prints JSON")
    measure.add_argument("--jobs", type=int, default=1000)
    measure.add_argument("--creators", type=int, default=32, help="creates in flight at once (default: 32)")
    measure.add_argument("--suspended", action="store_true", help="only create suspended Jobs")
    node_up = verb("node-up", _node_up, "add the real node to a running cluster (root, Linux)")
    node_down = verb("node-down", _node_down, "remove the real node and all that it left on the machine")
    verb("install-tools", _install_tools, "install the Debian packages that the real node needs")
    clean = verb("clean", _clean, "delete what killed clusters left")
    clean.add_argument("--builds", action="store_true", help="also delete builds of other versions of the sources")
    for command in (up, down, kubectl, measure, node_up, node_down):
        command.add_argument("--name", default=DEFAULT_NAME, help=f"of the cluster (default: {DEFAULT_NAME})")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARG")
    return parser


def _build(options: argparse.Namespace) -> int:
    print(build.ensure_built())
    return 0


def _key(options: argparse.Namespace) -> int:
    print(build.cache_key())
    return 0


def _up(options: argparse.Namespace) -> int:
    build.ensure_built()  # so that the time printed below is the start alone
    start = time.monotonic()
    started = cluster.start(
        profile=options.profile, nodes=options.nodes, audit=options.audit, name=options.name, detached=True
    )
    build.report_to_stderr(f"cluster {started.name} is up after {time.monotonic() - start:.1f} s: {started.url}")
    print(f"export KUBECONFIG={started.kubeconfig()}")
    return 0


def _down(options: argparse.Namespace) -> int:
    names = [record.name for record in state.load_all() if record.is_running()] if options.all else [options.name]
    for name in names:
        cluster.attach(name).stop()
        build.report_to_stderr(f"cluster {name} is down")
    return 0


def _list(options: argparse.Namespace) -> int:
    for record in state.load_all():
        found = cluster.Cluster(launch.Launcher(record))
        life = "running" if record.is_running() else "dead"
        print(f"{record.name}\t{life}\t{record.profile}\t{found.url}\t{found.kubeconfig()}")
    return 0


def _helm(options: argparse.Namespace) -> int:
    done = helm.run(*options.arguments)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def _chart(options: argparse.Namespace) -> int:
    for path in chart.write():
        print(path.relative_to(chart.ROOT))
    return 0


def _kubectl(options: argparse.Namespace) -> int:
    """Becomes kubectl, so that its terminal, signals and exit code are the user's."""
    found = cluster.attach(options.name)
    program = str(found.launcher.layout.bin_dir / "kubectl")
    os.execv(program, [program, f"--kubeconfig={found.kubeconfig()}", *options.arguments])


def _floor(options: argparse.Namespace) -> int:
    found = cluster.attach(options.name)
    result = floor.run(found, jobs=options.jobs, creators=options.creators, suspended=options.suspended)
    print(json.dumps(dataclasses.asdict(result)))
    return 0


def _node_up(options: argparse.Namespace) -> int:
    start = time.monotonic()
    node = realnode.start(cluster.attach(options.name))
    build.report_to_stderr(f"real node {node.name} is Ready after {time.monotonic() - start:.1f} s")
    return 0


def _node_down(options: argparse.Namespace) -> int:
    realnode.attach(cluster.attach(options.name)).stop()
    return 0


def _install_tools(options: argparse.Namespace) -> int:
    realnode.install_tools()
    return 0


def _clean(options: argparse.Namespace) -> int:
    for name in state.remove_dead():
        build.report_to_stderr(f"removed the dead cluster {name}")
    if realnode.clean():
        build.report_to_stderr("removed what a killed real node had left")
    if options.builds:
        for path in build.remove_other_builds():
            build.report_to_stderr(f"removed {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
