//! All guests of a node or the cluster by one request, or several by one each.

use serde_json::{Value, json};

use crate::session::Session;
use crate::several::{Cluster, UNASKED, statuses, text};

const TOOLS: (&str, &str) = ("PROXMOX_TOOLSETS", "system");

fn call(session: &mut Session, arguments: Value) -> Value {
    session.call("proxmox_bulk_guest_action", arguments)
}

#[test]
fn guests_that_are_named_are_started_one_by_one() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[UNASKED, TOOLS]);
    let arguments = json!({ "action": "start", "vms": [102, "mail"], "max_workers": 1 });
    let result = call(&mut session, arguments);
    let expected = [(102, "done"), (103, "done")];
    assert_eq!(statuses(&result), expected, "{}", text(&result));
    let expected = [
        "POST /nodes/pve1/qemu/102/status/start",
        "POST /nodes/pve1/lxc/103/status/start",
    ];
    assert_eq!(cluster.changes(), expected);
    for (arguments, why) in [
        (json!({}), "guests or all is missing"),
        (json!({ "all": false }), "guests is missing, or all=true"),
        (json!({ "node": "pve1" }), "guests or all is missing"),
        (
            json!({ "guests": [102], "all": true }),
            "all does not go with guests",
        ),
        (
            json!({ "guests": [102], "force": true }),
            "force does not go with",
        ),
        (
            json!({ "guests": [102], "node": "pve1" }),
            "node does not go with guests",
        ),
    ] {
        let mut arguments = arguments;
        arguments["action"] = "start".into();
        let result = call(&mut session, arguments);
        assert!(text(&result).contains(why), "{why}: {}", text(&result));
    }
    assert_eq!(cluster.changes(), [""; 0]);
}

/// A start of all guests of a node touches more than those that start, and a migration more than those that move.
#[test]
fn what_touches_guests_that_it_does_not_name_is_refused_within_any_boundary() {
    let cluster = Cluster::start();
    let unnamed = "may concern guests that it does not name";
    for (setting, arguments, why) in [
        (
            ("PROXMOX_PROTECTED", "999"),
            json!({ "action": "start", "node": "pve1" }),
            unnamed,
        ),
        (
            ("PROXMOX_GUESTS", "100-199"),
            json!({ "action": "start", "node": "pve1" }),
            unnamed,
        ),
        (
            ("PROXMOX_GUESTS", "100-199"),
            json!({ "action": "migrate", "node": "pve1", "target": "pve2" }),
            unnamed,
        ),
        (
            ("PROXMOX_GUESTS", "100-199"),
            json!({ "action": "migrate", "target": "pve2" }),
            unnamed,
        ),
        (
            ("PROXMOX_PROTECTED", "102"),
            json!({ "action": "shutdown", "node": "pve1" }),
            "guest 102 is protected",
        ),
        (
            ("PROXMOX_GUESTS", "!tag:prod"),
            json!({ "action": "shutdown" }),
            "guest 100 is out of bounds",
        ),
        (
            ("PROXMOX_NODES", "pve2"),
            json!({ "action": "shutdown", "node": "pve1" }),
            "pve1",
        ),
        (
            ("PROXMOX_NODES", "pve1,pve2"),
            json!({ "action": "shutdown" }),
            "whole cluster",
        ),
    ] {
        let mut session = cluster.serve(&[UNASKED, TOOLS, setting]);
        let mut arguments = arguments;
        arguments["all"] = true.into();
        let result = call(&mut session, arguments.clone());
        let shown = text(&result);
        assert!(
            shown.starts_with("🚫") && shown.contains(why),
            "{arguments}: {shown}"
        );
        assert!(shown.contains("guests does it one by one"), "{shown}");
        assert_eq!(cluster.changes(), [""; 0], "{arguments}");
    }
    // Each guest is named, so it can be judged.
    let mut session = cluster.serve(&[UNASKED, TOOLS, ("PROXMOX_PROTECTED", "101")]);
    let arguments = json!({ "action": "shutdown", "node": "pve1", "all": true, "wait": false });
    let result = call(&mut session, arguments);
    assert!(text(&result).starts_with("✅"), "{}", text(&result));
    assert_eq!(cluster.changes(), ["POST /nodes/pve1/stopall"]);
}

#[test]
fn the_backup_locks_are_spoken_of_before_they_go() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[TOOLS]);
    let mut arguments = json!({ "action": "start", "node": "pve1", "all": true });
    for is_dry_run in [true, false] {
        arguments["dry_run"] = is_dry_run.into();
        let result = call(&mut session, arguments.clone());
        let shown = text(&result);
        for part in [
            "removes the backup lock of every guest of the node",
            "With a backup lock now: 102 db01.",
            "The guests: 100 web01, 102 db01, 103 mail.",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        assert_eq!(shown.contains("confirm_token="), !is_dry_run, "{shown}");
        assert_eq!(cluster.changes(), [""; 0]);
        if let Some((_, token)) = shown.split_once("confirm_token=") {
            let token: String = token.chars().take(16).collect();
            arguments["confirm_token"] = token.into();
        }
    }
    let result = call(&mut session, arguments);
    assert!(
        !result["structuredContent"]["guests"].is_null(),
        "{}",
        text(&result)
    );
    assert_eq!(cluster.changes(), ["POST /nodes/pve1/startall"]);
}

#[test]
fn each_guest_has_a_row_whatever_the_task_says() {
    let cluster = Cluster::start();
    let mut session = cluster.serve(&[UNASKED, TOOLS]);
    let arguments = json!({ "action": "shutdown", "node": "pve1", "all": true });
    let result = call(&mut session, arguments.clone());
    // The task ended OK, and the guests run.
    let expected = [(100, "skipped"), (102, "unchanged"), (103, "skipped")];
    assert_eq!(statuses(&result), expected, "{}", text(&result));
    cluster.seen.lock().expect("no test panics inside").is_slow = true;
    let mut arguments = arguments;
    arguments["wait_timeout"] = 1.into();
    let result = call(&mut session, arguments);
    assert!(
        text(&result).contains("not finished. proxmox_wait_task"),
        "{}",
        text(&result)
    );
    assert_eq!(statuses(&result)[0], (100, "running"));
}
