//! One call for several guests: which guests are meant, what is asked, what is sent, and each outcome.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

/// A cluster that answers every request. It records the requested changes, and how each task ends.
pub(crate) struct Cluster {
    fake: Fake,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    changes: Vec<String>,
    /// How often each task was polled.
    looks: Vec<String>,
    pub(crate) is_slow: bool,
}

impl Cluster {
    /// Starts a cluster with the VMs 100 (web01, pve1, tag prod, pool shop), 101 (web02, pve2, pool shop/eu),
    /// 102 (db01, pve1, stopped) and the container 103 (mail, pve1). A task ends at its third poll; that of
    /// 101 fails.
    pub(crate) fn start() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let fake = Fake::answering({
            let seen = Arc::clone(&seen);
            move |request| answer(request, &mut seen.lock().expect("no test panics inside"))
        });
        Self { fake, seen }
    }

    pub(crate) fn serve(&self, settings: &[(&str, &str)]) -> Session {
        let mut all = vec![("PROXMOX_ALLOW_ELEVATED", "true")];
        all.extend(settings);
        self.fake.connect(&all)
    }

    /// Returns the changes since the last call.
    pub(crate) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("no test panics inside").changes)
    }
}

fn answer(request: &str, seen: &mut Seen) -> Value {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let vmid = ["100", "101", "102", "103"]
        .into_iter()
        .find(|vmid| path.contains(&format!("/{vmid}")) || path.contains(&format!("%3A{vmid}%3A")));
    let vmid = vmid.unwrap_or_default();
    if method != "GET" {
        seen.changes.push(request.to_owned());
        let kind = match path.rsplit('/').next() {
            Some("config") => return Value::Null,
            Some("stop") => "qmstop",
            Some("start") => "qmstart",
            Some("startall" | "stopall") => "startall",
            _ => "qmtask",
        };
        let node = path.split('/').nth(2).unwrap_or_default();
        return format!("UPID:{node}:0012A4F3:03B6C2D1:6A55FD63:{kind}:{vmid}:root@pam!mcp:")
            .into();
    }
    let state = match vmid {
        "102" => "stopped",
        _ => "running",
    };
    match path {
        "/cluster/resources" => json!([
            { "type": "qemu", "vmid": 100, "name": "web01", "node": "pve1", "status": "running", "tags": "prod", "pool": "shop" },
            { "type": "qemu", "vmid": 101, "name": "web02", "node": "pve2", "status": "running", "pool": "shop/eu" },
            { "type": "qemu", "vmid": 102, "name": "db01", "node": "pve1", "status": "stopped", "lock": "backup" },
            { "type": "lxc", "vmid": 103, "name": "mail", "node": "pve1", "status": "running", "tags": "prod" },
        ]),
        "/version" => json!({ "version": "9.2.11" }),
        "/nodes" => json!([{ "node": "pve1" }, { "node": "pve2" }]),
        _ if path.ends_with("/status/current") => json!({ "name": vmid, "status": state }),
        _ if path.contains("/tasks/") && path.ends_with("/status") => {
            seen.looks.push(path.to_owned());
            let looks = seen.looks.iter().filter(|look| *look == path).count();
            match (looks, vmid) {
                _ if seen.is_slow => json!({ "status": "running" }),
                (0..3, _) => json!({ "status": "running" }),
                (_, "101") => json!({ "status": "stopped", "exitstatus": "it is stuck" }),
                _ => json!({ "status": "stopped", "exitstatus": "OK" }),
            }
        }
        _ if path.ends_with("/config") => json!({ "digest": "d1", "tags": "prod;web" }),
        _ if path.ends_with("/pending") => json!([
            { "key": "digest", "value": "d1" }, { "key": "tags", "value": "prod;web" },
        ]),
        _ => json!([]),
    }
}

pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

/// Returns the `status` of each guest.
pub(crate) fn statuses(result: &Value) -> Vec<(u64, &str)> {
    let rows = result["structuredContent"]["guests"].as_array();
    let rows = rows.unwrap_or_else(|| panic!("no rows: {result}")).iter();
    rows.map(|row| {
        let vmid = row["vmid"].as_u64().expect("a number");
        (vmid, row["status"].as_str().expect("a text"))
    })
    .collect()
}

const STOP: [&str; 3] = [
    "POST /nodes/pve1/qemu/100/status/stop",
    "POST /nodes/pve2/qemu/101/status/stop",
    "POST /nodes/pve1/qemu/102/status/stop",
];
pub(crate) const UNASKED: (&str, &str) = ("PROXMOX_CONFIRM", "never");

#[test]
fn calls_run_side_by_side_and_a_failure_stops_no_other() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[UNASKED]);
    let guests = json!([100, "web02", "102"]);
    let result = session.call("proxmox_stop_vm", json!({ "guests": guests }));
    let expected = [(100, "done"), (101, "failed"), (102, "done")];
    assert_eq!(statuses(&result), expected, "{}", text(&result));
    assert!(text(&result).contains("it is stuck"), "{}", text(&result));
    assert_eq!(result["isError"], true);
    assert_eq!(cluster.changes(), STOP);
    // The second was started before the first had ended, but the third only after that.
    let looks = &cluster.seen.lock().expect("no test panics inside").looks;
    let first = |vmid: &str| {
        let mut looks = looks.iter();
        looks.position(|look| look.contains(&format!("%3A{vmid}%3A")))
    };
    let (second, third) = (first("101").expect("seen"), first("102").expect("seen"));
    let ended = looks.iter().rposition(|look| look.contains("%3A100%3A"));
    assert!(
        second < ended.expect("seen") && ended.expect("seen") < third,
        "{looks:?}"
    );
}

#[test]
fn stop_on_error_starts_nothing_after_a_failure() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[UNASKED]);
    let arguments = json!({ "guests": [101, 100, 102], "parallel": 1, "stop_on_error": true });
    let result = session.call("proxmox_stop_vm", arguments);
    let expected = [(101, "failed"), (100, "not started"), (102, "not started")];
    assert_eq!(statuses(&result), expected);
    assert!(
        text(&result).contains("guests=[100, 102]"),
        "{}",
        text(&result)
    );
    assert_eq!(cluster.changes(), [STOP[1]]);
}

#[test]
fn sends_nothing_if_one_guest_is_outside_the_boundaries() {
    let cluster = Cluster::start();
    for (setting, why) in [
        (("PROXMOX_PROTECTED", "102"), "guest 102 is protected"),
        (("PROXMOX_GUESTS", "100-101"), "guest 102 is out of bounds"),
        (("PROXMOX_NODES", "pve1"), "pve2"),
    ] {
        let mut session = cluster.serve(&[UNASKED, setting]);
        let result = session.call("proxmox_stop_vm", json!({ "guests": [100, 101, 102] }));
        assert!(text(&result).starts_with("🚫"), "{}", text(&result));
        assert!(text(&result).contains(why), "{}", text(&result));
        assert_eq!(cluster.changes(), [""; 0], "{setting:?}");
    }
}

#[test]
fn a_guest_of_the_other_kind_fails_the_call_unless_the_twin_does_it() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[UNASKED]);
    let result = session.call("proxmox_stop_vm", json!({ "guests": [100, 103] }));
    assert!(
        text(&result).contains("103 is a container"),
        "{}",
        text(&result)
    );
    assert_eq!(cluster.changes(), [""; 0]);
    let result = session.call("proxmox_start_vm", json!({ "guests": [102, 103] }));
    assert_eq!(statuses(&result), [(102, "done"), (103, "done")]);
    let expected = [
        "POST /nodes/pve1/qemu/102/status/start",
        "POST /nodes/pve1/lxc/103/status/start",
    ];
    assert_eq!(cluster.changes(), expected);
}

#[test]
fn a_preview_lists_the_guests() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[]);
    for (selectors, expected) in [
        (json!(["pool:shop"]), vec![100, 101]),
        (json!(["tag:prod", "node:pve2"]), vec![100, 103, 101]),
        (json!(["node:PVE1"]), vec![100, 102, 103]),
        (json!(["WEB02", 101, "101"]), vec![101]),
    ] {
        let arguments = json!({ "guests": selectors, "snapname": "before", "dry_run": true });
        let result = session.call("proxmox_create_snapshot_vm", arguments);
        let rows = result["structuredContent"]["guests"].as_array();
        let rows = rows.unwrap_or_else(|| panic!("no rows: {result}")).iter();
        let vmids: Vec<u64> = rows.filter_map(|row| row["vmid"].as_u64()).collect();
        assert_eq!(vmids, expected, "{selectors}");
        assert!(text(&result).starts_with("🔎 Dry run"), "{}", text(&result));
    }
    for (selectors, why) in [
        (json!(["pool:none"]), "not found: pool:none"),
        (json!(["role:web"]), "is not a VMID, a name, pool:x"),
        (json!(["tag:"]), "has no valid tag"),
        (json!(["100", "nosuch"]), "not found: nosuch"),
    ] {
        let arguments = json!({ "guests": selectors, "snapname": "before" });
        let result = session.call("proxmox_create_snapshot_vm", arguments);
        assert!(text(&result).contains(why), "{}", text(&result));
    }
    assert_eq!(cluster.changes(), [""; 0]);
}

#[test]
fn takes_one_guest_or_several() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[]);
    for (arguments, why) in [
        (json!({}), "vmid or guests is missing"),
        (
            json!({ "vmid": 0, "guests": [] }),
            "vmid or guests is missing",
        ),
        (
            json!({ "vmid": 100, "guests": [101] }),
            "vmid does not go with guests",
        ),
        (
            json!({ "node": "pve1", "guests": [101] }),
            "node does not go with guests",
        ),
    ] {
        let result = session.call("proxmox_start_vm", arguments.clone());
        assert!(
            text(&result).contains(why),
            "{arguments}: {}",
            text(&result)
        );
    }
    // Absent values count as not given.
    let arguments = json!({ "vmid": 0, "node": "", "guests": [102], "parallel": 0 });
    let result = session.call("proxmox_start_vm", arguments);
    assert_eq!(statuses(&result), [(102, "done")]);
}

#[test]
fn typing_the_number_of_guests_confirms_all_of_them() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[("PROXMOX_CONFIRM", "always")]);
    let call = |session: &mut Session, more: Value| {
        let mut params = json!({
            "name": "proxmox_stop_vm", "arguments": { "guests": [100, 102, 101] },
        });
        params
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        session.request_as(
            json!({ "elicitation": { "form": {} } }),
            "tools/call",
            params,
        )
    };
    let asked = call(&mut session, json!({}));
    let asked = &asked["result"];
    let request = &asked["inputRequests"]["confirm"]["params"];
    let message = request["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{asked}"));
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    assert!(lines[0].starts_with("Stop VM 100"), "{message}");
    assert!(
        lines[1].contains("102") && lines[1].contains("harmless"),
        "{message}"
    );
    let field = &request["requestedSchema"]["properties"]["count"];
    assert_eq!(field["description"], "Type 3 to confirm");
    assert_eq!(cluster.changes(), [""; 0]);
    let answer = |typed: &str| {
        json!({ "requestState": asked["requestState"], "inputResponses": {
            "confirm": { "action": "accept", "content": { "count": typed } },
        } })
    };
    let result = call(&mut session, answer("3"));
    let expected = [(100, "done"), (102, "done"), (101, "failed")];
    assert_eq!(statuses(&result["result"]), expected);
    let changes = cluster.changes();
    assert_eq!(changes.len(), 3, "{changes:?}");
    // The agreement is for one call.
    let again = call(&mut session, answer("3"));
    assert!(again["error"].is_object(), "{again}");
}

#[test]
fn a_wrong_number_sends_nothing() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[]);
    session.send(
        &json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "test", "version": "1" },
        } })
        .to_string(),
    );
    session.receive();
    for (typed, ends) in [("100", "not confirmed"), ("2", "2 guests")] {
        let params = json!({ "name": "proxmox_delete_vm", "arguments": { "guests": [100, 102] } });
        let call =
            json!({ "jsonrpc": "2.0", "id": typed, "method": "tools/call", "params": params });
        session.send(&call.to_string());
        let asked = session.receive();
        assert_eq!(asked["method"], "elicitation/create", "{asked}");
        assert_eq!(cluster.changes(), [""; 0]);
        let content = json!({ "action": "accept", "content": { "count": typed } });
        let reply = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": content });
        session.send(&reply.to_string());
        let result = session.receive();
        let shown = text(&result["result"]);
        assert!(shown.contains(ends), "{shown}");
    }
    let changes = cluster.changes();
    assert_eq!(
        changes,
        ["DELETE /nodes/pve1/qemu/100", "DELETE /nodes/pve1/qemu/102"]
    );
}

#[test]
fn one_token_confirms_all_of_them() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[]);
    let mut arguments = json!({ "guests": ["pool:shop"] });
    let result = session.call("proxmox_delete_vm", arguments.clone());
    let shown = text(&result).to_owned();
    assert!(
        shown.contains("Delete VM 100") && shown.contains("Delete VM 101"),
        "{shown}"
    );
    let token = shown
        .split("confirm_token=")
        .nth(1)
        .expect("a token")
        .trim();
    // It is not valid with other arguments.
    arguments["confirm_token"] = token.into();
    let mut others = arguments.clone();
    others["guests"] = json!([100, 101, 102]);
    let result = session.call("proxmox_delete_vm", others);
    assert!(text(&result).contains("is not valid"), "{}", text(&result));
    assert_eq!(cluster.changes(), [""; 0]);
    let result = session.call("proxmox_delete_vm", arguments);
    assert_eq!(statuses(&result), [(100, "done"), (101, "failed")]);
    assert_eq!(cluster.changes().len(), 2);
}

fn begin_stop(session: &mut Session, arguments: Value) {
    session.send(
        &json!({ "jsonrpc": "2.0", "id": "call", "method": "tools/call", "params": {
            "name": "proxmox_stop_vm", "arguments": arguments,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        } })
        .to_string(),
    );
}

/// Waits until a change was sent.
fn wait_for_change(cluster: &Cluster) {
    for _ in 0..200 {
        if !cluster
            .seen
            .lock()
            .expect("no test panics inside")
            .changes
            .is_empty()
        {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nothing was sent");
}

#[test]
fn starts_nothing_after_the_end_of_input() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[UNASKED]);
    begin_stop(
        &mut session,
        json!({ "guests": [100, 101, 102], "parallel": 1 }),
    );
    wait_for_change(&cluster);
    let remains = session.finish();
    let result = &remains.messages[0]["result"];
    let expected = [(100, "started"), (101, "not started"), (102, "not started")];
    assert_eq!(statuses(result), expected);
    assert_eq!(cluster.changes(), [STOP[0]]);
}

#[test]
fn starts_nothing_after_a_cancellation() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[UNASKED]);
    begin_stop(
        &mut session,
        json!({ "guests": [100, 101, 102], "parallel": 1 }),
    );
    wait_for_change(&cluster);
    let params = json!({ "requestId": "call" });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    session.send(&cancel.to_string());
    let remains = session.finish();
    assert!(remains.messages.is_empty(), "{:?}", remains.messages);
    assert!(
        remains.log.contains("not started: 101, 102"),
        "{}",
        remains.log
    );
    assert_eq!(cluster.changes(), [STOP[0]]);
}

#[test]
fn starts_nothing_after_the_time_limit() {
    let cluster = Cluster::start();
    cluster.seen.lock().expect("no test panics inside").is_slow = true;
    let mut session = cluster.serve(&[UNASKED]);
    let arguments = json!({ "guests": [100, 102], "parallel": 1, "wait_timeout": 1 });
    let result = session.call("proxmox_stop_vm", arguments);
    let expected = [(100, "running"), (102, "not started")];
    assert_eq!(statuses(&result), expected, "{}", text(&result));
    assert_eq!(cluster.changes(), [STOP[0]]);
}

#[test]
fn options_of_several_guests_change() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[]);
    let arguments = json!({ "guests": ["tag:prod"], "set": { "onboot": "1" } });
    let result = session.call("proxmox_update_guest_config", arguments);
    assert_eq!(
        statuses(&result),
        [(100, "done"), (103, "done")],
        "{}",
        text(&result)
    );
    let expected = [
        "PUT /nodes/pve1/qemu/100/config",
        "PUT /nodes/pve1/lxc/103/config",
    ];
    assert_eq!(cluster.changes(), expected);
}

#[test]
fn tags_of_several_guests_change_and_the_others_stay() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[]);
    let expected = [
        "PUT /nodes/pve1/qemu/100/config",
        "PUT /nodes/pve1/lxc/103/config",
    ];
    // Both have the tags prod and web.
    for (change, status, changes) in [
        (json!({ "add_tags": ["edge"] }), "done", &expected[..]),
        (json!({ "add_tags": ["web"] }), "unchanged", &[]),
        (
            json!({ "remove_tags": ["prod"], "add_tags": ["new"] }),
            "done",
            &expected,
        ),
        (json!({ "remove_tags": ["edge"] }), "unchanged", &[]),
    ] {
        let mut arguments = change.clone();
        arguments["guests"] = json!(["tag:prod"]);
        let result = session.call("proxmox_update_guest_config", arguments);
        let found = statuses(&result);
        assert_eq!(found, [(100, status), (103, status)], "{}", text(&result));
        assert_eq!(cluster.changes(), changes, "{change}");
    }
    let arguments = json!({ "guests": [100], "add_tags": ["edge"], "remove_tags": ["prod"] });
    let result = session.call("proxmox_update_guest_config", arguments);
    let shown = "tags: prod;web → web;edge";
    assert!(text(&result).contains(shown), "{}", text(&result));
}
