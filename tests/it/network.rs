//! Networks of nodes and of the cluster: how changes to them are judged and confirmed, and what applying them
//! does.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

fn play(fake: &Fake, exchanges: Value) {
    fake.play(serde_json::from_value(exchanges).expect("exchanges"));
}

fn start(fake: &Fake, more: &[(&str, &str)]) -> Session {
    let allowed = [
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_TOOLSETS", "sdn,node-network,system"),
    ];
    fake.connect(&[&allowed[..], more].concat())
}

/// Returns the text of a call.
fn text(session: &mut Session, tool: &str, arguments: Value) -> String {
    let result = session.call(tool, arguments);
    let text = result["content"][0]["text"].as_str();
    text.expect("a text").to_owned()
}

fn get(path: &str, data: Value) -> Value {
    json!({ "request": format!("GET {path}"), "answer": { "data": data } })
}

fn pending(path: &str, data: Value) -> Value {
    json!({ "request": format!("GET {path}"), "form": ["pending=1"], "answer": { "data": data } })
}

const UNASKED: (&str, &str) = ("PROXMOX_CONFIRM", "never");
const ZONE: &str = "proxmox_manage_sdn_zone";
const APPLY: &str = "proxmox_apply_sdn";

/// A zone is on the nodes that it names, or else on all, and so it was before the change.
#[test]
fn a_node_boundary_applies_to_all_nodes_of_a_zone() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED, ("PROXMOX_NODES", "pve1")]);
    let nodes = get("/nodes", json!([{ "node": "pve1" }, { "node": "pve2" }]));
    let zone = |on: Value| {
        let zone = json!({ "zone": "z1", "type": "simple", "digest": "11", "nodes": on });
        get("/cluster/sdn/zones/z1", zone)
    };
    let create = json!({ "action": "create", "zone": "z1", "type": "simple" });
    let create_on = |option: &str, on: &str| {
        let mut call = create.clone();
        call[option] = json!([on]);
        call
    };
    let update = json!({ "action": "update", "zone": "z1", "mtu": 1400 });
    let narrow = json!({ "action": "update", "zone": "z1", "nodes": ["pve1"] });
    let widen = json!({ "action": "update", "zone": "z1", "delete": ["mtu;nodes"] });
    let everywhere = "this acts on the whole cluster";
    let outside = "node pve2 is out of bounds";
    for (call, exchanges, why) in [
        (create.clone(), vec![], everywhere),
        (create_on("nodes", "pve2"), vec![nodes.clone()], outside),
        (create_on("exitnodes", "pve1"), vec![], everywhere),
        (
            update.clone(),
            vec![zone(json!("pve1,pve2")), nodes.clone()],
            outside,
        ),
        (update.clone(), vec![zone(json!(null))], everywhere),
        (
            narrow.clone(),
            vec![zone(json!("pve1,pve2")), nodes.clone()],
            outside,
        ),
        (narrow, vec![zone(json!(null))], everywhere),
        (widen, vec![zone(json!("pve1"))], everywhere),
    ] {
        play(&fake, exchanges.into());
        let said = text(&mut session, ZONE, call.clone());
        assert!(said.contains(why), "{call}: {said}");
    }
    let changed = json!({ "request": "PUT /cluster/sdn/zones/z1", "form": ["mtu=1400", "digest=11"], "answer": { "data": null } });
    play(&fake, json!([zone(json!("pve1")), nodes, changed]));
    let said = text(&mut session, ZONE, update);
    assert!(
        said.starts_with("✅ Update SDN zone z1: pending."),
        "{said}"
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn applying_asks_and_shows_all_pending_changes() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    let looks = [
        pending(
            "/cluster/sdn/vnets",
            json!([
                { "vnet": "v1", "zone": "z1", "type": "vnet" },
                { "vnet": "v2", "zone": "z1", "type": "vnet", "state": "deleted" },
            ]),
        ),
        pending(
            "/cluster/sdn/zones",
            json!([{ "zone": "z1", "type": "simple", "mtu": 1400, "ipam": "pve", "state": "changed", "pending": { "mtu": 1350, "ipam": "deleted" } }]),
        ),
        pending(
            "/cluster/sdn/vnets/v1/subnets",
            json!([{ "subnet": "z1-10.0.0.0-24", "state": "new", "pending": { "gateway": "10.0.0.1" } }]),
        ),
        pending("/cluster/sdn/controllers", json!([])),
    ];
    play(&fake, json!(looks));
    let said = text(&mut session, APPLY, json!({ "action": "apply" }));
    for expected in [
        "Apply the pending SDN changes. The network of all nodes is reloaded",
        "zone z1 changed: ipam: pve -> none; mtu: 1400 -> 1350",
        "vnet v2 deleted",
        "subnet z1-10.0.0.0-24 new",
        "confirm_token=",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

/// Proxmox takes any while the lock is not held, and does not show whether it is.
#[test]
fn says_that_a_lock_token_may_not_have_been_checked() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    let version = json!({ "release": "9.2", "version": "9.2.11" });
    let mut exchanges = vec![get("/version", version)];
    for action in ["apply", "rollback"] {
        let paths = ["vnets", "zones", "controllers"];
        let looks = paths.map(|path| pending(&format!("/cluster/sdn/{path}"), json!([])));
        exchanges.extend(looks);
        play(&fake, json!(exchanges));
        exchanges.clear();
        let call = json!({ "action": action, "lock_token": "t1" });
        let said = text(&mut session, APPLY, call);
        let expected = "Proxmox checks lock_token only while the SDN lock is held";
        assert!(said.contains(expected), "{action}: {said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn sdn_of_version_8_has_no_preview_and_no_rollback() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED]);
    let version = get("/version", json!({ "release": "8.4", "version": "8.4.14" }));
    play(&fake, json!([version]));
    for call in [
        json!({ "action": "rollback" }),
        json!({ "action": "preview", "node": "pve1" }),
        json!({ "action": "apply", "lock_token": "t1" }),
    ] {
        let said = text(&mut session, APPLY, call.clone());
        assert!(
            said.contains("needs Proxmox VE 9 or later"),
            "{call}: {said}"
        );
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

/// No boundary of guests allows a change that can cut off any of them.
#[test]
fn a_boundary_of_guests_forbids_sdn_changes() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED, ("PROXMOX_GUESTS", "100-199")]);
    let create = json!({ "action": "create", "zone": "z1", "type": "simple" });
    let said = text(&mut session, ZONE, create);
    assert!(said.contains("guests that it does not name"), "{said}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

const INTERFACE: &str = "proxmox_manage_node_network";
const POWER: &str = "proxmox_control_node_power";

/// The fake host listens on 127.0.0.1.
#[test]
fn never_deletes_the_interface_of_our_connection_and_asks_before_changing_it() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    let bridge = json!({ "type": "bridge", "method": "static", "cidr": "127.0.0.1/8", "address": "127.0.0.1", "bridge_ports": "bond0" });
    let mut listed = bridge.clone();
    listed["iface"] = "vmbr0".into();
    let bond = json!({ "type": "bond", "method": "manual", "slaves": "eno1 eno2" });
    let mut listed_bond = bond.clone();
    listed_bond["iface"] = "bond0".into();
    let list = get(
        "/nodes/pve1/network",
        json!([listed, listed_bond, { "iface": "vmbr1", "type": "bridge", "cidr": "10.0.0.1/24" }]),
    );
    play(
        &fake,
        json!([get("/nodes/pve1/network/vmbr0", bridge.clone())]),
    );
    let call = json!({ "node": "pve1", "action": "delete", "iface": "vmbr0" });
    let said = text(&mut session, INTERFACE, call);
    assert!(
        said.contains("vmbr0 has the address that this program connects to, nothing was done"),
        "{said}"
    );
    let depends = "This program connects to 127.0.0.1, the address of vmbr0, which depends on it";
    for (iface, is, asks) in [
        ("vmbr0", bridge, true),
        ("bond0", bond, true),
        ("eno2", json!({ "type": "eth", "method": "manual" }), true),
        (
            "vmbr1",
            json!({ "type": "bridge", "method": "static", "cidr": "10.0.0.1/24" }),
            false,
        ),
    ] {
        let mut exchanges = vec![get(&format!("/nodes/pve1/network/{iface}"), is)];
        exchanges.push(list.clone());
        play(&fake, exchanges.into());
        let call = json!({ "node": "pve1", "action": "update", "iface": iface, "mtu": 9000 });
        let said = text(&mut session, INTERFACE, call);
        assert!(said.contains("confirm_token="), "{iface}: {said}");
        assert_eq!(said.contains(depends), asks, "{iface}: {said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_restart_of_a_node_asks_and_names_the_guests_that_go_down() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    let guests = json!({ "request": "GET /cluster/resources", "form": ["type=vm"], "answer": { "data": [
        { "vmid": 100, "name": "web01", "node": "pve1", "status": "running" },
        { "vmid": 101, "name": "db01", "node": "pve2", "status": "running" },
        { "vmid": 102, "name": "old", "node": "pve1", "status": "stopped" },
    ] } });
    for action in ["reboot", "shutdown"] {
        play(&fake, json!([guests]));
        let said = text(
            &mut session,
            POWER,
            json!({ "node": "pve1", "action": action }),
        );
        assert!(said.contains("1 running there: 100 (web01)"), "{said}");
        assert!(said.contains("confirm_token="), "{said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
    let mut session = start(&fake, &[UNASKED, ("PROXMOX_GUESTS", "100-199")]);
    play(&fake, json!([guests]));
    let said = text(
        &mut session,
        POWER,
        json!({ "node": "pve1", "action": "reboot" }),
    );
    assert!(said.contains("guests that it does not name"), "{said}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn never_shows_a_subscription_key() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED]);
    let key = "pve2c-0123456789";
    let read = get(
        "/nodes/pve1/subscription",
        json!({ "status": "active", "key": key }),
    );
    let set = json!({ "request": "PUT /nodes/pve1/subscription", "form": [format!("key={key}")], "answer": { "data": null } });
    let removed =
        json!({ "request": "DELETE /nodes/pve1/subscription", "answer": { "data": null } });
    for (arguments, change) in [
        (json!({ "action": "set", "key": key }), Some(set)),
        (
            json!({ "action": "set", "key": key, "dry_run": true }),
            None,
        ),
        (json!({ "action": "remove" }), Some(removed)),
    ] {
        let mut arguments = arguments;
        arguments["node"] = "pve1".into();
        play(&fake, [read.clone()].into_iter().chain(change).collect());
        let said = session
            .call("proxmox_manage_node_subscription", arguments)
            .to_string();
        assert!(!said.contains("pve2c-0123456789"), "{said}");
    }
    let report = format!("key: {key}\nkeys: pve4p-abcdef0123, pve9x-0123456789\n");
    play(&fake, json!([get("/nodes/pve1/report", json!(report))]));
    let said = text(
        &mut session,
        "proxmox_get_node_system",
        json!({ "node": "pve1", "kind": "report" }),
    );
    assert!(said.contains("keys: (hidden), pve9x-0123456789"), "{said}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn asks_before_writing_a_hosts_file_without_the_node_itself() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    let was = json!({ "data": "127.0.0.1 localhost\n192.0.2.11 pve1.lab pve1\n", "digest": "11" });
    play(&fake, json!([get("/nodes/pve1/hosts", was)]));
    let call = json!({ "node": "pve1", "kind": "hosts", "data": "127.0.0.1 localhost # pve1\n" });
    let said = text(&mut session, "proxmox_set_node_system", call);
    for expected in [
        "- 192.0.2.11 pve1.lab pve1",
        "+ 127.0.0.1 localhost # pve1",
        "No line names pve1 itself",
        "confirm_token=",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}
