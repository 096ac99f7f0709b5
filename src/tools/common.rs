//! Parameters that several domains share.

use crate::answer::{Answer, Lines};
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

/// Lines of a log: those with the text of `grep`, and with `errors_only` those that `is_error`. The filters
/// look at the lines that were read.
pub(super) fn filtered(
    args: &Args,
    heading: &str,
    lines: Vec<String>,
    first: u64,
    total: u64,
    is_error: fn(&str) -> bool,
) -> Answer {
    let errors_only = args.flag(&ERRORS_ONLY);
    let grep = args.get(&GREP).map(str::to_lowercase);
    let read = lines.len();
    let mut lines = lines;
    lines.retain(|line| {
        let has_text = |text: &String| line.to_lowercase().contains(text);
        grep.as_ref().is_none_or(has_text) && (!errors_only || is_error(line))
    });
    if !errors_only && grep.is_none() {
        return Lines {
            heading: heading.to_owned(),
            lines,
            first,
            total,
            more: "start and limit show others",
        }
        .answer();
    }
    let total = lines.len() as u64;
    Lines {
        heading: format!("{heading}: of {read} lines read those that match"),
        lines,
        first: 0,
        total,
        more: "start and limit read others",
    }
    .answer()
}
