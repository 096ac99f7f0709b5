#!/usr/bin/env python3
"""Checks every message that the server writes against the JSON schema of its MCP revision.

    check-schema.py SCHEMA_DIR PROGRAM

SCHEMA_DIR holds REVISION.json, or REVISION/schema.json as in the specification's repository.
PROGRAM is held the dialogues of fixtures/sessions, and for each revision a session of our own that
lists the tools and calls one. Needs the package jsonschema.
"""

import json
import subprocess
import sys
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import jsonschema

SESSIONS = Path(__file__).resolve().parent.parent / "fixtures" / "sessions"
STATELESS = "2026-07-28"
REVISIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", STATELESS]
# The first revision whose schema has errors without an id.
ERRORS_WITHOUT_ID = "2025-11-25"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"

RESULTS = {
    "initialize": "InitializeResult",
    "ping": "EmptyResult",
    "server/discover": "DiscoverResult",
    "subscriptions/listen": "SubscriptionsListenResult",
    "tools/call": "CallToolResult",
    "tools/list": "ListToolsResult",
}
NOTIFICATIONS = {
    "notifications/subscriptions/acknowledged": "SubscriptionsAcknowledgedNotification",
}
# Definitions of a whole error message, and of its `error`.
ERROR_MESSAGES = {-32022: "UnsupportedProtocolVersionError"}
ERRORS = {
    -32700: "ParseError",
    -32600: "InvalidRequestError",
    -32601: "MethodNotFoundError",
    -32602: "InvalidParamsError",
    -32603: "InternalError",
}


class Request(NamedTuple):
    """A line of a dialogue that is answered under an id."""

    identity: str  # as JSON: 1 and "1" are two
    method: str
    stateless: bool


class Schema:
    """The schema of one revision."""

    def __init__(self, folder, revision):
        file = folder / f"{revision}.json"
        if not file.exists():
            file = folder / revision / "schema.json"
        self.document = json.loads(file.read_text())
        self.revision = revision
        self.section = "$defs" if "$defs" in self.document else "definitions"
        self.dialect = jsonschema.validators.validator_for(self.document)
        self.validators = {}

    def defines(self, name):
        return name in self.document[self.section]

    def problems(self, name, value):
        """What keeps `value` from being a `name`."""
        if not self.defines(name):
            return [f"{self.revision} has no {name}"]
        if name not in self.validators:
            # Within allOf, since draft 7 looks at nothing beside a $ref.
            reference = {**self.document, "allOf": [{"$ref": f"#/{self.section}/{name}"}]}
            self.validators[name] = self.dialect(reference)
        return [
            f"no {name} of {self.revision}: {error.json_path}: {error.message[:300]}"
            for error in self.validators[name].iter_errors(value)
        ]


class Check:
    """Follows dialogues and collects what is wrong in them."""

    def __init__(self, folder):
        self.schemas = {revision: Schema(folder, revision) for revision in REVISIONS}
        self.messages = 0
        self.definitions = 0
        self.failures = []

    def dialogue(self, program, lines, places, options=()):
        """Sends `lines` and checks all answers, whose `places` are given; the results by request id."""
        text = "".join(f"{line}\n" for line in lines)
        ran = subprocess.run(
            [program, *options], input=text.encode(), capture_output=True, env={}, timeout=120, check=False
        )
        if ran.returncode != 0:
            self.failures.append(f"{places[0]}: exit code {ran.returncode}: {ran.stderr.decode()[-500:]}")
        requests = self.requests(lines)
        session = None
        results = {}
        answers = ran.stdout.decode("utf-8").split("\n")[:-1]
        for place, line in zip(chain(places, repeat(places[-1])), answers):
            answer = json.loads(line)
            if isinstance(answer, list):
                # Only one revision has batches, and it has no errors without an id.
                answer = [message for message in answer if "id" in message]
                self.report(place, answer, self.schemas["2025-03-26"].problems("JSONRPCMessage", answer))
            for message in answer if isinstance(answer, list) else [answer]:
                request = self.asked(requests, message)
                method = request.method if request else None
                if method == "initialize" and "result" in message:
                    session = message["result"]["protocolVersion"]
                # Our only notifications belong to requests without a session.
                stateless = request.stateless if request else "method" in message
                revision = STATELESS if stateless else session or ERRORS_WITHOUT_ID
                self.message(place, revision, method, message)
                results[message.get("id")] = message.get("result")
        return results

    @staticmethod
    def requests(lines):
        """The requests that must be answered under their ids."""
        found = []
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            for message in value if isinstance(value, list) else [value]:
                if not isinstance(message, dict) or "method" not in message:
                    continue
                method, identity = message["method"], message.get("id")
                params = message.get("params")
                params = params if isinstance(params, dict) else {}
                if method == "notifications/cancelled":
                    cancelled = json.dumps(params.get("requestId"))
                    found = [request for request in found if request.identity != cancelled]
                if isinstance(identity, bool) or not isinstance(identity, (str, int)):
                    continue
                meta = params.get("_meta")
                stateless = isinstance(meta, dict) and VERSION_KEY in meta
                if method in ("server/discover", "subscriptions/listen"):
                    stateless = True
                if isinstance(value, list) or method == "initialize" and "protocolVersion" in params:
                    stateless = False
                found.append(Request(json.dumps(identity), method, stateless))
        return found

    @staticmethod
    def asked(requests, message):
        """The first request that `message` answers, which is taken from the list."""
        for index, request in enumerate(requests):
            if "method" not in message and request.identity == json.dumps(message.get("id")):
                return requests.pop(index)
        return None

    def message(self, place, revision, method, message):
        """Checks one message of ours."""
        self.messages += 1
        schema = self.schemas[revision]
        problems = []
        without_id = "error" in message and "id" not in message
        if not (without_id and revision < ERRORS_WITHOUT_ID):
            problems += schema.problems("JSONRPCMessage", message)
        if "result" in message:
            if method in RESULTS:
                problems += schema.problems(RESULTS[method], message["result"])
            else:
                problems.append(f"the result of a method that is not checked here: {method}")
            if method == "tools/list":
                problems += self.tools(message["result"]["tools"])
            if method == "tools/call":
                structured = message["result"].get("structuredContent", {})
                if not isinstance(structured, dict):
                    problems.append("structuredContent is no object")
        elif "error" in message:
            code = message["error"]["code"]
            for names, value in ((ERROR_MESSAGES, message), (ERRORS, message["error"])):
                if code in names and schema.defines(names[code]):
                    problems += schema.problems(names[code], value)
            if code not in ERRORS and code not in ERROR_MESSAGES:
                problems.append(f"an error code that is not checked here: {code}")
        elif message.get("method") in NOTIFICATIONS:
            problems += schema.problems(NOTIFICATIONS[message["method"]], message)
        else:
            problems.append("neither result nor error, nor a notification that is checked here")
        self.report(place, message, problems)

    def tools(self, tools):
        """What is wrong with the input schemas."""
        problems = []
        for tool in tools:
            self.definitions += 1
            name, schema = tool.get("name"), tool.get("inputSchema")
            if not isinstance(schema, dict) or schema.get("type") != "object":
                problems.append(f"the inputSchema of {name} is no object schema")
                continue
            for error in jsonschema.Draft202012Validator(
                jsonschema.Draft202012Validator.META_SCHEMA
            ).iter_errors(schema):
                problems.append(f"the inputSchema of {name}: {error.json_path}: {error.message[:300]}")
        return problems

    def report(self, place, message, problems):
        text = json.dumps(message, ensure_ascii=False)
        self.failures += [f"{place}: {problem}\n    {text[:500]}" for problem in problems]


def session(revision, calls):
    """The lines that list the tools and call some, in `revision`."""
    meta = {"_meta": {VERSION_KEY: STATELESS, CAPABILITIES_KEY: {}}} if revision == STATELESS else {}
    messages = []
    if revision == STATELESS:
        messages.append({"id": "discover", "method": "server/discover", "params": meta})
    else:
        client = {"capabilities": {}, "clientInfo": {"name": "check", "version": "1"}}
        params = {"protocolVersion": revision, **client}
        messages.append({"id": "initialize", "method": "initialize", "params": params})
        messages.append({"method": "notifications/initialized"})
    messages.append({"id": "list", "method": "tools/list", "params": meta})
    for name, arguments in calls:
        params = {"name": name, "arguments": arguments, **meta}
        messages.append({"id": name, "method": "tools/call", "params": params})
    return [json.dumps({"jsonrpc": "2.0", **message}) for message in messages]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    check = Check(Path(sys.argv[1]))
    # A relative path would be looked up in PATH.
    program = str(Path(sys.argv[2]).resolve())

    files = sorted(SESSIONS.glob("*.jsonl"))
    if not files:
        sys.exit(f"no dialogues in {SESSIONS}")
    for file in files:
        rows = file.read_text(encoding="utf-8").split("\n")
        lines = [row[1:].removeprefix(" ") for row in rows if row.startswith(">")]
        places = [f"{file}:{number}" for number, row in enumerate(rows, 1) if row.startswith("<")]
        check.dialogue(program, lines, places)

    # Without settings a call fails, in the demonstration it succeeds.
    calls = [("proxmox_get_nodes", {}), ("proxmox_get_vms", {})]
    for options, failed in (([], True), (["--demo"], False)):
        for revision in REVISIONS:
            place = " ".join(["session of", revision, *options])
            results = check.dialogue(program, session(revision, calls), [place], options)
            for name, _ in calls:
                result = results.get(name)
                if not result or result.get("isError", False) != failed:
                    check.failures.append(f"{place}: {name}: {result}")

    for failure in check.failures:
        print(failure)
    print(f"{check.messages} messages, {check.definitions} definitions, {len(check.failures)} failures")
    sys.exit(1 if check.failures else 0)


if __name__ == "__main__":
    main()
