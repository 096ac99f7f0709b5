//! The certificate, the clock and the grants, which tests of the binary cannot vary.

use serde_json::json;

use super::*;
use crate::check::host::reach;
use crate::pve::http::tests::Step::{self, Hold};
use crate::pve::http::tests::{Host as Server, assert_holds, connection, nowhere, read};
use crate::pve::probe::sha256;
use crate::settings::boundaries::Guests;
use crate::settings::exposure::Names;
use crate::settings::{Check, Problem};
use crate::tools;

fn probe(connection: &Connection) -> Probe<'_> {
    Probe::new(&connection.hosts[0], 1, connection.timeout)
}

/// Checks a host with this certificate, and returns whether it is usable and the report.
fn tls(certificate: &str, check: Check, listed: &[&str]) -> (bool, String) {
    let server = Server::tls(certificate, vec![vec![Hold]]);
    let connection = connection(true, server.at, check, listed);
    let mut report = Report::default();
    let usable = reach(&mut report, &probe(&connection));
    assert_eq!(server.requests(), [""; 0], "nothing is sent");
    (usable, report.text(false))
}

#[test]
fn sets_variables_in_the_shell_of_the_system() {
    let variables = "PROXMOX_HOST=pve1 PROXMOX_CA_FILE=$PWD/ca.pem";
    assert_eq!(exported(variables, false), format!("export {variables}"));
    assert_eq!(
        exported(variables, true),
        "$env:PROXMOX_HOST = \"pve1\"; $env:PROXMOX_CA_FILE = \"$PWD/ca.pem\""
    );
}

#[test]
fn shows_a_trusted_certificate_and_what_each_mode_makes_of_it() {
    let (usable, text) = tls("server", Check::Strict, &["ca"]);
    assert!(usable, "{text}");
    assert_holds(
        &text,
        &[
            "ok       name-resolution  127.0.0.1 is an address\n",
            "ok       tcp              127.0.0.1:",
            "ok       tls              127.0.0.1:",
            ": trusted\n",
            "subject O=Proxmox Virtual Environment, OU=PVE Cluster Node,",
            "issuer CN=Proxmox",
            "valid 2020-01-01 00:00:00Z to 2126-01-01 00:00:00Z, for ",
            "SHA-256\n",
            " strict (in use) accepts it\n",
            " verify accepts it\n",
            " insecure accepts it\n",
            "\nAll is well.\n",
        ],
    );
}

#[test]
fn an_untrusted_certificate_comes_with_the_commands_that_fix_it() {
    let (usable, text) = tls("server", Check::Strict, &["alone"]);
    assert!(!usable, "{text}");
    assert_holds(
        &text,
        &[
            "failed   tls              127.0.0.1:",
            "the certificate is not trusted: unknown issuer\n",
            " strict (in use) rejects it: unknown issuer\n",
            " verify accepts it despite its issuer\n",
            "   scp root@127.0.0.1:/etc/pve/pve-root-ca.pem . && export PROXMOX_CA_FILE=",
            "   openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem\n",
            "   PROXMOX_FINGERPRINT=",
        ],
    );
}

#[test]
fn sends_no_request_to_an_untrusted_host() {
    let server = Server::tls("elsewhere", vec![vec![Hold]]);
    let settings = Settings {
        connection: Ok(connection(true, server.at, Check::Strict, &["ca"])),
        safety: Safety::default(),
    };
    let text = run(&settings, &Environment::default()).text(false);
    assert_eq!(server.requests(), [""; 0]);
    assert_holds(
        &text,
        &[
            "failed   tls ",
            "skipped  api-version      and token, login, privileges, clock, nodes: needs a host",
            "\n1 failed, 6 skipped\n",
        ],
    );
}

#[test]
fn shows_every_mode_that_rejects_a_wrong_name_or_a_wrong_fingerprint() {
    let (usable, text) = tls("elsewhere", Check::Pin([7; 32]), &["ca"]);
    assert!(!usable, "{text}");
    assert_holds(
        &text,
        &[
            "it does not match PROXMOX_FINGERPRINT",
            " strict rejects it: wrong name: asked for 127.0.0.1",
            " verify rejects it: wrong name",
            " insecure accepts it\n",
            " fingerprint (in use) rejects it: ",
        ],
    );
}

#[test]
fn warns_about_modes_that_an_attacker_can_pass_and_about_an_expired_certificate() {
    for (certificate, check, why) in [
        ("server", Check::Verify, "from an unknown issuer"),
        ("server", Check::Insecure, "not checked, so anyone"),
    ] {
        let (usable, text) = tls(certificate, check, &["alone"]);
        assert!(usable, "{text}");
        assert_holds(
            &text,
            &[
                "warning  tls  ",
                why,
                "  PROXMOX_FINGERPRINT=",
                "\n1 warning\n",
            ],
        );
    }
    let (usable, text) = tls("expired", Check::Strict, &["expired"]);
    assert!(usable, "{text}");
    assert_holds(
        &text,
        &[
            "warning  tls  ",
            "the certificate expires 2011-01-01 00:00:00Z\n",
            "  pvecm updatecerts --force\n",
        ],
    );
}

#[test]
fn a_pinned_certificate_is_trusted_whatever_its_issuer() {
    let pin = sha256(&read("server"));
    let (usable, text) = tls("server", Check::Pin(pin), &["alone"]);
    assert!(usable, "{text}");
    assert_holds(
        &text,
        &[
            ": trusted\n",
            " strict rejects it: unknown issuer\n",
            " fingerprint (in use) accepts it\n",
        ],
    );
}

#[test]
fn a_name_without_an_address_fails_and_skips_the_checks_that_need_one() {
    let mut connection = connection(true, nowhere(), Check::Strict, &[]);
    // A label has at most 63 letters (RFC 1035), so the resolver rejects this one without a query.
    connection.hosts[0].name = format!("{}.invalid", "p".repeat(64));
    let mut report = Report::default();
    let probe = probe(&connection);
    assert!(!reach(&mut report, &probe));
    assert_holds(
        &report.text(false),
        &[
            "failed   name-resolution  there is no address",
            "-> Check PROXMOX_HOST",
            "skipped  tcp              and tls:\n",
        ],
    );
}

#[test]
fn a_port_that_does_not_speak_tls_fails_the_tls_check() {
    let server = Server::plain(vec![vec![Step::Say(b"SSH-2.0-OpenSSH\r\n"), Hold]]);
    let connection = connection(true, server.at, Check::Strict, &[]);
    let mut report = Report::default();
    assert!(!reach(&mut report, &probe(&connection)));
    assert_holds(
        &report.text(false),
        &[
            "ok       tcp",
            "failed   tls",
            "its answer is not TLS",
            "8006",
        ],
    );
}

#[test]
fn clocks_may_differ_by_half_a_minute_in_addition_to_the_time_of_the_request() {
    let verdict = |date: Option<u64>, began: f64, ended: f64| {
        let mut report = Report::default();
        clock(&mut report, date, began, ended);
        report.text(false)
    };
    for (began, ended) in [
        (1_000.0, 1_000.1),
        (1_000.9, 1_001.0),
        (1_030.9, 1_031.0),
        (969.0, 969.5),
        (900.0, 1_000.0),
    ] {
        let text = verdict(Some(1_000), began, ended);
        assert!(text.starts_with("ok  "), "{began} {ended}: {text}");
    }
    assert_holds(
        &verdict(Some(1_000), 1_061.0, 1_062.0),
        &[
            "warning  clock  the host is 1m behind this machine",
            "timedatectl",
        ],
    );
    assert_holds(
        &verdict(Some(8_200), 1_000.0, 1_000.0),
        &["warning  clock  the host is 2h ahead of this machine"],
    );
    assert_holds(&verdict(None, 0.0, 0.0), &["skipped  clock"]);
}

#[test]
fn reads_the_major_version() {
    for (version, major) in [
        ("9.2.3", Some(9)),
        ("8.4.5", Some(8)),
        ("7.4-16", Some(7)),
        ("10", Some(10)),
        ("of unknown version", None),
    ] {
        assert_eq!(super::major(version), major, "{version}");
    }
}

/// Returns the report on the privileges of a token for these tools.
fn rights(token_id: &str, tools: &str, granted: Value) -> String {
    let mut safety = Safety {
        allow_elevated: true,
        ..Safety::default()
    };
    safety.exposure.tools = Some(Names::parse(tools, &tools::known()).expect("they exist"));
    let mut report = Report::default();
    rights::check(&mut report, &safety, &Granted::new(granted), token_id, 9);
    report.text(false)
}

#[test]
fn suggests_to_hide_failing_tools_together_with_those_hidden_already() {
    let mut safety = Safety {
        allow_elevated: true,
        ..Safety::default()
    };
    let names = |text| Some(Names::parse(text, &tools::known()).expect("they exist"));
    safety.exposure.tools = names("proxmox_delete_*,proxmox_start_vm");
    safety.exposure.excluded = names("proxmox_stop_vm");
    let mut report = Report::default();
    let granted = Granted::new(json!({ "/vms/100": { "VM.Audit": 1 } }));
    rights::check(&mut report, &safety, &granted, "mcp@pve!mcp", 9);
    let text = report.text(false);
    assert_holds(
        &text,
        &["  PROXMOX_EXCLUDE_TOOLS='proxmox_delete_*,proxmox_start_vm,proxmox_stop_vm'\n"],
    );
}

#[test]
fn grants_on_the_allowed_guests_and_keeps_the_inherited_auditor_role() {
    let mut safety = Safety {
        allow_elevated: true,
        guests: Some(Guests::parse("100,101").expect("it is well-formed")),
        ..Safety::default()
    };
    let tools = "proxmox_delete_vm,proxmox_create_backup_vm,proxmox_get_node_syslog";
    safety.exposure.tools = Some(Names::parse(tools, &tools::known()).expect("they exist"));
    let auditor = json!({ "Datastore.Audit": 1, "Sys.Audit": 1, "VM.Audit": 1 });
    let granted = Granted::new(json!({
        "/": auditor, "/vms": auditor, "/nodes": auditor, "/storage": auditor,
        "/vms/101": { "VM.Audit": 1, "VM.PowerMgmt": 1 },
        "/storage/local": { "Datastore.Audit": 1 },
    }));
    let mut report = Report::default();
    rights::check(&mut report, &safety, &granted, "mcp@pve!mcp", 9);
    let text = report.text(false);
    let who = "--users mcp@pve --tokens 'mcp@pve!mcp' --roles";
    assert_holds(
        &text,
        &[
            "  pveum role add MCP-vms-100; pveum role modify MCP-vms-100 --append 1 \
             --privs VM.Allocate,VM.Backup && ",
            &format!("pveum acl modify /vms/100 {who} PVEAuditor,MCP-vms-100\n"),
            &format!("pveum acl modify /vms/101 {who} MCP-vms-101\n"),
            &format!("pveum acl modify /storage/local {who} MCP-storage-local\n"),
            "--privs Sys.Syslog && ",
            &format!("pveum acl modify /nodes/NODE {who} PVEAuditor,MCP-nodes-NODE\n"),
            "NODE stands for each node to allow",
            "mcp@pve loses its other inherited roles",
        ],
    );
    assert!(!text.contains("acl modify / "), "{text}");
}

#[test]
fn a_grant_on_the_root_path_does_not_propagate() {
    let text = rights(
        "mcp@pve!mcp",
        "proxmox_get_cluster_status,proxmox_start_vm",
        json!({ "/vms/100": { "VM.Audit": 1 } }),
    );
    assert_holds(
        &text,
        &[
            "--privs Sys.Audit && pveum acl modify / --users mcp@pve --tokens 'mcp@pve!mcp' --roles MCP-top --propagate 0\n",
            "--privs VM.PowerMgmt && pveum acl modify /vms/100 ",
        ],
    );
}

#[test]
fn checks_the_host_even_without_a_token() {
    let server = Server::tls("server", vec![vec![Hold]]);
    let settings = Settings {
        connection: Err(vec![Problem::Missing {
            variable: "PROXMOX_TOKEN_NAME",
            meaning: "a name".to_owned(),
        }]),
        safety: Safety::default(),
    };
    let environment = Environment {
        hosts: connection(true, server.at, Check::Strict, &["ca"]).hosts,
        ..Environment::default()
    };
    let text = run(&settings, &environment).text(false);
    assert_eq!(server.requests(), [""; 0]);
    assert_holds(
        &text,
        &[
            "failed   settings         PROXMOX_TOKEN_NAME is missing",
            "ok       name-resolution ",
            "ok       tcp ",
            "ok       tls ",
            "skipped  api-version      and token, login, privileges, clock, nodes: needs the settings\n",
            "ok       elevated ",
            "ok       toolsets ",
        ],
    );
}

#[test]
fn grants_to_the_user_as_well_and_quotes_for_the_shell() {
    let audit = json!({ "VM.Audit": 1 });
    let everywhere = json!({ "/": audit, "/vms": audit });
    let tool = "proxmox_start_vm";
    assert_holds(
        &rights("mcp@pve!mcp", tool, everywhere.clone()),
        &[
            "  PROXMOX_EXCLUDE_TOOLS=proxmox_start_vm\n",
            "--privs VM.Audit,VM.PowerMgmt && pveum acl modify /vms/VMID --users mcp@pve --tokens 'mcp@pve!mcp' --roles MCP-vms-VMID\n",
            "VMID stands for each guest to allow (/vms: all).",
        ],
    );
    assert_holds(
        &rights("o'neil@pve!mcp", tool, everywhere),
        &[r"--users 'o'\''neil@pve' --tokens 'o'\''neil@pve!mcp' --roles MCP-vms-VMID"],
    );
    assert_holds(
        &rights("mcp@pve!mcp", tool, json!({})),
        &["  pveum acl modify / --users mcp@pve --tokens 'mcp@pve!mcp' --roles PVEAuditor\n"],
    );
}

#[test]
fn names_only_the_first_few_of_many_paths() {
    let guests = (100..110).map(|id| (format!("/vms/{id}"), json!({ "VM.Audit": 1 })));
    let text = rights(
        "mcp@pve!mcp",
        "proxmox_get_vms,proxmox_stop_lxc",
        guests.collect(),
    );
    assert_eq!(text.matches("acl modify").count(), 5, "{text}");
    assert_holds(
        &text,
        &[
            "lacks privileges for 1 of the 2 available tools",
            "- VM.PowerMgmt on /vms: stop_lxc\n",
            "- only on /vms/100 /vms/101 /vms/102 /vms/103 /vms/104 and 5 more: get_vms\n",
            "5 more paths below /vms need the same.",
            "pveum acl modify /vms/104 --users mcp@pve --tokens 'mcp@pve!mcp' --roles MCP-vms-104\n",
        ],
    );
}

#[test]
fn privileges_for_a_new_guest_are_granted_on_all_guests_not_on_an_existing_one() {
    let tools = "proxmox_create_vm,proxmox_delete_vm";
    let of_guest = json!({ "/vms/100": { "VM.Allocate": 1, "VM.Audit": 1 } });
    let text = rights("mcp@pve!mcp", tools, of_guest);
    assert_holds(
        &text,
        &[
            "lacks privileges for 1 of the 2 available tools",
            "VM.Allocate VM.Config.CPU",
            "VM.PowerMgmt on /vms or a pool,",
            "only on /vms/100: delete_vm",
            "--privs VM.Allocate,VM.Config.CPU,",
            " && pveum acl modify /vms --users mcp@pve --tokens 'mcp@pve!mcp' --roles MCP-vms\n",
            "on /pool/POOL",
        ],
    );
    assert!(!text.contains("acl modify /vms/"), "{text}");
    // A role inherited from the root path is granted again, since the new one would replace it.
    let auditor = json!({ "Datastore.Audit": 1, "Sys.Audit": 1, "VM.Audit": 1 });
    let everywhere = json!({ "/": auditor, "/vms": auditor });
    assert_holds(
        &rights("mcp@pve!mcp", tools, everywhere),
        &["acl modify /vms --users mcp@pve --tokens 'mcp@pve!mcp' --roles PVEAuditor,MCP-vms\n"],
    );
}
