//! The command line: what it asks for, and the texts about it.

use std::ffi::OsString;

use lexopt::{Arg, Parser};
use serde_json::{Map, Value};

use crate::nearest::nearest;
use crate::settings::{Flag, SETTINGS, Setting, Unset};
use crate::tool::{Permission, Tool};
use crate::tools;

/// What the command line says.
pub(crate) struct CommandLine {
    pub(crate) command: Command,
    /// Whether the recorded cluster answers.
    pub(crate) demo: bool,
    /// The settings given by flags, in their order.
    pub(crate) flags: Vec<(&'static Setting, OsString)>,
}

/// What to do.
pub(crate) enum Command {
    /// Serve MCP on standard input and output.
    Serve,
    /// Run one tool.
    Call {
        name: &'static str,
        tool: &'static Tool,
        arguments: Map<String, Value>,
    },
    /// List the tools for a person.
    Tools,
    /// List the tools as `tools/list` does.
    ToolsJson,
    /// List the tools with the requests that they send, as the README does.
    ToolsMarkdown,
    Help,
    Version,
}

/// Reads the command line; an error is one sentence for the person who typed it.
pub(crate) fn parse(mut parser: Parser) -> Result<CommandLine, String> {
    let mut words = Vec::new();
    let mut flags = Vec::new();
    let (mut demo, mut listing, mut informed) = (false, None, None);
    while let Some(arg) = parser.next().map_err(without_value)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => informed = Some(Command::Help),
            Arg::Short('V') | Arg::Long("version") => informed = Some(Command::Version),
            Arg::Long("demo") => demo = true,
            Arg::Long("json") => listing = Some(Command::ToolsJson),
            Arg::Long("markdown") => listing = Some(Command::ToolsMarkdown),
            Arg::Long(name) => {
                let setting = setting(&format!("--{name}"))?;
                let value = match setting.flag {
                    Flag::Switch => parser.optional_value().unwrap_or("true".into()),
                    _ => parser.value().map_err(without_value)?,
                };
                flags.push((setting, value));
            }
            Arg::Short(letter) => return Err(format!("there is no flag -{letter}")),
            Arg::Value(word) => words.push(word.to_string_lossy().into_owned()),
        }
    }
    let command = match informed {
        Some(command) => command,
        None => command(&words, listing)?,
    };
    Ok(CommandLine {
        command,
        demo,
        flags,
    })
}

/// The setting that a flag stands for.
fn setting(flag: &str) -> Result<&'static Setting, String> {
    match SETTINGS.iter().find(|setting| setting.flag_name() == flag) {
        Some(setting) if matches!(setting.flag, Flag::None) => Err(format!(
            "there is no flag {flag}, since others can read command lines: set the variable {}",
            setting.variable
        )),
        Some(setting) => Ok(setting),
        None => {
            let names: Vec<_> = SETTINGS
                .iter()
                .filter(|setting| !matches!(setting.flag, Flag::None))
                .map(|setting| setting.flag_name())
                .chain(["--demo", "--help", "--json", "--markdown", "--version"].map(str::to_owned))
                .collect();
            let meant = nearest(flag, names.iter().map(String::as_str));
            Err(format!("there is no flag {flag}{}", suggestion(meant)))
        }
    }
}

/// `listing` is the form in which `tools` was asked for.
fn command(words: &[String], listing: Option<Command>) -> Result<Command, String> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    if listing.is_some() && words.first() != Some(&"tools") {
        return Err("--json and --markdown belong to the command `tools`".to_owned());
    }
    match words[..] {
        [] => Ok(Command::Serve),
        ["tools"] => Ok(listing.unwrap_or(Command::Tools)),
        ["tools", ..] => Err("`tools` takes no arguments".to_owned()),
        ["call"] => Err("`call` needs the name of a tool".to_owned()),
        ["call", name] => call(name, "{}"),
        ["call", name, json] => call(name, json),
        ["call", ..] => Err(
            "`call` takes a tool and one JSON object: put the object in single quotes".to_owned(),
        ),
        [word, ..] if tools::find(word).is_some() => {
            Err(format!("{word} is a tool: did you mean `call {word}`?"))
        }
        [word, ..] => {
            let meant = nearest(word, ["call", "tools"]);
            Err(format!("there is no command {word:?}{}", suggestion(meant)))
        }
    }
}

fn call(name: &str, json: &str) -> Result<Command, String> {
    const FORM: &str = r#"the arguments must be a JSON object like '{"node": "pve1"}'"#;
    let Some((name, tool)) = tools::find(name) else {
        let known = || listed_tools().map(|(name, _)| name);
        let meant = nearest(name, known())
            .or_else(|| known().find(|known| known.strip_prefix("proxmox_") == Some(name)));
        return Err(format!(
            "there is no tool {name:?}{} (`proxmox-mcp tools` lists all)",
            suggestion(meant)
        ));
    };
    match serde_json::from_str(json) {
        Ok(Value::Object(arguments)) => Ok(Command::Call {
            name,
            tool,
            arguments,
        }),
        Ok(_) => Err(FORM.to_owned()),
        Err(err) => Err(format!("{FORM}, but: {err}")),
    }
}

/// The end of a sentence, where it is known what was meant.
fn suggestion(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |name| format!(": did you mean {name}?"))
}

/// What lexopt says, but for the value: it may be a secret.
fn without_value(err: lexopt::Error) -> String {
    match err {
        lexopt::Error::MissingValue {
            option: Some(option),
        } => format!("{option} needs a value"),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        _ => "the command line cannot be read".to_owned(),
    }
}

/// What `--help` prints.
pub(crate) fn help() -> String {
    let mut text = format!("{}: {}\n", version(), env!("CARGO_PKG_DESCRIPTION"));
    text.push_str(
        "
Usage:
  proxmox-mcp [FLAGS]                     serve MCP on standard input and output
  proxmox-mcp [FLAGS] call TOOL [JSON]    run one tool and print its text
  proxmox-mcp tools [--json|--markdown]   list the tools; needs no cluster

Flags:
  --demo                      let a recorded cluster answer; nothing is changed
  -h, --help                  print this text
  -V, --version               print the version

Settings: --a-b sets the variable PROXMOX_A_B and wins over it; empty is unset.
",
    );
    for setting in SETTINGS {
        let name = match setting.flag {
            Flag::None => setting.variable.to_owned(),
            Flag::Switch => format!("{}[=BOOLEAN]", setting.flag_name()),
            Flag::Takes(value) => format!("{} {value}", setting.flag_name()),
        };
        let unset = match setting.unset {
            Unset::Missing => "; required".to_owned(),
            Unset::Absent => String::new(),
            Unset::Means(default) => format!("; default: {default}"),
        };
        let meaning = setting.meaning.replace('`', "");
        text.push_str(&format!("  {name:<26}  {meaning}{unset}\n"));
    }
    text.push_str(
        "
The secret has no flag, since others can read command lines. RUST_LOG sets what is logged to
standard error (default: warn).

Examples:
  proxmox-mcp --demo call proxmox_get_vms
  proxmox-mcp --host pve1.example --token-name mcp --token-file secret call proxmox_get_nodes
  proxmox-mcp call proxmox_get_vm_config '{\"vmid\": 100}'

Exit status: 0 done, 1 the tool or a stream failed, 2 the command line is wrong.
",
    );
    text
}

/// What `--version` prints.
pub(crate) fn version() -> String {
    format!("proxmox-mcp {}", env!("CARGO_PKG_VERSION"))
}

/// What `tools` prints.
pub(crate) fn tool_table() -> String {
    let width = listed_tools().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for domain in tools::DOMAINS {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{}\n", domain.title));
        for (name, tool) in domain.tools {
            let permission = tool.permission.to_string();
            text.push_str(&format!(
                "  {name:<width$}  {permission:<8}  {}\n",
                tool.title
            ));
        }
    }
    text
}

/// What `tools --json` prints: the array that `tools/list` answers.
pub(crate) fn tool_definitions() -> String {
    let definitions: Value = listed_tools()
        .map(|(name, tool)| tool.definition(name))
        .collect();
    format!("{definitions:#}")
}

/// What `tools --markdown` prints, which stands in the README as well.
pub(crate) fn tool_markdown() -> String {
    let mut text = format!(
        "{} tools in {} groups. 🔒 marks the elevated ones.\n",
        listed_tools().count(),
        tools::DOMAINS.len()
    );
    for domain in tools::DOMAINS {
        text.push_str(&format!(
            "\n### {} ({})\n\n| tool | what it does | requests |\n|---|---|---|\n",
            domain.title,
            domain.tools.len()
        ));
        for (name, tool) in domain.tools {
            let lock = match tool.permission {
                Permission::Basic => "",
                Permission::Elevated => " 🔒",
            };
            let requests = tool.requests().join("`<br>`");
            let summary = tool.summary;
            text.push_str(&format!("| `{name}`{lock} | {summary} | `{requests}` |\n"));
        }
    }
    text
}

fn listed_tools() -> impl Iterator<Item = (&'static str, &'static Tool)> {
    tools::DOMAINS
        .iter()
        .flat_map(|domain| domain.tools)
        .copied()
}
