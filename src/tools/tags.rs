//! Tags of a guest that are added and removed, while the others stay.

use crate::param::{Args, Kind, Param};
use crate::text::list::items;

pub(super) const ADD: Param = Param::optional("add_tags", Kind::List, "").joined().local();
pub(super) const REMOVE: Param = Param::optional("remove_tags", Kind::List, "")
    .joined()
    .local();

/// The option of a configuration that holds them.
pub(super) const OPTION: &str = "tags";

/// Whether the call adds or removes any.
pub(super) fn are_given(args: &Args) -> bool {
    [ADD, REMOVE].iter().any(|param| args.get(param).is_some())
}

/// What adding and removing makes of the tags `before`; `None` if it changes nothing.
pub(super) fn changed(args: &Args, before: &str) -> Option<String> {
    let before: Vec<&str> = items(before).collect();
    let removed = |tag: &str| {
        let exact = args.list(&REMOVE).iter().any(|removed| removed == tag);
        // As long as none is spelt like that, the tag that Proxmox takes for the same is meant.
        let like = |removed: &String| same(removed, tag) && !before.contains(&&**removed);
        exact || args.list(&REMOVE).iter().any(like)
    };
    let mut after: Vec<&str> = before.iter().copied().filter(|tag| !removed(tag)).collect();
    for added in args.list(&ADD) {
        if !after.iter().any(|tag| same(tag, added)) {
            after.push(added);
        }
    }
    (after != before).then(|| after.join(";"))
}

/// Unless its options say otherwise, Proxmox ignores case.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// What is wrong with the tags of the call.
pub(super) fn problems(args: &Args) -> Vec<String> {
    let both = args.list(&ADD).iter().filter(|added| {
        let mut removed = args.list(&REMOVE).iter();
        removed.any(|removed| same(added, removed))
    });
    both.map(|tag| format!("{tag} is in add_tags and in remove_tags"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_tags_that_are_not_named_stay() {
        static PARAMS: [&Param; 2] = [&ADD, &REMOVE];
        let changed = |before: &str, add: Value, remove: Value| {
            let arguments = json!({ "add_tags": add, "remove_tags": remove });
            let arguments = arguments.as_object().expect("an object").clone();
            let args = Args::parse(PARAMS.to_vec(), &arguments).expect("they are valid");
            changed(&args, before)
        };
        for (before, add, remove, after) in [
            ("", json!(["a"]), json!([]), Some("a")),
            ("b;a", json!(["c", "a"]), json!([]), Some("b;a;c")),
            ("a;b", json!(["A"]), json!([]), None),
            ("a,b c", json!(["d,e"]), json!(["b"]), Some("a;c;d;e")),
            ("a;b", json!([]), json!(["A"]), Some("b")),
            ("A;a", json!([]), json!(["a"]), Some("A")),
            ("a", json!([]), json!(["a"]), Some("")),
            ("a", json!([]), json!(["x"]), None),
        ] {
            let found = changed(before, add.clone(), remove.clone());
            assert_eq!(found.as_deref(), after, "{before} +{add} -{remove}");
        }
    }
}
