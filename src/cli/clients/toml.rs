//! Where an entry goes in TOML: as a table of its own at the end, or in the place of the one that is there.

use std::ops::Range;

use super::edit::{self, Edit};
use super::{Foreign, Server};

/// How deep values may be nested: more than any configuration is.
const DEPTH: usize = 64;

/// A table header, or a key with its value.
struct Statement {
    at: Range<usize>,
    path: Vec<String>,
    kind: Kind,
}

enum Kind {
    Table { is_array: bool },
    Pair { value: Range<usize> },
}

/// Returns the edits that make `server` a table below the table `root`; none if it is one already.
pub(super) fn place(text: &str, root: &str, server: &Server) -> Result<Vec<Edit>, String> {
    let newline = edit::newline(text);
    let table = server
        .item
        .toml(&format!("{root}.{}", server.name), newline);
    let own = [root, server.name];
    // The positions of the statements that are replaced.
    let mut places = Vec::new();
    let mut command = None;
    let mut current: Vec<String> = Vec::new();
    let statements = statements(text)?;
    for (index, statement) in statements.iter().enumerate() {
        let line = edit::line(text, statement.at.start);
        match &statement.kind {
            Kind::Table { is_array } => {
                current.clone_from(&statement.path);
                if *is_array && current.iter().zip(own).all(|(name, own)| name == own) {
                    let path = current.join(".");
                    return Err(format!("{path} in line {line} is an array of tables"));
                }
                if replaces(&current, own) {
                    places.push(index);
                }
            }
            Kind::Pair { value } if replaces(&current, own) => {
                places.push(index);
                if current.len() == own.len() && statement.path == ["command"] {
                    command = string(&text[value.clone()]);
                }
            }
            Kind::Pair { .. } if starts_with(&current, own) => (),
            // A table that is written as a value cannot be continued, and a dotted key makes one.
            Kind::Pair { .. } => {
                let path = [&current[..], &statement.path].concat();
                let is_root = current.is_empty() && path[0] == root;
                if is_root || starts_with(&path, own) {
                    return Err(format!(
                        "{} in line {line} is not written as a table",
                        statement.path.join(".")
                    ));
                }
            }
        }
    }
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        let lead = match text.trim_start_matches('\u{feff}') {
            "" => String::new(),
            rest if rest.ends_with("\n\n") || rest.ends_with("\n\r\n") => String::new(),
            rest if rest.ends_with('\n') => newline.to_owned(),
            _ => newline.repeat(2),
        };
        return Ok(vec![Edit::insert(text.len(), lead + &table)]);
    };
    if last - first + 1 != places.len() {
        let line = edit::line(text, statements[*first].at.start);
        return Err(format!(
            "the tables of {} in line {line} are not together",
            server.name
        ));
    }
    let at = statements[*first].at.start..statements[*last].at.end;
    if text[at.clone()] == *table.trim_end() {
        return Ok(Vec::new());
    }
    if !server.is_own(command.as_deref()) {
        return Err(Foreign(server.name, command.as_deref()).to_string());
    }
    Ok(vec![Edit {
        at,
        text: table.trim_end().to_owned(),
    }])
}

fn starts_with(path: &[String], own: [&str; 2]) -> bool {
    path.len() >= own.len() && path.iter().zip(own).all(|(name, own)| name == own)
}

/// Returns true for the table of the entry and that of its variables; what else is below it stays.
fn replaces(path: &[String], own: [&str; 2]) -> bool {
    starts_with(path, own) && (path.len() == own.len() || path[own.len()..] == ["env"])
}

fn statements(text: &str) -> Result<Vec<Statement>, String> {
    let mut scanner = Scanner {
        text,
        at: text.len() - text.trim_start_matches('\u{feff}').len(),
    };
    let mut statements = Vec::new();
    loop {
        scanner.skip(true);
        if scanner.rest().is_empty() {
            return Ok(statements);
        }
        let statement = scanner.statement();
        let statement =
            statement.map_err(|what| format!("line {}: {what}", edit::line(text, scanner.at)))?;
        statements.push(statement);
    }
}

/// Returns the text of a string on one line.
fn string(value: &str) -> Option<String> {
    match value.strip_prefix('\'') {
        Some(rest) => rest.strip_suffix('\'').map(str::to_owned),
        None => serde_json::from_str(value).ok(),
    }
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    /// Skips blanks and comments, also over line ends if `lines` is set.
    fn skip(&mut self, lines: bool) {
        loop {
            let rest = self.rest();
            let is_blank = |c: char| " \t\r".contains(c) || (lines && c == '\n');
            let blank = rest.len() - rest.trim_start_matches(is_blank).len();
            self.at += blank;
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn statement(&mut self) -> Result<Statement, String> {
        let start = self.at;
        let is_array = self.rest().starts_with("[[");
        let statement = if self.take("[") {
            let close = if is_array { "]]" } else { "]" };
            self.at += usize::from(is_array);
            let path = self.key()?;
            if !self.take(close) {
                return Err(format!("{close} is missing"));
            }
            Statement {
                at: start..self.at,
                path,
                kind: Kind::Table { is_array },
            }
        } else {
            let path = self.key()?;
            if !self.take("=") {
                return Err("an equals sign is missing".to_owned());
            }
            self.skip_blanks();
            let value = self.at;
            self.value(DEPTH)?;
            Statement {
                at: start..self.at,
                path,
                kind: Kind::Pair {
                    value: value..self.at,
                },
            }
        };
        self.skip(false);
        match self.rest().is_empty() || self.rest().starts_with('\n') {
            true => Ok(statement),
            false => Err("something follows in the same line".to_owned()),
        }
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    /// Reads a key, with dots and the blanks around it.
    fn key(&mut self) -> Result<Vec<String>, String> {
        let mut path = Vec::new();
        loop {
            self.skip_blanks();
            let start = self.at;
            let part = match self.rest().chars().next() {
                Some(mark @ ('"' | '\'')) => {
                    self.line_string(mark)?;
                    string(&self.text[start..self.at]).ok_or("a key cannot be read")?
                }
                _ => {
                    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                    let rest = self.rest();
                    self.at += rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                    self.text[start..self.at].to_owned()
                }
            };
            if self.at == start {
                return Err("a key is missing".to_owned());
            }
            path.push(part);
            self.skip_blanks();
            if !self.take(".") {
                return Ok(path);
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), String> {
        if depth == 0 {
            return Err("values are nested too deeply".to_owned());
        }
        for mark in ["\"\"\"", "'''"] {
            if self.take(mark) {
                return self.text_block(mark);
            }
        }
        match self.rest().chars().next() {
            Some(mark @ ('"' | '\'')) => self.line_string(mark),
            Some('[') => self.list("]", depth),
            Some('{') => self.list("}", depth),
            _ => {
                let rest = self.rest();
                let end = rest
                    .find([',', ']', '}', '#', '\r', '\n'])
                    .unwrap_or(rest.len());
                let word = rest[..end].trim_end_matches([' ', '\t']);
                // Numbers, truth values, dates and times.
                let is_part = |c: char| c.is_ascii_alphanumeric() || "+-_.: ".contains(c);
                if word.is_empty() || !word.chars().all(is_part) {
                    return Err("a value cannot be read".to_owned());
                }
                self.at += word.len();
                Ok(())
            }
        }
    }

    /// Reads a list of values, or of keys with values.
    fn list(&mut self, close: &str, depth: usize) -> Result<(), String> {
        self.at += 1;
        loop {
            self.skip(true);
            if self.take(close) {
                return Ok(());
            }
            if close == "}" {
                self.key()?;
                if !self.take("=") {
                    return Err("an equals sign is missing".to_owned());
                }
                self.skip(true);
            }
            self.value(depth - 1)?;
            self.skip(true);
            if !self.take(",") && !self.rest().starts_with(close) {
                return Err(format!("a comma or {close} is missing"));
            }
        }
    }

    fn line_string(&mut self, mark: char) -> Result<(), String> {
        let inner = &self.rest()[1..];
        let length = end_of_string(inner, &mark.to_string());
        let length = length.filter(|end| !inner[..*end].contains('\n'));
        self.at += length.ok_or("a string has no end")? + 2;
        Ok(())
    }

    /// Reads the rest of a string of several lines, which may end with two such marks more.
    fn text_block(&mut self, mark: &str) -> Result<(), String> {
        let length = end_of_string(self.rest(), mark);
        self.at += length.ok_or("a string has no end")? + mark.len();
        for _ in 0..2 {
            self.take(&mark[..1]);
        }
        Ok(())
    }
}

/// Returns where the closing mark of a string is, whose opening one came before `text`.
fn end_of_string(text: &str, mark: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if rest.starts_with(mark) {
            return Some(at);
        }
        let c = rest.chars().next()?;
        at += c.len_utf8();
        // Only strings with double marks have escapes.
        if c == '\\' && mark.starts_with('"') {
            at += text[at..].chars().next()?.len_utf8();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::edit::apply;
    use super::super::item::Item;
    use super::*;

    fn server() -> Server {
        Server {
            name: "proxmox",
            item: Item::Map(vec![
                ("command", Item::text("/opt/proxmox-mcp")),
                ("args", Item::texts([])),
                ("env", Item::Map(vec![("A", Item::text("b\u{7f}\"c"))])),
            ]),
            program: "proxmox-mcp".to_owned(),
        }
    }

    const TABLE: &str = "[mcp_servers.proxmox]\ncommand = \"/opt/proxmox-mcp\"\nargs = []\n\n\
                         [mcp_servers.proxmox.env]\nA = \"b\\u007f\\\"c\"\n";

    #[test]
    fn adds_the_table_at_the_end() {
        for file in [
            "",
            "\u{feff}",
            "a = 1",
            "a = 1\n",
            "a = 1\n\n",
            "a = 1\r\n",
            "# [mcp_servers.proxmox]\n",
            "a = '''\n[mcp_servers.proxmox]\n'''\n",
            "a = \"\"\"\n[mcp_servers.proxmox] \\\"\"\"\n\"\"\"\"\"\nb = '''x'''''\n",
            "a = [ # ]\n  [1, 2], \"]\", ']\\', # x\n  { b = \"}\", c.d = [] },\n]\n",
            "a = { mcp_servers = { proxmox = 1 } }\n",
            "[mcp_servers]\n\n[mcp_servers.other]\ncommand = \"x\"\nenv = { A = \"b\" }\n",
            "[mcp_servers.other]\nproxmox = 1\n[mcp_servers.other.env]\nproxmox = 'x'\n",
            "[a]\nmcp_servers.proxmox = 1\nt = 1979-05-27 07:32:00.5-07:00\n",
            "[[a]]\n[[a.b]] # c\n\"x y\".'z' . w = +1_000.5e-3\n",
            "[mcp_servers.proxmox.tools.x]\napproval_mode = \"approve\"\n",
            "[ mcp_servers . \"other\" ]\n",
        ] {
            let edits =
                place(file, "mcp_servers", &server()).unwrap_or_else(|err| panic!("{err}: {file}"));
            let changed = apply(file, &edits);
            let rest = changed.strip_prefix(file).expect("it only grows");
            let table = match file.contains("\r\n") {
                true => TABLE.replace('\n', "\r\n"),
                false => TABLE.to_owned(),
            };
            let lead = rest
                .strip_suffix(&table)
                .unwrap_or_else(|| panic!("{changed}"));
            assert_eq!(lead.trim(), "");
            let before = changed.strip_suffix(&table).expect("it is there");
            assert!(
                before.trim_start_matches('\u{feff}').is_empty()
                    || before.replace('\r', "").ends_with("\n\n"),
                "{changed:?}"
            );
            let again = place(&changed, "mcp_servers", &server()).expect("it is understood");
            assert!(again.is_empty(), "{changed}");
        }
    }

    #[test]
    fn replaces_the_tables_of_this_program_alone() {
        let file = "a = 1 # x\n\n[mcp_servers.\"proxmox\"] # mine\ncommand = '/old/proxmox-mcp'\nenabled = true\n\
                    [mcp_servers.proxmox.env]\nA = \"old\"\nB = \"c\" # end\n# next\n[mcp_servers.proxmox.tools.x]\n\
                    approval_mode = \"approve\"\n";
        let edits = place(file, "mcp_servers", &server()).expect("it is replaced");
        let expected = format!(
            "a = 1 # x\n\n{} # end\n# next\n[mcp_servers.proxmox.tools.x]\napproval_mode = \"approve\"\n",
            TABLE.trim_end()
        );
        assert_eq!(apply(file, &edits), expected);
        for (file, says) in [
            (
                "[mcp_servers.proxmox]\ncommand = \"npx\"\n",
                "proxmox is another server there, with the command npx",
            ),
            (
                "[mcp_servers.proxmox]\nurl = \"x\"\n",
                "proxmox is another server there",
            ),
            (
                "[mcp_servers.proxmox.env]\nA = 1\n",
                "proxmox is another server there",
            ),
            (
                "[mcp_servers.proxmox]\ncommand = \"proxmox-mcp\"\n[a]\n[mcp_servers.proxmox.env]\n",
                "the tables of proxmox in line 1 are not together",
            ),
        ] {
            let err = place(file, "mcp_servers", &server()).expect_err(file);
            assert!(err.starts_with(says), "{err}");
        }
    }

    #[test]
    fn leaves_alone_what_it_does_not_understand() {
        let deep = format!("a = {}", "[".repeat(100_000));
        for (file, says) in [
            (
                "a = 1\nmcp_servers = {}\n",
                "mcp_servers in line 2 is not written as a table",
            ),
            (
                "mcp_servers.other.command = 'x'\n",
                "is not written as a table",
            ),
            (
                "[mcp_servers]\nproxmox = {}\n",
                "proxmox in line 2 is not written as a table",
            ),
            (
                "[mcp_servers]\nproxmox.command = 'x'\n",
                "proxmox.command in line 2 is not written as a table",
            ),
            (
                "[[mcp_servers]]\n",
                "mcp_servers in line 1 is an array of tables",
            ),
            (
                "[[mcp_servers.proxmox]]\n",
                "mcp_servers.proxmox in line 1 is an array of tables",
            ),
            ("a\n", "line 1: an equals sign is missing"),
            ("a = \n", "a value cannot be read"),
            ("a = 1 2 $\n", "a value cannot be read"),
            ("a = \"b\nc\"\n", "a string has no end"),
            ("a = \"\"\"b\"\"\n", "a string has no end"),
            ("a = [1, 2\n", "a comma or ] is missing"),
            ("a = 'b' c\n", "something follows in the same line"),
            ("[a\n", "] is missing"),
            ("[[a]\n", "]] is missing"),
            ("= 1\n", "a key is missing"),
            ("[]\n", "a key is missing"),
            ("{}", "a key is missing"),
            (&deep, "values are nested too deeply"),
        ] {
            let err = place(file, "mcp_servers", &server()).expect_err(file);
            assert!(err.contains(says), "{err}: {says}");
        }
    }
}
