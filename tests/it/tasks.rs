//! The Tasks extension: a call that continues as a task, and what its client can request about it.
//!
//! Each test uses the ID of the same task with a server of its own, which shows that the ID outlives the
//! process that made it.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

const UPID: &str = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:";
const TASK: &str = "/nodes/pve1/tasks/UPID%3Apve1%3A0012A4F3%3A03B6C2D1%3A6A55FD63%3Aqmstart%3A100%3Aroot%40pam%21mcp%3A";

/// A server for `fake`, with additional variables.
fn server(fake: &Fake, more: &[(&str, &str)]) -> Session {
    let allowed = ("PROXMOX_ALLOW_ELEVATED", "true");
    fake.connect(&[&[allowed], more].concat())
}

fn with_tasks() -> Value {
    json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } })
}

/// Returns the answer to a client that supports tasks.
#[track_caller]
fn ask(session: &mut Session, method: &str, params: Value) -> Value {
    session.request_as(with_tasks(), method, params)
}

fn start_vm(arguments: Value) -> Value {
    json!({ "name": "proxmox_start_vm", "arguments": arguments })
}

fn status(status: Value) -> Value {
    json!({ "request": format!("GET {TASK}/status"), "answer": { "data": status } })
}

fn running() -> Value {
    status(json!({ "status": "running" }))
}

fn stopped(exit: &str) -> Value {
    status(json!({ "status": "stopped", "exitstatus": exit }))
}

fn log(limit: u64, lines: &[&str]) -> Value {
    let data: Vec<Value> = lines.iter().map(|line| json!({ "t": line })).collect();
    json!({
        "request": format!("GET {TASK}/log"),
        "form": ["start=0", format!("limit={limit}")],
        "answer": { "data": data, "total": lines.len() },
    })
}

/// Returns where the host says when the task ended: 2026-07-14 09:13:00Z.
fn ended() -> Value {
    json!({
        "request": "GET /nodes/pve1/tasks",
        "form": ["since=1784020323", "until=1784020323", "limit=500"],
        "answer": { "data": [{ "upid": UPID, "endtime": 1_784_020_380 }] },
    })
}

fn guest_runs() -> Value {
    json!({
        "request": "GET /nodes/pve1/qemu/100/status/current",
        "answer": { "data": { "status": "running", "qmpstatus": "running" } },
    })
}

/// Returns the result of the call that started the task; it took two seconds.
fn created() -> &'static Value {
    static CREATED: OnceLock<Value> = OnceLock::new();
    CREATED.get_or_init(|| {
        let mut exchanges = vec![json!({
            "request": "POST /nodes/pve1/qemu/100/status/start", "answer": { "data": UPID },
        })];
        exchanges.extend([(); 4].map(|()| running()));
        let fake = Fake::playing(exchanges.into());
        let mut session = server(&fake, &[]);
        let arguments = json!({ "node": "pve1", "vmid": 100 });
        let answer = ask(&mut session, "tools/call", start_vm(arguments));
        session.finish();
        assert_eq!(fake.problems(), Vec::<String>::new());
        answer["result"].clone()
    })
}

fn id() -> Value {
    json!({ "taskId": created()["taskId"] })
}

/// Returns a new server's answer to `tasks/get` while the host plays `exchanges`.
#[track_caller]
fn get(exchanges: Value) -> Value {
    let params = id();
    let fake = Fake::playing(exchanges);
    let mut session = server(&fake, &[]);
    let answer = ask(&mut session, "tasks/get", params);
    session.finish();
    assert_eq!(fake.problems(), Vec::<String>::new());
    answer
}

#[track_caller]
fn check_unknown(answer: &Value) {
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Unknown task"), "{answer}");
}

#[test]
fn a_long_call_becomes_a_task() {
    let mut created = created().clone();
    let id = created["taskId"].take();
    let id = id.as_str().expect("the id is a string");
    assert!(id.starts_with("v1.") && !id.contains("UPID"), "{id}");
    assert!(created["lastUpdatedAt"].take().as_str() > created["createdAt"].as_str());
    let expected = json!({
        "resultType": "task",
        "taskId": null,
        "status": "working",
        "statusMessage": "Start VM 100: started",
        "createdAt": "2026-07-14T09:12:03Z",
        "lastUpdatedAt": null,
        "ttlMs": 86_400_000,
        "pollIntervalMs": 2_000,
        "_meta": { "io.modelcontextprotocol/serverInfo": {
            "name": "proxmox-mcp", "title": "Proxmox VE", "version": env!("CARGO_PKG_VERSION"),
        } },
    });
    assert_eq!(created, expected);
}

#[test]
fn no_two_calls_get_the_same_id() {
    let fake = Fake::playing(json!([{
        "request": "POST /nodes/pve1/qemu/100/status/start", "answer": { "data": UPID },
    }]));
    let mut session = server(&fake, &[]);
    let mut params = start_vm(json!({ "node": "pve1", "vmid": 100 }));
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": with_tasks(),
    });
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    session.send(&request.to_string());
    // The end of input ends the wait.
    let [answer] = &session.finish().messages[..] else {
        panic!("one message answers one call");
    };
    assert_eq!(answer["result"]["resultType"], "task", "{answer}");
    assert_ne!(answer["result"]["taskId"], created()["taskId"]);
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_task_reports_its_last_line_and_then_its_result() {
    let params = id();
    let fake = Fake::playing(json!([
        running(),
        log(1, &[]),
        running(),
        log(1, &["half\u{1b}way"]),
        stopped("OK"),
        ended(),
        guest_runs(),
        stopped("OK"),
        ended(),
        guest_runs(),
    ]));
    let mut session = server(&fake, &[]);
    for message in ["Start VM 100: running", "half\\u{1b}way"] {
        let answer = ask(&mut session, "tasks/get", params.clone());
        let result = &answer["result"];
        assert_eq!(result["resultType"], "complete", "{answer}");
        assert_eq!(result["status"], "working", "{answer}");
        assert_eq!(result["statusMessage"], message, "{answer}");
        assert_eq!(result["taskId"], params["taskId"], "{answer}");
        assert!(result.get("result").is_none(), "{answer}");
    }
    let mut answer = ask(&mut session, "tasks/get", params.clone())["result"].take();
    assert_eq!(answer["status"], "completed", "{answer}");
    assert_eq!(answer["lastUpdatedAt"], "2026-07-14T09:13:00Z", "{answer}");
    let again = ask(&mut session, "tasks/get", params)["result"].take();
    assert_eq!(again, answer, "what has ended stays as it is");
    session.finish();
    assert_eq!(fake.problems(), Vec::<String>::new());

    // The result is that of a call that waited.
    let fake = Fake::playing(json!([
        { "request": "POST /nodes/pve1/qemu/100/status/start", "answer": { "data": UPID } },
        stopped("OK"),
        guest_runs(),
    ]));
    let arguments = json!({ "node": "pve1", "vmid": 100, "wait": true });
    let mut session = server(&fake, &[]);
    let waited = ask(&mut session, "tools/call", start_vm(arguments));
    assert_eq!(answer["result"].take(), waited["result"]);
    assert_eq!(waited["result"]["resultType"], "complete");
}

#[test]
fn a_failed_task_is_completed_with_an_error_for_the_model() {
    for exit in ["start failed: QEMU exited with code 1", "unexpected status"] {
        let answer = get(json!([stopped(exit), log(8, &["| no memory"]), ended()]));
        let result = &answer["result"];
        assert_eq!(result["status"], "completed", "{answer}");
        assert_eq!(result["statusMessage"], exit, "{answer}");
        assert_eq!(result["result"]["isError"], true, "{answer}");
        assert_eq!(result["result"]["resultType"], "complete", "{answer}");
        let text = result["result"]["content"][0]["text"].as_str();
        let text = text.expect("there is a text");
        assert!(
            text.contains(exit) && text.contains("no memory") && text.contains(UPID),
            "{text}"
        );
    }
}

#[test]
fn an_interrupted_task_is_cancelled() {
    for exit in ["received interrupt", "clone failed: interrupted by signal"] {
        let answer = get(json!([stopped(exit), log(8, &[]), ended()]));
        let result = &answer["result"];
        assert_eq!(result["status"], "cancelled", "{answer}");
        assert_eq!(result["statusMessage"], exit, "{answer}");
        assert!(result.get("result").is_none(), "{answer}");
    }
}

#[test]
fn a_task_without_a_record_is_unknown() {
    check_unknown(&get(json!([{
        "request": format!("GET {TASK}/status"),
        "status": 500,
        "answer": { "data": null, "message": "no such task\n" },
    }])));
}

#[test]
fn a_failed_poll_does_not_end_the_task() {
    let answer = get(json!([{ "request": format!("GET {TASK}/status"), "status": 595 }]));
    assert_eq!(answer["error"]["code"], -32603, "{answer}");

    let fake = Fake::playing(json!([]));
    // Nothing listens on the first port.
    let mut session = server(&fake, &[("PROXMOX_HOST", "http://127.0.0.1:1")]);
    let answer = ask(&mut session, "tasks/get", id());
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    let answer = ask(&mut session, "tasks/cancel", id());
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let remains = session.finish();
    assert!(remains.log.contains("was not stopped"), "{}", remains.log);
    let said = format!("{answer}{}", remains.log);
    assert!(!said.contains(crate::fake::TOKEN), "{said}");
}

#[test]
fn rejects_an_id_that_belongs_to_another_token_or_was_changed() {
    let fake = Fake::playing(json!([]));
    let methods = ["tasks/get", "tasks/cancel", "tasks/update"];
    let other = "00000000-9abc-4def-8123-456789abcdef";
    let mut session = server(&fake, &[("PROXMOX_TOKEN_VALUE", other)]);
    for method in methods {
        check_unknown(&ask(&mut session, method, id()));
    }
    let mut session = server(&fake, &[]);
    let good = created()["taskId"].as_str().expect("the id is a string");
    for changed in [
        good.replacen('.', ".A", 1),
        format!("{good}A"),
        UPID.to_owned(),
    ] {
        for method in methods {
            check_unknown(&ask(&mut session, method, json!({ "taskId": changed })));
        }
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn cancelling_stops_a_running_task_and_is_always_acknowledged() {
    let params = id();
    let stop = json!({ "request": format!("DELETE {TASK}"), "answer": { "data": null } });
    let refused = json!({
        "request": format!("DELETE {TASK}"),
        "status": 403,
        "answer": { "data": null, "message": "Permission check failed (/nodes/pve1, Sys.Modify)\n" },
    });
    let fake = Fake::playing(json!([running(), stop, stopped("OK"), running(), refused]));
    let mut session = server(&fake, &[]);
    for _ in 0..3 {
        let answer = ask(&mut session, "tasks/cancel", params.clone());
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
    let log = session.finish().log;
    assert_eq!(log.matches("was not stopped").count(), 1, "{log}");

    // A client that may no longer change anything sends nothing.
    let mut session = server(&fake, &[("PROXMOX_ALLOW_ELEVATED", "false")]);
    let answer = ask(&mut session, "tasks/cancel", params.clone());
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(fake.problems(), Vec::<String>::new());

    let update = json!({ "taskId": params["taskId"], "inputResponses": { "x": {} } });
    let answer = ask(&mut session, "tasks/update", update);
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}

#[test]
fn a_client_without_tasks_is_refused_their_methods() {
    let fake = Fake::playing(json!([]));
    let mut session = server(&fake, &[]);
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        let answer = session.request(method, id());
        assert_eq!(answer["error"]["code"], -32021, "{answer}");
        let required = &answer["error"]["data"]["requiredCapabilities"];
        assert_eq!(required, &with_tasks(), "{answer}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_task_lasts_until_the_start_that_follows_it() {
    let kinds = [("qmcreate", 111), ("qmreboot", 100)];
    for ((kind, vmid), exit) in kinds.into_iter().zip(["OK", "start failed"]) {
        let upid = UPID.replace("qmstart:100", &format!("{kind}:{vmid}"));
        let start = UPID.replace("qmstart:100", &format!("qmstart:{vmid}"));
        let path = |upid: &str| {
            let encoded = upid
                .replace(':', "%3A")
                .replace('@', "%40")
                .replace('!', "%21");
            format!("GET /nodes/pve1/tasks/{encoded}/status")
        };
        let ended = |upid: &str, exit: &str| {
            let data = json!({ "status": "stopped", "exitstatus": exit });
            json!({ "request": path(upid), "answer": { "data": data } })
        };
        let state = |state: &str| {
            let request = format!("GET /nodes/pve1/qemu/{vmid}/status/current");
            json!({ "request": request, "answer": { "data": { "status": state } } })
        };
        let tasks = |with_start: bool| {
            let starts = json!([{ "type": "qmstart", "upid": start, "starttime": 1_784_020_323 }]);
            let rows = if with_start { starts } else { json!([]) };
            json!({
                "request": "GET /nodes/pve1/tasks",
                "form": ["source=all", format!("vmid={vmid}"), "since=1784020323"],
                "answer": { "data": rows },
            })
        };
        let is_reboot = kind == "qmreboot";
        let (request, form, name, arguments) = match is_reboot {
            true => (
                "POST /nodes/pve1/qemu/100/status/reboot",
                json!([]),
                "proxmox_reboot_vm",
                json!({ "node": "pve1", "vmid": 100 }),
            ),
            false => (
                "POST /nodes/pve1/qemu",
                json!([
                    "vmid=111",
                    "name=app02",
                    "memory=512",
                    "cores=1",
                    "sockets=1",
                    "ostype=l26",
                    "start=1",
                    "scsihw=virtio-scsi-single",
                    "scsi0=local-lvm:8",
                    "net0=virtio,bridge=vmbr0",
                    "boot=order=scsi0;net0",
                ]),
                "proxmox_create_vm",
                json!({ "node": "pve1", "vmid": 111, "name": "app02", "start": true }),
            ),
        };
        // The number of polls within the two seconds of a call.
        let begun = json!({ "request": request, "form": form, "answer": { "data": upid } });
        let running =
            json!({ "request": path(&upid), "answer": { "data": { "status": "running" } } });
        let mut exchanges = vec![
            begun,
            running.clone(),
            running.clone(),
            running.clone(),
            running,
        ];
        // The task has ended, but the guest is not running yet.
        let down = || is_reboot.then(|| state("stopped"));
        exchanges.push(ended(&upid, "OK"));
        exchanges.extend(down());
        exchanges.push(tasks(false));
        exchanges.extend((!is_reboot).then(|| state("stopped")));
        // Its start has ended.
        exchanges.push(ended(&upid, "OK"));
        exchanges.extend(down());
        exchanges.push(tasks(true));
        exchanges.push(ended(&start, exit));
        if is_reboot {
            let mut log = log(8, &["no memory"]);
            log["request"] = path(&start).replace("/status", "/log").into();
            exchanges.push(log);
        }
        exchanges.push(json!({
            "request": "GET /nodes/pve1/tasks",
            "form": ["since=1784020323", "until=1784020323", "limit=500"],
            "answer": { "data": [{ "upid": upid, "endtime": 1_784_020_380 }] },
        }));
        exchanges.extend((!is_reboot).then(|| state("running")));
        let fake = Fake::playing(exchanges.into());
        let mut session = server(&fake, &[]);
        let call = json!({ "name": name, "arguments": arguments });
        let created = ask(&mut session, "tools/call", call)["result"].take();
        assert_eq!(created["resultType"], "task", "{created}");
        let params = json!({ "taskId": created["taskId"] });
        let answer = ask(&mut session, "tasks/get", params.clone())["result"].take();
        assert_eq!(answer["status"], "working", "{answer}");
        let message = answer["statusMessage"].as_str().unwrap_or_default();
        assert!(
            message.ends_with("done, the guest is not running yet"),
            "{answer}"
        );
        let answer = ask(&mut session, "tasks/get", params)["result"].take();
        assert_eq!(answer["status"], "completed", "{answer}");
        assert_eq!(answer["statusMessage"], exit, "{answer}");
        let result = &answer["result"];
        assert_eq!(result["isError"] == true, is_reboot, "{answer}");
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        let told = match is_reboot {
            true => "Reboot VM 100: done, but its start failed",
            false => "done.\nIts start: done.\nstate: running",
        };
        assert!(text.contains(told), "{text}");
        session.finish();
        assert_eq!(fake.problems(), Vec::<String>::new());
    }
}

#[test]
fn a_call_with_an_explicit_wait_does_not_become_a_task() {
    let started = json!({
        "request": "POST /nodes/pve1/qemu/100/status/start", "answer": { "data": UPID },
    });
    let fake = Fake::playing(json!([started, started]));
    let mut session = server(&fake, &[]);
    let arguments = json!({ "node": "pve1", "vmid": 100, "wait": false });
    let answer = ask(&mut session, "tools/call", start_vm(arguments));
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    // Nor does the call of a client that does not declare in the request that it supports tasks.
    let arguments = json!({ "node": "pve1", "vmid": 100 });
    let answer = session.request("tools/call", start_vm(arguments));
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_request_to_the_ha_manager_does_not_become_a_task() {
    let upid = UPID.replace("qmstart", "hastart");
    let fake = Fake::playing(json!([{
        "request": "POST /nodes/pve1/qemu/100/status/start", "answer": { "data": upid },
    }]));
    let mut session = server(&fake, &[]);
    let arguments = json!({ "node": "pve1", "vmid": 100 });
    let answer = ask(&mut session, "tools/call", start_vm(arguments));
    assert_eq!(
        answer["result"]["structuredContent"]["status"], "started",
        "{answer}"
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn the_demonstration_creates_no_tasks() {
    let mut session = Session::start(&["--demo", "--allow-elevated"], &[]);
    let arguments = json!({ "node": "pve1", "vmid": 103 });
    let answer = ask(&mut session, "tools/call", start_vm(arguments));
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}
