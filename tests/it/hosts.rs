//! Several hosts in `PROXMOX_HOST`: which one gets a request, and how answers name it.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::fake::{Fake, TOKEN};
use crate::session::Session;

const UPID: &str = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:";
const TASK: &str = "/nodes/pve1/tasks/UPID%3Apve1%3A0012A4F3%3A03B6C2D1%3A6A55FD63%3Aqmstart%3A100%3Aroot%40pam%21mcp%3A";

/// Returns the address of a fake as answers show it.
fn place(fake: &Fake) -> String {
    let [(_, url), ..] = fake.environment();
    url.replace("http://", "")
}

/// Returns an address on which nothing listens.
fn nowhere() -> String {
    // Not 127.0.0.1, where another test could be given the port.
    let listener = TcpListener::bind("127.0.0.2:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

/// Returns the settings for these hosts.
fn variables(places: &[&str]) -> Vec<(&'static str, String)> {
    let places: Vec<String> = places.iter().map(|at| format!("http://{at}")).collect();
    vec![
        ("PROXMOX_HOST", places.join(",")),
        ("PROXMOX_TOKEN_NAME", "mcp".to_owned()),
        ("PROXMOX_TOKEN_VALUE", TOKEN.to_owned()),
        ("PROXMOX_ALLOW_ELEVATED", "true".to_owned()),
        // Only waiting for a host that never answers takes this long.
        ("PROXMOX_TIMEOUT", "1".to_owned()),
    ]
}

fn start(places: &[&str]) -> Session {
    let variables = variables(places);
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    Session::start(&[], &variables)
}

fn nodes() -> Value {
    json!({ "request": "GET /nodes", "answer": { "data": [{ "node": "pve1", "status": "online" }] } })
}

fn start_vm() -> Value {
    json!({ "request": "POST /nodes/pve1/qemu/100/status/start", "answer": { "data": UPID } })
}

fn vm() -> Value {
    json!({ "node": "pve1", "vmid": 100 })
}

#[track_caller]
fn text(result: &Value) -> &str {
    let text = result["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("{result}"))
}

#[track_caller]
fn check_played(fakes: &[&Fake]) {
    for fake in fakes {
        assert_eq!(fake.problems(), Vec::<String>::new());
    }
}

#[test]
fn skips_a_host_that_refuses_the_connection_and_names_the_one_that_answers() {
    let gone = nowhere();
    let second =
        Fake::playing(json!([nodes(), start_vm(), { "request": "GET /nodes", "status": 401 }]));
    let at = place(&second);
    let mut session = start(&[&gone, &at]);
    let line = format!("\n\nAnswered by {at} (cannot reach {gone}: connection refused)");

    let result = session.call("proxmox_get_nodes", json!({}));
    assert!(text(&result).starts_with("1 node\n"), "{result}");
    assert!(text(&result).ends_with(&line), "{result}");
    assert_eq!(result["structuredContent"]["answered_by"], at);
    assert_eq!(result["structuredContent"]["total"], 1);

    // Now in the other era, and with a change.
    let hello = json!({ "jsonrpc": "2.0", "id": "a", "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    } });
    session.send(&hello.to_string());
    session.receive();
    let params = json!({ "name": "proxmox_start_vm", "arguments": vm() });
    let call = json!({ "jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": params });
    session.send(&call.to_string());
    let result = session.receive()["result"].take();
    assert!(text(&result).starts_with("✅"), "{result}");
    assert!(text(&result).ends_with(&line), "{result}");
    assert_eq!(result["structuredContent"]["answered_by"], at);

    let result = session.call("proxmox_get_nodes", json!({}));
    assert_eq!(result["isError"], true);
    assert!(text(&result).ends_with(&line), "{result}");

    // It is only named if something was sent.
    let result = session.call("proxmox_get_nodes", json!({ "nod": 1 }));
    assert!(!text(&result).contains("Answered by"), "{result}");
    check_played(&[&second]);
    let log = session.finish().log;
    assert_eq!(log.matches("connection refused").count(), 1, "{log}");
}

#[test]
fn the_first_host_is_not_named() {
    let [first, second] = [json!([nodes()]), json!([])].map(Fake::playing);
    let mut session = start(&[&place(&first), &place(&second)]);
    let result = session.call("proxmox_get_nodes", json!({}));
    assert!(!text(&result).contains("Answered by"), "{result}");
    assert_eq!(result["structuredContent"].get("answered_by"), None);
    check_played(&[&first, &second]);
    session.finish();
}

#[test]
fn sends_a_change_once_to_the_reachable_host() {
    let gone = nowhere();
    let [second, third] = [json!([start_vm()]), json!([])].map(Fake::playing);
    let mut session = start(&[&gone, &place(&second), &place(&third)]);
    let result = session.call("proxmox_start_vm", vm());
    assert_eq!(result["structuredContent"]["answered_by"], place(&second));
    check_played(&[&second, &third]);
    session.finish();
}

#[test]
fn sends_to_no_other_host_what_a_silent_host_may_have_received() {
    for (tool, arguments) in [("proxmox_get_nodes", json!({})), ("proxmox_start_vm", vm())] {
        // It accepts connections and requests, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let at = silent.local_addr().expect("it is bound").to_string();
        let second = Fake::start();
        let mut session = start(&[&at, &place(&second)]);
        let result = session.call(tool, arguments);
        assert_eq!(result["isError"], true);
        let cause = format!("Cause: {at}: no answer within 1 s");
        assert!(text(&result).contains(&cause), "{result}");
        check_played(&[&second]);

        second.play(serde_json::from_value(json!([nodes()])).expect("an exchange"));
        let result = session.call("proxmox_get_nodes", json!({}));
        let line = format!("Answered by {} ({at} gave no answer)", place(&second));
        assert!(text(&result).ends_with(&line), "{result}");
        check_played(&[&second]);
        session.finish();
    }
}

#[test]
fn skips_an_unreachable_host_for_a_while() {
    let gone = nowhere();
    let second = Fake::playing(json!([nodes(), nodes()]));
    let mut session = start(&[&gone, &place(&second)]);
    session.call("proxmox_get_nodes", json!({}));
    let back = TcpListener::bind(&gone).expect("the port is still free");
    back.set_nonblocking(true).expect("it need not block");
    let result = session.call("proxmox_get_nodes", json!({}));
    assert_eq!(result["structuredContent"]["answered_by"], place(&second));
    let came = back.accept().map_err(|err| err.kind());
    assert_eq!(came.err(), Some(ErrorKind::WouldBlock));
    check_played(&[&second]);
    session.finish();
}

#[test]
fn names_all_hosts_if_none_can_be_reached() {
    let gone = [nowhere(), nowhere()];
    let mut session = start(&[&gone[0], &gone[1]]);
    let result = session.call("proxmox_start_vm", vm());
    assert_eq!(result["isError"], true);
    let expected = format!(
        "❌ Error: none of 2 hosts can be used, POST /nodes/pve1/qemu/100/status/start was not sent\n\n\
         Cause: cannot reach {}: connection refused\ncannot reach {}: connection refused\n\
         Check PROXMOX_HOST and PROXMOX_PORT,",
        gone[0], gone[1]
    );
    assert!(text(&result).starts_with(&expected), "{result}");
    session.finish();
}

#[test]
fn follows_a_task_on_whichever_host_answers() {
    let with_tasks = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let running = || {
        json!({
            "request": format!("GET {TASK}/status"), "answer": { "data": { "status": "running" } },
        })
    };
    let first = Fake::playing(json!([
        start_vm(),
        running(),
        running(),
        running(),
        running()
    ]));
    let mut session = start(&[&place(&first)]);
    let params = json!({ "name": "proxmox_start_vm", "arguments": vm() });
    let created = session.request_as(with_tasks.clone(), "tools/call", params);
    let id = &created["result"]["taskId"];
    check_played(&[&first]);
    session.finish();

    let gone = nowhere();
    let second = Fake::playing(json!([
        {
            "request": format!("GET {TASK}/status"),
            "answer": { "data": { "status": "stopped", "exitstatus": "OK" } },
        },
        {
            "request": "GET /nodes/pve1/tasks",
            "form": ["since=1784020323", "until=1784020323", "limit=500"],
            "answer": { "data": [{ "upid": UPID, "endtime": 1_784_020_380 }] },
        },
        {
            "request": "GET /nodes/pve1/qemu/100/status/current",
            "answer": { "data": { "status": "running", "qmpstatus": "running" } },
        },
    ]));
    let mut session = start(&[&gone, &place(&second)]);
    let got = session.request_as(with_tasks, "tasks/get", json!({ "taskId": id }));
    let result = &got["result"]["result"];
    assert_eq!(
        result["structuredContent"]["answered_by"],
        place(&second),
        "{got}"
    );
    check_played(&[&second]);
    session.finish();
}

#[test]
fn a_call_on_the_command_line_shows_the_host_and_logs_why() {
    let gone = nowhere();
    let second = Fake::playing(json!([nodes()]));
    let output = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
        .args(["call", "proxmox_get_nodes"])
        .env_clear()
        .envs(variables(&[&gone, &place(&second)]))
        .output()
        .expect("the program starts");
    assert!(output.status.success());
    let answer = String::from_utf8_lossy(&output.stdout);
    let line = format!("Answered by {} (cannot reach {gone}: ", place(&second));
    assert!(answer.contains(&line), "{answer}");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains(&format!("cannot reach {gone}: connection refused")),
        "{log}"
    );
    check_played(&[&second]);
}

#[test]
fn names_an_invalid_entry_by_its_position() {
    let mut session = start(&["127.0.0.1", "pve2.example"]);
    let result = session.call("proxmox_get_nodes", json!({}));
    let cause = "PROXMOX_HOST entry 2 must be an `https://` URL";
    assert!(text(&result).contains(cause), "{result}");
    session.finish();
}
