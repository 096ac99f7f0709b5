//! What the boundaries cover now: a misspelt boundary protects nothing, yet looks as if it did.

use serde_json::Value;

use crate::answer::{self, plain};
use crate::check::report::Report;
use crate::check::{BOUNDARIES, remedy};
use crate::cluster::guests;
use crate::pve::reader::Reader;
use crate::request::{Method, Request};
use crate::settings::Safety;
use crate::settings::boundaries::KnownGuest;
use crate::text::sort::sort_by_key;
use crate::text::{self, add};

/// How many guests or nodes of each boundary are named.
const MOST: usize = 5;

/// The longest name shown, in characters.
const LONGEST: usize = 60;

/// Reports what each boundary covers, and which of its parts match nothing.
///
/// `nodes` are the rows of `/nodes`, empty if they could not be read.
pub(super) fn check(report: &mut Report, safety: &Safety, client: &Reader, nodes: &[Value]) {
    let sets = [
        ("PROXMOX_GUESTS", &safety.guests),
        ("PROXMOX_PROTECTED", &safety.protected),
    ];
    let mut lines = Vec::new();
    let mut idle = Vec::new();
    if sets.iter().any(|(_, set)| set.is_some()) {
        let request = Request::new(Method::Get, "/cluster/resources").with("type", "vm");
        let rows = match client.send(&request) {
            Ok(data) => answer::rows(data),
            Err(error) => {
                return report.failed(BOUNDARIES, error.summary(), remedy(&error));
            }
        };
        let known = rows.iter().filter_map(|row| {
            let known = KnownGuest {
                vmid: plain(&row["vmid"]).parse().ok()?,
                labels: Some(guests::labels(row)),
            };
            Some((known, plain(&row["name"])))
        });
        let mut known: Vec<(KnownGuest, String)> = known.collect();
        sort_by_key(&mut known, |(guest, _)| guest.vmid);
        let (guests, names): (Vec<KnownGuest>, Vec<String>) = known.into_iter().unzip();
        for (name, set) in sets {
            let Some(set) = set else { continue };
            let inside = guests.iter().zip(&names);
            let inside = inside.filter(|(guest, _)| set.contain(guest) == Some(true));
            let inside = inside.map(|(guest, name)| format!("{} {name}", guest.vmid));
            line(
                &mut lines,
                &mut idle,
                name,
                inside.collect(),
                set.idle(&guests),
            );
        }
    }
    if let Some(set) = safety.nodes.as_ref().filter(|_| !nodes.is_empty()) {
        let names: Vec<&str> = nodes
            .iter()
            .filter_map(|row| row["node"].as_str())
            .collect();
        let inside = names.iter().filter(|name| set.contain(name));
        let inside = inside.map(|name| (*name).to_owned());
        line(
            &mut lines,
            &mut idle,
            "PROXMOX_NODES",
            inside.collect(),
            set.idle(&names),
        );
    }
    match (lines.is_empty(), idle.is_empty()) {
        (true, _) => (),
        (false, true) => report.ok(BOUNDARIES, lines.join("\n")),
        (false, false) => report.warning(
            BOUNDARIES,
            format!("{}\n- {}", lines.join("\n"), idle.join("\n- ")),
            "Correct misspelt parts; guests that the token may not see (VM.Audit) are not found here. \
             This lists guests with their pools and tags:\n  proxmox-mcp call proxmox_get_vms",
        ),
    }
}

/// Adds what a boundary covers to `lines`, such as `PROXMOX_PROTECTED: 100 web01, 9000 tpl`, and what is
/// wrong with its `parts` to `idle`.
fn line(
    lines: &mut Vec<String>,
    idle: &mut Vec<String>,
    name: &str,
    inside: Vec<String>,
    parts: Vec<String>,
) {
    let shown = inside.iter().take(MOST);
    let shown = shown.map(|it| text::inline(&text::cut(it.trim_end(), LONGEST)));
    let mut found = shown.collect::<Vec<_>>().join(", ");
    if let more @ 1.. = inside.len().saturating_sub(MOST) {
        add(&mut found, format_args!(" and {more} more"));
    }
    if inside.is_empty() {
        found.push_str("nothing now");
        if parts.is_empty() {
            idle.push(format!("{name}: its exclusions leave nothing"));
        }
    }
    lines.push(format!("{name}: {found}"));
    idle.extend(parts.iter().map(|part| format!("{name}: {part}")));
}
