//! `check`: each verdict, its remedy, and the exit status.

use std::net::TcpListener;
use std::path::Path;
use std::process::{self, Command, Output, Stdio};
use std::{env, fs};

use serde_json::{Value, json};

use crate::fake::{Fake, PASSWORD, TOKEN, auditor, restrict};
use crate::fixture;

/// Runs `check` with only these settings.
fn run(variables: &[(&'static str, String)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
        .arg("check")
        .args(arguments)
        .env_clear()
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// Returns the exit status of `check` and its output, which must not contain the secret.
fn text(variables: &[(&'static str, String)], arguments: &[&str]) -> (i32, String) {
    let output = run(variables, arguments);
    let [text, errors] = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8(bytes).expect("the output is UTF-8"));
    assert_eq!(errors, "");
    assert!(!text.contains(TOKEN), "{text}");
    (output.status.code().expect("it exits"), text)
}

/// Returns the answers of a host of this version to a token with these privileges.
fn answers(version: &str, privileges: Value) -> Value {
    json!([
        { "request": "GET /version", "answer": { "data": { "version": version } } },
        { "request": "GET /access/permissions", "answer": { "data": privileges } },
        { "request": "GET /nodes", "answer": { "data": [{ "node": "pve1", "status": "online" }] } },
    ])
}

/// Runs `check` against a host of this version with a token of these privileges.
#[track_caller]
fn with_privileges(version: &str, privileges: Value, arguments: &[&str]) -> (i32, String) {
    let fake = Fake::playing(answers(version, privileges));
    let found = text(&fake.environment(), arguments);
    assert_eq!(fake.problems(), Vec::<String>::new());
    found
}

fn everything() -> Value {
    let names = "Datastore.AllocateSpace Datastore.Audit SDN.Use Sys.Audit Sys.Modify Sys.Syslog \
        VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU \
        VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.GuestAgent.Unrestricted \
        VM.PowerMgmt VM.Snapshot";
    let all: Value = names
        .split(' ')
        .map(|name| (name.to_owned(), json!(1)))
        .collect();
    let paths = ["/", "/nodes", "/sdn", "/storage", "/vms"];
    paths.map(|path| (path, all.clone())).into_iter().collect()
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Returns the verdicts with their checks, in order.
fn verdicts(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter(|line| !line.starts_with(' '));
    let words = lines.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?, words.next()?))
    });
    let is_verdict = |word: &str| ["ok", "warning", "failed", "skipped"].contains(&word);
    words.filter(|(verdict, _)| is_verdict(verdict)).collect()
}

/// Returns an address on which nothing listens.
fn nowhere() -> String {
    // Not 127.0.0.1, where another test could be given the port.
    let listener = TcpListener::bind("127.0.0.2:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    format!("http://{address}")
}

/// Returns the settings that connect to this host with a token.
fn settings(host: &str) -> Vec<(&'static str, String)> {
    vec![
        ("PROXMOX_HOST", host.to_owned()),
        ("PROXMOX_TOKEN_NAME", "mcp".to_owned()),
        ("PROXMOX_TOKEN_VALUE", TOKEN.to_owned()),
    ]
}

#[test]
fn exits_with_0_if_all_is_well() {
    let (code, text) = with_privileges("9.2.3", everything(), &["--allow-elevated"]);
    assert_eq!(code, 0, "{text}");
    let checks: Vec<&str> = verdicts(&text).iter().map(|(_, check)| *check).collect();
    assert_eq!(
        checks,
        [
            "settings",
            "name-resolution",
            "tcp",
            "tls",
            "api-version",
            "token",
            "login",
            "privileges",
            "clock",
            "nodes",
            "elevated",
            "toolsets",
        ]
    );
    let toolsets = format!(
        "ok       toolsets         82 of {} tools, whose list takes ",
        fixture::tools().len()
    );
    assert_holds(
        &text,
        &[
            "ok       api-version      Proxmox VE 9.2.3\n",
            "ok       token            root@pam!mcp is valid\n",
            "ok       login            not set; a few tools need one (PROXMOX_PASSWORD_FILE)\n",
            "ok       privileges       root@pam!mcp has the privileges that the 82 available",
            "ok       nodes            online: pve1\n",
            "ok       elevated         allowed: 49 tools can change the cluster",
            &toolsets,
        ],
    );
    assert!(!text.contains('\x1b'), "no terminal, no colour: {text:?}");
}

#[test]
fn lists_missing_settings_with_the_commands_that_set_them_and_skips_the_rest() {
    let (code, text) = text(&[], &[]);
    assert_eq!(code, 1);
    assert_holds(
        &text,
        &[
            "failed   settings         PROXMOX_HOST is missing",
            "PROXMOX_TOKEN_VALUE is missing",
            "  export PROXMOX_HOST=pve1.example.com PROXMOX_USER=mcp@pve PROXMOX_TOKEN_NAME=mcp ",
            "  pveum user add mcp@pve; pveum user token add mcp@pve mcp --privsep 1\n",
            "  pveum acl modify / --users mcp@pve --tokens 'mcp@pve!mcp' --roles PVEAuditor\n",
            "skipped  name-resolution  and tcp, tls, api-version, token, login, privileges, clock, nodes: needs\n",
            "ok       elevated         not allowed",
            "\n1 failed, 9 skipped\n",
        ],
    );
    assert_eq!(verdicts(&text).len(), 4);
}

#[test]
fn warns_about_variables_that_look_like_settings() {
    let fake = Fake::playing(answers("9.2.3", everything()));
    let mut variables = fake.environment().to_vec();
    variables.push(("PROXMOX_SSLMODE", "verify".to_owned()));
    let (code, text) = text(&variables, &[]);
    assert_eq!(code, 3);
    assert_holds(
        &text,
        &[
            "warning  settings ",
            "PROXMOX_SSLMODE (did you mean",
            "\n1 warning, 1 skipped\n",
        ],
    );
}

#[test]
fn a_closed_port_fails_the_tcp_check() {
    let (code, text) = text(&settings(&nowhere()), &[]);
    assert_eq!(code, 1);
    assert_eq!(
        verdicts(&text)[1..6],
        [
            ("ok", "name-resolution"),
            ("failed", "tcp"),
            ("skipped", "tls"),
            ("skipped", "api-version"),
            ("ok", "elevated"),
        ]
    );
    assert_holds(&text, &["connection refused", "systemctl status pveproxy"]);
}

#[test]
fn checks_each_host_and_queries_a_reachable_one() {
    let fake = Fake::playing(answers("9.2.3", everything()));
    let [(_, url), ..] = fake.environment();
    let (code, text) = text(&settings(&format!("{},{url}", nowhere())), &[]);
    assert_eq!(code, 1);
    assert_eq!(fake.problems(), Vec::<String>::new());
    assert_eq!(
        verdicts(&text)[1..8],
        [
            ("ok", "name-resolution"),
            ("failed", "tcp"),
            ("skipped", "tls"),
            ("ok", "name-resolution"),
            ("ok", "tcp"),
            ("ok", "tls"),
            ("ok", "api-version"),
        ]
    );
}

#[test]
fn says_whether_the_login_works() {
    for (user, password, code, expected) in [
        (
            "root@pam",
            PASSWORD,
            0,
            &["ok       login            root@pam can log in\n"][..],
        ),
        (
            "ops@pve",
            PASSWORD,
            0,
            &["ok       login            ops@pve can log in; disks, OSDs and ACME accounts need"],
        ),
        (
            "root@pam",
            "wrong-password",
            1,
            &[
                "failed   login            the login as root@pam was refused, nothing was changed:",
                " failure (status 401)\n",
                "-> Check PROXMOX_LOGIN_USER",
            ],
        ),
    ] {
        let file = env::temp_dir().join(format!("proxmox-mcp-{}-login", process::id()));
        fs::write(&file, format!("{password}\n")).expect("the file can be written");
        let fake = Fake::playing(answers("9.2.3", everything()));
        let mut variables = fake.environment().to_vec();
        let path = file.to_str().expect("the path is UTF-8").to_owned();
        variables.push(("PROXMOX_PASSWORD_FILE", path));
        variables.push(("PROXMOX_LOGIN_USER", user.to_owned()));
        restrict(&file);
        let (status, text) = text(&variables, &["--allow-elevated"]);
        assert_eq!(fake.problems(), Vec::<String>::new());
        assert_eq!(status, code, "{text}");
        assert_holds(&text, expected);
        assert!(!text.contains(password), "{text}");
        fs::remove_file(file).expect("it was written");
    }
}

#[test]
fn a_server_other_than_proxmox_fails_the_api_check() {
    for answer in [
        json!({ "request": "GET /version", "status": 404, "reason": "Not Found" }),
        json!({ "request": "GET /version", "answer": { "status": "up" } }),
    ] {
        let fake = Fake::playing(json!([answer]));
        let (code, text) = text(&fake.environment(), &[]);
        assert_eq!(code, 1);
        assert_eq!(
            verdicts(&text)[4..7],
            [
                ("failed", "api-version"),
                ("skipped", "token"),
                ("ok", "elevated"),
            ],
            "{text}"
        );
    }
}

#[test]
fn an_untested_version_is_a_warning() {
    let (code, text) = with_privileges("6.4-15", everything(), &[]);
    assert_eq!(code, 3);
    assert_holds(
        &text,
        &["warning  api-version      Proxmox VE 6.4-15 is older than"],
    );
}

#[test]
fn a_rejected_token_fails_with_the_command_for_its_reason() {
    for (said, line) in [
        (
            "no such token 'mcp'",
            "  pveum user token add root@pam mcp --privsep 1\n",
        ),
        (
            "invalid token value!",
            "  pveum user token remove root@pam mcp\n",
        ),
        (
            "Authentication failed!",
            "  pveum user token list root@pam\n",
        ),
    ] {
        let fake = Fake::playing(json!([
            { "request": "GET /version", "status": 401, "reason": said }
        ]));
        let (code, text) = text(&fake.environment(), &[]);
        assert_eq!(code, 1);
        assert_holds(
            &text,
            &["ok       api-version ", "failed   token ", said, line],
        );
        assert_eq!(
            verdicts(&text)[6..9],
            [
                ("skipped", "login"),
                ("skipped", "clock"),
                ("skipped", "nodes")
            ]
        );
    }
}

#[test]
fn a_token_without_any_privilege_fails() {
    let (code, text) = with_privileges("9.2.3", json!({}), &[]);
    assert_eq!(code, 1);
    assert_holds(
        &text,
        &[
            "failed   privileges       root@pam!mcp has no privilege anywhere\n",
            "  pveum acl modify / --tokens 'root@pam!mcp' --roles PVEAuditor\n",
        ],
    );
}

#[test]
fn an_auditor_lacks_little_if_no_elevated_tool_is_allowed() {
    let (code, text) = with_privileges("9.2.3", auditor(), &[]);
    assert_eq!(code, 3);
    assert_holds(
        &text,
        &[
            "warning  privileges       root@pam!mcp lacks privileges for 2 of the 31 available tools",
            "- Sys.Syslog on /nodes: get_node_syslog, get_node_journal\n",
            "  PROXMOX_EXCLUDE_TOOLS=proxmox_get_node_journal,proxmox_get_node_syslog\n",
            "  pveum role add MCP-nodes-NODE; pveum role modify MCP-nodes-NODE --append 1 --privs Sys.Syslog \
             && pveum acl modify /nodes/NODE --tokens 'root@pam!mcp' --roles PVEAuditor,MCP-nodes-NODE\n",
            "\n1 warning, 1 skipped\n",
        ],
    );
}

#[test]
fn what_an_auditor_lacks_for_elevated_tools_fits_on_one_screen() {
    let (code, text) = with_privileges("9.2.3", auditor(), &["--allow-elevated"]);
    assert_eq!(code, 3);
    assert_holds(
        &text,
        &[
            "- VM.PowerMgmt on /vms: start_lxc, start_vm, stop_lxc,",
            "- VM.GuestAgent.Unrestricted on /vms: execute_vm_command\n",
            "--privs VM.Allocate,VM.Backup,VM.Clone,VM.Config.CDROM,",
            "--privs Sys.Modify,Sys.Syslog && ",
        ],
    );
    assert_eq!(text.matches("acl modify").count(), 5, "{text}");
    assert!(!text.contains("acl modify / "), "{text}");
    assert!(text.lines().count() < 80, "{text}");
    let is_prose = |line: &&str| !line.contains("  pveum ") && !line.contains("EXCLUDE_TOOLS='");
    let prose = text.lines().filter(is_prose);
    for line in prose {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn expects_of_older_versions_only_the_privileges_that_they_have() {
    let mut privileges = everything();
    for path in privileges.as_object_mut().expect("paths").values_mut() {
        let path = path.as_object_mut().expect("privileges");
        path.remove("VM.GuestAgent.Unrestricted");
        path.remove("SDN.Use");
    }
    let (_, text) = with_privileges("7.4-16", privileges, &["--allow-elevated"]);
    assert_holds(
        &text,
        &[
            "1 of the 82 available tools",
            "- VM.Monitor on /vms: execute_vm_command\n",
        ],
    );
    assert!(!text.contains("SDN.Use"), "{text}");
}

#[test]
fn does_not_warn_about_tools_that_work_on_some_guests() {
    let privileges = json!({
        "/vms/100": { "VM.Audit": 1, "VM.PowerMgmt": 1 },
        "/vms/101": { "VM.Audit": 1, "VM.PowerMgmt": 0 },
    });
    let arguments = [
        "--allow-elevated",
        "--tools=proxmox_get_vms,proxmox_start_vm,proxmox_create_snapshot_vm",
    ];
    let (code, text) = with_privileges("9.2.3", privileges.clone(), &arguments);
    assert_eq!(code, 3);
    assert_holds(
        &text,
        &[
            "- VM.Snapshot on /vms: create_snapshot_vm\n",
            "- only on /vms/100 /vms/101: get_vms, start_vm\n",
            "pveum acl modify /vms/100 --tokens 'root@pam!mcp' --roles MCP-vms-100\n",
            "pveum acl modify /vms/101 --tokens 'root@pam!mcp' --roles MCP-vms-101\n",
        ],
    );
    let (code, text) = with_privileges("9.2.3", privileges, &arguments[..1]);
    assert_eq!(code, 3, "{text}");
    let alone = ["--tools=proxmox_get_vms"];
    let privileges = json!({ "/vms/100": { "VM.Audit": 1 } });
    let (code, text) = with_privileges("9.2.3", privileges, &alone);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn privileges_on_an_existing_guest_do_not_allow_creating_another() {
    let mut privileges = everything();
    let mut of_guests = privileges["/vms"].take();
    of_guests
        .as_object_mut()
        .expect("privileges")
        .remove("VM.Clone");
    privileges["/vms/100"] = of_guests;
    privileges["/vms"] = json!({ "VM.Clone": 1 });
    let arguments = [
        "--allow-elevated",
        "--tools=proxmox_create_vm,proxmox_clone_vm,proxmox_restore_backup_vm,proxmox_delete_vm",
    ];
    let (code, text) = with_privileges("9.2.3", privileges.clone(), &arguments);
    assert_eq!(code, 3);
    assert_holds(
        &text,
        &[
            "lacks privileges for 3 of the 4 available tools",
            "- VM.Allocate VM.PowerMgmt on /vms or a pool: clone_vm, restore_backup_vm\n",
            "- only on /vms/100: delete_vm\n",
            " && pveum acl modify /vms --tokens 'root@pam!mcp' --roles MCP-vms\n",
        ],
    );
    assert!(!text.contains("acl modify /vms/"), "{text}");
    // Containers and VMs can also be created in a pool.
    privileges["/pool/dev"] = everything()["/vms"].take();
    let arguments = ["--allow-elevated", "--tools=proxmox_create_vm"];
    let (code, text) = with_privileges("9.2.3", privileges, &arguments);
    assert_eq!(code, 0, "{text}");
    assert_holds(&text, &["- only on /pool/dev: create_vm\n"]);
}

#[test]
fn privileges_that_cannot_be_read_fail() {
    let fake = Fake::playing(json!([
        { "request": "GET /version", "answer": { "data": { "version": "9.2.3" } } },
        { "request": "GET /access/permissions", "status": 596, "reason": "Connection timed out" },
        { "request": "GET /nodes", "status": 500, "reason": "got timeout" },
    ]));
    let (code, text) = text(&fake.environment(), &[]);
    assert_eq!(code, 1);
    assert_holds(
        &text,
        &[
            "failed   privileges       GET /access/permissions failed with status 596",
            "failed   nodes            GET /nodes failed with status 500",
        ],
    );
}

#[test]
fn a_node_that_is_offline_is_a_warning() {
    let mut answers = answers("9.2.3", everything());
    answers[2]["answer"]["data"] = json!([
        { "node": "pve1", "status": "online" },
        { "node": "pve2", "status": "offline" },
    ]);
    let fake = Fake::playing(answers);
    let (code, text) = text(&fake.environment(), &[]);
    assert_eq!(code, 3);
    assert_holds(
        &text,
        &[
            "warning  nodes            1 of 2 offline: pve2\n",
            "  pvecm status\n",
        ],
    );
}

/// Runs `check` with these boundaries in a cluster of three guests.
#[track_caller]
fn with_boundaries(variables: &[(&'static str, &str)]) -> (i32, String) {
    let mut answers = answers("9.2.3", everything());
    let guests = json!([
        { "vmid": 9000, "type": "qemu", "name": "tpl", "template": 1, "node": "pve1" },
        { "vmid": 100, "type": "qemu", "name": "web01", "tags": "prod;web", "node": "pve1" },
        { "vmid": 101, "type": "lxc", "name": "db\n01", "pool": "dev", "node": "pve1" },
    ]);
    let resources = json!({
        "request": "GET /cluster/resources", "form": ["type=vm"], "answer": { "data": guests },
    });
    let reads_guests = variables.iter().any(|(name, _)| *name != "PROXMOX_NODES");
    let exchanges = answers.as_array_mut().expect("an array");
    exchanges.extend(reads_guests.then_some(resources));
    let fake = Fake::playing(answers);
    let mut all = fake.environment().to_vec();
    let variables = variables.iter();
    all.extend(variables.map(|(name, value)| (*name, (*value).to_owned())));
    let found = text(&all, &[]);
    assert_eq!(fake.problems(), Vec::<String>::new());
    found
}

#[test]
fn reports_what_boundaries_cover() {
    let (code, text) = with_boundaries(&[
        ("PROXMOX_GUESTS", "100-199,!pool:dev"),
        ("PROXMOX_PROTECTED", "tag:prod,9000"),
        ("PROXMOX_NODES", "pve1"),
    ]);
    assert_eq!(code, 0, "{text}");
    assert_holds(
        &text,
        &[
            "ok       boundaries       PROXMOX_GUESTS: 100 web01\n",
            " PROXMOX_PROTECTED: 100 web01, 9000 tpl\n",
            " PROXMOX_NODES: pve1\n",
        ],
    );
    let names: Vec<&str> = verdicts(&text).iter().map(|(_, name)| *name).collect();
    assert_eq!(names[9..11], ["nodes", "boundaries"]);
    let (code, text) = with_boundaries(&[("PROXMOX_NODES", "pve1")]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_boundary_that_matches_nothing_is_a_warning() {
    let (code, text) = with_boundaries(&[
        ("PROXMOX_PROTECTED", "tag:prdo,77777"),
        ("PROXMOX_GUESTS", "101,pool:pord"),
        ("PROXMOX_NODES", "pev1"),
    ]);
    assert_eq!(code, 3);
    assert_holds(
        &text,
        &[
            r"warning  boundaries       PROXMOX_GUESTS: 101 db\n01",
            " PROXMOX_PROTECTED: nothing now\n",
            " - PROXMOX_PROTECTED: tag:prdo names no guest now; tags: prod, web\n",
            " - PROXMOX_PROTECTED: 77777 names no guest now\n",
            " - PROXMOX_GUESTS: pool:pord names no guest now; pools: dev\n",
            " - PROXMOX_NODES: pev1 names no node now\n",
        ],
    );
    let (code, text) = with_boundaries(&[("PROXMOX_GUESTS", "101,!101")]);
    assert_eq!(code, 3);
    assert_holds(&text, &["PROXMOX_GUESTS: its exclusions leave nothing\n"]);
}

#[test]
fn a_misspelt_safety_setting_fails_and_is_not_reported_as_ignored() {
    let mut variables = settings(&nowhere());
    variables.push(("PROXMOX_READONLY", "1".to_owned()));
    variables.push(("PROXMOX_FOO_BAR_BAZ", "1".to_owned()));
    let (code, text) = text(&variables, &[]);
    assert_eq!(code, 1);
    assert_holds(
        &text,
        &[
            "failed   settings         PROXMOX_READONLY is not a setting: unset it, or set PROXMOX_READ_ONLY\n",
            " ignored, since it is not a setting: PROXMOX_FOO_BAR_BAZ\n",
            "-> Correct or unset PROXMOX_READONLY: until then every call is refused.\n",
            "failed   tcp ",
            "nodes, elevated, toolsets: needs the",
        ],
    );
}

#[cfg(unix)]
#[test]
fn a_token_file_that_every_user_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let path = env::temp_dir().join(format!("proxmox-mcp-token-{}", process::id()));
    fs::write(&path, "5b6e7a1c-90d2-4f83-a417-2c86f0e9d35b\n").expect("it can be written");
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&path, open).expect("it is ours");
    let file = path.to_str().expect("it is UTF-8");
    let mut variables = settings(&nowhere());
    variables.retain(|(name, _)| *name != "PROXMOX_TOKEN_VALUE");
    variables.push(("PROXMOX_TOKEN_FILE", file.to_owned()));
    let (_, text) = text(&variables, &[]);
    assert_holds(
        &text,
        &[
            "warning  settings ",
            "PROXMOX_TOKEN_FILE names a file that every user of this machine can read",
            "-> Restrict it to its owner:\n",
            &format!("   chmod 600 {file}\n"),
        ],
    );
    fs::remove_file(path).expect("it was written");
}

#[test]
fn an_unwritable_audit_log_fails_and_a_writable_one_stays_unchanged() {
    let folder = env::temp_dir().join(format!("proxmox-mcp-check-{}", process::id()));
    fs::create_dir_all(&folder).expect("the folder can be made");
    let with_log = |path: &Path| {
        let log = path.to_str().expect("it is UTF-8");
        let mut variables = settings(&nowhere());
        variables.push(("PROXMOX_AUDIT_LOG", log.to_owned()));
        text(&variables, &["--allow-elevated"]).1
    };
    for (path, why) in [
        (folder.join("none/audit.log"), "o such file"),
        (folder.clone(), "it is not a"),
    ] {
        let text = with_log(&path);
        let expected = [
            "failed   elevated         allowed: ",
            "the audit log cannot",
            why,
        ];
        assert_holds(&text, &expected);
    }
    let log = folder.join("audit.log");
    assert_holds(&with_log(&log), &["ok       elevated "]);
    let mut left = fs::read_dir(&folder).expect("it is there");
    assert!(left.next().is_none(), "nothing is left behind");
    fs::write(&log, "{}\n").expect("it can be written");
    assert_holds(&with_log(&log), &["ok       elevated "]);
    assert_eq!(fs::read(&log).expect("it is there"), b"{}\n");
    fs::remove_dir_all(&folder).expect("it can be removed");
}

#[test]
fn says_whether_each_upload_directory_can_be_used() {
    let folder = env::temp_dir().join(format!("proxmox-mcp-dirs-{}", process::id()));
    fs::create_dir_all(&folder).expect("the folder can be made");
    let with_dirs = |dirs: &str| {
        let mut variables = settings(&nowhere());
        variables.push(("PROXMOX_UPLOAD_DIRS", dirs.to_owned()));
        text(&variables, &[]).1
    };
    let there = folder.to_str().expect("it is UTF-8");
    assert_holds(
        &with_dirs(there),
        &["ok       upload-dirs ", ": can be read and"],
    );
    let mut left = fs::read_dir(&folder).expect("it is there");
    assert!(left.next().is_none(), "nothing is left behind");
    assert_holds(
        &with_dirs(&format!("{there},/nonexistent")),
        &[
            "warning  upload-dirs ",
            "/nonexistent: cannot be used: No such file",
            "correct PROXMOX_UPLOAD_DIRS",
        ],
    );
    assert!(!with_dirs("").contains("upload-dirs"));
    assert_holds(
        &with_dirs("relative"),
        &[
            "failed   settings ",
            "PROXMOX_UPLOAD_DIRS must list directories by their full paths",
        ],
    );
    fs::remove_dir_all(&folder).expect("it can be removed");
}

#[test]
fn reports_how_calls_are_confirmed() {
    for (policy, expected) in [
        (
            "auto",
            "confirm: auto (if the client cannot ask, only data loss needs a token)\n",
        ),
        (
            "always",
            "confirm: always (by token if the client cannot ask)\n",
        ),
        ("never", "confirm: never\n"),
    ] {
        let mut variables = settings(&nowhere());
        variables.push(("PROXMOX_CONFIRM", policy.to_owned()));
        let (_, text) = text(&variables, &["--allow-elevated"]);
        assert_holds(&text, &[expected]);
    }
}

#[test]
fn checks_the_host_if_only_the_host_is_set() {
    let (code, text) = text(&[("PROXMOX_HOST", nowhere())], &[]);
    assert_eq!(code, 1);
    assert_holds(
        &text,
        &[
            "failed   settings         PROXMOX_TOKEN_NAME is missing",
            "ok       name-resolution  127.0.0.2 is an address\n",
            "failed   tcp ",
            "skipped  api-version      and token, login, privileges, clock, nodes: needs the settings\n",
            "ok       toolsets ",
        ],
    );
}

#[test]
fn no_tool_at_all_is_a_warning() {
    let (code, text) = with_privileges(
        "9.2.3",
        everything(),
        &["--tools=proxmox_get_vms", "--exclude-tools=proxmox_get_vms"],
    );
    assert_eq!(code, 3);
    assert_holds(&text, &["warning  toolsets         no tool is shown"]);
}

#[test]
fn reports_the_same_in_json() {
    let fake = Fake::playing(answers("9.2.3", auditor()));
    let output = run(&fake.environment(), &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
    assert_eq!(report["ok"], false);
    let checks = report["checks"].as_array().expect("an array");
    let verdicts: Vec<&str> = checks
        .iter()
        .filter_map(|it| it["verdict"].as_str())
        .collect();
    assert_eq!(verdicts.len(), 12);
    let of = |name: &str| checks.iter().find(|it| it["check"] == name);
    let privileges = of("privileges").expect("it is there");
    assert_eq!(privileges["verdict"], "warning");
    assert!(
        privileges["text"]
            .to_string()
            .contains("Sys.Syslog on /nodes")
    );
    assert!(
        privileges["remedy"]
            .to_string()
            .contains("pveum role add MCP-")
    );
    assert_eq!(of("token").expect("it is there")["remedy"], Value::Null);
    let fake = Fake::playing(answers("9.2.3", everything()));
    let output = run(&fake.environment(), &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
    assert_eq!(
        (output.status.code(), &report["ok"]),
        (Some(0), &json!(true))
    );
}

#[test]
fn accepts_only_json_and_no_demonstration() {
    for (arguments, expected) in [
        (&["now"][..], "write `check [--json]`"),
        (&["--markdown"], "--markdown belongs to the command `tools`"),
        (&["--demo"], "--demo does not go with `check`"),
    ] {
        let output = run(&[], arguments);
        assert_eq!(output.status.code(), Some(2));
        let errors = String::from_utf8(output.stderr).expect("the output is UTF-8");
        assert_holds(&errors, &[expected]);
    }
}
