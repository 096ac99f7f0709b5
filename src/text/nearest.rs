//! The known name that is probably meant by an unknown one.

/// Returns the known name with the fewest edits from `name`, if they are few.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().collect();
    known
        .into_iter()
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.chars().collect();
            let most = (letters.len() / 3).min(3);
            // The difference in length is a lower bound, and cheaper than counting the edits.
            if letters.len().abs_diff(name.len()) > most {
                return None;
            }
            let edits = edits(&name, &letters);
            (edits <= most).then_some((edits, candidate))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Returns how many letters must be inserted, removed or replaced to turn `from` into `to` (Levenshtein).
fn edits(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (removed, letter) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = removed + 1;
        for (column, wanted) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["node", "vmid", "storage"];

    #[test]
    fn finds_a_mistyped_name() {
        assert_eq!(nearest("nod", KNOWN), Some("node"));
        assert_eq!(nearest("vm_id", KNOWN), Some("vmid"));
        assert_eq!(nearest("storages", KNOWN), Some("storage"));
    }

    #[test]
    fn finds_nothing_if_no_name_is_similar() {
        assert_eq!(nearest("target", KNOWN), None);
        assert_eq!(nearest("", KNOWN), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), KNOWN), None);
    }

    #[test]
    fn prefers_the_first_of_two_equally_similar_names() {
        assert_eq!(nearest("net2", ["net0", "net1"]), Some("net0"));
    }

    #[test]
    fn counts_the_edits() {
        let count = |from: &str, to: &str| {
            edits(
                &from.chars().collect::<Vec<_>>(),
                &to.chars().collect::<Vec<_>>(),
            )
        };
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("kitten", "sitting"), 3);
        assert_eq!(count("same", "same"), 0);
    }
}
