//! `config CLIENT --write`: the files of clients, seen from outside.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::settings::{SECRET, run, text};

pub(crate) const NAMES: [&str; 11] = [
    "claude-desktop",
    "claude-code",
    "vscode",
    "cursor",
    "codex",
    "gemini-cli",
    "opencode",
    "zed",
    "windsurf",
    "continue",
    "generic",
];

/// The clients with a file, and where it is below the home folder on Linux.
#[cfg(all(unix, not(target_os = "macos")))]
const FILES: [(&str, &str); 9] = [
    (
        "claude-desktop",
        ".config/Claude/claude_desktop_config.json",
    ),
    ("vscode", ".config/Code/User/mcp.json"),
    ("cursor", ".cursor/mcp.json"),
    ("codex", ".codex/config.toml"),
    ("gemini-cli", ".gemini/settings.json"),
    ("opencode", ".config/opencode/opencode.json"),
    ("zed", ".config/zed/settings.json"),
    ("windsurf", ".codeium/windsurf/mcp_config.json"),
    ("continue", ".continue/config.yaml"),
];

/// A home folder of one test.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let name = format!("proxmox-mcp-{}-home-{name}", std::process::id());
        let home = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&home.0).expect("the folder can be made");
        let secret = home.write("secret", SECRET);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let own = fs::Permissions::from_mode(0o600);
            fs::set_permissions(secret, own).expect("they can be set");
        }
        #[cfg(not(unix))]
        let _ = secret;
        home
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    /// Writes a file with the folders above it.
    fn write(&self, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        let folder = path.parent().expect("it is in a folder");
        fs::create_dir_all(folder).expect("the folder can be made");
        fs::write(&path, content).expect("it can be written");
        path
    }

    /// The settings with the secret in a file.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |below| self.path(below).display().to_string();
        vec![
            ("HOME", path("")),
            ("USERPROFILE", path("")),
            ("PROXMOX_HOST", "pve1.example".to_owned()),
            ("PROXMOX_TOKEN_NAME", "mcp".to_owned()),
            ("PROXMOX_TOKEN_FILE", path("secret")),
        ]
    }

    /// The settings with the secret itself.
    fn with_secret(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.variables();
        variables.retain(|(name, _)| *name != "PROXMOX_TOKEN_FILE");
        variables.push(("PROXMOX_TOKEN_VALUE", SECRET.to_owned()));
        variables
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the test made it");
    }
}

/// What a command printed: its status, standard output and standard error.
struct Printed(i32, String, String);

fn config(arguments: &[&str], variables: &[(&'static str, String)]) -> Printed {
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let arguments = [&["config"], arguments].concat();
    let output = run(&arguments, &variables);
    let status = output.status.code().expect("it ended by itself");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Printed(status, out.to_owned(), err.to_owned())
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

#[track_caller]
fn parsed(path: &Path) -> Value {
    let text = read(path);
    serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"))
}

/// The names in a folder.
fn listed(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(all(unix, not(target_os = "macos")))]
#[test]
fn writes_a_new_file_for_each_client_once() {
    let home = Home::new("new");
    let program = env!("CARGO_BIN_EXE_proxmox-mcp");
    for (client, below) in FILES {
        let path = home.path(below);
        let Printed(status, out, err) = config(&[client, "--write"], &home.variables());
        assert_eq!(status, 1, "{client}: {out}");
        assert!(err.contains("There is no folder"), "{err}");
        assert!(out.contains(program), "{out}");

        let folder = path.parent().expect("it is in a folder");
        fs::create_dir_all(folder).expect("it can be made");
        let Printed(status, out, err) = config(&[client, "--diff"], &home.variables());
        assert_eq!(status, 0, "{err}");
        let shown = format!("{} (new)\nline 1:\n+ ", path.display());
        assert!(out.starts_with(&shown), "{out}");
        assert!(!path.exists());

        let Printed(status, written, err) = config(&[client, "--write"], &home.variables());
        assert_eq!(status, 0, "{err}");
        assert_eq!(err, "");
        assert_eq!(written, format!("{out}\nWritten.\n"));
        let content = read(&path);
        let lines = out.lines().skip(2).map(|line| line.get(2..).unwrap_or(""));
        assert_eq!(lines.collect::<Vec<_>>().join("\n"), content.trim_end());
        let file = home.path("secret").display().to_string();
        for part in [program, "PROXMOX_HOST", "pve1.example", &file] {
            assert!(content.contains(part), "{content}");
        }
        assert!(!content.contains(SECRET));
        let Printed(status, printed, _) = config(&[client], &home.variables());
        assert_eq!(status, 0);
        assert!(content.ends_with(&printed), "{content}\n{printed}");

        let Printed(status, out, _) = config(&[client, "--write"], &home.variables());
        assert_eq!(status, 0);
        assert_eq!(out, format!("{} has this entry already.\n", path.display()));
        assert_eq!(
            listed(folder),
            [path.file_name().expect("it has a name").to_string_lossy()]
        );
    }
    let opencode = parsed(&home.path(".config/opencode/opencode.json"));
    let entry = &opencode["mcp"]["proxmox"];
    assert_eq!(entry["type"], "local");
    assert_eq!(entry["command"], json!([program]));
    assert_eq!(entry["environment"]["PROXMOX_HOST"], "pve1.example");
    let zed = parsed(&home.path(".config/zed/settings.json"));
    assert_eq!(zed["context_servers"]["proxmox"]["args"], json!([]));
    let vscode = parsed(&home.path(".config/Code/User/mcp.json"));
    assert_eq!(vscode["servers"]["proxmox"]["type"], "stdio");
    assert_eq!(vscode["inputs"], Value::Null);
}

#[cfg(unix)]
#[test]
fn changes_a_file_that_is_there_and_keeps_a_copy() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let home = Home::new("there");
    let old = "{\r\n\t// mine\r\n\t\"mcpServers\": {\r\n\t\t\"github\": {\"env\": {\"TOKEN\": \"t0p\"}}, // x\r\n\t},\r\n}";
    let real = home.write("dotfiles/cursor.json", old);
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("they can be set");
    fs::create_dir(home.path(".cursor")).expect("it can be made");
    let link = home.path(".cursor/mcp.json");
    symlink("../dotfiles/cursor.json", &link).expect("it can be made");
    home.write("dotfiles/cursor.json.bak", "older");

    let Printed(status, out, err) = config(&["cursor", "--write"], &home.variables());
    assert_eq!(status, 0, "{err}");
    assert!(!out.contains("t0p"), "{out}");
    assert!(
        out.contains("\nline 5:\n+ \t\t\"proxmox\": {\n+ \t\t\t\"command\""),
        "{out}"
    );
    let copy = fs::canonicalize(home.path("dotfiles/cursor.json.bak-2")).expect("it is there");
    let written = format!("\nWritten. {} is the file as it was.\n", copy.display());
    assert!(out.ends_with(&written), "{out}");
    assert_eq!(read(&copy), old);
    assert_eq!(read(&home.path("dotfiles/cursor.json.bak")), "older");
    let is_link = fs::symlink_metadata(&link)
        .expect("it is there")
        .is_symlink();
    assert!(is_link);
    for path in [&real, &copy] {
        let mode = fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640, "{}", path.display());
    }
    let new = read(&real);
    let (before, after) = old.split_at(old.find("\r\n\t},").expect("it is there"));
    let added = new
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after));
    let added = added.expect("the rest is the same");
    assert!(
        added.starts_with("\r\n\t\t\"proxmox\": {\r\n\t\t\t\"command\": "),
        "{added}"
    );
    assert!(added.ends_with("\r\n\t\t},"), "{added}");
    let names = ["cursor.json", "cursor.json.bak", "cursor.json.bak-2"];
    assert_eq!(listed(&home.path("dotfiles")), names);
}

#[test]
fn replaces_its_own_entry_alone() {
    let home = Home::new("own");
    let path = home.write(
        ".cursor/mcp.json",
        "{\n  \"mcpServers\": {\n    \"proxmox\": {\n      \"command\": \"/old/proxmox-mcp\",\n      \"env\": {\n        \
         \"PROXMOX_TOKEN_VALUE\": \"0ld-s3cret\"\n      }\n    }\n  }\n}\n",
    );
    let Printed(status, out, err) = config(&["cursor", "--write"], &home.variables());
    assert_eq!(status, 0, "{err}");
    assert!(!out.contains("s3cret"), "{out}");
    for line in [
        "\nline 3:\n-     \"proxmox\": {\n-       \"command\": \"/old/proxmox-mcp\",\n",
        "\n-         \"PROXMOX_TOKEN_VALUE\": \"(hidden)\"\n",
        "\n+     \"proxmox\": {\n+       \"command\": ",
    ] {
        assert!(out.contains(line), "{out}");
    }
    let server = &parsed(&path)["mcpServers"]["proxmox"];
    assert_eq!(server["command"], env!("CARGO_BIN_EXE_proxmox-mcp"));
    assert_eq!(server["env"]["PROXMOX_TOKEN_VALUE"], Value::Null);

    let other = "{\"mcpServers\": {\"proxmox\": {\"command\": \"npx\"}}}";
    home.write(".cursor/mcp.json", other);
    let Printed(status, out, err) = config(&["cursor", "--write"], &home.variables());
    assert_eq!(status, 1);
    assert!(out.starts_with("{\n  \"mcpServers\""), "{out}");
    assert!(
        err.contains(
            "proxmox is another server there, with the command npx: rename or remove it first"
        ),
        "{err}"
    );
    assert_eq!(read(&path), other);
}

#[test]
fn leaves_a_file_alone_that_it_does_not_understand() {
    let home = Home::new("odd");
    let folder = home.path(".cursor");
    for (content, says) in [
        (
            &b"{\"mcpServers\": ["[..],
            "line 1: a value is not valid JSON",
        ),
        (
            b"{\"mcpServers\": []}",
            "\"mcpServers\" in line 1 is not an object",
        ),
        (b"{\"a\": \"\xff\"}", "It is not UTF-8"),
        (b"\xff\xfe{\0}\0", "It is not UTF-8"),
        (&[b' '; (4 << 20) + 1], "It has more than 4194304 bytes"),
    ] {
        let path = home.write(".cursor/mcp.json", content);
        for purpose in ["--write", "--diff"] {
            let Printed(status, out, err) = config(&["cursor", purpose], &home.variables());
            assert_eq!(status, 1);
            let entry: Value = serde_json::from_str(&out).expect("the entry is printed");
            assert_eq!(
                entry["mcpServers"]["proxmox"]["env"]["PROXMOX_HOST"],
                "pve1.example"
            );
            assert!(err.contains(says), "{err}");
            assert!(
                err.contains("nothing was written to ") && err.contains("by hand"),
                "{err}"
            );
        }
        assert!(fs::read(&path).expect("it is there") == content);
        assert_eq!(listed(&folder), ["mcp.json"]);
    }
    fs::remove_file(home.path(".cursor/mcp.json")).expect("it is there");
    fs::create_dir(home.path(".cursor/mcp.json")).expect("it can be made");
    let Printed(status, _, err) = config(&["cursor", "--write"], &home.variables());
    assert!(status == 1 && err.contains("It is not a file."), "{err}");
    #[cfg(unix)]
    {
        fs::remove_dir(home.path(".cursor/mcp.json")).expect("it is there");
        let link = home.path(".cursor/mcp.json");
        std::os::unix::fs::symlink("nowhere", &link).expect("it can be made");
        let Printed(status, _, err) = config(&["cursor", "--write"], &home.variables());
        assert!(
            status == 1 && err.contains("It is a link to a file that is not there."),
            "{err}"
        );
        assert!(!home.path(".cursor/nowhere").exists());
    }
    let path = home.write(".codex/config.toml", "");
    let mut permissions = fs::metadata(&path).expect("it is there").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).expect("they can be set");
    let Printed(status, out, err) = config(&["codex", "--write"], &home.variables());
    assert!(status == 1 && err.contains("It may only be read."), "{err}");
    assert!(out.starts_with("[mcp_servers.proxmox]\n"), "{out}");
}

#[test]
fn a_new_file_of_continue_would_hide_its_old_one() {
    let home = Home::new("continue");
    home.write(".continue/config.json", "{}");
    let Printed(status, out, err) = config(&["continue", "--write"], &home.variables());
    assert_eq!(status, 1);
    assert!(
        out.starts_with("mcpServers:\n  - name: \"proxmox\"\n"),
        "{out}"
    );
    assert!(err.contains("config.json"), "{err}");
    assert_eq!(listed(&home.path(".continue")), ["config.json"]);
}

#[test]
fn writes_the_secret_only_if_told_and_shows_it_never() {
    let home = Home::new("secret");
    for (below, client) in [
        (".cursor/mcp.json", "cursor"),
        (".codex/config.toml", "codex"),
        (".continue/config.yaml", "continue"),
    ] {
        let path = home.path(below);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        let Printed(status, _, err) = config(&[client, "--write"], &home.with_secret());
        assert_eq!(status, 1);
        assert!(
            err.contains("set PROXMOX_TOKEN_FILE") && err.contains("--with-secret"),
            "{err}"
        );
        assert!(!path.exists());

        let Printed(status, out, err) =
            config(&[client, "--write", "--with-secret"], &home.with_secret());
        assert_eq!(status, 0, "{err}");
        assert!(out.contains("(hidden)"), "{out}");
        assert!(
            err.contains(
                "This puts the secret of the token into the file; PROXMOX_TOKEN_FILE keeps it out."
            ),
            "{err}"
        );
        let content = read(&path);
        assert!(
            content.contains(SECRET) && !content.contains("hidden"),
            "{content}"
        );
        // The old entry has the secret as well.
        let Printed(status, again, _) = config(&[client, "--diff"], &home.variables());
        assert_eq!(status, 0);
        assert!(again.contains("\n- "), "{again}");
        for part in SECRET.split('-') {
            assert!(
                !out.contains(part) && !err.contains(part) && !again.contains(part),
                "{out}{err}{again}"
            );
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path)
                .expect("it is there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("they can be set");
            let mut variables = home.with_secret();
            variables.push(("PROXMOX_PORT", "8007".to_owned()));
            let Printed(_, _, err) = config(&[client, "--write", "--with-secret"], &variables);
            assert!(
                err.contains("which other users of this machine can read"),
                "{err}"
            );
        }
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
#[test]
fn vs_code_gets_an_input_that_asks_for_the_secret() {
    let home = Home::new("input");
    let path = home.write(
        ".config/Code/User/mcp.json",
        "{\n  \"inputs\": [\n    { \"id\": \"other\" }\n  ],\n  \"servers\": {}\n}\n",
    );
    for _ in 0..2 {
        let Printed(status, _, err) = config(&["vscode", "--write"], &home.with_secret());
        assert_eq!(status, 0, "{err}");
        let written = parsed(&path);
        let ids = written["inputs"].as_array().expect("it is a list").iter();
        assert_eq!(
            ids.map(|input| &input["id"]).collect::<Vec<_>>(),
            ["other", "proxmox-secret"]
        );
        let value = &written["servers"]["proxmox"]["env"]["PROXMOX_TOKEN_VALUE"];
        assert_eq!(value, "${input:proxmox-secret}");
    }
}

#[test]
fn writes_no_entry_that_would_not_work() {
    let home = Home::new("missing");
    fs::create_dir(home.path(".cursor")).expect("it can be made");
    let mut variables = home.variables();
    variables.retain(|(name, _)| *name != "PROXMOX_HOST");
    let Printed(status, out, err) = config(&["cursor", "--write"], &variables);
    assert_eq!(status, 1);
    assert!(out.contains("<any node"), "{out}");
    assert!(err.contains("PROXMOX_HOST is missing"), "{err}");
    assert!(listed(&home.path(".cursor")).is_empty());
}

#[test]
fn clients_without_a_file_are_not_written() {
    let home = Home::new("none");
    for (client, says) in [
        ("claude-code", "Claude Code rewrites its file while it runs"),
        ("generic", "where its documentation says"),
    ] {
        let before = listed(&home.0);
        let Printed(status, out, err) = config(&[client, "--write"], &home.variables());
        assert_eq!(status, 1);
        assert!(out.contains("pve1.example"), "{out}");
        assert!(err.contains(says), "{err}");
        assert_eq!(listed(&home.0), before);
    }
    let variables = [
        ("PROXMOX_HOST", "a".to_owned()),
        ("PROXMOX_TOKEN_NAME", "a".to_owned()),
    ];
    let Printed(status, _, err) = config(&["cursor", "--write", "--with-secret"], &variables);
    assert!(status == 1 && err.contains("not set"), "{err}");
}

#[test]
fn says_who_confirms_where_elevated_tools_are_allowed() {
    let home = Home::new("asks");
    let note = |client: &str, settings: &[(&'static str, &str)]| {
        let mut variables = home.variables();
        variables.extend(
            settings
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let Printed(status, _, err) = config(&[client], &variables);
        assert_eq!(status, 0, "{err}");
        err.lines()
            .find(|line| line.contains("Elevated"))
            .map(str::to_owned)
    };
    const ALLOWED: (&str, &str) = ("PROXMOX_ALLOW_ELEVATED", "yes");
    for client in NAMES {
        assert_eq!(note(client, &[]), None);
        for off in ["PROXMOX_READ_ONLY", "PROXMOX_DRY_RUN"] {
            assert_eq!(note(client, &[ALLOWED, (off, "true")]), None);
        }
        let said = note(client, &[ALLOWED]).expect("it is said");
        let can_ask = match client {
            "vscode" | "cursor" => "can ask you: what",
            "claude-code" | "codex" | "opencode" => "can ask you ",
            "windsurf" | "generic" => "is not known",
            _ => "cannot ask you: what",
        };
        assert!(said.contains(can_ask), "{said}");
        let always = note(client, &[ALLOWED, ("PROXMOX_CONFIRM", "always")]).expect("it is said");
        let is_sure = ["vscode", "cursor"].contains(&client);
        for (said, is_auto) in [(&said, true), (&always, false)] {
            assert_eq!(said.contains("confirm_token"), !is_sure, "{said}");
            assert_eq!(
                said.contains("unless PROXMOX_CONFIRM=always"),
                is_auto && !is_sure,
                "{said}"
            );
        }
        let never = note(client, &[ALLOWED, ("PROXMOX_CONFIRM", "never")]).expect("it is said");
        assert!(never.contains("you are asked nothing"), "{never}");
    }
}

#[test]
fn config_alone_lists_the_clients() {
    let home = Home::new("list");
    let Printed(status, alone, _) = config(&[], &home.variables());
    assert_eq!(status, 0);
    for name in NAMES {
        assert!(alone.contains(&format!("\n{name} ")), "{alone}");
    }
    for part in ["--write", "--diff", "--with-secret", ".codex"] {
        assert!(alone.contains(part), "{alone}");
    }
    assert!(
        alone
            .lines()
            .all(|line| line.chars().count() <= 105 || line.contains("home-list"))
    );
    for arguments in [&["--help"][..], &["cursor", "--help"]] {
        let Printed(status, page, _) = config(arguments, &home.variables());
        assert_eq!(status, 0);
        assert_eq!(page, alone);
    }
    for (arguments, says) in [
        (
            &["--write"][..],
            "`config [CLIENT] [--with-secret] [--diff|--write]` (CLIENT: claude-desktop, ",
        ),
        (&["cursor", "--write", "--diff"], "either --diff or --write"),
        (
            &["nano"],
            "there is no client \"nano\", only claude-desktop, ",
        ),
    ] {
        let Printed(status, _, err) = config(arguments, &home.variables());
        assert_eq!(status, 2);
        assert!(err.contains(says), "{err}");
    }
}
