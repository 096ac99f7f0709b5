//! The commands that print the input of other programs: fingerprints, configurations, completions, packages.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::session::Session;
use crate::settings::{SECRET, run, text};
use crate::snapshot;

/// Returns what a successful command prints.
#[track_caller]
fn printed(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(arguments, variables);
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    text(&output.stdout).to_owned()
}

/// Returns the error of a command that failed, which prints no result.
#[track_caller]
fn failure(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(arguments, variables);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let message = text(&output.stderr);
    assert!(message.contains("❌ Error: "), "{message}");
    assert!(message.contains("\n\nCause: "), "{message}");
    message.to_owned()
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|err| panic!("{err}: {text}"))
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Returns a path for the files of one test.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("proxmox-mcp-{}-{name}", std::process::id()))
}

/// Starts a TLS server for one connection; its thread returns what the client sent within TLS.
fn tls_server() -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let fixture = |name| format!("{}/fixtures/tls/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let certificate = CertificateDer::from_pem_file(fixture("server")).expect("it is PEM");
    let key = PrivateKeyDer::from_pem_file(fixture("key")).expect("it is PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key is that of the certificate");
    // If the client left a ticket unread, closing would reset the connection.
    config.send_tls13_tickets = 0;
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let at = listener.local_addr().expect("it is bound");
    let thread = thread::spawn(move || {
        let (socket, _) = listener.accept().expect("the program connects");
        let tls = rustls::ServerConnection::new(Arc::new(config)).expect("it is complete");
        let mut sent = Vec::new();
        // The client closes TCP without closing TLS.
        match rustls::StreamOwned::new(tls, socket).read_to_end(&mut sent) {
            Err(err) if err.kind() != ErrorKind::UnexpectedEof => panic!("no handshake: {err}"),
            _ => sent,
        }
    });
    (at, thread)
}

#[test]
fn fingerprint_shows_the_certificate_and_sends_nothing() {
    let (at, sent) = tls_server();
    // `openssl x509 -noout -fingerprint -sha256 -in fixtures/tls/server.pem`
    let fingerprint = "54:6B:3B:1F:09:BF:F8:A2:C4:97:D4:E8:27:DE:E0:55:E7:4A:45:A9:AF:BD:EE:BC:B5:6D:91:C8:79:D9:E9:E4";
    let shown = printed(
        &["fingerprint", "--host", &at.to_string()],
        &[("PROXMOX_SSL_MODE", "insecure"), ("RUST_LOG", "trace")],
    );
    assert_holds(
        &shown,
        &[
            &format!("{at} presents this certificate, unchecked:\n"),
            "\nsubject:  O=Proxmox Virtual Environment, OU=PVE Cluster Node, CN=localhost\n",
            "\nissuer:   CN=Proxmox Virtual Environment, OU=00000000-",
            "\nvalid:    2020-01-01 00:00:00Z to 2126-01-01 00:00:00Z\n",
            &format!("\nSHA-256:  {fingerprint}\n"),
            "could have presented another one",
            "openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem\n",
            &format!("\nPROXMOX_FINGERPRINT={fingerprint}\n"),
        ],
    );
    let sent = sent.join().expect("the handshake is complete");
    assert_eq!(sent, b"", "something was sent");
}

#[test]
fn fingerprint_pins_each_of_several_hosts() {
    let ((first, _), (second, _)) = (tls_server(), tls_server());
    let shown = printed(
        &["fingerprint", "--host", &format!("{first},{second}")],
        &[],
    );
    for at in [first, second] {
        assert_holds(&shown, &[&format!("{at} presents this certificate")]);
    }
    let line = shown.lines().last().expect("there are lines");
    let pins = line.strip_prefix("PROXMOX_FINGERPRINT=");
    let pins: Vec<&str> = pins.expect("it sets the variable").split(',').collect();
    assert_eq!(pins.len(), 2);
    assert_eq!((pins[0].len(), pins[0]), (95, pins[1]));
}

/// Returns an address on which nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

#[test]
fn fingerprint_shows_a_host_that_answers_although_another_does_not() {
    let closed = nowhere();
    for answers_first in [true, false] {
        let (at, _) = tls_server();
        let (hosts, pins) = match answers_first {
            true => (format!("{at},{closed}"), [95, 0]),
            false => (format!("{closed},{at}"), [0, 95]),
        };
        let output = run(&["fingerprint", "--host", &hosts], &[]);
        assert_eq!(output.status.code(), Some(1));
        let shown = text(&output.stdout);
        assert_holds(shown, &[&format!("{at} presents this certificate")]);
        let line = shown.lines().last().expect("there are lines");
        let line = line
            .strip_prefix("PROXMOX_FINGERPRINT=")
            .expect("it sets the variable");
        let lengths: Vec<usize> = line.split(',').map(str::len).collect();
        assert_eq!(lengths, pins);
        let errors = text(&output.stderr);
        assert_holds(
            errors,
            &[&format!(
                "❌ Error: cannot reach {closed}\n\nCause: connection refused\n"
            )],
        );
    }
}

#[test]
fn fingerprint_says_why_there_is_no_certificate() {
    let closed = nowhere();
    let plain = format!("http://{closed}");
    for (host, parts) in [
        ("", ["PROXMOX_HOST is missing", "any node"]),
        ("pve/1", ["PROXMOX_HOST must", "no path"]),
        (&closed, ["connection refused", "Check PROXMOX_HOST"]),
        (&plain, ["has no certificate", "https://"]),
    ] {
        assert_holds(
            &failure(&["fingerprint"], &[("PROXMOX_HOST", host)]),
            &parts,
        );
    }
}

#[test]
fn config_contains_the_settings_without_the_secret() {
    let variables = [
        ("PROXMOX_HOST", "pve1.example"),
        ("PROXMOX_USER", r#"a"b'c\d$e@pve"#),
        ("PROXMOX_TOKEN_NAME", "mcp"),
        ("PROXMOX_TOKEN_VALUE", SECRET),
        ("PROXMOX_ALLOW_ELEVATED", ""),
    ];
    let program = env!("CARGO_BIN_EXE_proxmox-mcp");
    for (client, root) in [
        ("claude-desktop", "mcpServers"),
        ("cursor", "mcpServers"),
        ("vscode", "servers"),
    ] {
        let shown = printed(&["config", client, "--port=8007"], &variables);
        let server = &json(&shown)[root]["proxmox"];
        assert_eq!(server["command"], program);
        let environment = server["env"].as_object().expect("it is an object");
        assert_eq!(environment.len(), 5, "{shown}");
        assert_eq!(environment["PROXMOX_HOST"], "pve1.example");
        assert_eq!(environment["PROXMOX_PORT"], "8007");
        assert_eq!(environment["PROXMOX_USER"], r#"a"b'c\d$e@pve"#);
        let secret = match client {
            "vscode" => "${input:proxmox-secret}",
            _ => "<secret of the API token>",
        };
        assert_eq!(environment["PROXMOX_TOKEN_VALUE"], secret);
    }
    let shown = printed(&["config", "vscode"], &variables);
    let input = &json(&shown)["inputs"][0];
    assert_eq!(input["id"], "proxmox-secret");
    assert_eq!(input["password"], true);

    let shown = printed(&["config", "codex"], &variables);
    assert_holds(
        &shown,
        &[
            &format!("[mcp_servers.proxmox]\ncommand = \"{program}\"\nargs = []\n"),
            "\n\n[mcp_servers.proxmox.env]\nPROXMOX_HOST = \"pve1.example\"\n",
            "\nPROXMOX_USER = \"a\\\"b'c\\\\d$e@pve\"\n",
            "\nPROXMOX_TOKEN_VALUE = \"<secret of the API token>\"\n",
        ],
    );
    let shown = printed(&["config", "claude-code"], &variables);
    assert_holds(
        &shown,
        &[
            "claude mcp add \\\n  --env PROXMOX_HOST=pve1.example \\\n",
            "  --env 'PROXMOX_USER=a\"b'\\''c\\d$e@pve' \\\n",
            "  --env 'PROXMOX_TOKEN_VALUE=<secret of the API token>' \\\n",
            &format!("  --transport stdio --scope user proxmox -- {program}\n"),
        ],
    );
    for client in crate::clients::NAMES {
        let shown = printed(&["config", client], &variables);
        for part in SECRET.split('-') {
            assert!(!shown.contains(part), "{shown}");
        }
        let shown = printed(&["config", client, "--with-secret"], &variables);
        assert!(shown.contains(SECRET), "{shown}");
        assert!(!shown.contains("secret of the API token"), "{shown}");
        assert!(!shown.contains("input"), "{shown}");
    }
}

#[test]
fn config_writes_absolute_paths_and_prefers_the_token_file() {
    let file = path("config-secret");
    fs::write(&file, format!("{SECRET}\n")).expect("the file can be written");
    let folder = std::env::current_dir().expect("there is one");
    // Cargo runs tests in the package's folder.
    let up = "../".repeat(folder.components().count() - 1);
    let relative = format!("{up}{}", file.strip_prefix("/").unwrap_or(&file).display());
    let variables = [("PROXMOX_HOST", "pve1"), ("PROXMOX_TOKEN_NAME", "mcp")];
    let arguments = [
        "config",
        "cursor",
        "--token-file",
        &relative,
        "--with-secret",
    ];
    for arguments in [&arguments[..4], &arguments] {
        let shown = json(&printed(arguments, &variables));
        let environment = &shown["mcpServers"]["proxmox"]["env"];
        let named = environment["PROXMOX_TOKEN_FILE"].as_str();
        let named = named.expect("it names the file");
        assert!(named.starts_with('/'), "{named}");
        let content = fs::read_to_string(named).expect("it is the file");
        assert_eq!(content.trim_end(), SECRET);
        assert_eq!(environment["PROXMOX_TOKEN_VALUE"], Value::Null);
        assert!(!shown.to_string().contains(SECRET));
    }
    fs::remove_file(&file).expect("it was written");
}

#[test]
fn config_writes_placeholders_for_missing_values_and_rejects_invalid_ones() {
    let output = run(&["config", "cursor"], &[("PROXMOX_HOSTS", "pve1")]);
    assert!(output.status.success());
    let shown = json(text(&output.stdout));
    let environment = &shown["mcpServers"]["proxmox"]["env"];
    let place = environment["PROXMOX_HOST"].as_str();
    assert!(
        place.is_some_and(|place| place.starts_with("<any node")),
        "{shown}"
    );
    assert_eq!(environment["PROXMOX_TOKEN_NAME"], "<name of the API token>");
    assert_holds(
        text(&output.stderr),
        &["PROXMOX_HOST is missing", "did you mean PROXMOX_HOST?"],
    );

    let pasted = &*format!("root@pam!mcp={SECRET}");
    for (variable, value) in [
        ("PROXMOX_USER", pasted),
        ("PROXMOX_TOKEN_NAME", pasted),
        ("PROXMOX_TOKEN_VALUE", pasted),
        ("PROXMOX_TOKEN_FILE", SECRET),
        ("PROXMOX_ALLOW_ELEVATED", SECRET),
    ] {
        for arguments in [&["config", "codex"][..], &["--demo", "config", "codex"]] {
            let message = failure(arguments, &[(variable, value)]);
            assert_holds(&message, &[variable]);
            assert!(!message.contains("6f1d"), "{message}");
        }
    }
}

#[test]
fn config_rejects_a_misspelt_safety_setting() {
    let failure = failure(&["config", "codex"], &[("PROXMOX_READONLY", "true")]);
    assert_holds(
        &failure,
        &["PROXMOX_READONLY is not a setting: unset it, or set PROXMOX_READ_ONLY"],
    );
}

#[test]
fn config_of_the_demonstration_needs_no_settings() {
    let variables = [("PROXMOX_TOKEN_VALUE", SECRET)];
    let output = run(&["--demo", "config", "generic"], &variables);
    assert!(output.status.success());
    assert!(!text(&output.stderr).contains("WARN"));
    let shown = json(text(&output.stdout));
    let server = &shown["mcpServers"]["proxmox-demo"];
    assert_eq!(server["args"][0], "--demo");
    assert_eq!(server["env"], serde_json::json!({}));
}

/// Returns the flags, and the first words of the commands, in the output of `--help`.
fn declared() -> (Vec<String>, Vec<String>) {
    let help = printed(&["--help"], &[]);
    let section = |title| {
        let (_, rest) = help.split_once(title).expect("the section is there");
        rest.split("\n\n").next().expect("it has an end").to_owned()
    };
    let flags = section("\nFlags:\n") + &section("\nSettings:\n");
    let flags = flags
        .split([' ', '[', '\n'])
        .filter(|word| word.starts_with("--"));
    let commands = section("\nCommands:\n");
    let commands = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with([' ']) && !line.starts_with("none"))
        .map(|line| line.split(' ').next().expect("it has a word"));
    (
        flags.map(str::to_owned).collect(),
        commands.map(str::to_owned).collect(),
    )
}

#[test]
fn completions_contain_all_flags_commands_names_and_tools() {
    let (flags, commands) = declared();
    assert!(
        flags.len() > 10 && commands.len() > 5,
        "{flags:?} {commands:?}"
    );
    let tools = json(&printed(&["tools", "--json"], &[]));
    let tools = tools.as_array().expect("it is a list");
    let tools: Vec<&str> = tools
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell], &[]);
        let words: Vec<&str> = script
            .split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c))
            .collect();
        for flag in &flags {
            let flag = match shell {
                "fish" => flag.trim_start_matches('-'),
                _ => flag,
            };
            assert!(words.contains(&flag), "{shell}: {flag}");
        }
        let names = [
            "claude-desktop",
            "codex",
            "mcpb",
            "server-json",
            "strict",
            "fish",
        ];
        let commands = commands.iter().map(String::as_str);
        for name in commands.chain(names).chain(tools.iter().copied()) {
            assert!(words.contains(&name), "{shell}: {name}");
        }
        assert!(script.contains("proxmox_get_nodes"));
    }
}

#[test]
fn the_manual_page_contains_everything_in_the_help() {
    let (flags, commands) = declared();
    let page = printed(&["man"], &[]);
    assert!(page.starts_with(".TH "));
    let version = env!("CARGO_PKG_VERSION");
    assert!(page.contains(&format!("proxmox\\-mcp {version}")));
    let bold = |word: &str| format!("\\fB{}", word.replace('-', "\\-"));
    for name in &commands {
        assert!(page.contains(&format!("\n{}", bold(name))), "{name}");
    }
    for flag in &flags {
        let flag = flag.replace('-', "\\-");
        assert!(page.contains(&flag), "{flag}");
    }
    assert_holds(
        &page,
        &["PROXMOX_TOKEN_VALUE", "PROXMOX_HOST", ".SH EXIT STATUS"],
    );
    // An unescaped dash would be printed as a typographic hyphen, which no shell accepts.
    assert!(!page.replace("\\-", "").contains('-'), "{page}");
}

#[test]
fn a_bundle_asks_for_each_setting_and_contains_the_binary() {
    let folder = path("bundle");
    let named = folder.to_str().expect("the path is UTF-8");
    let said = printed(
        &["package", "mcpb", named],
        &[("PROXMOX_HOST", "my.example")],
    );
    assert_holds(
        &said,
        &["manifest.json\n", "server", "proxmox-mcp", "mcpb pack"],
    );
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("it was written");
    assert!(!manifest.contains("my.example"), "{manifest}");
    let manifest = json(&manifest);
    assert_eq!(manifest["manifest_version"], "0.3");
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    let fields = manifest["user_config"].as_object().expect("it has fields");
    let environment = manifest["server"]["mcp_config"]["env"].as_object();
    let environment = environment.expect("it has variables");
    assert_eq!(fields.len(), environment.len());
    for (variable, value) in environment {
        let name = value
            .as_str()
            .and_then(|value| value.strip_prefix("${user_config."));
        let name = name.and_then(|name| name.strip_suffix('}'));
        let field = &fields[name.expect("it is a placeholder")];
        for text in ["title", "description"] {
            assert!(!field[text].as_str().unwrap_or("").is_empty(), "{variable}");
        }
        let open = field["required"] == false && field["default"].is_null();
        assert!(!open, "{variable} would be passed on as a placeholder");
        let secret = variable == "PROXMOX_TOKEN_VALUE";
        assert_eq!(field["sensitive"] == true, secret, "{variable}");
        let required = ["PROXMOX_HOST", "PROXMOX_TOKEN_NAME"].contains(&&**variable);
        assert_eq!(field["required"] == true, required || secret, "{variable}");
    }
    assert_eq!(fields["allow_elevated"]["type"], "boolean");
    assert_eq!(fields["allow_elevated"]["default"], false);
    assert_eq!(fields["ca_file"]["type"], "file");
    assert_eq!(fields["ssl_mode"]["title"], "SSL mode");
    let settings = variables();
    for variable in settings {
        let known = environment.contains_key(&variable);
        assert_eq!(known, variable != "PROXMOX_TOKEN_FILE", "{variable}");
    }

    let program = manifest["server"]["entry_point"].as_str();
    let program = folder.join(program.expect("it is named"));
    let original = fs::metadata(env!("CARGO_BIN_EXE_proxmox-mcp")).expect("it is there");
    let copy = fs::metadata(&program).expect("it is there");
    assert_eq!(copy.len(), original.len());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(copy.permissions().mode() & 0o100, 0o100);
    }
    let platforms = &manifest["compatibility"]["platforms"];
    #[cfg(target_os = "linux")]
    assert_eq!(*platforms, serde_json::json!(["linux"]));
    assert_eq!(platforms.as_array().map(Vec::len), Some(1));
    assert!(manifest["server"]["mcp_config"]["platform_overrides"].is_null());
    let icon = manifest["icon"].as_str().expect("it is named");
    let icon = fs::read(folder.join(icon)).expect("it was written");
    assert!(icon.starts_with(b"\x89PNG") && icon.len() < 4_000);

    let message = failure(&["package", "mcpb", named], &[]);
    assert_holds(&message, &["cannot write a bundle", "exists", "empty"]);
    fs::remove_dir_all(&folder).expect("it was written");
}

#[test]
fn a_bundle_for_all_systems_has_the_program_of_each_with_its_licenses() {
    let (folder, binaries) = (path("bundle-of-all"), path("binaries"));
    let named = folder.to_str().expect("the path is UTF-8");
    let from = binaries.to_str().expect("the path is UTF-8");
    let package = ["package", "mcpb", named, "--binaries", from];
    let message = failure(&package, &[]);
    assert_holds(
        &message,
        &["there is no program in", ".ci/release", "linux/proxmox-mcp"],
    );
    assert!(!folder.exists(), "nothing is written");

    let systems = [
        ("linux", "proxmox-mcp"),
        ("darwin", "proxmox-mcp"),
        ("win32", "proxmox-mcp.exe"),
    ];
    for (system, program) in systems {
        let of = binaries.join(system);
        fs::create_dir_all(&of).expect("it can be made");
        for file in [program, "LICENSE", "THIRD-PARTY-LICENSES"] {
            fs::write(of.join(file), format!("{file} of {system}")).expect("it can be written");
        }
    }
    printed(&package, &[]);
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("it was written");
    let manifest = json(&manifest);
    let platforms = &manifest["compatibility"]["platforms"];
    assert_eq!(*platforms, serde_json::json!(["linux", "darwin", "win32"]));
    let config = &manifest["server"]["mcp_config"];
    for (system, program) in systems {
        let command = match system {
            "linux" => &config["command"],
            _ => &config["platform_overrides"][system]["command"],
        };
        let command = command
            .as_str()
            .and_then(|it| it.strip_prefix("${__dirname}/"));
        let copy = folder.join(command.expect("it is in the bundle"));
        let content = fs::read_to_string(&copy).expect("it was copied");
        assert_eq!(content, format!("{program} of {system}"));
        assert!(copy.with_file_name("THIRD-PARTY-LICENSES").exists());
    }
    assert_eq!(
        manifest["server"]["entry_point"],
        "server/linux/proxmox-mcp"
    );
    fs::remove_dir_all(&folder).expect("it was written");
    fs::remove_dir_all(&binaries).expect("it was written");
}

/// Returns the variables of all settings, as `src/settings/README.md` lists them.
fn variables() -> Vec<String> {
    let readme = fs::read_to_string(snapshot::below_package("src/settings/README.md"));
    let readme = readme.expect("the README can be read");
    let (table, _) = readme
        .split_once("<!-- /settings -->")
        .expect("the table ends");
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `PROXMOX_"));
    let names = rows.filter_map(|row| row.split('`').next());
    names.map(|name| format!("PROXMOX_{name}")).collect()
}

#[test]
fn the_registry_entry_has_each_setting_and_the_hash_of_a_bundle() {
    let bundle = path("a.mcpb");
    fs::write(&bundle, "abc").expect("the file can be written");
    let named = bundle.to_str().expect("the path is UTF-8");
    let entry = json(&printed(&["package", "server-json", named], &[]));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(entry["version"], version);
    let length = entry["description"].as_str().map(str::len);
    assert!(length.is_some_and(|length| (1..=100).contains(&length)));
    let package = &entry["packages"][0];
    assert_eq!(package["registryType"], "mcpb");
    // FIPS 180-4, the hash of "abc".
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(package["fileSha256"], hash);
    let url = package["identifier"].as_str().expect("it is a text");
    assert!(url.starts_with("https://"), "{url}");
    assert!(url.ends_with(&format!(
        "v{version}/{}",
        bundle.file_name().unwrap_or_default().display()
    )));
    fs::remove_file(&bundle).expect("it was written");

    let image = &entry["packages"][1];
    assert_eq!(image["registryType"], "oci");
    let settings = variables();
    for package in [package, image] {
        assert_eq!(package["transport"]["type"], "stdio");
        let variables = package["environmentVariables"].as_array();
        let variables = variables.expect("there are some");
        for name in &settings {
            let variable = variables.iter().find(|variable| variable["name"] == **name);
            let secret = name == "PROXMOX_TOKEN_VALUE";
            match variable {
                None => assert_eq!(name, "PROXMOX_TOKEN_FILE"),
                Some(variable) => assert_eq!(variable["isSecret"] == true, secret),
            }
        }
    }
    let without = json(&printed(&["package", "server-json"], &[]));
    assert_eq!(without["packages"].as_array().map(Vec::len), Some(1));
    assert_holds(
        &failure(&["package", "server-json", "/nonexistent"], &[]),
        &["cannot read /nonexistent", "mcpb pack"],
    );
}

#[test]
fn what_is_piped_is_the_text_as_clients_get_it() {
    let printed = printed(&["--demo", "call", "proxmox_get_nodes"], &[]);
    let mut session = Session::start(&["--demo"], &[]);
    let answer = session.call("proxmox_get_nodes", json!({}));
    let text = answer["content"][0]["text"].as_str().expect("a text");
    assert!(text.contains('\t') && text.contains("% of 16 CPUs"));
    assert_eq!(printed.trim_end(), text);
}
