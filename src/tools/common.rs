//! Parameters that several domains share.

use serde_json::Value;

use crate::answer::{self, Answer, Lines};
pub(super) use crate::cluster::guests::{Guest, call_again, identified, resource, resources};
use crate::param::{Args, Kind, Param};
use crate::text::format;

pub(super) const NODE: Param = Param::required("node", Kind::Format(&format::NODE), "");
pub(super) const STORAGE: Param = Param::required("storage", Kind::Format(&format::STORAGE), "");
pub(super) const START: Param = Param::optional("start", Kind::Flag, "");
pub(super) const POOL: Param = Param::optional("pool", Kind::Format(&format::POOL), "");
pub(super) const DESCRIPTION: Param = Param::optional("description", Kind::Text(0, 8_192), "");
pub(super) const DIGEST: Param = Param::optional(
    "digest",
    Kind::Format(&format::DIGEST),
    "From the last read; refused if the configuration changed since.",
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

/// A log as Proxmox sends it, in lines: those with the text of `grep`, and with `errors_only` those that
/// `is_error`. The filters look at the lines that were read.
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
    let read = lines.len();
    let errors_only = args.flag(&ERRORS_ONLY);
    let grep = args.get(&GREP).map(str::to_lowercase);
    if !errors_only && grep.is_none() {
        let total = beside["total"].as_u64().unwrap_or_default();
        return Lines {
            heading: heading.to_owned(),
            first,
            total: match read {
                0 if first == 0 => 0,
                read => total.max(first + read as u64),
            },
            lines,
            more: "start and limit show others",
        }
        .answer();
    }
    lines.retain(|line| {
        let has_text = |text: &String| line.to_lowercase().contains(text);
        grep.as_ref().is_none_or(has_text) && (!errors_only || is_error(line))
    });
    Lines {
        heading: format!("{heading}: of {read} lines read those that match"),
        first: 0,
        total: lines.len() as u64,
        lines,
        more: "start and limit read others",
    }
    .answer()
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
