//! The user's settings: flags and variables, declared in one table, read once, checked together.
//!
//! Problems never repeat a value: a secret pasted into the wrong setting must not reach a log. The only
//! exception is the path of a file, if it is certainly a path.
//!
//! May import: `text`.

pub(crate) mod boundaries;
pub(crate) mod exposure;
mod hosts;

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::settings::boundaries::{Guests, Nodes};
use crate::settings::exposure::{Exposure, KnownTools, Names, Toolsets};
pub(crate) use crate::settings::hosts::Host;
use crate::text;
use crate::text::glob::Glob;
use crate::text::nearest::nearest;
use crate::text::octets;
pub(crate) use crate::text::secret::Secret;
use crate::text::sort::sort;
use crate::text::totp::Key;

/// A setting, from which its flag, its line in `--help` and its row in `src/settings/README.md` are generated.
pub(crate) struct Setting {
    pub(crate) variable: &'static str,
    /// A valid value to show when another is rejected; empty if an example would not help.
    pub(crate) example: &'static str,
    pub(crate) flag: Flag,
    pub(crate) unset: Unset,
    pub(crate) meaning: &'static str,
}

/// How the command line sets a setting; the flag of `PROXMOX_A_B` is `--a-b`.
pub(crate) enum Flag {
    /// Not at all, since other users of the machine can read command lines.
    None,
    /// `--a-b` for true, or `--a-b=BOOLEAN`.
    Switch,
    /// `--a-b VALUE`: the placeholder for the value, and the valid values.
    OneOf(&'static str, &'static [&'static str]),
    /// `--a-b VALUE`: the placeholder for the value, which is `FILE` for a path.
    Takes(&'static str),
}

/// What happens if a setting is not given.
pub(crate) enum Unset {
    /// The setting is required for a connection.
    Missing,
    /// The setting is not used.
    Absent,
    /// This value is used.
    Means(&'static str),
}

static HOST: Setting = Setting {
    variable: "PROXMOX_HOST",
    example: "pve1.example.com",
    flag: Flag::Takes("HOST"),
    unset: Unset::Missing,
    meaning: "any node, or several with commas: name, `host:port` or `https://` URL",
};

static PORT: Setting = Setting {
    variable: "PROXMOX_PORT",
    example: "8006",
    flag: Flag::Takes("PORT"),
    unset: Unset::Means("8006"),
    meaning: "port of the API",
};

static USER: Setting = Setting {
    variable: "PROXMOX_USER",
    example: "mcp@pve",
    flag: Flag::Takes("USER@REALM"),
    unset: Unset::Means("root@pam"),
    meaning: "user that owns the API token, with its realm",
};

static TOKEN_NAME: Setting = Setting {
    variable: "PROXMOX_TOKEN_NAME",
    example: "mcp",
    flag: Flag::Takes("NAME"),
    unset: Unset::Missing,
    meaning: "name of the API token: the part after `!`",
};

static TOKEN_VALUE: Setting = Setting {
    variable: "PROXMOX_TOKEN_VALUE",
    example: "01234567-89ab-4cde-8f01-23456789abcd",
    flag: Flag::None,
    unset: Unset::Absent,
    meaning: "secret of the API token; required unless `PROXMOX_TOKEN_FILE` is given",
};

static TOKEN_FILE: Setting = Setting {
    variable: "PROXMOX_TOKEN_FILE",
    example: "/etc/proxmox-mcp/token",
    flag: Flag::Takes("FILE"),
    unset: Unset::Absent,
    meaning: "file that contains the secret, instead of `PROXMOX_TOKEN_VALUE`",
};

static SSL_MODE: Setting = Setting {
    variable: "PROXMOX_SSL_MODE",
    example: "strict",
    flag: Flag::OneOf("MODE", &["strict", "verify", "insecure"]),
    unset: Unset::Means("strict"),
    meaning: "`strict`, `verify` (any issuer) or `insecure` (no check at all)",
};

static CA_FILE: Setting = Setting {
    variable: "PROXMOX_CA_FILE",
    example: "/etc/proxmox-mcp/pve-root-ca.pem",
    flag: Flag::Takes("FILE"),
    unset: Unset::Absent,
    meaning: "PEM file of certificates to trust in addition to the system's",
};

static FINGERPRINT: Setting = Setting {
    variable: "PROXMOX_FINGERPRINT",
    example: "",
    flag: Flag::Takes("SHA256"),
    unset: Unset::Absent,
    meaning: "SHA-256 of the certificate to trust whatever the SSL mode, or one per host",
};

static TIMEOUT: Setting = Setting {
    variable: "PROXMOX_TIMEOUT",
    example: "40",
    flag: Flag::Takes("SECONDS"),
    unset: Unset::Means("40"),
    meaning: "seconds that a request and its answer may take, 1 to 600",
};

static PASSWORD_FILE: Setting = Setting {
    variable: "PROXMOX_PASSWORD_FILE",
    example: "/etc/proxmox-mcp/password",
    flag: Flag::Takes("FILE"),
    unset: Unset::Absent,
    meaning: "file that contains a password, for the few tools that no API token can do",
};

static TOTP_SECRET_FILE: Setting = Setting {
    variable: "PROXMOX_TOTP_SECRET_FILE",
    example: "/etc/proxmox-mcp/totp",
    flag: Flag::Takes("FILE"),
    unset: Unset::Absent,
    meaning: "file that contains the TOTP secret of that user's second factor, in base32",
};

static LOGIN_USER: Setting = Setting {
    variable: "PROXMOX_LOGIN_USER",
    example: "root@pam",
    flag: Flag::Takes("USER@REALM"),
    unset: Unset::Absent,
    meaning: "user whose password that is, if not `PROXMOX_USER`",
};

static ALLOW_ELEVATED: Setting = Setting {
    variable: "PROXMOX_ALLOW_ELEVATED",
    example: "true",
    flag: Flag::Switch,
    unset: Unset::Means("false"),
    meaning: "`true` allows the elevated tools, which change the cluster",
};

static READ_ONLY: Setting = Setting {
    variable: "PROXMOX_READ_ONLY",
    example: "true",
    flag: Flag::Switch,
    unset: Unset::Means("false"),
    meaning: "`true` exposes only tools that change nothing",
};

static TOOLSETS: Setting = Setting {
    variable: "PROXMOX_TOOLSETS",
    example: "default,ha",
    flag: Flag::Takes("NAMES"),
    unset: Unset::Means("default"),
    meaning: "groups of tools, or `all`; `proxmox-mcp tools` lists them",
};

static TOOLS: Setting = Setting {
    variable: "PROXMOX_TOOLS",
    example: "proxmox_get_vms,proxmox_list_*",
    flag: Flag::Takes("NAMES"),
    unset: Unset::Absent,
    meaning: "tools to show, names or globs; added to the toolsets if those are set",
};

static EXCLUDE_TOOLS: Setting = Setting {
    variable: "PROXMOX_EXCLUDE_TOOLS",
    example: "proxmox_delete_*,proxmox_execute_vm_command",
    flag: Flag::Takes("NAMES"),
    unset: Unset::Absent,
    meaning: "tools to hide, names or globs",
};

static GUESTS: Setting = Setting {
    variable: "PROXMOX_GUESTS",
    example: "100-199,pool:dev,!tag:prod",
    flag: Flag::Takes("GUESTS"),
    unset: Unset::Absent,
    meaning: "guests that elevated tools may touch: `100-199,pool:x,!tag:y`",
};

static NODES: Setting = Setting {
    variable: "PROXMOX_NODES",
    example: "pve1,pve2",
    flag: Flag::Takes("NODES"),
    unset: Unset::Absent,
    meaning: "nodes that elevated tools may touch: `pve1,pve2` or `!pve3`",
};

static PROTECTED: Setting = Setting {
    variable: "PROXMOX_PROTECTED",
    example: "100,pool:prod",
    flag: Flag::Takes("GUESTS"),
    unset: Unset::Absent,
    meaning: "guests that no tool may stop, change or destroy",
};

static ALLOW_COMMANDS: Setting = Setting {
    variable: "PROXMOX_ALLOW_COMMANDS",
    example: "uptime,systemctl status *",
    flag: Flag::Takes("GLOBS"),
    unset: Unset::Absent,
    meaning: "command lines that may run in VMs, globs separated by commas",
};

static UPLOAD_DIRS: Setting = Setting {
    variable: "PROXMOX_UPLOAD_DIRS",
    example: "/srv/iso,/home/me/images",
    flag: Flag::Takes("DIRS"),
    unset: Unset::Absent,
    meaning: "directories that files are uploaded from and restored to",
};

static DRY_RUN: Setting = Setting {
    variable: "PROXMOX_DRY_RUN",
    example: "true",
    flag: Flag::Switch,
    unset: Unset::Means("false"),
    meaning: "`true` only shows what elevated tools would send",
};

static CONFIRM: Setting = Setting {
    variable: "PROXMOX_CONFIRM",
    example: "auto",
    flag: Flag::OneOf("POLICY", &["auto", "always", "never"]),
    unset: Unset::Means("auto"),
    meaning: "confirm calls that destroy or disrupt: `auto`, `always` or `never`",
};

static AUDIT_LOG: Setting = Setting {
    variable: "PROXMOX_AUDIT_LOG",
    example: "/var/log/proxmox-mcp.jsonl",
    flag: Flag::Takes("FILE"),
    unset: Unset::Absent,
    meaning: "file that gets one line of JSON for each elevated call",
};

/// Every setting, in the order `--help` and `src/settings/README.md` show them.
pub(crate) static SETTINGS: &[&Setting] = &[
    &HOST,
    &PORT,
    &USER,
    &TOKEN_NAME,
    &TOKEN_VALUE,
    &TOKEN_FILE,
    &SSL_MODE,
    &CA_FILE,
    &FINGERPRINT,
    &TIMEOUT,
    &PASSWORD_FILE,
    &TOTP_SECRET_FILE,
    &LOGIN_USER,
    &ALLOW_ELEVATED,
    &READ_ONLY,
    &TOOLSETS,
    &TOOLS,
    &EXCLUDE_TOOLS,
    &GUESTS,
    &NODES,
    &PROTECTED,
    &ALLOW_COMMANDS,
    &UPLOAD_DIRS,
    &DRY_RUN,
    &CONFIRM,
    &AUDIT_LOG,
];

/// The settings that name a file with a secret.
static SECRET_FILES: &[&Setting] = &[&TOKEN_FILE, &PASSWORD_FILE, &TOTP_SECRET_FILE];

const NO_TEXT: &str = "must be text in UTF-8";

const QUOTED: &str = "is in quotes, which count as part of it: leave them out";

/// The endings of variables that other programs use for the same things.
static FOREIGN: &[(&str, &Setting)] = &[
    ("_TOKEN_ID", &TOKEN_NAME),
    ("_TOKEN", &TOKEN_VALUE),
    ("_SECRET", &TOKEN_VALUE),
    ("_PASSWORD", &PASSWORD_FILE),
    ("_URL", &HOST),
    ("_ENDPOINT", &HOST),
    ("_USERNAME", &USER),
    ("_INSECURE", &SSL_MODE),
    ("_VERIFY_SSL", &SSL_MODE),
];

/// Returns the setting that an unknown variable was probably meant to be.
pub(crate) fn meant(variable: &str) -> Option<&'static Setting> {
    let foreign = FOREIGN.iter().find(|(end, _)| variable.ends_with(end));
    foreign.map(|(_, setting)| *setting).or_else(|| {
        // The common prefix would make all names similar.
        let name = variable.trim_start_matches("PROXMOX_");
        let near = nearest(name, SETTINGS.iter().map(|setting| setting.name()))?;
        let named = |setting: &&&Setting| setting.name() == near;
        SETTINGS.iter().find(named).copied()
    })
}

/// A problem with the settings, as a sentence that begins with the name of a setting or variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The value is invalid.
    Invalid(String),
    /// The setting is required and not set.
    Missing {
        variable: &'static str,
        meaning: String,
    },
    /// The variable is probably a misspelt safety setting: ignoring it would allow what the user wants to
    /// prevent.
    Misspelt {
        variable: String,
        meant: &'static str,
    },
}

impl Problem {
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Problem::Missing { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Invalid(sentence) => f.write_str(sentence),
            Problem::Missing { variable, meaning } => write!(f, "{variable} is missing: {meaning}"),
            Problem::Misspelt { variable, meant } => {
                write!(f, "{variable} is not a setting: unset it, or set {meant}")
            }
        }
    }
}

/// Returns the problems on one line.
pub(crate) fn on_one_line(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
    problems.join("; ")
}

/// A probable mistake that stops no call, and how to correct it.
#[derive(Clone, Debug)]
pub(crate) struct Warning {
    pub(crate) found: String,
    pub(crate) remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = self.remedy.lines().map(str::trim);
        write!(
            f,
            "{}. {}",
            self.found,
            remedy.collect::<Vec<_>>().join(" ")
        )
    }
}

/// Returns a warning about variables that look like settings but are not: they may be misspelt, or belong to
/// another program.
pub(crate) fn ignored(environment: impl Iterator<Item = (OsString, OsString)>) -> Option<Warning> {
    let ignored = unknown(environment).into_iter();
    // A misspelt safety setting is not ignored: calls are refused.
    let each = ignored
        .filter(|name| safety_setting_meant(name).is_none())
        .map(|name| {
            let meant = meant(&name).map(|setting| setting.variable);
            let meant = meant.map(|variable| format!(" (did you mean {variable}?)"));
            text::inline(&name) + &meant.unwrap_or_default()
        });
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| Warning {
        found: format!("ignored, since it is not a setting: {}", each.join(", ")),
        remedy: "Correct or unset it; proxmox-mcp --help lists all settings.".to_owned(),
    })
}

/// Returns a problem for each variable that is probably a misspelt safety setting.
pub(crate) fn misspelt(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<Problem> {
    let problem = |name: String| {
        Some(Problem::Misspelt {
            variable: text::inline(&name),
            meant: safety_setting_meant(&name)?.variable,
        })
    };
    unknown(environment)
        .into_iter()
        .filter_map(problem)
        .collect()
}

/// Returns the safety setting that an unknown variable was probably meant to be.
fn safety_setting_meant(variable: &str) -> Option<&'static Setting> {
    const WORDS: &[(&str, &Setting)] = &[
        ("AUDIT", &AUDIT_LOG),
        ("COMMAND", &ALLOW_COMMANDS),
        ("CONFIRM", &CONFIRM),
        ("DRY_RUN", &DRY_RUN),
        ("DRYRUN", &DRY_RUN),
        ("EXCLUDE", &EXCLUDE_TOOLS),
        ("GUEST", &GUESTS),
        ("NODE", &NODES),
        ("PROTECT", &PROTECTED),
        ("READ_ONLY", &READ_ONLY),
        ("READONLY", &READ_ONLY),
        ("TOOLSET", &TOOLSETS),
        ("TOOLS", &TOOLS),
    ];
    let variable = variable.to_ascii_uppercase();
    let named = WORDS.iter().find(|(word, _)| variable.contains(word));
    let near = || {
        let meant = meant(&variable)?;
        let mut settings = WORDS.iter().map(|(_, setting)| *setting);
        settings.find(|setting| setting.variable == meant.variable)
    };
    named.map(|(_, setting)| *setting).or_else(near)
}

/// Returns the names of variables that look like settings but are not, sorted.
fn unknown(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let mut names: Vec<String> = environment
        .filter(|(_, value)| is_set(value))
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.to_ascii_uppercase().starts_with("PROXMOX_"))
        .filter(|name| SETTINGS.iter().all(|setting| setting.variable != name))
        .collect();
    sort(&mut names);
    names
}

impl Setting {
    /// Returns whether the setting controls what a model may do, rather than how to reach the cluster.
    pub(crate) fn is_safety_setting(&self) -> bool {
        let mut settings = SETTINGS.iter().map(|setting| setting.variable);
        let own = settings
            .clone()
            .position(|variable| variable == self.variable);
        own >= settings.position(|variable| variable == ALLOW_ELEVATED.variable)
    }

    /// Returns the name that the flag has, or would have if the setting had one.
    pub(crate) fn flag_name(&self) -> String {
        format!("--{}", self.name().to_lowercase().replace('_', "-"))
    }

    /// Returns the variable without the common prefix.
    pub(crate) fn name(&self) -> &'static str {
        self.variable.trim_start_matches("PROXMOX_")
    }

    /// Returns whether the value is a path.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.flag, Flag::Takes("FILE"))
    }

    /// Returns whether the value must not be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.variable == TOKEN_VALUE.variable
    }

    /// Returns whether this is the file with the secret, the alternative to the secret itself.
    pub(crate) fn stands_for_secret(&self) -> bool {
        self.variable == TOKEN_FILE.variable
    }
}

/// The settings that are set, and those that are missing.
pub(crate) struct Listed {
    /// The values as given; a flag overrides its variable.
    pub(crate) values: Vec<(&'static Setting, String)>,
    pub(crate) missing: Vec<Problem>,
}

/// Returns the settings that are set.
///
/// If any are invalid, returns only those problems: a value in the wrong setting may be a secret.
pub(crate) fn given(
    known: &KnownTools,
    flags: &[(&'static Setting, OsString)],
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Listed, Vec<Problem>> {
    let problems = Settings::read(known, flags, &environment).connection.err();
    let (missing, mut wrong): (Vec<Problem>, Vec<Problem>) = problems
        .unwrap_or_default()
        .into_iter()
        .partition(Problem::is_missing);
    let reader = Reader::new(flags, &environment);
    let mut values = Vec::new();
    for setting in SETTINGS {
        if let Some(Given { name, value }) = reader.given(setting) {
            match value.into_string() {
                Ok(value) => values.push((*setting, value)),
                Err(_) => wrong.push(Problem::Invalid(format!("{name} {NO_TEXT}"))),
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(Listed { values, missing }),
        false => Err(wrong),
    }
}

/// Returns warnings about valid settings that are probably a mistake.
pub(crate) fn warnings(
    flags: &[(&'static Setting, OsString)],
    environment: impl Fn(&str) -> Option<OsString>,
) -> Vec<Warning> {
    Reader::new(flags, &environment).warnings()
}

/// Reads only the hosts, without the token or any file; any certificate is accepted.
pub(crate) fn hosts(
    flags: &[(&'static Setting, OsString)],
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Host>, Vec<Problem>> {
    let mut reader = Reader::new(flags, &environment);
    match reader.unchecked_hosts() {
        Some(hosts) if reader.problems.is_empty() => Ok(hosts),
        _ => Err(reader.problems),
    }
}

/// All settings.
pub(crate) struct Settings {
    /// How to reach the cluster, or every problem with the settings.
    pub(crate) connection: Result<Connection, Vec<Problem>>,
    pub(crate) safety: Safety,
}

/// What the user allows a model to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Safety {
    /// Whether elevated tools may be called.
    pub(crate) allow_elevated: bool,
    /// Which tools clients see.
    pub(crate) exposure: Exposure,
    /// The guests that elevated tools may touch; `None` for all.
    pub(crate) guests: Option<Guests>,
    /// The nodes that elevated tools may touch; `None` for all.
    pub(crate) nodes: Option<Nodes>,
    /// The guests that no tool may stop, change or destroy.
    pub(crate) protected: Option<Guests>,
    /// The command lines that may run in VMs; `None` for all.
    pub(crate) commands: Option<Vec<Glob>>,
    /// The directories of this machine that files are uploaded from and restored to.
    pub(crate) upload_dirs: Vec<PathBuf>,
    /// Whether every call is a dry run, whatever its arguments.
    pub(crate) dry_run: bool,
    pub(crate) confirm: Confirm,
    pub(crate) audit_log: Option<PathBuf>,
}

/// How destructive and disruptive calls are confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Confirm {
    /// Like `Always`, but if the client cannot ask the user, disruptive calls need no confirmation.
    #[default]
    Auto,
    /// The user confirms; if the client cannot ask, the call must be repeated with a token.
    Always,
    /// No call needs a confirmation.
    Never,
}

/// How to reach the cluster.
#[derive(Clone)]
pub(crate) struct Connection {
    /// Interchangeable nodes of one cluster, the preferred one first; at least one.
    pub(crate) hosts: Vec<Host>,
    /// `user@realm!name`
    pub(crate) token_id: String,
    pub(crate) token_secret: Secret,
    /// How long a request to one host may take, including its answer.
    pub(crate) timeout: Duration,
    pub(crate) login: Option<Login>,
}

/// The credentials of a user who logs in for what no API token can do.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// `user@realm`
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// The second factor, if it is set.
    pub(crate) totp: Option<Key>,
}

/// Which server certificates are accepted.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) check: Check,
    /// The certificates of `PROXMOX_CA_FILE`.
    pub(crate) listed: Vec<CertificateDer<'static>>,
    /// The fingerprint that `PROXMOX_FINGERPRINT` pins for each host, in order, and the index of this host.
    pub(crate) pins: Vec<Option<[u8; 32]>>,
    pub(crate) place: usize,
    /// Whether `verify` may be suggested as an alternative.
    pub(crate) may_tolerate: bool,
}

/// What the server's certificate must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Only that the server holds its private key.
    Insecure,
    /// Only the SHA-256 fingerprint.
    Pin([u8; 32]),
    /// A chain to a trusted root, the name, the dates.
    Strict,
    /// Like `Strict`, but an unknown issuer is tolerated.
    Verify,
}

impl Settings {
    /// Reads all settings; a flag overrides its variable.
    pub(crate) fn read(
        known: &KnownTools,
        flags: &[(&'static Setting, OsString)],
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let mut reader = Reader::new(flags, &environment);
        let safety = reader.safety(known);
        for warning in reader.warnings() {
            log::warn!("{warning}");
        }
        Self {
            connection: match reader.connection() {
                Some(connection) if reader.problems.is_empty() => Ok(connection),
                _ => Err(reader.problems),
            },
            safety,
        }
    }

    /// Reads the settings that apply to `--demo`: no secret and no file.
    ///
    /// There is no connection; the problems are only those of the settings that were read.
    pub(crate) fn read_for_demo(
        known: &KnownTools,
        flags: &[(&'static Setting, OsString)],
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let mut reader = Reader::new(flags, &environment);
        let safety = reader.safety(known);
        Self {
            connection: Err(reader.problems),
            safety,
        }
    }
}

impl Settings {
    /// Adds a problem for each variable that is probably a misspelt safety setting.
    pub(crate) fn checked(
        mut self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Self {
        let misspelt = misspelt(environment);
        if !misspelt.is_empty() {
            let mut problems = self.connection.err().unwrap_or_default();
            problems.extend(misspelt);
            self.connection = Err(problems);
        }
        self
    }
}

/// Reads and checks one setting after another, and collects the problems.
struct Reader<'a> {
    flags: &'a [(&'static Setting, OsString)],
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    problems: Vec<Problem>,
}

/// A value, with the flag or variable that set it.
struct Given {
    name: String,
    value: OsString,
}

impl<'a> Reader<'a> {
    fn new(
        flags: &'a [(&'static Setting, OsString)],
        environment: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        Self {
            flags,
            environment,
            problems: Vec::new(),
        }
    }

    /// Returns the value of a setting if it is set; for a repeated flag, the last one.
    fn given(&self, setting: &Setting) -> Option<Given> {
        let flag = self
            .flags
            .iter()
            .rfind(|(known, value)| known.variable == setting.variable && is_set(value))
            .map(|(_, value)| Given {
                name: setting.flag_name(),
                value: value.clone(),
            });
        flag.or_else(|| {
            let value = (self.environment)(setting.variable).filter(is_set)?;
            Some(Given {
                name: setting.variable.to_owned(),
                value,
            })
        })
    }

    /// Returns the result of `check` for the value or its default; `None` if there is neither, or it is
    /// invalid.
    fn read<T>(
        &mut self,
        setting: &Setting,
        check: impl Fn(&OsStr) -> Result<T, String>,
    ) -> Option<T> {
        let given = match (self.given(setting), &setting.unset) {
            (Some(given), _) => given,
            (None, Unset::Means(text)) => Given {
                name: setting.variable.to_owned(),
                value: text.into(),
            },
            (None, Unset::Absent) => return None,
            (None, Unset::Missing) => {
                self.problems.push(Problem::Missing {
                    variable: setting.variable,
                    meaning: setting.meaning.to_owned(),
                });
                return None;
            }
        };
        let read = match is_quoted(&given.value) {
            true => Err(QUOTED.to_owned()),
            false => check(&given.value),
        };
        read.map_err(|problem| {
            let example = match setting.example {
                "" => String::new(),
                example => format!("; for example: {example}"),
            };
            self.reject(format!("{} {problem}{example}", given.name));
        })
        .ok()
    }

    fn reject(&mut self, sentence: String) {
        self.problems.push(Problem::Invalid(sentence));
    }

    fn read_text<T>(
        &mut self,
        setting: &Setting,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(setting, |value| check(value.to_str().ok_or(NO_TEXT)?))
    }

    fn read_file<T>(
        &mut self,
        setting: &Setting,
        check: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        self.read(setting, |path| {
            let bytes = fs::read(path)
                .map_err(|err| format!("must name a file that can be read, but: {err}"));
            bytes
                .and_then(|bytes| check(&bytes))
                .map_err(|problem| format!("{problem}{}", place(path)))
        })
    }

    fn warnings(&self) -> Vec<Warning> {
        let open = SECRET_FILES.iter().map(|setting| self.open_file(setting));
        [self.contradiction(), self.idle_login()]
            .into_iter()
            .chain(open)
            .flatten()
            .collect()
    }

    /// Returns a warning if every user of the machine can read a file that contains a secret.
    fn open_file(&self, setting: &Setting) -> Option<Warning> {
        let file = self.given(setting)?;
        is_open_to_all(&file.value).then(|| {
            let path = match shown_path(&file.value) {
                Some(path) => text::shell_quoted(&path),
                None => "FILE".to_owned(),
            };
            Warning {
                found: format!(
                    "{} names a file that every user of this machine can read{}",
                    file.name,
                    place(&file.value)
                ),
                remedy: format!("Restrict it to its owner:\n  chmod 600 {path}"),
            }
        })
    }

    /// Returns a warning about login settings without a password.
    fn idle_login(&self) -> Option<Warning> {
        if self.given(&PASSWORD_FILE).is_some() {
            return None;
        }
        let idle = [&TOTP_SECRET_FILE, &LOGIN_USER];
        let idle: Vec<String> = idle
            .iter()
            .filter_map(|setting| Some(self.given(setting)?.name))
            .collect();
        (!idle.is_empty()).then(|| {
            let idle = idle.join(" and ");
            let password = PASSWORD_FILE.variable;
            Warning {
                found: format!("without effect: {idle}, since {password} is not set"),
                remedy: format!("Set {password}, or unset {idle}."),
            }
        })
    }

    /// Returns a warning about settings that another one makes ineffective.
    fn contradiction(&self) -> Option<Warning> {
        let mode = self.given(&SSL_MODE);
        let insecure = mode
            .as_ref()
            .is_some_and(|mode| mode.value.eq_ignore_ascii_case("insecure"));
        let ca_file = self.given(&CA_FILE);
        let pin = self.given(&FINGERPRINT);
        let (idle, why) = match pin.filter(|pin| !hosts::leaves_one_out(&pin.value)) {
            Some(pin) => (
                vec![mode, ca_file],
                format!("{} alone decides which certificate is trusted", pin.name),
            ),
            // A login checks certificates in any mode.
            None if insecure && self.given(&PASSWORD_FILE).is_none() => (
                vec![ca_file],
                "in the SSL mode insecure no certificate is checked".to_owned(),
            ),
            None => return None,
        };
        let idle: Vec<String> = idle.into_iter().flatten().map(|given| given.name).collect();
        (!idle.is_empty()).then(|| Warning {
            found: format!("without effect: {}, since {why}", idle.join(" and ")),
            remedy: format!("Unset {}, or what overrides it.", idle.join(" and ")),
        })
    }

    /// Reads the safety settings.
    ///
    /// An invalid value is a problem, so calls are refused; until it is fixed, the strictest value applies.
    fn safety(&mut self, known: &KnownTools) -> Safety {
        Safety {
            allow_elevated: self.read_text(&ALLOW_ELEVATED, boolean).unwrap_or(false),
            exposure: Exposure {
                read_only: self.read_text(&READ_ONLY, boolean).unwrap_or(true),
                toolsets: match self.given(&TOOLSETS) {
                    Some(_) => self.read_text(&TOOLSETS, |text| Toolsets::parse(text, known)),
                    None => None,
                },
                tools: self.read_text(&TOOLS, |text| Names::parse(text, known)),
                excluded: self.read_text(&EXCLUDE_TOOLS, |text| Names::parse(text, known)),
            },
            guests: self.read_text(&GUESTS, Guests::parse),
            nodes: self.read_text(&NODES, Nodes::parse),
            protected: self.read_text(&PROTECTED, Guests::parse),
            commands: self.read_text(&ALLOW_COMMANDS, commands),
            upload_dirs: self.read_text(&UPLOAD_DIRS, dirs).unwrap_or_default(),
            dry_run: self.read_text(&DRY_RUN, boolean).unwrap_or(true),
            confirm: self.read_text(&CONFIRM, confirm).unwrap_or(Confirm::Always),
            audit_log: self.read(&AUDIT_LOG, |path| Ok(PathBuf::from(path))),
        }
    }

    /// Reads how to reach the cluster. It reads every setting before it gives up, so that all problems are
    /// found.
    fn connection(&mut self) -> Option<Connection> {
        let hosts = self.hosts();
        let user = self.read_text(&USER, user);
        let token_name = self.read_text(&TOKEN_NAME, token_name);
        let token_secret = self.token_secret();
        let timeout = self.read_text(&TIMEOUT, |text| number(text, 1, 600));
        let login = self.login(user.as_deref());
        Some(Connection {
            hosts: hosts?,
            token_id: format!("{}!{}", user?, token_name?),
            login,
            token_secret: token_secret?,
            timeout: Duration::from_secs(timeout?.into()),
        })
    }

    /// Reads the login: by default, that of `user`, the owner of the token.
    fn login(&mut self, user: Option<&str>) -> Option<Login> {
        let password = self.read_file(&PASSWORD_FILE, password_in_file);
        let totp = self.read_file(&TOTP_SECRET_FILE, totp_secret_in_file);
        let login_user = self.read_text(&LOGIN_USER, self::user);
        Some(Login {
            user: login_user.or(user.map(str::to_owned))?,
            password: password?,
            totp,
        })
    }

    fn token_secret(&mut self) -> Option<Secret> {
        match (self.given(&TOKEN_VALUE), self.given(&TOKEN_FILE)) {
            (Some(value), Some(file)) => {
                self.reject(format!(
                    "{} and {} are both set: set only one of them",
                    value.name, file.name
                ));
                None
            }
            (Some(_), None) => self.read_text(&TOKEN_VALUE, token_secret),
            (None, Some(_)) => self.read_file(&TOKEN_FILE, token_secret_in_file),
            (None, None) => {
                self.problems.push(Problem::Missing {
                    variable: TOKEN_VALUE.variable,
                    meaning: format!(
                        "the secret of the API token, or {} with a file that contains it",
                        TOKEN_FILE.variable
                    ),
                });
                None
            }
        }
    }
}

/// Returns whether a value is neither empty nor a placeholder that a client did not replace.
fn is_set(value: &OsString) -> bool {
    // Claude Desktop passes `${user_config.x}` on if an optional field without a default is empty.
    let placeholder = value
        .to_str()
        .and_then(|text| text.strip_prefix("${user_config.")?.strip_suffix('}'))
        .is_some_and(|field| !field.contains(['{', '}']));
    !value.is_empty() && !placeholder
}

/// Returns whether users who are neither its owner nor in its group can read a file.
#[cfg(unix)]
fn is_open_to_all(path: &OsStr) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

/// Returns false: access lists decide here, and home folders are private by default.
#[cfg(not(unix))]
fn is_open_to_all(_: &OsStr) -> bool {
    false
}

/// Returns whether a value is in quotes that a shell would have removed, but for example a container's file
/// of variables does not.
fn is_quoted(value: &OsStr) -> bool {
    let bytes = value.as_encoded_bytes();
    let [first @ (b'"' | b'\''), inner @ .., last] = bytes else {
        return false;
    };
    first == last && !inner.contains(first)
}

/// Returns a path as text if it is certainly a path and not a secret.
fn shown_path(path: &OsStr) -> Option<Cow<'_, str>> {
    let text = path.to_string_lossy();
    let mut parts = Path::new(path).components();
    let is_path = Path::new(path).is_absolute()
        || match parts.next() {
            Some(Component::CurDir | Component::ParentDir) => true,
            Some(Component::Normal(first)) => first == "~" && parts.next().is_some(),
            _ => false,
        }
        || fs::exists(path).unwrap_or(false);
    Some(text).filter(|text| is_path && !text.contains(['!', '=']))
}

/// Returns where a file was looked up, to follow a problem with it.
fn place(path: &OsStr) -> String {
    let hint = if path.as_encoded_bytes().starts_with(b"~") {
        "; ~ is not expanded here, write the full path".to_owned()
    } else if Path::new(path).is_relative() {
        let folder = std::env::current_dir().unwrap_or_default();
        format!("; a relative path starts at {}", folder.display())
    } else {
        String::new()
    };
    match shown_path(path) {
        Some(path) => text::inline(&format!(" ({path}{hint})")),
        None => text::inline(&hint),
    }
}

fn port(text: &str) -> Result<u16, String> {
    number(text, 1, u16::MAX)
}

fn number(text: &str, least: u16, most: u16) -> Result<u16, String> {
    text.parse()
        .ok()
        // `parse` would accept a sign.
        .filter(|number| {
            text.starts_with(|c: char| c.is_ascii_digit()) && (least..=most).contains(number)
        })
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true, 1, yes or on; or false, 0, no or off".into()),
    }
}

fn user(text: &str) -> Result<String, String> {
    if text.contains('!') {
        return Err(format!(
            "must be only `user@realm`: what follows `!` belongs in {} and {}",
            TOKEN_NAME.variable, TOKEN_VALUE.variable
        ));
    }
    if !is_visible(text) {
        return Err("must contain only visible ASCII characters".into());
    }
    match text.rsplit_once('@') {
        None | Some((_, "")) => Err("lacks its realm, the part after `@`".into()),
        Some(("", _)) => Err("lacks the user before its realm".into()),
        Some(_) => Ok(text.to_owned()),
    }
}

fn token_name(text: &str) -> Result<String, String> {
    if text.contains(['!', '=']) {
        return Err(format!(
            "must be only the name: in `user@realm!name=secret`, the part before `!` belongs in {}, \
             the part after `=` in {}",
            USER.variable, TOKEN_VALUE.variable
        ));
    }
    // What Proxmox accepts as a name, except that the first character and the length are not checked.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    {
        return Err("must consist of letters, digits, `.`, `_` and `-`".into());
    }
    Ok(text.to_owned())
}

fn token_secret(text: &str) -> Result<Secret, String> {
    if text.contains(['!', '=']) {
        return Err(format!(
            "must be only the secret: in `user@realm!name=secret`, the part before `!` belongs in \
             {}, the part before `=` in {}",
            USER.variable, TOKEN_NAME.variable
        ));
    }
    if is_quoted(text.as_ref()) {
        return Err(QUOTED.into());
    }
    if !is_visible(text) {
        return Err(
            "must be the secret as Proxmox showed it, a UUID: visible ASCII characters without \
             spaces or line ends"
                .into(),
        );
    }
    Ok(Secret::new(text.to_owned()))
}

fn token_secret_in_file(bytes: &[u8]) -> Result<Secret, String> {
    secret_in_file(bytes, token_secret)
}

fn password_in_file(bytes: &[u8]) -> Result<Secret, String> {
    secret_in_file(bytes, |text| match text.contains(['\r', '\n', '\0']) {
        true => Err("must be the password alone, on one line".to_owned()),
        false => Ok(Secret::new(text.to_owned())),
    })
}

fn totp_secret_in_file(bytes: &[u8]) -> Result<Key, String> {
    secret_in_file(bytes, |text| {
        Key::parse(text).ok_or_else(|| {
            "must be the secret alone, in base32: what follows `secret=` in the URI that set the factor up"
                .to_owned()
        })
    })
}

/// Returns the result of `check` for the content of a file, without the line end that editors add.
fn secret_in_file<T>(bytes: &[u8], check: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    let text = match bytes {
        // Programs of Windows begin a file with a mark of its encoding; PowerShell's `>` writes UTF-16.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0xef, 0xbb, 0xbf, ..] => Ok(octets::decode(bytes)),
        bytes => str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| "is not text".to_owned()),
    };
    let line = text.as_deref().map(|text| match text.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => text,
    });
    if line == Ok("") {
        return Err("must name a file that contains the secret, but that file is empty".into());
    }
    line.map_err(String::clone)
        .and_then(check)
        .map_err(|problem| format!("names a file whose content {problem}"))
}

/// Returns whether a text is safe in a header: ASCII without spaces and control characters.
fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn ssl_mode(text: &str) -> Result<Check, String> {
    match text.to_ascii_lowercase().as_str() {
        "strict" => Ok(Check::Strict),
        "verify" => Ok(Check::Verify),
        "insecure" => Ok(Check::Insecure),
        _ => Err("must be strict, verify or insecure".into()),
    }
}

fn confirm(text: &str) -> Result<Confirm, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(Confirm::Auto),
        "always" => Ok(Confirm::Always),
        "never" => Ok(Confirm::Never),
        _ => Err("must be auto, always or never".into()),
    }
}

fn commands(text: &str) -> Result<Vec<Glob>, String> {
    let globs = text.split([',', '\n']).map(str::trim);
    let globs: Vec<Glob> = globs
        .filter(|glob| !glob.is_empty())
        .map(Glob::new)
        .collect();
    // Without this check, the part after a comma within a command could allow other programs.
    let is_wide = |glob: &Glob| {
        let program = glob.pattern().split(' ').next().unwrap_or_default();
        program.contains(['*', '?'])
    };
    if globs.is_empty() {
        return Err("must list command lines".into());
    }
    if globs.len() > 1 && globs.iter().any(is_wide) {
        return Err(
            "has a part that allows many programs; for a comma within a command write `?`".into(),
        );
    }
    Ok(globs)
}

/// Parses directories separated by commas. They may be created or removed while the program runs.
fn dirs(text: &str) -> Result<Vec<PathBuf>, String> {
    let dirs = text.split([',', '\n']).map(str::trim);
    let dirs: Vec<PathBuf> = dirs
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .collect();
    match dirs.is_empty() || dirs.iter().any(|dir| dir.is_relative()) {
        true => Err("must list directories by their full paths (~ is not expanded)".into()),
        false => Ok(dirs),
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let listed: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        // The error would quote the file.
        .map_err(|_| "must name a PEM file, but a section of that file is truncated or garbled")?;
    if listed.is_empty() {
        return Err("must name a PEM file, but that file contains no certificate (a node has one: /etc/pve/pve-root-ca.pem)".into());
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools;

    const SECRET: &str = "6f1de4c2-7b1e-4f0e-9d37-0a52c1b8e9aa";

    fn read_with(flags: &[(&'static Setting, OsString)], variables: &[(&str, &str)]) -> Settings {
        Settings::read(&tools::known(), flags, |name| {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(value.into())
        })
    }

    /// Returns the problems of settings that are not accepted.
    #[track_caller]
    fn rejected(settings: Settings) -> Vec<String> {
        match settings.connection {
            Ok(_) => panic!("the settings were accepted"),
            Err(problems) => problems.iter().map(Problem::to_string).collect(),
        }
    }

    /// Returns the connection of settings that are accepted.
    #[track_caller]
    fn accepted(settings: Settings) -> Connection {
        settings
            .connection
            .unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// Reads `variables` and the settings that every connection needs, which they override.
    fn read(variables: &[(&str, &str)]) -> Settings {
        let needed = [
            ("PROXMOX_HOST", "pve1.example"),
            ("PROXMOX_TOKEN_NAME", "mcp"),
            ("PROXMOX_TOKEN_VALUE", SECRET),
        ];
        let variables: Vec<_> = variables.iter().copied().chain(needed).collect();
        read_with(&[], &variables)
    }

    #[track_caller]
    fn connection(variables: &[(&str, &str)]) -> Connection {
        accepted(read(variables))
    }

    #[track_caller]
    fn problems(variables: &[(&str, &str)]) -> Vec<String> {
        rejected(read(variables))
    }

    /// Returns the only problem, which must name `variable` and not repeat `value`.
    #[track_caller]
    fn problem(variable: &str, value: &str) -> String {
        let problems = problems(&[(variable, value)]);
        assert_eq!(problems.len(), 1, "{variable}={value}: {problems:?}");
        assert!(problems[0].starts_with(&format!("{variable} ")));
        assert!(value.len() < 8 || !problems[0].contains(value));
        problems[0].clone()
    }

    /// Writes a file with this content, named after its test, and returns its path.
    fn file(name: &str, content: &[u8]) -> String {
        let path = std::env::temp_dir().join(format!("proxmox-mcp-{}-{name}", std::process::id()));
        fs::write(&path, content).expect("the file can be written");
        path.into_os_string()
            .into_string()
            .expect("the path is UTF-8")
    }

    #[test]
    fn three_settings_suffice() {
        let connection = connection(&[]);
        let [host] = &*connection.hosts else {
            panic!("{:?}", connection.hosts);
        };
        assert!(host.tls);
        assert_eq!(host.name, "pve1.example");
        assert_eq!(host.port, 8006);
        assert_eq!(connection.token_id, "root@pam!mcp");
        assert_eq!(connection.token_secret.expose(), SECRET);
        assert_eq!(host.trust.check, Check::Strict);
        assert!(host.trust.listed.is_empty());
        assert_eq!(connection.timeout, Duration::from_secs(40));
        assert!(!read(&[]).safety.allow_elevated);
    }

    #[test]
    fn names_all_missing_settings_at_once() {
        let problems = read_with(&[], &[]).connection.err().unwrap_or_default();
        let names = problems.iter().map(|problem| match problem {
            Problem::Missing { variable, .. } => *variable,
            problem => panic!("{problem}"),
        });
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["PROXMOX_HOST", "PROXMOX_TOKEN_NAME", "PROXMOX_TOKEN_VALUE"]
        );
    }

    #[test]
    fn collects_all_problems_and_keeps_elevated_tools_off() {
        let settings = read(&[
            ("PROXMOX_ALLOW_ELEVATED", "maybe"),
            ("PROXMOX_HOST", "http://pve1.example"),
            ("PROXMOX_PORT", "0"),
            ("PROXMOX_USER", "root"),
            ("PROXMOX_TOKEN_NAME", "my token"),
            ("PROXMOX_TOKEN_VALUE", "two words"),
            ("PROXMOX_SSL_MODE", "off"),
            ("PROXMOX_CA_FILE", "/nonexistent"),
            ("PROXMOX_FINGERPRINT", "AA:BB"),
            ("PROXMOX_TIMEOUT", "601"),
        ]);
        assert!(!settings.safety.allow_elevated);
        assert_eq!(rejected(settings).len(), 10);
    }

    #[test]
    fn accepts_every_form_of_a_host() {
        let table = [
            ("pve1", true, "pve1", 8006),
            ("pve_1.example.", true, "pve_1.example.", 8006),
            ("pve1.example:443", true, "pve1.example", 443),
            ("192.0.2.7", true, "192.0.2.7", 8006),
            ("192.0.2.7:8007", true, "192.0.2.7", 8007),
            ("2001:db8::1", true, "2001:db8::1", 8006),
            ("2001:db8::1:8007", true, "2001:db8::1:8007", 8006),
            ("[2001:db8::1]", true, "2001:db8::1", 8006),
            ("[2001:DB8:0::1]:8007", true, "2001:db8::1", 8007),
            ("https://pve1.example", true, "pve1.example", 8006),
            ("HTTPS://pve1.example/", true, "pve1.example", 8006),
            ("https://pve1.example:443/", true, "pve1.example", 443),
            ("https://[2001:db8::1]:443", true, "2001:db8::1", 443),
            ("https://pve1:443/#v1:0:18:4:::::::", true, "pve1", 443),
            ("https://pve1/#v1:0:=node%2Fpve1", true, "pve1", 8006),
            ("pve1:443/", true, "pve1", 443),
            (" pve1\n", true, "pve1", 8006),
            ("http://localhost:8001", false, "localhost", 8001),
            ("http://127.1.2.3", false, "127.1.2.3", 8006),
            ("http://[::1]:8001/", false, "::1", 8001),
        ];
        for (text, tls, host, port) in table {
            let found = &connection(&[("PROXMOX_HOST", text)]).hosts[0];
            assert_eq!(
                (found.tls, found.name.as_str(), found.port),
                (tls, host, port),
                "{text}"
            );
        }
    }

    #[test]
    fn rejects_an_invalid_host() {
        for text in [
            "pve 1",
            "-pve1",
            "pvé1",
            "pve1..example",
            "pve1:80:90",
            "256.0.0.1",
            "127.1",
            "[2001:db8::1",
            "[2001:db8::1]8006",
            "[pve1]:8006",
            "fe80::1%eth0",
            "https:///",
            "https://pve1#v1",
            "ssh://pve1",
        ] {
            assert!(problem("PROXMOX_HOST", text).contains("must be a host name"));
        }
        for (texts, expected) in [
            (
                &[
                    "root@pve1",
                    "https://root:password@pve1",
                    "root@pam!mcp=abc",
                ][..],
                "no user before the host: that belongs in PROXMOX_USER",
            ),
            (
                &[
                    "https://pve1/api2/json",
                    "https://pve1//",
                    "https://pve1?x=1",
                    "https://pve1:8006/?console=kvm#x",
                    "https://https://pve1",
                ],
                "no path, no query",
            ),
            (
                &[
                    "pve1:",
                    "pve1:0",
                    "pve1:65536",
                    "pve1:+80",
                    "https://[::1]:x/#v1",
                ],
                "has a port, which must be a whole number from 1 to 65535",
            ),
        ] {
            for text in texts {
                let problem = problem("PROXMOX_HOST", text);
                assert!(problem.contains(expected), "{text}: {problem}");
            }
        }
    }

    #[test]
    fn refuses_to_send_the_token_unencrypted() {
        for text in [
            "http://pve1.example",
            "http://192.0.2.7:8006/",
            "http://128.0.0.1",
            "http://[2001:db8::1]",
            "http://localhost.example",
            "http://[::ffff:127.0.0.1]",
            "http://0.0.0.0",
        ] {
            assert!(
                problem("PROXMOX_HOST", text).contains("unencrypted"),
                "{text}"
            );
        }
    }

    #[test]
    fn accepts_one_port_or_the_same_twice() {
        for (host, port, expected) in [
            ("pve1", "8007", 8007),
            ("pve1:8007", "", 8007),
            ("pve1:8007", "8007", 8007),
            ("2001:db8::1", "8007", 8007),
        ] {
            let variables = [("PROXMOX_HOST", host), ("PROXMOX_PORT", port)];
            assert_eq!(connection(&variables).hosts[0].port, expected);
        }
        let variables = [("PROXMOX_HOST", "pve1:8007"), ("PROXMOX_PORT", "8006")];
        assert_eq!(
            problems(&variables),
            ["PROXMOX_PORT and the port in PROXMOX_HOST differ: set only one of them"]
        );
    }

    #[test]
    fn a_flag_overrides_its_variable_and_is_named_in_problems() {
        let variables = [
            ("PROXMOX_HOST", "pve1"),
            ("PROXMOX_PORT", "zero"),
            ("PROXMOX_TOKEN_NAME", "mcp"),
            ("PROXMOX_TOKEN_VALUE", SECRET),
        ];
        let flags = [
            (&HOST, "pve2".into()),
            (&HOST, "pve3".into()),
            (&PORT, "8007".into()),
        ];
        let host = &accepted(read_with(&flags, &variables)).hosts[0];
        assert_eq!((host.name.as_str(), host.port), ("pve3", 8007));

        let flags = [(&SSL_MODE, "none".into()), (&PORT, OsString::new())];
        assert_eq!(
            rejected(read_with(&flags, &variables)),
            [
                "PROXMOX_PORT must be a whole number from 1 to 65535; for example: 8006",
                "--ssl-mode must be strict, verify or insecure; for example: strict",
            ]
        );
    }

    #[test]
    fn empty_values_and_unexpanded_placeholders_are_unset() {
        for unset in ["", "${user_config.port}"] {
            let connection = connection(&[
                ("PROXMOX_PORT", unset),
                ("PROXMOX_USER", unset),
                ("PROXMOX_SSL_MODE", unset),
                ("PROXMOX_CA_FILE", unset),
                ("PROXMOX_FINGERPRINT", unset),
                ("PROXMOX_TIMEOUT", unset),
                ("PROXMOX_TOKEN_FILE", unset),
                ("PROXMOX_ALLOW_ELEVATED", unset),
            ]);
            assert_eq!(connection.hosts[0].port, 8006);
        }
        problem("PROXMOX_HOST", "${user_config.host}.example");
        problem("PROXMOX_HOST", "${user_config.host}${user_config.port}");
    }

    #[test]
    fn reads_booleans_in_any_case() {
        for (text, expected) in [
            ("true", true),
            ("1", true),
            ("Yes", true),
            ("ON", true),
            ("FALSE", false),
            ("0", false),
            ("no", false),
            ("off", false),
        ] {
            let settings = read(&[("PROXMOX_ALLOW_ELEVATED", text)]);
            assert_eq!(settings.safety.allow_elevated, expected, "{text}");
            assert!(settings.connection.is_ok());
        }
        for text in ["y", "2", "true ", "enabled"] {
            problem("PROXMOX_ALLOW_ELEVATED", text);
        }
    }

    #[test]
    fn reads_the_timeout_within_its_limits() {
        for (text, seconds) in [("1", 1), ("600", 600), ("040", 40)] {
            let timeout = connection(&[("PROXMOX_TIMEOUT", text)]).timeout;
            assert_eq!(timeout, Duration::from_secs(seconds));
        }
        for text in ["0", "601", "40s", "+40", "-1", "1.5", "99999999999"] {
            problem("PROXMOX_TIMEOUT", text);
        }
    }

    #[test]
    fn rejects_a_user_without_realm_and_explains_a_token_id() {
        assert_eq!(
            connection(&[("PROXMOX_USER", "mcp@pve")]).token_id,
            "mcp@pve!mcp"
        );
        for (text, expected) in [
            ("root", "lacks its realm"),
            ("root@", "lacks its realm"),
            ("@pam", "lacks the user"),
            ("ro ot@pam", "visible ASCII"),
            ("root@pam\r\nX: y", "visible ASCII"),
            ("rööt@pam", "visible ASCII"),
        ] {
            assert!(problem("PROXMOX_USER", text).contains(expected), "{text}");
        }
        assert!(problem("PROXMOX_USER", "root@pam!mcp").contains("PROXMOX_TOKEN_NAME"));
    }

    #[test]
    fn explains_a_token_id_in_place_of_the_name() {
        for text in ["root@pam!mcp", "root@pam!mcp=6f1de4c2", "mcp=6f1de4c2"] {
            assert!(problem("PROXMOX_TOKEN_NAME", text).contains("only the name"));
        }
        for text in ["my token", "mcp\n", "mçp", "root@pam"] {
            assert!(problem("PROXMOX_TOKEN_NAME", text).contains("letters"));
        }
    }

    #[test]
    fn explains_a_whole_token_in_place_of_the_secret_without_repeating_it() {
        let pasted = format!("PVEAPIToken=root@pam!mcp={SECRET}");
        for text in [&pasted, &pasted[12..]] {
            let problem = problem("PROXMOX_TOKEN_VALUE", text);
            assert!(problem.contains("only the secret"));
            assert!(!problem.contains("6f1d") && !problem.contains("root@pam!mcp"));
        }
        for text in ["two words", "line\n", "line\r\nX-Injected: yes", "sécret"] {
            assert!(problem("PROXMOX_TOKEN_VALUE", text).contains("visible ASCII"));
        }
    }

    #[test]
    fn reads_the_secret_from_a_file_without_its_line_end() {
        let read_file = |path: &str| {
            let variables = [("PROXMOX_TOKEN_VALUE", ""), ("PROXMOX_TOKEN_FILE", path)];
            read_with(
                &[(&HOST, "pve1".into()), (&TOKEN_NAME, "mcp".into())],
                &variables,
            )
        };
        for line_end in ["", "\n", "\r\n"] {
            let path = file("secret", format!("{SECRET}{line_end}").as_bytes());
            assert_eq!(accepted(read_file(&path)).token_secret.expose(), SECRET);
            fs::remove_file(path).expect("it was written");
        }
        for content in ["", "\n", "a\n\n", "a\r", "a\nb\n", "a=b", "'a'\n", "\"a\""] {
            let path = file("no-secret", content.as_bytes());
            let problems = rejected(read_file(&path));
            assert_eq!(problems.len(), 1, "{content:?}");
            assert!(problems[0].starts_with("PROXMOX_TOKEN_FILE "));
            fs::remove_file(path).expect("it was written");
        }
        let problems = rejected(read_file("/nonexistent/secret"));
        assert!(problems[0].contains("No such file"), "{problems:?}");
    }

    #[test]
    fn reads_what_editors_and_shells_of_windows_write() {
        let utf16 = "a-secret\r\n".encode_utf16();
        let utf16: Vec<u8> = utf16.flat_map(u16::to_le_bytes).collect();
        for content in [
            &b"a-secret\r\n"[..],
            b"\xef\xbb\xbfa-secret",
            &[b"\xff\xfe", &utf16[..]].concat(),
        ] {
            let secret = secret_in_file(content, token_secret).expect("it is read");
            assert_eq!(secret.expose(), "a-secret");
        }
        for empty in [&b""[..], b"\r\n", b"\xff\xfe", b"\xef\xbb\xbf\n"] {
            let problem = secret_in_file(empty, token_secret).err();
            assert!(
                problem.is_some_and(|it| it.contains("is empty")),
                "{empty:?}"
            );
        }
    }

    #[test]
    fn only_what_is_certainly_a_path_is_shown() {
        for path in [
            "/etc/secret",
            "./secret",
            "../secret",
            "~/secret",
            "Cargo.toml",
        ] {
            assert_eq!(shown_path(OsStr::new(path)).as_deref(), Some(path));
        }
        for secret in [
            "12345678-9abc",
            "~secret",
            ".secret",
            "~",
            "a/b",
            "./mcp!a=b",
        ] {
            assert_eq!(shown_path(OsStr::new(secret)), None, "{secret}");
        }
    }

    #[test]
    fn reads_the_user_who_logs_in_and_the_credentials() {
        let password = file("password", b" correct horse; battery=staple \n");
        let totp = file("totp", b"gezd gnbv gy3t qojq\r\n");
        let login = connection(&[
            ("PROXMOX_USER", "mcp@pve"),
            ("PROXMOX_PASSWORD_FILE", &password),
        ]);
        let login = login.login.expect("a login is set");
        assert_eq!(login.user, "mcp@pve");
        assert_eq!(login.password.expose(), " correct horse; battery=staple ");
        assert!(login.totp.is_none());
        let login = connection(&[
            ("PROXMOX_USER", "mcp@pve"),
            ("PROXMOX_LOGIN_USER", "root@pam"),
            ("PROXMOX_PASSWORD_FILE", &password),
            ("PROXMOX_TOTP_SECRET_FILE", &totp),
        ]);
        let login = login.login.expect("a login is set");
        assert_eq!(login.user, "root@pam");
        let key = login.totp.expect("a second factor is set");
        assert_eq!(key.base32(), "GEZDGNBVGY3TQOJQ");
        assert!(connection(&[]).login.is_none());
        for (variable, content, expected) in [
            ("PROXMOX_PASSWORD_FILE", &b""[..], "that file is empty"),
            ("PROXMOX_PASSWORD_FILE", b"one-secret\ntwo\n", "on one line"),
            ("PROXMOX_PASSWORD_FILE", b"\xff", "is not text"),
            ("PROXMOX_TOTP_SECRET_FILE", b"one-secret", "in base32"),
        ] {
            let path = file("no-login", content);
            let problems = problems(&[(variable, &path)]);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(
                problems[0].starts_with(&format!("{variable} ")) && problems[0].contains(expected),
                "{problems:?}"
            );
            assert!(!problems[0].contains("one-secret"), "{problems:?}");
            fs::remove_file(path).expect("it was written");
        }
        for path in [password, totp] {
            fs::remove_file(path).expect("it was written");
        }
    }

    #[test]
    fn warns_about_login_settings_without_a_password() {
        let found = |names: &[&str]| -> Vec<String> {
            let warnings = warnings(&[], |name| {
                names.contains(&name).then(|| "/nonexistent".into())
            });
            warnings.into_iter().map(|warning| warning.found).collect()
        };
        assert_eq!(
            found(&["PROXMOX_LOGIN_USER", "PROXMOX_TOTP_SECRET_FILE"]),
            [
                "without effect: PROXMOX_TOTP_SECRET_FILE and PROXMOX_LOGIN_USER, since PROXMOX_PASSWORD_FILE is not set"
            ]
        );
        let all = [
            "PROXMOX_LOGIN_USER",
            "PROXMOX_TOTP_SECRET_FILE",
            "PROXMOX_PASSWORD_FILE",
        ];
        assert_eq!(found(&all), [""; 0]);
    }

    #[test]
    fn shows_the_path_of_a_file_unless_it_may_be_a_secret() {
        let empty = file("empty", b"");
        for (path, expected) in [
            ("/nonexistent/ca.pem", "(/nonexistent/ca.pem)"),
            ("~/ca.pem", "(~/ca.pem; ~ is not expanded here"),
            ("./ca.pem", "(./ca.pem; a relative path starts at /"),
            (
                &empty,
                &format!(
                    "that file contains no certificate (a node has one: /etc/pve/pve-root-ca.pem) ({empty})"
                ),
            ),
            ("/\u{1b}[2Jx", "(/\\u{1b}[2Jx)"),
        ] {
            let problems = problems(&[("PROXMOX_CA_FILE", path)]);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(expected), "{problems:?}");
        }
        fs::remove_file(empty).expect("it was written");
        for secret in [
            SECRET,
            "~root!mcp=6f1de4c2",
            "/root@pam!mcp=6f1de4c2",
            "a/6f1de4c2",
        ] {
            let problem = problem("PROXMOX_CA_FILE", secret);
            assert!(!problem.contains("6f1d"), "{problem}");
        }
    }

    #[test]
    fn warns_about_settings_that_another_makes_ineffective() {
        let pin = &*"AB:".repeat(32);
        let (pin, mode) = (("PROXMOX_FINGERPRINT", &pin[..95]), "PROXMOX_SSL_MODE");
        let of_second = &*format!(",{}", pin.1);
        let of_second = ("PROXMOX_FINGERPRINT", of_second);
        let ca = ("PROXMOX_CA_FILE", "/ca.pem");
        let password = ("PROXMOX_PASSWORD_FILE", "/password");
        for (variables, expected) in [
            (&[][..], None),
            (&[pin][..], None),
            (&[(mode, "verify"), ca], None),
            (
                &[(mode, "Insecure"), ca],
                Some(
                    "without effect: PROXMOX_CA_FILE, since in the SSL mode insecure no certificate is checked",
                ),
            ),
            (&[(mode, "insecure"), ca, password], None),
            (&[(mode, "strict"), ca, of_second], None),
            (
                &[(mode, "strict"), ca, pin],
                Some(
                    "without effect: PROXMOX_SSL_MODE and PROXMOX_CA_FILE, since PROXMOX_FINGERPRINT alone decides which certificate is trusted",
                ),
            ),
        ] {
            let environment = |name: &str| {
                let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
                Some(value.into())
            };
            let warning = Reader::new(&[], &environment).contradiction();
            assert_eq!(warning.map(|warning| warning.found).as_deref(), expected);
        }
    }

    #[test]
    fn warns_about_variables_that_look_like_settings() {
        let warning = |names: &[&str]| {
            let pairs = names.iter().map(|name| (name.into(), "x".into()));
            ignored(pairs).map(|warning| warning.found)
        };
        assert_eq!(warning(&["PATH", "PROXMOX_HOST", "PVE_HOST"]), None);
        assert_eq!(
            warning(&[
                "PROXMOX_VE_API_TOKEN",
                "PROXMOX_FINGERPRNT",
                "PROXMOX_CLUSTER",
                "PROXMOX_TOKEN_ID",
            ])
            .as_deref(),
            Some(
                "ignored, since it is not a setting: PROXMOX_CLUSTER, \
                 PROXMOX_FINGERPRNT (did you mean PROXMOX_FINGERPRINT?), \
                 PROXMOX_TOKEN_ID (did you mean PROXMOX_TOKEN_NAME?), \
                 PROXMOX_VE_API_TOKEN (did you mean PROXMOX_TOKEN_VALUE?)"
            )
        );
        assert!(ignored([("PROXMOX_HOSTS".into(), "".into())].into_iter()).is_none());
        // A misspelt safety setting is a problem, not a warning.
        assert_eq!(warning(&["PROXMOX_READONLY"]), None);
    }

    #[test]
    fn rejects_a_secret_that_is_set_twice() {
        assert_eq!(
            problems(&[("PROXMOX_TOKEN_FILE", "/nonexistent")]),
            ["PROXMOX_TOKEN_VALUE and PROXMOX_TOKEN_FILE are both set: set only one of them"]
        );
    }

    #[test]
    fn reads_the_ssl_mode_which_a_fingerprint_overrides() {
        let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        let pairs: Vec<_> = hex
            .as_bytes()
            .chunks(2)
            .map(|p| str::from_utf8(p).expect("it is hex"))
            .collect();
        let colons = pairs.join(":");
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = (index as u8 % 16) * 0x11;
        }
        for (mode, pin, expected) in [
            ("strict", "", Check::Strict),
            ("Verify", "", Check::Verify),
            ("insecure", "", Check::Insecure),
            ("insecure", hex, Check::Pin(bytes)),
            ("", colons.as_str(), Check::Pin(bytes)),
            (
                "",
                &format!("sha256 Fingerprint={colons}"),
                Check::Pin(bytes),
            ),
            (
                "",
                &format!("SHA256 Fingerprint={colons}\n"),
                Check::Pin(bytes),
            ),
        ] {
            let variables = [("PROXMOX_SSL_MODE", mode), ("PROXMOX_FINGERPRINT", pin)];
            assert_eq!(connection(&variables).hosts[0].trust.check, expected);
        }
        for text in ["none", "true", "strict "] {
            problem("PROXMOX_SSL_MODE", text);
        }
        let (cut, long) = (&hex[2..], format!("{hex}00"));
        let (lone, odd) = (colons.replacen("00:", "0:", 1), &hex[1..]);
        for text in [
            cut,
            &long,
            &lone,
            odd,
            &hex.replace('a', "g"),
            &hex.replace('a', "é"),
            &format!("sha1 Fingerprint={colons}"),
            ":",
        ] {
            problem("PROXMOX_FINGERPRINT", text);
        }
    }

    #[test]
    fn reads_every_certificate_of_the_ca_file() {
        let section = |content| {
            format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n")
        };
        let path = file(
            "ca",
            format!("Some text\n{}{}", section("MAA="), section("MAE=")).as_bytes(),
        );
        let listed = &connection(&[("PROXMOX_CA_FILE", &path)]).hosts[0]
            .trust
            .listed;
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[1].as_ref(), [0x30, 0x01]);
        fs::remove_file(path).expect("it was written");

        for (content, expected) in [
            (String::new(), "no certificate"),
            ("0\u{0}".to_owned(), "no certificate"),
            (
                section("MAA=").replace("CERTIFICATE", "PUBLIC KEY"),
                "no certificate",
            ),
            (
                section("MAA=").replace("-----END", ""),
                "truncated or garbled",
            ),
            (section("%%"), "truncated or garbled"),
        ] {
            let path = file("no-ca", content.as_bytes());
            let problems = problems(&[("PROXMOX_CA_FILE", &path)]);
            assert!(problems[0].contains(expected), "{content}");
            fs::remove_file(path).expect("it was written");
        }
        assert_eq!(problems(&[("PROXMOX_CA_FILE", "/")]).len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn rejects_values_that_are_not_utf_8() {
        use std::os::unix::ffi::OsStringExt;
        let flags = [(&USER, OsString::from_vec(b"root@\xff".to_vec()))];
        let problems = rejected(read_with(&flags, &[]));
        assert!(
            problems.contains(&"--user must be text in UTF-8; for example: mcp@pve".to_owned())
        );
    }

    #[test]
    fn a_demonstration_needs_only_valid_safety_settings() {
        for (text, allowed, problems) in [("yes", true, 0), ("", false, 0), ("maybe", false, 1)] {
            let settings = Settings::read_for_demo(&tools::known(), &[], |name| {
                (name == "PROXMOX_ALLOW_ELEVATED").then(|| text.into())
            });
            assert_eq!(settings.safety.allow_elevated, allowed);
            assert_eq!(rejected(settings).len(), problems);
        }
    }

    #[test]
    fn debug_output_hides_the_secret() {
        assert_eq!(format!("{:?}", Secret::new(SECRET.into())), "Secret(..)");
    }

    #[test]
    fn accepts_each_declared_value_of_a_setting() {
        for setting in SETTINGS {
            let Flag::OneOf(_, words) = setting.flag else {
                continue;
            };
            for word in words {
                let settings = Settings::read(&tools::known(), &[(setting, word.into())], |_| None);
                let flag = setting.flag_name();
                let problems = rejected(settings);
                let about = problems.iter().find(|problem| problem.starts_with(&flag));
                assert_eq!(about, None, "{word}");
            }
        }
    }

    /// Invalid values of each setting, and how the problem begins.
    const INVALID: &[(&str, &str, &str)] = &[
        ("PROXMOX_HOST", "pve1/x", "must end after the host"),
        ("PROXMOX_HOST", "pve1,,pve2", "entry 2 is empty"),
        (
            "PROXMOX_HOST",
            "ssh://pve1",
            "has a scheme other than https",
        ),
        (
            "PROXMOX_PORT",
            "https",
            "must be a whole number from 1 to 65535",
        ),
        ("PROXMOX_USER", "root", "lacks its realm"),
        ("PROXMOX_TOKEN_NAME", "my token", "must consist of letters"),
        (
            "PROXMOX_TOKEN_VALUE",
            "two words",
            "must be the secret as Proxmox showed it",
        ),
        (
            "PROXMOX_SSL_MODE",
            "off",
            "must be strict, verify or insecure",
        ),
        (
            "PROXMOX_CA_FILE",
            "/no",
            "must name a file that can be read",
        ),
        (
            "PROXMOX_FINGERPRINT",
            "AA:BB",
            "has 2 pairs; a SHA-256 fingerprint has 32",
        ),
        (
            "PROXMOX_FINGERPRINT",
            "0123456789abcdef0123456789abcdef01234567",
            "is a SHA-1 fingerprint",
        ),
        (
            "PROXMOX_FINGERPRINT",
            "SHA256:x",
            "does not consist of pairs",
        ),
        (
            "PROXMOX_TIMEOUT",
            "40s",
            "must be a whole number from 1 to 600",
        ),
        (
            "PROXMOX_PASSWORD_FILE",
            "/no",
            "must name a file that can be read",
        ),
        (
            "PROXMOX_TOTP_SECRET_FILE",
            "/no",
            "must name a file that can be read",
        ),
        ("PROXMOX_LOGIN_USER", "root", "lacks its realm"),
        ("PROXMOX_ALLOW_ELEVATED", "maybe", "must be true"),
        ("PROXMOX_READ_ONLY", "y", "must be true"),
        (
            "PROXMOX_TOOLSETS",
            "nodes,snapshot",
            "entry 2 is not a toolset (did you mean snapshots?)",
        ),
        (
            "PROXMOX_TOOLS",
            "proxmox_get_vmz",
            "is not a tool or a pattern that matches one (did you mean",
        ),
        ("PROXMOX_EXCLUDE_TOOLS", "proxmox_*,", "entry 2 is empty"),
        ("PROXMOX_GUESTS", "100-", "is a range without an end"),
        (
            "PROXMOX_NODES",
            "pve1,pve_2",
            "entry 2 is not the name of a node",
        ),
        ("PROXMOX_PROTECTED", "web01", "is not a VMID"),
        (
            "PROXMOX_UPLOAD_DIRS",
            "/srv/iso,images",
            "must list directories by their full paths (~ is not expanded)",
        ),
        ("PROXMOX_UPLOAD_DIRS", ",", "must list directories"),
        (
            "PROXMOX_ALLOW_COMMANDS",
            "uptime,*",
            "has a part that allows many programs",
        ),
        ("PROXMOX_DRY_RUN", "2", "must be true"),
        ("PROXMOX_CONFIRM", "ask", "must be auto, always or never"),
    ];

    #[test]
    fn explains_an_invalid_value_and_shows_a_valid_one() {
        for (variable, value, expected) in INVALID {
            let problem = problem(variable, value);
            assert!(
                problem.starts_with(&format!("{variable} {expected}")),
                "{problem}"
            );
            let (_, shown) = problem.rsplit_once("; for example: ").unwrap_or_else(|| {
                assert!(problem.contains("`proxmox-mcp fingerprint` shows it"));
                ("", "")
            });
            // The files in the examples do not exist here.
            if !shown.starts_with('/') {
                connection(&[(variable, shown)]);
            }
        }
        for setting in SETTINGS {
            let is_shown = INVALID
                .iter()
                .any(|(variable, ..)| *variable == setting.variable);
            // The token file has its own test, and every path is valid for the audit log.
            let is_elsewhere = [&TOKEN_FILE, &AUDIT_LOG]
                .iter()
                .any(|other| other.variable == setting.variable);
            assert!(is_shown || is_elsewhere, "{}", setting.variable);
        }
    }

    #[test]
    fn directories_are_separated_by_commas() {
        for (text, expected) in [
            ("/srv/iso", &["/srv/iso"] as &[&str]),
            (
                " /srv/iso , /home/me/my images,",
                &["/srv/iso", "/home/me/my images"],
            ),
        ] {
            let expected = expected.iter().map(PathBuf::from).collect();
            assert_eq!(dirs(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn rejects_quotes_that_no_shell_removed() {
        for setting in SETTINGS
            .iter()
            .filter(|setting| !setting.stands_for_secret())
        {
            for quote in ['"', '\''] {
                let value = format!("{quote}{}{quote}", setting.example);
                let problem = problem(setting.variable, &value);
                assert!(problem.contains(QUOTED), "{problem}");
            }
        }
        for (value, refused) in [
            ("\"", false),
            ("\"a\" \"b\"", false),
            ("\"\"", true),
            ("'a\"", false),
        ] {
            assert_eq!(is_quoted(value.as_ref()), refused, "{value}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn warns_about_a_file_with_a_secret_that_every_user_can_read() {
        use std::os::unix::fs::PermissionsExt;
        let path = file("open-secret", SECRET.as_bytes());
        for setting in SECRET_FILES {
            for (mode, warns) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
                let found = warnings(&[], |name| {
                    let is_set = [setting.variable, "PROXMOX_PASSWORD_FILE"].contains(&name);
                    let other = if name == setting.variable {
                        &*path
                    } else {
                        "/no"
                    };
                    is_set.then(|| other.into())
                });
                assert_eq!(found.len(), usize::from(warns), "{mode:o}: {found:?}");
                for Warning { found, remedy } in found {
                    let begin = format!("{} names a file that every user", setting.variable);
                    assert!(found.starts_with(&begin), "{found}");
                    assert!(
                        remedy.ends_with(&format!("\n  chmod 600 {path}")),
                        "{remedy}"
                    );
                }
            }
        }
        fs::remove_file(path).expect("it was written");
    }

    #[test]
    fn declares_each_setting_once_and_well() {
        for setting in SETTINGS {
            assert!(setting.variable.starts_with("PROXMOX_"));
            assert!(!setting.meaning.contains('|'), "it would end a table cell");
            assert!(!setting.meaning.ends_with('.'));
            let same = |other: &&&Setting| other.variable == setting.variable;
            assert_eq!(SETTINGS.iter().filter(same).count(), 1);
        }
        assert_eq!(CA_FILE.flag_name(), "--ca-file");
    }
}
