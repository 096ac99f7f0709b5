//! What the user set: flags and variables, declared in one table, read once, checked together.
//!
//! No problem repeats a value: a secret pasted into the wrong setting must not reach a log. Only the
//! path of a file is shown, where it cannot be taken for anything else.
//!
//! May import: `text`.

pub(crate) mod boundaries;
pub(crate) mod exposure;
mod hosts;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::settings::boundaries::{Guests, Nodes};
use crate::settings::exposure::{Exposure, Known, Names, Toolsets};
pub(crate) use crate::settings::hosts::Host;
use crate::text;
use crate::text::glob::Glob;
use crate::text::nearest::nearest;
pub(crate) use crate::text::secret::Secret;

/// A declared setting, from which its flag, its line in `--help` and its README row follow.
pub(crate) struct Setting {
    pub(crate) variable: &'static str,
    /// A right value, to show beside what is wrong with another; empty where none is of use.
    pub(crate) example: &'static str,
    pub(crate) flag: Flag,
    pub(crate) unset: Unset,
    pub(crate) meaning: &'static str,
}

/// What the command line takes for a setting; `PROXMOX_A_B` is `--a-b`.
pub(crate) enum Flag {
    /// Nothing: other users of the machine can read command lines.
    None,
    /// `--a-b` for true, or `--a-b=BOOLEAN`.
    Switch,
    /// `--a-b VALUE`, where this names the value and lists what it can be.
    OneOf(&'static str, &'static [&'static str]),
    /// `--a-b VALUE`, where this names the value: `FILE` is a path.
    Takes(&'static str),
}

/// What it means when a setting is not given.
pub(crate) enum Unset {
    /// There is no connection without it.
    Missing,
    /// It is not used.
    Absent,
    /// The same as giving this text.
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
    meaning: "file that holds the secret, instead of `PROXMOX_TOKEN_VALUE`",
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
    meaning: "PEM file of certificates to trust beside the system's",
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
    meaning: "`true` leaves only tools that change nothing",
};

static TOOLSETS: Setting = Setting {
    variable: "PROXMOX_TOOLSETS",
    example: "default,ha",
    flag: Flag::Takes("NAMES"),
    unset: Unset::Means("default"),
    meaning: "groups of tools, or `all`; `proxmox-mcp tools` names them",
};

static TOOLS: Setting = Setting {
    variable: "PROXMOX_TOOLS",
    example: "proxmox_get_vms,proxmox_list_*",
    flag: Flag::Takes("NAMES"),
    unset: Unset::Absent,
    meaning: "tools to list, names or globs: with the toolsets, or alone",
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
    meaning: "command lines that may be run in VMs, between commas",
};

static DRY_RUN: Setting = Setting {
    variable: "PROXMOX_DRY_RUN",
    example: "true",
    flag: Flag::Switch,
    unset: Unset::Means("false"),
    meaning: "`true` shows what elevated tools would send instead of it",
};

static CONFIRM: Setting = Setting {
    variable: "PROXMOX_CONFIRM",
    example: "auto",
    flag: Flag::OneOf("POLICY", &["auto", "always", "never"]),
    unset: Unset::Means("auto"),
    meaning: "confirm what destroys or interrupts: `auto`, `always` or `never`",
};

static AUDIT_LOG: Setting = Setting {
    variable: "PROXMOX_AUDIT_LOG",
    example: "/var/log/proxmox-mcp.jsonl",
    flag: Flag::Takes("FILE"),
    unset: Unset::Absent,
    meaning: "file for one line of JSON for each elevated call",
};

/// Every setting, in the order `--help` and the README show them.
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
    &ALLOW_ELEVATED,
    &READ_ONLY,
    &TOOLSETS,
    &TOOLS,
    &EXCLUDE_TOOLS,
    &GUESTS,
    &NODES,
    &PROTECTED,
    &ALLOW_COMMANDS,
    &DRY_RUN,
    &CONFIRM,
    &AUDIT_LOG,
];

/// How a problem says that a setting is not there.
pub(crate) const MISSING: &str = " is missing: ";

const NO_TEXT: &str = "must be text in UTF-8";

const QUOTED: &str = "is in quotes, which count as part of it: leave them out";

/// How other programs call what is set here, by the ends of their names.
static FOREIGN: &[(&str, &Setting)] = &[
    ("_TOKEN_ID", &TOKEN_NAME),
    ("_TOKEN", &TOKEN_VALUE),
    ("_SECRET", &TOKEN_VALUE),
    ("_PASSWORD", &TOKEN_VALUE),
    ("_URL", &HOST),
    ("_ENDPOINT", &HOST),
    ("_USERNAME", &USER),
    ("_INSECURE", &SSL_MODE),
    ("_VERIFY_SSL", &SSL_MODE),
];

/// The setting that someone meant by a variable that is none.
pub(crate) fn meant(variable: &str) -> Option<&'static Setting> {
    let foreign = FOREIGN.iter().find(|(end, _)| variable.ends_with(end));
    foreign.map(|(_, setting)| *setting).or_else(|| {
        // What all have in common would make all of them near.
        let name = variable.trim_start_matches("PROXMOX_");
        let near = nearest(name, SETTINGS.iter().map(|setting| setting.name()))?;
        let named = |setting: &&&Setting| setting.name() == near;
        SETTINGS.iter().find(named).copied()
    })
}

/// What to say of variables that look like settings and are none: they may be misspelt, or those of
/// another program.
pub(crate) fn ignored(environment: impl Iterator<Item = (OsString, OsString)>) -> Option<String> {
    let ignored = unknown(environment).into_iter();
    // A misspelt lock is not ignored: no call is sent.
    let each = ignored
        .filter(|name| lock_meant(name).is_none())
        .map(|name| {
            let meant = meant(&name).map(|setting| setting.variable);
            let meant = meant.map(|variable| format!(" (did you mean {variable}?)"));
            text::inline(&name) + &meant.unwrap_or_default()
        });
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| format!("ignored, since it is not a setting: {}", each.join(", ")))
}

/// The variables that are probably misspelt locks, with what each was meant to be: ignored, they would
/// leave open what the user means to close.
pub(crate) fn misspelt_locks(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(String, &'static str)> {
    let lock = |name: String| Some((text::inline(&name), lock_meant(&name)?.variable));
    unknown(environment).into_iter().filter_map(lock).collect()
}

/// What is wrong with them.
pub(crate) fn misspelt(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let locks = misspelt_locks(environment).into_iter();
    let problem = |(name, meant)| format!("{name} is not a setting: unset it, or set {meant}");
    locks.map(problem).collect()
}

/// The lock that someone probably meant by a variable that is none.
fn lock_meant(variable: &str) -> Option<&'static Setting> {
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
        let mut locks = WORDS.iter().map(|(_, lock)| *lock);
        locks.find(|lock| lock.variable == meant.variable)
    };
    named.map(|(_, lock)| *lock).or_else(near)
}

/// The names of variables that look like settings and are none.
fn unknown(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let mut names: Vec<String> = environment
        .filter(|(_, value)| is_set(value))
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.to_ascii_uppercase().starts_with("PROXMOX_"))
        .filter(|name| SETTINGS.iter().all(|setting| setting.variable != name))
        .collect();
    names.sort();
    names
}

impl Setting {
    /// Whether it says what a model may do, and not how to reach the cluster.
    pub(crate) fn is_of_safety(&self) -> bool {
        let mut settings = SETTINGS.iter().map(|setting| setting.variable);
        let own = settings
            .clone()
            .position(|variable| variable == self.variable);
        own >= settings.position(|variable| variable == ALLOW_ELEVATED.variable)
    }

    /// What its flag is called, or would be.
    pub(crate) fn flag_name(&self) -> String {
        format!("--{}", self.name().to_lowercase().replace('_', "-"))
    }

    /// Its variable without what all have in common.
    pub(crate) fn name(&self) -> &'static str {
        self.variable.trim_start_matches("PROXMOX_")
    }

    /// Whether its value is a path.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.flag, Flag::Takes("FILE"))
    }

    /// Whether its value must not be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.variable == TOKEN_VALUE.variable
    }

    /// Whether another setting gives the same: the file that holds the secret.
    pub(crate) fn stands_for_secret(&self) -> bool {
        self.variable == TOKEN_FILE.variable
    }
}

/// What is set, and what is missing.
pub(crate) struct Listed {
    /// As they were given; a flag wins over its variable.
    pub(crate) values: Vec<(&'static Setting, String)>,
    /// Each is a sentence that names the setting.
    pub(crate) missing: Vec<String>,
}

/// Lists what is set.
///
/// The error lists what is wrong with what is set: a value at the wrong place, which may be a
/// secret, is not passed on.
pub(crate) fn given(
    known: &Known,
    flags: &[(&'static Setting, OsString)],
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Listed, Vec<String>> {
    let problems = Settings::read(known, flags, &environment).connection.err();
    let (missing, mut wrong): (Vec<String>, Vec<String>) = problems
        .unwrap_or_default()
        .into_iter()
        .partition(|problem| problem.contains(MISSING));
    let reader = Reader::new(flags, &environment);
    let mut values = Vec::new();
    for setting in SETTINGS {
        if let Some(Given { name, value }) = reader.given(setting) {
            match value.into_string() {
                Ok(value) => values.push((*setting, value)),
                Err(_) => wrong.push(format!("{name} {NO_TEXT}")),
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(Listed { values, missing }),
        false => Err(wrong),
    }
}

/// What is set, has its form and is still not what anybody wants.
pub(crate) fn warnings(
    flags: &[(&'static Setting, OsString)],
    environment: impl Fn(&str) -> Option<OsString>,
) -> Vec<String> {
    Reader::new(flags, &environment).warnings()
}

/// Reads where the hosts are and nothing else, no token and no file: whatever they present is taken.
pub(crate) fn hosts(
    flags: &[(&'static Setting, OsString)],
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Host>, Vec<String>> {
    let mut reader = Reader::new(flags, &environment);
    match reader.unchecked_hosts() {
        Some(hosts) if reader.problems.is_empty() => Ok(hosts),
        _ => Err(reader.problems),
    }
}

/// Everything the user set.
pub(crate) struct Settings {
    /// How to reach the cluster, or every reason why that is not known, each naming its setting.
    pub(crate) connection: Result<Connection, Vec<String>>,
    pub(crate) safety: Safety,
}

/// What the user lets a model do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Safety {
    /// Whether elevated tools may be called.
    pub(crate) allow_elevated: bool,
    /// Which tools there are.
    pub(crate) exposure: Exposure,
    /// The guests that elevated tools may touch; all where it is `None`.
    pub(crate) guests: Option<Guests>,
    /// The nodes that elevated tools may touch; all where it is `None`.
    pub(crate) nodes: Option<Nodes>,
    /// The guests that no tool may stop, change or destroy.
    pub(crate) protected: Option<Guests>,
    /// The command lines that may be run in VMs; all where it is `None`.
    pub(crate) commands: Option<Vec<Glob>>,
    /// Whether no change is sent, whatever a call says.
    pub(crate) dry_run: bool,
    pub(crate) confirm: Confirm,
    pub(crate) audit_log: Option<PathBuf>,
}

/// Who confirms what destroys or interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Confirm {
    /// As always, but where the client cannot ask, what only interrupts is left to it.
    #[default]
    Auto,
    /// The user; where the client cannot ask, the call must be repeated with a token.
    Always,
    /// Nobody here.
    Never,
}

/// How to reach the cluster.
pub(crate) struct Connection {
    /// Nodes of one cluster, each of which will do, the preferred one first; at least one.
    pub(crate) hosts: Vec<Host>,
    /// `user@realm!name`
    pub(crate) token_id: String,
    pub(crate) token_secret: Secret,
    /// How long a request to one host may take, its answer included.
    pub(crate) timeout: Duration,
}

/// Which server certificates are accepted.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) check: Check,
    /// The certificates of `PROXMOX_CA_FILE`.
    pub(crate) listed: Vec<CertificateDer<'static>>,
    /// What `PROXMOX_FINGERPRINT` pins of each host in turn, and where in that list this one stands.
    pub(crate) pins: Vec<Option<[u8; 32]>>,
    pub(crate) place: usize,
}

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing but possession of its key.
    Insecure,
    /// The SHA-256 fingerprint, and nothing else.
    Pin([u8; 32]),
    /// Chain to a trusted root, name, dates.
    Strict,
    /// As strict, but an unknown issuer is tolerated.
    Verify,
}

impl Settings {
    /// Reads all settings; a flag wins over its variable.
    pub(crate) fn read(
        known: &Known,
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

    /// For `--demo`: reads what a demonstration heeds, so no secret and no file.
    ///
    /// There is no connection; a reason is listed only where a setting that was read is wrong.
    pub(crate) fn read_for_demo(
        known: &Known,
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
    /// The same, refused where a variable is probably a misspelt lock.
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

/// Finds and checks one setting after the other and collects what is wrong.
struct Reader<'a> {
    flags: &'a [(&'static Setting, OsString)],
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    problems: Vec<String>,
}

/// A value, with the name under which the user knows it.
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

    /// The value of a setting, if it is set; of a repeated flag the last.
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

    /// What `check` makes of the value or its default: nothing, if there is none or it is wrong.
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
                let (variable, meaning) = (setting.variable, setting.meaning);
                self.problems.push(format!("{variable}{MISSING}{meaning}"));
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
                example => format!("; a right value: {example}"),
            };
            self.problems
                .push(format!("{} {problem}{example}", given.name));
        })
        .ok()
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

    fn warnings(&self) -> Vec<String> {
        [self.contradiction(), self.open_token_file()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// That the file of the token is not only for its owner.
    fn open_token_file(&self) -> Option<String> {
        let file = self.given(&TOKEN_FILE)?;
        is_open_to_all(&file.value).then(|| {
            format!(
                "{} names a file that every user of this machine can read: chmod 600 leaves it to its owner{}",
                file.name,
                place(&file.value)
            )
        })
    }

    /// What is set and has no effect, because of what else is set.
    fn contradiction(&self) -> Option<String> {
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
            None if insecure => (
                vec![ca_file],
                "in the SSL mode insecure no certificate is checked".to_owned(),
            ),
            None => return None,
        };
        let idle: Vec<String> = idle.into_iter().flatten().map(|given| given.name).collect();
        (!idle.is_empty()).then(|| format!("without effect: {}, since {why}", idle.join(" and ")))
    }

    /// What cannot be read counts as unset here; it is a problem as well, with which no call is sent.
    fn safety(&mut self, known: &Known) -> Safety {
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
            dry_run: self.read_text(&DRY_RUN, boolean).unwrap_or(true),
            confirm: self.read_text(&CONFIRM, confirm).unwrap_or(Confirm::Always),
            audit_log: self.read(&AUDIT_LOG, |path| Ok(PathBuf::from(path))),
        }
    }

    /// Reads all before it gives up, so that all problems are found.
    fn connection(&mut self) -> Option<Connection> {
        let hosts = self.hosts();
        let user = self.read_text(&USER, user);
        let token_name = self.read_text(&TOKEN_NAME, token_name);
        let token_secret = self.token_secret();
        let timeout = self.read_text(&TIMEOUT, |text| number(text, 1, 600));
        Some(Connection {
            hosts: hosts?,
            token_id: format!("{}!{}", user?, token_name?),
            token_secret: token_secret?,
            timeout: Duration::from_secs(timeout?.into()),
        })
    }

    fn token_secret(&mut self) -> Option<Secret> {
        match (self.given(&TOKEN_VALUE), self.given(&TOKEN_FILE)) {
            (Some(value), Some(file)) => {
                self.problems.push(format!(
                    "{} and {} are both set: give one of them",
                    value.name, file.name
                ));
                None
            }
            (Some(_), None) => self.read_text(&TOKEN_VALUE, token_secret),
            (None, Some(_)) => self.read_file(&TOKEN_FILE, token_secret_in_file),
            (None, None) => {
                self.problems.push(format!(
                    "{}{MISSING}the secret of the API token, or {} with a file that holds it",
                    TOKEN_VALUE.variable, TOKEN_FILE.variable
                ));
                None
            }
        }
    }
}

/// Whether a value counts: not empty, and no placeholder that a client left as it was.
fn is_set(value: &OsString) -> bool {
    // Claude Desktop passes `${user_config.x}` on for an optional field without a default.
    let placeholder = value
        .to_str()
        .and_then(|text| text.strip_prefix("${user_config.")?.strip_suffix('}'))
        .is_some_and(|field| !field.contains(['{', '}']));
    !value.is_empty() && !placeholder
}

/// Whether users other than the owner of a file and those of its group can read it.
#[cfg(unix)]
fn is_open_to_all(path: &OsStr) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

/// Access lists say that here, and the home folder is for its owner alone.
#[cfg(not(unix))]
fn is_open_to_all(_: &OsStr) -> bool {
    false
}

/// Whether a value is in quotes that a shell would have taken away: nothing else does, such as a file of
/// variables for a container.
fn is_quoted(value: &OsStr) -> bool {
    let bytes = value.as_encoded_bytes();
    let [first @ (b'"' | b'\''), inner @ .., last] = bytes else {
        return false;
    };
    first == last && !inner.contains(first)
}

/// Where a file was looked for, to follow a problem with it.
///
/// The path is shown if it is beyond doubt that it is one and no secret.
fn place(path: &OsStr) -> String {
    let text = path.to_string_lossy();
    let begins = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    let is_path = Path::new(path).is_absolute()
        || begins(&["./", "../", "~/"])
        || fs::exists(path).unwrap_or(false);
    let hint = if begins(&["~"]) {
        "; ~ is not expanded here, give the whole path".to_owned()
    } else if Path::new(path).is_relative() {
        let folder = std::env::current_dir().unwrap_or_default();
        format!("; a relative path begins in {}", folder.display())
    } else {
        String::new()
    };
    if is_path && !text.contains(['!', '=']) {
        text::inline(&format!(" ({text}{hint})"))
    } else {
        text::inline(&hint)
    }
}

fn port(text: &str) -> Result<u16, String> {
    number(text, 1, u16::MAX)
}

fn number(text: &str, least: u16, most: u16) -> Result<u16, String> {
    text.parse()
        .ok()
        // `parse` would take a sign.
        .filter(|number| {
            text.starts_with(|c: char| c.is_ascii_digit()) && (least..=most).contains(number)
        })
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true, 1, yes or on, or else false, 0, no or off".into()),
    }
}

fn user(text: &str) -> Result<String, String> {
    if text.contains('!') {
        return Err(format!(
            "must be `user@realm` alone: what follows `!` is for {} and {}",
            TOKEN_NAME.variable, TOKEN_VALUE.variable
        ));
    }
    if !is_visible(text) {
        return Err("must have visible ASCII characters alone".into());
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
            "must be the name alone: of `user@realm!name=secret` the part before `!` is for {}, \
             the part after `=` for {}",
            USER.variable, TOKEN_VALUE.variable
        ));
    }
    // What Proxmox takes for a name, but for the first character and the length.
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
            "must be the secret alone: of `user@realm!name=secret` the part before `!` is for \
             {}, the part before `=` for {}",
            USER.variable, TOKEN_NAME.variable
        ));
    }
    if is_quoted(text.as_ref()) {
        return Err(QUOTED.into());
    }
    if !is_visible(text) {
        return Err(
            "must be the secret as Proxmox showed it, a UUID: visible ASCII characters without \
             blanks or line ends"
                .into(),
        );
    }
    Ok(Secret::new(text.to_owned()))
}

fn token_secret_in_file(bytes: &[u8]) -> Result<Secret, String> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = match line.len() < bytes.len() {
        true => line.strip_suffix(b"\r").unwrap_or(line),
        false => line,
    };
    if line.is_empty() {
        return Err("must name a file that holds the secret, but that file is empty".into());
    }
    str::from_utf8(line)
        .map_err(|_| "is not text".to_owned())
        .and_then(token_secret)
        .map_err(|problem| format!("names a file whose content {problem}"))
}

/// Whether a text is safe in a header: ASCII without blanks and control characters.
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
    // What stands behind a comma within a command must not allow other programs.
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

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let listed: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        // The error would quote the file.
        .map_err(|_| "must name a PEM file, but a section of that file is cut or garbled")?;
    if listed.is_empty() {
        return Err("must name a PEM file, but no certificate is in that file (a node has one: /etc/pve/pve-root-ca.pem)".into());
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

    /// What is wrong with settings that are not accepted.
    #[track_caller]
    fn rejected(settings: Settings) -> Vec<String> {
        match settings.connection {
            Ok(_) => panic!("the settings were accepted"),
            Err(problems) => problems,
        }
    }

    /// The connection that settings lead to.
    #[track_caller]
    fn accepted(settings: Settings) -> Connection {
        settings
            .connection
            .unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// Reads the settings that every connection needs, with `variables` in front.
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

    /// The one problem, which must name `variable` and not repeat `value`.
    #[track_caller]
    fn problem(variable: &str, value: &str) -> String {
        let problems = problems(&[(variable, value)]);
        assert_eq!(problems.len(), 1, "{variable}={value}: {problems:?}");
        assert!(problems[0].starts_with(&format!("{variable} ")));
        assert!(value.len() < 8 || !problems[0].contains(value));
        problems[0].clone()
    }

    /// A file with this content, named for its test.
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
        let problems = rejected(read_with(&[], &[]));
        let names: Vec<_> = problems
            .iter()
            .filter_map(|problem| Some(problem.split_once(" is missing: ")?.0))
            .collect();
        assert_eq!(
            names,
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
    fn takes_every_form_of_a_host() {
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
    fn refuses_what_is_no_host() {
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
                "no user before the host: that is for PROXMOX_USER",
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
    fn refuses_to_send_the_token_in_clear() {
        for text in [
            "http://pve1.example",
            "http://192.0.2.7:8006/",
            "http://128.0.0.1",
            "http://[2001:db8::1]",
            "http://localhost.example",
            "http://[::ffff:127.0.0.1]",
            "http://0.0.0.0",
        ] {
            assert!(problem("PROXMOX_HOST", text).contains("in clear"), "{text}");
        }
    }

    #[test]
    fn takes_one_port_or_the_same_twice() {
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
            ["PROXMOX_PORT and the port in PROXMOX_HOST differ: give one of them"]
        );
    }

    #[test]
    fn a_flag_wins_over_its_variable_and_gives_its_name_to_problems() {
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
                "PROXMOX_PORT must be a whole number from 1 to 65535; a right value: 8006",
                "--ssl-mode must be strict, verify or insecure; a right value: strict",
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
    fn refuses_a_user_without_realm_and_explains_a_token_id() {
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
    fn explains_a_token_id_given_as_name() {
        for text in ["root@pam!mcp", "root@pam!mcp=6f1de4c2", "mcp=6f1de4c2"] {
            assert!(problem("PROXMOX_TOKEN_NAME", text).contains("the name alone"));
        }
        for text in ["my token", "mcp\n", "mçp", "root@pam"] {
            assert!(problem("PROXMOX_TOKEN_NAME", text).contains("letters"));
        }
    }

    #[test]
    fn explains_a_whole_token_given_as_secret_without_repeating_it() {
        let pasted = format!("PVEAPIToken=root@pam!mcp={SECRET}");
        for text in [&pasted, &pasted[12..]] {
            let problem = problem("PROXMOX_TOKEN_VALUE", text);
            assert!(problem.contains("the secret alone"));
            assert!(!problem.contains("6f1d") && !problem.contains("root@pam!mcp"));
        }
        for text in ["two words", "line\n", "line\r\nX-Injected: yes", "sécret"] {
            assert!(problem("PROXMOX_TOKEN_VALUE", text).contains("visible ASCII"));
        }
    }

    #[test]
    fn reads_the_secret_from_a_file_but_for_one_line_end() {
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
        for content in [
            "",
            "\n",
            "a\n\n",
            "a\r",
            "a\nb\n",
            "a=b",
            "\u{feff}a",
            "'a'\n",
            "\"a\"",
        ] {
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
    fn shows_the_path_of_a_file_and_nothing_that_may_be_a_secret() {
        let empty = file("empty", b"");
        for (path, expected) in [
            ("/nonexistent/ca.pem", "(/nonexistent/ca.pem)"),
            ("~/ca.pem", "(~/ca.pem; ~ is not expanded here"),
            ("./ca.pem", "(./ca.pem; a relative path begins in /"),
            (
                &empty,
                &format!(
                    "no certificate is in that file (a node has one: /etc/pve/pve-root-ca.pem) ({empty})"
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
    fn names_what_another_setting_makes_void() {
        let pin = &*"AB:".repeat(32);
        let (pin, mode) = (("PROXMOX_FINGERPRINT", &pin[..95]), "PROXMOX_SSL_MODE");
        let of_second = &*format!(",{}", pin.1);
        let of_second = ("PROXMOX_FINGERPRINT", of_second);
        let ca = ("PROXMOX_CA_FILE", "/ca.pem");
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
            let said = Reader::new(&[], &environment).contradiction();
            assert_eq!(said.as_deref(), expected);
        }
    }

    #[test]
    fn names_variables_that_are_no_settings() {
        let said = |names: &[&str]| {
            let pairs = names.iter().map(|name| (name.into(), "x".into()));
            ignored(pairs)
        };
        assert_eq!(said(&["PATH", "PROXMOX_HOST", "PVE_HOST"]), None);
        assert_eq!(
            said(&[
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
        assert_eq!(
            ignored([("PROXMOX_HOSTS".into(), "".into())].into_iter()),
            None
        );
        // That one is refused.
        assert_eq!(said(&["PROXMOX_READONLY"]), None);
    }

    #[test]
    fn refuses_the_secret_from_two_places() {
        assert_eq!(
            problems(&[("PROXMOX_TOKEN_FILE", "/nonexistent")]),
            ["PROXMOX_TOKEN_VALUE and PROXMOX_TOKEN_FILE are both set: give one of them"]
        );
    }

    #[test]
    fn reads_the_ssl_mode_and_lets_a_fingerprint_override_it() {
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
            (section("MAA=").replace("-----END", ""), "cut or garbled"),
            (section("%%"), "cut or garbled"),
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
    fn refuses_what_is_not_utf_8() {
        use std::os::unix::ffi::OsStringExt;
        let flags = [(&USER, OsString::from_vec(b"root@\xff".to_vec()))];
        let problems = rejected(read_with(&flags, &[]));
        assert!(
            problems.contains(&"--user must be text in UTF-8; a right value: mcp@pve".to_owned())
        );
    }

    #[test]
    fn a_demonstration_heeds_elevated_alone() {
        for (text, allowed, problems) in [("yes", true, 0), ("", false, 0), ("maybe", false, 1)] {
            let settings = Settings::read_for_demo(&tools::known(), &[], |name| {
                (name == "PROXMOX_ALLOW_ELEVATED").then(|| text.into())
            });
            assert_eq!(settings.safety.allow_elevated, allowed);
            assert_eq!(rejected(settings).len(), problems);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", Secret::new(SECRET.into())), "Secret(..)");
    }

    #[test]
    fn takes_each_word_that_a_setting_declares() {
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

    /// A wrong value of each setting, and what is said of it.
    const WRONG: &[(&str, &str, &str)] = &[
        ("PROXMOX_HOST", "pve1/x", "must end after the host"),
        ("PROXMOX_HOST", "pve1,,pve2", "entry 2 is empty"),
        (
            "PROXMOX_HOST",
            "ssh://pve1",
            "has a scheme that is not https",
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
            "is one of SHA-1",
        ),
        (
            "PROXMOX_FINGERPRINT",
            "SHA256:x",
            "has something else than pairs",
        ),
        (
            "PROXMOX_TIMEOUT",
            "40s",
            "must be a whole number from 1 to 600",
        ),
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
            "is not a tool, nor a pattern of any (did you mean",
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
            "PROXMOX_ALLOW_COMMANDS",
            "uptime,*",
            "has a part that allows many programs",
        ),
        ("PROXMOX_DRY_RUN", "2", "must be true"),
        ("PROXMOX_CONFIRM", "ask", "must be auto, always or never"),
    ];

    #[test]
    fn says_what_is_wrong_with_a_value_and_shows_a_right_one() {
        for (variable, value, expected) in WRONG {
            let problem = problem(variable, value);
            assert!(
                problem.starts_with(&format!("{variable} {expected}")),
                "{problem}"
            );
            let (_, shown) = problem.rsplit_once("; a right value: ").unwrap_or_else(|| {
                assert!(problem.contains("`proxmox-mcp fingerprint` shows the right one"));
                ("", "")
            });
            // No file of the example is here.
            if !shown.starts_with('/') {
                connection(&[(variable, shown)]);
            }
        }
        for setting in SETTINGS {
            let is_shown = WRONG
                .iter()
                .any(|(variable, ..)| *variable == setting.variable);
            // The secret's file has a test of its own, and any path is one for the audit log.
            let is_elsewhere = [&TOKEN_FILE, &AUDIT_LOG]
                .iter()
                .any(|other| other.variable == setting.variable);
            assert!(is_shown || is_elsewhere, "{}", setting.variable);
        }
    }

    #[test]
    fn refuses_quotes_that_no_shell_took_away() {
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
    fn warns_of_a_token_file_that_everybody_can_read() {
        use std::os::unix::fs::PermissionsExt;
        let path = file("open-secret", SECRET.as_bytes());
        for (mode, warns) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            let said = warnings(&[], |name| {
                (name == "PROXMOX_TOKEN_FILE").then(|| path.clone().into())
            });
            assert_eq!(said.len(), usize::from(warns), "{mode:o}: {said:?}");
            for warning in said {
                assert!(
                    warning.starts_with("PROXMOX_TOKEN_FILE names a file that every user"),
                    "{warning}"
                );
                assert!(
                    warning.contains("chmod 600") && warning.contains(&path),
                    "{warning}"
                );
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
