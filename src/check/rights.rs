//! Compares the privileges that the exposed tools need with those of the token, and writes the commands that
//! grant the missing ones.

use std::cmp::Reverse;

use crate::check::report::Report;
use crate::error::grant::{self, Before, Grant, owners};
use crate::settings::Safety;
use crate::settings::boundaries::Guests;
use crate::settings::exposure::Hidden;
use crate::text::sort::{self, sort_by_key};
use crate::text::{self, add, shell_quoted};
use crate::tool::privileges::{self, AclPath, Below, Granted, Reach};
use crate::tool::{Permission, Tool};
use crate::tools;

const CHECK: &str = "privileges";

/// How many paths a line names.
const MOST: usize = 5;

/// Tools that share a finding.
struct Group {
    finding: String,
    tools: Vec<&'static str>,
}

/// Adds a tool to the group of its finding.
fn group(groups: &mut Vec<Group>, finding: String, tool: &'static str) {
    match groups.iter_mut().find(|group| group.finding == finding) {
        Some(group) => group.tools.push(tool),
        None => groups.push(Group {
            finding,
            tools: vec![tool],
        }),
    }
}

/// Returns a line for each group.
fn lines(groups: &[Group]) -> String {
    let lines = groups
        .iter()
        .map(|group| format!("\n- {}: {}", group.finding, group.tools.join(", ")));
    lines.collect()
}

/// Returns the tools that the settings show and allow.
fn exposed(safety: &Safety) -> impl Iterator<Item = (&'static str, &'static Tool)> {
    let allowed = |tool: &Tool| tool.permission == Permission::Basic || safety.allow_elevated;
    tools::shown(&safety.exposure).filter(move |(_, tool)| allowed(tool))
}

/// Reports which tools lack privileges, or have them only on some paths.
///
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
                "Grant a role to both the token and its user: with privilege separation, both need it. \
                 For read access, on a node as root:\n  pveum acl modify / \
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
        for need in privileges::needs(tool, major) {
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
            sort::sort(&mut limits);
            limits.dedup();
            group(&mut limited, limits.join(", "), name);
        }
        missing.extend(lacks);
    }
    let count = |groups: &[Group]| groups.iter().map(|group| group.tools.len()).sum();
    let (fail, some): (usize, usize) = (count(&failing), count(&limited));
    let mut text = match fail {
        0 => format!("{token_id} has the privileges that the {all} available tools need"),
        _ => format!("{token_id} lacks privileges for {fail} of the {all} available tools:"),
    };
    text.push_str(&lines(&failing));
    if some > 0 {
        add(
            &mut text,
            format_args!("\n{some} of the {all} work only on some paths:"),
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

/// Missing privileges, each with the path that it is needed on; of several alternatives only the first.
type Missing = Vec<(AclPath, &'static str)>;

/// Sorts guests before storages and nodes, and removes duplicates.
fn sort(missing: &mut Missing) {
    let key = |(spot, name): &(AclPath, &'static str)| (Reverse(spot.base), spot.below, *name);
    sort_by_key(missing, key);
    missing.dedup();
}

/// Returns the missing privileges in words: `VM.Backup VM.Clone on /vms, VM.Allocate on /vms or a pool`.
fn shown(missing: &Missing) -> String {
    let mut text = String::new();
    let mut missing = missing.iter().peekable();
    while let Some((spot, privilege)) = missing.next() {
        text.push_str(privilege);
        match missing.peek() {
            Some((next, _)) if next == spot => text.push(' '),
            next => {
                let end = if next.is_some() { ", " } else { "" };
                let or = if spot.below == Below::New {
                    " or a pool"
                } else {
                    ""
                };
                add(&mut text, format_args!(" on {}{or}{end}", spot.base));
            }
        }
    }
    text
}

/// Returns on which paths a tool works or fails; `None` if it works everywhere or nowhere.
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

/// Returns the value of PROXMOX_EXCLUDE_TOOLS that hides these tools in addition to those excluded already,
/// such as `proxmox_start_vm,proxmox_delete_*`: with a pattern where that matches no other tool.
fn hidden(safety: &Safety, mut tools: Vec<&'static str>) -> String {
    let is_excluded = |name: &&str| {
        let why = tools::find(name).and_then(|entry| entry.hidden(safety));
        why == Some(Hidden::Excluded)
    };
    let every = || tools::all().map(|(_, (name, _))| name);
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
    sort::sort(&mut items);
    items.dedup();
    shell_quoted(&items.join(","))
}

/// Returns the commands that grant the missing privileges, on the narrowest paths that suffice.
fn grant(safety: &Safety, granted: &Granted, missing: &Missing, token_id: &str) -> String {
    let mut lines = String::new();
    let mut notes = Vec::new();
    let mut replaces_inherited = false;
    for there in missing.chunk_by(|(spot, _), (other, _)| spot == other) {
        let (spot, _) = there[0];
        let paths = paths_to_grant(safety, granted, spot);
        notes.extend(paths.note);
        for path in paths.paths.iter().take(MOST) {
            let grant = Grant {
                path,
                privileges: there.iter().map(|(_, name)| *name).collect(),
                before: granted.before(path),
            };
            replaces_inherited |= matches!(grant.before, Before::Inherited(_));
            add(&mut lines, format_args!("\n  {}", grant.line(token_id)));
        }
        if let more @ 1.. = paths.paths.len().saturating_sub(MOST) {
            notes.push(format!(
                "{more} more paths below {} need the same",
                spot.base
            ));
        }
    }
    let both = match grant::user(token_id) {
        Some(_) => " (both the user and the token need it)",
        None => "",
    };
    let mut text = format!("Or grant the missing privileges, on a node as root{both}:{lines}");
    if !notes.is_empty() {
        add(&mut text, format_args!("\n{}.", notes.join("; ")));
    }
    if replaces_inherited && let Some(user) = grant::user(token_id) {
        add(
            &mut text,
            format_args!(
                "\nRoles on a path replace those inherited there. The commands grant again what the token \
                 inherits; {user} loses its other inherited roles there, which this shows:\n  pveum acl list"
            ),
        );
    }
    text
}

/// The access control paths to grant privileges on.
struct Paths {
    paths: Vec<String>,
    /// What the user should know about the paths, such as what a placeholder stands for.
    note: Option<String>,
}

/// Returns where to grant privileges: on the guests that the settings allow, or where the token has other
/// privileges already, or else on a placeholder.
fn paths_to_grant(safety: &Safety, granted: &Granted, spot: AclPath) -> Paths {
    let AclPath { base, below } = spot;
    if below != Below::Each {
        let of_new = "On /vms it covers all guests, including existing ones; on /pool/POOL only those of \
                      that pool (pool=POOL)";
        return Paths {
            paths: vec![base.to_owned()],
            note: (below == Below::New).then(|| of_new.to_owned()),
        };
    }
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
            note: None,
        };
    }
    let (path, note) = match base {
        "/vms" => (
            "/vms/VMID",
            "VMID stands for each guest to allow (/vms: all)",
        ),
        "/nodes" => (
            "/nodes/NODE",
            "NODE stands for each node to allow (/nodes: all)",
        ),
        "/storage" => (
            "/storage/STORAGE",
            "STORAGE stands for each storage to allow (/storage: all)",
        ),
        "/sdn/zones" => (
            "/sdn/zones/localnetwork/BRIDGE",
            "BRIDGE stands for each bridge to allow (/sdn/zones/localnetwork: all)",
        ),
        other => (other, ""),
    };
    Paths {
        paths: vec![path.to_owned()],
        note: Some(note.to_owned()).filter(|note| !note.is_empty()),
    }
}
