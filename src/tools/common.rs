//! Parameters that several domains share.

use serde_json::Value;

use crate::answer::{self, Answer, Lines, plain};
pub(super) use crate::cluster::guests::{Guest, call_again, identified, resource, resources};
pub(super) use crate::cluster::volumes::RESOURCES_REQUEST;
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::reader::Reader;
use crate::text::{self, format};

pub(super) const NODE: Param = Param::required("node", Kind::Format(&format::NODE), "");
pub(super) const STORAGE: Param = Param::required("storage", Kind::Format(&format::STORAGE), "");
pub(super) const START: Param = Param::optional("start", Kind::Flag, "");
pub(super) const POOL: Param = Param::optional("pool", Kind::Format(&format::POOL), "");
pub(super) const DESCRIPTION: Param = Param::optional("description", Kind::Text(0, 8_192), "");
pub(super) const DIGEST: Param = Param::optional(
    "digest",
    Kind::Format(&format::DIGEST),
    "From the last read; refused if it changed since.",
);
/// The digest of an entry of a list.
pub(super) const LISTED_DIGEST: Param =
    Param::optional("digest", Kind::Format(&format::DIGEST), "As listed.");
pub(super) const TIMEOUT: Param = Param::optional(
    "timeout",
    Kind::Integer(0, u64::MAX),
    "Seconds to wait for the guest.",
);

/// For tools that return logs.
pub(super) const ERRORS_ONLY: Param = Param::optional("errors_only", Kind::Flag, "").local();
pub(super) const GREP: Param =
    Param::optional("grep", Kind::Text(1, 100), "Only lines with this text.").local();

/// Says what of `named` this token does not see, each with its kind: guest, node, pool or storage. Proxmox takes
/// the names of such things as they are, whether they exist or not.
pub(super) fn unseen<'a>(
    client: &Reader,
    named: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Option<String>, Error> {
    let mut named = named.into_iter().peekable();
    if named.peek().is_none() {
        return Ok(None);
    }
    let known = answer::rows(client.get(RESOURCES_REQUEST.path)?);
    Ok(unseen_among(&known, named))
}

/// Like [`unseen`], given the rows of `/cluster/resources`.
pub(super) fn unseen_among<'a>(
    known: &[Value],
    named: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let unseen = named.into_iter().filter(|(kind, name)| {
        let key = if *kind == "guest" { "vmid" } else { kind };
        !known.iter().any(|row| plain(&row[key]) == *name)
    });
    let unseen: Vec<String> = unseen
        .map(|(kind, name)| format!("{kind} {}", text::inline(name)))
        .collect();
    (!unseen.is_empty()).then(|| format!("This token does not see {}", unseen.join(", ")))
}

/// Whether a line of a log that says no severity is about something that went wrong.
pub(super) fn tells_error(line: &str) -> bool {
    let line = line.to_lowercase();
    let words = [
        "error",
        "fail",
        "critical",
        "panic",
        "segfault",
        "out of memory",
    ];
    words.iter().any(|word| line.contains(word))
}

/// Whether the call asks for some of the lines alone.
pub(super) fn filters(args: &Args) -> bool {
    args.flag(&ERRORS_ONLY) || args.get(&GREP).is_some()
}

/// Whether the call asks for this line.
pub(super) fn asks_for(args: &Args, line: &str, is_error: bool) -> bool {
    let has = |text: &str| line.to_lowercase().contains(&text.to_lowercase());
    args.get(&GREP).is_none_or(has) && (is_error || !args.flag(&ERRORS_ONLY))
}

/// Of the lines that were read those that the call asks for.
pub(super) fn matching(args: &Args, log: Lines, is_error: fn(&str) -> bool) -> Lines {
    if !filters(args) {
        return log;
    }
    let read = log.lines.len();
    let mut lines = log.lines;
    lines.retain(|line| asks_for(args, line, is_error(line)));
    Lines {
        heading: matching_heading(args, log.heading, read),
        first: 0,
        total: lines.len() as u64,
        lines,
        more: log.more,
    }
}

/// The heading of a log of which `read` lines were read.
pub(super) fn matching_heading(args: &Args, heading: String, read: usize) -> String {
    match filters(args) {
        true => format!("{heading}: of {read} lines read those that match"),
        false => heading,
    }
}

/// A log as Proxmox sends it, in lines.
pub(super) fn filtered(
    args: &Args,
    heading: &str,
    data: Value,
    beside: &Value,
    start: &Param,
    is_error: fn(&str) -> bool,
) -> Answer {
    let first = args.integer(start).unwrap_or_default();
    let mut lines = answer::log_lines(data);
    // So Proxmox says that nothing was logged yet.
    lines.retain(|line| !line.starts_with("unable to open file - No such file"));
    let read = lines.len() as u64;
    let total = beside["total"].as_u64().unwrap_or_default();
    let log = Lines {
        heading: heading.to_owned(),
        first,
        total: match read {
            0 if first == 0 => 0,
            read => total.max(first + read),
        },
        lines,
        more: "start and limit show others",
    };
    matching(args, log, is_error).answer()
}

/// Returns the lines that a unified diff adds or removes.
pub(super) fn changed_lines(diff: &str) -> Vec<&str> {
    let says_nothing = |line: &str| {
        let rest = &line[1..];
        // The names of the files, and what Proxmox writes at the top of the new one.
        rest.trim().is_empty()
            || ["++ ", "-- ", "# "]
                .iter()
                .any(|mark| rest.starts_with(mark))
            || rest == "#"
    };
    diff.lines()
        .filter(|line| line.starts_with(['+', '-']) && !says_nothing(line))
        .collect()
}
