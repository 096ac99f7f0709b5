//! What the exposed tools need, against what the token may do, and the lines that grant the rest.

use crate::check::report::Report;
use crate::exposure;
use crate::privileges::{self, Granted, Reach};
use crate::scope::Guests;
use crate::settings::Safety;
use crate::text::{self, add};
use crate::tool::{Permission, Tool};

const CHECK: &str = "privileges";

/// The role that is proposed: a name that nobody has, so that nothing granted before gets wider.
const ROLE: &str = "MCPExtra";

/// The most paths that are named of each line.
const MOST: usize = 5;

/// Tools of which the same is to be said.
struct Group {
    said: String,
    tools: Vec<&'static str>,
}

fn group(groups: &mut Vec<Group>, said: String, tool: &'static str) {
    match groups.iter_mut().find(|group| group.said == said) {
        Some(group) => group.tools.push(tool),
        None => groups.push(Group {
            said,
            tools: vec![tool],
        }),
    }
}

/// A line for each of these groups.
fn lines(groups: &[Group]) -> String {
    let lines = groups
        .iter()
        .map(|group| format!("\n- {}: {}", group.said, group.tools.join(", ")));
    lines.collect()
}

/// The tools that the settings show and let run.
fn exposed(safety: &Safety) -> impl Iterator<Item = (&'static str, &'static Tool)> {
    let allowed = |tool: &Tool| tool.permission == Permission::Basic || safety.allow_elevated;
    safety
        .exposure
        .shown()
        .filter(move |(_, tool)| allowed(tool))
}

/// `token_id` is `user@realm!name`, `major` the major version of Proxmox VE.
pub(super) fn check(
    report: &mut Report,
    safety: &Safety,
    granted: &Granted,
    token_id: &str,
    major: u32,
) {
    if granted.is_empty() {
        let (user, token) = owners(token_id);
        report.failed(
            CHECK,
            format!("{token_id} has no privilege anywhere"),
            format!(
                "Grant a role to the token and to its user, which both need it with privilege \
                 separation. To read, on a node as root:\n  pveum acl modify / \
                 {user}--tokens {token} --roles PVEAuditor"
            ),
        );
        return;
    }
    let mut failing = Vec::new();
    let mut limited = Vec::new();
    let mut missing = Missing::new();
    let mut to_hide = Vec::new();
    let mut all = 0;
    for (name, tool) in exposed(safety) {
        all += 1;
        let mut lacks = Missing::new();
        let mut limits = Vec::new();
        for need in privileges::needs(name, tool, major) {
            match granted.reach(&need) {
                Reach::Nowhere => lacks.push(need.first()),
                reach => limits.extend(limit(&reach)),
            }
        }
        sort(&mut lacks);
        if !lacks.is_empty() {
            to_hide.push(name);
        }
        let name = name.strip_prefix("proxmox_").unwrap_or(name);
        if !lacks.is_empty() {
            group(&mut failing, shown(&lacks), name);
        } else if !limits.is_empty() {
            limits.sort();
            limits.dedup();
            group(&mut limited, limits.join(", "), name);
        }
        missing.extend(lacks);
    }
    let count = |groups: &[Group]| groups.iter().map(|group| group.tools.len()).sum();
    let (fail, some): (usize, usize) = (count(&failing), count(&limited));
    let mut text = match fail {
        0 => format!("{token_id} has what the {all} tools need that may be called"),
        _ => {
            format!("{token_id} lacks privileges for {fail} of the {all} tools that may be called:")
        }
    };
    text.push_str(&lines(&failing));
    if some > 0 {
        add(
            &mut text,
            format_args!("\n{some} of the {all} work on some paths:"),
        );
        text.push_str(&lines(&limited));
    }
    sort(&mut missing);
    match missing.is_empty() {
        true => report.ok(CHECK, text),
        false => {
            let hidden = hidden(safety, to_hide);
            let grant = grant(safety, granted, &missing, token_id);
            report.warning(
                CHECK,
                text,
                format!(
                    "Hide the tools that would fail:\n  PROXMOX_EXCLUDE_TOOLS={hidden}\n{grant}"
                ),
            );
        }
    }
}

/// Privileges that are missing, each behind the path where it is; of alternatives the first, which is
/// enough.
type Missing = Vec<(&'static str, &'static str)>;

/// Puts guests before storages and nodes, and what is there twice once.
fn sort(missing: &mut Missing) {
    missing
        .sort_unstable_by(|(base, name), (other, second)| other.cmp(base).then(name.cmp(second)));
    missing.dedup();
}

/// `VM.Allocate VM.Backup on /vms, Datastore.AllocateSpace on /storage`
fn shown(missing: &Missing) -> String {
    let mut text = String::new();
    let mut missing = missing.iter().peekable();
    while let Some((base, privilege)) = missing.next() {
        text.push_str(privilege);
        match missing.peek() {
            Some((next, _)) if next == base => text.push(' '),
            next => {
                let end = if next.is_some() { ", " } else { "" };
                add(&mut text, format_args!(" on {base}{end}"));
            }
        }
    }
    text
}

/// Where a tool works that does not work everywhere.
fn limit(reach: &Reach) -> Option<String> {
    let (word, paths) = match reach {
        Reach::Everywhere | Reach::Nowhere => return None,
        Reach::AllBut(paths) => ("not on", paths),
        Reach::Only(paths) => ("only on", paths),
    };
    let named = paths.iter().take(MOST).map(|path| text::inline(path));
    let named: Vec<String> = named.collect();
    let rest = match paths.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{word} {}{rest}", named.join(" ")))
}

/// `proxmox_start_vm,proxmox_delete_*` for these tools and those that are excluded already: a pattern
/// where it means these alone.
fn hidden(safety: &Safety, mut tools: Vec<&'static str>) -> String {
    let is_excluded = |name: &&str| {
        let why = safety.exposure.hides_by_name(name);
        why.is_some_and(|why| why.starts_with("PROXMOX_EXCLUDE_TOOLS"))
    };
    let every = || exposure::all().map(|(_, (name, _))| name);
    tools.extend(every().filter(is_excluded));
    let mut items: Vec<String> = Vec::new();
    for tool in &tools {
        let words = tool.splitn(3, '_').take(2).collect::<Vec<_>>().join("_");
        let start = format!("{words}_");
        let alike: Vec<&str> = every().filter(|name| name.starts_with(&start)).collect();
        let is_short = alike.len() > 1 && alike.iter().all(|name| tools.contains(name));
        items.push(match is_short {
            true => format!("{start}*"),
            false => (*tool).to_owned(),
        });
    }
    items.sort();
    items.dedup();
    quoted(&items.join(","))
}

/// The lines that grant what is missing, where the narrowest sense of it is.
fn grant(safety: &Safety, granted: &Granted, missing: &Missing, token_id: &str) -> String {
    let (user, token) = owners(token_id);
    let mut lines = String::new();
    let mut words = Vec::new();
    let (top, below): (Missing, Missing) =
        missing.iter().copied().partition(|(base, _)| *base == "/");
    let privileges = |missing: &Missing| {
        let mut names: Vec<&str> = missing.iter().map(|(_, name)| *name).collect();
        names.sort();
        names.dedup();
        names.join(",")
    };
    if !top.is_empty() {
        // What is meant is the top alone, and a role that counts below would be one for everything.
        let names = privileges(&top);
        add(
            &mut lines,
            format_args!(
                "\n  pveum role add {ROLE}Top --privs {names}\n  pveum acl modify / \
                 {user}--tokens {token} --roles {ROLE}Top --propagate 0"
            ),
        );
    }
    if !below.is_empty() {
        let names = privileges(&below);
        add(
            &mut lines,
            format_args!("\n  pveum role add {ROLE} --privs {names}"),
        );
    }
    let mut bases: Vec<&str> = below.iter().map(|(base, _)| *base).collect();
    bases.dedup();
    let mut is_inherited_unknown = false;
    for base in bases {
        let paths = paths_to_grant(safety, granted, base);
        words.extend(paths.word);
        for path in paths.paths.iter().take(MOST) {
            let inherited = match granted.has_own(path) {
                true => Vec::new(),
                false => granted.inherited(path),
            };
            let others = match inherited.is_empty() {
                true => "",
                false if is_auditor(&inherited) => "PVEAuditor,",
                false => {
                    is_inherited_unknown = true;
                    "INHERITED,"
                }
            };
            add(
                &mut lines,
                format_args!(
                    "\n  pveum acl modify {} {user}--tokens {token} --roles {others}{ROLE}",
                    quoted(path)
                ),
            );
        }
        if let more @ 1.. = paths.paths.len().saturating_sub(MOST) {
            words.push(format!("{more} more paths below {base} need the same"));
        }
    }
    if is_inherited_unknown {
        words.push("INHERITED stands for the roles that the token has there by now".to_owned());
    }
    let both = match user.is_empty() {
        true => "",
        false => " (the user needs it as well as the token)",
    };
    let mut text = format!("Or grant what is missing, on a node as root{both}:{lines}");
    if !words.is_empty() {
        add(&mut text, format_args!("\n{}.", words.join("; ")));
    }
    if !below.is_empty() {
        text.push_str(
            "\nRoles on a path replace those that are inherited there: name all that are to stay, \
             also the user's. This shows them:\n  pveum acl list",
        );
    }
    text
}

/// Paths of access control to grant something on.
struct Paths {
    paths: Vec<String>,
    /// What the reader has to put in.
    word: Option<String>,
}

/// Where to grant what is missing below `base`: on the guests that may be touched, where other rights
/// are, or else the reader says.
fn paths_to_grant(safety: &Safety, granted: &Granted, base: &str) -> Paths {
    let vmids = safety.guests.as_ref().filter(|_| base == "/vms");
    let known: Vec<String> = match vmids.and_then(Guests::vmids) {
        Some(vmids) => vmids.iter().map(|vmid| format!("/vms/{vmid}")).collect(),
        None => {
            let own = granted.own_below(base).into_iter();
            own.map(str::to_owned).collect()
        }
    };
    if !known.is_empty() {
        return Paths {
            paths: known,
            word: None,
        };
    }
    let (path, word) = match base {
        "/vms" => ("/vms/VMID", "VMID stands for each guest meant (/vms: all)"),
        "/nodes" => (
            "/nodes/NODE",
            "NODE stands for each node meant (/nodes: all)",
        ),
        "/storage" => (
            "/storage/STORAGE",
            "STORAGE stands for each storage meant (/storage: all)",
        ),
        "/sdn/zones" => (
            "/sdn/zones/localnetwork/BRIDGE",
            "BRIDGE stands for each bridge meant (/sdn/zones/localnetwork: all)",
        ),
        other => (other, ""),
    };
    Paths {
        paths: vec![path.to_owned()],
        word: Some(word.to_owned()).filter(|word| !word.is_empty()),
    }
}

/// Whether these are the privileges of PVEAuditor, which each version has its own of
/// (`PVE/AccessControl.pm`).
fn is_auditor(privileges: &[&str]) -> bool {
    let has = |name| privileges.contains(&name);
    ["Datastore.Audit", "Sys.Audit", "VM.Audit"]
        .into_iter()
        .all(has)
        && privileges.iter().all(|name| name.ends_with(".Audit"))
}

/// Who is granted something: `--users mcp@pve `, which root@pam does not need, and `'mcp@pve!mcp'`.
fn owners(token_id: &str) -> (String, String) {
    let user = match token_id.split_once('!') {
        Some((user, _)) if user != "root@pam" => format!("--users {} ", quoted(user)),
        _ => String::new(),
    };
    (user, quoted(token_id))
}

/// A word for a shell.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", text::inline(word).replace('\'', r"'\''")),
    }
}
