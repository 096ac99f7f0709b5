//! Sets of guests and nodes in settings: `100-199,pool:dev,!tag:prod` and `pve1,!pve2`.

use std::fmt;

use crate::text;
use crate::text::format;
use crate::text::list;
use crate::text::sort::sort;

/// How many tags or pools are suggested.
const MOST: usize = 10;

/// The longest name of a pool or tag shown, in characters.
const LONGEST: usize = 60;

/// A set of guests, the value of `PROXMOX_GUESTS` or `PROXMOX_PROTECTED`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guests {
    items: Vec<Item<Guest>>,
    text: String,
}

/// A set of nodes, the value of `PROXMOX_NODES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nodes {
    items: Vec<Item<String>>,
    text: String,
}

/// One part of a set, and whether it is excluded from the set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item<T> {
    means: T,
    is_excluded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Guest {
    /// A range of VMIDs, both included.
    Ids(u64, u64),
    /// A pool with its subpools.
    Pool(String),
    /// A tag in lower case, since Proxmox ignores the case of tags.
    Tag(String),
}

/// What is known about a guest that may be in a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownGuest {
    pub(crate) vmid: u64,
    /// `None` if its pool and tags are unknown.
    pub(crate) labels: Option<Labels>,
}

/// The pool and tags of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) pool: String,
    pub(crate) tags: Vec<String>,
}

/// Splits Proxmox's list of tags, which are separated by `;`, `,` or spaces, and returns them in lower case.
pub(crate) fn tags(text: &str) -> Vec<String> {
    let tags = text.split([';', ',', ' ']).filter(|tag| !tag.is_empty());
    tags.map(str::to_lowercase).collect()
}

impl Guests {
    /// Parses a set; an error follows the name of its setting.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self {
            items: items(text, Guest::parse)?,
            text: text.trim().to_owned(),
        })
    }

    /// Returns the set as the user wrote it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether a guest's pool or tags may decide if it is in the set.
    pub(crate) fn needs_labels(&self) -> bool {
        let ids = |item: &Item<Guest>| matches!(item.means, Guest::Ids(..));
        !self.items.iter().all(ids)
    }

    /// Returns whether a guest is in the set; `None` if too little is known about the guest.
    pub(crate) fn contain(&self, guest: &KnownGuest) -> Option<bool> {
        contain(&self.items, |means| means.names(guest))
    }

    /// Returns the VMIDs if the set consists only of single VMIDs.
    pub(crate) fn vmids(&self) -> Option<Vec<u64>> {
        let vmids = self.items.iter().map(|item| match item.means {
            Guest::Ids(first, last) if first == last && !item.is_excluded => Some(first),
            _ => None,
        });
        vmids.collect()
    }

    /// Returns a sentence for each part that matches none of these guests, with the existing pools or tags.
    pub(crate) fn idle(&self, guests: &[KnownGuest]) -> Vec<String> {
        let labels = || guests.iter().filter_map(|guest| guest.labels.as_ref());
        let names_none = |item: &&Item<Guest>| {
            // A range may be reserved for future guests.
            let is_range = matches!(item.means, Guest::Ids(first, last) if first < last);
            let mut guests = guests.iter();
            !is_range && !guests.any(|guest| item.means.names(guest) == Some(true))
        };
        let idle = self.items.iter().filter(names_none).map(|item| {
            let instead = match &item.means {
                Guest::Ids(..) => String::new(),
                Guest::Pool(_) => {
                    let pools = labels().map(|labels| labels.pool.clone());
                    instead("pools", pools.filter(|pool| !pool.is_empty()).collect())
                }
                Guest::Tag(_) => {
                    let tags = labels().flat_map(|labels| labels.tags.clone());
                    instead("tags", tags.collect())
                }
            };
            format!("{item} names no guest now{instead}")
        });
        idle.collect()
    }
}

impl Guest {
    /// Returns whether this part matches a guest; `None` if too little is known about the guest.
    fn names(&self, guest: &KnownGuest) -> Option<bool> {
        match (self, &guest.labels) {
            (Guest::Ids(first, last), _) => Some((first..=last).contains(&&guest.vmid)),
            (_, None) => None,
            (Guest::Pool(pool), Some(labels)) => Some(
                labels.pool == *pool
                    || labels
                        .pool
                        .strip_prefix(&**pool)
                        .is_some_and(|rest| rest.starts_with('/')),
            ),
            (Guest::Tag(tag), Some(labels)) => Some(labels.tags.contains(tag)),
        }
    }
}

/// Writes the part as in a set.
impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guest::Ids(first, last) if first == last => write!(f, "{first}"),
            Guest::Ids(first, last) => write!(f, "{first}-{last}"),
            Guest::Pool(pool) => write!(f, "pool:{pool}"),
            Guest::Tag(tag) => write!(f, "tag:{tag}"),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_excluded { "!" } else { "" };
        write!(f, "{sign}{}", self.means)
    }
}

/// Lists what exists instead, sorted and limited in number: `; tags: prod, web`.
fn instead(kind: &str, mut there: Vec<String>) -> String {
    sort(&mut there);
    there.dedup();
    if there.is_empty() {
        return format!("; there are no {kind}");
    }
    let more = if there.len() > MOST { ", …" } else { "" };
    let there = there.iter().take(MOST);
    let there: Vec<String> = there
        .map(|name| text::inline(&text::cut(name, LONGEST)))
        .collect();
    format!("; {kind}: {}{more}", there.join(", "))
}

impl Guest {
    /// Parses one part of a set; an error follows the part.
    fn parse(part: &str) -> Result<Self, &'static str> {
        if let Some(pool) = part.strip_prefix("pool:") {
            let pool = (format::POOL.parse)(pool);
            return pool
                .map(Guest::Pool)
                .ok_or("has no valid pool name after pool:");
        }
        if let Some(tag) = part.strip_prefix("tag:") {
            // pve-tag (`PVE/JSONSchema.pm`)
            let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let is_tag = tag.starts_with(first)
                && tag
                    .chars()
                    .all(|c| first(c) || ['+', '.', '-'].contains(&c));
            return match is_tag {
                true => Ok(Guest::Tag(tag.to_lowercase())),
                false => Err("has no valid tag after tag:"),
            };
        }
        if part.contains([';', ' ']) && !part.contains('-') {
            return Err("has VMIDs that are not separated by commas");
        }
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (first, last) = match part.split_once('-') {
            None if !is_number(part) => {
                return Err(
                    "is not a VMID, a range, pool:NAME or tag:NAME; guest names are not accepted",
                );
            }
            None => (part, part),
            Some((first, last)) => (first.trim(), last.trim()),
        };
        match (is_number(first), is_number(last)) {
            (true, true) => (),
            (true, false) if last.is_empty() => return Err("is a range without an end"),
            (false, true) if first.is_empty() => return Err("is a range without a beginning"),
            _ => return Err("is not a range of two VMIDs"),
        }
        let id = |text: &str| {
            let id = text.parse::<u64>().ok();
            id.filter(|id| (100..=999_999_999).contains(id))
        };
        match (id(first), id(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Guest::Ids(first, last)),
            (Some(_), Some(_)) => Err("is a range that ends before it begins"),
            _ => Err("has a VMID that is not within 100 to 999999999"),
        }
    }
}

impl Nodes {
    /// Parses a set; an error follows the name of its setting.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let node = |part: &str| {
            // The API takes this for whichever node is connected, so the boundary could change with each
            // call.
            if part.eq_ignore_ascii_case("localhost") {
                return Err("is localhost, which is not the name of a node");
            }
            let node = (format::NODE.parse)(part);
            node.ok_or("is not the name of a node (letters, digits, dashes)")
        };
        Ok(Self {
            items: items(text, node)?,
            text: text.trim().to_owned(),
        })
    }

    /// Returns the set as the user wrote it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether a node is in the set; case does not matter, so `!PVE1` excludes `pve1`.
    pub(crate) fn contain(&self, node: &str) -> bool {
        contain(&self.items, |name| Some(name.eq_ignore_ascii_case(node))) == Some(true)
    }

    /// Returns a sentence for each part that matches none of these nodes.
    pub(crate) fn idle(&self, nodes: &[&str]) -> Vec<String> {
        let mut idle = Vec::new();
        for item in &self.items {
            let mut nodes = nodes.iter();
            if !nodes.any(|node| item.means.eq_ignore_ascii_case(node)) {
                idle.push(format!("{item} names no node now"));
            }
        }
        idle
    }
}

/// Parses the parts between commas.
fn items<T>(
    text: &str,
    means: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<Item<T>>, String> {
    list::each(text, |part| {
        let (is_excluded, part) = match part.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, part),
        };
        let means = match part {
            "" if is_excluded => Err("excludes nothing: it is only a !"),
            "" => Err("is empty"),
            part if part.starts_with('!') => Err("has more than one !"),
            part => means(part),
        };
        Ok(Item {
            means: means?,
            is_excluded,
        })
    })
}

/// Returns whether a thing is in a set: it matches an included part, or the set only has excluded ones, and
/// it matches no excluded part. Returns `None` if that depends on an unknown answer of `is_in`.
fn contain<T>(items: &[Item<T>], is_in: impl Fn(&T) -> Option<bool>) -> Option<bool> {
    let any = |is_excluded: bool| {
        let mut found = Some(false);
        for item in items.iter().filter(|item| item.is_excluded == is_excluded) {
            match is_in(&item.means) {
                Some(true) => return Some(true),
                Some(false) => (),
                None => found = None,
            }
        }
        found
    };
    let names_some = items.iter().any(|item| !item.is_excluded);
    let included = if names_some { any(false) } else { Some(true) };
    match (included, any(true)) {
        (Some(false), _) | (_, Some(true)) => Some(false),
        (Some(true), Some(false)) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(vmid: u64, pool: &str, tags_: &str) -> KnownGuest {
        let labels = Labels {
            pool: pool.to_owned(),
            tags: tags(tags_),
        };
        KnownGuest {
            vmid,
            labels: Some(labels),
        }
    }

    #[track_caller]
    fn check(set: &str, inside: &[&KnownGuest], outside: &[&KnownGuest]) {
        let set = Guests::parse(set).expect("it is well-formed");
        for guest in inside {
            assert_eq!(set.contain(guest), Some(true), "{set:?} {guest:?}");
        }
        for guest in outside {
            assert_eq!(set.contain(guest), Some(false), "{set:?} {guest:?}");
        }
    }

    #[test]
    fn a_set_of_guests_contains_its_parts_without_the_excluded_ones() {
        let (web, db) = (guest(100, "dev", "web"), guest(150, "prod/db", "DB;Prod"));
        check("100", &[&web], &[&db]);
        check("100-199", &[&web, &db], &[&guest(200, "", "")]);
        check(" 100 - 199 , ! 150 ", &[&web], &[&db]);
        check(
            "pool:prod",
            &[&db],
            &[&web, &guest(1_000, "production", "")],
        );
        check("pool:prod/db", &[&db], &[&guest(100, "prod", "")]);
        check("tag:prod", &[&db], &[&web]);
        check("tag:PROD,100", &[&db, &web], &[]);
        check("!tag:prod", &[&web], &[&db]);
        check("pool:prod,!tag:prod", &[], &[&db, &web]);
    }

    #[test]
    fn the_answer_is_none_if_unknown_labels_would_decide() {
        let unknown = KnownGuest {
            vmid: 100,
            labels: None,
        };
        for (set, expected) in [
            ("100", Some(true)),
            ("200", Some(false)),
            ("pool:dev", None),
            ("100,pool:dev", Some(true)),
            ("100,!tag:prod", None),
            ("200,!tag:prod", Some(false)),
            ("!100,tag:prod", Some(false)),
            ("!tag:prod", None),
        ] {
            let set = Guests::parse(set).expect("it is well-formed");
            assert_eq!(set.contain(&unknown), expected, "{set:?}");
        }
    }

    #[test]
    fn lists_parts_that_match_nothing_with_the_existing_alternatives() {
        let guests = [guest(100, "dev", "web"), guest(150, "prod/db", "DB;Prod")];
        let idle = |set| Guests::parse(set).expect("it is well-formed").idle(&guests);
        assert_eq!(
            idle("tag:prdo,!200,9000-9099,77777,pool:pord"),
            [
                "tag:prdo names no guest now; tags: db, prod, web",
                "!200 names no guest now",
                "77777 names no guest now",
                "pool:pord names no guest now; pools: dev, prod/db",
            ]
        );
        assert_eq!(idle("100-199,tag:PROD,pool:prod,!pool:dev"), [""; 0]);
        let bare = Guests::parse("tag:web").expect("it is well-formed");
        let expected = ["tag:web names no guest now; there are no tags"];
        assert_eq!(bare.idle(&[guest(100, "", "")]), expected);
        let nodes = Nodes::parse("pve1,!pev2").expect("it is well-formed");
        assert_eq!(nodes.idle(&["pve1"]), ["!pev2 names no node now"]);
    }

    #[test]
    fn returns_the_vmids_of_a_set_without_other_parts() {
        let vmids = |set| Guests::parse(set).expect("it is well-formed").vmids();
        assert_eq!(vmids("100, 101"), Some(vec![100, 101]));
        for set in ["100-101", "!100", "100,tag:web"] {
            assert_eq!(vmids(set), None, "{set}");
        }
    }

    #[test]
    fn explains_an_invalid_entry() {
        for (set, expected) in [
            ("100-", "is a range without an end"),
            ("-199", "is a range without a beginning"),
            ("-", "is not a range of two VMIDs"),
            ("100-199-300", "is not a range of two VMIDs"),
            ("web-01", "is not a range of two VMIDs"),
            ("200-100", "is a range that ends before it begins"),
            ("99", "has a VMID that is not within 100 to 999999999"),
            (
                "100-1000000000",
                "has a VMID that is not within 100 to 999999999",
            ),
            ("100;101", "has VMIDs that are not separated by commas"),
            ("100 101", "has VMIDs that are not separated by commas"),
            (
                "web01",
                "is not a VMID, a range, pool:NAME or tag:NAME; guest names are not accepted",
            ),
            (
                "+100",
                "is not a VMID, a range, pool:NAME or tag:NAME; guest names are not accepted",
            ),
            ("", "is empty"),
            ("100,,101", "entry 2 is empty"),
            (",", "entry 1 is empty"),
            ("100, 101-", "entry 2 is a range without an end"),
            ("pool:", "has no valid pool name after pool:"),
            ("pool:../x", "has no valid pool name after pool:"),
            ("tag:", "has no valid tag after tag:"),
            ("tag:a b", "has no valid tag after tag:"),
            ("!", "excludes nothing: it is only a !"),
            ("!!100", "has more than one !"),
        ] {
            assert_eq!(Guests::parse(set), Err(expected.to_owned()), "{set}");
        }
        for (set, expected) in [
            (
                "pve1/x",
                "is not the name of a node (letters, digits, dashes)",
            ),
            ("a_b", "is not the name of a node (letters, digits, dashes)"),
            (
                "pve1,!LocalHost",
                "entry 2 is localhost, which is not the name of a node",
            ),
            ("", "is empty"),
            ("pve1,,pve2", "entry 2 is empty"),
        ] {
            assert_eq!(Nodes::parse(set), Err(expected.to_owned()), "{set}");
        }
    }

    #[test]
    fn a_set_of_nodes_contains_its_parts_without_the_excluded_ones() {
        let set = |text| Nodes::parse(text).expect("it is well-formed");
        assert!(set("pve1,pve2").contain("pve2") && !set("pve1").contain("pve2"));
        assert!(set("!pve1").contain("pve2") && !set("!pve1").contain("pve1"));
        assert!(set("PVE1").contain("pve1") && !set("!PVE1").contain("pve1"));
        assert_eq!(set("!PVE1").idle(&["pve1"]), [""; 0]);
    }
}
