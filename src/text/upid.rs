//! The id of a task, `UPID:{node}:{pid}:{pstart}:{starttime}:{type}:{id}:{user}:` (`PVE/Tools.pm`,
//! `upid_decode`).

use crate::text::format::is_label;
use crate::text::is_hidden;

/// A UPID, the id of a task, split into its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upid<'a> {
    /// The node that runs the task.
    pub(crate) node: &'a str,
    /// When the task started, in seconds since 1970.
    pub(crate) started: u64,
    /// The type of the task, such as `qmstart`.
    pub(crate) kind: &'a str,
    /// What the task works on, such as a VMID; often empty.
    pub(crate) id: &'a str,
}

impl<'a> Upid<'a> {
    /// Parses a UPID; `None` if any field is invalid.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, pstart, starttime, kind, id, user, ""] = fields[..] else {
            return None;
        };
        let hexadecimal = |field: &str, lengths: &[usize]| {
            lengths.contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        // A task's record is a file of that name, so no field contains a slash; a user name may contain any
        // other character, which is percent-encoded in a path.
        let plain =
            |field: &str| !field.contains(|c: char| c.is_whitespace() || is_hidden(c) || c == '/');
        let well_formed = is_label(node)
            && hexadecimal(pid, &[8])
            && hexadecimal(pstart, &[8, 9])
            && hexadecimal(starttime, &[8])
            && !kind.is_empty()
            && plain(kind)
            && plain(id)
            && !user.is_empty()
            && plain(user);
        well_formed.then_some(Self {
            node,
            started: u64::from_str_radix(starttime, 16).unwrap_or_default(),
            kind,
            id,
        })
    }

    /// Returns the VMID of the guest that the task works on, if it works on a single one.
    pub(crate) fn vmid(&self) -> Option<&'a str> {
        let is_number = !self.id.is_empty() && self.id.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_upid_of_any_user() {
        let text = "UPID:pve1:0012A4F3:03B6C2D1:68A1B2C3:qmstart:100:root@pam!mcp:";
        let expected = Upid {
            node: "pve1",
            started: 0x68A1_B2C3,
            kind: "qmstart",
            id: "100",
        };
        assert_eq!(Upid::parse(text), Some(expected));
        assert_eq!(expected.vmid(), Some("100"));
        assert_eq!(Upid { id: "", ..expected }.vmid(), None);
        assert_eq!(
            Upid {
                id: "cron",
                ..expected
            }
            .vmid(),
            None
        );
        assert_eq!(Upid::parse(text.trim_end_matches(':')), None);
        for user in [r"#1%2F?\a@pve", "jörg.o'neil+ops@ldap!a-b_c", "&=;,@pve"] {
            let text = text.replace("root@pam!mcp", user);
            assert_eq!(Upid::parse(&text), Some(expected), "{text}");
        }
        for user in [
            "",
            "a b@pve",
            "a/b@pve",
            "a\n@pve",
            "a\u{a0}b@pve",
            "a\u{202e}@pve",
        ] {
            let text = text.replace("root@pam!mcp", user);
            assert_eq!(Upid::parse(&text), None, "{text}");
        }
        assert_eq!(Upid::parse(&text.replace("100", "a/b")), None);
        assert_eq!(Upid::parse(&text.replace("pve1", "..")), None);
    }
}
