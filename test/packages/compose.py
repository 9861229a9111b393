#!/usr/bin/env python3
"""Judges compose.yaml without Docker: its keys, and that what it names is there. Prints TAP.

    compose.py                 the tests
    compose.py command SECRET  what the receiver runs, a line for each argument

Compose's own schema is not at hand, so a key that is not listed here fails; it is to be looked up
and added. What the database's image holds is test/packages/dockerfile.sh.
"""
import os
import re
import sys

import yaml

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SERVICE = {"build", "command", "depends_on", "environment", "healthcheck", "image", "init", "network_mode",
           "shm_size", "stop_signal", "volumes"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def interpolate(text, environment):
    """As Compose does it: $$ is a $, ${NAME:-default} the environment's or the default."""
    def value(match):
        if match.group(0) == "$$":
            return "$"
        return environment.get(match.group(1)) or match.group(2)
    done = re.sub(r"\$\$|\$\{(\w+):-([^}]*)\}", value, text)
    return done


def unknown_variables(text):
    return re.sub(r"\$\$|\$\{\w+:-[^}]*\}", "", text).count("$")


count = 0
failed = 0


def ok(condition, name):
    global count, failed
    count += 1
    failed += not condition
    print(f"{'ok' if condition else 'not ok'} {count} - {name}")


def tests(compose):
    text = read("compose.yaml")
    services = compose["services"]
    database, receiver = services["database"], services["receiver"]
    keys = {key for service in services.values() for key in service} - SERVICE
    ok(set(compose) == {"services", "volumes"} and not keys, f"every key is known {' '.join(sorted(keys))}".rstrip())
    ok(unknown_variables(text) == 0, "every variable has a default")

    build = database["build"]
    dockerfile = read(os.path.join(build["context"], "Dockerfile"))
    stages = re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.M)
    ok(build["target"] in stages, f"the Dockerfile has a stage {build['target']}")
    args = re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.M)
    ok(sorted(build["args"].items()) == sorted(args), "its arguments are the Dockerfile's, with the same defaults")

    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = os.path.exists(os.path.join(ROOT, source)) if source.startswith(".") else source in compose["volumes"]
            ok(there, f"{name}: the volume {source} is there")

    script = receiver["command"][-1]
    mounts = dict(volume.split(":")[:2] for volume in receiver["volumes"])
    path = re.search(r"(/\S+\.py)", script).group(1)
    inside = next((os.path.join(there, path[len(here) + 1:]) for there, here in mounts.items() if path.startswith(here + "/")), None)
    ok(inside is not None and os.path.isfile(os.path.join(ROOT, inside)), f"{path} is {inside} of this tree")
    port = re.search(r"--port (\d+)", script).group(1)
    default = re.search(r'"--port", type=int, default=(\d+)', read("demo/receiver.py")).group(1)
    url = re.search(r"webhook\.subscribe\('\w+', 'http://127\.0\.0\.1:(\d+)/'\)", read("README.md")).group(1)
    ok(port == default == url, f"the receiver's port is that of the demo's and of README's quick start: {port} {default} {url}")
    ok('ThreadingHTTPServer(("127.0.0.1", args.port)' in read("demo/receiver.py")
       and receiver["network_mode"] == "service:database", "it listens on 127.0.0.1, which is the database's too")
    ok(receiver["depends_on"]["database"]["condition"] == "service_healthy" and database["healthcheck"]["test"][:2] == ["CMD", "pg_isready"],
       "it waits for a database that answers")
    print(f"1..{count}")
    return failed == 0


if __name__ == "__main__":
    document = yaml.safe_load(read("compose.yaml"))
    if sys.argv[1:2] == ["command"]:
        secret = {"WEBHOOK_SECRET": sys.argv[2]}
        for argument in document["services"]["receiver"]["command"]:
            print(interpolate(argument, secret))
    else:
        sys.exit(0 if tests(document) else 1)
