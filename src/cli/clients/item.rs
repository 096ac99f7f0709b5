//! The entry of a client as a value, and how JSON, TOML and YAML write it.

use serde_json::Value;

use crate::text::{self, add};

/// A value of a configuration; the order of a map is kept.
#[derive(Clone)]
pub(super) enum Item {
    Text(String),
    Flag(bool),
    List(Vec<Item>),
    Map(Vec<(&'static str, Item)>),
}

/// How the text around a value is laid out.
pub(super) struct Layout<'a> {
    pub(super) newline: &'a str,
    /// What the line begins with in which the value begins.
    pub(super) indent: &'a str,
    /// What a deeper line begins with in addition.
    pub(super) unit: &'a str,
    pub(super) on_one_line: bool,
}

impl Layout<'_> {
    /// The layout of a file of its own.
    pub(super) const PLAIN: Layout<'static> = Layout {
        newline: "\n",
        indent: "",
        unit: "  ",
        on_one_line: false,
    };
}

impl Item {
    pub(super) fn text(text: &str) -> Self {
        Item::Text(text.to_owned())
    }

    pub(super) fn texts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        Item::List(texts.into_iter().map(Item::text).collect())
    }

    /// Returns the value below `path`, as maps in maps.
    pub(super) fn below(self, path: &[&'static str]) -> Self {
        path.iter()
            .rfold(self, |item, name| Item::Map(vec![(name, item)]))
    }

    pub(super) fn value(&self) -> Value {
        match self {
            Item::Text(text) => Value::from(text.as_str()),
            Item::Flag(flag) => Value::from(*flag),
            Item::List(items) => items.iter().map(Item::value).collect(),
            Item::Map(members) => members
                .iter()
                .map(|(name, item)| ((*name).to_owned(), item.value()))
                .collect(),
        }
    }

    /// Writes JSON, without the indentation of the first line.
    pub(super) fn json(&self, layout: &Layout) -> String {
        let Layout {
            newline,
            indent,
            unit,
            on_one_line,
        } = *layout;
        let deeper = format!("{indent}{unit}");
        let inner = Layout {
            indent: &deeper,
            ..*layout
        };
        let (open, close, parts) = match self {
            Item::Text(text) => return quoted(text),
            Item::Flag(flag) => return flag.to_string(),
            Item::List(items) => {
                let is_flat = items.iter().all(|item| matches!(item, Item::Text(_)));
                let parts: Vec<String> = items.iter().map(|item| item.json(&inner)).collect();
                if is_flat {
                    return format!("[{}]", parts.join(", "));
                }
                ('[', ']', parts)
            }
            Item::Map(members) => {
                let members = members.iter();
                let parts = members.map(|(name, item)| member(name, item, &inner));
                ('{', '}', parts.collect())
            }
        };
        if parts.is_empty() {
            return format!("{open}{close}");
        }
        if on_one_line {
            return format!("{open} {} {close}", parts.join(", "));
        }
        let parts = parts.join(&format!(",{newline}{deeper}"));
        format!("{open}{newline}{deeper}{parts}{newline}{indent}{close}")
    }

    /// Writes the table of a server in TOML, and one below it for each map within.
    pub(super) fn toml(&self, path: &str, newline: &str) -> String {
        let Item::Map(members) = self else {
            return self.inline();
        };
        let mut text = format!("[{path}]{newline}");
        for (name, item) in members {
            if !matches!(item, Item::Map(_)) {
                add(
                    &mut text,
                    format_args!("{name} = {}{newline}", item.inline()),
                );
            }
        }
        for (name, item) in members {
            if matches!(item, Item::Map(members) if !members.is_empty()) {
                text.push_str(newline);
                text.push_str(&item.toml(&format!("{path}.{name}"), newline));
            }
        }
        text
    }

    /// Writes an entry of a list in YAML, as a block; each line but the first begins with `newline`.
    pub(super) fn yaml(&self, layout: &Layout) -> String {
        let Item::Map(members) = self else {
            return format!("- {}", self.inline());
        };
        let Layout {
            newline, indent, ..
        } = layout;
        let mut text = String::new();
        for (name, item) in members {
            let lead = match text.is_empty() {
                true => "- ".to_owned(),
                false => format!("{newline}{indent}  "),
            };
            match item {
                Item::Map(inner) if !inner.is_empty() => {
                    add(&mut text, format_args!("{lead}{name}:"));
                    for (name, item) in inner {
                        let item = item.inline();
                        add(
                            &mut text,
                            format_args!("{newline}{indent}    {name}: {item}"),
                        );
                    }
                }
                _ => add(&mut text, format_args!("{lead}{name}: {}", item.inline())),
            }
        }
        text
    }

    /// Writes a value on one line, so that JSON, TOML (no map) and YAML read the same.
    fn inline(&self) -> String {
        escaped(&self.json(&Layout {
            on_one_line: true,
            ..Layout::PLAIN
        }))
    }
}

/// Writes a member of a JSON object.
pub(super) fn member(name: &str, item: &Item, layout: &Layout) -> String {
    format!("{}: {}", quoted(name), item.json(layout))
}

/// Returns a JSON string.
pub(in crate::cli) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Escapes what JSON allows in a string, but TOML or YAML does not.
fn escaped(json: &str) -> String {
    if json.is_ascii() && !json.contains('\u{7f}') {
        return json.to_owned();
    }
    let mut escaped = String::new();
    for c in json.chars() {
        match u32::from(c) {
            code @ ..=0xffff if text::is_hidden(c) => {
                add(&mut escaped, format_args!("\\u{code:04x}"));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}
