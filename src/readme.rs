//! The tables of README.md, made from the declarations, and the test that they are current.

use std::fmt::Write;
use std::{env, fs};

use crate::settings;
use crate::tool::Permission;
use crate::tools::DOMAINS;

#[test]
fn the_tables_of_the_readme_are_those_of_the_declarations() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let before = fs::read_to_string(path).expect("the README can be read");
    let after = replace(&before, "settings", &settings::markdown());
    let after = replace(&after, "tools", &tools());
    if env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path, &after).expect("the README can be written");
    } else if let Some((line, (old, new))) = before
        .lines()
        .zip(after.lines())
        .enumerate()
        .find(|(_, (old, new))| old != new)
    {
        panic!(
            "README.md:{}: run UPDATE_FIXTURES=1 cargo test\n-{old}\n+{new}",
            line + 1
        );
    }
}

/// `text` with `content` between the comments that begin with `<!-- name` and `<!-- /name`.
fn replace(text: &str, name: &str, content: &str) -> String {
    let (before, rest) = text
        .split_once(&format!("<!-- {name}"))
        .expect("the first mark is there");
    let (mark, rest) = rest.split_once("-->\n").expect("the first mark has an end");
    let (_, after) = rest
        .split_once(&format!("<!-- /{name} -->"))
        .expect("the second mark is there");
    format!("{before}<!-- {name}{mark}-->\n{content}<!-- /{name} -->{after}")
}

fn tools() -> String {
    let count = |domains: &[crate::tools::Domain]| {
        domains
            .iter()
            .map(|domain| domain.tools.len())
            .sum::<usize>()
    };
    let mut text = format!(
        "{} tools in {} groups. 🔒 marks the elevated ones.\n",
        count(DOMAINS),
        DOMAINS.len()
    );
    for domain in DOMAINS {
        let _ = writeln!(
            text,
            "\n### {} ({})\n\n| tool | what it does | requests |\n|---|---|---|",
            domain.title,
            domain.tools.len()
        );
        for (name, tool) in domain.tools {
            let lock = match tool.permission {
                Permission::Basic => "",
                Permission::Elevated => " 🔒",
            };
            let requests: Vec<String> = tool
                .requests()
                .iter()
                .map(|request| format!("`{request}`"))
                .collect();
            let _ = writeln!(
                text,
                "| `{name}`{lock} | {} | {} |",
                tool.summary,
                requests.join("<br>")
            );
        }
    }
    text
}
