//! The privileges that tools need, and those that an API token has.

mod refused;

pub(crate) use refused::explained;

use serde_json::{Map, Value};

use crate::error::grant::Before;
use crate::param::Versions;
use crate::row::{Declared, Step};
use crate::tool::{Call, Tool};

/// One thing that a tool needs: any one of its alternatives, of which there is at least one.
#[derive(Debug)]
pub(crate) struct Need {
    places: Vec<Alternative>,
}

/// A path of Proxmox's access control, and privileges of which one is needed there.
#[derive(Debug)]
struct Alternative {
    at: AclPath,
    privileges: Vec<&'static str>,
}

/// A path of access control, or all paths of one kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AclPath {
    /// The path without the ID of an object: `/vms`.
    pub(crate) base: &'static str,
    pub(crate) below: Below,
}

/// Which objects below a path are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Below {
    /// None: the path itself.
    Nothing,
    /// An existing one.
    Each,
    /// One that does not exist yet, which only a role on the path above can cover.
    New,
}

impl Need {
    /// Parses a line of [`crate::row::needs`]; returns `None` if this major version checks none of it.
    fn new(line: &'static str, major: u32) -> Option<Self> {
        let (places, _) = parts(line);
        let places = places.map(|(path, privileges)| {
            let (base, below) = match path.split_once("/{") {
                Some((base, "newid}")) => (base, Below::New),
                Some((base, _)) => (base, Below::Each),
                None => (path, Below::Nothing),
            };
            let known = privileges.filter(|name| exists(name, major));
            Alternative {
                at: AclPath { base, below },
                privileges: known.collect(),
            }
        });
        let places: Vec<Alternative> = places
            .filter(|place| !place.privileges.is_empty())
            .collect();
        (!places.is_empty()).then_some(Self { places })
    }

    /// Returns its first alternative.
    pub(crate) fn first(&self) -> (AclPath, &'static str) {
        let place = &self.places[0];
        (place.at, place.privileges[0])
    }

    /// Returns whether a token that has this also has `other`.
    fn implies(&self, other: &Need) -> bool {
        let covers = |own: &Alternative, other: &Alternative| {
            own.at == other.at
                && own
                    .privileges
                    .iter()
                    .all(|name| other.privileges.contains(name))
        };
        let mut own = self.places.iter();
        own.all(|own| other.places.iter().any(|other| covers(own, other)))
    }
}

/// Splits a line into its alternatives, each a path with privileges, and the flag without which it does not
/// apply.
fn parts(
    line: &'static str,
) -> (
    impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)>,
    Option<&'static str>,
) {
    let (places, flag) = match line.split_once(" if ") {
        Some((places, flag)) => (places, Some(flag)),
        None => (line, None),
    };
    let places = places.split(" or ").filter_map(|place| {
        let (path, privileges) = place.split_once(':')?;
        Some((path, privileges.split('|')))
    });
    (places, flag)
}

/// Returns whether this major version of Proxmox VE has the privilege and checks it (`PVE/AccessControl.pm`).
fn exists(privilege: &str, major: u32) -> bool {
    match privilege {
        "VM.Monitor" => major < 9,
        name if name.starts_with("VM.GuestAgent.") => major >= 9,
        // It existed before, but was not checked.
        "SDN.Use" => major >= 8,
        "VM.Replicate" => major >= 9,
        _ => true,
    }
}

/// Returns the lines of a tool: those of its indispensable requests, without requests that this major version
/// lacks.
pub(crate) fn lines(tool: &Tool, major: Option<u32>) -> Vec<&'static str> {
    let is_known = |versions: Versions| major.is_none_or(|major| versions.contain(major));
    let known = |step: &&Step| is_known(step.versions());
    match &tool.call {
        Call::Choice(choice) => {
            let declared = choice.declared();
            let declared = declared.filter(|declared| is_known(declared.known_to()));
            let mut lines = Vec::new();
            declared.for_each(|declared| lines.extend(declared.privileges()));
            lines
        }
        Call::Plain(step, _) => Step::all_needs([step].into_iter().filter(known)),
        Call::Steps(steps, _) => Step::all_needs(steps.iter().filter(known)),
    }
}

/// Returns the lines of a call: if its tool has several requests, only those of the picked one.
pub(crate) fn lines_of_call(tool: &Tool, picked: Option<&Declared>) -> Vec<&'static str> {
    match (&tool.call, picked) {
        (Call::Choice(_), Some(picked)) => picked.privileges().collect(),
        (Call::Choice(_), None) => Vec::new(),
        (Call::Plain(..) | Call::Steps(..), _) => lines(tool, None),
    }
}

/// Returns what a tool needs for everything it does on this major version of Proxmox VE.
pub(crate) fn needs(tool: &Tool, major: u32) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for need in lines(tool, Some(major))
        .into_iter()
        .filter_map(|line| Need::new(line, major))
    {
        if needs.iter().any(|known| known.implies(&need)) {
            continue;
        }
        needs.retain(|known| !need.implies(known));
        needs.push(need);
    }
    needs
}

/// The privileges of a token: for each path with a role of its own, and for a few paths above, the privileges
/// there, and whether each propagates to the paths below.
pub(crate) struct Granted(Map<String, Value>);

/// Returns whether a privilege propagates; Perl does not distinguish numbers from text.
fn propagates(below: &Value) -> bool {
    match below {
        Value::Bool(below) => *below,
        Value::Number(below) => below.as_u64() != Some(0),
        Value::String(below) => !["", "0"].contains(&&**below),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Where a token has what is needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Everywhere,
    /// Everywhere except on these paths.
    AllBut(Vec<String>),
    /// Only on these paths.
    Only(Vec<String>),
    Nowhere,
}

impl Granted {
    /// Reads the answer to `GET /access/permissions`.
    ///
    /// It lists the effective privileges, including inherited ones, of the top-level paths, the paths with a
    /// role of any user and the members of pools, but no path without privileges (`PVE/RPCEnvironment.pm`,
    /// `get_effective_permissions`).
    pub(crate) fn new(data: Value) -> Self {
        match data {
            Value::Object(paths) => Self(paths),
            _ => Self(Map::new()),
        }
    }

    /// Returns whether the token has no privileges at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the token has a privilege on a path: the nearest listed path decides.
    fn has(&self, path: &str, privilege: &str) -> bool {
        match self.0.get(path) {
            Some(privileges) => privileges.get(privilege).is_some(),
            None => self
                .above(path)
                .is_some_and(|above| propagates(&above[privilege])),
        }
    }

    /// Returns the entry of the nearest listed path above.
    fn above(&self, path: &str) -> Option<&Value> {
        /// These are listed unless the token has no privileges there.
        const TOP: &[&str] = &["/access", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
        let mut path = path;
        while let Some((above, _)) = path.rsplit_once('/').filter(|_| path != "/") {
            let listed = self.0.get(if above.is_empty() { "/" } else { above });
            if listed.is_some() || TOP.contains(&above) {
                return listed;
            }
            path = above;
        }
        None
    }

    /// Returns the listed paths below.
    fn below<'a>(&'a self, base: &'a str) -> impl Iterator<Item = &'a str> {
        let is_below = move |path: &&String| {
            let rest = path.strip_prefix(base);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.0.keys().filter(is_below).map(String::as_str)
    }

    fn reach_of(&self, place: &Alternative) -> Reach {
        let has = |path: &str| place.privileges.iter().any(|name| self.has(path, name));
        let AclPath { base, below } = place.at;
        // No object can be called `*`, which therefore represents those without a role of their own.
        let general = match below {
            Below::Nothing => has(base),
            Below::Each | Below::New => has(&format!("{base}/*")),
        };
        if below != Below::Each {
            return match general {
                true => Reach::Everywhere,
                false => Reach::Nowhere,
            };
        }
        let other = self.below(base).filter(|path| has(path) != general);
        let other: Vec<String> = other.map(str::to_owned).collect();
        match (general, other.is_empty()) {
            (true, true) => Reach::Everywhere,
            (true, false) => Reach::AllBut(other),
            (false, false) => Reach::Only(other),
            (false, true) => Reach::Nowhere,
        }
    }

    /// Returns where the token has what is needed.
    pub(crate) fn reach(&self, need: &Need) -> Reach {
        let mut widest = Reach::Nowhere;
        for place in &need.places {
            widest = match (widest, self.reach_of(place)) {
                (Reach::Everywhere, _) | (_, Reach::Everywhere) => Reach::Everywhere,
                (Reach::AllBut(paths), _) | (_, Reach::AllBut(paths)) => Reach::AllBut(paths),
                (Reach::Only(mut paths), Reach::Only(more)) => {
                    paths.extend(more);
                    Reach::Only(paths)
                }
                (Reach::Only(paths), Reach::Nowhere) | (Reach::Nowhere, Reach::Only(paths)) => {
                    Reach::Only(paths)
                }
                (Reach::Nowhere, Reach::Nowhere) => Reach::Nowhere,
            };
        }
        widest
    }

    /// Returns the privileges that a path would inherit without a role of its own.
    fn inherited<'a>(&'a self, path: &str) -> Vec<&'a str> {
        let above = self.above(path).and_then(Value::as_object);
        let counts = above
            .into_iter()
            .flatten()
            .filter(|(_, below)| propagates(below));
        counts.map(|(name, _)| name.as_str()).collect()
    }

    /// Returns whether the token has roles of its own on a path: another role adds to them.
    fn has_own(&self, path: &str) -> bool {
        let own = self.0.get(path).and_then(Value::as_object);
        own.is_some_and(|own| {
            let names = own.keys().map(String::as_str);
            !own.is_empty() && !names.eq(self.inherited(path))
        })
    }

    /// Returns what the token has on a path before anything is granted there.
    pub(crate) fn before<'a>(&'a self, path: &str) -> Before<'a> {
        let inherited = self.inherited(path);
        match inherited.is_empty() || self.has_own(path) {
            true => Before::Kept,
            false => Before::Inherited(inherited),
        }
    }

    /// Returns the paths below `base` on which the token has roles of its own.
    pub(crate) fn own_below<'a>(&'a self, base: &'a str) -> Vec<&'a str> {
        let below = self.below(base);
        below.filter(|path| self.has_own(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::{env, fs};

    use serde_json::json;

    use super::*;
    use crate::cluster::{diagnosis, tasks};
    use crate::request::Login;
    use crate::row::needs::*;
    use crate::safety::facts;
    use crate::tool::ListedTool;
    use crate::tools;

    fn all() -> impl Iterator<Item = (&'static str, &'static Tool)> {
        tools::DOMAINS
            .iter()
            .flat_map(|domain| domain.tools)
            .copied()
    }

    fn need(line: &'static str) -> Need {
        Need::new(line, 9).expect("it is checked")
    }

    fn needs_of(name: &str, major: u32) -> Vec<String> {
        let ListedTool { tool, .. } = tools::find(name).expect("it is listed");
        let needs = needs(tool, major);
        let shown = needs.iter().map(|need| {
            let places = need.places.iter();
            let places =
                places.map(|place| format!("{}:{}", place.at.base, place.privileges.join("|")));
            places.collect::<Vec<_>>().join(" or ")
        });
        shown.collect()
    }

    /// Returns the requests that code sends, including those that any tool may send.
    fn steps() -> impl Iterator<Item = Step> {
        let of_tools = all().flat_map(|(_, tool)| match &tool.call {
            Call::Choice(_) => Vec::new(),
            Call::Plain(step, _) => vec![*step],
            Call::Steps(steps, _) => steps.to_vec(),
        });
        let of_any_tool = [tasks::REQUESTS, facts::REQUESTS, diagnosis::REQUESTS];
        of_tools.chain(of_any_tool.concat())
    }

    #[test]
    fn a_request_needs_the_same_whichever_tool_sends_it() {
        let mut known: BTreeMap<String, &[&str]> = BTreeMap::new();
        for step in steps() {
            let needs = known.entry(step.to_string()).or_insert(step.needs());
            assert_eq!(*needs, step.needs(), "{step}");
        }
    }

    #[test]
    fn each_line_is_well_formed() {
        let lines = all().flat_map(|(_, tool)| lines(tool, None));
        for line in lines {
            let (places, flag) = line.split_once(" if ").unwrap_or((line, "start"));
            const FLAGS: &[&str] = &[
                "start",
                "add_storage",
                "add_storages",
                "add-storage",
                "remove_storages",
                "remove-storages",
                "cleanup-config",
            ];
            assert!(FLAGS.contains(&flag), "{line}");
            for place in places.split(" or ") {
                let (path, privileges) = place.split_once(':').expect(line);
                assert!(path.starts_with('/') && !path.contains(' '), "{line}");
                for name in privileges.split('|') {
                    let known = [
                        "Datastore.",
                        "Group.",
                        "Permissions.",
                        "Pool.",
                        "Realm.",
                        "SDN.",
                        "Sys.",
                        "User.",
                        "VM.",
                    ];
                    assert!(known.iter().any(|kind| name.starts_with(kind)), "{line}");
                    assert!(!name.contains([' ', ':']), "{line}");
                }
            }
        }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that proves nothing says so")]
    fn needs_match_the_api_description() {
        let Some(folder) = env::var_os("PVE_API_FACTS") else {
            eprintln!("PVE_API_FACTS names no folder: the privileges are not compared");
            return;
        };
        for (version, major) in [("7.4", 7), ("8.4", 8), ("9.2", 9)] {
            let file = Path::new(&folder).join(format!("{version}.jsonl"));
            let text = fs::read_to_string(&file).expect("the description can be read");
            let endpoints = text.lines().map(serde_json::from_str);
            let endpoints: Vec<Value> = endpoints.collect::<Result<_, _>>().expect("JSON lines");
            let steps = steps().filter(|step| step.versions().contain(major));
            let steps = steps.map(|step| (step.to_string(), step.needs()));
            let mut requests: Vec<(String, Needs)> = steps.collect();
            let declared = all().flat_map(|(_, tool)| tool.declared());
            let (logged_in, declared): (Vec<_>, Vec<_>) =
                declared.partition(|declared| declared.row.login.is_some());
            for declared in declared {
                if declared.known_to().contain(major) {
                    for (method, path, needs) in declared.requests() {
                        requests.push((format!("{} {path}", method.as_str()), needs));
                    }
                }
            }
            for declared in logged_in {
                let (method, path) = (declared.row.method.as_str(), declared.path());
                let endpoint = endpoints
                    .iter()
                    .find(|endpoint| endpoint["method"] == method && endpoint["path"] == *path)
                    .unwrap_or_else(|| panic!("{version} has no {method} {path}"));
                match declared.row.login {
                    Some(Login::Root) => assert_eq!(endpoint["perm"], "root@pam only", "{path}"),
                    _ => assert_eq!(endpoint["token"], false, "{path}"),
                }
                assert_eq!(declared.privileges().count(), 0, "{path}");
            }
            for (request, lines) in requests {
                let (method, path) = request.split_once(' ').expect("a method and a path");
                let path = path.replace("{newid}", "{vmid}");
                let path = path.replace("{type}", "qemu").replace("{command}", "start");
                // Part names may differ here.
                let shape = |path: &str| {
                    let parts = path.split('/');
                    let parts = parts.map(|part| if part.starts_with('{') { "{}" } else { part });
                    parts.collect::<Vec<_>>().join("/")
                };
                let is_it = |endpoint: &&Value| {
                    let of_it = endpoint["path"].as_str().map(shape);
                    endpoint["method"] == method && of_it == Some(shape(&path))
                };
                let endpoint = endpoints
                    .iter()
                    .find(is_it)
                    .unwrap_or_else(|| panic!("{version} has no {request}"));
                assert_ne!(endpoint["token"], false, "{request} is not for tokens");
                // The description of 7.4 splits one privilege into letters: `V&M&.&C`.
                let joined = |perm: &str| match perm.contains("V&M&") {
                    true => perm.replace('&', ""),
                    false => perm.to_owned(),
                };
                let Some(declared) = endpoint["perm"].as_str().map(joined) else {
                    let in_code = endpoint["perm_in_code"] == true;
                    assert!(lines.is_empty() || in_code, "{version} {request}");
                    continue;
                };
                let mut declared = declared.split([' ', '(', ')']).filter_map(|word| {
                    let (path, privileges) = word.split_once(':')?;
                    Some((path, privileges.split(['|', '&']).collect::<Vec<_>>()))
                });
                // Every declared place must be among those of the lines.
                let fits = |(path, privileges): &(&str, Vec<&str>)| {
                    let same = |place: &str| {
                        let (own, of) = place.split_once(':').expect("a place");
                        let mut of = of.split('|').filter(|name| exists(name, major)).peekable();
                        let own = own.replace("{newid}", "{vmid}");
                        let own = own
                            .replace("{owner}", "{vmid}")
                            .replace("{volume}", "{storage}");
                        own == path.replace("{newid}", "{vmid}")
                            && of.peek().is_some()
                            && of.all(|name| privileges.contains(&name))
                    };
                    let places = lines.iter().flat_map(|line| line.split(" or "));
                    places
                        .map(|place| place.split(" if ").next().unwrap_or_default())
                        .any(same)
                };
                assert!(declared.all(|place| fits(&place)), "{version} {request}");
            }
        }
    }

    #[test]
    fn a_version_needs_only_privileges_that_it_has() {
        let exec = "proxmox_execute_vm_command";
        assert_eq!(needs_of(exec, 8), ["/vms:VM.Monitor"]);
        assert_eq!(needs_of(exec, 9), ["/vms:VM.GuestAgent.Unrestricted"]);
        let add = "proxmox_add_network_lxc";
        let before = ["/vms:VM.Audit", "/vms:VM.Config.Network"];
        assert_eq!(needs_of(add, 7), before);
        assert_eq!(
            needs_of(add, 8),
            [&before[..], &["/sdn/zones:SDN.Use"]].concat()
        );
    }

    #[test]
    fn omits_a_need_that_another_implies() {
        assert_eq!(
            needs_of("proxmox_move_disk_vm", 9),
            [
                "/vms:VM.Audit",
                "/vms:VM.Config.Disk",
                "/storage:Datastore.AllocateSpace"
            ]
        );
        assert_eq!(
            needs_of("proxmox_resize_vm", 9),
            [
                "/vms:VM.Audit",
                "/vms:VM.Config.CPU",
                "/vms:VM.Config.Memory"
            ]
        );
        let narrow = need("/vms/{vmid}:VM.Backup");
        let wide = need(BACKUP);
        assert!(narrow.implies(&wide) && !wide.implies(&narrow));
    }

    #[test]
    fn a_privilege_propagates_unless_a_nearer_path_is_listed() {
        let granted = Granted::new(json!({
            "/": { "VM.Audit": 1 },
            "/vms": { "VM.Audit": 1, "VM.PowerMgmt": 0 },
            "/vms/100": { "VM.Audit": 1, "VM.PowerMgmt": 1 },
            "/vms/101": { "Sys.Audit": 1 },
            "/storage": { "Datastore.Audit": "1" },
            "/nodes": { "Sys.Audit": "0" },
        }));
        for (path, privilege, expected) in [
            ("/vms", "VM.PowerMgmt", true),
            ("/vms/102", "VM.PowerMgmt", false),
            ("/vms/100", "VM.PowerMgmt", true),
            ("/vms/102", "VM.Audit", true),
            ("/vms/101", "VM.Audit", false),
            ("/storage/local", "Datastore.Audit", true),
            ("/nodes/pve1", "Sys.Audit", false),
            // It would be listed if anything were granted there.
            ("/pool/x", "VM.Audit", false),
            ("/", "VM.Audit", true),
            ("/", "Sys.Audit", false),
        ] {
            assert_eq!(granted.has(path, privilege), expected, "{path} {privilege}");
        }
    }

    #[test]
    fn finds_where_a_token_has_what_is_needed() {
        let granted = Granted::new(json!({
            "/vms": { "VM.Audit": 1 },
            "/vms/100": { "VM.Audit": 1, "VM.Backup": 1 },
            "/vms/101": {},
            "/pool/web": { "VM.Allocate": 1 },
            "/storage": { "Datastore.Allocate": 1 },
            "/sdn/zones/localnetwork": { "SDN.Use": 1 },
        }));
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        for (line, expected) in [
            (AUDIT[0], Reach::AllBut(paths(&["/vms/101"]))),
            (POWER[0], Reach::Nowhere),
            ("/vms/{vmid}:VM.Backup", Reach::Only(paths(&["/vms/100"]))),
            (BACKUP, Reach::Everywhere),
            (CREATE[0], Reach::Only(paths(&["/pool/web"]))),
            (BRIDGE, Reach::Only(paths(&["/sdn/zones/localnetwork"]))),
            (ALL_NODES[0], Reach::Nowhere),
        ] {
            assert_eq!(granted.reach(&need(line)), expected, "{line}");
        }
    }

    #[test]
    fn a_role_on_an_existing_guest_does_not_allow_creating_another() {
        let granted = |paths: &[&str]| {
            let privileges = json!({ "VM.Allocate": 1, "VM.PowerMgmt": 1 });
            let paths = paths.iter();
            Granted::new(paths.map(|path| (*path, privileges.clone())).collect())
        };
        let delete = need(ALLOCATE[0]);
        for line in [CREATE[0], CLONE[1], STARTED] {
            let create = need(line);
            let reach = |paths: &[&str]| granted(paths).reach(&create);
            assert_eq!(reach(&["/vms/100"]), Reach::Nowhere, "{line}");
            assert_eq!(reach(&["/vms"]), Reach::Everywhere, "{line}");
            let pool = Reach::Only(vec!["/pool/web".to_owned()]);
            assert_eq!(reach(&["/vms/100", "/pool/web"]), pool, "{line}");
        }
        let only = Reach::Only(vec!["/vms/100".to_owned()]);
        assert_eq!(granted(&["/vms/100"]).reach(&delete), only);
    }

    #[test]
    fn distinguishes_own_roles_of_a_path_from_inherited_ones() {
        let auditor = json!({ "Sys.Audit": 1, "VM.Audit": 1 });
        let granted = Granted::new(json!({
            "/": auditor,
            "/vms": { "Sys.Audit": 1, "VM.Audit": 1, "VM.Backup": 0 },
            "/vms/100": auditor,
            "/vms/101": { "VM.Audit": 1, "VM.PowerMgmt": 1 },
            "/vms/102": {},
        }));
        assert_eq!(granted.own_below("/vms"), ["/vms/101"]);
        assert_eq!(granted.own_below("/storage"), [""; 0]);
        assert_eq!(granted.inherited("/vms/103"), ["Sys.Audit", "VM.Audit"]);
        assert_eq!(granted.inherited("/vms"), ["Sys.Audit", "VM.Audit"]);
        assert_eq!(granted.inherited("/mapping/pci"), ["Sys.Audit", "VM.Audit"]);
        assert_eq!(granted.inherited("/"), [""; 0]);
        // Nothing is listed for /storage, so nothing is inherited there.
        assert_eq!(granted.inherited("/storage/local"), [""; 0]);
    }
}
