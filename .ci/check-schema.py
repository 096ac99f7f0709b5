#!/usr/bin/env python3
"""Checks every message that the server writes against the JSON schema of its MCP revision.

    check-schema.py SCHEMA_DIR PROGRAM

SCHEMA_DIR holds REVISION.json, or REVISION/schema.json as in the specification's repository, and may
hold tasks-extension.json. PROGRAM is held the dialogues of fixtures/sessions, for each revision a
session of our own that lists the tools and calls one, one that is asked a question, and one that
follows a task of a host that we play. Needs the package jsonschema.
"""

import http.server
import json
import subprocess
import sys
import threading
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
TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
VIEWS = {"extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}}

RESULTS = {
    "initialize": "InitializeResult",
    "ping": "EmptyResult",
    "prompts/list": "ListPromptsResult",
    "resources/list": "ListResourcesResult",
    "resources/read": "ReadResourceResult",
    "resources/templates/list": "ListResourceTemplatesResult",
    "server/discover": "DiscoverResult",
    "subscriptions/listen": "SubscriptionsListenResult",
    "tools/call": "CallToolResult",
    "tools/list": "ListToolsResult",
}
# In the schema of the extension.
TASK_RESULTS = {
    "tasks/cancel": "CancelTaskResult",
    "tasks/get": "GetTaskResult",
    "tasks/update": "UpdateTaskResult",
    "tools/call": "CreateTaskResult",
}
# Ours to the client, in the middle of a call.
REQUESTS = {
    "elicitation/create": "ElicitRequest",
}
NOTIFICATIONS = {
    "notifications/cancelled": "CancelledNotification",
    "notifications/subscriptions/acknowledged": "SubscriptionsAcknowledgedNotification",
}
# Definitions of a whole error message, and of its `error`.
ERROR_MESSAGES = {
    -32021: "MissingRequiredClientCapabilityError",
    -32022: "UnsupportedProtocolVersionError",
}
# Named in the text of the revisions with sessions, not in their schemas.
UNKNOWN_RESOURCE = (-32002, "resources/read")
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
    """The schema of one revision, or of the extension."""

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
        extension = (folder / "tasks-extension.json").exists()
        self.extension = Schema(folder, "tasks-extension") if extension else None
        self.messages = 0
        self.definitions = 0
        self.failures = []

    def dialogue(self, program, lines, places, options=(), environment=None):
        """Sends `lines` and checks all answers, whose `places` are given; the results by request id."""
        text = "".join(f"{line}\n" for line in lines)
        ran = subprocess.run(
            [program, *options],
            input=text.encode(),
            capture_output=True,
            env=environment or {},
            timeout=120,
            check=False,
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
                # What is no answer belongs to the session, or to requests without one.
                stateless = request.stateless if request else "method" in message and not session
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
            result = message["result"]
            if method in TASK_RESULTS and (method not in RESULTS or result.get("resultType") == "task"):
                # Of what the extension adds, the schema of the revision knows nothing.
                if self.extension:
                    problems += self.extension.problems(TASK_RESULTS[method], result)
                if "result" in result:
                    problems += schema.problems("CallToolResult", result["result"])
            elif result.get("resultType") == "input_required":
                problems += schema.problems("InputRequiredResult", result)
            elif method in RESULTS:
                problems += schema.problems(RESULTS[method], result)
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
            if code not in ERRORS and code not in ERROR_MESSAGES and (code, method) != UNKNOWN_RESOURCE:
                problems.append(f"an error code that is not checked here: {code}")
        elif message.get("method") in REQUESTS:
            problems += schema.problems(REQUESTS[message["method"]], message)
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


class Host(http.server.BaseHTTPRequestHandler):
    """A host with one task, which is as `status` says."""

    protocol_version = "HTTP/1.1"
    upid = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:"
    status = {"status": "running"}

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        data = None
        if path.endswith("/status/start"):
            data = self.upid
        elif path.endswith("/status"):
            data = Host.status
        elif path.endswith("/log"):
            data = [{"n": 1, "t": "a line"}]
        elif path.endswith("/tasks"):
            data = [{"upid": self.upid, "endtime": 0x6A55FD70}]
        body = json.dumps({"data": data, "total": 1}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def follow(check, program):
    """Starts a task and asks about it, as it runs and in each of its ends."""
    host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=host.serve_forever, daemon=True).start()
    environment = {
        "PROXMOX_HOST": f"http://127.0.0.1:{host.server_port}",
        "PROXMOX_TOKEN_NAME": "mcp",
        "PROXMOX_TOKEN_VALUE": "12345678-9abc-4def-8123-456789abcdef",
        "PROXMOX_ALLOW_ELEVATED": "true",
    }

    def ask(methods, params):
        meta = {VERSION_KEY: STATELESS, CAPABILITIES_KEY: TASKS}
        lines = [
            json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": {**params, "_meta": meta}})
            for method in methods
        ]
        results = check.dialogue(program, lines, [f"task: {Host.status}"], environment=environment)
        return [results.get(method) or {} for method in methods]

    # The input ends at once, and with it the wait: the task is handed over without delay.
    arguments = {"node": "pve1", "vmid": 100}
    (created,) = ask(["tools/call"], {"name": "proxmox_start_vm", "arguments": arguments})
    task = {"taskId": created.get("taskId", "")}
    for exit_status, expected in (
        (None, "working"),
        ("OK", "completed"),
        ("WARNINGS: 1", "completed"),
        ("start failed", "completed"),
        ("received interrupt", "cancelled"),
    ):
        Host.status = (
            {"status": "stopped", "exitstatus": exit_status} if exit_status else {"status": "running"}
        )
        methods = ["tasks/get", "tasks/update", "tasks/cancel"]
        status = ask(methods, task)[0].get("status")
        if status != expected:
            check.failures.append(f"task with {exit_status}: {status}")
    host.shutdown()


def session(revision, calls, capabilities={}):
    """The lines that list the tools and call some, in `revision`."""
    stateless = {"_meta": {VERSION_KEY: STATELESS, CAPABILITIES_KEY: capabilities}}
    meta = stateless if revision == STATELESS else {}
    messages = []
    if revision == STATELESS:
        messages.append({"id": "discover", "method": "server/discover", "params": meta})
    else:
        client = {"capabilities": capabilities, "clientInfo": {"name": "check", "version": "1"}}
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

    # A client that shows views learns where they are, in every revision.
    for revision in REVISIONS:
        place = f"views in {revision}"
        results = check.dialogue(program, session(revision, [], VIEWS), [place])
        tools = (results.get("list") or {}).get("tools", [])
        if not any(tool.get("_meta", {}).get("ui", {}).get("resourceUri") for tool in tools):
            check.failures.append(f"{place}: no tool has a view")

    # What cannot be undone is asked about, where there are questions.
    deletion = ("proxmox_delete_vm", {"node": "pve1", "vmid": 103})
    options = ("--demo", "--allow-elevated")
    for revision in REVISIONS:
        place = f"question in {revision}"
        lines = session(revision, [deletion], {"elicitation": {}})
        results = check.dialogue(program, lines, [place], options)
        result = results.get(deletion[0]) or {}
        asks = result.get("resultType") == "input_required" or "proxmox-mcp-1" in results
        if asks != (revision >= "2025-06-18"):
            check.failures.append(f"{place}: {result}")

    follow(check, program)

    for failure in check.failures:
        print(failure)
    print(f"{check.messages} messages, {check.definitions} definitions, {len(check.failures)} failures")
    sys.exit(1 if check.failures else 0)


if __name__ == "__main__":
    main()
