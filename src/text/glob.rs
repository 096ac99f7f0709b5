//! Patterns in settings: `*` stands for any characters, `?` for one.

/// A pattern that must match a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(String);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    pub(crate) fn pattern(&self) -> &str {
        &self.0
    }

    /// Returns true if the whole text matches, in time proportional to the product of the two lengths at
    /// most.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), text.chars().collect());
        let (mut p, mut t) = (0, 0);
        // The position after the last `*`, and how much of the text that has matched so far.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match (pattern.get(p), star) {
                (Some('*'), _) => {
                    p += 1;
                    star = Some((p, t));
                }
                (Some(c), _) if *c == '?' || *c == text[t] => {
                    p += 1;
                    t += 1;
                }
                (_, Some((behind, taken))) => {
                    p = behind;
                    t = taken + 1;
                    star = Some((behind, t));
                }
                (_, None) => return false,
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_must_match_the_whole_text() {
        for (pattern, text, expected) in [
            ("uptime", "uptime", true),
            ("uptime", "uptime -p", false),
            ("*_vm", "proxmox_stop_vm", true),
            ("*_vm", "proxmox_stop_vm2", false),
            ("systemctl status *", "systemctl status nginx", true),
            ("systemctl status *", "systemctl status", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("**", "ä\n", true),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_hostile_pattern_is_fast() {
        let (pattern, text) = ("*a".repeat(40), "a".repeat(2_000) + "b");
        assert!(!Glob::new(&pattern).matches(&text));
    }
}
