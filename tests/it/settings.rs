//! Settings and command line, seen from outside.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::session::Session;

pub(crate) const SECRET: &str = "6f1de4c2-7b1e-4f0e-9d37-0a52c1b8e9aa";

/// Runs the program with only these arguments and variables, and without input.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    program(arguments, variables)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn program(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied());
    command
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("the output is UTF-8")
}

/// Returns the message about a wrong command line, which exits with 2 and prints no result.
#[track_caller]
fn usage_error(arguments: &[&str]) -> String {
    let output = run(arguments, &[]);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    text(&output.stderr).to_owned()
}

#[test]
fn help_names_every_setting_and_command() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["tools", "--help", "--demo"],
    ] {
        let output = run(arguments, &[]);
        assert!(output.status.success());
        assert!(output.stderr.is_empty());
        let help = text(&output.stdout);
        for name in [
            "--host HOST",
            "--port PORT",
            "--user USER@REALM",
            "--token-name NAME",
            "PROXMOX_TOKEN_VALUE",
            "--token-file FILE",
            "--ssl-mode MODE",
            "--ca-file FILE",
            "--fingerprint SHA256",
            "--timeout SECONDS",
            "--allow-elevated[=BOOLEAN]",
            "--demo",
            "--help",
            "--version",
            "call TOOL [JSON]",
            "tools [--json|--markdown]",
            "tools TOOL",
            "check [--json]",
            "--user mcp@pve",
            "RUST_LOG",
        ] {
            assert!(help.contains(name), "{name}");
        }
        assert!(!help.contains("--token-value"));
        assert!(help.lines().all(|line| line.chars().count() <= 105));
    }
}

#[test]
fn version_is_that_of_the_package() {
    let expected = format!("proxmox-mcp {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "-V"] {
        let output = run(&[flag], &[]);
        assert!(output.status.success());
        assert_eq!(text(&output.stdout), expected);
    }
}

#[test]
fn explains_a_wrong_command_line_and_exits_with_2() {
    for (arguments, expected) in [
        (&["--hosts", "pve1"][..], "did you mean --host?"),
        (&["--token_name=mcp"], "did you mean --token-name?"),
        (&["-x"], "there is no flag -x"),
        (&["--port"], "--port needs a value"),
        (&["--demo=yes"], "--demo takes no value"),
        (&["--json"], "--json belongs to the command `tools`"),
        (
            &["package", "server-json", "--binaries", "x"],
            "--binaries belongs to the command `package mcpb`",
        ),
        (
            &["package", "mcpb", "x", "--binaries"],
            "--binaries needs a value",
        ),
        (&["cal", "proxmox_get_nodes"], "did you mean call?"),
        (
            &["proxmox_get_nodes"],
            "did you mean `call proxmox_get_nodes`?",
        ),
        (&["serve"], "there is no command \"serve\"\n"),
        (&["tools", "all"], "there is no tool \"all\""),
        (&["tools", "get_nodes"], "did you mean proxmox_get_nodes?"),
        (
            &["tools", "proxmox_get_nodes", "x"],
            "takes either one name, --json or --markdown",
        ),
        (
            &["tools", "proxmox_get_nodes", "--json"],
            "takes either one name, --json or --markdown",
        ),
        (
            &["--allow-elevated", "true", "call", "proxmox_get_nodes"],
            "write --allow-elevated=true",
        ),
        (&["true"], "there is no command true"),
        (&["--allow-elevate"], "did you mean --allow-elevated?"),
        (&["--url=pve1"], "did you mean --host?"),
        (&["--demos"], "did you mean --demo?"),
        (&["call"], "needs the name of a tool"),
        (
            &["call", "proxmox_get_node"],
            "did you mean proxmox_get_nodes?",
        ),
        (&["call", "get_nodes"], "did you mean proxmox_get_nodes?"),
        (&["call", "bake_a_cake"], "`proxmox-mcp tools` lists all"),
        (
            &["call", "proxmox_get_nodes", "node=pve1"],
            "must be a JSON object like",
        ),
        (
            &["call", "proxmox_get_nodes", "[]"],
            "must be a JSON object like",
        ),
        (&["call", "proxmox_get_nodes", "{", "}"], "in single quotes"),
    ] {
        let message = usage_error(arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(message.ends_with("proxmox-mcp --help shows the usage\n"));
    }
}

#[test]
fn accepts_no_secret_on_the_command_line_and_repeats_none() {
    let joined = format!("--token-value={SECRET}");
    for arguments in [
        &[joined.as_str()][..],
        &["--token-value", SECRET],
        &["--token", SECRET],
        &["--token-secret", SECRET],
    ] {
        let message = usage_error(arguments);
        assert!(message.contains("PROXMOX_TOKEN_VALUE"), "{message}");
        assert!(message.contains("--token-file"), "{message}");
        assert!(!message.contains(SECRET));
    }
    let message = usage_error(&["--password", SECRET]);
    assert!(message.contains("--password-file"), "{message}");
    assert!(!message.contains(SECRET));
    let joined = format!("--demo={SECRET}");
    assert!(!usage_error(&[&joined]).contains(SECRET));
}

#[test]
fn lists_the_tools_without_settings() {
    let output = run(&["tools"], &[]);
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    assert!(text(&output.stdout).contains("\n  proxmox_get_nodes "));

    for arguments in [["tools", "--json"], ["--json", "tools"]] {
        let output = run(&arguments, &[]);
        assert!(output.status.success());
        let tools: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
        assert_eq!(tools[0]["name"], "proxmox_get_nodes");
        assert!(output.stdout.ends_with(b"\n]\n"));
    }
}

#[test]
fn shows_the_parameters_of_a_tool() {
    let output = run(&["tools", "proxmox_get_node_disk_smart"], &[]);
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    let page = text(&output.stdout);
    for part in [
        "proxmox_get_disk_smart: ",
        " (basic)\n",
        "\n  node ",
        "  required  ",
        "\nRequests: GET /nodes/{node}/disks/smart\n",
        "\nExample: proxmox-mcp --demo call proxmox_get_disk_smart '{\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let output = run(&["tools", "proxmox_create_lxc"], &[]);
    let page = text(&output.stdout);
    assert!(page.contains("true or false; default: true\n"), "{page}");
    assert!(page.contains("--demo --allow-elevated call"), "{page}");
}

#[test]
fn a_failed_call_exits_with_1() {
    for arguments in [
        &["call", "proxmox_get_nodes"][..],
        &["call", "proxmox_get_nodes", "{}", "--host=pve/1"],
        &["--host", "pve/1", "call", "proxmox_get_nodes", " { } "],
    ] {
        assert_eq!(run(arguments, &[]).status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn starts_with_invalid_settings_and_warns_in_one_line() {
    let variables = [
        ("PROXMOX_HOST", "${user_config.host}"),
        ("PROXMOX_ALLOW_ELEVATED", "maybe"),
    ];
    let output = run(&["--port=0"], &variables);
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    let warning = text(&output.stderr);
    assert_eq!(warning.lines().count(), 1, "{warning}");
    for name in [
        "PROXMOX_HOST is missing",
        "--port must be",
        "PROXMOX_TOKEN_NAME is missing",
        "PROXMOX_TOKEN_VALUE is missing",
        "PROXMOX_ALLOW_ELEVATED must be",
    ] {
        assert!(warning.contains(name), "{name}: {warning}");
    }
}

#[test]
fn warns_about_variables_without_effect_and_continues() {
    let variables = [
        ("PROXMOX_ALLOW_ELEVATE", "true"),
        ("PROXMOX_PASSWORD", SECRET),
        ("PROXMOX_SSL_MODE", "insecure"),
        ("PROXMOX_CA_FILE", "/nonexistent"),
    ];
    let output = run(&[], &variables);
    assert!(output.status.success());
    let warnings = text(&output.stderr);
    for line in [
        "PROXMOX_ALLOW_ELEVATE (did you mean PROXMOX_ALLOW_ELEVATED?), \
         PROXMOX_PASSWORD (did you mean PROXMOX_PASSWORD_FILE?)",
        "without effect: PROXMOX_CA_FILE",
    ] {
        assert!(warnings.contains(line), "{warnings}");
    }
    assert!(!warnings.contains(SECRET), "{warnings}");
}

#[test]
fn lists_tools_with_invalid_settings_and_reports_all_problems_on_a_call() {
    let mut session = Session::start(&["--port=0"], &[("PROXMOX_TOKEN_NAME", "a=b")]);
    let listed = session.request("tools/list", json!({}));
    assert_eq!(listed["result"]["tools"][0]["name"], "proxmox_get_nodes");
    let result = session.call("proxmox_get_nodes", json!({}));
    assert_eq!(result["isError"], true);
    let cause = result["content"][0]["text"].to_string();
    for name in [
        "PROXMOX_HOST is missing",
        "--port must be",
        "PROXMOX_TOKEN_NAME must be",
        "PROXMOX_TOKEN_VALUE is missing",
    ] {
        assert!(cause.contains(name), "{name}: {cause}");
    }
    session.finish();
}

#[test]
fn accepts_the_switch_with_and_without_a_value() {
    for (flag, accepted) in [
        ("--allow-elevated", true),
        ("--allow-elevated=off", true),
        ("--allow-elevated=maybe", false),
    ] {
        let output = run(&["--demo", flag], &[]);
        assert!(output.status.success());
        let complains = text(&output.stderr).contains("--allow-elevated must be");
        assert_eq!(complains, !accepted, "{flag}");
    }
}

#[test]
fn a_demonstration_needs_no_settings_and_says_what_it_is() {
    let output = run(&["--demo"], &[]);
    assert!(output.status.success());
    let warning = text(&output.stderr);
    assert_eq!(warning.lines().count(), 1, "{warning}");
    assert!(warning.contains("this is a demonstration"));
}

#[test]
fn never_writes_the_secret() {
    let pasted = &*format!("root@pam!mcp={SECRET}");
    let file = std::env::temp_dir().join(format!("proxmox-mcp-{}-token", std::process::id()));
    std::fs::write(&file, pasted).expect("the file can be written");
    let file_name = file.to_str().expect("the path is UTF-8");
    let complete = [
        ("PROXMOX_HOST", "pve1.example"),
        ("PROXMOX_TOKEN_NAME", "mcp"),
        ("PROXMOX_TOKEN_VALUE", SECRET),
    ];
    let with = |variable, value| [complete.to_vec(), vec![(variable, value)]].concat();
    let only = |variable, value| vec![(variable, value)];
    // Calls are only made while the settings are incomplete, so that nothing is ever sent.
    for (arguments, variables) in [
        (&[][..], complete.to_vec()),
        (&["call", "proxmox_get_nodes"], with("PROXMOX_PORT", "0")),
        (
            &["call", "proxmox_get_nodes"],
            only("PROXMOX_TOKEN_VALUE", pasted),
        ),
        (
            &["call", "proxmox_get_nodes"],
            only("PROXMOX_TOKEN_NAME", pasted),
        ),
        (
            &["call", "proxmox_get_nodes"],
            only("PROXMOX_TOKEN_FILE", file_name),
        ),
        (
            &["call", "proxmox_get_nodes"],
            only("PROXMOX_TOKEN_FILE", SECRET),
        ),
        (&[], only("PROXMOX_TOKEN_VALUE", pasted)),
        (&[], only("PROXMOX_USER", pasted)),
        (&[], only("PROXMOX_HOST", pasted)),
        (&[], only("PROXMOX_TOKEN_FILE", file_name)),
        (&["--help"], complete.to_vec()),
        (&["tools"], complete.to_vec()),
    ] {
        let variables = [variables, vec![("RUST_LOG", "trace")]].concat();
        let output = run(arguments, &variables);
        for stream in [&output.stdout, &output.stderr] {
            for part in SECRET.split('-') {
                assert!(!text(stream).contains(part), "{arguments:?} {variables:?}");
            }
            assert!(!text(stream).contains("TRACE"));
        }
    }
    std::fs::remove_file(&file).expect("it was written");
}

#[test]
fn a_closed_output_is_not_a_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let status = program(&["--help"], &[])
        .stdout(writer)
        .status()
        .expect("the program starts");
    assert!(status.success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_output_exits_with_1() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("it is there");
    let status = program(&["--help"], &[])
        .stdout(full)
        .stderr(Stdio::null())
        .status()
        .expect("the program starts");
    assert_eq!(status.code(), Some(1));
}
