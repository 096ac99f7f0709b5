//! The command line: parsing it, and the texts that describe it and the tools.
//!
//! May import: `text`, `settings`, `error`, `pve`, `row`, `cluster`, `safety`, `tool`, `tools`.

pub(crate) mod clients;
mod commands;
pub(crate) mod completions;
mod man;
pub(crate) mod package;
pub(crate) mod terminal;

use std::ffi::OsString;
use std::mem;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use serde_json::{Map, Value};

use crate::cli::clients::{Client, Purpose};
use crate::cli::commands::Switch;
pub(crate) use crate::cli::man::page as man;
use crate::cluster::{diagnosis, tasks};
use crate::pve::demo;
use crate::row::Step;
use crate::safety::facts;
use crate::settings::exposure::{self, Toolsets};
use crate::settings::{self, Flag, SETTINGS, Safety, Setting};
use crate::text::add;
use crate::text::nearest::nearest;
use crate::tool::{ListedTool, Permission, Tool};
use crate::tools::{self, Definitions};

/// A parsed command line.
pub(crate) struct CommandLine {
    pub(crate) command: Command,
    /// Whether the sample cluster answers.
    pub(crate) demo: bool,
    /// Whether destructive calls run without a confirmation.
    pub(crate) yes: bool,
    /// The settings given as flags, in order.
    pub(crate) flags: Vec<(&'static Setting, OsString)>,
}

/// What to do.
pub(crate) enum Command {
    /// Serve MCP on standard input and output.
    Serve,
    /// Run one tool.
    Call {
        tool: ListedTool,
        arguments: Map<String, Value>,
    },
    /// Find out what keeps the tools from working.
    Check {
        json: bool,
    },
    /// List the tools for a person.
    Tools,
    /// Show one tool and its parameters.
    Tool(ListedTool),
    /// List the tools as the answer to `tools/list` does.
    ToolsJson,
    /// List the tools with the requests that they send, as `src/tools/README.md` does.
    ToolsMarkdown,
    /// Show the certificates of the hosts.
    Fingerprint,
    /// Print the configuration of a client, or put it into the client's file.
    Config {
        client: &'static Client,
        purpose: Purpose,
        with_secret: bool,
    },
    /// List the clients.
    Clients,
    /// Write a Claude Desktop bundle into this folder.
    Bundle {
        folder: PathBuf,
        /// What `.ci/release` made, for a bundle for all systems.
        binaries: Option<PathBuf>,
    },
    /// Print the entry for the MCP registry, with these bundles.
    RegistryEntry(Vec<PathBuf>),
    /// Print a completion script.
    Completions(fn() -> String),
    Man,
    Help,
    Version,
}

impl Command {
    /// Returns true if the command uses the settings.
    pub(crate) fn reads_settings(&self) -> bool {
        matches!(
            self,
            Command::Serve | Command::Call { .. } | Command::Config { .. } | Command::Fingerprint
        )
    }
}

/// Parses the command line; an error is one sentence for the person who typed it.
pub(crate) fn parse(mut parser: Parser) -> Result<CommandLine, String> {
    let mut words = Vec::new();
    let mut flags = Vec::new();
    let mut switches: Vec<&str> = Vec::new();
    let mut binaries = None;
    let known = commands::switches();
    let known = |is: &dyn Fn(&Switch) -> bool| {
        let found = known.iter().find(|(switch, _)| is(switch));
        found.map(|(switch, _)| *switch)
    };
    // A switch may be followed by a word that was meant as its value.
    let mut switch: Option<String> = None;
    while let Some(arg) = parser.next().map_err(without_value)? {
        let before = switch.take();
        match arg {
            Arg::Short(letter) => match known(&|switch| switch.letter == Some(letter)) {
                Some(known) => switches.push(known.name),
                None => return Err(format!("there is no flag -{letter}")),
            },
            Arg::Long(name) => {
                let flag = format!("--{name}");
                if let Some(known) = known(&|switch| switch.name == flag) {
                    switches.push(known.name);
                    if known.folder.is_some() {
                        binaries = Some(PathBuf::from(parser.value().map_err(without_value)?));
                    }
                    continue;
                }
                let setting = setting(&flag)?;
                let value = match setting.flag {
                    Flag::Switch => parser.optional_value().unwrap_or_else(|| {
                        switch = Some(setting.flag_name());
                        "true".into()
                    }),
                    _ => parser.value().map_err(without_value)?,
                };
                flags.push((setting, value));
            }
            Arg::Value(word)
                if word
                    .to_str()
                    .is_some_and(|it| settings::boolean(it).is_ok()) =>
            {
                let word = word.display();
                return Err(match before {
                    Some(flag) => format!("{flag} takes its value after `=`: write {flag}={word}"),
                    None => format!("there is no command {word}"),
                });
            }
            Arg::Value(word) => words.push(word.to_string_lossy().into_owned()),
        }
    }
    let given = |switch: &Switch| switches.contains(&switch.name);
    let command = if given(&commands::HELP) {
        help_on(words.first())
    } else if given(&commands::VERSION) {
        Command::Version
    } else {
        command(&words, &switches, binaries)?
    };
    if given(&commands::DEMO) && matches!(command, Command::Check { .. }) {
        return Err("--demo does not go with `check`: it uses no host and no token".to_owned());
    }
    Ok(CommandLine {
        command,
        demo: given(&commands::DEMO),
        yes: given(&commands::YES),
        flags,
    })
}

/// Returns the setting that a flag sets, or an error that suggests a similar flag.
fn setting(flag: &str) -> Result<&'static Setting, String> {
    match SETTINGS.iter().find(|setting| setting.flag_name() == flag) {
        Some(setting) if matches!(setting.flag, Flag::None) => Err(no_secret(flag)),
        Some(setting) => Ok(setting),
        None => {
            let variable = flag.trim_start_matches('-').replace('-', "_");
            let meant = settings::meant(&format!("PROXMOX_{}", variable.to_uppercase()));
            match meant.map(|setting| (&setting.flag, setting.flag_name())) {
                Some((Flag::None, _)) => return Err(no_secret(flag)),
                Some((_, name)) => {
                    return Err(format!(
                        "there is no flag {flag}{}",
                        suggestion(Some(&name))
                    ));
                }
                None => (),
            }
            let switches = commands::switches().into_iter();
            let names: Vec<_> = commands::flagged_settings()
                .map(Setting::flag_name)
                .chain(switches.map(|(switch, _)| switch.name.to_owned()))
                .collect();
            let meant = nearest(flag, names.iter().map(String::as_str));
            Err(format!("there is no flag {flag}{}", suggestion(meant)))
        }
    }
}

/// Returns the error for a flag that would put the secret on the command line.
fn no_secret(flag: &str) -> String {
    format!(
        "there is no flag {flag}, since other users can read command lines: set the variable \
         PROXMOX_TOKEN_VALUE, or name a file with --token-file"
    )
}

/// Returns the command of these words; `switches` are the names of the switches given, `binaries` the folder of
/// `--binaries`.
fn command(
    words: &[String],
    switches: &[&str],
    binaries: Option<PathBuf>,
) -> Result<Command, String> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let first = words.first().copied();
    for name in switches {
        let mut of = commands::switches();
        of.retain(|(switch, _)| switch.name == *name);
        if of.iter().all(|(_, word)| word.is_some() && *word != first) {
            let words: Vec<&str> = of.iter().filter_map(|(_, word)| *word).collect();
            let words = words.join("` or `");
            return Err(format!("{name} belongs to the command `{words}`"));
        }
    }
    let given = |switch: &Switch| switches.contains(&switch.name);
    let listing = if given(&commands::JSON) {
        Some(Command::ToolsJson)
    } else if given(&commands::MARKDOWN) {
        Some(Command::ToolsMarkdown)
    } else {
        None
    };
    match words[..] {
        [] => Ok(Command::Serve),
        ["tools"] => Ok(listing.unwrap_or(Command::Tools)),
        ["check"] => Ok(Command::Check {
            json: listing.is_some(),
        }),
        ["tools", name] if listing.is_none() => tool(name).map(Command::Tool),
        ["tools", ..] => Err("`tools` takes either one name, --json or --markdown".to_owned()),
        ["help", ref words @ ..] => Ok(help_on(words.first())),
        ["call"] => Err("`call` needs the name of a tool".to_owned()),
        ["call", name] => call(name, "{}"),
        ["call", name, json] => call(name, json),
        ["call", ..] => Err(
            "`call` takes a tool and one JSON object: put the object in single quotes".to_owned(),
        ),
        ["fingerprint"] => Ok(Command::Fingerprint),
        ["config"] if switches.iter().all(|name| *name == commands::DEMO.name) => {
            Ok(Command::Clients)
        }
        ["config", client] => Ok(Command::Config {
            client: &clients::CLIENTS[named("client", client, &clients::names())?],
            purpose: match (given(&commands::DIFF), given(&commands::WRITE)) {
                (false, false) => Purpose::Print,
                (true, false) => Purpose::Compare,
                (false, true) => Purpose::Write,
                (true, true) => return Err("`config` takes either --diff or --write".to_owned()),
            },
            with_secret: given(&commands::WITH_SECRET),
        }),
        ["package", "mcpb", folder] => Ok(Command::Bundle {
            folder: folder.into(),
            binaries,
        }),
        ["package", ..] if binaries.is_some() => {
            Err("--binaries belongs to the command `package mcpb`".to_owned())
        }
        ["package", "server-json", ref bundles @ ..] => Ok(Command::RegistryEntry(
            bundles.iter().map(PathBuf::from).collect(),
        )),
        ["completions", shell] => {
            let index = named("shell", shell, &completions::names())?;
            Ok(Command::Completions(completions::SHELLS[index].script))
        }
        ["man"] => Ok(Command::Man),
        [word, ..] if tools::find(word).is_some() => {
            Err(format!("{word} is a tool: did you mean `call {word}`?"))
        }
        [word, ..] if commands::first_words().contains(&word) => Err(misused(word)),
        [word, ..] => {
            let meant = nearest(word, commands::first_words());
            Err(format!("there is no command {word:?}{}", suggestion(meant)))
        }
    }
}

/// Returns the command that explains a command: `config` has a page of its own.
fn help_on(word: Option<impl AsRef<str>>) -> Command {
    match word.as_ref().map(AsRef::as_ref) {
        Some("config") => Command::Clients,
        _ => Command::Help,
    }
}

/// Returns the correct forms of a command.
fn misused(word: &str) -> String {
    let forms = commands::FORMS
        .iter()
        .filter(|form| form.words.first() == Some(&word));
    let forms = forms.map(|form| {
        let names = form.names().map(|names| format!(" ({names})"));
        format!("`{}`{}", form.synopsis(), names.unwrap_or_default())
    });
    let forms: Vec<String> = forms.collect();
    format!("write {}", forms.join(" or "))
}

/// Returns the index of `name` among the known names.
fn named(kind: &str, name: &str, known: &[&str]) -> Result<usize, String> {
    let index = known.iter().position(|known| *known == name);
    index.ok_or_else(|| format!("there is no {kind} {name:?}, only {}", known.join(", ")))
}

/// Returns the tool of this name, or an error that suggests a similar name.
fn tool(name: &str) -> Result<ListedTool, String> {
    tools::find(name).ok_or_else(|| {
        let known = || listed_tools().map(|(name, _)| name);
        let meant = nearest(name, known())
            .or_else(|| known().find(|known| known.strip_prefix("proxmox_") == Some(name)));
        format!(
            "there is no tool {name:?}{} (`proxmox-mcp tools` lists all)",
            suggestion(meant)
        )
    })
}

/// Returns the call of a tool with arguments in JSON.
fn call(name: &str, json: &str) -> Result<Command, String> {
    const FORM: &str = r#"the arguments must be a JSON object like '{"node": "pve1"}'"#;
    let tool = tool(name)?;
    match serde_json::from_str(json) {
        Ok(Value::Object(arguments)) => Ok(Command::Call { tool, arguments }),
        Ok(_) => Err(FORM.to_owned()),
        Err(err) => Err(format!("{FORM}, but: {err}")),
    }
}

/// Returns the end of a sentence that suggests a name; empty if there is none to suggest.
fn suggestion(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |name| format!(": did you mean {name}?"))
}

/// Returns lexopt's message without the value, which may be a secret.
fn without_value(err: lexopt::Error) -> String {
    match err {
        lexopt::Error::MissingValue {
            option: Some(option),
        } => format!("{option} needs a value"),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        _ => "the command line cannot be read".to_owned(),
    }
}

/// Returns what `--help` prints.
pub(crate) fn help() -> String {
    let mut text = format!("{}: {}\n", version(), env!("CARGO_PKG_DESCRIPTION"));
    text.push_str("\nUsage: proxmox-mcp [FLAGS] [COMMAND]\n\nCommands:\n");
    for form in commands::FORMS {
        let synopsis = match form.words {
            [] => "none".to_owned(),
            _ => form.synopsis(),
        };
        if synopsis.len() > 31 {
            add(&mut text, format_args!("  {synopsis}\n"));
            line(&mut text, 31, "", form.meaning);
        } else {
            line(&mut text, 31, &synopsis, form.meaning);
        }
        for names in form.names().iter().flat_map(|names| wrapped(names, 70)) {
            line(&mut text, 31, "", &names);
        }
    }
    text.push_str("\nFlags:\n");
    for (switch, of) in commands::switches() {
        let letter = switch.letter.map(|letter| format!("-{letter}, "));
        let name = letter.unwrap_or_default() + &switch.shown();
        let of = of.map(|word| format!("{word}: ")).unwrap_or_default();
        line(&mut text, 26, &name, &format!("{of}{}", switch.meaning));
    }
    text.push_str("\nSettings:\n");
    for setting in SETTINGS {
        line(
            &mut text,
            26,
            &commands::shown(setting),
            &commands::meaning(setting),
        );
    }
    add(
        &mut text,
        format_args!("\n{}\n\nExamples:\n", commands::NOTES),
    );
    for example in commands::EXAMPLES {
        add(
            &mut text,
            format_args!("  {}\n", example.replace('\n', "\n  ")),
        );
    }
    add(
        &mut text,
        format_args!("\nExit status: {}\n", commands::EXIT_STATUS),
    );
    text
}

/// Breaks a line at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < width => add(line, format_args!(" {word}")),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Adds a line of two columns.
fn line(text: &mut String, width: usize, name: &str, meaning: &str) {
    add(text, format_args!("  {name:<width$}  {meaning}\n"));
}

/// Returns what `--version` prints.
pub(crate) fn version() -> String {
    format!("proxmox-mcp {}", env!("CARGO_PKG_VERSION"))
}

/// Returns what `tools` prints: the tools that the settings show, the size of their list, and why the others
/// are hidden.
pub(crate) fn tool_table(safety: &Safety) -> String {
    let width = listed_tools().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    let mut hidden = String::new();
    let mut shown = 0;
    for domain in tools::DOMAINS {
        let size = domain.size(safety);
        let mut heading = format!(
            "{} (toolset {}, {size} bytes)\n",
            domain.title, domain.toolset
        );
        if !text.is_empty() {
            heading.insert(0, '\n');
        }
        let mut hidden_here = Vec::new();
        for (name, tool) in domain.tools {
            if let Some(why) = safety
                .exposure
                .hides(domain.toolset, name, tool.only_reads())
            {
                hidden_here.push((*name, why));
                continue;
            }
            shown += 1;
            text.push_str(&mem::take(&mut heading));
            let permission = tool.permission.to_string();
            text.push_str(&format!(
                "  {name:<width$}  {permission:<8}  {}\n",
                tool.title
            ));
        }
        match &hidden_here[..] {
            // A toolset that is hidden as a whole needs only one line.
            [(_, why), ..]
                if hidden_here.len() == domain.tools.len()
                    && hidden_here.iter().all(|(_, other)| other == why) =>
            {
                let all = format!("all of {}", domain.toolset);
                hidden.push_str(&format!("  {all:<width$}  {why}\n"));
            }
            _ => {
                for (name, why) in &hidden_here {
                    hidden.push_str(&format!("  {name:<width$}  {why}\n"));
                }
            }
        }
    }
    let size = Definitions::new(safety).size();
    text.push_str(&format!(
        "\n{shown} of {} tools; their list takes {size} bytes.\n",
        listed_tools().count()
    ));
    let toolsets = safety.exposure.toolsets.iter();
    for toolset in toolsets.flat_map(Toolsets::without_tools) {
        text.push_str(&format!(
            "The toolset {toolset} has no tools in this version.\n"
        ));
    }
    if !hidden.is_empty() {
        text.push_str(&format!("\nHidden\n{hidden}"));
    }
    text
}

/// Returns what `tools NAME` prints: the declared parameters, the requests, and an example call.
pub(crate) fn tool_page(listed: &ListedTool, safety: &Safety) -> String {
    let ListedTool { name, tool, .. } = *listed;
    let mut text = format!(
        "{name}: {} ({})\n{}\n",
        tool.title, tool.permission, tool.summary
    );
    if let Some(why) = listed.hidden(safety) {
        text.push_str(&format!("Hidden: {why}.\n"));
    }
    let params = || tool.listed_params(safety);
    let width = params().map(|param| param.name.len()).max();
    text.push_str(match width {
        None => "\nIt takes no arguments.\n",
        Some(_) => "\nArguments:\n",
    });
    let width = width.unwrap_or(0);
    for param in params() {
        let place = match param.is_listed_as_required() {
            true => "required",
            false if param.is_rare() => "in more",
            false => "",
        };
        let mut details = param.form();
        if let Some(default) = param.default_value() {
            details.push_str(&format!("; default: {default}"));
        }
        if !param.description.is_empty() {
            details.push_str(&format!(". {}", param.description.trim_end_matches('.')));
        }
        text.push_str(&format!(
            "  {:<width$}  {place:<8}  {details}\n",
            param.name
        ));
    }
    text.push_str(&format!("\nRequests: {}\n", tool.requests().join(", ")));
    if let Some(example) = demo::example(name) {
        let allow = match tool.permission {
            Permission::Basic => "",
            Permission::Elevated => " --allow-elevated",
        };
        let example = match &*example {
            "{}" => String::new(),
            json => format!(" '{}'", json.replace('\'', r"'\''")),
        };
        text.push_str(&format!(
            "Example: proxmox-mcp --demo{allow} call {name}{example}\n"
        ));
    }
    text
}

/// Returns what `tools --json` prints: the array in the answer to `tools/list`.
pub(crate) fn tool_definitions(safety: &Safety) -> String {
    serde_json::to_string_pretty(&Definitions::new(safety)).expect("its keys are texts")
}

/// Returns what `tools --markdown` prints, which is also `src/tools/README.md`.
pub(crate) fn tool_markdown() -> String {
    let list = |steps: &[Step]| {
        let requests = steps.iter().map(|step| format!("`{step}`"));
        requests.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "# Tools\n\n\
         <!-- made by `UPDATE_FIXTURES=1 cargo test` from the declarations; `proxmox-mcp tools --markdown` prints it -->\n\n\
         {} tools in {} groups. 🔒 marks the elevated ones, which need `PROXMOX_ALLOW_ELEVATED`.\n\n\
         Tools for one guest take its VMID or its name as `vmid`. Where `node` (or `type`) is left out they look the guest up \
         first, in `GET /cluster/resources`; a name that several guests bear is refused with the candidates, a container given \
         to a tool for VMs with the tool to call. Create, restore and clone take the next free VMID (`GET /cluster/nextid`) \
         where none is given, say which, and go on to the next one when another client was faster.\n\n\
         Whichever tool is called, the program may also read: to find a guest, `GET /cluster/resources`; to follow a task, {}; \
         to show what is about to be changed, {}; to explain a failure, {}.\n\n\
         | toolset | what it is about | tools | in `default` |\n|---|---|---|---|\n",
        listed_tools().count(),
        tools::DOMAINS.len(),
        list(tasks::REQUESTS),
        list(facts::REQUESTS),
        list(diagnosis::REQUESTS),
    );
    for domain in tools::DOMAINS {
        let (toolset, title) = (domain.toolset, domain.title);
        let anchor = title.to_lowercase().replace(',', "").replace(' ', "-");
        let default = if exposure::is_default(toolset) {
            "yes"
        } else {
            ""
        };
        text.push_str(&format!(
            "| `{toolset}` | [{title}](#{anchor}) | {} | {default} |\n",
            domain.tools.len()
        ));
    }
    for domain in tools::DOMAINS {
        text.push_str(&format!(
            "\n## {}\n\n| tool | what it does | requests |\n|---|---|---|\n",
            domain.title
        ));
        for (name, tool) in domain.tools {
            let mark = match tool.permission {
                Permission::Basic => "",
                Permission::Elevated => " 🔒",
            };
            let requests = tool.requests().join("`<br>`");
            let summary = tool.summary;
            text.push_str(&format!("| `{name}`{mark} | {summary} | `{requests}` |\n"));
        }
    }
    text
}

/// Returns every tool of the program, shown or hidden, in the order of `tools/list`.
fn listed_tools() -> impl Iterator<Item = (&'static str, &'static Tool)> {
    tools::DOMAINS
        .iter()
        .flat_map(|domain| domain.tools)
        .copied()
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;
    use crate::cli::commands::{Argument, Values};
    use crate::mcp::connection::Peer;
    use crate::safety::Caller;
    use crate::safety::consent::Approval;
    use crate::settings::Settings;
    use crate::settings::exposure::{Exposure, Toolsets};
    use crate::tool::{Context, End};

    /// Exposes every toolset.
    fn all() -> Exposure {
        let toolsets = Toolsets::parse("all", &tools::known());
        Exposure {
            toolsets: Some(toolsets.expect("all is a valid value")),
            ..Exposure::default()
        }
    }

    #[test]
    fn the_example_of_each_tool_works_in_the_demonstration() {
        if env::var_os("UPDATE_FIXTURES").is_some() {
            // The recordings in this binary are older than those that this run writes.
            return;
        }
        // These send or make files of this machine, of which the demonstration has none.
        let moves_files =
            |name: &str| ["proxmox_restore_backup_file", "proxmox_upload_file"].contains(&name);
        for (name, _) in listed_tools().filter(|(name, _)| !moves_files(name)) {
            let arguments = demo::example(name).expect("a successful call of it is recorded");
            let arguments = serde_json::from_str(&arguments).expect("they are an object");
            let settings = Settings {
                connection: Err(Vec::new()),
                safety: Safety {
                    allow_elevated: true,
                    exposure: all(),
                    ..Safety::default()
                },
            };
            let context = Context::demo(settings, tools::find, Peer::none());
            let caller = Caller {
                name: "test".to_owned(),
                follows_tasks: false,
                approval: Approval::ByFlag { is_given: true },
            };
            let entry = tools::find(name).expect("it is listed");
            let End::Outcome(outcome) = entry.call(&context, &arguments, caller).finish() else {
                panic!("{name}: no outcome");
            };
            assert!(!outcome.is_error, "{name}: {}", outcome.text);
        }
    }

    #[test]
    fn parses_every_declared_form() {
        let any = |argument: &Argument| match argument.values {
            Values::Any => vec!["{}"],
            Values::File | Values::Folder => vec!["x"],
            Values::Names(names) => names(),
            Values::Tool => vec!["proxmox_get_nodes"],
        };
        for form in commands::FORMS {
            let mut lines = vec![form.words.to_vec()];
            for argument in form.takes {
                let names = any(argument);
                let longer = |line: &Vec<_>, name| [line.clone(), vec![name]].concat();
                let each = lines.iter();
                lines = each
                    .flat_map(|line| names.iter().map(|name| longer(line, *name)))
                    .collect();
            }
            for switch in form.switches.iter().copied().flatten() {
                let line = lines[0].clone();
                let value = switch.folder.map(|_| "x");
                lines.push([line, vec![switch.name], value.into_iter().collect()].concat());
            }
            for line in lines {
                let parsed = parse(Parser::from_args(&line));
                assert!(parsed.is_ok(), "{line:?}: {:?}", parsed.err());
            }
        }
    }

    #[test]
    fn the_page_of_a_tool_shows_all_its_parameters() {
        for (name, tool) in listed_tools() {
            let listed = tools::find(name).expect("it is listed");
            let page = tool_page(&listed, &Safety::default());
            for param in tool.listed_params(&Safety::default()) {
                assert!(page.contains(&format!("\n  {} ", param.name)), "{page}");
            }
            assert!(!page.contains("  \n"), "{page}");
        }
    }
}
