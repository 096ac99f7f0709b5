//! Tools that send one of several requests: their versions, and how the gate judges them.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

fn play(fake: &Fake, exchanges: Value) {
    fake.play(serde_json::from_value(exchanges).expect("exchanges"));
}

fn start(fake: &Fake, more: &[(&str, &str)]) -> Session {
    let allowed = [
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_TOOLSETS", "ha,firewall"),
    ];
    fake.connect(&[&allowed[..], more].concat())
}

/// Returns the text of a call.
fn text(session: &mut Session, tool: &str, arguments: Value) -> String {
    let result = session.call(tool, arguments);
    let text = result["content"][0]["text"].as_str();
    text.expect("a text").to_owned()
}

const UNASKED: (&str, &str) = ("PROXMOX_CONFIRM", "never");
const HA: &str = "proxmox_manage_ha_resource";
const RULE: &str = "proxmox_manage_firewall_rule";

fn resources() -> Value {
    json!({ "request": "GET /cluster/resources", "answer": { "data": [{ "type": "node", "node": "pve2" }] } })
}

#[test]
fn asks_for_the_version_once_instead_of_trying() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED]);
    let version = |version: &str| json!({ "request": "GET /version", "answer": { "data": { "release": "8.4", "version": version } } });
    play(
        &fake,
        json!([
            version("8.4.14"),
            { "request": "POST /cluster/ha/resources", "form": ["sid=vm:100", "group=g1"], "answer": { "data": null } },
            { "request": "POST /cluster/ha/resources", "form": ["sid=vm:101", "group=g1"], "answer": { "data": null } },
            resources(),
            { "request": "POST /cluster/ha/resources/vm%3A100/migrate", "form": ["node=pve2"], "answer": { "data": null } },
        ]),
    );
    for sid in ["vm:100", "vm:101"] {
        let call = json!({ "action": "add", "sid": sid, "group": "g1" });
        let expected = format!("✅ Add HA resource {sid}: done.");
        assert_eq!(text(&mut session, HA, call), expected);
    }
    let call = json!({ "action": "migrate", "sid": "vm:100", "node": "pve2" });
    let said = text(&mut session, HA, call);
    assert!(
        said.starts_with("✅ Migrate HA resource vm:100 to pve2: requested."),
        "{said}"
    );
    for (call, what) in [
        (
            json!({ "action": "add", "sid": "vm:100", "failback": false }),
            "failback",
        ),
        (
            json!({ "action": "remove", "sid": "vm:100", "purge": false }),
            "purge",
        ),
    ] {
        let said = text(&mut session, HA, call);
        let expected = format!("{what} needs Proxmox VE 9 or later, nothing was done");
        assert!(said.contains(&expected), "{said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());

    let mut session = start(&fake, &[UNASKED]);
    play(&fake, json!([version("7.4-17")]));
    for (tool, call, what) in [
        (
            "proxmox_list_firewall_rules",
            json!({ "scope": "vnet", "vnet": "web" }),
            "scope=vnet",
        ),
        (
            RULE,
            json!({ "scope": "cluster", "action": "add", "type": "forward", "rule_action": "DROP" }),
            "type=forward",
        ),
    ] {
        let said = text(&mut session, tool, call);
        let expected = format!("{what} needs Proxmox VE 8 or later, nothing was done");
        assert!(said.contains(&expected), "{said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn boundaries_apply_to_what_a_row_touches() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED, ("PROXMOX_PROTECTED", "100")]);
    let resource = |vmid: u32| {
        json!({ "request": format!("GET /cluster/ha/resources/vm%3A{vmid}"),
            "answer": { "data": { "sid": format!("vm:{vmid}"), "digest": "ab" } } })
    };
    let rule = json!({ "request": "GET /nodes/pve1/qemu/100/firewall/rules/0", "answer": { "data": { "pos": "0", "digest": "ab" } } });
    let of_cluster = json!({ "request": "GET /cluster/firewall/rules/0", "answer": { "data": { "pos": "0", "digest": "ab" } } });
    play(
        &fake,
        json!([resource(100), resources(), rule, of_cluster, resource(101),
            { "request": "DELETE /cluster/ha/resources/vm%3A101", "answer": { "data": null } }]),
    );
    let protected = "guest 100 is protected";
    let unnamed = "this may concern guests that it does not name";
    for (tool, call, why) in [
        (
            HA,
            json!({ "action": "remove", "sid": "vm:100" }),
            protected,
        ),
        (HA, json!({ "action": "add", "sid": "100" }), protected),
        // A rule may move another guest as well.
        (
            HA,
            json!({ "action": "migrate", "sid": "vm:101", "node": "pve2" }),
            unnamed,
        ),
        (
            RULE,
            json!({ "scope": "vm", "node": "pve1", "vmid": 100, "action": "delete", "pos": 0 }),
            protected,
        ),
        (
            RULE,
            json!({ "scope": "cluster", "action": "move", "pos": 0, "moveto": 3 }),
            unnamed,
        ),
        (
            RULE,
            json!({ "scope": "node", "node": "pve1", "action": "add", "type": "in", "rule_action": "DROP" }),
            unnamed,
        ),
    ] {
        let said = text(&mut session, tool, call.clone());
        assert!(said.contains(why), "{call}: {said}");
    }
    let said = text(
        &mut session,
        HA,
        json!({ "action": "remove", "sid": "vm:101" }),
    );
    assert!(
        said.starts_with("✅ Remove HA resource vm:101: done."),
        "{said}"
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
}

/// A migration names the node that the guest moves to, but not the one that it leaves.
#[test]
fn a_node_boundary_prevents_guests_of_other_nodes_from_moving() {
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED, ("PROXMOX_NODES", "pve2")]);
    for action in ["migrate", "relocate"] {
        play(&fake, json!([resources()]));
        let call = json!({ "action": action, "sid": "vm:100", "node": "pve2" });
        let said = text(&mut session, HA, call);
        assert!(said.contains("this acts on the whole cluster"), "{said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_question_shows_the_change_and_applies_only_to_it() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    let rule = |comment: &str, digest: &str| {
        json!({ "request": "GET /cluster/firewall/rules/0", "answer": { "data":
            { "action": "ACCEPT", "type": "in", "pos": "0", "enable": 1, "comment": comment, "digest": digest } } })
    };
    let deleted = json!({ "request": "DELETE /cluster/firewall/rules/0", "form": ["digest=22"], "answer": { "data": null } });
    play(
        &fake,
        json!([
            rule("ssh", "11"),
            rule("web", "22"),
            rule("web", "22"),
            deleted
        ]),
    );
    let mut call = json!({ "scope": "cluster", "action": "delete", "pos": 0 });
    let said = text(&mut session, RULE, call.clone());
    let expected = "Delete firewall rule 0 of the cluster. It can cut connections off, or let them in.\n\
                    now: action=ACCEPT comment=ssh enable=1 pos=0 type=in";
    assert!(said.contains(expected), "{said}");
    // Meanwhile another rule is at this position: the user is asked about that one.
    call["confirm_token"] = token(&said).into();
    let said = text(&mut session, RULE, call.clone());
    assert!(said.contains("comment=web"), "{said}");
    call["confirm_token"] = token(&said).into();
    let said = text(&mut session, RULE, call);
    assert!(
        said.starts_with("✅ Delete firewall rule 0 of the cluster: done."),
        "{said}"
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
}

fn token(said: &str) -> String {
    let (_, token) = said.split_once("confirm_token=").expect("it has one");
    token
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect()
}

#[test]
fn ha_groups_need_version_8_and_rules_version_9() {
    const RULES: &str = "proxmox_list_ha_rules";
    const MANAGE: &str = "proxmox_manage_ha_rule";
    let group = json!({ "group": "g1", "type": "group", "nodes": "pve1:2,pve2", "restricted": 1, "digest": "4b3a" });
    let fake = Fake::start();
    let mut session = start(&fake, &[UNASKED]);
    play(
        &fake,
        json!([
            { "request": "GET /version", "answer": { "data": { "release": "8.4", "version": "8.4.14" } } },
            { "request": "GET /cluster/ha/groups", "answer": { "data": [group] } },
            { "request": "GET /cluster/ha/groups/g1", "answer": { "data": group } },
            { "request": "POST /cluster/ha/groups", "form": ["group=g2", "nodes=pve1:2,pve2", "restricted=1"], "answer": { "data": null } },
            { "request": "GET /cluster/ha/groups", "answer": { "data": [group] } },
            { "request": "PUT /cluster/ha/groups/g1", "form": ["nodes=pve2", "digest=4b3a"], "answer": { "data": null } },
            { "request": "GET /cluster/ha/groups", "answer": { "data": [group] } },
            { "request": "DELETE /cluster/ha/groups/g1", "answer": { "data": null } },
        ]),
    );
    for (tool, call, said) in [
        (RULES, json!({}), "1 HA group"),
        (RULES, json!({ "id": "g1" }), "nodes: pve1:2,pve2"),
        (
            MANAGE,
            json!({ "action": "create", "id": "g2", "nodes": ["pve1:2", "pve2"], "restricted": true }),
            "✅ Create HA group g2: done.",
        ),
        (
            MANAGE,
            json!({ "action": "update", "id": "g1", "nodes": ["pve2"] }),
            "Changed: nodes: pve1:2,pve2 -> pve2",
        ),
        (
            MANAGE,
            json!({ "action": "delete", "id": "g1" }),
            "✅ Delete HA group g1: done.",
        ),
        (
            MANAGE,
            json!({ "action": "create", "id": "r1", "type": "node-affinity", "resources": ["vm:100"], "nodes": ["pve1"] }),
            "type, resources do not go with action=create kind=group",
        ),
        (
            MANAGE,
            json!({ "action": "delete", "kind": "rule", "id": "r1" }),
            "action=delete kind=rule needs Proxmox VE 9 or later, nothing was done",
        ),
    ] {
        let text = text(&mut session, tool, call);
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn a_question_includes_the_findings_of_the_tool() {
    let fake = Fake::start();
    let always = ("PROXMOX_CONFIRM", "always");
    let mut session = start(&fake, &[always]);
    play(
        &fake,
        json!([
            { "request": "GET /cluster/firewall/groups", "answer": { "data": [{ "group": "web", "digest": "ab" }] } },
            { "request": "GET /cluster/firewall/rules", "answer": { "data": [{ "pos": 3, "type": "group", "action": "web" }] } },
        ]),
    );
    let call = json!({ "kind": "group", "action": "delete", "name": "web" });
    let text = text(&mut session, "proxmox_manage_firewall_object", call);
    let question = "Delete security group web. Rules that still use it no longer match.\n\
                    Rules of the cluster that use it, by pos: 3\nnow: group=web";
    assert!(text.contains(question), "{text}");
}

#[test]
fn asks_before_turning_the_cluster_firewall_on_and_shows_what_lets_this_program_in() {
    const SET: &str = "proxmox_set_firewall_options";
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "always")]);
    play(
        &fake,
        json!([{ "request": "GET /cluster/firewall/options", "answer": { "data": { "enable": 0, "digest": "ab" } } }]),
    );
    let call = json!({ "scope": "cluster", "enable": true });
    let asked = text(&mut session, SET, call.clone());
    let question = "Set firewall options of the cluster. It can cut connections off, or let them in.\n\
                    This program runs on the node itself, which the firewall lets in.\nnow: enable=0";
    assert!(asked.contains(question), "{asked}");
    // It touches any guest.
    let mut session = start(&fake, &[UNASKED, ("PROXMOX_PROTECTED", "100")]);
    play(
        &fake,
        json!([{ "request": "GET /cluster/firewall/options", "answer": { "data": { "enable": 0, "digest": "ab" } } }]),
    );
    let refused = text(&mut session, SET, call);
    assert!(refused.starts_with("🚫 Permission Denied"), "{refused}");
}

#[test]
fn a_job_concerns_the_guests_that_it_names_before_and_after() {
    let fake = Fake::start();
    let more = [
        UNASKED,
        ("PROXMOX_PROTECTED", "101"),
        ("PROXMOX_TOOLSETS", "jobs"),
    ];
    let mut session = fake.connect(&[&[("PROXMOX_ALLOW_ELEVATED", "true")][..], &more].concat());
    let jobs = json!([
        { "id": "own", "vmid": "100", "schedule": "02:00" },
        { "id": "other", "vmid": "100,101", "schedule": "02:00" },
        { "id": "all", "all": 1, "schedule": "02:00" },
    ]);
    let read = json!({ "request": "GET /cluster/backup", "answer": { "data": jobs } });
    for (id, more, is_allowed) in [
        ("own", json!({ "comment": "x" }), true),
        ("own", json!({ "vmid": ["101"] }), false),
        ("own", json!({ "pool": "dev" }), false),
        ("other", json!({ "comment": "x" }), false),
        ("all", json!({ "comment": "x" }), false),
    ] {
        let mut call = json!({ "action": "update", "id": id });
        let mut form = Vec::new();
        for (name, value) in more.as_object().expect("an object") {
            call[name] = value.clone();
            form.push(format!("{name}={}", value.as_str().unwrap_or("101")));
        }
        let change = json!({ "request": format!("PUT /cluster/backup/{id}"), "form": form, "answer": { "data": null } });
        let names_guests = more.get("vmid").is_some();
        let mut all = vec![read.clone()];
        all.extend(names_guests.then(resources));
        all.extend(is_allowed.then_some(change));
        play(&fake, json!(all));
        let said = text(&mut session, "proxmox_manage_backup_job", call);
        assert_eq!(said.starts_with("✅"), is_allowed, "{id}: {said}");
    }
    play(
        &fake,
        json!([{ "request": "GET /cluster/replication/101-0", "answer": { "data": { "id": "101-0", "target": "pve2" } } }]),
    );
    let call = json!({ "action": "delete", "id": "101-0" });
    let said = text(&mut session, "proxmox_manage_replication_job", call);
    assert!(said.starts_with("🚫 Permission Denied"), "{said}");
}

#[test]
fn an_irreversible_change_of_a_job_needs_a_token() {
    let fake = Fake::start();
    let more = [("PROXMOX_TOOLSETS", "jobs")];
    let mut session = fake.connect(&[&[("PROXMOX_ALLOW_ELEVATED", "true")][..], &more].concat());
    let job = json!({ "id": "103-0", "target": "pve2" });
    let read = json!({ "request": "GET /cluster/replication/103-0", "answer": { "data": job } });
    play(&fake, json!([read]));
    let call = json!({ "action": "delete", "id": "103-0" });
    let asked = text(&mut session, "proxmox_manage_replication_job", call);
    assert!(
        asked.contains("the copies of its volumes on pve2 are deleted"),
        "{asked}"
    );
    assert!(asked.contains("confirm_token="), "{asked}");
    play(
        &fake,
        json!([read, { "request": "DELETE /cluster/replication/103-0", "form": ["keep=1"], "answer": { "data": null } }]),
    );
    let call = json!({ "action": "delete", "id": "103-0", "keep": true });
    let said = text(&mut session, "proxmox_manage_replication_job", call);
    assert!(
        said.starts_with("✅ Delete replication job 103-0: done."),
        "{said}"
    );
    play(
        &fake,
        json!([{ "request": "GET /cluster/resources", "answer": { "data": [] } }]),
    );
    let call = json!({ "action": "create", "id": "b", "schedule": "02:00", "vmid": ["100"], "prune_backups": "keep-last=1" });
    let asked = text(&mut session, "proxmox_manage_backup_job", call);
    assert!(
        asked.contains("keep-last=1 does not keep are deleted"),
        "{asked}"
    );
}
