//! Where an entry goes in JSON, as clients read it: with comments, trailing commas and a byte order mark.

use std::ops::Range;

use serde_json::Value;

use super::edit::{self, Edit, begins_line, indent};
use super::item::{Item, Layout, member};
use super::{Foreign, Server};

/// How deep values may be nested: more than any configuration is.
const DEPTH: usize = 64;

/// A value with its place in the text.
struct Node {
    at: Range<usize>,
    kind: Kind,
}

enum Kind {
    Object(Vec<Part>),
    Array(Vec<Part>),
    Scalar(Value),
}

/// A member of an object, or an item of an array, whose name is empty.
struct Part {
    name: String,
    start: usize,
    node: Node,
    /// The end of the comma that follows.
    comma: Option<usize>,
}

/// Returns the edits that make `server` an entry of the object at the first of these paths that exists, or
/// else at the last; none if it is one already.
pub(super) fn place(
    text: &str,
    paths: &[&'static [&'static str]],
    server: &Server,
) -> Result<Vec<Edit>, String> {
    let Some(root) = parse(text)? else {
        let path = paths.last().copied().unwrap_or_default();
        let whole = Item::Map(vec![(server.name, server.item.clone())]).below(path);
        return Ok(vec![document(text, &whole)]);
    };
    let mut last = (&root, &[][..]);
    for path in paths {
        last = descend(text, &root, path)?;
        if last.1.is_empty() {
            break;
        }
    }
    let (object, missing) = last;
    let parts = object.parts(text)?;
    let Some((name, deeper)) = missing.split_first() else {
        return match only(text, parts, server.name)? {
            None => Ok(insert(text, &root, object, Some(server.name), &server.item)),
            Some(part) => replace(text, object, part, server),
        };
    };
    let item = Item::Map(vec![(server.name, server.item.clone())]).below(deeper);
    Ok(insert(text, &root, object, Some(name), &item))
}

/// Returns the edits that add an item to the array of this name, unless it has one with this `id`.
pub(super) fn add_to_list(
    text: &str,
    name: &'static str,
    id: &str,
    item: &Item,
) -> Result<Vec<Edit>, String> {
    let Some(root) = parse(text)? else {
        let whole = Item::List(vec![item.clone()]).below(&[name]);
        return Ok(vec![document(text, &whole)]);
    };
    let Some(list) = only(text, root.parts(text)?, name)? else {
        let list = Item::List(vec![item.clone()]);
        return Ok(insert(text, &root, &root, Some(name), &list));
    };
    let Kind::Array(items) = &list.node.kind else {
        return Err(format!("{} is not a list", at(text, list)));
    };
    if items.iter().any(|part| part.node.value()["id"] == id) {
        return Ok(Vec::new());
    }
    Ok(insert(text, &root, &list.node, None, item))
}

/// Returns the edit that gives a text without a value one.
fn document(text: &str, whole: &Item) -> Edit {
    let newline = edit::newline(text);
    let lead = match text.is_empty() || text.ends_with(['\n', '\u{feff}']) {
        true => "",
        false => newline,
    };
    let layout = Layout {
        newline,
        ..Layout::PLAIN
    };
    let json = whole.json(&layout);
    Edit::insert(text.len(), format!("{lead}{json}{newline}"))
}

/// Follows a path as far as it exists; returns what is missing of it as well.
fn descend<'n, 'p>(
    text: &str,
    root: &'n Node,
    path: &'p [&'static str],
) -> Result<(&'n Node, &'p [&'static str]), String> {
    let mut node = root;
    for (index, name) in path.iter().enumerate() {
        match only(text, node.parts(text)?, name)? {
            Some(part) if matches!(part.node.kind, Kind::Object(_)) => node = &part.node,
            Some(part) => return Err(format!("{} is not an object", at(text, part))),
            None => return Ok((node, &path[index..])),
        }
    }
    Ok((node, &[]))
}

/// Returns the member of this name; which of two a client would take is not known.
fn only<'n>(text: &str, parts: &'n [Part], name: &str) -> Result<Option<&'n Part>, String> {
    let mut named = parts.iter().filter(|part| part.name == name);
    let found = named.next();
    match named.next() {
        Some(second) => Err(format!("{} is there twice", at(text, second))),
        None => Ok(found),
    }
}

/// Names a member with its line.
fn at(text: &str, part: &Part) -> String {
    format!("{:?} in line {}", part.name, edit::line(text, part.start))
}

/// Returns the edits that add a member to an object, or an item to an array, as its last.
fn insert(text: &str, root: &Node, into: &Node, name: Option<&str>, item: &Item) -> Vec<Edit> {
    let render = |layout: &Layout| match name {
        Some(name) => member(name, item, layout),
        None => item.json(layout),
    };
    let parts = match &into.kind {
        Kind::Object(parts) | Kind::Array(parts) => parts.as_slice(),
        Kind::Scalar(_) => &[],
    };
    let (newline, unit) = (edit::newline(text), root.unit(text));
    let close = into.at.end - 1;
    let outer = match begins_line(text, close) {
        true => indent(text, close),
        false => indent(text, into.at.start),
    };
    let deeper = match parts.last() {
        Some(last) if begins_line(text, last.start) => indent(text, last.start).to_owned(),
        _ => format!("{outer}{unit}"),
    };
    let lines = Layout {
        newline,
        indent: &deeper,
        unit,
        on_one_line: false,
    };
    let one_line = Layout {
        on_one_line: true,
        ..lines
    };
    match parts.last() {
        Some(last) => {
            let part = match into.is_on_one_line(text) {
                true => format!(" {}", render(&one_line)),
                false => format!("{newline}{deeper}{}", render(&lines)),
            };
            let Some(end) = last.comma else {
                let end = last.node.at.end;
                let place = end_of_comments(text, end..close);
                return vec![Edit::insert(end, ","), Edit::insert(place, part)];
            };
            // As the others do, it ends with a comma.
            let place = end_of_comments(text, end..close);
            vec![Edit::insert(place, part + ",")]
        }
        None if into.at != root.at && root.is_on_one_line(text) => {
            let part = format!(" {} ", render(&one_line));
            vec![Edit::insert(into.at.start + 1, part)]
        }
        None => {
            let open = into.at.start + 1;
            let place = match last_comment(text, open..close) {
                Some(end) => end,
                None if into.is_on_one_line(text) => close,
                None => open,
            };
            let mut part = format!("{newline}{deeper}{}", render(&lines));
            if !text[place..close].contains('\n') {
                part.push_str(newline);
                part.push_str(outer);
            }
            vec![Edit::insert(place, part)]
        }
    }
}

/// Returns the edit that replaces an entry of this program; another program's is left alone.
fn replace(text: &str, object: &Node, old: &Part, server: &Server) -> Result<Vec<Edit>, String> {
    let value = old.node.value();
    if value == server.item.value() {
        return Ok(Vec::new());
    }
    let command = match &value["command"] {
        Value::Array(words) => words.first().and_then(Value::as_str),
        command => command.as_str(),
    };
    if !server.is_own(command) {
        return Err(Foreign(server.name, command).to_string());
    }
    // Our own lines may have the indentation that the user gave them.
    let unit = match old.node.is_on_one_line(text) {
        true => object.unit(text),
        false => old.node.unit(text),
    };
    let layout = Layout {
        newline: edit::newline(text),
        indent: indent(text, old.start),
        unit,
        on_one_line: object.is_on_one_line(text),
    };
    Ok(vec![Edit {
        at: old.start..old.node.at.end,
        text: member(server.name, &server.item, &layout),
    }])
}

/// Returns the end of the comments that follow in the same line; they belong to what comes before.
fn end_of_comments(text: &str, within: Range<usize>) -> usize {
    let mut end = within.start;
    let mut at = within.start;
    while at < within.end {
        let rest = &text[at..within.end];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let rest = &rest[blank..];
        let length = match comment(rest) {
            Some(length) if !rest[..length].contains('\n') => length,
            _ => break,
        };
        at += blank + length;
        end = at;
    }
    end
}

/// Returns the end of the last comment of blank text.
fn last_comment(text: &str, within: Range<usize>) -> Option<usize> {
    let mut end = None;
    let mut at = within.start;
    while at < within.end {
        match comment(&text[at..within.end]) {
            Some(length) => {
                at += length;
                end = Some(at);
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    end
}

/// Returns the length of the comment that a text begins with, without the line end.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        let end = text.find('\n').unwrap_or(text.len());
        return Some(text[..end].trim_end_matches('\r').len());
    }
    let rest = text.strip_prefix("/*")?;
    rest.find("*/").map(|end| end + 4)
}

impl Node {
    fn parts(&self, text: &str) -> Result<&[Part], String> {
        match &self.kind {
            Kind::Object(parts) => Ok(parts),
            _ => Err(format!(
                "the value in line {} is not an object",
                edit::line(text, self.at.start)
            )),
        }
    }

    fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::Array(parts) => parts.iter().map(|part| part.node.value()).collect(),
            Kind::Object(parts) => {
                let members = parts.iter();
                members
                    .map(|part| (part.name.clone(), part.node.value()))
                    .collect()
            }
        }
    }

    fn is_on_one_line(&self, text: &str) -> bool {
        !text[self.at.clone()].contains('\n')
    }

    /// Returns what deeper lines of this value begin with in addition.
    fn unit<'t>(&self, text: &'t str) -> &'t str {
        let (Kind::Object(parts) | Kind::Array(parts)) = &self.kind else {
            return Layout::PLAIN.unit;
        };
        let outer = indent(text, self.at.start);
        let units = parts.iter().filter(|part| begins_line(text, part.start));
        let mut units = units.filter_map(|part| indent(text, part.start).strip_prefix(outer));
        units
            .find(|unit| !unit.is_empty())
            .unwrap_or(Layout::PLAIN.unit)
    }
}

/// Returns the value of a text; `None` if it has only blanks and comments.
fn parse(text: &str) -> Result<Option<Node>, String> {
    let mut scanner = Scanner {
        text,
        at: text.len() - text.trim_start_matches('\u{feff}').len(),
    };
    let parsed = scanner.document();
    parsed.map_err(|what| format!("line {}: {what}", edit::line(text, scanner.at)))
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<Option<Node>, String> {
        self.skip()?;
        if self.rest().is_empty() {
            return Ok(None);
        }
        let root = self.node(DEPTH)?;
        self.skip()?;
        match self.rest().is_empty() {
            true => Ok(Some(root)),
            false => Err("something follows the value".to_owned()),
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Skips blanks and comments.
    fn skip(&mut self) -> Result<(), String> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.at += blank;
            match comment(self.rest()) {
                Some(length) => self.at += length,
                None if self.rest().starts_with("/*") => {
                    return Err("a comment has no end".to_owned());
                }
                None => return Ok(()),
            }
        }
    }

    fn take(&mut self, c: char) -> bool {
        let is_next = self.rest().starts_with(c);
        self.at += usize::from(is_next);
        is_next
    }

    fn node(&mut self, depth: usize) -> Result<Node, String> {
        let start = self.at;
        let kind = match self.rest().chars().next() {
            _ if depth == 0 => return Err("values are nested too deeply".to_owned()),
            Some('{') => Kind::Object(self.parts('}', depth)?),
            Some('[') => Kind::Array(self.parts(']', depth)?),
            Some('"') => Kind::Scalar(Value::String(self.string()?)),
            _ => Kind::Scalar(self.word()?),
        };
        Ok(Node {
            at: start..self.at,
            kind,
        })
    }

    /// Reads an object or array from its opening bracket to its closing one.
    fn parts(&mut self, close: char, depth: usize) -> Result<Vec<Part>, String> {
        self.at += 1;
        let mut parts = Vec::new();
        loop {
            self.skip()?;
            if self.take(close) {
                return Ok(parts);
            }
            if parts.last().is_some_and(|part: &Part| part.comma.is_none()) {
                return Err(format!("a comma or {close} is missing"));
            }
            let start = self.at;
            let mut name = String::new();
            if close == '}' {
                name = self.string()?;
                self.skip()?;
                if !self.take(':') {
                    return Err("a colon is missing".to_owned());
                }
                self.skip()?;
            }
            let node = self.node(depth - 1)?;
            self.skip()?;
            let comma = self.take(',').then_some(self.at);
            parts.push(Part {
                name,
                start,
                node,
                comma,
            });
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let rest = self.rest();
        let inner = rest.strip_prefix('"').ok_or("a string is missing")?;
        let mut is_escaped = false;
        let end = inner.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let end = end.ok_or("a string has no end")? + 2;
        let string = serde_json::from_str(&rest[..end]);
        let string = string.map_err(|_| "a string is not valid JSON")?;
        self.at += end;
        Ok(string)
    }

    /// Reads a number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Value, String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let value = serde_json::from_str(&rest[..end]).map_err(|_| "a value is not valid JSON")?;
        self.at += end;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::edit::apply;
    use super::*;

    const SERVERS: &[&[&str]] = &[&["mcpServers"]];

    fn server() -> Server {
        let variables = Item::Map(vec![
            ("PROXMOX_HOST", Item::text("pve1")),
            ("PROXMOX_USER", Item::text(r#"a"b'c\d{}//@pve"#)),
        ]);
        Server {
            name: "proxmox",
            item: Item::Map(vec![
                ("command", Item::text("/opt/proxmox-mcp")),
                ("args", Item::texts(["--demo", "-x"])),
                ("env", variables),
            ]),
            program: "proxmox-mcp".to_owned(),
        }
    }

    /// Parses JSON with comments, trailing commas and a byte order mark, another way than this module does:
    /// it blanks what `serde_json` does not know.
    fn parsed(text: &str) -> Value {
        let mut plain: Vec<char> = text.trim_start_matches('\u{feff}').chars().collect();
        let mut at = 0;
        let mut comma = None;
        while at < plain.len() {
            let two: String = plain[at..].iter().take(2).collect();
            let end = match (&*two, plain[at]) {
                ("//", _) => plain[at..]
                    .iter()
                    .position(|c| *c == '\n')
                    .map(|end| at + end),
                ("/*", _) => {
                    let rest: String = plain[at..].iter().collect();
                    let end = rest.find("*/").expect("it has an end");
                    Some(at + rest[..end].chars().count() + 2)
                }
                (_, '"') => {
                    comma = None;
                    at += 1;
                    while plain[at] != '"' {
                        at += if plain[at] == '\\' { 2 } else { 1 };
                    }
                    at += 1;
                    continue;
                }
                (_, ',') => {
                    comma = Some(at);
                    at += 1;
                    continue;
                }
                (_, c) => {
                    if let (']' | '}', Some(comma)) = (c, comma) {
                        plain[comma] = ' ';
                    }
                    if !c.is_whitespace() {
                        comma = None;
                    }
                    at += 1;
                    continue;
                }
            };
            let end = end.unwrap_or(plain.len());
            plain[at..end].fill(' ');
            at = end;
        }
        let plain: String = plain.into_iter().collect();
        match plain.trim() {
            "" => json!({}),
            plain => serde_json::from_str(plain).unwrap_or_else(|err| panic!("{err}: {text}")),
        }
    }

    /// Files of every kind into which an entry can be put.
    const FILES: &[&str] = &[
        "",
        "\n",
        "\u{feff}",
        "// nothing yet",
        "/* nothing\n yet */\n",
        "{}",
        "{ }",
        "{\n}\n",
        "{\n\n}",
        "\u{feff}{\r\n}\r\n",
        "{ /* nothing } yet */ }",
        "{\n  // nothing } yet\n}\n",
        "{ // nothing\n}",
        r#"{"mcpServers":{}}"#,
        r#"{"mcpServers": { }, "z": 1}"#,
        r#"{"a": 1}"#,
        r#"{"a": 1,}"#,
        r#"{"a": 1 /* one */ }"#,
        "{\"a\": 1 // \"mcpServers\": {\n}",
        "{\"a\": 1, // one\n}",
        "{\"a\": 1 /* one\n two */ }",
        "{\n  \"a\": 1, /* one */ // two\n}\n",
        "{\n  \"a\": 1 }",
        "{ \"a\": 1,\n  \"b\": [ 2,\n 3, ] }",
        "{\n  \"mcpServers\": {\n  }\n}\n",
        "{\n  \"mcpServers\": {}\n}\n",
        "{\n  \"mcpServers\": {\n    // \"proxmox\": {}\n  },\n}\n",
        "{\n\t\"mcpServers\": {\n\t\t\"other\": {\n\t\t\t\"command\": \"x\"\n\t\t}\n\t}\n}\n",
        "{\r\n    \"mcpServers\": {\r\n        \"other\": { \"command\": \"x\" }, // last\r\n    },\r\n}\r\n",
        "{\n  \"mcpServers\": {\n    \"other\": { \"env\": { \"proxmox\": \"{\" } }\n  }\n}\n",
        "{\n  \"a\": { \"mcpServers\": { \"proxmox\": 1 } },\n  \"b\": \"mcpServers\"\n}\n",
        "{\n  \"a\": \"} , { // \\\" /*\",\n  \"mcpServers\": { \"x\": null, \"y\": -1.5e3, \"z\": [true, false] }\n}",
        "{\n  \"mcp\\u0053ervers\": { \"ö\": \"ü\" }\n}",
        "{\n  \"mcpServers\":\n  {\n    \"other\":\n    {\n    }\n  }\n}",
    ];

    #[test]
    fn adds_the_entry_and_changes_nothing_else() {
        for file in FILES {
            let edits =
                place(file, SERVERS, &server()).unwrap_or_else(|err| panic!("{err}: {file}"));
            assert!(edits.iter().all(|edit| edit.at.is_empty()), "{file}");
            let changed = apply(file, &edits);
            let mut expected = parsed(file);
            expected["mcpServers"]["proxmox"] = server().item.value();
            assert_eq!(parsed(&changed), expected, "{file}\n{changed}");

            // Without what was inserted it is the file that it was.
            let mut before = changed.clone();
            for edit in edits.iter().rev() {
                let start = edit.at.start
                    + edits
                        .iter()
                        .take_while(|other| !std::ptr::eq(*other, edit))
                        .map(|other| other.text.len())
                        .sum::<usize>();
                before.replace_range(start..start + edit.text.len(), "");
            }
            assert_eq!(before, *file);

            let lines = changed.matches('\n').count();
            let with_return = changed.matches("\r\n").count();
            let is_windows = file.contains("\r\n");
            assert_eq!(
                with_return,
                if is_windows { lines } else { 0 },
                "{changed:?}"
            );

            // A second time there is nothing to do.
            let again = place(&changed, SERVERS, &server()).expect("it is understood");
            assert!(again.is_empty(), "{changed}");
        }
    }

    #[test]
    fn follows_the_layout_of_the_file() {
        let short = Server {
            item: Item::Map(vec![
                ("command", Item::text("x")),
                ("env", Item::Map(Vec::new())),
            ]),
            ..server()
        };
        for (file, expected) in [
            (
                "{\n\t\"mcpServers\": {\n\t\t\"other\": {} // last\n\t}\n}\n",
                "{\n\t\"mcpServers\": {\n\t\t\"other\": {}, // last\n\t\t\"proxmox\": {\n\t\t\t\"command\": \"x\",\n\t\t\t\"env\": {}\n\t\t}\n\t}\n}\n",
            ),
            (
                "{\n    \"a\": 1,\n}\n",
                "{\n    \"a\": 1,\n    \"mcpServers\": {\n        \"proxmox\": {\n            \"command\": \"x\",\n            \"env\": {}\n        }\n    },\n}\n",
            ),
            (
                "{\"mcpServers\": {}, \"a\": 1}",
                "{\"mcpServers\": { \"proxmox\": { \"command\": \"x\", \"env\": {} } }, \"a\": 1}",
            ),
            (
                "{\"a\": 1}",
                "{\"a\": 1, \"mcpServers\": { \"proxmox\": { \"command\": \"x\", \"env\": {} } }}",
            ),
        ] {
            let edits = place(file, SERVERS, &short).expect("it is understood");
            assert_eq!(apply(file, &edits), expected);
        }
    }

    #[test]
    fn replaces_an_entry_of_this_program_alone() {
        let own = |command: &str| {
            format!(
                "{{\n   \"mcpServers\": {{\n      // mine\n      \"proxmox\": {{ \"command\": {command}, \"old\": [1, {{}}] }}, // end\n      \"z\": 1\n   }}\n}}"
            )
        };
        for command in [
            r#""proxmox-mcp""#,
            r#""/a/proxmox-mcp""#,
            r#""C:\\a\\proxmox-mcp.exe""#,
            r#"["/a/proxmox-mcp", "x"]"#,
        ] {
            let file = own(command);
            let edits = place(&file, SERVERS, &server()).expect("it is replaced");
            let [edit] = &edits[..] else {
                panic!("{edits:?}")
            };
            assert!(
                file[edit.at.clone()].starts_with("\"proxmox\": {")
                    && file[edit.at.clone()].ends_with("[1, {}] }")
            );
            let changed = apply(&file, &edits);
            assert!(
                changed.contains("\n      // mine\n      \"proxmox\": {\n         \"command\""),
                "{changed}"
            );
            assert!(
                changed.ends_with("\n      }, // end\n      \"z\": 1\n   }\n}"),
                "{changed}"
            );
            let mut expected = parsed(&file);
            expected["mcpServers"]["proxmox"] = server().item.value();
            assert_eq!(parsed(&changed), expected);
        }
        for command in [
            r#""npx""#,
            r#""proxmox-mcp-server""#,
            "1",
            "[]",
            r#"["uvx", "proxmox-mcp"]"#,
        ] {
            let err = place(&own(command), SERVERS, &server()).expect_err("it is another's");
            assert!(err.starts_with("proxmox is another server there"), "{err}");
        }
        let err = place(&own(r#""a\u001b\nb""#), SERVERS, &server()).expect_err("it is another's");
        assert!(!err.contains(['\u{1b}', '\n']), "{err}");
    }

    #[test]
    fn leaves_alone_what_it_does_not_understand() {
        let deep = "[".repeat(100_000);
        for (file, says) in [
            ("[]", "the value in line 1 is not an object"),
            ("1", "not an object"),
            (
                "{\n\"mcpServers\": []}",
                "\"mcpServers\" in line 2 is not an object",
            ),
            ("{\"mcpServers\": null}", "is not an object"),
            (
                "{\"mcpServers\": {}, \n\"mcpServers\": {}}",
                "\"mcpServers\" in line 2 is there twice",
            ),
            (
                "{\"mcpServers\": {\"proxmox\": {}, \"proxmox\": {}}}",
                "\"proxmox\" in line 1 is there twice",
            ),
            (
                "{\"mcpServers\": {}, \"mcp\\u0053ervers\": {}}",
                "is there twice",
            ),
            ("{} {}", "something follows the value"),
            ("{", "a string is missing"),
            ("{\n\"a\"\n}", "line 3: a colon is missing"),
            ("{\"a\": }", "a value is not valid JSON"),
            ("{\"a\": 1 \"b\": 2}", "a comma or } is missing"),
            ("{\"a\": 1,, \"b\": 2}", "a string is missing"),
            ("{,}", "a string is missing"),
            ("{'a': 1}", "a string is missing"),
            ("{a: 1}", "a string is missing"),
            ("{\"a\": 01}", "a value is not valid JSON"),
            ("{\"a\": NaN}", "a value is not valid JSON"),
            ("{\"a\": \"\n\"}", "a string is not valid JSON"),
            ("{\"a\": \"x}", "a string has no end"),
            ("{} /* x", "a comment has no end"),
            ("# x\n{}", "a value is not valid JSON"),
            (&deep, "values are nested too deeply"),
        ] {
            let err = place(file, SERVERS, &server()).expect_err(file);
            assert!(err.contains(says), "{err}: {says}");
        }
    }

    #[test]
    fn takes_the_path_that_is_there() {
        let paths: &[&[&str]] = &[&["mcp", "servers"], &["mcp"]];
        for (file, place_of) in [
            ("{}", "/mcp/proxmox"),
            ("{\"mcp\": {\"other\": {}}}", "/mcp/proxmox"),
            ("{\"mcp\": {\"servers\": {}}}", "/mcp/servers/proxmox"),
        ] {
            let edits = place(file, paths, &server()).expect("it is understood");
            let changed = parsed(&apply(file, &edits));
            assert_eq!(
                changed.pointer(place_of),
                Some(&server().item.value()),
                "{changed}"
            );
        }
    }

    #[test]
    fn adds_an_item_to_a_list_once() {
        let item = Item::Map(vec![("id", Item::text("mine"))]);
        for file in [
            "",
            "{}",
            "{\"inputs\": []}",
            "{\n  \"inputs\": [\n    { \"id\": \"other\" }, // x\n  ],\n  \"servers\": {}\n}",
        ] {
            let edits = add_to_list(file, "inputs", "mine", &item).expect("it is understood");
            let changed = apply(file, &edits);
            let mut expected = parsed(file);
            let mut list = expected["inputs"].as_array().cloned().unwrap_or_default();
            list.push(item.value());
            expected["inputs"] = Value::from(list);
            assert_eq!(parsed(&changed), expected, "{changed}");
            let again = add_to_list(&changed, "inputs", "mine", &item).expect("it is understood");
            assert!(again.is_empty());
        }
        let err = add_to_list("{\"inputs\": {}}", "inputs", "mine", &item).expect_err("no list");
        assert_eq!(err, "\"inputs\" in line 1 is not a list");
    }
}
