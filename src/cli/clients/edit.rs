//! Changes to a text that leave the rest of its bytes as they are.

use std::ops::Range;

use crate::text::{self, add};

/// A part of a text, and what takes its place.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) at: Range<usize>,
    pub(super) text: String,
}

impl Edit {
    pub(super) fn insert(at: usize, text: impl Into<String>) -> Self {
        Self {
            at: at..at,
            text: text.into(),
        }
    }
}

/// Returns the text with these edits, which are in order and do not overlap.
pub(super) fn apply(text: &str, edits: &[Edit]) -> String {
    let mut changed = String::new();
    let mut done = 0;
    for edit in edits {
        changed.push_str(&text[done..edit.at.start]);
        changed.push_str(&edit.text);
        done = edit.at.end;
    }
    changed + &text[done..]
}

/// Describes edits for the user: what goes and what comes, with the line, and nothing of what stays, which
/// may hold the secrets of others.
pub(super) fn described(text: &str, edits: &[Edit]) -> String {
    let mut description = String::new();
    for edit in edits {
        let removed = without_secret(&text[edit.at.clone()]);
        let added = &edit.text;
        if added.trim() == "," && removed.is_empty() {
            continue;
        }
        let before = text[..edit.at.start].matches('\n').count();
        let blank = &added[..added.len() - added.trim_start().len()];
        let line = 1 + before + blank.matches('\n').count();
        add(&mut description, format_args!("line {line}:\n"));
        let lead = match begins_line(text, edit.at.start) {
            true => indent(text, edit.at.start),
            false => "",
        };
        for (sign, text) in [('-', removed.as_str()), ('+', added)] {
            let lead = if text.starts_with(['\r', '\n']) {
                ""
            } else {
                lead
            };
            let text = text.trim_matches(['\r', '\n']);
            for (index, line) in text.lines().enumerate() {
                let lead = if index == 0 { lead } else { "" };
                let line = format!("{sign} {lead}{}", visible(line.trim_end()));
                add(&mut description, format_args!("{}\n", line.trim_end()));
            }
        }
    }
    description
}

/// Returns a line of a file so that it cannot pass for something else on a terminal.
fn visible(line: &str) -> String {
    text::visible(line).replace('\r', "\\r")
}

/// Hides the secret of the token in an entry of JSON, TOML or YAML.
fn without_secret(entry: &str) -> String {
    const NAME: &str = "PROXMOX_TOKEN_VALUE";
    let mut shown = String::new();
    let mut rest = entry;
    while let Some((before, after)) = rest.split_once(NAME) {
        shown.push_str(before);
        shown.push_str(NAME);
        let value = after.trim_start_matches(['"', '\'', ' ', '\t', ':', '=', '\r', '\n']);
        // The opening quotation mark counts as part of the lead.
        let lead = &after[..after.len() - value.len()];
        shown.push_str(lead);
        shown.push_str(text::MASK);
        rest = match lead.chars().last() {
            // Further lines belong to the value.
            _ if value.starts_with(['|', '>'])
                || lead.ends_with("\"\"\"")
                || lead.ends_with("'''") =>
            {
                ""
            }
            Some(mark @ ('"' | '\'')) => &value[end_of_string(value, mark)..],
            _ => &value[value.find(['\r', '\n']).unwrap_or(value.len())..],
        };
    }
    shown + rest
}

/// Returns where the closing mark of a string is, whose opening one came before `text`.
fn end_of_string(text: &str, mark: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = mark == '"',
            _ if c == mark => return at,
            _ => (),
        }
    }
    text.len()
}

/// Returns the line end that a text uses.
pub(super) fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Returns what the line of this place begins with: blanks and tabs.
pub(super) fn indent(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = &text[start..];
    let line = line.trim_start_matches('\u{feff}');
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// Returns true if nothing but blanks comes before this place in its line.
pub(super) fn begins_line(text: &str, at: usize) -> bool {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..at]
        .trim_start_matches('\u{feff}')
        .trim_matches([' ', '\t'])
        .is_empty()
}

/// Returns the number of the line of this place.
pub(super) fn line(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_secret_of_an_entry_in_every_format() {
        for entry in [
            r#""PROXMOX_TOKEN_VALUE": "s3cr\"et", "A": "kept""#,
            "\"PROXMOX_TOKEN_VALUE\":\r\n  \"s3cret\",\n\"A\": \"kept\"",
            "PROXMOX_TOKEN_VALUE = 's3cr\\et'\nA = \"kept\"",
            "PROXMOX_TOKEN_VALUE: s3cret\nA: kept",
            "'PROXMOX_TOKEN_VALUE': s3cret # x\nA: kept",
            "PROXMOX_TOKEN_VALUE: |\n  s3cret\n",
            "PROXMOX_TOKEN_VALUE = \"\"\"\ns3cret\n\"\"\"",
            "PROXMOX_TOKEN_VALUE: \"s3cret",
        ] {
            let shown = without_secret(entry);
            assert!(shown.contains("PROXMOX_TOKEN_VALUE"), "{shown}");
            assert!(shown.contains("(hidden)"), "{shown}");
            assert!(!shown.contains("s3cr") && !shown.contains("et"), "{shown}");
            assert_eq!(shown.contains("kept"), entry.contains("kept"), "{shown}");
        }
    }

    #[test]
    fn describes_nothing_of_what_stays() {
        let text = "{\n  \"other\": \"s3cret\"\n}\n";
        let at = text.find("\n}").expect("it is there");
        let edits = [Edit::insert(at, ","), Edit::insert(at, "\n  \"a\": [\n  ]")];
        assert_eq!(described(text, &edits), "line 3:\n+   \"a\": [\n+   ]\n");
        let edits = [Edit {
            at: 4..11,
            text: "\"b\"".to_owned(),
        }];
        assert_eq!(
            described(text, &edits),
            "line 2:\n-   \"other\"\n+   \"b\"\n"
        );
    }
}
