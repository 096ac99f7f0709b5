//! The rooms of the house: which part of the source may import which.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from bottom to top: imports may only go down this list.
const ROOMS: &[&str] = &[
    "text", "request", "mcp", "settings", "error", "pve", "param", "answer", "row", "cluster",
    "safety", "tool", "tools", "server", "check", "cli", "main",
];

/// What is said for all rooms at once.
const TESTS: &[&str] = &["readme"];

/// Returns the lines of a file of `src` that are compiled into the program, without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("the source can be read");
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns every source file, with the name of its room.
fn files() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the source can be read") {
            let path = entry.expect("the source can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inner = path.strip_prefix(&root).expect("it is below the source");
            let first = inner
                .iter()
                .next()
                .and_then(|part| part.to_str())
                .expect("a name in ASCII");
            let room = first.trim_end_matches(".rs").to_owned();
            let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
            if path.extension().is_some_and(|ending| ending == "rs")
                && !is_test
                && !TESTS.contains(&&*room)
            {
                files.push((room, path));
            }
        }
    }
    assert!(files.len() > 50, "only {} files were found", files.len());
    files
}

/// Returns the rooms that `code` names: `crate::text::cut`, and in braces `use crate::{mcp, text};`.
fn imports(code: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| is_name(*c)).collect();
            found.insert(name);
        }
    }
    found
}

/// Returns the rooms that the first file of a room says that it may import.
fn allowed(room: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{room}.rs"));
    let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    let rule = text
        .lines()
        .find_map(|line| line.strip_prefix("//! May import: "));
    let rule = rule.unwrap_or_else(|| panic!("src/{room}.rs does not say what it may import"));
    let names = rule
        .trim_end_matches('.')
        .split(", ")
        .filter(|name| *name != "nothing of ours");
    names
        .map(|name| name.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn imports_go_down_the_list_and_each_room_declares_them() {
    for (room, path) in files().into_iter().filter(|(room, _)| room != "main") {
        let place = ROOMS.iter().position(|known| *known == room);
        let place = place.unwrap_or_else(|| panic!("{} is in no room", path.display()));
        let allowed = allowed(&room);
        for name in imports(&code(&path)) {
            let is_below = ROOMS[..place].contains(&&*name);
            let is_allowed = name == room || (is_below && allowed.contains(&name));
            assert!(is_allowed, "{} imports {name}", path.display());
        }
    }
}

#[test]
fn each_room_imports_what_it_declares() {
    let files = files();
    for room in ROOMS.iter().filter(|room| **room != "main") {
        let own = files.iter().filter(|(of, _)| of == room);
        let imported: BTreeSet<String> = own.flat_map(|(_, path)| imports(&code(path))).collect();
        for name in allowed(room) {
            assert!(
                imported.contains(&name),
                "src/{room}.rs may import {name}, and does not"
            );
        }
    }
}

/// Returns whether code names the type that can send changes; within texts, `Changes` is a verb.
fn names_changes(code: &str) -> bool {
    ["Changes,", "Changes}", "Changes:", "Changes("]
        .iter()
        .any(|form| code.contains(form))
}

#[test]
fn only_the_gate_can_send_changes() {
    let holders = files()
        .into_iter()
        .filter(|(_, path)| names_changes(&code(path)));
    let rooms: BTreeSet<String> = holders.map(|(room, _)| room).collect();
    assert_eq!(
        rooms.iter().map(String::as_str).collect::<Vec<_>>(),
        ["pve", "safety"]
    );
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pve/reader.rs");
    let code = code(&reader);
    assert!(
        code.contains("\n\npub(crate) struct Changes(());"),
        "Changes has a derive"
    );
}

#[test]
fn finds_imports_in_every_form() {
    let found =
        imports("use crate::text;\nuse crate::{error, pve::http};\ncrate::mcp::rpc::answer()");
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["error", "mcp", "pve", "text"]);
}
