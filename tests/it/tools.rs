//! Each tool, called over MCP, sends and returns what its fixture shows.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tiny_http::{Response, Server};

use crate::facts;
use crate::fake::{Fake, TOKEN, login};
use crate::fixture::{self, Answer, Case, Exchange, Fixture};
use crate::session::Session;
use crate::snapshot;
use crate::storage::Uploads;

/// The settings that let every tool run without confirmation.
const UNASKED: [(&str, &str); 3] = [
    ("PROXMOX_TOOLSETS", "all"),
    ("PROXMOX_ALLOW_ELEVATED", "true"),
    ("PROXMOX_CONFIRM", "never"),
];

#[test]
fn each_tool_sends_and_returns_what_its_fixture_shows() {
    let tools = Mutex::new(fixture::tools().into_iter());
    let problems = Mutex::new(Vec::new());
    // Some calls wait for tasks, so run them in parallel.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let next = || tools.lock().expect("nobody panics with it").next();
                while let Some(tool) = next() {
                    let found = replay(&tool);
                    problems
                        .lock()
                        .expect("nobody panics with it")
                        .extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().expect("nobody panics with it");
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n\n"));
}

#[test]
fn the_list_of_tools_is_as_reviewed() {
    let mut session = Session::start(&[], &[("PROXMOX_TOOLSETS", "all")]);
    let mut listed = session.request("tools/list", json!({}));
    let tools = listed["result"]["tools"].take();
    let tools = serde_json::to_string_pretty(&tools).expect("its maps have text for keys");
    snapshot::check("fixtures/tools-list.json", &(tools + "\n"));
}

#[test]
fn every_tool_has_a_fixture() {
    let fake = Fake::start();
    let listed = start(&fake).request("tools/list", json!({}));
    let tools = listed["result"]["tools"]
        .as_array()
        .expect("an array of tools");
    let tools: BTreeSet<&str> = tools
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    let fixtures = fixture::tools();
    let fixtures: BTreeSet<&str> = fixtures.iter().map(String::as_str).collect();
    let without: Vec<&&str> = tools.difference(&fixtures).collect();
    let unknown: Vec<&&str> = fixtures.difference(&tools).collect();
    assert!(
        without.is_empty() && unknown.is_empty(),
        "tools without a fixture: {without:?}; fixtures without a tool: {unknown:?}"
    );
}

#[test]
fn the_demonstration_answers_calls_without_arguments_that_can_be_looked_up() {
    let mut session = Session::start(&["--demo"], &UNASKED);
    let mut listed = session.request("tools/list", json!({}));
    let tools: Vec<Value> = match listed["result"]["tools"].take() {
        Value::Array(tools) => tools,
        other => panic!("not an array of tools: {other}"),
    };
    let (mut found, mut made) = (0, 0);
    for tool in &tools {
        let name = tool["name"].as_str().expect("a tool has a name");
        let case = &Fixture::of(name).expect("a fixture that can be read").cases[0];
        let mut arguments = case.arguments.clone();
        let properties = &tool["inputSchema"]["properties"];
        let required = tool["inputSchema"]["required"].as_array();
        let is_required = required.is_some_and(|names| names.contains(&json!("vmid")));
        let names_guest = properties["vmid"]["description"] == "VMID or name.";
        let takes_several =
            !properties["guests"].is_null() && tool["annotations"]["readOnlyHint"] == false;
        if names_guest && (is_required || takes_several) {
            found += 1;
            arguments.retain(|name, _| !["node", "type"].contains(&&**name));
            let (text, _) = call(&mut session, name, json!(arguments)).expect("an answer");
            assert_eq!(text, fixture::first_answer(name), "{name}");
        }
        for id in ["vmid", "newid"] {
            if properties[id]["description"] == "Next free VMID if absent." {
                made += 1;
                arguments.remove(id);
                let (text, _) = call(&mut session, name, json!(arguments)).expect("an answer");
                assert!(
                    text.contains("105") && text.contains("the next free VMID"),
                    "{name}: {text}"
                );
            }
        }
    }
    assert!(found >= 44 && made >= 6, "{found} and {made} tools");
}

#[test]
fn sends_and_shows_a_generated_password_once() {
    let host = Server::http("127.0.0.1:0").expect("loopback has a free port");
    let address = format!("http://{}", host.server_addr());
    let requests = thread::spawn(move || [(); 2].map(|()| start_a_task(&host)));
    let mut session = Session::start(
        &[],
        &[
            ("PROXMOX_HOST", &address),
            ("PROXMOX_TOKEN_NAME", "mcp"),
            ("PROXMOX_TOKEN_VALUE", TOKEN),
            ("PROXMOX_ALLOW_ELEVATED", "true"),
            ("RUST_LOG", "trace"),
        ],
    );
    let arguments = json!({
        "node": "pve1",
        "vmid": 110,
        "hostname": "app01",
        "ostemplate": "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst",
    });
    let answers = [(); 2].map(|()| {
        call(&mut session, "proxmox_create_lxc", arguments.clone()).expect("a task is started")
    });
    let log = session.finish().log;
    let requests = requests.join().expect("the host answers twice");

    let mut passwords = BTreeSet::new();
    for ((text, structured), request) in answers.iter().zip(&requests) {
        let structured = structured.as_ref().expect("a success has data");
        let password = structured["password"].as_str().expect("a text");
        assert_eq!(password.len(), 24, "{password}");
        assert!(text.contains("valid once the task succeeds: "), "{text}");
        assert_eq!(text.matches(password).count(), 1, "{text}");
        assert_eq!(structured.to_string().matches(password).count(), 1);
        assert_eq!(
            request
                .split('&')
                .find(|pair| pair.starts_with("password=")),
            Some(&*format!("password={password}"))
        );
        assert!(!log.contains(password), "{log}");
        passwords.insert(password);
    }
    assert_eq!(passwords.len(), 2, "{passwords:?}");
}

#[test]
fn shows_a_generated_password_only_if_the_container_exists() {
    let ok = Some("OK");
    for (start, exit, of_start, headline, is_shown) in [
        (
            false,
            ok,
            None,
            "done.\nstate: stopped\nroot password, shown this once: ",
            true,
        ),
        (false, Some("no space"), None, " failed\n", false),
        (false, None, None, "not finished after 1 s.", true),
        (true, ok, ok, "done.\nIts start: done.", true),
        (
            true,
            ok,
            Some("no memory"),
            ": done, but its start failed",
            true,
        ),
        (true, Some("no space"), None, " failed\n", false),
    ] {
        let host = Arc::new(Server::http("127.0.0.1:0").expect("loopback has a free port"));
        let address = format!("http://{}", host.server_addr());
        let answering = thread::spawn({
            let host = Arc::clone(&host);
            move || create_a_container(&host, exit, of_start)
        });
        let mut session = Session::start(
            &[],
            &[
                ("PROXMOX_HOST", &address),
                ("PROXMOX_TOKEN_NAME", "mcp"),
                ("PROXMOX_TOKEN_VALUE", TOKEN),
                ("PROXMOX_ALLOW_ELEVATED", "true"),
                ("RUST_LOG", "trace"),
            ],
        );
        let arguments = json!({
            "node": "pve1", "vmid": 110, "hostname": "app01", "start": start, "wait_timeout": 1,
            "ostemplate": "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst",
        });
        let (text, structured) =
            call(&mut session, "proxmox_create_lxc", arguments).expect("a call ends");
        let log = session.finish().log;
        host.unblock();
        let password = answering.join().expect("the host answers");
        assert_eq!(password.len(), 24, "{password}");
        assert!(text.contains(headline), "{headline}: {text}");
        assert_eq!(
            text.matches(&password).count(),
            usize::from(is_shown),
            "{text}"
        );
        if let Some(structured) = structured {
            assert_eq!(structured["password"], password, "{structured}");
        }
        assert!(!log.contains(&password), "{log}");
    }
}

/// Plays a host that creates a container and starts it, in tasks that run as long as they have no exit
/// status; returns the password that it received.
fn create_a_container(host: &Server, exit: Option<&str>, of_start: Option<&str>) -> String {
    let mut password = String::new();
    for mut request in host.incoming_requests() {
        let mut body = String::new();
        request
            .as_reader()
            .read_to_string(&mut body)
            .expect("a form is text");
        let mut pairs = body.split('&');
        if let Some(given) = pairs.find_map(|pair| pair.strip_prefix("password=")) {
            password = given.to_owned();
        }
        let of_task =
            |kind: &str| format!("UPID:pve1:0012D307:03BB26A5:6A5608A0:{kind}:110:root@pam!mcp:");
        let status = |exit: Option<&str>| match exit {
            None => json!({ "status": "running" }),
            Some(exit) => json!({ "status": "stopped", "exitstatus": exit }),
        };
        let path = request.url().split('?').next().unwrap_or_default();
        let data = if path.ends_with("/lxc") {
            json!(of_task("vzcreate"))
        } else if path.ends_with("/nodes/pve1/tasks") {
            json!([{ "type": "vzstart", "upid": of_task("vzstart"), "starttime": 1_784_000_000 }])
        } else if path.contains("vzcreate") && path.ends_with("/status") {
            status(exit)
        } else if path.contains("vzstart") && path.ends_with("/status") {
            status(of_start)
        } else if path.ends_with("/status/current") {
            let state = if of_start.is_some() {
                "running"
            } else {
                "stopped"
            };
            json!({ "status": state })
        } else {
            json!([])
        };
        let answer = json!({ "data": data }).to_string();
        let _ = request.respond(Response::from_string(answer));
    }
    password
}

#[test]
fn the_data_of_each_read_contains_everything_that_the_host_sent() {
    let mut checked = 0;
    for tool in fixture::tools() {
        let fixture = Fixture::of(&tool).expect("it is well-formed");
        let case = &fixture.cases[0];
        if case
            .exchanges
            .iter()
            .any(|exchange| !exchange.request.starts_with("GET ") || exchange.file.is_some())
        {
            continue;
        }
        let fake = Fake::start();
        let mut session = start(&fake);
        fake.play(case.exchanges.clone());
        let (_, structured) = call(&mut session, &tool, json!(case.arguments)).expect("an answer");
        let mut shown = BTreeSet::new();
        keys(&structured.expect("a success has data"), &mut shown);
        for exchange in &case.exchanges {
            // The exceptions: extra lookups, and lists of lines, each of them a text. A wait asks how a task
            // ended; the rest is in its ID.
            let path = exchange.request.trim_start_matches("GET ");
            let is_aside = path == "/cluster/resources" && tool != "proxmox_get_vms"
                || path == "/nodes" && tool != "proxmox_get_nodes"
                || tool == "proxmox_wait_task"
                || path == "/version" && tool != "proxmox_get_version"
                || path.ends_with("/log")
                || path.ends_with("/time")
                // These are summarised.
                || path.ends_with("/agent/file-read")
                // This tree is shown by its leaves.
                || path.ends_with("/ceph/osd")
                || path.ends_with("/rrddata")
                || path.ends_with("/network-get-interfaces")
                || path.ends_with("/syslog")
                || path.ends_with("/tasks") && tool == "proxmox_get_node_task"
                || path.ends_with("/pending") && tool != "proxmox_get_pending_config";
            let mut sent = BTreeSet::new();
            keys(exchange.answer.as_ref().expect("an answer"), &mut sent);
            // The envelope.
            sent.retain(|key| !["data", "success", "result"].contains(&&**key));
            let lost: Vec<&String> = sent.difference(&shown).collect();
            assert!(is_aside || lost.is_empty(), "{tool}: {path}: {lost:?}");
        }
        checked += 1;
    }
    assert!(checked >= 30, "{checked} tools");
}

/// Collects all keys of all objects in `value`.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        _ => (),
    }
}

#[test]
fn a_dry_run_shows_encoded_values_as_readable_text() {
    let fake = Fake::start();
    let mut session = start(&fake);
    let settings = json!({ "data": [
        { "key": "digest", "value": "b1f0" },
        { "key": "sshkeys", "value": "ssh-rsa%20AAAA%20old%40example" },
    ] });
    let exchange = json!({ "request": "GET /nodes/pve1/qemu/100/pending", "answer": settings });
    fake.play(vec![serde_json::from_value(exchange).expect("an exchange")]);
    let set = json!({ "sshkeys": "ssh-ed25519 AAAA+/= new@example" });
    let arguments =
        json!({ "node": "pve1", "vmid": 100, "type": "qemu", "set": set, "dry_run": true });
    let (text, data) =
        call(&mut session, "proxmox_update_guest_config", arguments).expect("a preview");
    let data = data.expect("a preview has data");
    let sent = &data["request"]["parameters"]["sshkeys"];
    assert_eq!(sent, "ssh-ed25519 AAAA+/= new@example");
    assert_eq!(data["now"]["sshkeys"], "ssh-rsa AAAA old@example");
    assert!(
        text.contains("| sshkeys: ssh-ed25519 AAAA+/= new@example\n"),
        "{text}"
    );
    assert!(
        text.contains("now: sshkeys: ssh-rsa AAAA old@example"),
        "{text}"
    );

    let arguments = json!({ "node": "pve1", "vmid": 100, "type": "qemu", "argv": ["tee", "größe"], "input_data": "10 €", "dry_run": true });
    let (text, data) =
        call(&mut session, "proxmox_execute_vm_command", arguments).expect("a preview");
    let data = data.expect("a preview has data");
    assert_eq!(
        data["request"]["parameters"]["command"],
        json!(["tee", "größe"])
    );
    assert!(text.contains("| input-data: 10 €"), "{text}");
}

#[test]
fn no_answer_of_a_host_ends_the_program() {
    for answer in [
        json!(null),
        json!([{}]),
        json!("text"),
        json!({ "ok": true }),
        json!({ "data": "text", "total": -1 }),
        json!({ "data": ["text", 5, null, [], {}] }),
        json!({ "data": [{ "children": [5, {}], "verification": "text", "starttime": 1e300 }] }),
        json!({ "data": { "attributes": 5, "children": 5, "cpuinfo": "text", "pid": {} } }),
    ] {
        let host = Server::http("127.0.0.1:0").expect("loopback has a free port");
        let host = Arc::new(host);
        let address = format!("http://{}", host.server_addr());
        let body = answer.to_string();
        let answering = thread::spawn({
            let host = Arc::clone(&host);
            move || {
                for request in host.incoming_requests() {
                    let _ = request.respond(Response::from_string(&*body));
                }
            }
        });
        let mut session = Session::start(
            &[],
            &[
                ("PROXMOX_HOST", &address),
                ("PROXMOX_TOKEN_NAME", "mcp"),
                ("PROXMOX_TOKEN_VALUE", TOKEN),
                ("PROXMOX_ALLOW_ELEVATED", "true"),
                ("PROXMOX_TOOLSETS", "all"),
            ],
        );
        for tool in fixture::tools() {
            // These wait for an end that never comes.
            if ["proxmox_execute_vm_command", "proxmox_wait_task"].contains(&&*tool) {
                continue;
            }
            let fixture = Fixture::of(&tool).expect("it is well-formed");
            let arguments = json!(fixture.cases[0].arguments);
            match call(&mut session, &tool, arguments) {
                // The answer is not from Proxmox, so nothing was done.
                Ok((text, Some(_))) if answer.get("data").is_none() => {
                    panic!("{tool}, answered {answer}: {text}")
                }
                Ok(_) => (),
                Err(problem) => panic!("{tool}, answered {answer}: {problem}"),
            }
        }
        session.finish();
        host.unblock();
        answering.join().expect("the host answers all");
    }
}

#[test]
fn no_change_is_reported_as_done_without_evidence() {
    let task = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:";
    let answers = [
        (204, None),
        (200, None),
        (200, Some(json!({}))),
        (200, Some(json!({ "data": null }))),
        (200, Some(json!({ "data": { "error": "no" } }))),
        (200, Some(json!({ "data": [] }))),
        (200, Some(json!({ "data": "done" }))),
        (200, Some(json!({ "data": task.replace("pve1", "..") }))),
        (200, Some(json!({ "data": task }))),
    ];
    let uploads = Uploads::of("any");
    let mut changes = 0;
    for tool in fixture::tools() {
        let fixture = Fixture::of(&tool).expect("it is well-formed");
        // The exchanges of a case up to the first change.
        let found = fixture.cases.iter().find_map(|case| {
            let asks = ["/agent/ping", "/agent/fsfreeze-status"];
            let is_change = |exchange: &Exchange| {
                let request = &exchange.request;
                !request.starts_with("GET ") && !asks.iter().any(|ask| request.ends_with(ask))
            };
            let at = case.exchanges.iter().position(is_change)?;
            // A call about several guests is one for each of them, and tells of each.
            let is_one = !case.arguments.contains_key("guests");
            (is_one && case.exchanges[at].status == 200).then(|| (case, &case.exchanges[..=at]))
        });
        let Some((case, exchanges)) = found else {
            continue;
        };
        changes += 1;
        let fake = Fake::start();
        let mut session = start_with(&fake, &uploads);
        let mut is_first = true;
        for (status, answer) in &answers {
            let mut exchanges = exchanges.to_vec();
            // A session asks for it only once.
            exchanges.retain(|exchange| is_first || exchange.request != "GET /version");
            let change = exchanges.last_mut().expect("there is one");
            let data = answer.as_ref().and_then(|answer| answer.get("data"));
            let upid = data.is_none_or(|data| !data.is_string() || data == task);
            if upid && data.is_some_and(|data| facts::may_answer(&change.request, data)) {
                continue;
            }
            change.status = *status;
            change.answer = answer.clone();
            fake.play(exchanges);
            is_first = false;
            let called = call(&mut session, &tool, json!(case.arguments));
            let (text, structured) = called.expect("a result");
            assert!(
                structured.is_none() && text.contains("was sent, and may have been processed"),
                "{tool}, answered {status} {answer:?}: {text}"
            );
            assert_eq!(fake.problems(), Vec::<String>::new());
        }
    }
    assert!(changes >= 41, "{changes} tools that change something");
}

/// Answers one request with the UPID of a task; returns its body.
fn start_a_task(host: &Server) -> String {
    let mut request = host.recv().expect("a request comes");
    let mut body = String::new();
    request
        .as_reader()
        .read_to_string(&mut body)
        .expect("a form is text");
    let task = json!({ "data": "UPID:pve1:0012D307:03BB26A5:6A5608A0:vzcreate:110:root@pam!mcp:" });
    request
        .respond(Response::from_string(task.to_string()))
        .expect("the client waits");
    body
}

/// Plays all cases of one tool; returns what differs from its fixture.
fn replay(tool: &str) -> Vec<String> {
    let path = fixture::path(tool);
    let fixture = match Fixture::of(tool) {
        Ok(fixture) => fixture,
        Err(problem) => return vec![problem],
    };
    let fake = Fake::start();
    let uploads = Uploads::of(tool);
    let mut session = start_with(&fake, &uploads);
    let mut problems = Vec::new();
    let mut answers = Vec::new();
    for case in &fixture.cases {
        fake.play(case.exchanges.clone());
        let called = call(&mut session, tool, json!(case.arguments));
        let wrong = fake
            .problems()
            .into_iter()
            .chain(called.as_ref().err().cloned());
        problems.extend(wrong.map(|problem| format!("{path}: {}:\n    {problem}", case.shows)));
        let Ok((text, structured)) = called else {
            break;
        };
        let text = uploads.hidden(&text);
        let structured = structured.map(|data| {
            let data = uploads.hidden(&data.to_string());
            serde_json::from_str(&data).expect("it was JSON before")
        });
        let repeats = structured
            .iter()
            .flat_map(|data| repeated(tool, case, &text, data));
        problems.extend(repeats.map(|name| format!("{path}: {}: repeats {name}", case.shows)));
        answers.push(Answer { text, structured });
    }
    // The outcome of a wrong request is irrelevant, and must not get into the file.
    if problems.is_empty() {
        let answers = fixture::render(&fixture.cases, &answers);
        problems.extend(snapshot::difference(&fixture::answers_path(tool), &answers));
    }
    problems
}

/// Returns what the data of a change repeats from the call or the text; the data of a read is always whole.
fn repeated(tool: &str, case: &Case, text: &str, data: &Value) -> Vec<String> {
    if !text.starts_with('✅') || tool == "proxmox_wait_task" {
        return Vec::new();
    }
    let arguments = case.arguments.iter();
    let repeated = arguments.filter(|(name, value)| data.get(name) == Some(value));
    let repeated = repeated.map(|(name, _)| &**name);
    let known = ["action", "node"]
        .into_iter()
        .filter(|name| data.get(name).is_some());
    repeated.chain(known).map(str::to_owned).collect()
}

/// Starts the program, connected to a fake host, with elevated tools allowed.
fn start(fake: &Fake) -> Session {
    fake.connect(&UNASKED)
}

/// Does the same with files to upload and the login of root@pam.
fn start_with(fake: &Fake, uploads: &Uploads) -> Session {
    let dirs = ("PROXMOX_UPLOAD_DIRS", uploads.path());
    let login = login("root@pam");
    let login = login.iter().map(|(name, value)| (*name, &**value));
    let settings: Vec<_> = UNASKED.into_iter().chain([dirs]).chain(login).collect();
    fake.connect(&settings)
}

/// Returns the text and the structured content of a call.
fn call(
    session: &mut Session,
    tool: &str,
    arguments: Value,
) -> Result<(String, Option<Value>), String> {
    let result = session.call(tool, arguments);
    let structured = result.get("structuredContent").cloned();
    let one_text = match result["content"].as_array().map(Vec::as_slice) {
        Some([content]) => content["type"] == "text",
        _ => false,
    };
    let is_error = result["isError"] == true;
    let tells_of_each = result["structuredContent"]["guests"].is_array();
    let is_whole =
        is_error && tells_of_each || is_error != structured.as_ref().is_some_and(Value::is_object);
    if !one_text || !is_whole {
        return Err(format!(
            "neither a success nor an error of a tool: {result}"
        ));
    }
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    Ok((text.to_owned(), structured))
}

/// The arguments with which the contract check calls tools.
#[test]
fn the_arguments_for_the_contract_check_are_for_existing_tools() {
    let file = snapshot::below_package(".ci/contract-args.json");
    let text = std::fs::read_to_string(file).expect("it can be read");
    let calls: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("it is JSON");
    for tool in calls.keys() {
        assert!(fixture::tools().contains(tool), "{tool}");
        let entries = text.matches(&format!("\n  \"{tool}\":")).count();
        assert_eq!(entries, 1, "{tool}");
    }
}
