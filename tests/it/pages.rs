//! README.md and the pages beside the source: short enough, and every link leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::snapshot::below_package;

/// Every page, by its path below the package.
fn pages() -> BTreeMap<PathBuf, String> {
    let root = below_package("");
    let mut folders = vec![root.clone()];
    let mut pages = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() {
                let is_source = name != "target" && name != ".git";
                folders.extend(is_source.then_some(path));
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let text = fs::read_to_string(&path).expect("the page can be read");
                let inner = path.strip_prefix(&root).expect("it is below the package");
                pages.insert(inner.to_owned(), text);
            }
        }
    }
    pages
}

/// The lines of a page that are prose, not code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code
    })
}

/// `line` without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(page).filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = (1..).map(|count| format!("{anchor}-{count}"));
        let mut free = std::iter::once(anchor.clone()).chain(count);
        let is_new = |name: &String| !anchors.contains(name);
        let name = free.find(is_new).expect("there are more numbers");
        anchors.insert(name);
    }
    anchors
}

/// Where the links and pictures of a page lead: `[…](here)` and `src="here"`.
fn links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(page) {
        let line = without_code(line);
        for (opening, end) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            let starts = line.split(opening).skip(1);
            links.extend(starts.filter_map(|rest| Some(rest.split_once(end)?.0.to_owned())));
        }
    }
    links
}

/// `path` without `.` and `..`.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(resolved.pop(), "{path:?} leaves the repository"),
            Component::CurDir => {}
            part => resolved.push(part),
        }
    }
    resolved
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() >= 7, "{:?}", pages.keys());
    let mut dead = Vec::new();
    let mut count = 0;
    for (page, text) in &pages {
        for link in links(text) {
            if link.starts_with("https://") {
                continue;
            }
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => resolved(&page.with_file_name("").join(file)),
            };
            let is_there = match anchor {
                "" => below_package("").join(&target).exists(),
                anchor => pages
                    .get(&target)
                    .is_some_and(|text| anchors(text).contains(anchor)),
            };
            if !is_there {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 15, "only {count} links were found");
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn anchors_are_those_of_github() {
    let page = "# What `call` does, and how\n```sh\n# no heading\n```\n## Twice\n## Twice\n";
    let expected = ["twice", "twice-1", "what-call-does-and-how"];
    assert!(anchors(page).iter().eq(expected), "{:?}", anchors(page));
}

/// The name of what a line of a table or a list is about: its first cell, or its `**Name**`.
fn name(line: &str) -> Option<&str> {
    match line.strip_prefix("- **") {
        Some(item) => Some(item.split("**").next()?),
        None => line.strip_prefix('|')?.split('|').next(),
    }
}

/// A merge that keeps the lines of both sides leaves such rows.
#[test]
fn no_table_and_no_list_says_two_things_of_one() {
    let mut twice = Vec::new();
    for (page, text) in &pages() {
        let mut names = BTreeSet::new();
        for line in prose(text) {
            match name(line) {
                Some(name) if !names.insert(name) => {
                    twice.push(format!("{}: {name}", page.display()));
                }
                Some(_) => {}
                None => names.clear(),
            }
        }
    }
    assert!(twice.is_empty(), "{twice:#?}");
}

#[test]
fn every_page_beside_the_source_is_linked_from_the_readme() {
    let pages = pages();
    let linked = links(&pages[Path::new("README.md")]);
    let is_linked = |page: &Path| linked.iter().any(|link| Path::new(link) == page);
    let lost: Vec<_> = pages.keys().filter(|page| !is_linked(page)).collect();
    assert_eq!(lost, [Path::new("README.md")]);
}

#[test]
fn the_readme_is_read_to_its_end() {
    let length = pages()[Path::new("README.md")].len();
    assert!(length <= 16_000, "README.md has {length} bytes");
}
