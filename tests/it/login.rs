//! What no API token can do: who has to log in, what is refused before anything is sent, and what is asked
//! about.

use std::{env, fs, process};

use serde_json::{Value, json};

use crate::fake::{CSRF_TOKEN, Fake, PASSWORD, TICKET, TOKEN, login};
use crate::session::Session;

const UNASKED: &[(&str, &str)] = &[
    ("PROXMOX_TOOLSETS", "all"),
    ("PROXMOX_ALLOW_ELEVATED", "true"),
    ("PROXMOX_CONFIRM", "never"),
];

const NEW_PASSWORD: &str = "staple battery horse";

/// Returns a call of each tool that needs a login, and whether only root@pam can do it.
fn calls() -> [(&'static str, Value, bool); 7] {
    let entry = json!({ "userid": "ops@pve", "action": "add", "type": "recovery" });
    let create = json!({ "node": "pve1", "action": "create", "dev": "/dev/sdb" });
    let destroy = json!({ "node": "pve1", "action": "destroy", "osdid": 3 });
    let register = json!({ "action": "register", "contact": "ops@example.com" });
    let deactivate = json!({ "action": "deactivate" });
    [
        (
            "proxmox_wipe_disk",
            json!({ "node": "pve1", "disk": "/dev/sdb" }),
            true,
        ),
        ("proxmox_manage_ceph_osd", create, true),
        ("proxmox_manage_ceph_osd", destroy, true),
        ("proxmox_manage_acme_account", register, true),
        ("proxmox_manage_acme_account", deactivate, true),
        ("proxmox_set_user_password", password_of("ops@pve"), false),
        ("proxmox_manage_tfa", entry, false),
    ]
}

fn password_of(user: &str) -> Value {
    json!({ "userid": user, "password": NEW_PASSWORD })
}

/// Starts a server that logs this user in, if there is one.
fn session(fake: &Fake, user: Option<&'static str>, more: &[(&str, &str)]) -> Session {
    let login: Vec<_> = user.into_iter().flat_map(login).collect();
    let login = login.iter().map(|(name, value)| (*name, &**value));
    let variables: Vec<(&str, &str)> = more.iter().copied().chain(login).collect();
    fake.connect(&variables)
}

#[track_caller]
fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().expect("a text")
}

#[test]
fn without_a_login_says_what_is_needed_and_sends_nothing() {
    let fake = Fake::start();
    let mut session = session(&fake, None, UNASKED);
    for dry_run in [false, true] {
        for (tool, mut arguments, is_for_root) in calls() {
            arguments["dry_run"] = dry_run.into();
            let result = session.call(tool, arguments);
            assert_eq!(result["isError"], true, "{tool}: {result}");
            let text = text(&result);
            assert!(text.contains("no API token can do this, nothing was sent"));
            assert!(text.contains("PROXMOX_PASSWORD_FILE"), "{tool}: {text}");
            let who = match is_for_root {
                true => "PROXMOX_LOGIN_USER=root@pam",
                false => "User.Modify",
            };
            assert!(text.contains(who), "{tool}: {text}");
        }
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn refuses_another_login_what_only_root_can_do_before_anything_is_sent() {
    let fake = Fake::start();
    let mut session = session(&fake, Some("ops@pve"), UNASKED);
    for (tool, arguments, is_for_root) in calls() {
        if is_for_root {
            let result = session.call(tool, arguments);
            let text = text(&result);
            assert!(text.contains("only root@pam can do this, nothing was sent"));
            assert!(text.contains("The login is that of ops@pve"), "{text}");
        }
    }
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn refuses_to_change_the_credentials_of_root_and_of_the_login_itself() {
    let factor = |user: &str| json!({ "userid": user, "action": "add", "type": "recovery" });
    for login in ["root@pam", "ops@pve"] {
        let fake = Fake::start();
        let mut session = session(&fake, Some(login), UNASKED);
        for user in ["root@pam", login] {
            for (tool, arguments) in [
                ("proxmox_set_user_password", password_of(user)),
                ("proxmox_manage_tfa", factor(user)),
            ] {
                let result = session.call(tool, arguments);
                let text = text(&result);
                assert!(text.contains("nothing was changed"), "{text}");
                assert!(text.contains("lock everybody out"), "{text}");
                assert!(text.contains(user), "{text}");
            }
        }
        assert_eq!(fake.problems(), Vec::<String>::new());
    }
}

#[test]
fn a_user_other_than_root_confirms_with_the_password() {
    let new = format!("password={NEW_PASSWORD}");
    let own = format!("confirmation-password={PASSWORD}");
    let fake = Fake::playing(json!([
        { "request": "GET /version", "answer": { "data": { "version": "9.2.11" } } },
        {
            "request": "PUT /access/password", "form": ["userid=mcp@pve", new, own],
            "answer": { "data": null },
        },
    ]));
    let mut session = session(&fake, Some("ops@pve"), UNASKED);
    let set = session.call("proxmox_set_user_password", password_of("mcp@pve"));
    assert_ne!(set["isError"], true, "{set}");
    fake.play(
        serde_json::from_value(json!([
            {
                "request": "GET /access/tfa/mcp%40pve/totp%3A1",
                "answer": { "data": { "id": "totp:1", "type": "totp" } },
            },
            {
                "request": "DELETE /access/tfa/mcp%40pve/totp%3A1",
                "form": [format!("password={PASSWORD}")], "answer": { "data": null },
            },
        ]))
        .expect("exchanges as in a fixture"),
    );
    let delete = json!({ "userid": "mcp@pve", "action": "delete", "id": "totp:1" });
    let deleted = session.call("proxmox_manage_tfa", delete);
    assert_ne!(deleted["isError"], true, "{deleted}");
    assert_eq!(fake.problems(), Vec::<String>::new());
}

#[test]
fn a_question_shows_what_is_known_about_what_would_be_lost() {
    let disk = json!({
        "devpath": "/dev/sdb", "model": "ST4000VN008", "serial": "ZDH1EFGH", "used": "LVM",
        "size": 4_000_787_030_016_u64,
    });
    let account = json!({ "directory": "https://acme.example.com/directory" });
    let tree = json!({ "root": { "children": [
        { "type": "osd", "id": 3, "status": "down", "in": 0 }
    ] } });
    let fake = Fake::answering(move |request| match request {
        "GET /nodes/pve1/disks/list" => json!([disk]),
        "GET /nodes/pve1/ceph/osd" => tree.clone(),
        "GET /cluster/acme/account/default" => account.clone(),
        "POST /access/ticket" => json!({ "ticket": TICKET, "CSRFPreventionToken": CSRF_TOKEN }),
        other => panic!("{other} was sent"),
    });
    let mut session = session(
        &fake,
        Some("root@pam"),
        &[
            ("PROXMOX_TOOLSETS", "all"),
            ("PROXMOX_ALLOW_ELEVATED", "true"),
            ("PROXMOX_CONFIRM", "always"),
        ],
    );
    for (tool, arguments, expected) in [
        (
            "proxmox_wipe_disk",
            json!({ "node": "pve1", "disk": "/dev/sdb" }),
            &[
                "Wipe /dev/sdb of node pve1",
                "lost for good",
                "model=ST4000VN008 serial=ZDH1EFGH",
            ][..],
        ),
        (
            "proxmox_manage_ceph_osd",
            json!({ "node": "pve1", "action": "create", "dev": "/dev/sdb" }),
            &["Everything on /dev/sdb is lost"],
        ),
        (
            "proxmox_manage_ceph_osd",
            json!({ "node": "pve1", "action": "destroy", "osdid": 3 }),
            &["Destroy OSD 3", "OSD 3 is down and out"],
        ),
        (
            "proxmox_manage_acme_account",
            json!({ "action": "deactivate" }),
            &["Deactivate ACME account default", "never takes it again"],
        ),
        (
            "proxmox_set_user_password",
            password_of("mcp@pve"),
            &["mcp@pve", "can no longer log in"],
        ),
        (
            "proxmox_manage_tfa",
            json!({ "userid": "mcp@pve", "action": "add", "type": "recovery" }),
            &["mcp@pve", "cannot log in without"],
        ),
    ] {
        let result = session.call(tool, arguments);
        let text = text(&result);
        assert!(text.contains("confirm_token="), "{tool}: {text}");
        for part in expected {
            assert!(text.contains(part), "{tool}: {part:?} is not in:\n{text}");
        }
        assert!(!text.contains(NEW_PASSWORD), "{text}");
    }
    drop(session);
}

#[test]
fn never_writes_the_password_or_the_ticket() {
    let folder = env::temp_dir();
    let audit_log = folder.join(format!("proxmox-mcp-{}-login-audit", process::id()));
    let audit_log = audit_log.to_str().expect("the path is UTF-8").to_owned();
    let new = format!("password={NEW_PASSWORD}");
    let echo = format!("{PASSWORD} {TICKET} {CSRF_TOKEN} {NEW_PASSWORD}\n");
    let set = json!({
        "request": "PUT /access/password", "form": ["userid=mcp@pve", new], "status": 500,
        "answer": { "data": null, "message": echo },
    });
    let keys = json!({
        "request": "POST /access/tfa/mcp%40pve", "form": ["type=recovery"],
        "answer": { "data": { "id": "recovery", "echo": echo, "recovery": ["a"] } },
    });
    let fake = Fake::playing(json!([set, keys]));
    let more: Vec<(&str, &str)> = UNASKED
        .iter()
        .copied()
        .chain([("RUST_LOG", "trace"), ("PROXMOX_AUDIT_LOG", &*audit_log)])
        .collect();
    let mut session = session(&fake, Some("root@pam"), &more);
    let answers = [
        session.call("proxmox_set_user_password", password_of("mcp@pve")),
        session.call(
            "proxmox_manage_tfa",
            json!({ "userid": "mcp@pve", "action": "add", "type": "recovery" }),
        ),
    ];
    assert_eq!(fake.problems(), Vec::<String>::new());
    assert_eq!(answers[0]["isError"], true);
    assert_ne!(answers[1]["isError"], true);
    let audit = fs::read_to_string(&audit_log).expect("the audit log was written");
    assert!(audit.contains("proxmox_set_user_password"), "{audit}");
    let written = format!("{answers:?}\n{audit}\n{}", session.finish().log);
    assert!(written.contains("DEBUG"), "nothing is logged:\n{written}");
    let ticket = TICKET.rsplit(':').next().expect("its signature");
    for secret in [PASSWORD, ticket, CSRF_TOKEN, TOKEN] {
        assert!(!written.contains(secret), "{secret} is in:\n{written}");
    }
    fs::remove_file(audit_log).expect("it was written");
}

#[test]
fn shows_a_console_ticket_only_if_requested() {
    let ticket = "PVEVNC:6B0B032A::c2lnbmF0dXJlLW9mLWNvbnNvbGU";
    let opened = json!({ "port": "5900", "ticket": ticket, "user": "root@pam!mcp", "upid": "x" });
    // Proxmox never answers without the port.
    let odd = json!({ "ticket": ticket, "password": "hQ3vBx1k" });
    for (data, asked, is_shown) in [
        (&opened, false, false),
        (&opened, true, true),
        (&odd, true, false),
    ] {
        let fake = Fake::playing(json!([{
            "request": "POST /nodes/pve1/termproxy", "answer": { "data": data },
        }]));
        let mut session = session(&fake, None, &[UNASKED, &[("RUST_LOG", "trace")]].concat());
        let arguments = json!({
            "target": "node", "kind": "term", "node": "pve1", "show_ticket": asked,
        });
        let result = session
            .call("proxmox_create_console", arguments)
            .to_string();
        assert_eq!(result.contains(ticket), is_shown, "{result}");
        assert!(!result.contains("hQ3vBx1k"), "{result}");
        let log = session.finish().log;
        assert!(!log.contains(ticket), "{log}");
    }
}
