//! Who may do what, as far as it is known, and whether this program would lose its own rights by a change.
//!
//! Proxmox lets a token take away its own rights, and those of its user. The rules are those of
//! `PVE/AccessControl.pm` (`roles`) and `PVE/RPCEnvironment.pm` (`permissions`); what a guest has from its
//! pool is that of the path of the pool.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::answer::{self, plain};
use crate::error::{Error, ErrorKind};
use crate::pve::reader::Reader;
use crate::request::{Method, Request};
use crate::row::Step;
use crate::text;
use crate::text::sort::{gather, sort, sort_by_key};

/// What [`Access::read`] reads.
pub(super) const READS: &[Step] = &[
    Step::read("/access/acl", &[]),
    Step::read("/access/users/{userid}", &[]),
    Step::read("/access/permissions", &[]),
    Step::read("/access/roles", &[]),
];

/// The built-in administrator, who may do everything, whatever the access control list says.
pub(super) const ROOT: &str = "root@pam";

/// The most entries that are named.
const MOST: usize = 20;

/// An entry of the access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: String,
    /// `user`, `group` or `token`.
    pub(super) kind: String,
    pub(super) holder: String,
    pub(super) role: String,
    /// Whether it counts below its path, too.
    pub(super) propagates: bool,
}

impl Entry {
    fn of(row: &Value) -> Self {
        Self {
            path: plain(&row["path"]),
            kind: plain(&row["type"]),
            holder: plain(&row["ugid"]),
            role: plain(&row["roleid"]),
            propagates: is_set(&row["propagate"]),
        }
    }

    /// `PVEAuditor on /vms/100 for user anna@pve`
    fn shown(&self) -> String {
        let Self {
            path,
            kind,
            holder,
            role,
            ..
        } = self;
        format!("{role} on {path} for {kind} {holder}")
    }

    fn is_held_by(&self, kind: &str, holder: &str) -> bool {
        self.kind == kind && self.holder == holder
    }
}

fn is_set(flag: &Value) -> bool {
    answer::number(flag).is_some_and(|flag| flag != 0.0)
}

/// Someone as whom this program works: the user of its token, or who logs in.
#[derive(Clone, Debug)]
pub(super) struct Own {
    user: String,
    /// The token, `user@realm!name`; none for who logs in.
    token: Option<String>,
    /// Whether the token has no more than what is granted to it as well.
    pub(super) is_separate: bool,
    pub(super) groups: BTreeSet<String>,
}

impl Own {
    /// Whether no change of the access control list takes anything from it.
    fn has_everything(&self) -> bool {
        self.user == ROOT && !self.is_separate
    }

    pub(super) fn is_of(&self, user: &str) -> bool {
        self.user == user
    }

    fn shown(&self) -> &str {
        self.token.as_deref().unwrap_or(&self.user)
    }
}

/// The users as whom this program works: that of its token, and who logs in.
pub(super) fn own_users<'a>(client: &'a Reader) -> impl Iterator<Item = &'a str> {
    let token = client.token_id();
    let user = token.split_once('!').map_or(token, |(user, _)| user);
    let login = client.login_user().filter(move |login| *login != user);
    [Some(user), login].into_iter().flatten()
}

/// The access control list, and what it means for this program.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) entries: Vec<Entry>,
    /// Whether the list is whole.
    pub(super) is_whole: bool,
    /// The privileges of roles; empty where they do not matter.
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    /// Those who could lose something.
    pub(super) own: Vec<Own>,
    /// Why it cannot be told what they would lose.
    unknown: Option<String>,
}

impl Access {
    pub(super) fn read(client: &Reader) -> Result<Self, Error> {
        let entries = answer::rows(client.get("/access/acl")?);
        let mut access = Self {
            entries: entries.iter().map(Entry::of).collect(),
            is_whole: true,
            roles: BTreeMap::new(),
            own: Vec::new(),
            unknown: None,
        };
        for user in own_users(client) {
            let is_of_token = client.token_id().split('!').next() == Some(user);
            if !is_of_token && user == ROOT {
                continue;
            }
            let request = Request::new(Method::Get, "/access/users/{userid}");
            match allowed(client.send(&request.segment("userid", user)))? {
                Some(data) => access.add_own(client, user, is_of_token, &data),
                None => {
                    access.unknown = Some(format!(
                        "{user} was not readable (Sys.Audit on /access/groups)"
                    ));
                }
            }
        }
        access.own.retain(|own| !own.has_everything());
        if access.own.is_empty() && access.unknown.is_none() {
            return Ok(access);
        }
        let request = Request::new(Method::Get, "/access/permissions").with("path", "/access");
        let granted = allowed(client.send(&request))?.unwrap_or_default();
        if granted["/access"]["Sys.Audit"].is_null() {
            access.is_whole = false;
            access.unknown =
                Some("the access control list is seen whole with Sys.Audit on /access".to_owned());
        }
        for role in answer::rows(client.get("/access/roles")?) {
            let privileges = split(&plain(&role["privs"]));
            access.roles.insert(plain(&role["roleid"]), privileges);
        }
        Ok(access)
    }

    fn add_own(&mut self, client: &Reader, user: &str, is_of_token: bool, data: &Value) {
        let token = client.token_id();
        let name = token.split_once('!').map_or("", |(_, name)| name);
        let privsep = &data["tokens"][name]["privsep"];
        if is_of_token && privsep.is_null() {
            self.unknown = Some(format!("{user} has no token {name} that is seen"));
        }
        let groups = data["groups"].as_array().into_iter().flatten();
        self.own.push(Own {
            user: user.to_owned(),
            token: is_of_token.then(|| token.to_owned()),
            is_separate: is_of_token && (privsep.is_null() || is_set(privsep)),
            groups: gather(groups.map(plain)),
        });
    }

    /// The entries that `is_it`, in words, after `what`; no line where there are none.
    pub(super) fn listed(&self, what: &str, is_it: impl Fn(&Entry) -> bool) -> Option<String> {
        let mut found: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| is_it(entry))
            .map(Entry::shown)
            .collect();
        sort(&mut found);
        let count = found.len();
        found.truncate(MOST);
        if count > MOST {
            found.push(format!("… ({count})"));
        }
        (count > 0).then(|| text::cut(&format!("{what}: {}", found.join(", ")), 1_500))
    }

    /// The roles that one has on a path by entries of its own.
    pub(super) fn roles_on(&self, path: &str, kind: &str, holder: &str) -> Vec<&Entry> {
        let own = self.entries.iter();
        own.filter(|entry| entry.path == path && entry.is_held_by(kind, holder))
            .collect()
    }

    /// The roles that one would have on a path without entries of its own there, and where they are from.
    pub(super) fn inherited(
        &self,
        path: &str,
        kind: &str,
        holder: &str,
    ) -> Option<(&str, Vec<&str>)> {
        let above: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| {
                entry.is_held_by(kind, holder) && entry.propagates && is_above(&entry.path, path)
            })
            .collect();
        let nearest = above.iter().max_by_key(|entry| depth(&entry.path))?;
        let roles = above.iter().filter(|entry| entry.path == nearest.path);
        Some((&nearest.path, roles.map(|entry| &*entry.role).collect()))
    }

    /// The roles on a path, or below it where `is_below`: entries of a path replace what comes from above, and
    /// those of a token or user those of its groups.
    fn roles(
        &self,
        path: &str,
        is_below: bool,
        kind: &str,
        holder: &str,
        groups: &BTreeSet<String>,
    ) -> BTreeSet<&str> {
        let mut paths: Vec<&str> = self.entries.iter().map(|entry| &*entry.path).collect();
        paths.retain(|other| *other == path || is_above(other, path));
        sort_by_key(&mut paths, |path| depth(path));
        paths.dedup();
        let mut roles = BTreeSet::new();
        for at in paths {
            let is_final = at == path && !is_below;
            let here: Vec<&Entry> = self
                .entries
                .iter()
                .filter(|entry| entry.path == at && (is_final || entry.propagates))
                .collect();
            let of = |is_it: &dyn Fn(&Entry) -> bool| -> BTreeSet<&str> {
                let held = here.iter().filter(|entry| is_it(entry));
                gather(held.map(|entry| &*entry.role))
            };
            let own = of(&|entry| entry.is_held_by(kind, holder));
            let of_groups = of(&|entry| entry.kind == "group" && groups.contains(&entry.holder));
            if !own.is_empty() {
                roles = own;
            } else if !of_groups.is_empty() {
                roles = of_groups;
            }
        }
        roles
    }

    /// The privileges of one as whom this program works; all for the administrator.
    fn privileges(&self, own: &Own, path: &str, is_below: bool) -> BTreeSet<&str> {
        let all_of = |roles: BTreeSet<&str>| -> BTreeSet<&str> {
            if roles.contains("NoAccess") {
                return BTreeSet::new();
            }
            let privileges = roles
                .iter()
                .filter_map(|role| self.roles.get(*role))
                .flatten();
            gather(privileges.map(String::as_str))
        };
        let of_user = || all_of(self.roles(path, is_below, "user", &own.user, &own.groups));
        let Some(token) = own.token.as_ref().filter(|_| own.is_separate) else {
            return of_user();
        };
        let of_token = all_of(self.roles(path, is_below, "token", token, &BTreeSet::new()));
        match own.user == ROOT {
            true => of_token,
            false => gather(of_token.intersection(&of_user()).copied()),
        }
    }

    /// Refuses a change after which this program would have no rights at all on a path where it has some;
    /// returns what else there is to say of what it loses.
    pub(super) fn judge(&self, after: &Self) -> Result<Vec<String>, Error> {
        let entries = [self, after].into_iter().flat_map(|access| &access.entries);
        let paths: BTreeSet<&str> = gather(entries.map(|entry| &*entry.path));
        let mut lines = Vec::new();
        for (own, then) in self.own.iter().zip(&after.own) {
            let mut lost: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
            for path in &paths {
                for is_below in [false, true] {
                    let before = self.privileges(own, path, is_below);
                    let left = after.privileges(then, path, is_below);
                    let gone: BTreeSet<&str> = gather(before.difference(&left).copied());
                    if gone.is_empty() {
                        continue;
                    }
                    if left.is_empty() && self.unknown.is_none() {
                        return Err(locked_out(
                            own.shown(),
                            &format!(
                                "{} would have no rights {} {path} any more",
                                own.shown(),
                                at(is_below)
                            ),
                        ));
                    }
                    lost.entry(gone.iter().copied().collect::<Vec<_>>().join(", "))
                        .or_default()
                        .insert(path);
                }
            }
            for (privileges, paths) in lost {
                let paths: Vec<&str> = paths.into_iter().collect();
                lines.push(text::cut(
                    &format!(
                        "{}, as whom this program works, loses {privileges} on {}",
                        own.shown(),
                        paths.join(", ")
                    ),
                    1_000,
                ));
            }
        }
        if let Some(why) = &self.unknown {
            lines.push(format!(
                "Whether this program itself loses rights by it cannot be told: {why}."
            ));
        }
        Ok(lines)
    }
}

/// The error for a change by which this program would lock itself out; `what` is not done.
pub(super) fn locked_out(who: &str, what: &str) -> Error {
    Error::impossible(
        format!("{what}, nothing was done"),
        format!(
            "This program works as {who} and would lock itself out. If it is meant, do it in the web interface."
        ),
    )
}

fn at(is_below: bool) -> &'static str {
    if is_below { "below" } else { "on" }
}

/// The answer, where the token may read it and it exists.
fn allowed(read: Result<Value, Error>) -> Result<Option<Value>, Error> {
    match read {
        Ok(data) => Ok(Some(data)),
        Err(error) => match error.kind {
            ErrorKind::Refused(_) | ErrorKind::NotRecorded => Ok(None),
            _ => Err(error),
        },
    }
}

fn is_above(path: &str, other: &str) -> bool {
    path != other
        && (path == "/"
            || other
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/')))
}

fn depth(path: &str) -> usize {
    match path {
        "/" => 0,
        path => path.split('/').count(),
    }
}

/// The names of a list as Proxmox takes it.
pub(super) fn split(list: &str) -> BTreeSet<String> {
    let names = list.split([',', ';', ' ']).filter(|name| !name.is_empty());
    gather(names.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn access(entries: &[(&str, &str, &str, &str, u8)]) -> Access {
        let entry = |(path, kind, holder, role, propagates): &(&str, &str, &str, &str, u8)| {
            Entry::of(
                &json!({ "path": path, "type": kind, "ugid": holder, "roleid": role, "propagate": propagates }),
            )
        };
        let roles = [
            ("Ops", "VM.Audit,VM.PowerMgmt"),
            ("See", "VM.Audit"),
            ("NoAccess", ""),
        ];
        let roles = roles.map(|(name, privileges)| (name.to_owned(), split(privileges)));
        Access {
            entries: entries.iter().map(entry).collect(),
            is_whole: true,
            roles: roles.into(),
            own: Vec::new(),
            unknown: None,
        }
    }

    fn own(user: &str, is_separate: bool) -> Own {
        Own {
            user: user.to_owned(),
            token: Some(format!("{user}!t")),
            is_separate,
            groups: split("ops"),
        }
    }

    #[test]
    fn rights_are_those_that_proxmox_computes() {
        let access = access(&[
            ("/", "group", "ops", "Ops", 1),
            ("/", "token", "a@pve!t", "Ops", 1),
            ("/", "token", "root@pam!t", "See", 1),
            ("/vms", "user", "a@pve", "See", 1),
            ("/vms/100", "group", "ops", "Ops", 1),
            ("/vms/101", "user", "a@pve", "NoAccess", 1),
            ("/storage", "user", "a@pve", "See", 0),
            ("/pool", "token", "a@pve!t", "See", 1),
        ]);
        let of = |own: &Own, path: &str, is_below: bool| {
            let privileges = access.privileges(own, path, is_below);
            privileges.into_iter().collect::<Vec<_>>().join(",")
        };
        let (same, separate) = (own("a@pve", false), own("a@pve", true));
        for (own, path, is_below, expected) in [
            (&same, "/", false, "VM.Audit,VM.PowerMgmt"),
            // A user's own role takes the place of those of groups above it.
            (&same, "/vms", false, "VM.Audit"),
            (&same, "/vms/102", false, "VM.Audit"),
            (&same, "/vms/100", false, "VM.Audit,VM.PowerMgmt"),
            (&same, "/vms/101", false, ""),
            (&same, "/storage", false, "VM.Audit"),
            // What does not propagate replaces nothing below.
            (&same, "/storage", true, "VM.Audit,VM.PowerMgmt"),
            (&same, "/pool", false, "VM.Audit,VM.PowerMgmt"),
            (&separate, "/pool", false, "VM.Audit"),
            (&separate, "/vms/102", false, "VM.Audit"),
            (&own("root@pam", true), "/vms", false, "VM.Audit"),
        ] {
            assert_eq!(of(own, path, is_below), expected, "{path} {is_below}");
        }
    }

    #[test]
    fn a_change_that_leaves_nothing_somewhere_is_refused_unless_part_is_unknown() {
        let before = Access {
            own: vec![own("a@pve", false)],
            ..access(&[("/", "user", "a@pve", "Ops", 1)])
        };
        let with = |entries: &[(&str, &str, &str, &str, u8)]| Access {
            own: before.own.clone(),
            ..access(entries)
        };
        let fewer = with(&[("/", "user", "a@pve", "See", 1)]);
        let lines = before.judge(&fewer).expect("some are left");
        assert_eq!(
            lines,
            ["a@pve!t, as whom this program works, loses VM.PowerMgmt on /"]
        );
        assert_eq!(before.judge(&before).expect("nothing changes"), [""; 0]);
        for entries in [
            &[][..],
            &[("/", "user", "a@pve", "Ops", 0)],
            &[
                ("/", "user", "a@pve", "Ops", 1),
                ("/vms", "user", "a@pve", "NoAccess", 1),
            ],
        ] {
            assert!(before.judge(&with(entries)).is_err());
        }
        let unknown = Access {
            unknown: Some("why".to_owned()),
            ..before.clone()
        };
        let lines = unknown.judge(&with(&[])).expect("it cannot be told");
        assert_eq!(
            lines.last().map(String::as_str),
            Some("Whether this program itself loses rights by it cannot be told: why.")
        );
    }
}
