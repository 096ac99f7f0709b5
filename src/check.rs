//! `proxmox-mcp check`: tests every step from the settings to the tools, and reports a verdict and a fix for
//! each. It changes nothing, and sends the token only to hosts whose certificate the settings trust.
//!
//! May import: `text`, `request`, `mcp`, `settings`, `error`, `pve`, `answer`, `cluster`, `safety`, `tool`, `tools`.

mod boundaries;
mod host;
mod report;
mod rights;

use std::env;
use std::ffi::OsString;
use std::iter;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::answer;
use crate::check::report::Report;
use crate::error::Error;
use crate::mcp::connection::Peer;
use crate::pve::probe::Probe;
use crate::pve::reader::{Cluster, Reader};
use crate::safety::audit;
use crate::safety::files::{self, Access};
use crate::settings::{
    self, Confirm, Connection, Host, Problem, Safety, Setting, Settings, Warning,
};
use crate::text::{self, shell_quoted};
use crate::tool::privileges::Granted;
use crate::tool::{Effect, Permission};
use crate::tools::{self, Definitions};

#[cfg(test)]
mod tests;

const SETTINGS: &str = "settings";
const NAME: &str = "name-resolution";
const TCP: &str = "tcp";
const TLS: &str = "tls";
const API: &str = "api-version";
const TOKEN: &str = "token";
const LOGIN: &str = "login";
const PRIVILEGES: &str = "privileges";
const CLOCK: &str = "clock";
const NODES: &str = "nodes";
const BOUNDARIES: &str = "boundaries";
const ELEVATED: &str = "elevated";
const UPLOAD: &str = "upload-dirs";
const TOOLSETS: &str = "toolsets";

/// The largest difference between the two clocks, in seconds, that is still fine.
const MOST_SKEW: u64 = 30;

/// The oldest major version of Proxmox VE that this program was tested with.
const OLDEST_MAJOR: u32 = 7;

/// What the flags and the environment contain in addition to valid settings.
#[derive(Default)]
pub(crate) struct Environment {
    /// The hosts, even if the token is missing.
    hosts: Vec<Host>,
    /// What is probably a mistake but stops no call.
    warnings: Vec<Warning>,
}

impl Environment {
    /// Reads the flags and the environment.
    pub(crate) fn new(flags: &[(&'static Setting, OsString)]) -> Self {
        Self {
            hosts: Host::all(flags, |name| env::var_os(name)),
            warnings: settings::ignored(env::vars_os())
                .into_iter()
                .chain(settings::warnings(flags, |name| env::var_os(name)))
                .collect(),
        }
    }
}

/// Runs all checks.
///
/// A check whose prerequisites failed is reported as skipped.
pub(crate) fn run(settings: &Settings, environment: &Environment) -> Report {
    let mut report = Report::default();
    let with_warnings = |found: String| {
        let warnings = environment.warnings.iter();
        let lines = iter::once(found).chain(warnings.map(|warning| warning.found.clone()));
        lines.collect::<Vec<_>>().join("\n")
    };
    let remedies = || {
        let remedies = environment.warnings.iter();
        remedies.map(|warning| warning.remedy.clone())
    };
    // Without valid settings there is no timeout to apply, so each step uses its own limit.
    let (hosts, timeout) = match &settings.connection {
        Ok(connection) => (&connection.hosts, connection.timeout),
        Err(_) => (&environment.hosts, Duration::MAX),
    };
    match &settings.connection {
        Err(problems) => report.failed(
            SETTINGS,
            with_warnings(lines(problems.iter().map(Problem::to_string))),
            lines(iter::once(setting_remedy(problems)).chain(remedies())),
        ),
        Ok(connection) => {
            let names: Vec<String> = hosts.iter().map(Host::to_string).collect();
            let found = format!("{} as {}", names.join(", "), connection.token_id);
            match environment.warnings.is_empty() {
                true => report.ok(SETTINGS, found),
                false => report.warning(SETTINGS, with_warnings(found), lines(remedies())),
            }
        }
    }
    if hosts.is_empty() {
        for check in [NAME, TCP, TLS] {
            report.skipped(check, "needs the settings");
        }
    }
    let mut usable = Vec::new();
    for host in hosts {
        if host::reach(&mut report, &Probe::new(host, hosts.len(), timeout)) {
            usable.push(host.clone());
        }
    }
    match &settings.connection {
        Ok(connection) if !usable.is_empty() => {
            let reachable = Connection {
                hosts: usable,
                token_id: connection.token_id.clone(),
                token_secret: connection.token_secret.clone(),
                timeout: connection.timeout,
                login: connection.login.clone(),
            };
            ask(&mut report, &reachable, &settings.safety);
        }
        connection => {
            let needed = match connection {
                Ok(_) => "needs a host that can be reached and trusted",
                Err(_) => "needs the settings",
            };
            for check in [API, TOKEN, LOGIN, PRIVILEGES, CLOCK, NODES] {
                report.skipped(check, needed);
            }
        }
    }
    let problems = settings.connection.as_ref().err();
    if problems.is_none_or(|problems| problems.iter().all(Problem::is_missing)) {
        elevated(&mut report, &settings.safety);
        upload_dirs(&mut report, &settings.safety);
        toolsets(&mut report, &settings.safety);
    } else {
        // An invalid setting was replaced by a default, so these checks would describe another setup.
        for check in [ELEVATED, TOOLSETS] {
            report.skipped(check, "needs the settings");
        }
    }
    report
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns how to fix the settings: which variables to correct, and an example for each missing one.
fn setting_remedy(problems: &[Problem]) -> String {
    let is_missing = |wanted: &str| {
        let mut problems = problems.iter();
        problems.any(
            |problem| matches!(problem, Problem::Missing { variable, .. } if *variable == wanted),
        )
    };
    let misspelt = problems.iter().filter_map(|problem| match problem {
        Problem::Misspelt { variable, .. } => Some(&**variable),
        _ => None,
    });
    let misspelt: Vec<&str> = misspelt.collect();
    let mut remedy = String::new();
    if !misspelt.is_empty() {
        remedy.push_str(&format!(
            "Correct or unset {}: until then every call is refused.\n",
            misspelt.join(", ")
        ));
    }
    if is_missing("PROXMOX_TOKEN_NAME") || is_missing("PROXMOX_TOKEN_VALUE") {
        remedy.push_str(
            "If you have no token yet, create one that can read, on a node; this prints its \
             secret, which you should store in a file:\n  \
             pveum user add mcp@pve; pveum user token add mcp@pve mcp --privsep 1\n  \
             pveum acl modify / --users mcp@pve --tokens 'mcp@pve!mcp' --roles PVEAuditor\n",
        );
    }
    let examples = [
        ("PROXMOX_HOST", "PROXMOX_HOST=pve1.example.com"),
        (
            "PROXMOX_TOKEN_NAME",
            "PROXMOX_USER=mcp@pve PROXMOX_TOKEN_NAME=mcp",
        ),
        (
            "PROXMOX_TOKEN_VALUE",
            "PROXMOX_TOKEN_FILE=$HOME/.proxmox-token",
        ),
    ];
    let examples = examples.iter().filter(|(variable, _)| is_missing(variable));
    let examples: Vec<&str> = examples.map(|(_, example)| *example).collect();
    if !examples.is_empty() {
        remedy.push_str(&format!(
            "Set the missing settings to your own values:\n  {}\n",
            exported(&examples.join(" "), cfg!(windows))
        ));
    }
    remedy + "proxmox-mcp --help describes each setting."
}

/// Returns the command that sets variables, written as in `A=b C=$HOME/d`, for a POSIX shell or for PowerShell.
fn exported(variables: &str, is_windows: bool) -> String {
    if !is_windows {
        return format!("export {variables}");
    }
    let variables = variables.split(' ').filter_map(|it| it.split_once('='));
    let variables = variables.map(|(name, value)| format!("$env:{name} = \"{value}\""));
    variables.collect::<Vec<_>>().join("; ")
}

/// Runs the checks that need the API: version, token, privileges, clock, nodes and boundaries.
fn ask(report: &mut Report, connection: &Connection, safety: &Safety) {
    let cluster = Cluster::new(connection, Peer::none());
    let peer = Peer::none();
    let client = Reader::new(&cluster, &peer);
    let began = seconds();
    let version = client.get("/version");
    let ended = seconds();
    let date = client.clock();
    let needs_token = |report: &mut Report, checks: &[&'static str]| {
        for check in checks {
            report.skipped(check, "needs a valid token");
        }
    };
    let major = match version {
        Ok(data) => {
            let version = data["version"].as_str().unwrap_or("of unknown version");
            let major = major(version);
            let found = format!("Proxmox VE {}", text::inline(version));
            match major.filter(|major| *major < OLDEST_MAJOR) {
                None => report.ok(API, found),
                Some(_) => report.warning(
                    API,
                    format!("{found} is older than any version tested"),
                    "Some tools may not work with versions before Proxmox VE 7.4: upgrade the nodes.",
                ),
            }
            report.ok(TOKEN, format!("{} is valid", connection.token_id));
            major
        }
        Err(error)
            if error
                .refusal()
                .is_some_and(|refusal| refusal.status() == 401) =>
        {
            report.ok(
                API,
                "the API answers; it reports its version only to valid tokens",
            );
            let advice = token_remedy(&error, &connection.token_id);
            let found = format!("{} was rejected: {}", connection.token_id, error.brief());
            report.failed(TOKEN, found, advice);
            needs_token(report, &[LOGIN, PRIVILEGES]);
            clock(report, date, began, ended);
            needs_token(report, &[NODES]);
            return;
        }
        Err(error) => {
            report.failed(API, error.summary(), remedy(&error));
            for check in [TOKEN, LOGIN, PRIVILEGES, CLOCK, NODES] {
                report.skipped(check, "needs an answer from the API");
            }
            return;
        }
    };
    login(report, &client);
    match client.get("/access/permissions") {
        Ok(data) => rights::check(
            report,
            safety,
            &Granted::new(data),
            &connection.token_id,
            // An unknown version is assumed to be a new one.
            major.unwrap_or(u32::MAX),
        ),
        Err(error) => {
            report.failed(PRIVILEGES, error.summary(), remedy(&error));
        }
    }
    clock(report, date, began, ended);
    match client.get("/nodes") {
        Ok(data) => {
            let rows = answer::rows(data);
            nodes(report, &rows);
            boundaries::check(report, safety, &client, &rows);
        }
        Err(error) => {
            report.failed(NODES, error.summary(), remedy(&error));
            boundaries::check(report, safety, &client, &[]);
        }
    }
}

/// Reports whether the user can log in whom some tools need.
fn login(report: &mut Report, client: &Reader) {
    let (Some(user), Some(outcome)) = (client.login_user(), client.try_login()) else {
        return report.ok(
            LOGIN,
            "not set; a few tools need one (PROXMOX_PASSWORD_FILE)",
        );
    };
    match outcome {
        Ok(()) if user == "root@pam" => report.ok(LOGIN, "root@pam can log in"),
        Ok(()) => report.ok(
            LOGIN,
            format!("{user} can log in; disks, OSDs and ACME accounts need root@pam"),
        ),
        Err(error) => {
            report.failed(LOGIN, error.summary(), remedy(&error));
        }
    }
}

/// Returns the major version, such as `9` for `9.0.3`; `None` if `version` does not begin with a number.
fn major(version: &str) -> Option<u32> {
    version.split(['.', '-']).next()?.parse().ok()
}

/// Returns what an error says to do; empty if it does not say.
fn remedy(error: &Error) -> String {
    error.hints().collect::<Vec<_>>().join("\n")
}

/// Returns how to fix a token that Proxmox rejected, depending on its reason.
fn token_remedy(error: &Error, token_id: &str) -> String {
    let (user, name) = token_id.split_once('!').unwrap_or((token_id, ""));
    let (user, name) = (shell_quoted(user), shell_quoted(name));
    if error.says("no such token") {
        return format!(
            "Correct PROXMOX_USER and PROXMOX_TOKEN_NAME, or create the token on a node as root, which \
             prints its secret:\n  pveum user token add {user} {name} --privsep 1"
        );
    }
    if error.says("invalid token value") {
        return format!(
            "The secret is wrong: correct PROXMOX_TOKEN_VALUE or the file that PROXMOX_TOKEN_FILE \
             names. If it is lost, recreate the token on a node as root, and grant it its roles \
             again:\n  pveum user token remove {user} {name}\n  \
             pveum user token add {user} {name} --privsep 1"
        );
    }
    format!(
        "Correct PROXMOX_USER (with its realm, such as root@pam), PROXMOX_TOKEN_NAME and the secret. The \
         token or its user may also be disabled or expired; check on a node as root:\n  \
         pveum user token list {user}\n  pveum user list"
    )
}

/// Returns the seconds since 1970 by this machine's clock.
fn seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Compares the two clocks.
///
/// `date` is the host's time in whole seconds, which it reported between `began` and `ended` by this
/// machine's clock.
fn clock(report: &mut Report, date: Option<u64>, began: f64, ended: f64) {
    let Some(date) = date else {
        return report.skipped(
            CLOCK,
            "needs the host's time, which its answer does not contain",
        );
    };
    let date = date as f64;
    // Neither time is exact: the host truncates its seconds, and the answer took some time to arrive.
    let (ahead, behind) = (date - ended, began - (date + 1.0));
    let skew = ahead.max(behind).max(0.0) as u64;
    if skew <= MOST_SKEW {
        return report.ok(CLOCK, "this machine and the host agree");
    }
    let side = if ahead > 0.0 { "ahead of" } else { "behind" };
    report.warning(
        CLOCK,
        format!(
            "the host is {} {side} this machine: certificates may appear invalid, and times in logs \
             and tasks are off by as much",
            text::duration(skew)
        ),
        "Check both clocks, here and on the node, and have NTP set them:\n  timedatectl",
    );
}

/// Reports which nodes are offline; `rows` are those of `/nodes`.
fn nodes(report: &mut Report, rows: &[Value]) {
    let node = |row: &Value| text::inline(row["node"].as_str().unwrap_or("?"));
    let down = rows.iter().filter(|row| row["status"] == "offline");
    let down: Vec<String> = down.map(node).collect();
    let all: Vec<String> = rows.iter().map(node).collect();
    match down.is_empty() {
        true => report.ok(NODES, format!("online: {}", all.join(", "))),
        false => report.warning(
            NODES,
            format!(
                "{} of {} offline: {}",
                down.len(),
                all.len(),
                down.join(", ")
            ),
            "Calls that concern them will fail. If they are running, check the cluster on a node:\n  \
             pvecm status\n  systemctl status corosync pve-cluster",
        ),
    }
}

/// Reports whether elevated tools are allowed, what limits them, and whether the audit log can be written.
fn elevated(report: &mut Report, safety: &Safety) {
    let elevated =
        tools::shown(&safety.exposure).filter(|(_, tool)| tool.permission == Permission::Elevated);
    let (reading, changing): (Vec<_>, Vec<_>) =
        elevated.partition(|(_, tool)| tool.effect == Effect::Reads);
    let count = reading.len() + changing.len();
    let found = match safety.allow_elevated {
        false => {
            format!("not allowed: {count} elevated tools are refused (PROXMOX_ALLOW_ELEVATED)")
        }
        true => format!(
            "allowed: {} tools can change the cluster; {}\nconfirm: {}",
            changing.len(),
            bounds(safety),
            match safety.confirm {
                Confirm::Auto => "auto (if the client cannot ask, only data loss needs a token)",
                Confirm::Always => "always (by token if the client cannot ask)",
                Confirm::Never => "never",
            }
        ),
    };
    let log = safety.audit_log.as_ref();
    let unwritable = log.and_then(|path| Some((path, audit::can_be_written(path).err()?)));
    match unwritable {
        None => report.ok(ELEVATED, found),
        Some((path, err)) => report.failed(
            ELEVATED,
            format!(
                "{found}\nthe audit log cannot be written: {}: {err}",
                text::inline(&path.display().to_string())
            ),
            "Set PROXMOX_AUDIT_LOG to a file that you own, in a folder that exists: until then, all \
             elevated tools fail.",
        ),
    }
}

/// Reports whether the directories that files are uploaded from and restored to can be used.
fn upload_dirs(report: &mut Report, safety: &Safety) {
    if safety.upload_dirs.is_empty() {
        return;
    }
    let (mut lines, mut is_bad) = (Vec::new(), false);
    for dir in &safety.upload_dirs {
        let dir = (files::shown(dir), Access::of(dir));
        lines.push(match dir {
            (dir, Access::Full) => format!("{dir}: can be read and written"),
            (dir, Access::ReadOnly) => {
                format!("{dir}: can only be read: no file can be restored to it")
            }
            (dir, Access::None(err)) => {
                is_bad = true;
                format!("{dir}: cannot be used: {err}")
            }
        });
    }
    let found = lines.join("\n");
    match is_bad {
        false => report.ok(UPLOAD, found),
        true => report.warning(
            UPLOAD,
            found,
            "Create the directory, give the user that proxmox-mcp runs as the right to read it, or correct PROXMOX_UPLOAD_DIRS.",
        ),
    }
}

/// Returns which settings limit or record what elevated tools do.
fn bounds(safety: &Safety) -> String {
    let bounds = [
        ("PROXMOX_GUESTS", safety.guests.is_some()),
        ("PROXMOX_NODES", safety.nodes.is_some()),
        ("PROXMOX_PROTECTED", safety.protected.is_some()),
        ("PROXMOX_ALLOW_COMMANDS", safety.commands.is_some()),
        ("PROXMOX_DRY_RUN", safety.dry_run),
        ("PROXMOX_AUDIT_LOG", safety.audit_log.is_some()),
    ];
    let bounds = bounds.iter().filter(|(_, is_set)| *is_set);
    let bounds: Vec<&str> = bounds.map(|(name, _)| *name).collect();
    match bounds.is_empty() {
        true => "neither a boundary nor an audit log is set".to_owned(),
        false => format!("set: {}", bounds.join(", ")),
    }
}

/// Reports how many tools clients see, from which toolsets, and the size of their list.
fn toolsets(report: &mut Report, safety: &Safety) {
    let shown = |domain: &&tools::Domain| {
        let mut tools = domain.tools.iter();
        tools.any(|(name, tool)| {
            safety
                .exposure
                .hides(domain.toolset, name, tool.only_reads())
                .is_none()
        })
    };
    let sets: Vec<&str> = tools::DOMAINS
        .iter()
        .filter(shown)
        .map(|domain| domain.toolset)
        .collect();
    let all: usize = tools::DOMAINS.iter().map(|domain| domain.tools.len()).sum();
    let count = tools::shown(&safety.exposure).count();
    if count == 0 {
        return report.warning(
            TOOLSETS,
            "no tool is shown to clients",
            "Unset PROXMOX_TOOLSETS, PROXMOX_TOOLS, PROXMOX_EXCLUDE_TOOLS or PROXMOX_READ_ONLY; this \
             shows which of them hides each tool:\n  proxmox-mcp tools",
        );
    }
    let size = Definitions::new(safety).size();
    report.ok(
        TOOLSETS,
        format!(
            "{count} of {all} tools, whose list takes {}: {}",
            text::bytes(size as f64),
            sets.join(", ")
        ),
    );
}
