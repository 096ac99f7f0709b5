//! The test that the tables and lists of README.md and the pages beside the source are those of the declarations.

use std::path::Path;
use std::{env, fs};

use crate::cli;
use crate::row::Harm;
use crate::safety::risk::KINDS;
use crate::settings::{Flag, SETTINGS, Unset};
use crate::tools;

#[test]
fn the_tables_of_the_pages_are_those_of_the_declarations() {
    check("README.md", |text| replace(text, "releases", &releases()));
    check("src/tools/README.md", |_| cli::tool_markdown());
    check("src/settings/README.md", |text| {
        let text = replace(text, "settings", &settings());
        replace(&text, "confirmed", &confirmed())
    });
    check("src/cli/README.md", |text| {
        replace(text, "clients", &cli::clients::table())
    });
}

/// Fails unless the page at `path`, below the package, is what `made` makes of it; writes it when updating.
fn check(path: &str, made: impl Fn(&str) -> String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let before = fs::read_to_string(&file).unwrap_or_default();
    let after = made(&before);
    if before == after {
        return;
    }
    if env::var_os("UPDATE_FIXTURES").is_some() {
        // Other tests read the pages at the same time: they see the old file or the new one.
        let new = file.with_extension("new");
        fs::write(&new, &after).expect("the folder of the page can be written to");
        fs::rename(&new, &file).expect("the page can be replaced");
        return;
    }
    let mut lines = before.lines().zip(after.lines()).enumerate();
    let (line, (old, new)) = lines
        .find(|(_, (old, new))| old != new)
        .unwrap_or((before.lines().count(), ("", "")));
    panic!(
        "{path}:{}: run UPDATE_FIXTURES=1 cargo test\n-{old}\n+{new}",
        line + 1
    );
}

/// `text` with `content` between the comments that begin with `<!-- name` and `<!-- /name`.
fn replace(text: &str, name: &str, content: &str) -> String {
    let (before, rest) = text
        .split_once(&format!("<!-- {name}"))
        .expect("the first mark is there");
    let (mark, rest) = rest.split_once("-->\n").expect("the first mark has an end");
    let end = format!("<!-- /{name} -->");
    let (_, after) = rest.split_once(&end).expect("the second mark is there");
    format!("{before}<!-- {name}{mark}-->\n{content}{end}{after}")
}

/// Where releases are; the repository has one place, Cargo.toml.
fn releases() -> String {
    match env!("CARGO_PKG_REPOSITORY") {
        "" => "No public address is settled yet: `.ci/release VERSION DIR` makes these files from a checkout.\n".to_owned(),
        url => format!("Releases are at <{url}/releases>.\n"),
    }
}

fn settings() -> String {
    let mut table = String::from(
        "| variable | flag | default | meaning |\n\
         |---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let flag = match setting.flag {
            Flag::None => "none".to_owned(),
            Flag::Switch => format!("`{}`", setting.flag_name()),
            Flag::OneOf(value, _) | Flag::Takes(value) => {
                format!("`{} {value}`", setting.flag_name())
            }
        };
        let default = match setting.unset {
            Unset::Missing => "required".to_owned(),
            Unset::Absent => "none".to_owned(),
            Unset::Means(text) => format!("`{text}`"),
        };
        let (variable, meaning) = (setting.variable, setting.meaning);
        table.push_str(&format!(
            "| `{variable}` | {flag} | {default} | {meaning} |\n"
        ));
    }
    table
}

/// What is confirmed: the kinds that the gate knows by itself, then the tools whose requests say so, with the
/// values of the parameter that picks the request.
fn confirmed() -> String {
    let kinds = |destroys: bool| {
        let kinds = KINDS.iter().filter(move |kind| kind.destroys == destroys);
        kinds.map(|kind| kind.words.to_owned())
    };
    let line = |heading: &str, entries: Vec<String>| match entries.is_empty() {
        true => String::new(),
        false => format!("- **{heading}**: {}.\n", entries.join("; ")),
    };
    let declared = |is_meant: fn(&Harm) -> bool| {
        let tools = tools::DOMAINS.iter().flat_map(|domain| domain.tools);
        tools.filter_map(move |(name, tool)| {
            let harms = tool.harms().filter(|(_, harm)| is_meant(harm));
            let mut picked: Vec<&str> = harms.map(|(when, _)| when).collect();
            picked.dedup();
            match picked[..] {
                [] => None,
                [""] => Some(format!("`{name}`")),
                _ => Some(format!("`{name}` ({})", picked.join(", "))),
            }
        })
    };
    let destroys = kinds(true).chain(declared(|harm| matches!(harm, Harm::Destroys(_))));
    let interrupts = kinds(false).chain(declared(|harm| matches!(harm, Harm::Interrupts(_))));
    let judged = declared(|harm| matches!(harm, Harm::Judged(_)));
    [
        line("What destroys data", destroys.collect()),
        line("What interrupts or runs something", interrupts.collect()),
        line(
            "What may do either, depending on what is there and what is sent",
            judged.collect(),
        ),
    ]
    .concat()
}
