//! Secrets appear nowhere, whatever is logged.

use std::{env, fs, process};

use serde_json::json;

use crate::fake::{Fake, TOKEN};

const PASSWORD: &str = "correct-horse-battery";

/// Runs calls that carry, echo and fail over secrets, with all logging on; returns everything that the
/// program wrote.
fn everything_written() -> String {
    let upid = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:vzcreate:105:root@pam!mcp:";
    let fake = Fake::playing(json!([
        { "request": "GET /nodes", "answer": { "data": [] } },
        {
            "request": "POST /nodes/pve1/lxc",
            "form": [
                "rootfs=local-lvm:8", "vmid=105", "ostemplate=local:vztmpl/a.tar.zst", "hostname=a",
                "memory=512", "unprivileged=1", format!("password={PASSWORD}"),
            ],
            "answer": { "data": upid },
        },
        { "request": "GET /nodes", "status": 401, "reason": "invalid token value!" },
        { "request": "GET /nodes", "status": 500, "answer": { "data": null, "message": "some fault\n" } },
    ]));
    let elevated = ("PROXMOX_ALLOW_ELEVATED", "true");
    let mut session = fake.connect(&[elevated, ("RUST_LOG", "trace")]);
    let create = json!({
        "node": "pve1", "vmid": 105, "ostemplate": "local:vztmpl/a.tar.zst", "hostname": "a",
        "password": PASSWORD,
    });
    let answers = [
        session.call("proxmox_get_nodes", json!({})),
        session.call("proxmox_create_lxc", create.clone()),
        session.call("proxmox_get_nodes", json!({})),
        session.call("proxmox_get_nodes", json!({})),
        session.call(
            "proxmox_create_lxc",
            json!({ "password": PASSWORD, "passwort": PASSWORD }),
        ),
        session.call("proxmox_create_lxc", json!({ "password": [PASSWORD] })),
    ];
    assert_eq!(fake.problems(), Vec::<String>::new());
    let failed = answers
        .iter()
        .filter(|answer| answer["isError"] == true)
        .count();
    assert_eq!(failed, 4, "{answers:?}");
    let written: Vec<String> = answers.iter().map(ToString::to_string).collect();
    format!("{}\n{}", written.join("\n"), session.finish().log)
}

#[test]
fn writes_neither_token_nor_password() {
    let written = everything_written();
    assert!(
        written.contains("DEBUG"),
        "nothing is logged, so this test shows nothing:\n{written}"
    );
    // At trace level the wire would be dumped in hexadecimal, where a search finds no secret.
    assert!(!written.contains("TRACE"), "{written}");
    for secret in [TOKEN, PASSWORD] {
        for piece in secret.as_bytes().windows(8) {
            let piece = String::from_utf8_lossy(piece);
            assert!(
                !written.contains(&*piece),
                "{piece} of a secret is in:\n{written}"
            );
        }
    }
}

/// The login in a URL is as secret as a separate password.
#[test]
fn neither_shows_nor_records_the_login_in_a_url() {
    let path = env::temp_dir().join(format!("proxmox-mcp-url-{}.log", process::id()));
    let fake = Fake::start();
    let settings = [
        ("PROXMOX_ALLOW_ELEVATED", "true"),
        ("PROXMOX_TOOLSETS", "options"),
        ("PROXMOX_DRY_RUN", "true"),
        ("PROXMOX_AUDIT_LOG", path.to_str().expect("a path")),
    ];
    let mut session = fake.connect(&settings);
    let options = json!([{ "request": "GET /cluster/options", "answer": { "data": { "http_proxy": format!("http://me:{PASSWORD}@old.example") } } }]);
    fake.play(serde_json::from_value(options).expect("exchanges"));
    let proxy = json!({ "http_proxy": format!("http://me:{PASSWORD}@new.example") });
    let answer = session.call("proxmox_set_cluster_options", proxy);
    let recorded = fs::read_to_string(&path).expect("the log");
    fs::remove_file(&path).expect("it can be removed");
    assert_eq!(fake.problems(), Vec::<String>::new());
    for written in [answer.to_string(), recorded, session.finish().log] {
        assert!(!written.contains(PASSWORD), "{written}");
    }
    assert!(
        answer.to_string().contains("(hidden)@new.example"),
        "{answer}"
    );
}
