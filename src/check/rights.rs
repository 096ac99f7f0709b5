//! What the exposed tools need, against what the token may do, and the lines that grant the rest.

use crate::check::report::Report;
use crate::privileges::{self, Granted, Reach};
use crate::settings::Safety;
use crate::text::{self, add};
use crate::tool::{Permission, Tool};

const CHECK: &str = "privileges";

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
        false => report.warning(CHECK, text, remedy(granted, &missing, token_id)),
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

/// The least that grants what is missing.
fn remedy(granted: &Granted, missing: &Missing, token_id: &str) -> String {
    let mut privileges: Vec<&str> = missing.iter().map(|(_, privilege)| *privilege).collect();
    privileges.sort();
    privileges.dedup();
    let bases = missing.iter().map(|(base, _)| *base);
    let mut paths: Vec<&str> = bases
        .flat_map(|base| granted.paths_to_grant(base))
        .collect();
    paths.sort();
    paths.dedup();
    let (user, token) = owners(token_id);
    let mut text = format!(
        "If these tools are to work, on a node as root (the user needs it as well as the token):\n  \
         pveum role add MCP 2>/dev/null; pveum role modify MCP --append 1 --privs {}",
        privileges.join(",")
    );
    for path in paths.iter().take(MOST) {
        add(
            &mut text,
            format_args!(
                "\n  pveum acl modify {} {user}--tokens {token} --roles MCP",
                quoted(path)
            ),
        );
    }
    if let more @ 1.. = paths.len().saturating_sub(MOST) {
        add(
            &mut text,
            format_args!("\nand so on for {more} more paths."),
        );
    }
    text.push_str("\nOr hide them with PROXMOX_EXCLUDE_TOOLS.");
    text
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
