//! What is made of whole disks: partition tables, LVM, ZFS pools, directories.

use serde_json::Value;

use super::common::NODE;
use super::dependents::{STORAGES, VOLUMES, dependents, is_of_node};
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, number, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::Method::Get;
use crate::request::Request;
use crate::row::{Choice, First, Loss, Place, Scope, Step, Touches, delete, get, needs, post};
use crate::text;
use crate::text::format;
use crate::text::sort::sort;
use crate::tool::{Call, Effect, Permission, Show, Tool};

/// A disk can be passed through to a guest without Proxmox seeing that it is in use.
const DISKS: Scope = Scope {
    name: "",
    noun: "node {node}",
    path: "/nodes/{node}/disks",
    reads: needs::ALL_NODES,
    changes: &["/:Sys.Modify"],
    touches: Touches::AnyGuest,
    versions: Versions::ALL,
};

const LISTED: Step = Step::read(
    "/nodes/{node}/disks/list",
    &["/:Sys.Audit or /nodes/{node}:Sys.Audit"],
);
const ERASED: &str =
    "What is on it is lost for good; a disk that a guest has passed through counts as unused here.";

const DISK: Param = Param::required("disk", Kind::Format(&format::DEVICE), "Such as /dev/sdb.");
const UUID: Param = Param::optional("uuid", Kind::Format(&format::GUID), "Of the table.");

pub(super) static INITIALIZE: Tool = Tool {
    title: "Initialize disk",
    summary: "Writes a new partition table (GPT) to an unused disk.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &DISK],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(DISKS),
        does: "initialize {disk} of {place} with GPT",
        rows: &[post("", "/initgpt", &[&DISK, &UUID, &WAIT, &WAIT_TIMEOUT])
            .destroys(ERASED)
            .also_reads(&[LISTED])
            .checks(is_unused)
            .starts_task()],
    }),
};

fn is_unused(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    unused(client, args, &[&args[&DISK]])
}

/// Refuses disks that are in use, or that the node does not have; describes the others.
fn unused(client: &Reader, args: &Args, wanted: &[&str]) -> Result<Vec<String>, Error> {
    let request = args
        .request(Get, "/nodes/{node}/disks/list")
        .with("include-partitions", "1")
        .with("skipsmart", "1");
    let disks = answer::rows(client.send(&request)?);
    let mut lines = Vec::new();
    for name in wanted {
        let is_it = |disk: &&Value| disk["devpath"] == **name || disk["by_id_link"] == **name;
        let Some(disk) = disks.iter().find(is_it) else {
            let free = disks.iter().filter(|disk| use_of(disk, &disks).is_none());
            let free: Vec<String> = free.map(|disk| plain(&disk["devpath"])).collect();
            let free = match free.is_empty() {
                true => "None is unused.".to_owned(),
                false => text::cut(&format!("Unused are: {}", free.join(", ")), 1_000),
            };
            return Err(Error::impossible(
                format!("{} has no disk {name}, nothing was done", &args[&NODE]),
                free,
            ));
        };
        if let Some(used) = use_of(disk, &disks) {
            return Err(Error::impossible(
                format!("{name} is in use, nothing was done"),
                format!("It is used by: {used}"),
            )
            .hint("proxmox_get_node_disks with type=unused lists the others."));
        }
        let known = ["vendor", "model", "serial"].map(|key| plain(&disk[key]).trim().to_owned());
        let known: Vec<String> = known
            .into_iter()
            .filter(|known| !known.is_empty() && known != "unknown")
            .collect();
        let size = text::bytes(number(&disk["size"]).unwrap_or_default());
        lines.push(match known.is_empty() {
            true => format!("{name}: {size}"),
            false => format!("{name}: {size}, {}", known.join(" ")),
        });
    }
    Ok(lines)
}

/// What uses a disk or partition: Proxmox names it, and OSDs by their numbers. A disk with partitions in use
/// is in use.
fn use_of(disk: &Value, disks: &[Value]) -> Option<String> {
    let used = plain(&disk["used"]);
    if !used.is_empty() {
        return Some(used);
    }
    if let Some(osd) = number(&disk["osdid"]).filter(|osd| *osd >= 0.0) {
        return Some(format!("osd.{osd}"));
    }
    if number(&disk["mounted"]).is_some_and(|mounted| mounted != 0.0) {
        return Some("a mounted file system".to_owned());
    }
    let parts = disks
        .iter()
        .filter(|part| !part["parent"].is_null() && part["parent"] == disk["devpath"]);
    let mut parts = parts.filter_map(|part| {
        let used = plain(&part["used"]);
        (!used.is_empty()).then(|| format!("{used} on {}", plain(&part["devpath"])))
    });
    parts.next()
}

const LIST_KIND: Param = Param::required(
    "kind",
    Kind::Choice(&["lvmthin", "directory", "zfs_detail"]),
    "zfs_detail: the devices of one ZFS pool.",
);
const POOL_NAME: Param = Param::by_request("name", Kind::Format(&format::STORAGE), "The ZFS pool.");

pub(super) static LIST: Tool = Tool {
    title: "List node storage backends",
    summary: "Lists the LVM thin pools or directory mounts of a node, or the state of a ZFS pool's devices. proxmox_get_node_lvm and proxmox_get_node_zfs list the others.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &LIST_KIND],
    call: Call::Choice(&Choice {
        by: &[&LIST_KIND],
        place: Place::Only(DISKS),
        does: "",
        rows: &[
            get(
                "lvmthin",
                "/lvmthin",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "thin_pools",
                    noun: ["thin pool", "thin pools"],
                    columns: &[
                        Column::text("vg"),
                        Column::text("lv"),
                        Column::used_of("used", "lv_size"),
                        Column::used_of("metadata_used", "metadata_size"),
                    ],
                    sort: &[Order::Up("vg"), Order::Up("lv")],
                    count: None,
                }),
            ),
            get(
                "directory",
                "/directory",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "directories",
                    noun: ["directory", "directories"],
                    columns: &[
                        Column::text("path"),
                        Column::text("device"),
                        Column::text("type"),
                        Column::text("options"),
                    ],
                    sort: &[Order::Up("path")],
                    count: None,
                }),
            ),
            get(
                "zfs_detail",
                "/zfs/{name}",
                &[&POOL_NAME.local(), &LIMIT, &OFFSET],
                Show::Made(zfs),
            ),
        ],
    }),
};

/// The devices of a ZFS pool below `branch`, each with its place: `tank/mirror-0/sda`.
fn devices(branch: &mut Value, place: &str, found: &mut Vec<Value>) {
    for mut device in answer::rows(answer::take(branch, "children")) {
        let mut below = Vec::new();
        let place = format!("{place}{}", plain(&device["name"]));
        devices(&mut device, &format!("{place}/"), &mut below);
        device["place"] = place.into();
        found.push(device);
        found.append(&mut below);
    }
}

fn zfs(args: &Args, mut pool: Value, _: &Value) -> Answer {
    static DEVICES: Table = Table {
        name: "devices",
        noun: ["device", "devices"],
        columns: &[
            Column::text("place"),
            Column::text("state"),
            Column::number("read"),
            Column::number("write"),
            Column::number("cksum"),
            Column::text("msg"),
        ],
        sort: &[],
        count: None,
    };
    let mut rows = Vec::new();
    devices(&mut pool, "", &mut rows);
    let keys = ["state", "status", "action", "scan", "errors"];
    let notes = keys.into_iter().filter_map(|key| {
        let said = text::cut(&plain(&pool[key]), 500);
        (!said.is_empty()).then(|| format!("{key}: {said}"))
    });
    let notes: Vec<String> = notes.collect();
    let answer = DEVICES.answer(rows, args, &notes);
    let fields = pool.as_object().into_iter().flatten();
    let fields = fields.filter(|(_, value)| value.is_string());
    fields.fold(answer, |answer, (key, value)| {
        answer.with(key, answer::masked(key, value.clone()))
    })
}

const KIND: Param = Param::required(
    "kind",
    Kind::Choice(&["lvm", "lvmthin", "directory", "zfs"]),
    "",
);
const ACTION: Param = Param::required("action", Kind::Choice(&["create", "destroy"]), "");
const NAME: Param = Param::required("name", Kind::Format(&format::STORAGE), "");
const DEVICE: Param = Param::by_request(
    "device",
    Kind::Format(&format::BLOCK_DEVICE),
    "To create all but ZFS on.",
);
const DEVICES: Param =
    Param::by_request("devices", Kind::List, "To create a ZFS pool on.").joined();
const FILESYSTEM: Param = Param::optional("filesystem", Kind::Choice(&["ext4", "xfs"]), "");
const RAIDLEVEL: Param = Param::by_request(
    "raidlevel",
    Kind::Choice(&[
        "single", "mirror", "raid10", "raidz", "raidz2", "raidz3", "draid", "draid2", "draid3",
    ]),
    "",
);
const ASHIFT: Param = Param::optional("ashift", Kind::Integer(9, 16), "");
const COMPRESSION: Param = Param::optional(
    "compression",
    Kind::Choice(&["on", "off", "gzip", "lz4", "lzjb", "zle", "zstd"]),
    "",
);
const DRAID: Param = Param::optional(
    "draid_config",
    Kind::Text(1, 100),
    "Such as data=4,spares=1.",
)
.sent_as("draid-config")
.rare();
const ADD_STORAGE: Param = Param::optional("add_storage", Kind::Flag, "Add it as storage.");
const VOLUME_GROUP: Param = Param::by_request(
    "volume_group",
    Kind::Format(&format::STORAGE),
    "Of the thin pool to destroy.",
)
.sent_as("volume-group");
const CLEANUP_CONFIG: Param =
    Param::optional("cleanup_config", Kind::Flag, "Remove its storages too.")
        .sent_as("cleanup-config");
const CLEANUP_DISKS: Param =
    Param::optional("cleanup_disks", Kind::Flag, "Wipe its disks.").sent_as("cleanup-disks");

/// Adding or removing the storage as well needs more.
const CREATES: needs::Needs = &["/:Sys.Modify", "/storage:Datastore.Allocate if add_storage"];
const DESTROYS: needs::Needs = &[
    "/:Sys.Modify",
    "/storage:Datastore.Allocate if cleanup-config",
];
const DESTROYED: &str = "All data in it is lost for good, disks of guests included.";

pub(super) static MANAGE: Tool = Tool {
    title: "Manage node storage backend",
    summary: "Creates an LVM volume group, thin pool, directory or ZFS pool on unused disks, or destroys it.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &KIND, &ACTION, &NAME],
    call: Call::Choice(&Choice {
        by: &[&KIND, &ACTION],
        place: Place::Only(DISKS),
        does: "",
        rows: &[
            post(
                "lvm create",
                "/lvm",
                &[&NAME, &DEVICE, &ADD_STORAGE, &WAIT, &WAIT_TIMEOUT],
            )
            .destroys(ERASED)
            .does("create volume group {name} of {place} on {device}")
            .also_reads(&[LISTED])
            .checks(is_device_unused)
            .needs(CREATES)
            .starts_task(),
            post(
                "lvmthin create",
                "/lvmthin",
                &[&NAME, &DEVICE, &ADD_STORAGE, &WAIT, &WAIT_TIMEOUT],
            )
            .destroys(ERASED)
            .does("create thin pool {name} of {place} on {device}")
            .also_reads(&[LISTED])
            .checks(is_device_unused)
            .needs(CREATES)
            .starts_task(),
            post(
                "directory create",
                "/directory",
                &[
                    &NAME,
                    &DEVICE,
                    &FILESYSTEM,
                    &ADD_STORAGE,
                    &WAIT,
                    &WAIT_TIMEOUT,
                ],
            )
            .destroys(ERASED)
            .does("create directory {name} of {place} on {device}")
            .also_reads(&[LISTED])
            .checks(is_device_unused)
            .needs(CREATES)
            .starts_task(),
            post(
                "zfs create",
                "/zfs",
                &[
                    &NAME,
                    &DEVICES,
                    &RAIDLEVEL,
                    &ASHIFT,
                    &DRAID,
                    &COMPRESSION,
                    &ADD_STORAGE,
                    &WAIT,
                    &WAIT_TIMEOUT,
                ],
            )
            .destroys(ERASED)
            .does("create ZFS pool {name} of {place} on {devices}")
            .also_reads(&[LISTED])
            .checks(are_devices_unused)
            .needs(CREATES)
            .starts_task(),
            delete(
                "lvm destroy",
                "/lvm/{name}",
                &[&CLEANUP_CONFIG, &CLEANUP_DISKS, &WAIT, &WAIT_TIMEOUT],
            )
            .destroys(DESTROYED)
            .does("destroy volume group {name} of {place}")
            .reads(First::Nothing)
            .also_reads(&[
                Step::read("/nodes/{node}/disks/lvm", needs::ALL_NODES),
                STORAGES,
                VOLUMES,
            ])
            .checks(uses_of_group)
            .needs(DESTROYS)
            .starts_task(),
            delete(
                "lvmthin destroy",
                "/lvmthin/{name}",
                &[
                    &VOLUME_GROUP,
                    &CLEANUP_CONFIG,
                    &CLEANUP_DISKS,
                    &WAIT,
                    &WAIT_TIMEOUT,
                ],
            )
            .destroys(DESTROYED)
            .does("destroy thin pool {volume_group}/{name} of {place}")
            .reads(First::Nothing)
            .also_reads(&[
                Step::read("/nodes/{node}/disks/lvmthin", needs::ALL_NODES),
                STORAGES,
                VOLUMES,
            ])
            .checks(uses_of_thin_pool)
            .needs(DESTROYS)
            .starts_task(),
            delete(
                "directory destroy",
                "/directory/{name}",
                &[&CLEANUP_CONFIG, &CLEANUP_DISKS, &WAIT, &WAIT_TIMEOUT],
            )
            .judged(unmounted)
            .does("destroy directory {name} of {place}")
            .reads(First::Nothing)
            .also_reads(&[
                Step::read("/nodes/{node}/disks/directory", needs::ALL_NODES),
                STORAGES,
                VOLUMES,
            ])
            .checks(uses_of_directory)
            .needs(DESTROYS)
            .starts_task(),
            delete(
                "zfs destroy",
                "/zfs/{name}",
                &[&CLEANUP_CONFIG, &CLEANUP_DISKS, &WAIT, &WAIT_TIMEOUT],
            )
            .destroys(DESTROYED)
            .does("destroy ZFS pool {name} of {place}")
            .reads_entry("/zfs", "name", &NAME)
            .also_reads(&[STORAGES, VOLUMES])
            .checks(uses_of_zfs)
            .needs(DESTROYS)
            .starts_task(),
        ],
    }),
};

fn is_device_unused(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    unused(client, args, &[&args[&DEVICE]])
}

fn are_devices_unused(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let devices: Vec<&str> = args.list(&DEVICES).iter().map(String::as_str).collect();
    unused(client, args, &devices)
}

/// A directory that is unmounted keeps its files on its disk.
fn unmounted(request: &Request, _: &Value) -> Option<Loss> {
    let wipes = request
        .form
        .iter()
        .any(|pair| pair == ("cleanup-disks", "1"));
    Some(match wipes {
        true => Loss::destroys("All files in it are lost for good, disks of guests included."),
        false => Loss::interrupts(
            "It is unmounted: guests cannot use what is in it. Its files stay on the disk.",
        ),
    })
}

/// Proxmox starts a task, which fails, for what does not exist.
fn exists(args: &Args, mut found: impl Iterator<Item = String>, wanted: &str) -> Result<(), Error> {
    let mut others: Vec<String> = Vec::new();
    if found.any(|name| {
        let is_it = name == wanted;
        others.push(name);
        is_it
    }) {
        return Ok(());
    }
    sort(&mut others);
    Err(Error::impossible(
        format!(
            "{} has no {} {wanted}, nothing was done",
            &args[&NODE], &args[&KIND]
        ),
        match others.is_empty() {
            true => "There are none.".to_owned(),
            false => text::cut(&format!("There are: {}", others.join(", ")), 1_000),
        },
    ))
}

fn uses_of_group(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let mut tree = client.send(&args.request(Get, "/nodes/{node}/disks/lvm"))?;
    let groups = answer::rows(answer::take(&mut tree, "children"));
    let names = groups.iter().map(|group| plain(&group["name"]));
    exists(args, names, &args[&NAME])?;
    dependents(client, &args[&NODE], |storage| {
        let is_lvm = storage["type"] == "lvm" || storage["type"] == "lvmthin";
        is_lvm && storage["vgname"] == args[&NAME] && is_of_node(storage, &args[&NODE])
    })
}

fn uses_of_thin_pool(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let pools = answer::rows(client.send(&args.request(Get, "/nodes/{node}/disks/lvmthin"))?);
    let names = pools
        .iter()
        .map(|pool| format!("{}/{}", plain(&pool["vg"]), plain(&pool["lv"])));
    let wanted = format!("{}/{}", &args[&VOLUME_GROUP], &args[&NAME]);
    exists(args, names, &wanted)?;
    dependents(client, &args[&NODE], |storage| {
        storage["type"] == "lvmthin"
            && storage["vgname"] == args[&VOLUME_GROUP]
            && storage["thinpool"] == args[&NAME]
            && is_of_node(storage, &args[&NODE])
    })
}

fn uses_of_directory(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let mounts = answer::rows(client.send(&args.request(Get, "/nodes/{node}/disks/directory"))?);
    let paths = mounts.iter().map(|mount| plain(&mount["path"]));
    let wanted = format!("/mnt/pve/{}", &args[&NAME]);
    exists(args, paths, &wanted)?;
    let is_below = |path: &str| {
        let rest = path.strip_prefix(&*wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    dependents(client, &args[&NODE], |storage| {
        storage["path"].as_str().is_some_and(is_below) && is_of_node(storage, &args[&NODE])
    })
}

fn uses_of_zfs(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let is_below = |pool: &str| {
        let rest = pool.strip_prefix(&args[&NAME]);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    dependents(client, &args[&NODE], |storage| {
        let is_zfs = storage["type"] == "zfspool" && storage["pool"].as_str().is_some_and(is_below);
        // One of directories can be on it as well.
        let path = storage["path"]
            .as_str()
            .and_then(|path| path.strip_prefix('/'));
        (is_zfs || path.is_some_and(is_below)) && is_of_node(storage, &args[&NODE])
    })
}
