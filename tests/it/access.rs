//! Access control: what would lock this program out, what is asked about, and what stays secret.

use std::{env, fs, process};

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::session::Session;

const SECRET: &str = "0a1b2c3d-1111-4222-8333-444455556666";

/// Starts a server that uses the token mcp@pve!mcp.
fn start(fake: &Fake, more: &[(&str, &str)]) -> Session {
    let allowed = [
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_TOOLSETS", "access"),
        ("PROXMOX_USER", "mcp@pve"),
    ];
    fake.connect(&[&allowed[..], more].concat())
}

fn text(session: &mut Session, tool: &str, arguments: Value) -> String {
    let result = session.call(tool, arguments);
    result["content"][0]["text"]
        .as_str()
        .expect("a text")
        .to_owned()
}

fn play(fake: &Fake, exchanges: &[Value]) {
    fake.play(serde_json::from_value(exchanges.into()).expect("exchanges"));
}

fn read(path: &str, data: Value) -> Value {
    json!({ "request": format!("GET {path}"), "answer": { "data": data } })
}

fn entry(path: &str, kind: &str, ugid: &str, roleid: &str) -> Value {
    json!({ "path": path, "type": kind, "ugid": ugid, "roleid": roleid, "propagate": 1 })
}

/// The token has the role Ops on everything by its own entry, and its user by the group admins.
fn entries() -> Vec<Value> {
    vec![
        entry("/", "token", "mcp@pve!mcp", "Ops"),
        entry("/", "group", "admins", "Ops"),
        entry("/vms/100", "user", "anna@pve", "PVEVMUser"),
    ]
}

fn own_user(privsep: u8) -> Value {
    let data = json!({ "enable": 1, "expire": 0, "groups": ["admins"],
        "tokens": { "mcp": { "privsep": privsep, "expire": 0 } } });
    read("/access/users/mcp%40pve", data)
}

fn roles() -> Value {
    json!([
        { "roleid": "Ops", "privs": "Sys.Audit,VM.Audit,VM.PowerMgmt", "special": 0 },
        { "roleid": "NoAccess", "privs": "", "special": 1 },
        { "roleid": "PVEVMUser", "privs": "VM.Audit", "special": 1 },
    ])
}

/// Returns the reads by which a change is judged, if the token sees the whole access control list.
fn judged(entries: Vec<Value>, privsep: u8) -> Vec<Value> {
    let mut exchanges = vec![read("/access/acl", entries.into()), own_user(privsep)];
    let mut granted = read(
        "/access/permissions",
        json!({ "/access": { "Sys.Audit": 1 } }),
    );
    granted["form"] = json!(["path=/access"]);
    exchanges.extend([granted, read("/access/roles", roles())]);
    exchanges
}

const USER: &str = "proxmox_manage_user";
const TOKEN: &str = "proxmox_manage_token";
const GROUP: &str = "proxmox_manage_group";
const ROLE: &str = "proxmox_manage_role";
const ACL: &str = "proxmox_update_acl";
const REALM: &str = "proxmox_manage_realm";

fn realms() -> Value {
    json!({ "request": "GET /access/domains", "answer": { "data": [{ "realm": "pve" }] } })
}

/// Returns the read that shows whether what an ACL path names exists, if it names something.
fn named_by(path: &Value) -> Vec<Value> {
    let names = path
        .as_str()
        .is_some_and(|path| path.matches('/').count() > 1);
    let there = json!([{ "vmid": 100, "pool": "dev" }, { "storage": "local" }]);
    Vec::from_iter(names.then(|| read("/cluster/resources", there)))
}

/// Returns the text of a call, given the first read and those by which it is judged.
fn said(privsep: u8, tool: &str, arguments: Value, first: &[Value]) -> String {
    let fake = Fake::start();
    let mut session = start(&fake, &[]);
    let named = named_by(&arguments["path"]);
    play(
        &fake,
        &[first, &judged(entries(), privsep), &named].concat(),
    );
    let said = text(&mut session, tool, arguments.clone());
    assert_eq!(fake.problems(), Vec::<String>::new(), "{arguments}");
    said
}

#[test]
fn refuses_to_remove_the_last_privileges_of_this_program() {
    let list = || read("/access/roles", roles());
    let admins = || read("/access/groups/admins", json!({ "members": ["mcp@pve"] }));
    let token = "mcp@pve!mcp";
    for (tool, arguments, first) in [
        (
            ACL,
            json!({ "path": "/", "roles": ["Ops"], "tokens": [token], "revoke": true }),
            vec![],
        ),
        (
            ACL,
            json!({ "path": "/", "roles": ["Ops"], "groups": ["admins"], "revoke": true }),
            vec![],
        ),
        // Roles on a path replace those from above, and a user's roles replace those of their groups.
        (
            ACL,
            json!({ "path": "/vms", "roles": ["NoAccess"], "tokens": [token] }),
            vec![],
        ),
        (
            ACL,
            json!({ "path": "/", "roles": ["NoAccess"], "users": ["mcp@pve"] }),
            vec![],
        ),
        // Nothing would be left below the path.
        (
            ACL,
            json!({ "path": "/", "roles": ["Ops"], "tokens": [token], "propagate": false }),
            vec![],
        ),
        (
            ROLE,
            json!({ "action": "delete", "roleid": "Ops" }),
            vec![list()],
        ),
        (
            GROUP,
            json!({ "action": "delete", "groupid": "admins" }),
            vec![admins()],
        ),
        (
            USER,
            json!({ "action": "update", "userid": "mcp@pve", "groups": "" }),
            vec![own_user(1)],
        ),
        (
            USER,
            json!({ "action": "update", "userid": "mcp@pve", "groups": "ops" }),
            vec![own_user(1)],
        ),
    ] {
        let said = said(1, tool, arguments.clone(), &first);
        let refused = said.contains("mcp@pve!mcp would have no rights")
            && said.contains("nothing was done")
            && said.contains("would lock itself out");
        assert!(refused, "{arguments}: {said}");
    }
}

#[test]
fn asks_before_a_change_that_removes_some_of_its_privileges() {
    let list = || read("/access/roles", roles());
    let loses = "mcp@pve!mcp, as whom this program works, loses VM.PowerMgmt on /";
    for (tool, arguments, first, asked) in [
        (
            ROLE,
            json!({ "action": "update", "roleid": "Ops", "privs": ["Sys.Audit", "VM.Audit"], "append": false }),
            vec![list()],
            vec![
                "Whoever has it loses VM.PowerMgmt.",
                loses,
                "Who has it: Ops on / for group admins",
            ],
        ),
        (
            ROLE,
            json!({ "action": "update", "roleid": "Ops", "privs": ["VM.Snapshot"] }),
            vec![list()],
            vec!["Whoever has it gets VM.Snapshot."],
        ),
        (
            ACL,
            json!({ "path": "/vms/100", "roles": ["PVEVMUser"], "tokens": ["mcp@pve!mcp"] }),
            vec![],
            vec![
                "Grant PVEVMUser on /vms/100 to tokens mcp@pve!mcp. They get these rights there and on all below it.",
                "token mcp@pve!mcp on /vms/100: none -> PVEVMUser",
                "It no longer inherits there: Ops from /",
                "mcp@pve!mcp, as whom this program works, loses Sys.Audit, VM.PowerMgmt on /vms/100",
            ],
        ),
        (
            USER,
            json!({ "action": "create", "userid": "eva@pve", "groups": "admins" }),
            vec![realms()],
            vec![
                "It gets all rights of admins.",
                "These groups have: Ops on / for group admins",
            ],
        ),
    ] {
        let said = said(1, tool, arguments.clone(), &first);
        for part in asked {
            assert!(said.contains(part), "{arguments}: {part}: {said}");
        }
        assert!(said.contains("confirm_token="), "{arguments}: {said}");
        assert!(!said.contains("cannot be told"), "{arguments}: {said}");
    }
}

#[test]
fn says_so_if_it_sees_too_little_of_the_list_to_judge_a_change() {
    let fake = Fake::start();
    let mut session = start(&fake, &[]);
    let mut granted = read("/access/permissions", json!({}));
    granted["form"] = json!(["path=/access"]);
    let seen = vec![entry("/vms/100", "token", "mcp@pve!mcp", "Ops")];
    play(
        &fake,
        &[
            read("/access/acl", seen.into()),
            own_user(1),
            granted,
            read("/access/roles", roles()),
        ],
    );
    let call =
        json!({ "path": "/vms/100", "roles": ["Ops"], "tokens": ["mcp@pve!mcp"], "revoke": true });
    let said = text(&mut session, ACL, call);
    assert!(
        said.contains("cannot be told: the access control list is seen whole"),
        "{said}"
    );
    assert!(said.contains("confirm_token="), "{said}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn refuses_to_change_the_user_and_token_of_this_program() {
    let file = env::temp_dir().join(format!("proxmox-mcp-access-{}", process::id()));
    fs::write(&file, "a password").expect("the file can be written");
    let root = || {
        read(
            "/access/users/root%40pam",
            json!({ "enable": 1, "expire": 0 }),
        )
    };
    let own_token = || {
        read(
            "/access/users/mcp%40pve/token/mcp",
            json!({ "privsep": 0, "expire": 0 }),
        )
    };
    let ops = || {
        read(
            "/access/users/ops%40ldap1",
            json!({ "enable": 1, "expire": 0 }),
        )
    };
    let realm = |name: &str| {
        read(
            &format!("/access/domains/{name}"),
            json!({ "type": "ldap", "digest": "ab" }),
        )
    };
    let version = || read("/version", json!({ "version": "9.2.11", "release": "9.2" }));
    for (tool, arguments, first) in [
        (
            USER,
            json!({ "action": "delete", "userid": "mcp@pve" }),
            vec![own_user(0)],
        ),
        (
            USER,
            json!({ "action": "update", "userid": "mcp@pve", "enable": false }),
            vec![own_user(0)],
        ),
        (
            USER,
            json!({ "action": "update", "userid": "mcp@pve", "expire": 1 }),
            vec![own_user(0)],
        ),
        (
            USER,
            json!({ "action": "delete", "userid": "root@pam" }),
            vec![root()],
        ),
        (
            USER,
            json!({ "action": "update", "userid": "root@pam", "enable": false }),
            vec![root()],
        ),
        (
            USER,
            json!({ "action": "delete", "userid": "ops@ldap1" }),
            vec![ops()],
        ),
        (
            TOKEN,
            json!({ "action": "delete", "userid": "mcp@pve", "tokenid": "mcp" }),
            vec![own_token()],
        ),
        (
            TOKEN,
            json!({ "action": "regenerate", "userid": "mcp@pve", "tokenid": "mcp" }),
            vec![version(), own_token()],
        ),
        (
            TOKEN,
            json!({ "action": "update", "userid": "mcp@pve", "tokenid": "mcp", "privsep": true }),
            vec![own_token()],
        ),
        (
            TOKEN,
            json!({ "action": "update", "userid": "mcp@pve", "tokenid": "mcp", "expire": 1 }),
            vec![own_token()],
        ),
        (
            REALM,
            json!({ "action": "delete", "realm": "pve" }),
            vec![realm("pve")],
        ),
        (
            REALM,
            json!({ "action": "delete", "realm": "ldap1" }),
            vec![realm("ldap1")],
        ),
    ] {
        // A dry run applies the same checks.
        for dry_run in ["false", "true"] {
            let fake = Fake::start();
            let mut session = start(
                &fake,
                &[
                    ("PROXMOX_LOGIN_USER", "ops@ldap1"),
                    ("PROXMOX_PASSWORD_FILE", file.to_str().expect("a path")),
                    ("PROXMOX_CONFIRM", "never"),
                    ("PROXMOX_DRY_RUN", dry_run),
                ],
            );
            play(&fake, &first);
            let said = text(&mut session, tool, arguments.clone());
            assert!(said.contains("nothing was done"), "{arguments}: {said}");
            assert!(
                said.contains("If it is meant, do it in the web interface."),
                "{said}"
            );
            assert_eq!(fake.problems(), Vec::<String>::new(), "{arguments}");
        }
    }
    fs::remove_file(&file).expect("the file can be removed");
}

#[test]
fn allows_a_later_expiry_and_deleting_another_token_of_the_user() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_CONFIRM", "never")]);
    let ends = json!({ "enable": 1, "expire": 1_900_000_000, "groups": [] });
    let done = |request: &str, form: &[&str]| json!({ "request": request, "form": form, "answer": { "data": null } });
    let path = "/access/users/mcp%40pve";
    let mut exchanges = vec![
        read(path, ends.clone()),
        done(&format!("PUT {path}"), &["expire=2000000000"]),
    ];
    exchanges.extend([
        read(path, ends),
        done(&format!("PUT {path}"), &["expire=0"]),
    ]);
    exchanges.push(read(
        &format!("{path}/token/old"),
        json!({ "privsep": 1, "expire": 0 }),
    ));
    exchanges.extend(judged(entries(), 1));
    exchanges.push(done(&format!("DELETE {path}/token/old"), &[]));
    play(&fake, &exchanges);
    for expire in [2_000_000_000_u64, 0] {
        let call = json!({ "action": "update", "userid": "mcp@pve", "expire": expire });
        let said = text(&mut session, USER, call);
        assert!(
            said.contains(&format!("expire: 1900000000 -> {expire}")),
            "{said}"
        );
    }
    let call = json!({ "action": "delete", "userid": "mcp@pve", "tokenid": "old" });
    let said = text(&mut session, TOKEN, call);
    assert!(said.contains("No ACL entry goes with it."), "{said}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn privileges_on_guests_can_only_be_changed_within_the_boundaries() {
    let fake = Fake::start();
    let mut session = start(
        &fake,
        &[("PROXMOX_CONFIRM", "never"), ("PROXMOX_PROTECTED", "100")],
    );
    for (path, why) in [
        ("/vms/100", "guest 100 is protected"),
        ("/vms", "this may concern guests that it does not name"),
        ("/", "this may concern guests that it does not name"),
        ("/pool/dev", "this may concern guests that it does not name"),
    ] {
        let call = json!({ "path": path, "roles": ["PVEVMUser"], "users": ["anna@pve"] });
        play(
            &fake,
            &[judged(entries(), 1), named_by(&call["path"])].concat(),
        );
        let said = text(&mut session, ACL, call);
        assert!(said.contains(why), "{path}: {said}");
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
    let form = json!(["path=/storage/local", "roles=PVEVMUser", "users=anna@pve"]);
    let sent = json!({ "request": "PUT /access/acl", "form": form, "answer": { "data": null } });
    let call = json!({ "path": "/storage/local", "roles": ["PVEVMUser"], "users": ["anna@pve"] });
    let named = named_by(&call["path"]);
    play(&fake, &[judged(entries(), 1), named, vec![sent]].concat());
    let said = text(&mut session, ACL, call);
    assert!(
        said.starts_with("✅ Grant PVEVMUser on /storage/local to users anna@pve: done."),
        "{said}"
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_secret_appears_only_in_the_answer() {
    let log = env::temp_dir().join(format!("proxmox-mcp-access-{}.log", process::id()));
    let fake = Fake::start();
    let mut session = start(
        &fake,
        &[
            ("PROXMOX_AUDIT_LOG", log.to_str().expect("a path")),
            ("PROXMOX_CONFIRM", "never"),
        ],
    );
    let created =
        json!({ "full-tokenid": "anna@pve!t1", "info": { "privsep": 1 }, "value": SECRET });
    let form = ["userid=eva@pve", "password=another-secret"];
    play(
        &fake,
        &[
            json!({ "request": "POST /access/users/anna%40pve/token/t1", "answer": { "data": created } }),
            realms(),
            json!({ "request": "POST /access/users", "form": form, "answer": { "data": null } }),
            realms(),
        ],
    );
    let call = json!({ "action": "create", "userid": "anna@pve", "tokenid": "t1" });
    let said = text(&mut session, TOKEN, call);
    assert!(
        said.contains(&format!("secret, shown only this once: {SECRET}")),
        "{said}"
    );
    let call = json!({ "action": "create", "userid": "eva@pve", "password": "another-secret" });
    let said = text(&mut session, USER, call.clone());
    assert!(!said.contains("another-secret"), "{said}");
    let mut dry = call;
    dry["dry_run"] = true.into();
    let said = text(&mut session, USER, dry);
    assert!(said.contains("| password: (hidden)"), "{said}");
    let written = fs::read_to_string(&log).expect("the log can be read");
    fs::remove_file(&log).expect("the log can be removed");
    assert!(
        written.contains("POST /access/users/anna%40pve/token/t1"),
        "{written}"
    );
    assert!(
        !written.contains(SECRET) && !written.contains("another-secret"),
        "{written}"
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_synchronisation_says_what_it_may_remove() {
    let fake = Fake::start();
    let mut session = start(&fake, &[("PROXMOX_USER", "mcp@ldap1")]);
    let call = |more: Value| {
        let mut call = json!({ "action": "sync", "realm": "ldap1" });
        for (name, value) in more.as_object().expect("an object") {
            call[name] = value.clone();
        }
        call
    };
    let said = text(
        &mut session,
        REALM,
        call(json!({ "remove_vanished": "acl,entry" })),
    );
    for part in [
        "remove-vanished=acl;entry",
        "What the directory no longer has is removed",
        "mcp@ldap1, as whom this program works, is of this realm",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = text(&mut session, REALM, call(json!({})));
    assert!(
        said.contains("removed as the realm's defaults say"),
        "{said}"
    );
    let said = text(
        &mut session,
        REALM,
        call(json!({ "remove_vanished": "all" })),
    );
    assert!(
        said.contains("none, or some of acl, entry, properties"),
        "{said}"
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
}
