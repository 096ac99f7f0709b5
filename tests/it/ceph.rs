//! Ceph and disks: what is refused, and what a question says about those who use them.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

const ASKED: (&str, &str) = ("PROXMOX_CONFIRM", "always");
const UNASKED: (&str, &str) = ("PROXMOX_CONFIRM", "never");
const POOL: &str = "proxmox_manage_ceph_pool";
const CONTROL: &str = "proxmox_control_ceph";
const BACKEND: &str = "proxmox_manage_node_storage_backend";

fn start(fake: &Fake, more: &[(&str, &str)]) -> Session {
    let allowed = [
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_TOOLSETS", "ceph,hardware,disk-admin"),
    ];
    fake.connect(&[&allowed[..], more].concat())
}

fn play(fake: &Fake, exchanges: Value) {
    fake.play(serde_json::from_value(exchanges).expect("exchanges"));
}

fn read(path: &str, data: Value) -> Value {
    json!({ "request": format!("GET {path}"), "answer": { "data": data } })
}

/// Returns the text of a call.
fn text(session: &mut Session, tool: &str, arguments: Value) -> String {
    let result = session.call(tool, arguments);
    let text = result["content"][0]["text"].as_str();
    text.expect("a text").to_owned()
}

fn storages() -> Value {
    read(
        "/storage",
        json!([
            { "storage": "vms", "type": "rbd", "pool": "vms" },
            { "storage": "other", "type": "rbd", "pool": "other" },
            { "storage": "far", "type": "rbd", "pool": "vms", "monhost": "203.0.113.1" },
            { "storage": "thin", "type": "lvmthin", "vgname": "pve", "thinpool": "data" },
            { "storage": "away", "type": "lvm", "vgname": "pve", "nodes": "pve2,pve3" },
        ]),
    )
}

fn disks(data: Value) -> Value {
    let mut list = read("/nodes/pve1/disks/list", data);
    list["form"] = json!(["include-partitions=1", "skipsmart=1"]);
    list
}

#[test]
fn a_question_names_the_storages_and_guests_that_use_what_is_destroyed() {
    let fake = Fake::start();
    let mut session = start(&fake, &[ASKED]);
    play(
        &fake,
        json!([
            read("/nodes/pve1/ceph/pool/vms/status", json!({ "name": "vms", "size": 3 })),
            storages(),
            read("/nodes/pve1/storage/vms/content", json!([
                { "volid": "vms:vm-100-disk-0", "vmid": 100 },
                { "volid": "vms:vm-100-disk-1", "vmid": "100" },
                { "volid": "vms:vm-101-disk-0", "vmid": 101 },
                { "volid": "vms:base" },
            ])),
            read("/nodes/pve1/disks/lvm", json!({ "children": [{ "name": "pve" }] })),
            storages(),
            { "request": "GET /nodes/pve1/storage/thin/content", "status": 500, "answer": { "message": "storage is not online\n", "data": null } },
        ]),
    );
    let call = json!({ "node": "pve1", "action": "destroy", "name": "vms" });
    let said = text(&mut session, POOL, call);
    let question = "Destroy Ceph pool vms. All data in it is lost for good, disks of guests included.\n\
                    Storage vms is on it, with volumes of guests 100 (2), 101 (1), 1 other volume.";
    assert!(said.contains(question), "{said}");
    let call = json!({ "node": "pve1", "kind": "lvm", "action": "destroy", "name": "pve", "cleanup_disks": true });
    let said = text(&mut session, BACKEND, call);
    let question = "Destroy volume group pve of node pve1. All data in it is lost for good, disks of guests included.\n\
                    Storage thin is on it; its volumes could not be read: ";
    assert!(said.contains(question), "{said}");
    assert!(said.contains("with: cleanup-disks=1"), "{said}");
    assert!(!said.contains("away"), "{said}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_question_includes_the_verdict_of_ceph() {
    let fake = Fake::start();
    let mut session = start(&fake, &[ASKED]);
    let safety = |form: Value, safe: Value| json!({ "request": "GET /nodes/pve1/ceph/cmd-safety", "form": form, "answer": { "data": safe } });
    play(
        &fake,
        json!([
            safety(
                json!(["action=stop", "id=0", "service=osd"]),
                json!({ "safe": 0, "status": "11 PGs would become offline" })
            ),
            read(
                "/nodes/pve1/ceph/mon",
                json!([{ "name": "pve1", "host": "pve1" }])
            ),
            safety(
                json!(["action=destroy", "id=pve1", "service=mon"]),
                json!({ "safe": true })
            ),
            read(
                "/nodes/pve1/ceph/mgr",
                json!([{ "name": "pve1", "host": "pve1", "state": "active" }])
            ),
            read(
                "/nodes/pve1/ceph/mgr",
                json!([{ "name": "pve1", "host": "pve1", "state": "active" }])
            ),
        ]),
    );
    let daemon = "proxmox_manage_ceph_daemon";
    for (tool, call, line) in [
        (
            CONTROL,
            json!({ "node": "pve1", "action": "stop", "service": "osd.0" }),
            "Ceph says that it is NOT safe to stop osd.0: 11 PGs would become offline",
        ),
        (
            daemon,
            json!({ "node": "pve1", "kind": "mon", "action": "destroy", "id": "pve1" }),
            "Ceph says that it is safe to destroy mon.pve1.",
        ),
        (
            daemon,
            json!({ "node": "pve1", "kind": "mgr", "action": "destroy", "id": "pve1" }),
            "It is the only manager.",
        ),
        (
            CONTROL,
            json!({ "node": "pve1", "action": "restart", "service": "mon" }),
            "Ceph says of one service at a time whether it is safe to stop",
        ),
    ] {
        let said = text(&mut session, tool, call.clone());
        assert!(said.contains(line), "{call}: {said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn asks_about_risky_flags_and_shows_them_before_and_after() {
    let fake = Fake::start();
    let mut session = start(&fake, &[ASKED]);
    let flags = read(
        "/cluster/ceph/flags",
        json!([{ "name": "noscrub", "value": 1 }, { "name": "pause", "value": 0 }]),
    );
    let upid = "UPID:pve1:0012B307:03BB26A5:6A5608A0:cephsetflags::root@pam!mcp:";
    play(
        &fake,
        json!([
            flags,
            flags,
            { "request": "PUT /cluster/ceph/flags", "form": ["noscrub=0", "pause=0"], "answer": { "data": upid } },
        ]),
    );
    let call = json!({ "action": "set_flags", "pause": true, "noscrub": false });
    let said = text(&mut session, CONTROL, call);
    let question = "Set flags of Ceph: noscrub=0 pause=1. \
                    pause: All reads and writes stop: every guest with a disk on Ceph hangs.\n\
                    noscrub: on -> off\npause: off -> on";
    assert!(said.contains(question), "{said}");
    let call = json!({ "action": "set_flags", "pause": false, "noscrub": false });
    let said = text(&mut session, CONTROL, call);
    let done = "✅ Set flags of Ceph: noscrub=0 pause=0: task started";
    assert!(said.starts_with(done), "{said}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn removing_storage_concerns_every_guest() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED, ("PROXMOX_PROTECTED", "100")]);
    play(
        &fake,
        json!([
            read(
                "/nodes/pve1/ceph/pool/vms/status",
                json!({ "name": "vms", "size": 3 })
            ),
            storages(),
            read("/nodes/pve1/storage/vms/content", json!([])),
            disks(json!([{ "devpath": "/dev/sdb", "size": 1 }])),
        ]),
    );
    for (tool, call) in [
        (
            POOL,
            json!({ "node": "pve1", "action": "destroy", "name": "vms" }),
        ),
        (
            "proxmox_initialize_disk",
            json!({ "node": "pve1", "disk": "/dev/sdb" }),
        ),
        (CONTROL, json!({ "node": "pve1", "action": "stop" })),
    ] {
        let said = text(&mut session, tool, call.clone());
        assert!(
            said.contains("this may concern guests that it does not name"),
            "{call}: {said}"
        );
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn refuses_what_a_version_lacks_without_a_request() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED]);
    play(
        &fake,
        json!([read(
            "/version",
            json!({ "release": "8.4", "version": "8.4.14" })
        )]),
    );
    for (tool, call, what) in [
        (
            "proxmox_manage_ceph_fs",
            json!({ "node": "pve1", "action": "destroy", "name": "cephfs" }),
            "action=destroy needs Proxmox VE 9 or later",
        ),
        (
            "proxmox_get_node_capabilities",
            json!({ "node": "pve1", "kind": "cpu_flags" }),
            "kind=cpu_flags needs Proxmox VE 9 or later",
        ),
        (
            "proxmox_get_node_capabilities",
            json!({ "node": "pve1", "kind": "cpu", "arch": "aarch64" }),
            "arch needs Proxmox VE 9 or later",
        ),
    ] {
        let said = text(&mut session, tool, call.clone());
        assert!(said.contains(what), "{call}: {said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

/// Whether a parameter names the disk or a list of disks, and whether a partition or an OSD uses it.
#[test]
fn only_unused_disks_are_written_to() {
    let fake = Fake::start();
    let mut session = start(&fake, &[ASKED]);
    let there = json!([
        { "devpath": "/dev/sda", "used": "partitions", "size": 1 },
        { "devpath": "/dev/sdb", "by_id_link": "/dev/disk/by-id/b", "size": 1_073_741_824, "model": "M", "serial": "S", "osdid": -1 },
        { "devpath": "/dev/sdc", "size": 1, "osdid": "3" },
        { "devpath": "/dev/sdd", "size": 1, "mounted": 1 },
        { "devpath": "/dev/sde", "size": 1 },
        { "devpath": "/dev/sde1", "parent": "/dev/sde", "used": "LVM", "size": 1 },
    ]);
    for (device, expected) in [
        ("/dev/sda", "It is used by: partitions"),
        ("/dev/sdc", "It is used by: osd.3"),
        ("/dev/sdd", "It is used by: a mounted file system"),
        ("/dev/sde", "It is used by: LVM on /dev/sde1"),
        ("/dev/sdz", "Unused are: /dev/sdb"),
        (
            "/dev/disk/by-id/b",
            "Create volume group vgx of node pve1 on /dev/disk/by-id/b. What is on it is lost for good; \
             a disk that a guest has passed through counts as unused here.\n\
             /dev/disk/by-id/b: 1 GiB, M S",
        ),
    ] {
        play(&fake, json!([disks(there.clone())]));
        let call = json!({ "node": "pve1", "kind": "lvm", "action": "create", "name": "vgx", "device": device });
        let said = text(&mut session, BACKEND, call);
        assert!(said.contains(expected), "{device}: {said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

/// Ceph spreads data over its nodes, so naming an allowed node is not enough.
#[test]
fn a_node_boundary_prevents_changes_to_ceph_on_other_nodes() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED, ("PROXMOX_NODES", "pve1")]);
    play(
        &fake,
        json!([
            read(
                "/nodes/pve1/ceph/pool/vms/status",
                json!({ "name": "vms", "size": 3 })
            ),
            read(
                "/nodes/pve1/ceph/osd",
                json!({ "root": { "children": [{ "id": 0, "type": "osd" }] } })
            ),
        ]),
    );
    for (tool, call) in [
        (
            POOL,
            json!({ "node": "pve1", "action": "update", "name": "vms", "size": 2 }),
        ),
        (
            "proxmox_manage_ceph_daemon",
            json!({ "node": "pve1", "kind": "osd", "action": "out", "id": "0" }),
        ),
        (CONTROL, json!({ "node": "pve1", "action": "stop" })),
    ] {
        let said = text(&mut session, tool, call.clone());
        assert!(
            said.contains("this acts on the whole cluster"),
            "{call}: {said}"
        );
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}
