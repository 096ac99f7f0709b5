//! The configuration of MCP clients for this program: `config CLIENT`.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{self, PathBuf};

use crate::cli::commands;
use crate::error::Error;
use crate::settings::{self, SETTINGS, Setting, Unset};
use crate::text::add;
use crate::tools;

/// A client, and the function that writes its configuration.
pub(crate) struct Client {
    name: &'static str,
    pub(crate) write: fn(&Entry) -> String,
}

pub(crate) static CLIENTS: &[Client] = &[
    Client {
        name: "claude-desktop",
        write: claude_desktop,
    },
    Client {
        name: "claude-code",
        write: claude_code,
    },
    Client {
        name: "vscode",
        write: vscode,
    },
    Client {
        name: "cursor",
        write: claude_desktop,
    },
    Client {
        name: "codex",
        write: codex,
    },
];

pub(crate) fn names() -> Vec<&'static str> {
    CLIENTS.iter().map(|client| client.name).collect()
}

/// What a client needs to start this program.
pub(crate) struct Entry {
    /// The name of this server in the client.
    name: &'static str,
    /// The absolute path of this binary.
    command: String,
    arguments: &'static [&'static str],
    /// Each setting with its value, `None` for a value that the user has to fill in.
    environment: Vec<(&'static Setting, Option<String>)>,
}

impl Entry {
    /// Collects the settings that are set, and leaves required ones that are not to be filled in.
    ///
    /// The secret is left to be filled in as well, unless `with_secret` is set.
    pub(crate) fn new(
        flags: &[(&'static Setting, OsString)],
        demo: bool,
        with_secret: bool,
    ) -> Result<Self, Error> {
        let misspelt = settings::misspelt(env::vars_os());
        if !misspelt.is_empty() {
            return Err(Error::settings(misspelt));
        }
        let given = settings::given(&tools::known(), flags, |name| env::var_os(name))
            .map_err(Error::settings)?;
        if !demo && !given.missing.is_empty() {
            log::warn!("{}", settings::on_one_line(&given.missing));
        }
        let given = given.values;
        let from_file = given.iter().any(|(setting, _)| setting.stands_for_secret());
        let mut environment = Vec::new();
        for setting in SETTINGS
            .iter()
            .filter(|setting| !demo || setting.is_safety_setting())
        {
            let value = given
                .iter()
                .find(|(known, _)| known.variable == setting.variable);
            let value = value.map(|(_, value)| value);
            let needed = match setting.unset {
                _ if demo => false,
                Unset::Missing => true,
                _ => setting.is_secret() && !from_file,
            };
            match value {
                Some(_) if setting.is_secret() && demo => (),
                Some(_) if setting.is_secret() && !with_secret => {
                    environment.push((*setting, None))
                }
                Some(value) if setting.is_file() => {
                    environment.push((*setting, Some(absolute(setting, value)?)));
                }
                Some(value) => environment.push((*setting, Some(value.clone()))),
                None if needed => environment.push((*setting, None)),
                None => (),
            }
        }
        if !with_secret
            && environment
                .iter()
                .any(|(setting, value)| setting.is_secret() && value.is_none())
        {
            log::warn!(
                "replace the placeholder with the secret before you use this, or set PROXMOX_TOKEN_FILE"
            );
        }
        let (name, arguments): (_, &[_]) = match demo {
            true => ("proxmox-demo", &["--demo"]),
            false => ("proxmox", &[]),
        };
        Ok(Self {
            name,
            command: binary()?,
            arguments,
            environment,
        })
    }

    /// Returns the variables with their values, and `placeholder` for values that the user has to fill in.
    fn variables(&self, placeholder: fn(&Setting) -> String) -> Vec<(&'static str, String)> {
        let values = self.environment.iter().map(|(setting, value)| {
            let value = value.clone().unwrap_or_else(|| placeholder(setting));
            (setting.variable, value)
        });
        values.collect()
    }
}

/// Returns the absolute path of the running binary.
fn binary() -> Result<String, Error> {
    text(env::current_exe())
        .map_err(|err| Error::impossible("cannot find the path of this program", err))
}

/// Returns a path as an absolute one, since a client starts the program in another folder.
fn absolute(setting: &Setting, value: &str) -> Result<String, Error> {
    text(path::absolute(value))
        .map_err(|err| Error::settings(vec![format!("{} is not a path: {err}", setting.variable)]))
}

/// Returns a path as text.
fn text(path: io::Result<PathBuf>) -> Result<String, String> {
    let path = path.map_err(|err| err.to_string())?;
    let text = path.into_os_string().into_string();
    text.map_err(|_| "it is not valid UTF-8".to_owned())
}

/// Returns a placeholder such as `<name of the API token>`, which is never a valid value.
fn placeholder(setting: &Setting) -> String {
    format!("<{}>", commands::name_of(setting))
}

fn claude_desktop(entry: &Entry) -> String {
    json(entry, "\"mcpServers\"", "", placeholder)
}

/// Writes the configuration of VS Code, which asks for the secret itself and stores it.
fn vscode(entry: &Entry) -> String {
    let is_open_secret =
        |(setting, value): &(&Setting, Option<String>)| setting.is_secret() && value.is_none();
    let mut root = String::new();
    if entry.environment.iter().any(is_open_secret) {
        root.push_str(
            "\"inputs\": [\n    { \"type\": \"promptString\", \"id\": \"proxmox-secret\", \
             \"description\": \"Proxmox API token secret\", \"password\": true }\n  ],\n  ",
        );
    }
    root.push_str("\"servers\"");
    json(
        entry,
        &root,
        "\"type\": \"stdio\",\n      ",
        |setting| match setting.is_secret() {
            true => "${input:proxmox-secret}".to_owned(),
            false => placeholder(setting),
        },
    )
}

/// Writes JSON; `root` is the key of the servers with what precedes it, `first` the first fields of a server.
fn json(entry: &Entry, root: &str, first: &str, placeholder: fn(&Setting) -> String) -> String {
    let variables = entry.variables(placeholder);
    let lines = variables
        .iter()
        .map(|(name, value)| format!("\n        \"{name}\": {}", quoted(value)));
    let lines: Vec<String> = lines.collect();
    let environment = match lines.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{{}\n      }}", lines.join(",")),
    };
    let arguments = match entry.arguments {
        [] => String::new(),
        arguments => format!("\"args\": {},\n      ", list(arguments)),
    };
    let (name, command) = (entry.name, quoted(&entry.command));
    format!(
        r#"{{
  {root}: {{
    "{name}": {{
      {first}"command": {command},
      {arguments}"env": {environment}
    }}
  }}
}}
"#
    )
}

/// Writes one command for a POSIX shell or fish.
///
/// `--env` takes several values, so another option separates it from the name.
fn claude_code(entry: &Entry) -> String {
    let mut command = "claude mcp add".to_owned();
    for (name, value) in entry.variables(placeholder) {
        add(
            &mut command,
            format_args!(" \\\n  --env {}", word(&format!("{name}={value}"))),
        );
    }
    add(
        &mut command,
        format_args!(
            " \\\n  --transport stdio --scope user {} -- {}",
            entry.name,
            word(&entry.command)
        ),
    );
    for argument in entry.arguments {
        add(&mut command, format_args!(" {argument}"));
    }
    command + "\n"
}

/// Writes TOML, whose basic strings are those of JSON except that DEL must be escaped.
fn codex(entry: &Entry) -> String {
    let toml = |text: &str| quoted(text).replace('\u{7f}', "\\u007f");
    let mut text = format!(
        "[mcp_servers.{}]\ncommand = {}\nargs = {}\n",
        entry.name,
        toml(&entry.command),
        list(entry.arguments)
    );
    let variables = entry.variables(placeholder);
    if !variables.is_empty() {
        add(
            &mut text,
            format_args!("\n[mcp_servers.{}.env]\n", entry.name),
        );
    }
    for (name, value) in variables {
        add(&mut text, format_args!("{name} = {}\n", toml(&value)));
    }
    text
}

/// Returns a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a JSON array of strings.
pub(super) fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// Quotes a word for a shell's command line if necessary.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:@%+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
