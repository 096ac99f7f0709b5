//! Waiting calls do not delay others: tested by order, not by time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

/// A host whose tasks run until they are allowed to end, and which records requests.
struct Host {
    fake: Fake,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: Vec<String>,
    /// Tasks end once the nodes were listed this many times.
    reads: usize,
}

/// Returns how often the nodes were listed.
fn reads(state: &State) -> usize {
    let reads = state.seen.iter().filter(|seen| *seen == "GET /nodes");
    reads.count()
}

fn upid(kind: &str, vmid: &str) -> String {
    format!("UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:{kind}:{vmid}:root@pam!mcp:")
}

fn answer(state: &mut State, request: &str) -> Value {
    state.seen.push(request.to_owned());
    let parts: Vec<&str> = request.split(['/', ' ']).collect();
    match parts[..] {
        ["GET", "", "nodes"] => json!([{ "node": "pve1", "status": "online" }]),
        ["GET", "", "nodes", _, "tasks", _, "status"] => match reads(state) >= state.reads {
            true => json!({ "status": "stopped", "exitstatus": "OK" }),
            false => json!({ "status": "running" }),
        },
        ["GET", "", "nodes", _, "tasks", _, "log"] => json!([{ "n": 1, "t": "on its way" }]),
        ["POST", "", "nodes", _, _, vmid, "agent", "exec"] => json!({ "pid": vmid }),
        ["GET", "", "nodes", _, _, _, "agent", "exec-status"] => {
            match reads(state) >= state.reads {
                true => json!({ "exited": 1, "exitcode": 0, "out-data": "up\n" }),
                false => json!({ "exited": 0 }),
            }
        }
        ["POST", "", "nodes", _, _, vmid, "clone"] => upid("qmclone", vmid).into(),
        ["POST", "", "nodes", _, _, vmid, "status", "start"] => upid("qmstart", vmid).into(),
        ["POST", "", "nodes", _, _, vmid, "status", "stop"] => upid("qmstop", vmid).into(),
        _ => Value::Null,
    }
}

impl Host {
    /// Starts a host whose tasks end after so many reads.
    fn start(reads: usize) -> Self {
        let state = Arc::new(Mutex::new(State {
            reads,
            ..State::default()
        }));
        let seen = Arc::clone(&state);
        let fake = Fake::answering(move |request| {
            let mut state = seen.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut state, request)
        });
        Self { fake, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the paths of the changes that were requested.
    fn changes(&self) -> Vec<String> {
        let state = self.state();
        let changes = state.seen.iter().filter(|seen| !seen.starts_with("GET "));
        changes.cloned().collect()
    }

    /// Returns how often this was requested.
    fn count(&self, request: &str) -> usize {
        let state = self.state();
        state
            .seen
            .iter()
            .filter(|seen| seen.contains(request))
            .count()
    }

    /// Starts a session with a client of this revision.
    fn connect(&self, revision: &str) -> Session {
        let mut session = self.fake.connect(&[
            ("PROXMOX_ALLOW_ELEVATED", "true"),
            ("PROXMOX_CONFIRM", "never"),
        ]);
        let params = json!({
            "protocolVersion": revision, "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        session.send(&request("hello", "initialize", params));
        assert_eq!(session.receive()["id"], "hello");
        session
    }
}

fn request(id: &str, method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn call(id: &str, tool: &str, arguments: Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments });
    request(id, "tools/call", params)
}

/// Returns a call that waits for its task; its ID is the VMID.
fn stop(vmid: &str) -> String {
    let arguments = json!({ "node": "pve1", "vmid": vmid, "wait_timeout": 50 });
    call(vmid, "proxmox_stop_vm", arguments)
}

fn nodes(id: &str) -> String {
    call(id, "proxmox_get_nodes", json!({}))
}

fn cancel(id: &str) -> String {
    let params = json!({ "requestId": id });
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string()
}

/// Returns the IDs of the next answers, none of which is an error.
fn ids(session: &mut Session, count: usize) -> Vec<Value> {
    let answers = (0..count).map(|_| session.receive());
    answers
        .map(|mut answer| {
            assert_ne!(answer["result"]["isError"], true, "{answer}");
            answer["id"].take()
        })
        .collect()
}

#[test]
fn answers_ten_reads_while_two_calls_wait() {
    let host = Host::start(10);
    let mut session = host.connect("2025-11-25");
    session.send(&stop("100"));
    session.send(&stop("101"));
    let reads: Vec<String> = (0..10).map(|read| format!("read {read}")).collect();
    for read in &reads {
        session.send(&nodes(read));
    }
    // Neither task ends before the last of the reads.
    assert_eq!(ids(&mut session, 10), reads);
    let mut waited = ids(&mut session, 2);
    waited.sort_by_key(Value::to_string);
    assert_eq!(waited, ["100", "101"]);
    // Each was started in turn.
    let stops = ["100", "101"].map(|vmid| format!("POST /nodes/pve1/qemu/{vmid}/status/stop"));
    assert_eq!(host.changes(), stops);
    let seen = host.state().seen.clone();
    let at = |request: &str| seen.iter().position(|seen| seen.contains(request));
    assert!(at(&stops[1]) < at("GET /nodes"), "{seen:?}");
    assert!(session.finish().messages.is_empty());
}

#[test]
fn cancels_one_of_two_waiting_calls() {
    let host = Host::start(2);
    let mut session = host.connect("2025-11-25");
    session.send(&stop("100"));
    session.send(&stop("101"));
    session.send(&nodes("read"));
    assert_eq!(ids(&mut session, 1), ["read"]);
    session.send(&cancel("100"));
    session.send(&nodes("read"));
    assert_eq!(ids(&mut session, 2), ["read", "101"]);
    let remains = session.finish();
    assert_eq!(remains.messages, Vec::<Value>::new());
    let (cancelled, other) = (upid("qmstop", "100"), upid("qmstop", "101"));
    assert_eq!(
        remains.log.matches(&cancelled).count(),
        1,
        "{}",
        remains.log
    );
    assert!(!remains.log.contains(&other), "{}", remains.log);
}

#[test]
fn the_end_of_input_ends_both_of_two_waits() {
    let host = Host::start(usize::MAX);
    let mut session = host.connect("2025-11-25");
    session.send(&stop("100"));
    session.send(&stop("101"));
    session.send(&nodes("read"));
    let answers = session.finish().messages;
    assert_eq!(answers.len(), 3, "{answers:?}");
    for vmid in ["100", "101"] {
        let answer = answers.iter().find(|answer| answer["id"] == vmid);
        let data = &answer.expect("it is answered")["result"]["structuredContent"];
        assert_eq!(data["upid"], upid("qmstop", vmid));
        assert_eq!(data["status"], "started");
    }
}

#[test]
fn a_busy_client_does_not_delay_a_waiting_call() {
    let host = Host::start(0);
    let mut session = host.connect("2025-11-25");
    session.send(&stop("100"));
    session.flood(&request("flood", "prompts/list", json!({})));
    // There is always something to read before the call is answered.
    let before = (0..200_000).position(|_| session.receive()["id"] == "100");
    assert!(before.is_some(), "the call has no turn");
}

#[test]
fn answers_a_batch_when_all_its_messages_are_done() {
    let host = Host::start(1);
    let mut session = host.connect("2025-03-26");
    let note = r#"{"jsonrpc":"2.0","method":"notifications/other"}"#;
    session.send(&format!(
        "[{},{note},{},{}]",
        stop("100"),
        request("ping", "ping", json!({})),
        stop("101")
    ));
    session.send(&request("beside", "ping", json!({})));
    session.send(&nodes("read"));
    assert_eq!(ids(&mut session, 2), ["beside", "read"]);
    let answers = session.receive();
    let ids: Vec<&Value> = answers
        .as_array()
        .expect("an array")
        .iter()
        .map(|answer| &answer["id"])
        .collect();
    assert_eq!(ids, ["100", "ping", "101"]);

    // Cancelled requests are left out; a batch of which nothing is left has no answer.
    host.state().reads = 2;
    session.send(&format!("[{},{}]", stop("102"), stop("103")));
    session.send(&format!("[{}]", stop("104")));
    session.send(&cancel("102"));
    session.send(&cancel("104"));
    session.send(&nodes("read"));
    assert_eq!(session.receive()["id"], "read");
    let answers = session.receive();
    assert_eq!(answers[0]["id"], "103", "{answers}");
    assert_eq!(answers[1], Value::Null, "{answers}");
    assert_eq!(session.finish().messages, Vec::<Value>::new());
}

#[test]
fn waits_for_a_command_and_a_foreign_task_while_answering_a_read() {
    let host = Host::start(1);
    let mut session = host.connect("2025-11-25");
    let command = json!({ "node": "pve1", "vmid": 100, "type": "qemu", "command": "uptime" });
    session.send(&call("command", "proxmox_execute_vm_command", command));
    let task = json!({ "upid": upid("qmstop", "101") });
    session.send(&call("task", "proxmox_wait_task", task));
    session.send(&nodes("read"));
    let mut order = ids(&mut session, 3);
    assert_eq!(order.remove(0), "read");
    order.sort_by_key(Value::to_string);
    assert_eq!(order, ["command", "task"]);
    session.finish();
}

#[test]
fn starts_a_clone_once_it_is_complete_unless_cancelled() {
    let host = Host::start(2);
    let mut session = host.connect("2025-11-25");
    let clone = |id: &str| {
        let arguments =
            json!({ "node": "pve1", "vmid": 100, "newid": id, "start": true, "wait": true });
        call(id, "proxmox_clone_vm", arguments)
    };
    session.send(&clone("200"));
    session.send(&clone("201"));
    session.send(&nodes("read"));
    assert_eq!(ids(&mut session, 1), ["read"]);
    session.send(&cancel("200"));
    session.send(&nodes("read"));
    assert_eq!(ids(&mut session, 2), ["read", "201"]);
    assert_eq!(host.count("/qemu/100/clone"), 2);
    assert_eq!(host.count("/201/status/start"), 1);
    session.send(&nodes("read"));
    assert_eq!(ids(&mut session, 1), ["read"]);
    assert_eq!(host.count("/200/status/start"), 0);
    let remains = session.finish();
    assert!(remains.log.contains("qmclone"), "{}", remains.log);
}

#[test]
fn refuses_a_call_when_too_many_wait() {
    let host = Host::start(1);
    let mut session = host.connect("2025-11-25");
    let task = json!({ "upid": upid("qmstop", "100") });
    for id in 0..250 {
        session.send(&call(&id.to_string(), "proxmox_wait_task", task.clone()));
    }
    session.send(&nodes("one too many"));
    let refused = session.receive();
    assert_eq!(refused["id"], "one too many", "{refused}");
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    let text = refused["result"]["content"][0]["text"].to_string();
    assert!(text.contains("250 calls are already waiting"), "{text}");
    session.send(&cancel("0"));
    session.send(&nodes("in its place"));
    let rest = ids(&mut session, 250);
    assert!(rest.contains(&json!("in its place")) && !rest.contains(&json!("0")));
    session.finish();
}
