//! What a request that changes something is about: its nodes, its guests, and what it does for good.
//!
//! All of it is read off the request that is about to be sent, so a tool can neither forget to say it
//! nor say something else.

use crate::format;
use crate::pve::request::{Method, Request, decode};
use crate::volume::owner;

/// What a changing request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The nodes that it names.
    pub(super) nodes: Vec<String>,
    pub(super) guests: Vec<Guest>,
    /// Whether it acts on guests that it does not name.
    pub(super) is_for_many: bool,
    /// Whether it takes from a guest that it does not name.
    pub(super) is_of_unknown: bool,
    pub(super) harm: Option<Harm>,
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
    /// It is made, perhaps in place of one that is there.
    Made {
        pool: String,
        tags: String,
        /// The guest that it is a copy of, whose tags it gets.
        copy_of: Option<u64>,
    },
}

/// What a request does that cannot be undone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// A program runs inside the guest, with this on its standard input.
    Command {
        argv: Vec<String>,
        input: Option<String>,
    },
    /// The path that is deleted, where nothing more is known of it.
    Delete(String),
    DeleteGuest,
    DeleteSnapshot(String),
    /// On a storage of a node, by its volume ID.
    DeleteVolume {
        storage: String,
        volume: String,
    },
    /// Disks or mount points of the guest, by their slots; whether their volumes are erased.
    RemoveDisks {
        slots: Vec<String>,
        erases: bool,
    },
    /// From a backup, over the guest that is there.
    RestoreOver(String),
    Rollback(String),
    /// Hard, if it runs.
    Stop,
    /// A disk of the node.
    Wipe(String),
}

impl Subject {
    /// Of a call that only reads, and names these.
    pub(super) fn read(node: Option<&str>, vmid: Option<&str>) -> Self {
        let mut subject = Self {
            nodes: node.into_iter().map(str::to_owned).collect(),
            guests: Vec::new(),
            is_for_many: false,
            is_of_unknown: false,
            harm: None,
        };
        subject.add(vmid.unwrap_or_default(), || Part::Keeps);
        subject
    }

    /// Of a request that changes something.
    pub(super) fn of(request: &Request) -> Self {
        let path: Vec<String> = request.path.split('/').skip(1).map(decode).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let value = |name: &str| {
            let mut pairs = request.form.iter();
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let is_set = |name: &str| value(name) == Some("1");
        let mut subject = Self::read(None, None);
        if let ["nodes", node, ..] = path[..] {
            subject.nodes.push(node.to_owned());
        }
        for name in ["node", "target", "nodes"] {
            let named = value(name).unwrap_or_default().split([',', ';', ' ']);
            let nodes = named.filter_map(|node| (format::NODE.parse)(node));
            subject.nodes.extend(nodes);
        }
        let made = |copy_of| Part::Made {
            pool: value("pool").unwrap_or_default().to_owned(),
            tags: value("tags").unwrap_or_default().to_owned(),
            copy_of,
        };
        match (request.method, &path[..]) {
            (method, ["nodes", _, "qemu" | "lxc", vmid, rest @ ..]) => {
                let part = match (method, rest) {
                    (Method::Post, ["status", "start" | "resume"] | ["clone"]) => Part::Keeps,
                    _ => Part::Changes,
                };
                subject.add(vmid, || part);
                subject.harm = harm_of_guest(request, rest, &value);
            }
            (Method::Post, ["nodes", _, "qemu" | "lxc"]) => {
                subject.add(value("vmid").unwrap_or_default(), || made(None));
                for source in [value("archive"), value("ostemplate")]
                    .into_iter()
                    .flatten()
                {
                    subject.add(owner(source), || Part::Keeps);
                    subject.is_of_unknown |= owner(source).is_empty() && !is_for_all(source);
                }
                let archive =
                    value("archive").or(value("ostemplate").filter(|_| is_set("restore")));
                if let Some(archive) = archive.filter(|_| is_set("force")) {
                    subject.harm = Some(Harm::RestoreOver(archive.to_owned()));
                }
            }
            (Method::Post, ["nodes", _, "vzdump"]) => {
                subject.is_for_many = value("vmid").is_none();
                for vmid in value("vmid").unwrap_or_default().split(',') {
                    subject.add(vmid, || match value("mode") {
                        Some("snapshot") | None => Part::Keeps,
                        Some(_) => Part::Changes,
                    });
                }
            }
            (_, ["nodes", _, "tasks", upid]) => {
                let fields: Vec<&str> = upid.split(':').collect();
                let (kind, id) = match fields[..] {
                    [_, _, _, _, _, kind, id, ..] => (kind, id),
                    _ => ("", ""),
                };
                // `100@local-lvm:vm-100-disk-0` is the id of a task about a volume.
                let id = id.split('@').next().unwrap_or_default();
                subject.add(id, || Part::Changes);
                let is_about_guests = ["bulk", "ha", "img", "qm", "vz"]
                    .iter()
                    .any(|of| kind.starts_with(of))
                    || kind.ends_with("all");
                subject.is_for_many = is_about_guests && subject.guests.is_empty();
            }
            (method, ["nodes", _, "storage", storage, "content", volume]) => {
                subject.add(owner(volume), || Part::Changes);
                // Its name does not tell whose it is.
                subject.is_for_many = subject.guests.is_empty() && !is_for_all(volume);
                if method == Method::Delete {
                    subject.harm = Some(Harm::DeleteVolume {
                        storage: (*storage).to_owned(),
                        volume: (*volume).to_owned(),
                    });
                }
            }
            // Without them a node of a cluster is fenced, or containers lose their view of the system.
            (
                Method::Post,
                [
                    "nodes",
                    _,
                    "services",
                    "corosync" | "lxcfs" | "pve-cluster" | "pve-ha-crm" | "pve-ha-lrm",
                    "stop" | "restart",
                ],
            ) => subject.is_for_many = true,
            (Method::Put, ["nodes", _, "disks", "wipedisk"]) => {
                subject.harm = Some(Harm::Wipe(value("disk").unwrap_or_default().to_owned()));
            }
            (
                Method::Post,
                [
                    "nodes",
                    _,
                    "startall" | "stopall" | "suspendall" | "migrateall",
                ],
            )
            | (Method::Post, ["cluster", "bulk-action", ..]) => {
                subject.is_for_many = value("vms").is_none();
            }
            (Method::Delete, _) => subject.harm = Some(Harm::Delete(request.path.clone())),
            _ => (),
        }
        // Wherever they stand: the guests that a request names besides.
        for (_, line) in request.form.iter().filter(|(slot, _)| is_disk(slot)) {
            let volume = line.split(',').next().unwrap_or_default();
            subject.add(owner(volume), || Part::Keeps);
        }
        let source = subject.guests.first().map(|guest| guest.vmid);
        subject.add(value("newid").unwrap_or_default(), || made(source));
        subject.add(value("target-vmid").unwrap_or_default(), || Part::Changes);
        for (_, vms) in request.form.iter().filter(|(name, _)| *name == "vms") {
            for vmid in vms.split([',', ';', ' ']) {
                subject.add(vmid, || Part::Changes);
            }
        }
        subject
    }

    /// What is no VMID names no guest.
    fn add(&mut self, vmid: &str, part: impl FnOnce() -> Part) {
        if let Ok(vmid) = vmid.trim().parse() {
            self.guests.push(Guest { vmid, part: part() });
        }
    }

    /// The guest that it is about before all others.
    pub(super) fn guest(&self) -> Option<u64> {
        self.guests.first().map(|guest| guest.vmid)
    }
}

fn harm_of_guest<'a>(
    request: &Request,
    rest: &[&str],
    value: &impl Fn(&str) -> Option<&'a str>,
) -> Option<Harm> {
    match (request.method, rest) {
        (Method::Delete, []) => Some(Harm::DeleteGuest),
        (Method::Delete, ["snapshot", name]) => Some(Harm::DeleteSnapshot((*name).to_owned())),
        (Method::Delete, _) => Some(Harm::Delete(request.path.clone())),
        (Method::Post, ["status", "stop"]) => Some(Harm::Stop),
        (Method::Post, ["status", "shutdown"]) if value("forceStop") == Some("1") => {
            Some(Harm::Stop)
        }
        // What is not down by then is killed: a container always, a VM under high availability.
        (Method::Post, ["status", "shutdown" | "reboot"]) if is_impatient(value("timeout")) => {
            Some(Harm::Stop)
        }
        (Method::Post, ["snapshot", name, "rollback"]) => Some(Harm::Rollback((*name).to_owned())),
        (Method::Post, ["agent", "exec"]) => {
            let command = request.form.iter().filter(|(name, _)| *name == "command");
            Some(Harm::Command {
                argv: command.map(|(_, part)| part.to_owned()).collect(),
                input: value("input-data").map(str::to_owned),
            })
        }
        (Method::Put | Method::Post, ["config"]) => {
            let deleted = value("delete")?.split([',', ';', ' ']);
            let slots: Vec<String> = deleted
                .filter(|slot| is_disk(slot))
                .map(str::to_owned)
                .collect();
            let kept = |slot: &String| !slot.starts_with("unused") && slot != "vmstate";
            let erases = value("force") == Some("1") || !slots.iter().all(kept);
            (!slots.is_empty()).then_some(Harm::RemoveDisks { slots, erases })
        }
        _ => None,
    }
}

/// Whether a guest is given less time, in seconds, to shut down than Proxmox would give it.
fn is_impatient(timeout: Option<&str>) -> bool {
    const USUAL: u64 = 60;
    timeout.is_some_and(|timeout| timeout.parse::<u64>().is_ok_and(|seconds| seconds < USUAL))
}

/// Whether a volume is of a kind that belongs to no guest.
fn is_for_all(volume: &str) -> bool {
    let name = volume.split_once(':').map_or(volume, |(_, name)| name);
    let kinds = ["import/", "iso/", "snippets/", "vztmpl/"];
    kinds.iter().any(|kind| name.starts_with(kind))
}

/// Whether `slot` of a guest holds a volume.
pub(super) fn is_disk(slot: &str) -> bool {
    const FAMILIES: &[&str] = &[
        "efidisk", "ide", "mp", "sata", "scsi", "tpmstate", "unused", "virtio",
    ];
    let family = slot.trim_end_matches(|c: char| c.is_ascii_digit());
    ["rootfs", "vmstate"].contains(&slot)
        || (FAMILIES.contains(&family) && family.len() < slot.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::request::Method::{Delete, Post, Put};

    fn subject(method: Method, path: &str, form: &[(&str, &str)]) -> Subject {
        let request = form
            .iter()
            .fold(Request::new(method, path), |request, (name, value)| {
                request.with(*name, *value)
            });
        Subject::of(&request)
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
                &[("vmid", "100,101"), ("mode", "stop")]
            ),
            ("pve1".into(), vec![changes(100), changes(101)])
        );
        assert_eq!(
            of(
                Post,
                "/nodes/pve1/vzdump",
                &[("vmid", "100"), ("mode", "snapshot")]
            ),
            ("pve1".into(), vec![keeps(100)])
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
    fn tells_a_request_for_guests_that_it_does_not_name() {
        assert!(subject(Post, "/nodes/pve1/vzdump", &[("all", "1")]).is_for_many);
        assert!(subject(Post, "/nodes/pve1/stopall", &[]).is_for_many);
        let named = subject(Post, "/nodes/pve1/stopall", &[("vms", "100,101")]);
        assert!(!named.is_for_many);
        assert_eq!(named.guests, [changes(100), changes(101)]);
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
        assert_eq!(
            harm(Delete, "/pools/dev", &[]),
            Some(Harm::Delete("/pools/dev".into()))
        );
        assert_eq!(harm(Delete, "/nodes/pve1/tasks/UPID", &[]), None);
    }
}
