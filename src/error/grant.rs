//! The commands that grant an API token its missing privileges, shown by `check` and after a refusal.

use crate::text::shell_quoted;
use crate::text::sort::sort;

/// Privileges to grant to a token on a path.
pub(crate) struct Grant<'a> {
    /// The path of access control, such as `/vms/100`.
    pub(crate) path: &'a str,
    pub(crate) privileges: Vec<&'a str>,
    pub(crate) before: Before<'a>,
}

/// What the token can do on a path before the grant. A role on a path replaces the roles that the token
/// inherits there (`PVE/AccessControl.pm`, `roles`: "overwrite previous settings").
pub(crate) enum Before<'a> {
    /// The token has roles on the path itself, which stay, or none at all.
    Kept,
    /// The token inherits these privileges, and loses them unless they are granted again.
    Inherited(Vec<&'a str>),
    Unknown,
}

impl Grant<'_> {
    /// Returns one line for a shell on a node, which can be run repeatedly. It also grants to the user, since
    /// a token with privilege separation can only do what both may do. Each path has its own role, so that a
    /// later grant on one path does not extend the others.
    pub(crate) fn line(&self, token_id: &str) -> String {
        let (user, token) = owners(token_id);
        let inherited = match &self.before {
            Before::Inherited(inherited) if !is_auditor(inherited) => &inherited[..],
            _ => &[],
        };
        let mut privileges = [&self.privileges, inherited].concat();
        sort(&mut privileges);
        privileges.dedup();
        let auditor = match &self.before {
            Before::Inherited(inherited) if is_auditor(inherited) => "PVEAuditor,",
            _ => "",
        };
        // A grant on the root path must not propagate, or it would apply to everything.
        let (role, end) = match self.path {
            "/" => ("MCP-top".to_owned(), " --propagate 0"),
            path => (format!("MCP{}", path.replace('/', "-")), ""),
        };
        let role = shell_quoted(&role);
        format!(
            "pveum role add {role}; pveum role modify {role} --append 1 --privs {} && \
             pveum acl modify {} {user}--tokens {token} --roles {auditor}{role}{end}",
            privileges.join(","),
            shell_quoted(self.path),
        )
    }
}

/// Returns whether these are the privileges of PVEAuditor, which differ between versions
/// (`PVE/AccessControl.pm`).
fn is_auditor(privileges: &[&str]) -> bool {
    let has = |name| privileges.contains(&name);
    ["Datastore.Audit", "Sys.Audit", "VM.Audit"]
        .into_iter()
        .all(has)
        && privileges.iter().all(|name| name.ends_with(".Audit"))
}

/// Returns the user and the token to grant to: `--users mcp@pve ` (empty for root@pam, which needs no grant)
/// and `'mcp@pve!mcp'`.
pub(crate) fn owners(token_id: &str) -> (String, String) {
    let user = match user(token_id) {
        Some(user) => format!("--users {} ", shell_quoted(user)),
        None => String::new(),
    };
    (user, shell_quoted(token_id))
}

/// Returns the user of a token, unless it is root@pam, who needs no privileges.
pub(crate) fn user(token_id: &str) -> Option<&str> {
    let (user, _) = token_id.split_once('!')?;
    Some(user).filter(|user| *user != "root@pam")
}

/// The check that failed when Proxmox refused a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked<'a> {
    /// A path, and the privileges of which any one is enough there.
    On(&'a str, Vec<&'a str>),
    /// Proxmox does not say what it checked.
    Something,
    /// Only root@pam itself may do this, and no token.
    Root,
    /// No token may do this.
    Token,
}

impl<'a> Checked<'a> {
    /// Parses a message of Proxmox; returns `None` if it is about something else.
    pub(crate) fn of(said: &'a str) -> Option<Self> {
        let lower = said.to_ascii_lowercase();
        if ["user != root@pam", "for root@pam", "only root"]
            .iter()
            .any(|words| lower.contains(words))
        {
            return Some(Self::Root);
        }
        if said.contains("not available with API token") {
            return Some(Self::Token);
        }
        let (_, rest) = said.split_once("Permission check failed")?;
        if rest.trim().is_empty() {
            return Some(Self::Something);
        }
        let (inner, _) = rest.strip_prefix(" (")?.split_once(')')?;
        let (path, privileges) = inner.split_once(", ")?;
        let privileges: Vec<&str> = privileges.split('|').collect();
        // The message comes from a host, and these parts become part of a shell command.
        let is_path = path.starts_with('/')
            && path
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        let is_privilege = |name: &&str| {
            name.contains('.') && name.chars().all(|c| c.is_ascii_alphabetic() || c == '.')
        };
        (is_path && privileges.iter().all(is_privilege)).then_some(Self::On(path, privileges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, before: Before, token_id: &str) -> String {
        let grant = Grant {
            path,
            privileges: vec!["VM.PowerMgmt"],
            before,
        };
        grant.line(token_id)
    }

    #[test]
    fn the_commands_grant_to_token_and_user_and_can_be_repeated() {
        assert_eq!(
            line("/vms/100", Before::Kept, "mcp@pve!mcp"),
            "pveum role add MCP-vms-100; \
             pveum role modify MCP-vms-100 --append 1 --privs VM.PowerMgmt && \
             pveum acl modify /vms/100 --users mcp@pve --tokens 'mcp@pve!mcp' --roles MCP-vms-100"
        );
        let of_root = line("/vms/100", Before::Unknown, "root@pam!mcp");
        let end = "acl modify /vms/100 --tokens 'root@pam!mcp' --roles MCP-vms-100";
        assert!(of_root.ends_with(end), "{of_root}");
        let quoted = line("/vms/100", Before::Kept, "o'neil@pve!mcp");
        let who = r"--users 'o'\''neil@pve' --tokens 'o'\''neil@pve!mcp' --roles";
        assert!(quoted.contains(who), "{quoted}");
    }

    #[test]
    fn inherited_privileges_are_granted_again() {
        let auditor = vec!["Datastore.Audit", "Sys.Audit", "VM.Audit"];
        let text = line("/vms/100", Before::Inherited(auditor), "mcp@pve!mcp");
        assert!(text.contains("--privs VM.PowerMgmt &&"), "{text}");
        assert!(text.ends_with("--roles PVEAuditor,MCP-vms-100"), "{text}");
        let other = vec!["VM.Audit", "VM.Backup", "VM.PowerMgmt"];
        let text = line("/vms/100", Before::Inherited(other), "mcp@pve!mcp");
        assert!(
            text.contains("--privs VM.Audit,VM.Backup,VM.PowerMgmt &&"),
            "{text}"
        );
        assert!(text.ends_with("--roles MCP-vms-100"), "{text}");
    }

    #[test]
    fn a_role_on_the_root_path_does_not_propagate() {
        let text = line("/", Before::Kept, "mcp@pve!mcp");
        assert!(
            text.ends_with("--roles MCP-top --propagate 0") && text.contains("acl modify / "),
            "{text}"
        );
    }

    #[test]
    fn parses_the_refusals_of_proxmox() {
        for (said, expected) in [
            (
                "Permission check failed (/vms/100, VM.PowerMgmt)",
                Some(Checked::On("/vms/100", vec!["VM.PowerMgmt"])),
            ),
            (
                "Permission check failed (/vms/101, VM.Snapshot|VM.Snapshot.Rollback)",
                Some(Checked::On(
                    "/vms/101",
                    vec!["VM.Snapshot", "VM.Snapshot.Rollback"],
                )),
            ),
            ("Permission check failed", Some(Checked::Something)),
            ("Permission check failed\n", Some(Checked::Something)),
            (
                "Permission check failed (user != root@pam)",
                Some(Checked::Root),
            ),
            (
                "Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)",
                Some(Checked::Root),
            ),
            (
                "Permission check failed (mount point type bind is only allowed for root@pam)",
                Some(Checked::Root),
            ),
            ("only root can set 'args' config", Some(Checked::Root)),
            ("Only root may use this option.", Some(Checked::Root)),
            (
                "Only root can pass arbitrary filesystem paths.",
                Some(Checked::Root),
            ),
            (
                "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.\n)",
                Some(Checked::Token),
            ),
            (
                "Permission check failed (pool 'nopool' does not exist)",
                None,
            ),
            ("Permission check failed (, Pool.Allocate)", None),
            ("Permission check failed (/x;reboot, Sys.Audit)", None),
            ("Permission check failed (/x, Sys.Audit;reboot)", None),
            ("VM 100 not running", None),
        ] {
            assert_eq!(Checked::of(said), expected, "{said}");
        }
    }
}
