//! The configuration of MCP clients for this program: `config CLIENT`, printed or put into the client's file.
//!
//! What is said of each client here comes from its documentation or its source, as of November 2026.

mod edit;
pub(crate) mod file;
mod item;
mod json;
mod places;
mod toml;
mod yaml;

use std::env;
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io;
use std::path::{self, Path, PathBuf};

use self::edit::Edit;
use self::file::Change;
pub(super) use self::item::quoted;
use self::item::{Item, Layout};
use self::places::{Places, System, join};
use crate::cli::commands;
use crate::error::Error;
use crate::settings::{self, SETTINGS, Setting, Unset};
use crate::text::{self, add};
use crate::tools;

/// A client, and what its entry looks like.
pub(crate) struct Client {
    name: &'static str,
    title: &'static str,
    asks: Asks,
    format: Format,
    shape: Shape,
    /// Where its file is, for the user rather than for one project.
    file: fn(&Places) -> Option<PathBuf>,
    /// What else there is to know, for `config` and the documentation.
    note: &'static str,
}

/// Whether a client puts questions of a server to the user (elicitation, in forms).
#[derive(Clone, Copy)]
enum Asks {
    Yes,
    /// Only if this holds.
    If(&'static str),
    No,
    NotKnown,
}

#[derive(Clone, Copy)]
enum Format {
    /// An object below the first of these paths that exists, or else the last.
    Json(&'static [&'static [&'static str]]),
    Toml,
    Yaml,
    /// No file, but a command to run.
    Command,
}

/// The names that a client has for the parts of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Usual,
    /// Arguments are always there.
    WithArguments,
    /// With a type, and with an input for the secret.
    VsCode,
    /// Command and arguments are one list.
    OpenCode,
    /// The name is within.
    Named,
}

const MCP_SERVERS: Format = Format::Json(&[&["mcpServers"]]);

/// What a new file of Continue begins with; without it the file is rejected.
const CONTINUE_HEADER: &str = "name: Main Config\nversion: 1.0.0\nschema: v1\n";

/// The input of VS Code that asks for the secret.
const INPUT: &str = "proxmox-secret";

pub(crate) static CLIENTS: &[Client] = &[
    Client {
        name: "claude-desktop",
        title: "Claude Desktop",
        asks: Asks::No,
        format: MCP_SERVERS,
        shape: Shape::Usual,
        file: |places| {
            let folder = places.applications()?;
            Some(join(folder, &["Claude", "claude_desktop_config.json"]))
        },
        note: "Settings, Developer, Edit Config opens the file that counts: the edition of the Microsoft \
               Store may keep it elsewhere, and for Linux nothing is documented",
    },
    Client {
        name: "claude-code",
        title: "Claude Code",
        asks: Asks::If("from version 2.1.76 on"),
        format: Format::Command,
        shape: Shape::Usual,
        file: |_| None,
        note: "prints a command to run, on Windows for PowerShell; `--write` does nothing here, since \
               Claude Code rewrites its own file while it runs",
    },
    Client {
        name: "vscode",
        title: "VS Code",
        asks: Asks::Yes,
        format: Format::Json(&[&["servers"]]),
        shape: Shape::VsCode,
        file: |places| {
            let folder = places.applications()?;
            Some(join(folder, &["Code", "User", "mcp.json"]))
        },
        note: "asks for the secret and keeps it, unless `PROXMOX_TOKEN_FILE` is set; a project has its own file, `.vscode/mcp.json`",
    },
    Client {
        name: "cursor",
        title: "Cursor",
        asks: Asks::Yes,
        format: MCP_SERVERS,
        shape: Shape::Usual,
        file: |places| places.below_home(&[".cursor", "mcp.json"]),
        note: "a project has its own file, `.cursor/mcp.json`",
    },
    Client {
        name: "codex",
        title: "Codex",
        asks: Asks::If("unless its `approval_policy` is `never`, which declines for you"),
        format: Format::Toml,
        shape: Shape::WithArguments,
        file: |places| {
            let named = places.named("CODEX_HOME");
            let folder = named.or_else(|| places.below_home(&[".codex"]))?;
            Some(folder.join("config.toml"))
        },
        note: "`CODEX_HOME` moves the folder",
    },
    Client {
        name: "gemini-cli",
        title: "Gemini CLI",
        asks: Asks::No,
        format: MCP_SERVERS,
        shape: Shape::Usual,
        file: |places| {
            let home = places.named("GEMINI_CLI_HOME").or_else(|| places.home())?;
            Some(join(home, &[".gemini", "settings.json"]))
        },
        note: "a value with `$NAME` becomes that variable",
    },
    Client {
        name: "opencode",
        title: "opencode",
        asks: Asks::If("from version 2 on"),
        // Both versions read the second, and the new one both.
        format: Format::Json(&[&["mcp", "servers"], &["mcp"]]),
        shape: Shape::OpenCode,
        file: |places| {
            let folder = places.xdg()?.join("opencode");
            let commented = folder.join("opencode.jsonc");
            // What it says wins over the other file.
            Some(match commented.exists() {
                true => commented,
                false => folder.join("opencode.json"),
            })
        },
        note: "or `opencode.jsonc`, where that is there",
    },
    Client {
        name: "zed",
        title: "Zed",
        asks: Asks::No,
        format: Format::Json(&[&["context_servers"]]),
        shape: Shape::WithArguments,
        file: |places| {
            Some(match places.system {
                System::Linux => join(places.xdg()?, &["zed", "settings.json"]),
                System::MacOs => places.below_home(&[".config", "zed", "settings.json"])?,
                System::Windows => join(places.applications()?, &["Zed", "settings.json"]),
            })
        },
        note: "",
    },
    Client {
        name: "windsurf",
        title: "Windsurf",
        asks: Asks::NotKnown,
        format: MCP_SERVERS,
        shape: Shape::Usual,
        file: |places| places.below_home(&[".codeium", "windsurf", "mcp_config.json"]),
        note: "now Devin Desktop; takes 100 tools at most, of all servers together",
    },
    Client {
        name: "continue",
        title: "Continue",
        asks: Asks::No,
        format: Format::Yaml,
        shape: Shape::Named,
        file: |places| {
            let named = places.named("CONTINUE_GLOBAL_DIR");
            let folder = named.or_else(|| places.below_home(&[".continue"]))?;
            Some(folder.join("config.yaml"))
        },
        note: "tools work in agent mode; 2.0.0 was its last version",
    },
    Client {
        name: "generic",
        title: "another client",
        asks: Asks::NotKnown,
        format: MCP_SERVERS,
        shape: Shape::Usual,
        file: |_| None,
        note: "the form that most clients read; its place is in their documentation",
    },
];

pub(crate) fn names() -> Vec<&'static str> {
    CLIENTS.iter().map(|client| client.name).collect()
}

/// What to do with an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Print,
    /// Show how it would change the client's file.
    Compare,
    /// Show that, and change the file.
    Write,
}

/// What `config` found out before anything is changed.
pub(crate) struct Prepared {
    /// What goes to standard output first: the entry, or the difference.
    pub(crate) text: String,
    /// What goes to standard error.
    pub(crate) notes: Vec<String>,
    /// What is to be written, or why nothing is.
    pub(crate) change: Result<Option<Change>, Error>,
}

/// Prepares what `config CLIENT` does.
pub(crate) fn prepare(
    client: &Client,
    purpose: Purpose,
    flags: &[(&'static Setting, OsString)],
    demo: bool,
    with_secret: bool,
) -> Result<Prepared, Error> {
    let entry = Entry::new(flags, demo, with_secret)?;
    let places = Places {
        system: System::HERE,
        variable: &|name| env::var_os(name),
    };
    let file = (client.file)(&places);
    let mut notes: Vec<String> = client.on_confirmation(&entry).into_iter().collect();
    if purpose == Purpose::Print {
        entry.warn();
        if !client.note.is_empty() {
            notes.push(format!("{}: {}.", client.title, client.note));
        }
        if let Some(file) = &file {
            notes.push(format!(
                "This goes into {}: `--diff` shows how, `--write` puts it there.",
                file.display()
            ));
        }
        return Ok(Prepared {
            text: client.printed(&entry),
            notes,
            change: Ok(None),
        });
    }
    let changed = match &file {
        Some(path) => client
            .change(&entry, path, purpose)
            .map_err(|why| format!("{why}\nThe entry above can be added by hand.")),
        None => Err(client.why_not()),
    };
    let (text, change) = match changed {
        Ok(changed) => changed,
        Err(why) => {
            let place = match &file {
                Some(file) => format!("to {}", file.display()),
                None => format!("for {}", client.title),
            };
            return Ok(Prepared {
                text: client.printed(&entry),
                notes: Vec::new(),
                change: Err(Error::impossible(
                    format!("nothing was written {place}"),
                    why,
                )),
            });
        }
    };
    if let Some(change) = &change
        && entry.has_secret()
    {
        let others = match change.is_open() {
            true => ", which other users of this machine can read",
            false => "",
        };
        notes.push(format!(
            "This puts the secret of the token into the file{others}; PROXMOX_TOKEN_FILE keeps it out."
        ));
    }
    Ok(Prepared {
        text,
        notes,
        change: Ok(change),
    })
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
    /// What to say of values to be filled in.
    warnings: Vec<String>,
}

impl Entry {
    /// Collects the settings that are set, and leaves required ones that are not to be filled in.
    ///
    /// The secret is left to be filled in as well, unless `with_secret` is set.
    fn new(
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
        let mut warnings = Vec::new();
        if !demo && !given.missing.is_empty() {
            warnings.push(settings::on_one_line(&given.missing));
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
            warnings.push(
                "replace the placeholder with the secret before you use this, or set PROXMOX_TOKEN_FILE"
                    .to_owned(),
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
            warnings,
        })
    }

    fn warn(&self) {
        for warning in &self.warnings {
            log::warn!("{warning}");
        }
    }

    /// Returns the variables with their values, and `placeholder` for values that the user has to fill in.
    fn variables(&self, placeholder: fn(&Setting) -> String) -> Vec<(&'static str, String)> {
        let values = self.environment.iter().map(|(setting, value)| {
            let value = value.clone().unwrap_or_else(|| placeholder(setting));
            (setting.variable, value)
        });
        values.collect()
    }

    /// Returns the value of a setting.
    fn value(&self, variable: &str) -> Option<&str> {
        let mut values = self.environment.iter();
        let (_, value) = values.find(|(setting, _)| setting.variable == variable)?;
        value.as_deref()
    }

    fn is_on(&self, variable: &str) -> bool {
        let value = self.value(variable);
        value.is_some_and(|value| settings::boolean(value) == Ok(true))
    }

    fn has_secret(&self) -> bool {
        let mut values = self.environment.iter();
        values.any(|(setting, value)| setting.is_secret() && value.is_some())
    }

    /// Returns the entry as it may be shown.
    fn masked(&self) -> Self {
        let mask = |(setting, value): &(&'static Setting, Option<String>)| {
            let value = match setting.is_secret() {
                true => value.as_ref().map(|_| text::MASK.to_owned()),
                false => value.clone(),
            };
            (*setting, value)
        };
        Self {
            name: self.name,
            command: self.command.clone(),
            arguments: self.arguments,
            environment: self.environment.iter().map(mask).collect(),
            warnings: Vec::new(),
        }
    }
}

/// An entry in the form of a client.
struct Server {
    name: &'static str,
    item: Item,
    /// The name of this binary.
    program: String,
}

impl Server {
    /// Returns true if an entry with this command is one of this program, which may be replaced.
    fn is_own(&self, command: Option<&str>) -> bool {
        command.is_some_and(|command| {
            let program = program(command);
            program == self.program || program == "proxmox-mcp"
        })
    }
}

/// Returns the name of a binary, without its folder and `.exe`.
fn program(command: &str) -> &str {
    let name = command.rsplit(['/', '\\']).next().unwrap_or_default();
    name.strip_suffix(".exe").unwrap_or(name)
}

/// An entry of the same name that another program's command is in.
struct Foreign<'a>(&'a str, Option<&'a str>);

impl Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, command) = self;
        write!(f, "{name} is another server there")?;
        if let Some(command) = command {
            let command = text::cut(&text::inline(command), 200);
            write!(f, ", with the command {command}")?;
        }
        write!(f, ": rename or remove it first")
    }
}

impl Client {
    /// Returns the entry of this program.
    fn server(&self, entry: &Entry) -> Server {
        let placeholder = match self.shape {
            Shape::VsCode => input_or_placeholder,
            _ => placeholder,
        };
        let variables = entry.variables(placeholder).into_iter();
        let variables = Item::Map(
            variables
                .map(|(name, value)| (name, Item::Text(value)))
                .collect(),
        );
        let command = Item::text(&entry.command);
        let arguments = || Item::texts(entry.arguments.iter().copied());
        let mut members = match self.shape {
            Shape::OpenCode => {
                let words = [&entry.command[..]].into_iter();
                let words = Item::texts(words.chain(entry.arguments.iter().copied()));
                vec![("type", Item::text("local")), ("command", words)]
            }
            Shape::VsCode => vec![("type", Item::text("stdio")), ("command", command)],
            Shape::Named => vec![("name", Item::text(entry.name)), ("command", command)],
            Shape::Usual | Shape::WithArguments => vec![("command", command)],
        };
        let is_split = self.shape != Shape::OpenCode;
        if self.shape == Shape::WithArguments || (is_split && !entry.arguments.is_empty()) {
            members.push(("args", arguments()));
        }
        members.push((if is_split { "env" } else { "environment" }, variables));
        Server {
            name: entry.name,
            item: Item::Map(members),
            program: program(&entry.command).to_owned(),
        }
    }

    /// Returns what VS Code is to ask for.
    fn input(&self, entry: &Entry) -> Option<Item> {
        let is_open =
            |(setting, value): &(&Setting, Option<String>)| setting.is_secret() && value.is_none();
        let is_asked = self.shape == Shape::VsCode && entry.environment.iter().any(is_open);
        is_asked.then(|| {
            Item::Map(vec![
                ("type", Item::text("promptString")),
                ("id", Item::text(INPUT)),
                ("description", Item::text("Proxmox API token secret")),
                ("password", Item::Flag(true)),
            ])
        })
    }

    /// Returns the entry as a file of its own, or the command to run.
    fn printed(&self, entry: &Entry) -> String {
        let server = self.server(entry);
        match self.format {
            Format::Command => claude_code(entry, System::HERE),
            Format::Toml => server
                .item
                .toml(&format!("mcp_servers.{}", server.name), "\n"),
            Format::Yaml => yaml::document("mcpServers", &server.item),
            Format::Json(paths) => {
                let path = paths.last().copied().unwrap_or_default();
                let Item::Map(mut members) =
                    Item::Map(vec![(server.name, server.item)]).below(path)
                else {
                    return String::new();
                };
                if let Some(input) = self.input(entry) {
                    members.insert(0, ("inputs", Item::List(vec![input])));
                }
                Item::Map(members).json(&Layout::PLAIN) + "\n"
            }
        }
    }

    /// Returns how the entry changes the file, and the change; the error says why it is left alone.
    fn change(
        &self,
        entry: &Entry,
        path: &Path,
        purpose: Purpose,
    ) -> Result<(String, Option<Change>), String> {
        let is_left_open = |(setting, value): &(&Setting, Option<String>)| {
            value.is_none() && !(setting.is_secret() && self.shape == Shape::VsCode)
        };
        if let Some((setting, _)) = entry.environment.iter().find(|it| is_left_open(it)) {
            return Err(match setting.is_secret() {
                true => "The entry would lack the secret: set PROXMOX_TOKEN_FILE to a file that has it, \
                         or add --with-secret."
                    .to_owned(),
                false => format!("The entry would not work: {} is missing.", setting.variable),
            });
        }
        let found = file::find(path)?;
        if found.is_new() && self.shape == Shape::Named && path.with_extension("json").exists() {
            return Err(
                "Continue would no longer read config.json, its old file beside it.".to_owned(),
            );
        }
        let old = found.text()?;
        let understood = |what| format!("The entry was not added to it: {what}.");
        let (new, _) = self.edited(entry, old).map_err(understood)?;
        // What is shown is what is written, but for the secret.
        let (_, difference) = self.edited(&entry.masked(), old).map_err(understood)?;
        let path = path.display();
        if new == old {
            return Ok((format!("{path} has this entry already.\n"), None));
        }
        let kind = if found.is_new() { " (new)" } else { "" };
        let text = format!("{path}{kind}\n{difference}");
        let change = match purpose {
            Purpose::Write => Some(found.with(new, entry.has_secret())),
            Purpose::Print | Purpose::Compare => None,
        };
        Ok((text, change))
    }

    /// Returns the text of the file with the entry, and the difference.
    fn edited(&self, entry: &Entry, text: &str) -> Result<(String, String), String> {
        let server = self.server(entry);
        let mut text = text.to_owned();
        let mut difference = String::new();
        let mut take = |place: &dyn Fn(&str) -> Result<Vec<Edit>, String>| {
            let edits = place(&text)?;
            difference.push_str(&edit::described(&text, &edits));
            text = edit::apply(&text, &edits);
            Ok::<_, String>(())
        };
        if let Some(input) = self.input(entry) {
            take(&|text| json::add_to_list(text, "inputs", INPUT, &input))?;
        }
        take(&|text| match self.format {
            Format::Json(paths) => json::place(text, paths, &server),
            Format::Toml => toml::place(text, "mcp_servers", &server),
            Format::Yaml => yaml::place(text, "mcpServers", CONTINUE_HEADER, &server),
            Format::Command => Ok(Vec::new()),
        })?;
        Ok((text, difference))
    }

    /// Explains why there is no file to write to.
    fn why_not(&self) -> String {
        match (self.format, self.name) {
            (Format::Command, _) => {
                "Claude Code rewrites its file while it runs, and would lose what another program adds. \
                 Run the command above, which lets it add the entry itself."
            }
            (_, "generic") => "Add the entry above where its documentation says.",
            _ => "The variables that name its folder are not set (HOME, on Windows APPDATA).",
        }
        .to_owned()
    }

    /// Returns who confirms what destroys or interrupts, if the settings allow that.
    fn on_confirmation(&self, entry: &Entry) -> Option<String> {
        let is_allowed = entry.is_on("PROXMOX_ALLOW_ELEVATED")
            && !entry.is_on("PROXMOX_READ_ONLY")
            && !entry.is_on("PROXMOX_DRY_RUN");
        if !is_allowed || entry.arguments.contains(&"--demo") {
            return None;
        }
        let policy = entry.value("PROXMOX_CONFIRM").unwrap_or("auto");
        let title = self.title;
        if policy.eq_ignore_ascii_case("never") {
            return Some(
                "Elevated tools are allowed, and with PROXMOX_CONFIRM=never you are asked nothing: \
                 what destroys data is done at once."
                    .to_owned(),
            );
        }
        let asked = "what destroys data or interrupts is done once you typed its VMID or name";
        let (what, rest) = match policy.eq_ignore_ascii_case("always") {
            true => ("what destroys data or interrupts", ""),
            false => (
                "what destroys data",
                " What only interrupts is left to the client's own approval, unless PROXMOX_CONFIRM=always.",
            ),
        };
        let refused = format!(
            "{what} is refused at first, with a question and a confirm_token: the model is to show you the \
             question and, if you agree, to repeat the call with the token"
        );
        let sentence = match self.asks {
            Asks::Yes => format!("{title} can ask you: {asked}."),
            Asks::If(condition) => {
                format!("{title} can ask you {condition}: then {asked}. Otherwise {refused}.{rest}")
            }
            Asks::No => format!("{title} cannot ask you: {refused}.{rest}"),
            Asks::NotKnown => format!(
                "Whether {title} can ask you is not known. If it can, {asked}. If not, {refused}.{rest}"
            ),
        };
        Some(format!("Elevated tools are allowed. {sentence}"))
    }
}

impl Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asks::Yes => f.write_str("yes"),
            Asks::If(condition) => write!(f, "{condition}"),
            Asks::No => f.write_str("no"),
            Asks::NotKnown => f.write_str("not known"),
        }
    }
}

/// Returns what `config` prints without a client.
pub(crate) fn list() -> String {
    let places = Places {
        system: System::HERE,
        variable: &|name| env::var_os(name),
    };
    let mut text = format!(
        "proxmox-mcp config CLIENT prints what an MCP client needs to start this server with the settings\n\
         given now.\n\n  \
         --write        {}\n  --diff         {}\n  --with-secret  {}; a token file keeps it out\n\n",
        commands::WRITE.meaning,
        commands::DIFF.meaning,
        commands::WITH_SECRET.meaning,
    );
    add(
        &mut text,
        format_args!("{:<14}  {:<9}  file\n", "client", "can ask"),
    );
    for client in CLIENTS {
        let asks = match client.asks {
            Asks::If(_) => "depends".to_owned(),
            asks => asks.to_string(),
        };
        let file = match (client.file)(&places) {
            Some(file) => file.display().to_string(),
            None => match client.format {
                Format::Command => "none: a command to run".to_owned(),
                _ => "as its documentation says".to_owned(),
            },
        };
        add(
            &mut text,
            format_args!("{:<14}  {asks:<9}  {file}\n", client.name),
        );
    }
    text.push_str(
        "\nA client that can ask puts questions to you while a tool runs: PROXMOX_CONFIRM relies on it. With\n\
         PROXMOX_ALLOW_ELEVATED=true, `config CLIENT` says what that means for this one.\n",
    );
    text
}

/// Returns the absolute path of the running binary.
fn binary() -> Result<String, Error> {
    as_text(env::current_exe())
        .map_err(|err| Error::impossible("cannot find the path of this program", err))
}

/// Returns a path as an absolute one, since a client starts the program in another folder.
fn absolute(setting: &Setting, value: &str) -> Result<String, Error> {
    as_text(path::absolute(value))
        .map_err(|err| Error::settings(vec![format!("{} is not a path: {err}", setting.variable)]))
}

/// Returns a path as text.
fn as_text(path: io::Result<PathBuf>) -> Result<String, String> {
    let path = path.map_err(|err| err.to_string())?;
    let text = path.into_os_string().into_string();
    text.map_err(|_| "it is not valid UTF-8".to_owned())
}

/// Returns a placeholder such as `<name of the API token>`, which is never a valid value.
fn placeholder(setting: &Setting) -> String {
    format!("<{}>", commands::name_of(setting))
}

/// Returns what VS Code replaces with what the user typed, for the secret.
fn input_or_placeholder(setting: &Setting) -> String {
    match setting.is_secret() {
        true => format!("${{input:{INPUT}}}"),
        false => placeholder(setting),
    }
}

/// Writes one command, for PowerShell on Windows, elsewhere for a POSIX shell or fish.
///
/// `--env` takes several values, so another option separates it from the name.
fn claude_code(entry: &Entry, system: System) -> String {
    let is_windows = system == System::Windows;
    let word = if is_windows { power_shell_word } else { word };
    // PowerShell continues lines in another way, and takes two bare dashes for its own.
    let (line, dashes) = match is_windows {
        true => (" ", "'--'"),
        false => (" \\\n  ", "--"),
    };
    let mut command = "claude mcp add".to_owned();
    for (name, value) in entry.variables(placeholder) {
        let value = word(&format!("{name}={value}"));
        add(&mut command, format_args!("{line}--env {value}"));
    }
    let (name, program) = (entry.name, word(&entry.command));
    add(
        &mut command,
        format_args!("{line}--transport stdio --scope user {name} {dashes} {program}"),
    );
    for argument in entry.arguments {
        add(&mut command, format_args!(" {argument}"));
    }
    command + "\n"
}

/// Returns a JSON array of strings.
pub(super) fn list_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// Quotes a word for PowerShell if necessary.
fn power_shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/\\._-=:".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Quotes a word for a shell's command line if necessary.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:@%+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Returns the table of the documentation.
#[cfg(test)]
pub(crate) fn table() -> String {
    let home = |system: System| {
        move |name: &str| match (system, name) {
            (System::Windows, "USERPROFILE") => Some("C:\\~".into()),
            (System::Windows, "APPDATA") => Some("C:\\%APPDATA%".into()),
            (System::Windows, _) => None,
            (_, "HOME") => Some("/~".into()),
            _ => None,
        }
    };
    let file = |client: &Client, system: System| {
        let places = Places {
            system,
            variable: &home(system),
        };
        let file = (client.file)(&places)?.display().to_string();
        let file = file.replace('\\', "/");
        Some(file.replace("C:/", "").replace("/~", "~"))
    };
    let mut table = String::from("| client | its file | can it ask you? | |\n|---|---|---|---|\n");
    for client in CLIENTS {
        let files = [
            ("Linux", System::Linux),
            ("macOS", System::MacOs),
            ("Windows", System::Windows),
        ];
        let mut places: Vec<(String, String)> = Vec::new();
        for (name, system) in files {
            let Some(file) = file(client, system) else {
                continue;
            };
            match places.iter_mut().find(|(_, known)| *known == file) {
                Some((names, _)) => add(names, format_args!(", {name}")),
                None => places.push((name.to_owned(), file)),
            }
        }
        let files = match &places[..] {
            [] => "none".to_owned(),
            [(_, file)] => format!("`{file}`"),
            places => {
                let lines = places
                    .iter()
                    .map(|(names, file)| format!("{names}: `{file}`"));
                lines.collect::<Vec<_>>().join("<br>")
            }
        };
        let (name, title, note) = (client.name, client.title, client.note);
        let asks = client.asks;
        add(
            &mut table,
            format_args!("| `{name}`: {title} | {files} | {asks} | {note} |\n"),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_command_for_the_shell_of_each_system() {
        let value = |setting, value: &str| (setting, Some(value.to_owned()));
        let entry = Entry {
            name: "proxmox",
            command: r"C:\bin\proxmox-mcp.exe".to_owned(),
            arguments: &["--demo"],
            environment: vec![
                value(SETTINGS[0], "pve1"),
                value(SETTINGS[2], "it's,$a@pve"),
            ],
            warnings: Vec::new(),
        };
        assert_eq!(
            claude_code(&entry, System::Windows),
            "claude mcp add --env PROXMOX_HOST=pve1 --env 'PROXMOX_USER=it''s,$a@pve' --transport stdio \
             --scope user proxmox '--' C:\\bin\\proxmox-mcp.exe --demo\n"
        );
        assert_eq!(
            claude_code(&entry, System::MacOs),
            "claude mcp add \\\n  --env PROXMOX_HOST=pve1 \\\n  --env 'PROXMOX_USER=it'\\''s,$a@pve' \\\n  \
             --transport stdio --scope user proxmox -- 'C:\\bin\\proxmox-mcp.exe' --demo\n"
        );
    }

    #[test]
    fn knows_its_own_binary_by_name() {
        let server = |program: &str| Server {
            name: "proxmox",
            item: Item::Flag(true),
            program: program.to_owned(),
        };
        let renamed = server(program(r"C:\bin\pve-mcp.exe"));
        assert!(renamed.is_own(Some("/usr/bin/pve-mcp")));
        assert!(renamed.is_own(Some("proxmox-mcp.exe")));
        assert!(!renamed.is_own(Some("/usr/bin/pve-mcp/other")));
        assert!(!renamed.is_own(None));
    }
}
