//! Migration and the guest agent: boundaries, questions, and hosts of older versions.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

fn start(fake: &Fake, more: &[(&str, &str)]) -> Session {
    let allowed = [
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_TOOLSETS", "migration"),
    ];
    fake.connect(&[&allowed[..], more].concat())
}

/// Plays these exchanges, and returns the text of a call of a tool.
#[track_caller]
fn said(
    (fake, session): (&Fake, &mut Session),
    tool: &str,
    arguments: Value,
    exchanges: Value,
) -> String {
    fake.play(serde_json::from_value(exchanges).expect("exchanges"));
    let result = session.call(tool, arguments);
    assert_eq!(fake.problems(), Vec::<String>::new());
    let text = result["content"][0]["text"].as_str();
    text.expect("a text").to_owned()
}

const MIGRATE_VM: &str = "proxmox_migrate_vm";
const MIGRATE_LXC: &str = "proxmox_migrate_lxc";

fn nodes() -> Value {
    json!({ "request": "GET /nodes", "answer": { "data": [
        { "node": "pve1", "status": "online" }, { "node": "pve2", "status": "online" },
    ] } })
}

fn version(version: &str) -> Value {
    json!({ "request": "GET /version", "answer": { "data": { "version": version } } })
}

fn preconditions(kind: &str, vmid: u32, found: &Value) -> Value {
    json!({
        "request": format!("GET /nodes/pve1/{kind}/{vmid}/migrate"),
        "form": ["target=pve2"],
        "answer": { "data": found },
    })
}

fn moves(kind: &str, vmid: u32, form: Value) -> Value {
    let task = if kind == "qemu" {
        "qmigrate"
    } else {
        "vzmigrate"
    };
    json!({
        "request": format!("POST /nodes/pve1/{kind}/{vmid}/migrate"),
        "form": form,
        "answer": { "data": format!("UPID:pve1:00000136:00090CA2:6B0B005A:{task}:{vmid}:root@pam!mcp:") },
    })
}

#[test]
fn the_boundaries_apply_to_guests_that_ha_rules_move_along() {
    let unasked = ("PROXMOX_CONFIRM", "never");
    let found =
        json!({ "allowed_nodes": ["pve2"], "running": 0, "dependent-ha-resources": ["ct:102"] });
    let call = json!({ "node": "pve1", "vmid": 100, "target": "pve2" });
    for (boundary, why, reads) in [
        (("PROXMOX_PROTECTED", "102"), "guest 102 is protected", 2),
        (("PROXMOX_GUESTS", "100,101"), "guest 102", 2),
        // A node may have two names.
        (("PROXMOX_NODES", "pve1"), "pve2", 3),
    ] {
        let fake = Fake::start();
        let mut session = start(&fake, &[unasked, boundary]);
        let exchanges = [nodes(), preconditions("qemu", 100, &found), nodes()];
        let exchanges = json!(exchanges[..reads]);
        let text = said((&fake, &mut session), MIGRATE_VM, call.clone(), exchanges);
        assert!(text.starts_with("🚫") && text.contains(why), "{text}");
    }
    let fake = Fake::start();
    let mut session = start(&fake, &[unasked, ("PROXMOX_GUESTS", "100-102")]);
    let exchanges = json!([
        nodes(),
        preconditions("qemu", 100, &found),
        moves("qemu", 100, json!(["target=pve2"])),
    ]);
    let text = said((&fake, &mut session), MIGRATE_VM, call, exchanges);
    assert!(text.starts_with("✅ Migrate VM 100 to pve2"), "{text}");
}

#[test]
fn asks_about_what_moves_unless_it_is_known_to_be_stopped() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    let call = json!({ "node": "pve1", "vmid": 101, "target": "pve2", "restart": true });
    let found = |running: u8| json!({ "allowed-nodes": ["pve2"], "running": running });
    let exchanges = json!([
        nodes(),
        version("9.2.11"),
        preconditions("lxc", 101, &found(1))
    ]);
    let text = said((&fake, &mut session), MIGRATE_LXC, call.clone(), exchanges);
    assert!(
        text.contains("Shut container 101 down, and start it on pve2.")
            && text.contains("confirm_token"),
        "{text}"
    );
    let sent = moves("lxc", 101, json!(["target=pve2", "restart=1"]));
    let exchanges = json!([nodes(), preconditions("lxc", 101, &found(0)), sent]);
    let text = said((&fake, &mut session), MIGRATE_LXC, call, exchanges);
    assert!(text.starts_with("✅ Migrate container 101"), "{text}");
    let call = json!({ "node": "pve1", "vmid": 100, "target": "pve2", "online": true });
    let found = json!({ "allowed_nodes": ["pve2"], "running": 1 });
    // What runs all the while is asked about where everything is.
    let exchanges = json!([nodes(), preconditions("qemu", 100, &found)]);
    let text = said((&fake, &mut session), MIGRATE_VM, call, exchanges);
    assert!(
        text.contains("Moves a VM to another node") && text.contains("confirm_token"),
        "{text}"
    );
}

#[test]
fn asks_before_freezing_or_overwriting_and_says_what() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    // The question reads facts about the VM, which are unknown here.
    let unknown = |path: &str, form: Value| json!({ "request": format!("GET {path}"), "form": form, "status": 500, "answer": { "data": null, "message": "no\n" } });
    let guest = "/nodes/pve1/qemu/100";
    let facts = || {
        [
            unknown(&format!("{guest}/status/current"), json!([])),
            unknown(&format!("{guest}/config"), json!([])),
            unknown(&format!("{guest}/snapshot"), json!([])),
            unknown("/cluster/resources", json!(["type=storage"])),
            unknown("/nodes/pve1/replication", json!(["guest=100"])),
        ]
    };
    for (action, asks) in [
        ("fsfreeze_freeze", "What writes to them waits"),
        ("shutdown", "Its services end."),
        ("suspend_ram", "It answers to nobody"),
    ] {
        let call = json!({ "node": "pve1", "vmid": 100, "action": action });
        let text = said(
            (&fake, &mut session),
            "proxmox_control_agent",
            call,
            json!(facts()),
        );
        assert!(
            text.contains(asks) && text.contains("confirm_token"),
            "{text}"
        );
    }
    let call = json!({ "node": "pve1", "vmid": 100, "action": "fsfreeze_thaw" });
    let thaw = json!([{ "request": format!("POST {guest}/agent/fsfreeze-thaw"), "answer": { "data": { "result": 2 } } }]);
    let text = said((&fake, &mut session), "proxmox_control_agent", call, thaw);
    assert!(text.contains("thawed: 2 file systems"), "{text}");

    let call = json!({ "node": "pve1", "vmid": 100, "file": "/etc/motd", "content": "grün" });
    let read = json!({
        "request": format!("GET {guest}/agent/file-read"),
        "form": ["file=/etc/motd", "count=300", "decode=0"],
        "answer": { "data": { "content": "b2xk", "bytes-read": 3 } },
    });
    let text = said(
        (&fake, &mut session),
        "proxmox_write_agent_file",
        call,
        json!([version("9.2.11"), read]),
    );
    assert!(
        text.contains("Write “grün” to the file /etc/motd in VM 100; what it held before is lost.\nnow: begins=old"),
        "{text}"
    );
}

#[test]
fn text_beyond_ascii_reaches_the_guest_as_utf_8() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "never")]);
    let octets = |text: &str| text.bytes().map(char::from).collect::<String>();
    let call = json!({ "node": "pve1", "vmid": 100, "username": "jürgen", "password": "zwölf€" });
    let sent = json!([{
        "request": "POST /nodes/pve1/qemu/100/agent/set-user-password",
        "form": [format!("username={}", octets("jürgen")), format!("password={}", octets("zwölf€"))],
        "answer": { "data": { "result": {} } },
    }]);
    let text = said(
        (&fake, &mut session),
        "proxmox_set_agent_password",
        call,
        sent,
    );
    assert!(
        text.contains("Set the password of jürgen in VM 100: done."),
        "{text}"
    );
    let call = json!({ "node": "pve1", "vmid": 100, "file": "/tmp/größe" });
    let sent = json!([version("9.2.11"), {
        "request": "GET /nodes/pve1/qemu/100/agent/file-read",
        "form": [format!("file={}", octets("/tmp/größe")), "count=16384", "decode=0"],
        "answer": { "data": { "content": "MTAg4oKs", "bytes-read": 6 } },
    }]);
    let text = said((&fake, &mut session), "proxmox_read_agent_file", call, sent);
    assert!(text.contains("| 10 €"), "{text}");
}

#[test]
fn sends_older_hosts_only_what_they_know() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "never")]);
    // The whole file arrives, with each byte as a character.
    let whole: String = "eins, zwei, drei €".bytes().map(char::from).collect();
    let read = json!({
        "request": "GET /nodes/pve1/qemu/100/agent/file-read",
        "form": ["file=/tmp/a"],
        "answer": { "data": { "content": whole, "bytes-read": whole.chars().count() } },
    });
    let call = json!({ "node": "pve1", "vmid": 100, "file": "/tmp/a", "offset": 6, "count": 13 });
    let text = said(
        (&fake, &mut session),
        "proxmox_read_agent_file",
        call,
        json!([version("7.4-17"), read]),
    );
    assert!(
        text.contains("11 bytes from offset 6 on, offset=17 shows more\n| zwei, drei "),
        "{text}"
    );
    // Nothing says what prevents a container from migrating.
    let call = json!({ "node": "pve1", "vmid": 101, "target": "pve2", "restart": true });
    let sent = moves("lxc", 101, json!(["target=pve2", "restart=1"]));
    let text = said(
        (&fake, &mut session),
        MIGRATE_LXC,
        call,
        json!([nodes(), sent]),
    );
    assert!(text.starts_with("✅ Migrate container 101"), "{text}");
    for (tool, versions) in [
        ("proxmox_check_migration", "9"),
        ("proxmox_get_guest_interfaces", "8"),
    ] {
        let call = json!({ "node": "pve1", "vmid": 101, "type": "lxc" });
        let text = said((&fake, &mut session), tool, call, json!([]));
        let expected = format!("needs Proxmox VE {versions} or later, nothing was done");
        assert!(text.contains(&expected), "{text}");
    }
    let call = json!({ "target": "node", "node": "pve1", "timeframe": "decade" });
    let text = said(
        (&fake, &mut session),
        "proxmox_get_metrics",
        call,
        json!([]),
    );
    assert!(
        text.contains("timeframe=decade needs Proxmox VE 9"),
        "{text}"
    );
}
