//! A day of work: changes, each waited for, on a host whose tasks take time and do not all succeed.

use serde_json::{Value, json};

use crate::fake::Fake;

/// The course of a task, from poll to poll.
enum Course {
    /// It is running for this many polls, and ends like this.
    Ends(usize, &'static str),
    /// It is running, then its node is unreachable for one poll, and it has succeeded in the meantime.
    Interrupted,
    /// The token may not see it for longer than the call waits.
    Unseen,
    /// Its record no longer exists.
    Vanishes,
}
use Course::{Ends, Interrupted, Unseen, Vanishes};

/// A step of the day: tool and arguments, the request that this sends, the task that it starts and its
/// course, and what the answer must contain.
struct Step {
    tool: &'static str,
    arguments: Value,
    request: &'static str,
    form: &'static [&'static str],
    task: &'static str,
    course: Course,
    says: &'static [&'static str],
}

fn day() -> Vec<Step> {
    let guest = |more: Value| {
        let mut arguments = json!({ "node": "pve1", "vmid": 100 });
        arguments
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        arguments
    };
    vec![
        Step {
            tool: "proxmox_create_vm",
            arguments: guest(json!({ "name": "app01" })),
            request: "POST /nodes/pve1/qemu",
            form: &[
                "vmid=100",
                "name=app01",
                "memory=512",
                "cores=1",
                "sockets=1",
                "ostype=l26",
                "scsihw=virtio-scsi-single",
                "scsi0=local-lvm:8",
                "net0=virtio,bridge=vmbr0",
                "boot=order=scsi0;net0",
            ],
            task: "qmcreate",
            course: Ends(3, "OK"),
            says: &["✅ Create VM 100", ": done."],
        },
        Step {
            tool: "proxmox_start_vm",
            arguments: guest(json!({})),
            request: "POST /nodes/pve1/qemu/100/status/start",
            form: &[],
            task: "qmstart",
            course: Ends(1, "WARNINGS: 1"),
            says: &[
                "✅ Start VM 100: done with WARNINGS: 1",
                "| the last line",
                "state: running",
            ],
        },
        Step {
            tool: "proxmox_create_snapshot_vm",
            arguments: guest(json!({ "snapname": "first" })),
            request: "POST /nodes/pve1/qemu/100/snapshot",
            form: &["snapname=first"],
            task: "qmsnapshot",
            course: Interrupted,
            says: &["✅ Snapshot first of VM 100: done."],
        },
        Step {
            tool: "proxmox_clone_vm",
            arguments: guest(json!({ "newid": 200 })),
            request: "POST /nodes/pve1/qemu/100/clone",
            form: &["newid=200"],
            task: "qmclone",
            course: Ends(2, "clone failed: No space left on device"),
            says: &[
                "❌ Error: Clone VM 100 to 200 failed",
                "No space left on device",
                "| the last line",
                "proxmox_get_storage",
            ],
        },
        Step {
            tool: "proxmox_create_backup_vm",
            arguments: guest(json!({})),
            request: "POST /nodes/pve1/vzdump",
            form: &[
                "vmid=100",
                "storage=local",
                "mode=snapshot",
                "compress=zstd",
                "remove=0",
            ],
            task: "vzdump",
            course: Ends(2, "OK"),
            says: &[
                "✅ Back up VM 100 to local (by default storage=local, mode=snapshot, compress=zstd): done.",
                "\nvolume: local:backup/vzdump-qemu-100-2026_07_14-09_12_03.vma.zst",
                "\nmode: stop",
            ],
        },
        Step {
            tool: "proxmox_move_disk_vm",
            arguments: guest(json!({ "disk": "scsi0", "storage": "fast" })),
            request: "POST /nodes/pve1/qemu/100/move_disk",
            form: &["disk=scsi0", "storage=fast", "delete=1", "digest=d1"],
            task: "qmmove",
            course: Ends(2, "OK"),
            says: &[
                "✅ Move scsi0 of VM 100 to fast (by default delete=true): done.",
                "\nscsi0: fast:vm-100-disk-0,size=8G",
            ],
        },
        Step {
            tool: "proxmox_rollback_snapshot_vm",
            arguments: guest(json!({ "snapname": "first" })),
            request: "POST /nodes/pve1/qemu/100/snapshot/first/rollback",
            form: &[],
            task: "qmrollback",
            course: Vanishes,
            says: &[
                "❌ Error: how this ended is unknown: Roll back VM 100 to first",
                "upid: UPID:pve1:",
            ],
        },
        Step {
            tool: "proxmox_stop_vm",
            arguments: guest(json!({ "wait_timeout": 1 })),
            request: "POST /nodes/pve1/qemu/100/status/stop",
            form: &[],
            task: "qmstop",
            course: Unseen,
            says: &[
                "✅ Stop VM 100: started on pve1, not finished after 1 s.",
                "Sys.Audit",
                "proxmox_wait_task",
            ],
        },
        Step {
            tool: "proxmox_delete_vm",
            arguments: guest(json!({})),
            request: "DELETE /nodes/pve1/qemu/100",
            form: &[],
            task: "qmdestroy",
            course: Ends(0, "OK"),
            says: &["✅ Delete VM 100: done."],
        },
    ]
}

/// Returns the exchanges of a step, in the order in which a client that asks for progress causes them.
fn exchanges(step: &Step) -> Vec<Value> {
    let upid = format!(
        "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:{}:100:root@pam!mcp:",
        step.task
    );
    let task = format!(
        "/nodes/pve1/tasks/{}",
        upid.replace(':', "%3A")
            .replace('@', "%40")
            .replace('!', "%21")
    );
    let status = |answer: Value| json!({ "request": format!("GET {task}/status"), "answer": { "data": answer } });
    let mut exchanges = Vec::new();
    if step.task == "vzdump" {
        // On a node without the guest, it would answer OK.
        exchanges.push(json!({
            "request": "GET /cluster/resources",
            "form": ["type=vm"],
            "answer": { "data": [{ "vmid": 100, "type": "qemu", "node": "pve1" }] },
        }));
    }
    let config = |form: Value, cores: u32| {
        json!({
            "request": "GET /nodes/pve1/qemu/100/config",
            "form": form,
            "answer": { "data": { "cores": cores, "digest": "d1", "scsi0": "local-lvm:vm-100-disk-0,size=8G" } },
        })
    };
    match step.task {
        "qmmove" => exchanges.push(config(json!([]), 4)),
        "qmrollback" => exchanges.extend([
            config(json!(["current=1"]), 4),
            config(json!(["snapshot=first"]), 1),
        ]),
        // Which disks are the guest's own.
        "qmdestroy" => exchanges.push(json!({
            "request": "GET /nodes/pve1/qemu/100/config", "answer": { "data": {} },
        })),
        _ => (),
    }
    exchanges
        .push(json!({ "request": step.request, "form": step.form, "answer": { "data": upid } }));
    let mut lines = 0;
    let mut running = |exchanges: &mut Vec<Value>| {
        exchanges.push(status(json!({ "status": "running" })));
        exchanges.push(json!({
            "request": format!("GET {task}/log"),
            "form": [format!("start={lines}"), "limit=100"],
            "answer": { "data": [{ "n": lines + 1, "t": format!("transferred {}%", 20 * (lines + 1)) }] },
        }));
        lines += 1;
    };
    let ended = |exit: &str| status(json!({ "status": "stopped", "exitstatus": exit }));
    match step.course {
        Ends(looks, exit) => {
            (0..looks).for_each(|_| running(&mut exchanges));
            exchanges.push(ended(exit));
            if exit != "OK" {
                exchanges.push(json!({
                    "request": format!("GET {task}/log"),
                    "form": ["start=0", "limit=8"],
                    "answer": { "data": [{ "n": 1, "t": "the last line" }], "total": 1 },
                }));
            }
        }
        Interrupted => {
            running(&mut exchanges);
            exchanges.push(json!({ "request": format!("GET {task}/status"), "status": 595, "reason": "No route to host" }));
            exchanges.push(json!({ "request": format!("GET {task}/log"), "form": ["start=1", "limit=100"], "status": 595, "reason": "No route to host" }));
            exchanges.push(ended("OK"));
        }
        Unseen => {
            for _ in 0..3 {
                let denied = json!({ "data": null, "message": "Permission check failed (/nodes/pve1, Sys.Audit)\n" });
                exchanges.push(json!({ "request": format!("GET {task}/status"), "status": 403, "answer": denied }));
                exchanges.push(json!({ "request": format!("GET {task}/log"), "form": ["start=0", "limit=100"], "status": 403, "answer": denied }));
            }
        }
        Vanishes => {
            running(&mut exchanges);
            exchanges.push(json!({
                "request": format!("GET {task}/status"), "status": 400,
                "answer": { "data": null, "errors": { "upid": "no such task" }, "message": "Parameter verification failed.\n" },
            }));
        }
    }
    match step.task {
        "qmmove" => exchanges.push(json!({
            "request": "GET /nodes/pve1/qemu/100/pending",
            "answer": { "data": [{ "key": "scsi0", "value": "fast:vm-100-disk-0,size=8G" }] },
        })),
        "vzdump" => {
            let lines = [
                "INFO: starting new backup job: vzdump 100 --storage local --mode snapshot",
                "INFO: backup mode: stop",
                "INFO: creating vzdump archive '/var/lib/vz/dump/vzdump-qemu-100-2026_07_14-09_12_03.vma.zst'",
            ];
            let lines = lines.map(|line| json!({ "t": line }));
            exchanges.push(json!({
                "request": format!("GET {task}/log"),
                "form": ["start=0", "limit=500"],
                "answer": { "data": lines, "total": 3 },
            }));
        }
        _ => (),
    }
    let starts = ["qmcreate", "qmstart", "qmrollback"].contains(&step.task);
    if starts
        && matches!(step.course, Ends(_, exit) if exit == "OK" || exit.starts_with("WARNINGS"))
    {
        exchanges.push(json!({
            "request": "GET /nodes/pve1/qemu/100/status/current",
            "answer": { "data": { "status": "running", "qmpstatus": "running" } },
        }));
    }
    exchanges
}

#[test]
fn waits_for_each_step_of_a_day_of_work() {
    let fake = Fake::start();
    let mut session = fake.connect(&[
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_CONFIRM", "never"),
    ]);
    let mut progress = 0;
    for (number, step) in day().iter().enumerate() {
        let exchanges = Value::from(exchanges(step));
        fake.play(serde_json::from_value(exchanges).expect("exchanges as in a fixture"));
        let mut arguments = step.arguments.clone();
        if arguments["wait_timeout"].is_null() {
            arguments["wait"] = true.into();
        }
        session.send(
            &json!({ "jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {
                "name": step.tool,
                "arguments": arguments,
                "_meta": {
                    "progressToken": number,
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {},
                },
            } })
            .to_string(),
        );
        let result = loop {
            let message = session.receive();
            if message["method"] != "notifications/progress" {
                break message["result"].clone();
            }
            assert_eq!(message["params"]["progressToken"], number);
            progress += 1;
        };
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(
            fake.problems(),
            Vec::<String>::new(),
            "{}: {text}",
            step.tool
        );
        for part in step.says {
            assert!(
                text.contains(part),
                "{}: {part:?} is not in:\n{text}",
                step.tool
            );
        }
        assert_eq!(result["isError"] == true, text.starts_with('❌'), "{text}");
    }
    assert!(progress > 0, "no progress was told");
    session.finish();
}
