//! What a request that changes something is about: its nodes, its guests, and the harm it can do.
//!
//! All of it is read off the request that is about to be sent, so a tool can neither forget to say it
//! nor say something else. Nothing passes because it is unknown here: what no arm below speaks for may
//! touch any guest and destroy anything.

use serde_json::Value;

use super::harm::{GuestOption, Harm};
use crate::cluster::volume::owner;
use crate::pve::property::PropertyString;
use crate::request::Method::{Delete, Post, Put};
use crate::request::Request;
use crate::row::{self, Declared, Loss, Touches};
use crate::text::percent::decode;
use crate::text::slot::Slot;
use crate::text::upid::Upid;

/// What a changing request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The nodes that it names, in whatever form.
    pub(super) nodes: Vec<String>,
    pub(super) guests: Vec<Guest>,
    pub(super) unnamed: Unnamed,
    pub(super) harm: Option<Harm>,
    /// What the request does, in words, where its row says so.
    pub(super) does: Option<String>,
}

/// A guest that a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) vmid: u64,
    pub(super) part: Part,
}

/// What happens to a guest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It is stopped, changed or destroyed, or something of it is.
    Changes,
    /// It is started, saved or copied, and stays what it is.
    Keeps,
    /// It is made; Proxmox refuses where one is there.
    Made {
        pool: String,
        tags: String,
        /// The guest that it is a copy of, whose tags it gets.
        copy_of: Option<u64>,
    },
}

/// What may happen to guests that a request does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unnamed {
    Untouched,
    /// Something of them is read.
    Read,
    Changed,
}

/// The services without which a node of a cluster is fenced, or containers lose their view of the system.
/// Some of them cannot reload, and restart instead.
const VITAL_SERVICES: &[&str] = &[
    "corosync",
    "lxcfs",
    "pve-cluster",
    "pve-ha-crm",
    "pve-ha-lrm",
];

impl Subject {
    /// Of a call that only reads, and names these.
    pub(super) fn read(node: Option<&str>, vmid: Option<&str>) -> Self {
        let mut subject = Self {
            nodes: node.into_iter().map(str::to_owned).collect(),
            guests: Vec::new(),
            unnamed: Unnamed::Untouched,
            harm: None,
            does: None,
        };
        if let Some(vmid) = vmid {
            subject.name(vmid, Part::Keeps);
        }
        subject
    }

    /// Of a request that changes something: as its row says, where it is one of those that the tool
    /// declares, else as its path says. `before` is the object that it changes, null if it was not read.
    pub(super) fn of(request: &Request, declared: &[Declared], before: &Value) -> Self {
        match Declared::find(declared, request) {
            Some(declared) => Self::of_row(request, &declared, before),
            None => Self::of_path(request),
        }
    }

    fn of_row(request: &Request, declared: &Declared, before: &Value) -> Self {
        let does = declared.does(request);
        let mut subject = Self::read(None, None);
        subject.add_nodes(request);
        let value = |param| declared.value(request, param).unwrap_or_default();
        let with_values = |sentence: &str| declared.fill(sentence, request);
        let loss = match declared.row.harm {
            row::Harm::None => None,
            row::Harm::Interrupts(what) => Some(Loss::interrupts(with_values(what))),
            row::Harm::Destroys(what) => Some(Loss::destroys(with_values(what))),
            row::Harm::Judged(judge) => judge(request, before),
            _ => return Self::of_path(request),
        };
        match declared.touches() {
            Touches::NoGuest => (),
            Touches::AnyGuest => subject.unnamed = Unnamed::Changed,
            Touches::GuestOf(param) => subject.name(&value(param), Part::Changes),
            Touches::Keeps(param) => subject.name(&value(param), Part::Keeps),
            Touches::Guests(param) => {
                let vmids = value(param);
                match vmids.is_empty() {
                    true => subject.unnamed = Unnamed::Changed,
                    false => split(&vmids).for_each(|vmid| subject.name(vmid, Part::Changes)),
                }
            }
            Touches::Judged(judge) => {
                for vmid in judge(request, before) {
                    subject.name(&vmid, Part::Changes);
                }
            }
            Touches::HaResource(param) => subject.name_resource(&value(param)),
            Touches::HaCompanions(param) => {
                subject.name_resource(&value(param));
                subject.unnamed = Unnamed::Changed;
                // It names the node that they go to, and not those that they leave.
                subject.nodes.clear();
            }
            _ => return Self::of_path(request),
        }
        subject.harm = loss.map(|loss| Harm::Declared {
            does: does.clone(),
            loss,
            before: Declared::describe(before),
        });
        subject.does = Some(does);
        subject
    }

    /// The guest of an HA resource: `vm:100`, `ct:101`, or `100`.
    fn name_resource(&mut self, sid: &str) {
        let vmid = sid.split_once(':').map_or(sid, |(_, vmid)| vmid);
        self.name(vmid, Part::Changes);
    }

    /// The nodes that it names, in its path or beside it.
    fn add_nodes(&mut self, request: &Request) {
        let mut parts = request.path.split('/').skip(1);
        if let (Some("nodes"), Some(node)) = (parts.next(), parts.next()) {
            self.nodes.push(decode(node));
        }
        for name in ["node", "nodes", "target"] {
            self.nodes.extend(listed(request, name).map(str::to_owned));
        }
    }

    fn of_path(request: &Request) -> Self {
        let path: Vec<String> = request.path.split('/').skip(1).map(decode).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut subject = Self::read(None, None);
        subject.add_nodes(request);
        match (request.method, &path[..]) {
            (_, ["nodes", _, "qemu" | "lxc", vmid, rest @ ..]) => {
                subject.add_guest(request, vmid, rest);
            }
            (Post, ["nodes", _, "qemu" | "lxc"]) => subject.add_new_guest(request),
            (Post, ["nodes", _, "vzdump"]) => subject.add_backed_up(request),
            (Delete, ["nodes", _, "tasks", upid]) => subject.add_task(upid),
            (Delete, ["nodes", _, "storage", storage, "content", volume]) => {
                subject.add_volume(volume, Part::Changes);
                subject.harm = Some(Harm::DeleteVolume {
                    storage: (*storage).to_owned(),
                    volume: (*volume).to_owned(),
                });
            }
            (Post, ["nodes", _, "services", _, "start"]) => (),
            (
                Post,
                [
                    "nodes",
                    _,
                    "services",
                    service,
                    "stop" | "restart" | "reload",
                ],
            ) => {
                if VITAL_SERVICES.contains(service) {
                    subject.unnamed = Unnamed::Changed;
                }
            }
            (Put, ["nodes", _, "disks", "wipedisk"]) => {
                let disk = value(request, "disk").unwrap_or_default();
                subject.touch_all(Harm::Wipe(disk.to_owned()));
            }
            // These settings do nothing until they are applied.
            (Post | Delete, ["nodes", _, "network"])
            | (Put | Delete, ["nodes", _, "network", _])
            | (_, ["cluster", "sdn", "controllers" | "vnets" | "zones"])
            | (_, ["cluster", "sdn", "controllers" | "vnets" | "zones", _])
            | (_, ["cluster", "sdn", "vnets", _, "subnets"])
            | (_, ["cluster", "sdn", "vnets", _, "subnets", _]) => (),
            (Put, ["nodes", _, "network"] | ["cluster", "sdn"]) => {
                subject.touch_all(Harm::Outage("Apply the network settings of"));
            }
            (Post, ["nodes", _, "status"]) => {
                subject.touch_all(Harm::Outage(match value(request, "command") {
                    Some("reboot") => "Reboot",
                    Some("shutdown") => "Shut down",
                    _ => "Reboot or shut down",
                }));
            }
            _ => subject.touch_all(Harm::Unknown(request.to_string())),
        }
        // Wherever they stand: the guests that a request names beside its object.
        for (_, line) in request
            .form
            .iter()
            .filter(|(slot, _)| Slot::of(slot).holds_volume())
        {
            subject.add_disk(&PropertyString::parse(line));
        }
        let copy_of = subject.guest();
        for vmid in values(request, "newid") {
            subject.name(vmid, made(request, copy_of));
        }
        for vmid in values(request, "target-vmid") {
            subject.name(vmid, Part::Changes);
        }
        subject
    }

    /// Whatever is done below the path of a guest.
    fn add_guest(&mut self, request: &Request, vmid: &str, rest: &[&str]) {
        let (part, harm) = match (request.method, rest) {
            (Post, ["clone"] | ["status", "resume" | "start"]) => (Part::Keeps, None),
            (Post, ["move_disk" | "move_volume" | "snapshot"] | ["status", "suspend"])
            | (Put, ["resize"]) => (Part::Changes, None),
            (Post | Put, ["config"]) => (Part::Changes, harm_of_config(request)),
            (Delete, []) => (Part::Changes, Some(Harm::DeleteGuest)),
            (Delete, ["snapshot", name]) => (
                Part::Changes,
                Some(Harm::DeleteSnapshot((*name).to_owned())),
            ),
            (Post, ["snapshot", name, "rollback"]) => {
                (Part::Changes, Some(Harm::Rollback((*name).to_owned())))
            }
            (Post, ["status", "stop"]) => (Part::Changes, Some(Harm::Stop)),
            // What is not down by then is killed: a container always, a VM under high availability.
            (Post, ["status", "reboot" | "shutdown"]) => {
                let kills = is_set(request, "forceStop") || is_impatient(value(request, "timeout"));
                (Part::Changes, kills.then_some(Harm::Stop))
            }
            (Post, ["agent", "exec"]) => {
                let argv = values(request, "command").map(str::to_owned).collect();
                let input = value(request, "input-data").map(str::to_owned);
                (Part::Changes, Some(Harm::Command { argv, input }))
            }
            _ => {
                self.touch_all(Harm::Unknown(request.to_string()));
                (Part::Changes, None)
            }
        };
        self.name(vmid, part);
        self.harm = harm.or(self.harm.take());
    }

    /// A guest that is created or restored.
    fn add_new_guest(&mut self, request: &Request) {
        if value(request, "vmid").is_none() {
            self.unnamed = Unnamed::Changed;
        }
        // What is overwritten must be seen for what it is: it is no new guest.
        let replaces = is_set(request, "force");
        for vmid in values(request, "vmid") {
            let part = match replaces {
                true => Part::Changes,
                false => made(request, None),
            };
            self.name(vmid, part);
        }
        let archive = value(request, "archive");
        let template = value(request, "ostemplate");
        for source in [archive, template].into_iter().flatten() {
            self.add_volume(source, Part::Keeps);
        }
        let archive = archive.or(template.filter(|_| is_set(request, "restore")));
        self.harm = match archive.filter(|_| replaces) {
            Some(archive) => Some(Harm::RestoreOver(archive.to_owned())),
            None => harm_of_options(request),
        };
    }

    fn add_backed_up(&mut self, request: &Request) {
        // Where older backups may be removed for it, a guest does not keep what it has.
        let removes = value(request, "remove") != Some("0");
        if value(request, "vmid").is_none() {
            self.unnamed = Unnamed::Changed;
        }
        for vmid in listed(request, "vmid") {
            let part = match value(request, "mode") {
                Some("snapshot") | None if !removes => Part::Keeps,
                _ => Part::Changes,
            };
            self.name(vmid, part);
        }
    }

    /// A task that is aborted, by its UPID.
    fn add_task(&mut self, upid: &str) {
        /// How the types of tasks begin whose id is a guest.
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
        const OF_NO_GUEST: &[&str] = &[
            "aptupdate",
            "auth-realm-sync",
            "auth-realm-sync-test",
            "download",
            "spiceshell",
            "vncshell",
        ];
        let (kind, id) = Upid::parse(upid).map_or(("", ""), |task| (task.kind, task.id));
        if OF_GUEST.iter().any(|start| kind.starts_with(start)) {
            // `100@local-lvm` is the id of a task about a volume.
            self.name(id.split('@').next().unwrap_or_default(), Part::Changes);
        } else if kind.starts_with("srv") {
            if VITAL_SERVICES.contains(&id) || id == "networking" {
                self.unnamed = Unnamed::Changed;
            }
        } else if !OF_NO_GUEST.contains(&kind) {
            self.unnamed = Unnamed::Changed;
        }
    }

    /// What a line of a configuration puts into a guest. Whoever holds a volume writes to it, unless it
    /// is an image for a drive for discs.
    fn add_disk(&mut self, disk: &PropertyString) {
        let is_disc = disk.get("media") == Some("cdrom");
        for key in ["", "file", "volume", "import-from"] {
            let Some(volume) = disk.get(key) else {
                continue;
            };
            if !is_new(volume) {
                self.add_volume(
                    volume,
                    match is_disc || key == "import-from" {
                        true => Part::Keeps,
                        false => Part::Changes,
                    },
                );
            }
        }
    }

    /// A volume that is there: it belongs to the guest that its name tells, to none, or to any.
    fn add_volume(&mut self, volume: &str, part: Part) {
        match owner(volume) {
            "" if is_for_all(volume) => (),
            "" if part == Part::Keeps => self.unnamed = self.unnamed.max(Unnamed::Read),
            "" => self.unnamed = Unnamed::Changed,
            vmid => self.name(vmid, part),
        }
    }

    /// What is no VMID may name any guest.
    fn name(&mut self, vmid: &str, part: Part) {
        match vmid.trim().parse() {
            Ok(vmid) if vmid >= 100 => self.guests.push(Guest { vmid, part }),
            _ => self.unnamed = Unnamed::Changed,
        }
    }

    /// It does this to guests that it does not name.
    fn touch_all(&mut self, harm: Harm) {
        self.unnamed = Unnamed::Changed;
        self.harm = Some(harm);
    }

    /// The guest that it is about before all others.
    pub(super) fn guest(&self) -> Option<u64> {
        self.guests.first().map(|guest| guest.vmid)
    }

    /// Whether nothing here speaks for the request.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.harm, Some(Harm::Unknown(_)))
    }
}

/// The values of a parameter, which may be repeated.
fn values<'a>(request: &'a Request, name: &str) -> impl Iterator<Item = &'a str> {
    let pairs = request.form.iter().filter(move |(key, _)| *key == name);
    pairs.map(|(_, value)| value)
}

fn value<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    values(request, name).next()
}

/// The parts of the lists that Proxmox reads in a parameter (`PVE/Tools.pm`, `split_list`).
pub(super) fn listed<'a>(request: &'a Request, name: &str) -> impl Iterator<Item = &'a str> {
    values(request, name).flat_map(split)
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    let separators = |c: char| [',', ';', '\0'].contains(&c) || c.is_whitespace();
    list.split(separators).filter(|part| !part.is_empty())
}

/// Whether a flag is set; of all spellings, Proxmox takes these for false (`PVE/JSONSchema.pm`).
fn is_set(request: &Request, name: &str) -> bool {
    value(request, name).is_some_and(|value| !is_false(value))
}

fn is_false(value: &str) -> bool {
    let words = ["0", "false", "no", "off", ""];
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn made(request: &Request, copy_of: Option<u64>) -> Part {
    Part::Made {
        pool: value(request, "pool").unwrap_or_default().to_owned(),
        tags: value(request, "tags").unwrap_or_default().to_owned(),
        copy_of,
    }
}

fn harm_of_config(request: &Request) -> Option<Harm> {
    let deleted = listed(request, "delete").filter(|slot| Slot::of(slot).holds_volume());
    let slots: Vec<String> = deleted.map(str::to_owned).collect();
    if slots.is_empty() {
        return harm_of_options(request);
    }
    let kept = |slot: &String| !slot.starts_with("unused") && slot != "vmstate";
    let erases = is_set(request, "force") || !slots.iter().all(kept);
    Some(Harm::RemoveDisks { slots, erases })
}

/// Of setting or deleting options that keep a guest from harm, or run something on its node.
fn harm_of_options(request: &Request) -> Option<Harm> {
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
    (!options.is_empty()).then_some(Harm::Options(options))
}

/// Whether a guest is given less time, in seconds, to shut down than Proxmox would give it.
fn is_impatient(timeout: Option<&str>) -> bool {
    const USUAL: u64 = 60;
    let is_usual = |timeout: &str| timeout.parse::<u64>().is_ok_and(|seconds| seconds >= USUAL);
    timeout.is_some_and(|timeout| !is_usual(timeout))
}

/// Whether a volume is of a kind that belongs to no guest.
fn is_for_all(volume: &str) -> bool {
    let name = volume.split_once(':').map_or(volume, |(_, name)| name);
    let kinds = ["import/", "iso/", "snippets/", "vztmpl/"];
    kinds.iter().any(|kind| name.starts_with(kind))
}

/// Whether a disk is made, `local-lvm:32`, or is an empty drive or that of the node.
fn is_new(volume: &str) -> bool {
    let is_size = |name: &str| name.chars().all(|c| c.is_ascii_digit() || c == '.');
    match volume.split_once(':') {
        Some((_, name)) => name == "cloudinit" || is_size(name),
        None => ["cdrom", "none"].contains(&volume),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::request::Method;
    use crate::safety::CONFIRM_TOKEN;
    use crate::settings::{Confirm, Safety};
    use crate::tool::Effect;
    use crate::tools;

    fn subject(method: Method, path: &str, form: &[(&str, &str)]) -> Subject {
        let request = form
            .iter()
            .fold(Request::new(method, path), |request, (name, value)| {
                request.with(*name, *value)
            });
        Subject::of_path(&request)
    }

    fn changes(vmid: u64) -> Guest {
        Guest {
            vmid,
            part: Part::Changes,
        }
    }

    fn keeps(vmid: u64) -> Guest {
        Guest {
            vmid,
            part: Part::Keeps,
        }
    }

    #[test]
    fn a_timeout_that_cannot_be_read_is_no_time_to_shut_down() {
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
    fn finds_every_guest_and_node_that_a_request_names() {
        let of = |method, path, form| {
            let Subject { nodes, guests, .. } = subject(method, path, form);
            (nodes.join(","), guests)
        };
        let made = |vmid, pool: &str, copy_of| Guest {
            vmid,
            part: Part::Made {
                pool: pool.to_owned(),
                tags: String::new(),
                copy_of,
            },
        };
        assert_eq!(
            of(Post, "/nodes/pve1/qemu/100/status/stop", &[]),
            ("pve1".into(), vec![changes(100)])
        );
        assert_eq!(
            of(Post, "/nodes/pve1/lxc/101/status/start", &[]),
            ("pve1".into(), vec![keeps(101)])
        );
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/qemu/100/clone",
                &[("newid", "200"), ("target", "pve2"), ("pool", "dev")]
            ),
            (
                "pve1,pve2".into(),
                vec![keeps(100), made(200, "dev", Some(100))]
            )
        );
        assert_eq!(
            of(Post, "/nodes/pve1/lxc", &[("vmid", "300")]),
            ("pve1".into(), vec![made(300, "", None)])
        );
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/vzdump",
                &[("vmid", "100,101"), ("mode", "stop"), ("remove", "0")]
            ),
            ("pve1".into(), vec![changes(100), changes(101)])
        );
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/vzdump",
                &[("vmid", "100"), ("mode", "snapshot"), ("remove", "0")]
            ),
            ("pve1".into(), vec![keeps(100)])
        );
        // Older backups may go.
        assert_eq!(
            of(Post, "/nodes/pve1/vzdump", &[("vmid", "100")]),
            ("pve1".into(), vec![changes(100)])
        );
        assert_eq!(
            of(
                Delete,
                "/nodes/pve1/tasks/UPID%3Apve1%3A0012A4F3%3A03B6C2D1%3A6A55FD63%3Aqmstart%3A100%3Aroot%40pam%3A",
                &[]
            ),
            ("pve1".into(), vec![changes(100)])
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
                [changes(101)],
                "{volume}"
            );
        }
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/qemu/100/move_disk",
                &[("target-vmid", "101")]
            ),
            ("pve1".into(), vec![changes(100), changes(101)])
        );
        assert_eq!(
            of(Post, "/nodes/pve1/services/pveproxy/restart", &[]),
            ("pve1".into(), vec![])
        );
    }

    #[test]
    fn a_change_that_no_arm_speaks_for_may_touch_any_guest_and_destroy_anything() {
        for (method, path, named) in [
            (Post, "/cluster/ha/resources", vec![]),
            (Put, "/access/users/a%40pam", vec![]),
            (Delete, "/cluster/ha/resources/vm%3A100", vec![]),
            (Post, "/nodes/pve1/stopall", vec![]),
            (Post, "/nodes/pve1/services/corosync/erase", vec![]),
            (
                Put,
                "/nodes/pve1/storage/local/content/local%3Aiso%2Fa.iso",
                vec![],
            ),
            // The guest that they name may not be the only one.
            (Post, "/nodes/pve1/qemu/100/swap", vec![changes(100)]),
            (Put, "/nodes/pve1/lxc/100/status/stop", vec![changes(100)]),
            (Delete, "/nodes/pve1/qemu/100/config", vec![changes(100)]),
        ] {
            let subject = subject(method, path, &[]);
            let harm = Harm::Unknown(format!("{} {path}", method.as_str()));
            assert!(harm.destroys() && subject.is_unknown());
            assert_eq!(
                (subject.guests, subject.unnamed, subject.harm),
                (named, Unnamed::Changed, Some(harm)),
                "{path}"
            );
        }
    }

    /// What the gate makes of each request that changes something and is declared by a tool, with every
    /// part of its path filled in.
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

    /// A request as its tool declares it, with every part of its path filled in.
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
        // These have their guest in the form.
        match path.ends_with("/qemu") || path.ends_with("/lxc") || path.ends_with("/vzdump") {
            true => request.with("vmid", "100"),
            false => request,
        }
    }

    #[test]
    fn speaks_for_every_change_that_a_tool_declares() {
        let mut declared: Vec<String> = tools::DOMAINS
            .iter()
            .flat_map(|domain| domain.tools)
            // What a tool picks from says itself what it touches.
            .filter(|(_, tool)| tool.declared().is_empty())
            .flat_map(|(_, tool)| tool.requests())
            .filter(|request| !request.starts_with("GET "))
            .collect();
        declared.sort();
        declared.dedup();
        let known: Vec<&str> = DECLARED.iter().map(|(request, _)| *request).collect();
        assert_eq!(declared, known);
        for (declared, expected) in DECLARED {
            let subject = Subject::of_path(&filled_in(declared));
            let guests = subject.guests.iter().map(|guest| {
                let part = match guest.part {
                    Part::Changes => "changes",
                    Part::Keeps => "keeps",
                    Part::Made { .. } => "makes",
                };
                format!("{part} {}", guest.vmid)
            });
            let harm = subject.harm.as_ref().map(|harm| match harm.destroys() {
                true => "destroys".to_owned(),
                false => "interrupts".to_owned(),
            });
            let found: Vec<String> = guests.chain(harm).collect();
            assert_eq!(found.join(", "), *expected, "{declared}");
            assert_eq!(subject.nodes, ["pve1"], "{declared}");
            assert_eq!(subject.unnamed, Unnamed::Untouched, "{declared}");
            assert!(!subject.is_unknown(), "{declared}");
        }
    }

    #[test]
    fn the_tools_that_destroy_are_those_whose_requests_do() {
        for (name, tool) in tools::DOMAINS.iter().flat_map(|domain| domain.tools) {
            let package = env!("CARGO_MANIFEST_DIR");
            let fixture = fs::read_to_string(format!("{package}/fixtures/tools/{name}.json"));
            let fixture: Value = serde_json::from_str(&fixture.expect("a tool has a fixture"))
                .expect("a fixture is JSON");
            let cases = fixture["cases"].as_array().into_iter().flatten();
            let exchanges = cases.flat_map(|case| case["exchanges"].as_array());
            let changes = exchanges.flatten().filter_map(|exchange| {
                let (method, path) = exchange["request"].as_str()?.split_once(' ')?;
                let methods = [Delete, Post, Put];
                let method = methods.into_iter().find(|known| known.as_str() == method)?;
                let form = exchange["form"].as_array().into_iter().flatten();
                let form = form.filter_map(|pair| pair.as_str()?.split_once('='));
                let request = form.fold(Request::new(method, path), |request, (name, value)| {
                    request.with(name, value)
                });
                Some(Subject::of(&request, &tool.declared(), &Value::Null))
            });
            let changes: Vec<Subject> = changes.collect();
            let harms = || changes.iter().filter_map(|subject| subject.harm.as_ref());
            assert!(
                changes.iter().all(|subject| !subject.is_unknown()),
                "{name}"
            );
            assert_eq!(
                harms().any(Harm::destroys),
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
                harms().any(Harm::destroys),
                "{name}"
            );
            assert!(
                takes_token(Confirm::Always) || harms().next().is_none(),
                "{name}"
            );
            assert!(!takes_token(Confirm::Never), "{name}");
        }
    }

    #[test]
    fn tells_whether_guests_are_touched_that_a_request_does_not_name() {
        use Unnamed::{Changed, Read, Untouched};
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
            (Put, "/nodes/pve1/network/vmbr0", &[], Untouched),
            (Delete, "/nodes/pve1/network", &[], Untouched),
            (Put, "/nodes/pve1/network", &[], Changed),
            (Post, "/cluster/sdn/zones", &[], Untouched),
            (Delete, "/cluster/sdn/vnets/a/subnets/b", &[], Untouched),
            // The rules of its firewall count at once.
            (Post, "/cluster/sdn/vnets/a/firewall/rules", &[], Changed),
            (Put, "/cluster/sdn", &[], Changed),
            (
                Post,
                "/nodes/pve1/status",
                &[("command", "reboot")],
                Changed,
            ),
            (Put, "/nodes/pve1/disks/wipedisk", &[], Changed),
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
            ("imgcopy::", Changed),
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
            assert_eq!(Subject::of_path(&path).unnamed, expected, "{task}");
        }
        let broken = subject(Delete, "/nodes/pve1/tasks/UPID", &[]);
        assert_eq!((broken.unnamed, broken.harm), (Changed, None));
    }

    #[test]
    fn a_guest_changes_when_another_gets_its_volume_and_not_when_it_is_read() {
        let of = |line: &str| {
            let form = [("scsi1", line)];
            subject(Post, "/nodes/pve1/qemu/100/config", &form).guests
        };
        assert_eq!(of("local:900/a.qcow2"), [changes(100), changes(900)]);
        assert_eq!(of("file=fast:vm-900-disk-0"), [changes(100), changes(900)]);
        assert_eq!(
            of("fast:vm-900-disk-0,media=cdrom"),
            [changes(100), keeps(900)]
        );
        assert_eq!(
            of("fast:0,import-from=fast:vm-900-disk-0"),
            [changes(100), keeps(900)]
        );
    }

    #[test]
    fn knows_what_cannot_be_undone() {
        let harm = |method, path: &str, form: &[_]| subject(method, path, form).harm;
        let of = |method, rest: &str, form: &[_]| {
            subject(method, &format!("/nodes/pve1/qemu/100{rest}"), form).harm
        };
        assert_eq!(of(Delete, "", &[]), Some(Harm::DeleteGuest));
        assert_eq!(
            of(Delete, "/snapshot/old", &[]),
            Some(Harm::DeleteSnapshot("old".into()))
        );
        assert_eq!(of(Post, "/snapshot", &[("snapname", "new")]), None);
        assert_eq!(
            of(Post, "/snapshot/old/rollback", &[]),
            Some(Harm::Rollback("old".into()))
        );
        assert_eq!(of(Post, "/status/stop", &[]), Some(Harm::Stop));
        assert_eq!(of(Post, "/status/shutdown", &[]), None);
        assert_eq!(
            of(Post, "/status/shutdown", &[("forceStop", "1")]),
            Some(Harm::Stop)
        );
        assert_eq!(
            of(Put, "/config", &[("delete", "unused0,net1")]),
            Some(Harm::RemoveDisks {
                slots: vec!["unused0".into()],
                erases: true,
            })
        );
        assert_eq!(of(Put, "/config", &[("delete", "net0,description")]), None);
        assert_eq!(
            of(Post, "/agent/exec", &[("command", "rm"), ("command", "-r")]),
            Some(Harm::Command {
                argv: vec!["rm".into(), "-r".into()],
                input: None,
            })
        );
        let restore = |form: &[_]| harm(Post, "/nodes/pve1/qemu", form);
        assert_eq!(
            restore(&[("vmid", "100"), ("archive", "a"), ("force", "1")]),
            Some(Harm::RestoreOver("a".into()))
        );
        assert_eq!(restore(&[("vmid", "100"), ("archive", "a")]), None);
        assert_eq!(
            harm(
                Post,
                "/nodes/pve1/lxc",
                &[
                    ("vmid", "1"),
                    ("ostemplate", "b"),
                    ("restore", "1"),
                    ("force", "1")
                ]
            ),
            Some(Harm::RestoreOver("b".into()))
        );
        assert_eq!(
            harm(Put, "/nodes/pve1/disks/wipedisk", &[("disk", "/dev/sdb")]),
            Some(Harm::Wipe("/dev/sdb".into()))
        );
        let set = |form: &[_]| of(Put, "/config", form);
        assert_eq!(
            set(&[("hookscript", "local:snippets/a.pl"), ("delete", "lock")]),
            Some(Harm::Options(vec![
                GuestOption::Hookscript(Some("local:snippets/a.pl".into())),
                GuestOption::Lock(None)
            ]))
        );
        assert_eq!(
            set(&[("lock", "backup")]),
            Some(Harm::Options(vec![GuestOption::Lock(Some(
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
                Some(Harm::Options(vec![GuestOption::Protection]))
            );
        }
        for form in [("protection", "1"), ("protection", "on"), ("onboot", "0")] {
            assert_eq!(set(&[form]), None);
        }
    }
}
