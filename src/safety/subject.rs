//! What a changing request concerns: its nodes, its guests, and what it risks.
//!
//! This comes from the request's declaration, and from the parameters of the request that is about to be
//! sent. An undeclared request is assumed to touch any guest and destroy anything.

use serde_json::Value;

use super::risk::{GuestOption, Risk};
use crate::cluster::volume::owner;
use crate::pve::property::PropertyString;
use crate::request::Request;
use crate::row::requests::{Match, Requests};
use crate::row::{Declared, Harm, Loss, Touches};
use crate::text::list::items;
use crate::text::percent::decode;
use crate::text::slot::Slot;
use crate::text::upid::Upid;

/// What a changing request concerns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The nodes that it names, spelled as in the request.
    pub(super) nodes: Vec<String>,
    pub(super) guests: Vec<Guest>,
    pub(super) unnamed: UnnamedGuests,
    pub(super) risk: Option<Risk>,
    /// What the request does, in words, if its row says so.
    pub(super) does: Option<String>,
}

/// A guest that a request concerns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) vmid: u64,
    pub(super) impact: Impact,
}

/// What happens to a guest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Impact {
    /// It or a part of it is stopped, changed or destroyed.
    Changed,
    /// It is started, backed up or copied, but not changed.
    Unchanged,
    /// It is created; Proxmox refuses if it exists.
    Created {
        pool: String,
        tags: String,
        /// The guest that it copies, whose tags it inherits.
        copy_of: Option<u64>,
    },
}

/// What may happen to guests that a request does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UnnamedGuests {
    Untouched,
    /// Something of theirs is read.
    Read,
    Changed,
}

/// The services without which a cluster node is fenced, or containers lose their view of the system. Some of
/// them cannot reload, and restart instead.
const VITAL_SERVICES: &[&str] = &[
    "corosync",
    "lxcfs",
    "pve-cluster",
    "pve-ha-crm",
    "pve-ha-lrm",
];

/// The parameters that name further nodes in a request to a node.
const FURTHER_NODES: &[&str] = &["node", "nodes", "target"];

/// By the beginning of its path, the options of a cluster object that say where it takes effect: the first
/// list limits it to nodes, the second names further ones. The same names mean something else in other
/// objects, such as the target of an iSCSI storage or the source of a firewall rule.
const LIMITS: &[(&str, &[&str], &[&str])] = &[
    // Guests that move there leave nodes that the request does not name.
    ("/cluster/ha/", &[], &[]),
    ("/cluster/replication", &["source"], &["target"]),
    ("/", &["node", "nodes"], &["exitnodes", "exitnodes-primary"]),
];

impl Subject {
    /// Returns the subject of a call that only reads from this node or guest.
    pub(super) fn of_read(node: Option<&str>, vmid: Option<&str>) -> Self {
        let mut subject = Self {
            nodes: node.into_iter().map(str::to_owned).collect(),
            guests: Vec::new(),
            unnamed: UnnamedGuests::Untouched,
            risk: None,
            does: None,
        };
        if let Some(vmid) = vmid {
            subject.name(vmid, Impact::Unchanged);
        }
        subject
    }

    /// Judges a changing request by its declaration among `requests`. `before` is the object that it changes,
    /// null if that was not read.
    pub(super) fn of(request: &Request, requests: &Requests, before: &Value) -> Self {
        let mut subject = Self::of_read(None, None);
        subject.add_nodes(request, before);
        match requests.find(request) {
            Some(declared) => {
                subject.add_touched(request, &declared, before);
                subject.add_risk(request, &declared, before);
                subject.does = declared.does;
            }
            None => {
                let path: Vec<String> = request.path.split('/').skip(1).map(decode).collect();
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                if let ["nodes", _, "qemu" | "lxc", vmid, ..] = path[..] {
                    subject.name(vmid, Impact::Changed);
                }
                subject.risks_anything(request);
            }
        }
        subject.add_named_elsewhere(request);
        subject
    }

    fn add_touched(&mut self, request: &Request, declared: &Match, before: &Value) {
        match declared.touches {
            Touches::NoGuest => (),
            Touches::AnyGuest => self.unnamed = UnnamedGuests::Changed,
            Touches::AnyGuestAnywhere => {
                self.unnamed = UnnamedGuests::Changed;
                self.nodes.clear();
            }
            Touches::GuestOf(param) => self.name(declared.value(param), Impact::Changed),
            Touches::Guests(param) => {
                let name = param.wire_name().unwrap_or(param.name);
                self.unnamed = match listed(request, name).next() {
                    Some(_) => self.unnamed,
                    None => UnnamedGuests::Changed,
                };
                for vmid in listed(request, name) {
                    self.name(vmid, Impact::Changed);
                }
            }
            Touches::Judged(judge) => {
                for vmid in judge(request, before) {
                    self.name(&vmid, Impact::Changed);
                }
            }
            Touches::Unchanged(param) => self.name(declared.value(param), Impact::Unchanged),
            Touches::NewGuest => self.add_new_guest(request),
            Touches::BackedUp => self.add_backed_up(request),
            Touches::OwnerOf(param) => self.add_volume(declared.value(param), Impact::Changed),
            Touches::ReadsOwnerOf(param) => {
                self.add_volume(declared.value(param), Impact::Unchanged)
            }
            Touches::GuestOfTask(param) => self.add_task(declared.value(param)),
            Touches::Service { name, command } => match declared.value(command) {
                "start" => (),
                "reload" | "restart" | "stop" => {
                    if VITAL_SERVICES.contains(&declared.value(name)) {
                        self.unnamed = UnnamedGuests::Changed;
                    }
                }
                _ => self.risks_anything(request),
            },
            Touches::HaResource(param) => self.name_resource(declared.value(param)),
            Touches::HaCompanions(param) => {
                self.name_resource(declared.value(param));
                self.unnamed = UnnamedGuests::Changed;
            }
        }
    }

    fn add_risk(&mut self, request: &Request, declared: &Match, before: &Value) {
        let of_param = |param| declared.value(param).to_owned();
        let loss = |loss| Risk::Loss {
            does: declared.does.clone(),
            loss,
            before: Declared::describe(before),
        };
        let risk = match declared.harm {
            Harm::None => None,
            Harm::Interrupts(what) => Some(loss(Loss::interrupts(declared.fill(what)))),
            Harm::Destroys(what) => Some(loss(Loss::destroys(declared.fill(what)))),
            Harm::Judged(judge) => judge(request, before).map(loss),
            Harm::DeletesGuest => Some(Risk::DeleteGuest),
            Harm::DeletesSnapshot(name) => Some(Risk::DeleteSnapshot(of_param(name))),
            Harm::DeletesVolume { storage, volume } => Some(Risk::DeleteVolume {
                storage: of_param(storage),
                volume: of_param(volume),
            }),
            Harm::RollsBack(name) => Some(Risk::Rollback(of_param(name))),
            Harm::RunsCommand => {
                let argv = values(request, "command").map(str::to_owned).collect();
                let input = value(request, "input-data").map(str::to_owned);
                Some(Risk::Command { argv, input })
            }
            Harm::Stops => Some(Risk::Stop),
            // After the timeout, a container is killed, and so is a VM under high availability.
            Harm::StopsIfForced => {
                let kills = is_set(request, "forceStop") || is_impatient(value(request, "timeout"));
                kills.then_some(Risk::Stop)
            }
            Harm::OfConfig => risk_of_config(request),
            Harm::OfNewGuest => match replaced_by(request) {
                Some(archive) => Some(Risk::RestoreOver(archive.to_owned())),
                None => risk_of_options(request),
            },
        };
        self.risk = self.risk.take().or(risk);
    }

    /// Adds the guests that the request names elsewhere in its parameters.
    fn add_named_elsewhere(&mut self, request: &Request) {
        for (_, line) in request
            .form
            .iter()
            .filter(|(slot, _)| Slot::of(slot).holds_volume())
        {
            self.add_disk(&PropertyString::parse(line));
        }
        let copy_of = self.guest();
        for vmid in values(request, "newid") {
            self.name(vmid, created(request, copy_of));
        }
        for vmid in values(request, "target-vmid") {
            self.name(vmid, Impact::Changed);
        }
    }

    /// Adds what the tool found out about the effects of the change.
    pub(super) fn add_findings(&mut self, findings: &[String]) {
        if let Some(Risk::Loss { loss, .. }) = &mut self.risk {
            for finding in findings {
                loss.sentence.push('\n');
                loss.sentence.push_str(finding);
            }
        }
    }

    /// Adds the guest of an HA resource: `vm:100`, `ct:101`, or `100`.
    fn name_resource(&mut self, sid: &str) {
        let vmid = sid.split_once(':').map_or(sid, |(_, vmid)| vmid);
        self.name(vmid, Impact::Changed);
    }

    /// Adds the nodes that the request names in its path and parameters. A change to a cluster object
    /// concerns the nodes that the object is limited to before and after. If it is not limited, no node is
    /// added: the change concerns the whole cluster.
    fn add_nodes(&mut self, request: &Request, before: &Value) {
        let mut parts = request.path.split('/').skip(1);
        if let (Some("nodes"), Some(node)) = (parts.next(), parts.next()) {
            self.nodes.push(decode(node));
            for name in FURTHER_NODES {
                self.nodes.extend(listed(request, name).map(str::to_owned));
            }
            return;
        }
        let limits = LIMITS
            .iter()
            .find(|(path, ..)| request.path.starts_with(path));
        let Some((_, limits, others)) = limits else {
            return;
        };
        let nodes_before = |names: &[&str]| -> Vec<String> {
            let lists = names.iter().filter_map(|name| before[*name].as_str());
            lists.flat_map(items).map(str::to_owned).collect()
        };
        let nodes_after = |names: &[&str]| -> Vec<String> {
            let lists = names.iter().map(|name| match value(request, name) {
                Some(_) => listed(request, name).map(str::to_owned).collect(),
                None if listed(request, "delete").any(|unset| unset == *name) => Vec::new(),
                None => nodes_before(&[name]),
            });
            lists.collect::<Vec<Vec<String>>>().concat()
        };
        let (was, is) = (nodes_before(limits), nodes_after(limits));
        let is_limited = !is.is_empty() && (before.is_null() || !was.is_empty());
        if is_limited {
            self.nodes = [was, is, nodes_before(others), nodes_after(others)].concat();
        }
    }

    /// Adds a guest that is being created or restored.
    fn add_new_guest(&mut self, request: &Request) {
        if value(request, "vmid").is_none() {
            self.unnamed = UnnamedGuests::Changed;
        }
        // A guest that is overwritten is not new.
        let replaces = is_set(request, "force");
        for vmid in values(request, "vmid") {
            let impact = match replaces {
                true => Impact::Changed,
                false => created(request, None),
            };
            self.name(vmid, impact);
        }
        let archive = value(request, "archive");
        let template = value(request, "ostemplate");
        for source in [archive, template].into_iter().flatten() {
            self.add_volume(source, Impact::Unchanged);
        }
    }

    fn add_backed_up(&mut self, request: &Request) {
        // Older backups of the guest may be removed to make room.
        let removes = value(request, "remove") != Some("0");
        if value(request, "vmid").is_none() {
            self.unnamed = UnnamedGuests::Changed;
        }
        for vmid in listed(request, "vmid") {
            let impact = match value(request, "mode") {
                Some("snapshot") | None if !removes => Impact::Unchanged,
                _ => Impact::Changed,
            };
            self.name(vmid, impact);
        }
    }

    /// Adds the guest of a task that is being aborted.
    fn add_task(&mut self, upid: &str) {
        /// The beginnings of the task types whose ID names a guest.
        const OF_GUEST: &[&str] = &[
            "ha",
            "img",
            "move_volume",
            "prunebackups",
            "qm",
            "resize",
            "spiceproxy",
            "vncproxy",
            "vz",
        ];
        const WITHOUT_GUEST: &[&str] = &[
            "aptupdate",
            "auth-realm-sync",
            "auth-realm-sync-test",
            "download",
            "imgcopy",
            "ociregistrypull",
            "spiceshell",
            "vncshell",
        ];
        let (kind, id) = Upid::parse(upid).map_or(("", ""), |task| (task.kind, task.id));
        if WITHOUT_GUEST.contains(&kind) {
            return;
        }
        if OF_GUEST.iter().any(|start| kind.starts_with(start)) {
            // A task about a volume has an ID like `100@local-lvm`.
            self.name(id.split('@').next().unwrap_or_default(), Impact::Changed);
        } else if kind.starts_with("srv") {
            if VITAL_SERVICES.contains(&id) || id == "networking" {
                self.unnamed = UnnamedGuests::Changed;
            }
        } else {
            self.unnamed = UnnamedGuests::Changed;
        }
    }

    /// Adds the owners of the volumes that a configuration line attaches to a guest. That guest writes to the
    /// volume unless it is a CD image. A cloud-init drive is written by Proxmox itself, and erased once it is
    /// detached.
    fn add_disk(&mut self, disk: &PropertyString) {
        let is_cd = disk.get("media") == Some("cdrom");
        for key in ["", "file", "volume", "import-from"] {
            let Some(volume) = disk.get(key) else {
                continue;
            };
            if !is_new(volume) {
                self.add_volume(
                    volume,
                    match is_cd && !volume.contains("cloudinit") || key == "import-from" {
                        true => Impact::Unchanged,
                        false => Impact::Changed,
                    },
                );
            }
        }
    }

    /// Adds the owner of an existing volume. If the volume's name does not tell, it may be any guest's.
    fn add_volume(&mut self, volume: &str, impact: Impact) {
        match owner(volume) {
            "" if is_shared(volume) => (),
            "" if impact == Impact::Unchanged => {
                self.unnamed = self.unnamed.max(UnnamedGuests::Read)
            }
            "" => self.unnamed = UnnamedGuests::Changed,
            vmid => self.name(vmid, impact),
        }
    }

    /// Takes for an interruption what its declaration takes for no harm, unless guests stay what they are by it.
    pub(super) fn risk_as_disruption(&mut self, request: &Request, summary: &str, before: &Value) {
        let is_kept = |guest: &Guest| guest.impact != Impact::Changed;
        let keeps_guests = !self.guests.is_empty()
            && self.guests.iter().all(is_kept)
            && self.unnamed != UnnamedGuests::Changed;
        if self.risk.is_none() && !keeps_guests {
            self.risk = Some(Risk::Loss {
                does: None,
                loss: Loss::interrupts(format!("{request}: {summary}")),
                before: Declared::describe(before),
            });
        }
    }

    /// Adds a guest. Anything but a VMID may mean any guest.
    fn name(&mut self, vmid: &str, impact: Impact) {
        match vmid.trim().parse() {
            Ok(vmid) if vmid >= 100 => self.guests.push(Guest { vmid, impact }),
            _ => self.unnamed = UnnamedGuests::Changed,
        }
    }

    /// Assumes that the request touches any guest and destroys anything.
    fn risks_anything(&mut self, request: &Request) {
        self.unnamed = UnnamedGuests::Changed;
        self.risk = Some(Risk::Unknown(request.to_string()));
    }

    /// Returns the guest that the request mainly concerns.
    pub(super) fn guest(&self) -> Option<u64> {
        self.guests.first().map(|guest| guest.vmid)
    }

    /// Returns whether nothing is known about the request.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.risk, Some(Risk::Unknown(_)))
    }
}

/// Returns the values of a parameter, which may occur several times.
fn values<'a>(request: &'a Request, name: &str) -> impl Iterator<Item = &'a str> {
    let pairs = request.form.iter().filter(move |(key, _)| *key == name);
    pairs.map(|(_, value)| value)
}

fn value<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    values(request, name).next()
}

/// Returns the items of a parameter that Proxmox reads as a list.
pub(super) fn listed<'a>(request: &'a Request, name: &str) -> impl Iterator<Item = &'a str> {
    values(request, name).flat_map(items)
}

/// Returns whether a flag is set. Proxmox reads the spellings in `is_false` as false (`PVE/JSONSchema.pm`).
fn is_set(request: &Request, name: &str) -> bool {
    value(request, name).is_some_and(|value| !is_false(value))
}

fn is_false(value: &str) -> bool {
    let words = ["0", "false", "no", "off", ""];
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn created(request: &Request, copy_of: Option<u64>) -> Impact {
    Impact::Created {
        pool: value(request, "pool").unwrap_or_default().to_owned(),
        tags: value(request, "tags").unwrap_or_default().to_owned(),
        copy_of,
    }
}

/// Returns the backup that is restored over an existing guest, if any.
fn replaced_by(request: &Request) -> Option<&str> {
    let template = value(request, "ostemplate").filter(|_| is_set(request, "restore"));
    let archive = value(request, "archive").or(template);
    archive.filter(|_| is_set(request, "force"))
}

fn risk_of_config(request: &Request) -> Option<Risk> {
    let deleted = listed(request, "delete").filter(|slot| Slot::of(slot).holds_volume());
    let slots: Vec<String> = deleted.map(str::to_owned).collect();
    if slots.is_empty() {
        return risk_of_options(request);
    }
    let kept = |slot: &String| !slot.starts_with("unused") && slot != "vmstate";
    let erases = is_set(request, "force") || !slots.iter().all(kept);
    Some(Risk::RemoveDisks { slots, erases })
}

/// Returns the risk of setting or deleting options that protect a guest or run something on its node.
fn risk_of_options(request: &Request) -> Option<Risk> {
    let set = request
        .form
        .iter()
        .map(|(name, value)| (name, Some(value.to_owned())));
    let deleted = listed(request, "delete").map(|name| (name, None));
    let options = set.chain(deleted).filter_map(|(name, value)| match name {
        "hookscript" => Some(GuestOption::Hookscript(value)),
        "lock" => Some(GuestOption::Lock(value)),
        "protection" => value
            .is_none_or(|value| is_false(&value))
            .then_some(GuestOption::Protection),
        _ => None,
    });
    let options: Vec<GuestOption> = options.collect();
    (!options.is_empty()).then_some(Risk::Options(options))
}

/// Returns whether a guest gets less time to shut down than Proxmox's default.
fn is_impatient(timeout: Option<&str>) -> bool {
    const DEFAULT: u64 = 60;
    let is_enough = |timeout: &str| {
        timeout
            .parse::<u64>()
            .is_ok_and(|seconds| seconds >= DEFAULT)
    };
    timeout.is_some_and(|timeout| !is_enough(timeout))
}

/// Returns whether a volume is of a kind that belongs to no guest.
fn is_shared(volume: &str) -> bool {
    let name = volume.split_once(':').map_or(volume, |(_, name)| name);
    let kinds = ["import/", "iso/", "snippets/", "vztmpl/"];
    kinds.iter().any(|kind| name.starts_with(kind))
}

/// Returns whether this creates a disk, `local-lvm:32`, or is an empty drive or the node's drive.
fn is_new(volume: &str) -> bool {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    // With more parts, it is the name of a LUN: `0.0.0.1`.
    let is_size = |name: &str| {
        is_number(name.split_once('.').map_or(name, |(whole, _)| whole))
            && is_number(name.split_once('.').map_or("", |(_, rest)| rest))
    };
    match volume.split_once(':') {
        Some((_, name)) => name == "cloudinit" || is_size(name),
        None => ["cdrom", "none"].contains(&volume),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::request::Method::{self, Delete, Post, Put};
    use crate::safety::CONFIRM_TOKEN;
    use crate::settings::{Confirm, Safety};
    use crate::tool::{Effect, Tool};
    use crate::tools;

    /// Returns the subject of a request, by the declaration of the first tool that has one.
    fn subject(method: Method, path: &str, form: &[(&str, &str)]) -> Subject {
        let request = form
            .iter()
            .fold(Request::new(method, path), |request, (name, value)| {
                request.with(*name, *value)
            });
        subject_of(&request)
    }

    fn subject_of(request: &Request) -> Subject {
        let mut requests = tools().map(|(_, tool)| tool.declared_requests());
        let declared = requests.find(|requests| requests.find(request).is_some());
        Subject::of(request, &declared.unwrap_or(Requests::NONE), &Value::Null)
    }

    fn tools() -> impl Iterator<Item = (&'static str, &'static Tool)> {
        let tools = tools::DOMAINS.iter().flat_map(|domain| domain.tools);
        tools.copied()
    }

    fn changed(vmid: u64) -> Guest {
        Guest {
            vmid,
            impact: Impact::Changed,
        }
    }

    fn unchanged(vmid: u64) -> Guest {
        Guest {
            vmid,
            impact: Impact::Unchanged,
        }
    }

    #[test]
    fn an_invalid_timeout_counts_as_impatient() {
        for (timeout, expected) in [
            (None, false),
            (Some("60"), false),
            (Some("59"), true),
            (Some("0"), true),
            (Some("soon"), true),
        ] {
            assert_eq!(is_impatient(timeout), expected, "{timeout:?}");
        }
    }

    #[test]
    fn a_cluster_object_concerns_the_nodes_that_limit_it_before_and_after() {
        let on = |key: &str, nodes: &str| json!({ key: nodes });
        let (none, new) = (json!({}), Value::Null);
        let job = "/cluster/backup/j1";
        let zone = "/cluster/sdn/zones/z1";
        let replication = "/cluster/replication/100-0";
        for (path, form, before, nodes) in [
            (
                job,
                &[("node", "pve1")][..],
                on("node", "pve2"),
                "pve2,pve1",
            ),
            (job, &[("mode", "stop")], on("node", "pve2"), "pve2,pve2"),
            // The job was on all nodes, or is from now on.
            (job, &[("node", "pve1")], none.clone(), ""),
            (job, &[("delete", "comment;node")], on("node", "pve1"), ""),
            (
                "/storage/s1",
                &[("delete", "nodes")],
                on("nodes", "pve1"),
                "",
            ),
            (
                "/storage/s1",
                &[("nodes", "pve1")],
                on("nodes", "pve1,pve2"),
                "pve1,pve2,pve1",
            ),
            (
                "/storage",
                &[("nodes", "pve1 pve2")],
                new.clone(),
                "pve1,pve2",
            ),
            ("/storage", &[("target", "pve1")], new.clone(), ""),
            (zone, &[("exitnodes", "pve1")], none.clone(), ""),
            (
                zone,
                &[("exitnodes", "pve2")],
                on("nodes", "pve1"),
                "pve1,pve1,pve2",
            ),
            (
                "/cluster/firewall/rules/0",
                &[("source", "pve1")],
                on("source", "pve1"),
                "",
            ),
            // The guests leave other nodes.
            (
                "/cluster/ha/rules/r1",
                &[("nodes", "pve1")],
                on("nodes", "pve1"),
                "",
            ),
            (
                "/cluster/ha/resources/vm%3A100/migrate",
                &[("node", "pve1")],
                new.clone(),
                "",
            ),
            // It runs on its guest's node, which is not known.
            (
                "/cluster/replication",
                &[("target", "pve1")],
                new.clone(),
                "",
            ),
            (
                replication,
                &[],
                json!({ "source": "pve1", "target": "pve2" }),
                "pve1,pve1,pve2,pve2",
            ),
            (replication, &[], on("target", "pve1"), ""),
            (
                "/nodes/pve1/qemu/100/migrate",
                &[("target", "pve2")],
                new.clone(),
                "pve1,pve2",
            ),
        ] {
            let request = form
                .iter()
                .fold(Request::new(Put, path), |request, (name, value)| {
                    request.with(*name, *value)
                });
            let subject = Subject::of(&request, &Requests::NONE, &before);
            assert_eq!(subject.nodes.join(","), nodes, "{path} {form:?} {before}");
        }
    }

    #[test]
    fn a_cd_image_is_read_and_a_cloud_init_drive_is_written() {
        for (line, expected) in [
            ("local:200/vm-200-disk-0.raw,media=cdrom", unchanged(200)),
            ("local-lvm:vm-200-cloudinit,media=cdrom", changed(200)),
            ("local:200/vm-200-cloudinit.qcow2,media=cdrom", changed(200)),
        ] {
            let form = [("ide2", line)];
            let guests = subject(Put, "/nodes/pve1/qemu/100/config", &form).guests;
            assert_eq!(guests, [changed(100), expected], "{line}");
        }
        for (volume, expected) in [("a:32", true), ("a:0.5", true), ("a:0.0.0.1", false)] {
            assert_eq!(is_new(volume), expected, "{volume}");
        }
    }

    #[test]
    fn finds_every_guest_and_node_that_a_request_names() {
        let of = |method, path, form| {
            let Subject { nodes, guests, .. } = subject(method, path, form);
            (nodes.join(","), guests)
        };
        let created = |vmid, pool: &str, copy_of| Guest {
            vmid,
            impact: Impact::Created {
                pool: pool.to_owned(),
                tags: String::new(),
                copy_of,
            },
        };
        assert_eq!(
            of(Post, "/nodes/pve1/qemu/100/status/stop", &[]),
            ("pve1".into(), vec![changed(100)])
        );
        assert_eq!(
            of(Post, "/nodes/pve1/lxc/101/status/start", &[]),
            ("pve1".into(), vec![unchanged(101)])
        );
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/qemu/100/clone",
                &[("newid", "200"), ("target", "pve2"), ("pool", "dev")]
            ),
            (
                "pve1,pve2".into(),
                vec![unchanged(100), created(200, "dev", Some(100))]
            )
        );
        assert_eq!(
            of(Post, "/nodes/pve1/lxc", &[("vmid", "300")]),
            ("pve1".into(), vec![created(300, "", None)])
        );
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/vzdump",
                &[("vmid", "100,101"), ("mode", "stop"), ("remove", "0")]
            ),
            ("pve1".into(), vec![changed(100), changed(101)])
        );
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/vzdump",
                &[("vmid", "100"), ("mode", "snapshot"), ("remove", "0")]
            ),
            ("pve1".into(), vec![unchanged(100)])
        );
        // Older backups may be removed.
        assert_eq!(
            of(Post, "/nodes/pve1/vzdump", &[("vmid", "100")]),
            ("pve1".into(), vec![changed(100)])
        );
        assert_eq!(
            of(
                Delete,
                "/nodes/pve1/tasks/UPID%3Apve1%3A0012A4F3%3A03B6C2D1%3A6A55FD63%3Aqmstart%3A100%3Aroot%40pam%3A",
                &[]
            ),
            ("pve1".into(), vec![changed(100)])
        );
        for volume in [
            "local%3Abackup%2Fvzdump-lxc-101-2026_01_01-00_00_00.tar.zst",
            "pbs%3Abackup%2Fct%2F101%2F2026-01-01T00%3A00%3A00Z",
            "local-lvm%3Avm-101-disk-0",
            "local%3A101%2Fdata.qcow2",
        ] {
            assert_eq!(
                subject(
                    Delete,
                    &format!("/nodes/pve1/storage/s/content/{volume}"),
                    &[]
                )
                .guests,
                [changed(101)],
                "{volume}"
            );
        }
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/qemu/100/move_disk",
                &[("target-vmid", "101")]
            ),
            ("pve1".into(), vec![changed(100), changed(101)])
        );
        assert_eq!(
            of(Post, "/nodes/pve1/services/pveproxy/restart", &[]),
            ("pve1".into(), vec![])
        );
    }

    #[test]
    fn an_undeclared_change_may_touch_any_guest_and_destroy_anything() {
        for (method, path, named) in [
            (Put, "/access/users/a%40pam/undeclared", vec![]),
            (Delete, "/cluster/ha/resources/vm%3A100/undeclared", vec![]),
            (Post, "/nodes/pve1/services/corosync/erase", vec![]),
            (Put, "/nodes/pve1/storage/local/undeclared", vec![]),
            // These may touch guests other than the one that they name.
            (Post, "/nodes/pve1/qemu/100/swap", vec![changed(100)]),
            (Put, "/nodes/pve1/lxc/100/status/stop", vec![changed(100)]),
            (Delete, "/nodes/pve1/qemu/100/config", vec![changed(100)]),
        ] {
            let subject = subject(method, path, &[]);
            let risk = Risk::Unknown(format!("{} {path}", method.as_str()));
            assert!(risk.destroys() && subject.is_unknown());
            assert_eq!(
                (subject.guests, subject.unnamed, subject.risk),
                (named, UnnamedGuests::Changed, Some(risk)),
                "{path}"
            );
        }
    }

    /// The gate's verdict on declared requests, with every part of their paths filled in.
    const DECLARED: &[(&str, &str)] = &[
        ("DELETE /nodes/{node}/lxc/{vmid}", "changes 100, destroys"),
        (
            "DELETE /nodes/{node}/lxc/{vmid}/snapshot/{snapname}",
            "changes 100, destroys",
        ),
        ("DELETE /nodes/{node}/qemu/{vmid}", "changes 100, destroys"),
        (
            "DELETE /nodes/{node}/qemu/{vmid}/snapshot/{snapname}",
            "changes 100, destroys",
        ),
        (
            "DELETE /nodes/{node}/storage/{storage}/content/{volume}",
            "changes 100, destroys",
        ),
        ("DELETE /nodes/{node}/tasks/{upid}", "changes 100"),
        ("POST /nodes/{node}/lxc", "makes 100"),
        ("POST /nodes/{node}/lxc/{newid}/status/start", "keeps 100"),
        ("POST /nodes/{node}/lxc/{vmid}/clone", "keeps 100"),
        ("POST /nodes/{node}/lxc/{vmid}/move_volume", "changes 100"),
        ("POST /nodes/{node}/lxc/{vmid}/snapshot", "changes 100"),
        (
            "POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback",
            "changes 100, destroys",
        ),
        ("POST /nodes/{node}/lxc/{vmid}/status/reboot", "changes 100"),
        (
            "POST /nodes/{node}/lxc/{vmid}/status/shutdown",
            "changes 100",
        ),
        ("POST /nodes/{node}/lxc/{vmid}/status/start", "keeps 100"),
        (
            "POST /nodes/{node}/lxc/{vmid}/status/stop",
            "changes 100, interrupts",
        ),
        ("POST /nodes/{node}/qemu", "makes 100"),
        ("POST /nodes/{node}/qemu/{newid}/status/start", "keeps 100"),
        (
            "POST /nodes/{node}/qemu/{vmid}/agent/exec",
            "changes 100, interrupts",
        ),
        ("POST /nodes/{node}/qemu/{vmid}/clone", "keeps 100"),
        ("POST /nodes/{node}/qemu/{vmid}/config", "changes 100"),
        ("POST /nodes/{node}/qemu/{vmid}/move_disk", "changes 100"),
        ("POST /nodes/{node}/qemu/{vmid}/snapshot", "changes 100"),
        (
            "POST /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback",
            "changes 100, destroys",
        ),
        (
            "POST /nodes/{node}/qemu/{vmid}/status/reboot",
            "changes 100",
        ),
        ("POST /nodes/{node}/qemu/{vmid}/status/resume", "keeps 100"),
        (
            "POST /nodes/{node}/qemu/{vmid}/status/shutdown",
            "changes 100",
        ),
        ("POST /nodes/{node}/qemu/{vmid}/status/start", "keeps 100"),
        (
            "POST /nodes/{node}/qemu/{vmid}/status/stop",
            "changes 100, interrupts",
        ),
        (
            "POST /nodes/{node}/qemu/{vmid}/status/suspend",
            "changes 100",
        ),
        // Which service decides: see the next test.
        ("POST /nodes/{node}/services/{service}/{command}", ""),
        ("POST /nodes/{node}/vzdump", "changes 100"),
        ("PUT /nodes/{node}/lxc/{vmid}/config", "changes 100"),
        ("PUT /nodes/{node}/lxc/{vmid}/resize", "changes 100"),
        ("PUT /nodes/{node}/qemu/{vmid}/config", "changes 100"),
        ("PUT /nodes/{node}/qemu/{vmid}/resize", "changes 100"),
    ];

    /// Returns a declared request, with every part of its path filled in.
    fn filled_in(declared: &str) -> Request {
        let (method, path) = declared.split_once(' ').expect("a method and a path");
        let method = match method {
            "DELETE" => Delete,
            "POST" => Post,
            "PUT" => Put,
            other => panic!("{other} changes nothing"),
        };
        let upid = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstop:100:root@pam:";
        let filled = [
            ("node", "pve1"),
            ("vmid", "100"),
            ("newid", "100"),
            ("snapname", "old"),
            ("storage", "local"),
            (
                "volume",
                "local:backup/vzdump-qemu-100-2026_07_01-00_00_00.vma.zst",
            ),
            ("upid", upid),
            ("service", "pveproxy"),
            ("command", "restart"),
        ];
        let request = Request::new(method, path);
        let request = filled.iter().fold(request, |request, (name, value)| {
            request.segment(name, value)
        });
        assert!(!request.path.contains('{'), "{request}");
        // These name their guest in the form.
        match path.ends_with("/qemu") || path.ends_with("/lxc") || path.ends_with("/vzdump") {
            true => request.with("vmid", "100"),
            false => request,
        }
    }

    /// Describes a subject in words: `changes 100, destroys`.
    fn words(subject: &Subject) -> String {
        let guests = subject.guests.iter().map(|guest| {
            let impact = match guest.impact {
                Impact::Changed => "changes",
                Impact::Unchanged => "keeps",
                Impact::Created { .. } => "makes",
            };
            format!("{impact} {}", guest.vmid)
        });
        let risk = subject.risk.as_ref().map(|risk| match risk.destroys() {
            true => "destroys".to_owned(),
            false => "interrupts".to_owned(),
        });
        guests.chain(risk).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_request_is_judged_in_the_same_way_for_each_tool_that_declares_it() {
        for (declared, expected) in DECLARED {
            let request = filled_in(declared);
            let requests = tools().map(|(name, tool)| (name, tool.declared_requests()));
            let declaring: Vec<_> = requests
                .filter(|(_, requests)| requests.find(&request).is_some())
                .collect();
            assert!(!declaring.is_empty(), "{declared}");
            for (name, requests) in declaring {
                let subject = Subject::of(&request, &requests, &Value::Null);
                assert_eq!(words(&subject), *expected, "{name}: {declared}");
                assert_eq!(subject.nodes, ["pve1"], "{name}: {declared}");
                assert_eq!(
                    subject.unnamed,
                    UnnamedGuests::Untouched,
                    "{name}: {declared}"
                );
                assert!(!subject.is_unknown(), "{name}: {declared}");
            }
        }
    }

    /// Returns a request of a row, with a value for everything that it requires.
    fn filled_row(declared: &Declared) -> Request {
        let value = |name: &str| match name {
            "sid" => "vm:100",
            "vmid" => "100",
            _ => "x1",
        };
        let path = declared.path();
        let parts = path.split(['{', '}']).skip(1).step_by(2);
        let request = Request::new(declared.row.method, &path);
        let request = parts.fold(request, |request, name| request.segment(name, value(name)));
        let always = declared.row.always.iter();
        let request = always.fold(request, |request, (name, value)| {
            request.with(*name, *value)
        });
        let needed = declared.row.takes.iter();
        let needed = needed.filter(|param| param.is_required_by_request());
        needed.fold(request, |request, param| match param.wire_name() {
            Some(name) => request.with(name, value(param.name)),
            None => request,
        })
    }

    /// Returns whether `subject` concerns the declared guests; what code decides is not checked.
    fn touches(subject: &Subject, touches: Touches) -> bool {
        let guests: Vec<u64> = subject.guests.iter().map(|guest| guest.vmid).collect();
        match touches {
            Touches::NoGuest => guests.is_empty() && subject.unnamed == UnnamedGuests::Untouched,
            Touches::AnyGuest => subject.unnamed == UnnamedGuests::Changed,
            Touches::AnyGuestAnywhere => {
                subject.unnamed == UnnamedGuests::Changed && subject.nodes.is_empty()
            }
            Touches::GuestOf(_) | Touches::Unchanged(_) | Touches::HaResource(_) => {
                guests == [100] && subject.unnamed == UnnamedGuests::Untouched
            }
            Touches::HaCompanions(_) => {
                guests == [100] && subject.unnamed == UnnamedGuests::Changed
            }
            Touches::Guests(_)
            | Touches::Judged(_)
            | Touches::NewGuest
            | Touches::BackedUp
            | Touches::OwnerOf(_)
            | Touches::ReadsOwnerOf(_)
            | Touches::GuestOfTask(_)
            | Touches::Service { .. } => true,
        }
    }

    /// Returns whether the risk of `subject` is the declared one, and is to be confirmed in any case.
    fn risks(subject: &Subject, harm: Harm) -> bool {
        let risk = subject.risk.as_ref();
        let is_whole = match risk {
            Some(Risk::Loss { loss, .. }) => {
                !loss.sentence.contains(['{', '}']) && loss.sentence.ends_with('.')
            }
            _ => true,
        };
        let destroys = risk.map(Risk::destroys);
        is_whole
            && match harm {
                Harm::None => destroys.is_none(),
                Harm::Interrupts(_) | Harm::RunsCommand | Harm::Stops => destroys == Some(false),
                Harm::Destroys(_)
                | Harm::DeletesGuest
                | Harm::DeletesSnapshot(_)
                | Harm::DeletesVolume { .. }
                | Harm::RollsBack(_) => destroys == Some(true),
                Harm::Judged(_) | Harm::StopsIfForced | Harm::OfConfig | Harm::OfNewGuest => true,
            }
    }

    #[test]
    fn every_change_that_a_tool_declares_is_judged_as_it_says() {
        for (name, tool) in tools() {
            let requests = tool.declared_requests();
            let changes: Vec<(Request, Touches, Harm)> = match requests {
                Requests::Rows(_) => tool
                    .declared()
                    .iter()
                    .map(|row| (filled_row(row), row.touches(), row.row.harm))
                    .collect(),
                Requests::Steps(steps) => steps
                    .iter()
                    .filter(|step| !step.method.only_reads())
                    .map(|step| (filled_in(&step.to_string()), step.touches, step.harm))
                    .collect(),
            };
            for (request, touched, harm) in changes {
                if crate::pve::reader::only_reads(request.method, &request.path) {
                    continue;
                }
                let subject = Subject::of(&request, &requests, &Value::Null);
                assert!(!subject.is_unknown(), "{name}: {request}");
                assert!(touches(&subject, touched), "{name}: {request}: {subject:?}");
                assert!(risks(&subject, harm), "{name}: {request}: {subject:?}");
                assert_ne!(subject.does.as_deref(), Some(""), "{name}: {request}");
            }
        }
    }

    /// Returns the change that an exchange records, if it does.
    fn recorded(exchange: &Value) -> Option<Request> {
        let (method, path) = exchange["request"].as_str()?.split_once(' ')?;
        let methods = [Delete, Post, Put];
        let method = methods.into_iter().find(|known| known.as_str() == method)?;
        let form = exchange["form"].as_array().into_iter().flatten();
        let form = form.filter_map(|pair| pair.as_str()?.split_once('='));
        Some(
            form.fold(Request::new(method, path), |request, (name, value)| {
                request.with(name, value)
            }),
        )
    }

    /// Returns what a change may have changed: everything that was read in the same case.
    fn objects(exchanges: &[Value]) -> Vec<Value> {
        let reads = exchanges
            .iter()
            .filter(|exchange| recorded(exchange).is_none());
        let read = reads.map(|exchange| exchange["answer"]["data"].clone());
        let objects = read.flat_map(|data| match data {
            Value::Array(items) => items,
            data => vec![data],
        });
        [Value::Null].into_iter().chain(objects).collect()
    }

    #[test]
    fn a_tool_destroys_if_and_only_if_its_requests_do() {
        for (name, tool) in tools() {
            let package = env!("CARGO_MANIFEST_DIR");
            let fixture = fs::read_to_string(format!("{package}/fixtures/tools/{name}.json"));
            let fixture: Value = serde_json::from_str(&fixture.expect("a tool has a fixture"))
                .expect("a fixture is JSON");
            // Its twin can do its work, and harms nothing by that.
            let of_tool = |request: &Request| {
                let requests = tool.declared_requests();
                let twin = || tools::find(tools::find(name)?.twins?.other?);
                match requests.find(request) {
                    Some(_) => requests,
                    None => twin().map_or(requests, |twin| twin.tool.declared_requests()),
                }
            };
            let cases = fixture["cases"].as_array().into_iter().flatten();
            let exchanges = cases.filter_map(|case| case["exchanges"].as_array());
            let changes = exchanges.flat_map(|exchanges| {
                let objects = objects(exchanges);
                let changes = exchanges.iter().filter_map(recorded);
                changes.flat_map(move |request| {
                    let of = |object| Subject::of(&request, &of_tool(&request), object);
                    objects.iter().map(of).collect::<Vec<_>>()
                })
            });
            let changes: Vec<Subject> = changes.collect();
            let risks = || changes.iter().filter_map(|subject| subject.risk.as_ref());
            assert!(
                changes.iter().all(|subject| !subject.is_unknown()),
                "{name}"
            );
            assert_eq!(
                risks().any(Risk::destroys),
                tool.effect == Effect::Destroys,
                "{name}"
            );
            let takes_token = |confirm| {
                let safety = Safety {
                    confirm,
                    ..Safety::default()
                };
                let mut params = tool.listed_params(&safety);
                params.any(|param| param.name == CONFIRM_TOKEN.name)
            };
            assert_eq!(
                takes_token(Confirm::Auto),
                risks().any(Risk::destroys),
                "{name}"
            );
            assert!(
                takes_token(Confirm::Always) || risks().next().is_none(),
                "{name}"
            );
            assert!(!takes_token(Confirm::Never), "{name}");
        }
    }

    #[test]
    fn recognises_requests_that_touch_guests_they_do_not_name() {
        use UnnamedGuests::{Changed, Read, Untouched};
        for (method, path, form, expected) in [
            (Post, "/nodes/pve1/vzdump", &[("all", "1")][..], Changed),
            (
                Post,
                "/nodes/pve1/vzdump",
                &[("vmid", "100;101")],
                Untouched,
            ),
            (Post, "/nodes/pve1/vzdump", &[("vmid", "100,web")], Changed),
            (Post, "/nodes/pve1/qemu/web/status/stop", &[], Changed),
            (Post, "/nodes/pve1/qemu", &[], Changed),
            (Post, "/nodes/pve1/services/pveproxy/reload", &[], Untouched),
            (Post, "/nodes/pve1/services/corosync/start", &[], Untouched),
            (Post, "/nodes/pve1/services/corosync/stop", &[], Changed),
            (Post, "/nodes/pve1/services/corosync/reload", &[], Changed),
            (Post, "/nodes/pve1/services/lxcfs/reload", &[], Changed),
            (
                Post,
                "/nodes/pve1/services/pve-cluster/reload",
                &[],
                Changed,
            ),
            (Post, "/nodes/pve1/services/pve-ha-crm/reload", &[], Changed),
            (Post, "/nodes/pve1/services/pve-ha-lrm/reload", &[], Changed),
            // Rules of its firewall take effect at once.
            (Post, "/cluster/sdn/vnets/a/firewall/rules", &[], Changed),
            (
                Post,
                "/nodes/pve1/qemu",
                &[("vmid", "105"), ("archive", "local:backup/a.vma")],
                Read,
            ),
            (
                Post,
                "/nodes/pve1/lxc",
                &[("vmid", "105"), ("ostemplate", "local:vztmpl/a.tar.zst")],
                Untouched,
            ),
            (
                Post,
                "/nodes/pve1/qemu",
                &[("vmid", "105"), ("ide2", "local:iso/a.iso,media=cdrom")],
                Untouched,
            ),
            (
                Post,
                "/nodes/pve1/qemu",
                &[("vmid", "105"), ("ide2", "fast:a,media=cdrom")],
                Read,
            ),
            (
                Post,
                "/nodes/pve1/qemu",
                &[("vmid", "105"), ("scsi0", "fast:0,import-from=fast:a")],
                Read,
            ),
            (
                Post,
                "/nodes/pve1/qemu/100/config",
                &[("scsi0", "local-lvm:0.5,ssd=1")],
                Untouched,
            ),
            (
                Post,
                "/nodes/pve1/qemu/100/config",
                &[("ide2", "none,media=cdrom")],
                Untouched,
            ),
            (
                Post,
                "/nodes/pve1/qemu/100/config",
                &[("ide2", "fast:cloudinit")],
                Untouched,
            ),
            (
                Post,
                "/nodes/pve1/qemu/100/config",
                &[("scsi1", "/dev/sdb")],
                Changed,
            ),
            (
                Put,
                "/nodes/pve1/lxc/100/config",
                &[("mp0", "/srv,mp=/srv")],
                Changed,
            ),
            (
                Delete,
                "/nodes/pve1/storage/fast/content/fast%3Aiso%2Fa.iso",
                &[],
                Untouched,
            ),
            (
                Delete,
                "/nodes/pve1/storage/fast/content/fast%3Adata",
                &[],
                Changed,
            ),
        ] {
            assert_eq!(
                subject(method, path, form).unnamed,
                expected,
                "{path} {form:?}"
            );
        }
        for (task, expected) in [
            ("vzdump::", Changed),
            ("imgcopy::", Untouched),
            ("imgimport::", Changed),
            ("imgdel:100@local-lvm:", Untouched),
            ("prunebackups:local:", Changed),
            ("stopall::", Changed),
            ("bulk-start::", Changed),
            ("reloadnetworkall::", Changed),
            ("cephdestroyosd:120:", Changed),
            ("srvreload:networking:", Changed),
            ("srvrestart:corosync:", Changed),
            ("srvrestart:cron:", Untouched),
            ("aptupdate::", Untouched),
            ("download:a.iso:", Untouched),
            ("newkind:100:", Changed),
        ] {
            let upid = format!("UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:{task}root@pam:");
            let path = Request::new(Delete, "/nodes/pve1/tasks/{upid}").segment("upid", &upid);
            assert_eq!(subject_of(&path).unnamed, expected, "{task}");
        }
        let broken = subject(Delete, "/nodes/pve1/tasks/UPID", &[]);
        assert_eq!((broken.unnamed, broken.risk), (Changed, None));
    }

    #[test]
    fn attaching_a_volume_changes_its_owner_and_reading_it_does_not() {
        let of = |line: &str| {
            let form = [("scsi1", line)];
            subject(Post, "/nodes/pve1/qemu/100/config", &form).guests
        };
        assert_eq!(of("local:900/a.qcow2"), [changed(100), changed(900)]);
        assert_eq!(of("file=fast:vm-900-disk-0"), [changed(100), changed(900)]);
        assert_eq!(
            of("fast:vm-900-disk-0,media=cdrom"),
            [changed(100), unchanged(900)]
        );
        assert_eq!(
            of("fast:0,import-from=fast:vm-900-disk-0"),
            [changed(100), unchanged(900)]
        );
    }

    #[test]
    fn finds_what_a_request_risks() {
        let risk = |method, path: &str, form: &[_]| subject(method, path, form).risk;
        let of = |method, rest: &str, form: &[_]| {
            subject(method, &format!("/nodes/pve1/qemu/100{rest}"), form).risk
        };
        assert_eq!(of(Delete, "", &[]), Some(Risk::DeleteGuest));
        assert_eq!(
            of(Delete, "/snapshot/old", &[]),
            Some(Risk::DeleteSnapshot("old".into()))
        );
        assert_eq!(of(Post, "/snapshot", &[("snapname", "new")]), None);
        assert_eq!(
            of(Post, "/snapshot/old/rollback", &[]),
            Some(Risk::Rollback("old".into()))
        );
        assert_eq!(of(Post, "/status/stop", &[]), Some(Risk::Stop));
        assert_eq!(of(Post, "/status/shutdown", &[]), None);
        assert_eq!(
            of(Post, "/status/shutdown", &[("forceStop", "1")]),
            Some(Risk::Stop)
        );
        assert_eq!(
            of(Put, "/config", &[("delete", "unused0,net1")]),
            Some(Risk::RemoveDisks {
                slots: vec!["unused0".into()],
                erases: true,
            })
        );
        assert_eq!(of(Put, "/config", &[("delete", "net0,description")]), None);
        assert_eq!(
            of(Post, "/agent/exec", &[("command", "rm"), ("command", "-r")]),
            Some(Risk::Command {
                argv: vec!["rm".into(), "-r".into()],
                input: None,
            })
        );
        let restore = |form: &[_]| risk(Post, "/nodes/pve1/qemu", form);
        assert_eq!(
            restore(&[("vmid", "100"), ("archive", "a"), ("force", "1")]),
            Some(Risk::RestoreOver("a".into()))
        );
        assert_eq!(restore(&[("vmid", "100"), ("archive", "a")]), None);
        assert_eq!(
            risk(
                Post,
                "/nodes/pve1/lxc",
                &[
                    ("vmid", "1"),
                    ("ostemplate", "b"),
                    ("restore", "1"),
                    ("force", "1")
                ]
            ),
            Some(Risk::RestoreOver("b".into()))
        );
        let set = |form: &[_]| of(Put, "/config", form);
        assert_eq!(
            set(&[("hookscript", "local:snippets/a.pl"), ("delete", "lock")]),
            Some(Risk::Options(vec![
                GuestOption::Hookscript(Some("local:snippets/a.pl".into())),
                GuestOption::Lock(None)
            ]))
        );
        assert_eq!(
            set(&[("lock", "backup")]),
            Some(Risk::Options(vec![GuestOption::Lock(Some(
                "backup".into()
            ))]))
        );
        for form in [
            ("protection", "0"),
            ("protection", "Off"),
            ("delete", "tags,protection"),
        ] {
            assert_eq!(
                set(&[form]),
                Some(Risk::Options(vec![GuestOption::Protection]))
            );
        }
        for form in [("protection", "1"), ("protection", "on"), ("onboot", "0")] {
            assert_eq!(set(&[form]), None);
        }
    }
}
