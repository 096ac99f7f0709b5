//! Where an entry goes in YAML: into a list at the top, written as a block or empty.
//!
//! This reads lines, and no more of YAML than it takes to know which of them are keys, entries or the rest of
//! a value. What is seldom written (several documents, explicit keys, tabs) is an error.

use std::ops::Range;

use super::edit::{self, Edit};
use super::item::{Item, Layout};
use super::{Foreign, Server};

/// A line that begins a value.
struct Line {
    /// The text of the line without its line end, in bytes of the whole text.
    at: Range<usize>,
    /// The columns of its dashes.
    dashes: Vec<usize>,
    /// The column of what follows them.
    column: usize,
    key: Option<String>,
    value: String,
    /// Where the value begins.
    value_at: usize,
    /// The end of the last line that belongs to the value, without its line end.
    end: usize,
    /// Whether all line ends after the value belong to it.
    keeps_line_ends: bool,
}

/// Returns the edits that make `server` an entry of the list `root`; none if it is one already. `header` is
/// what a new file begins with.
pub(super) fn place(
    text: &str,
    root: &str,
    header: &str,
    server: &Server,
) -> Result<Vec<Edit>, String> {
    let newline = edit::newline(text);
    let lines = lines(text)?;
    let entry = |indent: &str| {
        server.item.yaml(&Layout {
            newline,
            indent,
            ..Layout::PLAIN
        })
    };
    let is_root = |line: &Line| line.is_key_of_root() && line.key.as_deref() == Some(root);
    let mut roots = lines.iter().enumerate().filter(|(_, line)| is_root(line));
    let Some((index, key)) = roots.next() else {
        let mut lead = match text.is_empty() || text.ends_with(['\n', '\u{feff}']) {
            true => String::new(),
            false => newline.to_owned(),
        };
        match lines.last() {
            None => lead.push_str(&header.replace('\n', newline)),
            Some(last) => last.may_be_followed(text)?,
        }
        let entry = entry("  ");
        let added = format!("{lead}{root}:{newline}  {entry}{newline}");
        return Ok(vec![Edit::insert(text.len(), added)]);
    };
    if let Some((_, second)) = roots.next() {
        return Err(format!(
            "{root} is there twice, also in line {}",
            second.line(text)
        ));
    }
    let value = key.value.as_str();
    if let Some(inner) = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        if !inner.trim().is_empty() {
            let line = key.line(text);
            return Err(format!("{root} in line {line} is written in brackets"));
        }
        let before = text[..key.value_at].trim_end_matches(' ').len();
        let brackets = Edit {
            at: before..key.value_at + value.len(),
            text: String::new(),
        };
        let added = format!("{newline}  {}", entry("  "));
        return Ok(vec![brackets, Edit::insert(key.end, added)]);
    }
    if !value.is_empty() {
        return Err(format!("{root} in line {} is not a list", key.line(text)));
    }
    let below = &lines[index + 1..];
    let below = &below[..below
        .iter()
        .position(Line::is_key_of_root)
        .unwrap_or(below.len())];
    let Some(first) = below.first() else {
        return Ok(vec![Edit::insert(
            key.end,
            format!("{newline}  {}", entry("  ")),
        )]);
    };
    let Some(&column) = first.dashes.first() else {
        return Err(format!("{root} in line {} is not a list", key.line(text)));
    };
    let is_entry = |line: &Line| line.dashes.first() == Some(&column);
    if let Some(line) = below
        .iter()
        .find(|line| !is_entry(line) && line.column <= column)
    {
        return Err(format!(
            "line {} does not fit the list above it",
            line.line(text)
        ));
    }
    let blank = " ".repeat(column);
    let starts: Vec<usize> = (0..below.len())
        .filter(|index| is_entry(&below[*index]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([below.len()]);
    let entries = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &below[*start..end]);
    let mut named = entries.filter(|entry| member(entry, "name").as_deref() == Some(server.name));
    let (old, second) = (named.next(), named.next());
    if let Some(second) = second {
        return Err(format!(
            "{} is there twice, also in line {}",
            server.name,
            second[0].line(text)
        ));
    }
    let Some(old) = old else {
        let last = below.last().unwrap_or(first);
        last.may_be_followed(text)?;
        return Ok(vec![Edit::insert(
            last.end,
            format!("{newline}{blank}{}", entry(&blank)),
        )]);
    };
    let at = old[0].at.start + column..old.last().unwrap_or(&old[0]).end;
    let added = entry(&blank);
    if text[at.clone()] == added {
        return Ok(Vec::new());
    }
    let command = member(old, "command");
    if !server.is_own(command.as_deref()) {
        return Err(Foreign(server.name, command.as_deref()).to_string());
    }
    Ok(vec![Edit { at, text: added }])
}

/// Returns the value of a member of an entry, if it is a text on one line.
fn member(entry: &[Line], name: &str) -> Option<String> {
    let column = entry.first()?.column;
    let mut members = entry.iter().enumerate().filter(|(index, line)| {
        line.column == column && line.dashes.len() == usize::from(*index == 0)
    });
    let (_, line) = members.find(|(_, line)| line.key.as_deref() == Some(name))?;
    text_of(&line.value)
}

fn text_of(value: &str) -> Option<String> {
    match value.chars().next()? {
        '"' => serde_json::from_str(value).ok(),
        '\'' => {
            let inner = value.strip_prefix('\'')?.strip_suffix('\'')?;
            Some(inner.replace("''", "'"))
        }
        _ => Some(value.to_owned()),
    }
}

impl Line {
    fn is_key_of_root(&self) -> bool {
        self.column == 0 && self.key.is_some()
    }

    fn line(&self, text: &str) -> usize {
        edit::line(text, self.at.start)
    }

    /// Fails if what is inserted after this line would change its value.
    fn may_be_followed(&self, text: &str) -> Result<(), String> {
        match self.keeps_line_ends {
            true => Err(format!(
                "the text that begins in line {} counts the line ends after it",
                self.line(text)
            )),
            false => Ok(()),
        }
    }
}

/// Returns the lines of a block mapping that begin a value.
fn lines(text: &str) -> Result<Vec<Line>, String> {
    let mut lines: Vec<Line> = Vec::new();
    let mut rest = Rest::Nothing;
    let mut at = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut number = 0;
    while at < text.len() {
        number += 1;
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        let line = text[at..end].trim_end_matches('\r');
        let start = at;
        at = end + 1;
        let blank = line.len() - line.trim_start_matches(' ').len();
        let content = line[blank..].trim_end();
        let fail = |what: &str| Err(format!("line {number}: {what}"));
        if let Rest::Block { above } = rest
            && (content.is_empty() || blank > above)
        {
            extend(&mut lines, start, content.is_empty(), blank, content);
            continue;
        }
        if let Rest::Flow(flow) = &mut rest {
            if !flow
                .read(content)
                .map_err(|what| format!("line {number}: {what}"))?
            {
                extend(&mut lines, start, content.is_empty(), blank, content);
                continue;
            }
            extend(&mut lines, start, content.is_empty(), blank, content);
            rest = Rest::Nothing;
            continue;
        }
        rest = Rest::Nothing;
        let is_marker = content.starts_with("---") && blank == 0;
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if is_marker && lines.is_empty() && uncommented(&content[3..]).is_empty() {
            continue;
        }
        if is_marker || content == "..." {
            return fail("there are several documents");
        }
        if content.starts_with(['\t', '%', '?']) {
            return fail("this is not understood");
        }
        let (line, next) =
            read(start, blank, content).map_err(|what| format!("line {number}: {what}"))?;
        let follows_key = lines.iter().rev().find(|line| line.is_key_of_root());
        let fits = match (line.column, line.dashes.first()) {
            (0, None) => line.key.is_some(),
            // A list may begin in the column of its key.
            (_, Some(0)) => follows_key.is_some_and(|key| key.value.is_empty()),
            _ => follows_key.is_some(),
        };
        if !fits {
            return fail("this is not a member of a mapping");
        }
        lines.push(line);
        rest = next;
    }
    match rest {
        Rest::Flow(_) => Err("the last value has no end".to_owned()),
        Rest::Block { .. } if !text.ends_with('\n') => {
            // Another line end would change the text.
            if let Some(last) = lines.last_mut() {
                last.keeps_line_ends = true;
            }
            Ok(lines)
        }
        _ => Ok(lines),
    }
}

/// Counts a line as part of the value above it.
fn extend(lines: &mut [Line], start: usize, is_blank: bool, blank: usize, content: &str) {
    if let Some(last) = lines.last_mut()
        && !is_blank
    {
        last.end = start + blank + content.len();
    }
}

/// What the lines below may belong to.
enum Rest {
    Nothing,
    /// A text in lines that are indented more than this column.
    Block {
        above: usize,
    },
    /// A string or brackets without their end.
    Flow(Flow),
}

/// Reads a line that begins a value; `blank` is its indentation.
fn read(start: usize, blank: usize, content: &str) -> Result<(Line, Rest), String> {
    let mut column = blank;
    let mut dashes = Vec::new();
    let mut rest = content;
    while rest == "-" || rest.starts_with("- ") {
        dashes.push(column);
        let next = rest[1..].trim_start_matches(' ');
        column += rest.len() - next.len();
        rest = next;
    }
    let (key, value) = match key(without_marks(rest)) {
        Some((key, value)) => (Some(key), value),
        None => (None, rest),
    };
    let value = without_marks(value.trim_start());
    let value_at = start + blank + content.len() - value.len();
    let parent = match (&key, dashes.last()) {
        (None, Some(dash)) => *dash,
        _ => column,
    };
    let mut keeps_line_ends = false;
    let next = match value.chars().next() {
        Some('|' | '>') => {
            keeps_line_ends = uncommented(value).contains('+');
            Rest::Block { above: parent }
        }
        Some('"' | '\'' | '[' | '{') => {
            let mut flow = Flow::default();
            match flow.read(value)? {
                true => Rest::Nothing,
                false => Rest::Flow(flow),
            }
        }
        _ => Rest::Nothing,
    };
    let end = start + blank + content.len();
    let line = Line {
        at: start..end,
        dashes,
        column,
        key,
        value: uncommented(value).to_owned(),
        value_at,
        end,
        keeps_line_ends,
    };
    Ok((line, next))
}

/// Returns a key and what follows its colon.
fn key(content: &str) -> Option<(String, &str)> {
    let (key, rest) = match content.chars().next()? {
        '[' | '{' | '|' | '>' | '#' => return None,
        mark @ ('"' | '\'') => {
            let mut flow = Flow::default();
            let end = flow.end(content).ok()??;
            let key = text_of(&content[..end])?;
            let rest = content[end..].trim_start_matches(' ');
            return match content[..end].ends_with(mark) && ends_key(rest) {
                true => Some((key, rest.strip_prefix(':')?)),
                false => None,
            };
        }
        _ => {
            let colons = content.match_indices(':').map(|(at, _)| at);
            let at = colons.into_iter().find(|at| ends_key(&content[*at..]))?;
            (&content[..at], &content[at + 1..])
        }
    };
    (!key.contains(" #")).then(|| (key.trim_end().to_owned(), rest))
}

/// Returns true if a colon begins the text and ends a key.
fn ends_key(text: &str) -> bool {
    let rest = text.strip_prefix(':');
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// Skips tags and anchors, which stand before what they are about.
fn without_marks(content: &str) -> &str {
    match content.starts_with(['&', '!']) {
        true => {
            let end = content.find(' ').unwrap_or(content.len());
            without_marks(content[end..].trim_start())
        }
        false => content,
    }
}

/// Returns a value without the comment that follows it.
fn uncommented(value: &str) -> &str {
    let end = match value.chars().next() {
        Some('#') => 0,
        Some('"' | '\'' | '[' | '{') => {
            let end = Flow::default().end(value);
            end.ok().flatten().unwrap_or(value.len())
        }
        _ => value.find(" #").unwrap_or(value.len()),
    };
    value[..end].trim_end()
}

/// A string or brackets that are read line by line.
#[derive(Default)]
struct Flow {
    brackets: Vec<char>,
    string: Option<char>,
}

impl Flow {
    /// Reads a line; returns true if the value ends in it, with nothing but a comment after it.
    fn read(&mut self, line: &str) -> Result<bool, String> {
        match self.end(line)? {
            None => Ok(false),
            Some(end) => {
                let rest = &line[end..];
                match rest.trim_start().is_empty()
                    || rest.trim_start_matches([' ', '\t']).starts_with('#')
                {
                    true => Ok(true),
                    false => Err("something follows a value".to_owned()),
                }
            }
        }
    }

    /// Returns where the value ends in this line, if it does.
    fn end(&mut self, line: &str) -> Result<Option<usize>, String> {
        // A quotation mark or number sign within a word is part of it.
        let mut before = ' ';
        let mut may_begin = true;
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match self.string {
                Some('"') if c == '\\' => {
                    chars.next();
                }
                Some(mark) if c == mark => {
                    if mark == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                        chars.next();
                        continue;
                    }
                    self.string = None;
                    may_begin = false;
                }
                Some(_) => (),
                None => match c {
                    '"' | '\'' if may_begin => self.string = Some(c),
                    '#' if before == ' ' || before == '\t' => return Ok(None),
                    '[' | '{' => {
                        self.brackets.push(c);
                        may_begin = true;
                    }
                    ']' | '}' => {
                        let open = if c == ']' { '[' } else { '{' };
                        if self.brackets.pop() != Some(open) {
                            return Err("brackets do not match".to_owned());
                        }
                        may_begin = false;
                    }
                    ',' | ':' => may_begin = true,
                    ' ' | '\t' => (),
                    _ => may_begin = false,
                },
            }
            before = c;
            if self.string.is_none() && self.brackets.is_empty() {
                return Ok(Some(at + c.len_utf8()));
            }
        }
        Ok(None)
    }
}

/// Returns what is printed: the list with this entry alone.
pub(super) fn document(root: &str, item: &Item) -> String {
    let entry = item.yaml(&Layout {
        indent: "  ",
        ..Layout::PLAIN
    });
    format!("{root}:\n  {entry}\n")
}

#[cfg(test)]
mod tests {
    use super::super::edit::apply;
    use super::*;

    const HEADER: &str = "name: x\nversion: 1\n";

    fn server() -> Server {
        Server {
            name: "proxmox",
            item: Item::Map(vec![
                ("name", Item::text("proxmox")),
                ("command", Item::text("/opt/proxmox-mcp")),
                (
                    "env",
                    Item::Map(vec![("A", Item::text("b\u{7f}\u{85}\"c"))]),
                ),
            ]),
            program: "proxmox-mcp".to_owned(),
        }
    }

    /// The entry of a list in this column.
    fn entry(column: usize) -> String {
        let blank = " ".repeat(column);
        format!(
            "{blank}- name: \"proxmox\"\n{blank}  command: \"/opt/proxmox-mcp\"\n{blank}  env:\n\
             {blank}    A: \"b\\u007f\\u0085\\\"c\"\n"
        )
    }

    #[test]
    fn adds_the_entry_where_the_list_ends() {
        let (two, zero, four) = (entry(2), entry(0), entry(4));
        let list = format!("mcpServers:\n{two}");
        for (file, expected) in [
            ("", format!("{HEADER}{list}")),
            ("# nothing\n", format!("# nothing\n{HEADER}{list}")),
            ("\u{feff}---\n", format!("\u{feff}---\n{HEADER}{list}")),
            ("a: 1", format!("a: 1\n{list}")),
            ("a: 1\n\n", format!("a: 1\n\n{list}")),
            (
                "# mcpServers:\na: |\n  mcpServers:\n    - x\n\n  y\nb: \"mcpServers:\n  x\"\n",
                format!(
                    "# mcpServers:\na: |\n  mcpServers:\n    - x\n\n  y\nb: \"mcpServers:\n  x\"\n{list}"
                ),
            ),
            (
                "a: [ # ]\n  'it''s ]', \"\\\"]\",\n  {b: it's}\n]\n",
                format!("a: [ # ]\n  'it''s ]', \"\\\"]\",\n  {{b: it's}}\n]\n{list}"),
            ),
            (
                "a:\n  mcpServers:\n    - x\n",
                format!("a:\n  mcpServers:\n    - x\n{list}"),
            ),
            (
                "mcpServers: # none\nb: 1\n",
                format!("mcpServers: # none\n{two}b: 1\n"),
            ),
            (
                "mcpServers:\n\n# c\n  - name: other # x\n    command: y\n\n# d\nb: 1\n",
                format!(
                    "mcpServers:\n\n# c\n  - name: other # x\n    command: y\n{two}\n# d\nb: 1\n"
                ),
            ),
            (
                "mcpServers:\n- name: other\n  args:\n  - proxmox\n  - name: proxmox\nb: 1\n",
                format!(
                    "mcpServers:\n- name: other\n  args:\n  - proxmox\n  - name: proxmox\n{zero}b: 1\n"
                ),
            ),
            (
                "'mcpServers':\n    -   name: other\n        x: >-\n          text:\n\n          - name: proxmox\n",
                format!(
                    "'mcpServers':\n    -   name: other\n        x: >-\n          text:\n\n          - name: proxmox\n{four}"
                ),
            ),
            (
                "mcpServers: &all\n  - *other\n  - uses: a/b\n    with: {name: proxmox}\nb: *all\n",
                format!(
                    "mcpServers: &all\n  - *other\n  - uses: a/b\n    with: {{name: proxmox}}\n{two}b: *all\n"
                ),
            ),
            (
                "mcpServers:\n  - name: x\n    d: some\n      more words\n",
                format!("mcpServers:\n  - name: x\n    d: some\n      more words\n{two}"),
            ),
        ] {
            let edits = place(file, "mcpServers", HEADER, &server())
                .unwrap_or_else(|err| panic!("{err}: {file}"));
            assert!(edits.iter().all(|edit| edit.at.is_empty()), "{file}");
            assert_eq!(apply(file, &edits), expected, "{file}");
            let again =
                place(&expected, "mcpServers", HEADER, &server()).expect("it is understood");
            assert!(again.is_empty(), "{expected}");

            let windows = file.replace('\n', "\r\n");
            if windows != file {
                let edits =
                    place(&windows, "mcpServers", HEADER, &server()).expect("it is understood");
                assert_eq!(apply(&windows, &edits), expected.replace('\n', "\r\n"));
            }
        }
    }

    #[test]
    fn an_empty_list_in_brackets_becomes_a_block() {
        for (file, line) in [
            ("a: 1\nmcpServers: [ ] # none\nb: 1\n", "mcpServers: # none"),
            ("a: 1\nmcpServers: &all []\nb: 1\n", "mcpServers: &all"),
        ] {
            let edits = place(file, "mcpServers", HEADER, &server()).expect("it is understood");
            let expected = format!("a: 1\n{line}\n{}b: 1\n", entry(2));
            assert_eq!(apply(file, &edits), expected);
            let again = place(&expected, "mcpServers", HEADER, &server());
            assert!(again.expect("it is understood").is_empty());
        }
    }

    #[test]
    fn replaces_an_entry_of_this_program_alone() {
        let file = "mcpServers:\n  - command: /a/proxmox-mcp # mine\n    name: 'proxmox'\n    env:\n      A: old\n\n  # next\n  - name: z\n";
        let edits = place(file, "mcpServers", HEADER, &server()).expect("it is replaced");
        let expected = format!("mcpServers:\n{}\n  # next\n  - name: z\n", entry(2));
        assert_eq!(apply(file, &edits), expected);
        for (file, says) in [
            (
                "mcpServers:\n  - name: proxmox\n    command: npx\n",
                "proxmox is another server there, with the command npx",
            ),
            (
                "mcpServers:\n  - name: \"proxmox\"\n    url: x\n",
                "proxmox is another server there",
            ),
            (
                "mcpServers:\n  - name: proxmox\n  - name: proxmox\n",
                "proxmox is there twice, also in line 3",
            ),
        ] {
            let err = place(file, "mcpServers", HEADER, &server()).expect_err(file);
            assert!(err.starts_with(says), "{err}");
        }
    }

    #[test]
    fn leaves_alone_what_it_does_not_understand() {
        for (file, says) in [
            (
                "mcpServers: [{name: x}]\n",
                "mcpServers in line 1 is written in brackets",
            ),
            ("mcpServers: [\n]\n", "is not a list"),
            ("mcpServers: {}\n", "mcpServers in line 1 is not a list"),
            ("mcpServers: null\n", "is not a list"),
            ("mcpServers: *other\n", "is not a list"),
            ("mcpServers:\n  name: x\n", "is not a list"),
            (
                "mcpServers:\n    - name: x\n  - name: y\n",
                "line 3 does not fit the list above it",
            ),
            (
                "a: 1\nmcpServers:\nb: 1\n'mcpServers':\n",
                "mcpServers is there twice, also in line 4",
            ),
            ("- a\n", "line 1: this is not a member of a mapping"),
            ("a: 1\n- b\n", "line 2: this is not a member of a mapping"),
            ("text\n", "this is not a member of a mapping"),
            ("  a: 1\n", "this is not a member of a mapping"),
            ("{a: 1}\n", "this is not a member of a mapping"),
            ("a: 1\n---\nb: 1\n", "there are several documents"),
            ("--- a\n", "there are several documents"),
            ("a: 1\n...\n", "there are several documents"),
            ("? a\n: 1\n", "this is not understood"),
            ("%YAML 1.2\n", "this is not understood"),
            ("a:\n\tb: 1\n", "this is not understood"),
            ("a: \"b\n", "the last value has no end"),
            ("a: [b}\n", "brackets do not match"),
            ("a: \"b\" c\n", "something follows a value"),
            (
                "a: |+\n  b\n",
                "the text that begins in line 1 counts the line ends after it",
            ),
            (
                "a: |\n  b",
                "the text that begins in line 1 counts the line ends after it",
            ),
            (
                "mcpServers:\n  - name: x\n    d: |+\n      b\n\nc: 1\n",
                "counts the line ends after it",
            ),
        ] {
            let err = place(file, "mcpServers", HEADER, &server()).expect_err(file);
            assert!(err.contains(says), "{err}: {says}");
        }
    }
}
