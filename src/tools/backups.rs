//! Backups: create, list, restore, delete.

use std::collections::BTreeSet;

use serde_json::Value;

use super::common::{Guest, NODE, STORAGE, call_again, identified, resource, resources};
use super::create::{CREATION_OF_LXC, CREATION_OF_VM};
use super::guest::{self, NEW_VMID, OF_GUEST, OVERWRITE, VMID, VMID_OR_GUESTS};
use super::guests::is_zero;
use super::volumes::{ON_NODE, Volumes};
use crate::answer::{Answer, Column, LIMIT, OFFSET, Order, Table, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::cluster::volumes::{CONTENT_REQUEST, RESOURCES_REQUEST};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::property::PropertyString;
use crate::request::{
    Method::{Delete, Get, Post},
    Reply,
};
use crate::row::{Harm, Step, Touches, needs};
use crate::safety::Client;
use crate::text::format;
use crate::text::sort::gather;
use crate::tool::{Call, Effect, Permission, Show, Tool, start_task};

const TO_STORAGE: Param =
    Param::optional("storage", Kind::Format(&format::STORAGE), "").default("local");
const MODE: Param =
    Param::optional("mode", Kind::Choice(&["snapshot", "suspend", "stop"]), "").default("snapshot");
const COMPRESS: Param = Param::optional(
    "compress",
    Kind::Choice(&["none", "lzo", "gzip", "zstd"]),
    "",
)
.default("zstd")
.synonyms(&[("none", "0")]);
const NOTES: Param = Param::optional("notes", Kind::Text(0, 1_024), "May contain {{guestname}}.");
const PROTECTED: Param = Param::optional(
    "protected",
    Kind::Flag,
    "Protect it from pruning and deletion.",
);
const BACKUP_PARAMS: &[&Param] = &[
    &guest::NODE,
    &VMID_OR_GUESTS,
    &TO_STORAGE,
    &MODE,
    &COMPRESS,
    &NOTES,
    &PROTECTED,
    &WAIT,
    &WAIT_TIMEOUT,
];
const BACKUP_REQUESTS: &[Step] = &[
    Step::read("/cluster/resources", &[]),
    Step::change(
        Post,
        "/nodes/{node}/vzdump",
        &["/vms/{vmid}:VM.Backup", needs::SPACE],
        Touches::BackedUp,
        Harm::None,
    ),
];

pub(super) static CREATE_LXC: Tool = Tool {
    title: "Back up container",
    summary: "Backs up a container.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: BACKUP_PARAMS,
    call: Call::Steps(BACKUP_REQUESTS, |client, args| {
        create(client, args, Guest::Container)
    }),
};

pub(super) static CREATE_VM: Tool = Tool {
    title: "Back up VM",
    summary: "Backs up a VM.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: BACKUP_PARAMS,
    call: Call::Steps(BACKUP_REQUESTS, |client, args| {
        create(client, args, Guest::Vm)
    }),
};

fn create(client: &Client, args: &Args, guest: Guest) -> Result<Answer, Error> {
    let (node, vmid) = (&args[&guest::NODE], &args[&VMID]);
    let elsewhere = |cause: String| {
        Error::impossible(
            format!(
                "no {} {vmid} on node {node}, nothing was backed up",
                guest.noun()
            ),
            cause,
        )
    };
    // vzdump accepts both kinds, and replies OK if the guest is on another node.
    let seen = resource(client, args, vmid)?;
    if let Some(seen) = &seen
        && (seen["type"] != guest.api_type() || seen["node"] != *node)
    {
        let refusal = elsewhere(format!("{}.", identified(seen)));
        let refusal = refusal.advise(call_again(seen, Some(guest)));
        return Err(match Guest::of(seen) == guest {
            true => refusal,
            false => refusal.of_other_kind(seen.clone()),
        });
    }
    let mut request = args
        .request(Post, "/nodes/{node}/vzdump")
        .with("vmid", vmid);
    request = args.send_given(request, &[&TO_STORAGE, &MODE, &COMPRESS]);
    if let Some(notes) = args.get(&NOTES) {
        // A single line, with these two characters escaped (`PVE/VZDump.pm`).
        let notes = notes.replace('\\', "\\\\").replace('\n', "\\n");
        request = request.with("notes-template", notes);
    }
    // As in the web interface: a new backup is not a reason to prune older ones.
    request = request.with("remove", "0");
    let data = client.change(&args.send_given(request, &[&PROTECTED]), Reply::TaskOrOk)?;
    if data == "OK" {
        return Err(elsewhere(match seen {
            Some(_) => "It has just been moved: proxmox_get_vms shows where.".to_owned(),
            None => format!(
                "vzdump found none there, and this token sees no guest {vmid} on any node: correct vmid or node."
            ),
        }));
    }
    let what = format!("Back up {} {vmid} to {}", guest.noun(), &args[&TO_STORAGE]);
    Ok(Answer::from_reply(&what, &data))
}

const ON_STORAGE: Param = Param::optional("storage", Kind::Format(&format::STORAGE), "");
const MISSING: Param = Param::optional(
    "missing",
    Kind::Flag,
    "List guests without a backup instead.",
);

pub(super) static LIST: Tool = Tool {
    title: "List backups",
    summary: "Elevated, unlike proxmox_list_storage_content: lists backups on all storages or one, newest first.",
    permission: Permission::Elevated,
    effect: Effect::Reads,
    params: &[&ON_NODE, &ON_STORAGE, &OF_GUEST, &MISSING, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[RESOURCES_REQUEST, CONTENT_REQUEST.also(&[needs::BACKUP])],
        list,
    ),
};

fn list(client: &Client, args: &Args) -> Result<Answer, Error> {
    static BACKUPS: Table = Table {
        name: "backups",
        noun: ["backup", "backups"],
        columns: &[
            Column::text("volid"),
            Column::text("node"),
            Column::number("vmid"),
            Column::text("subtype"),
            Column::time("ctime"),
            Column::bytes("size"),
            Column::flag("protected"),
            Column::text("verified"),
            Column::text("notes"),
        ],
        sort: &[Order::Down("ctime"), Order::Up("volid"), Order::Up("node")],
        count: None,
    };
    let Volumes {
        mut rows,
        mut notes,
    } = Volumes::read(client, args, Some("backup"), args.get(&ON_STORAGE))?;
    if args.flag(&MISSING) {
        return without_backup(client, args, &rows, notes);
    }
    for backup in &mut rows {
        if let Some(state) = backup["verification"].get("state") {
            backup["verified"] = state.clone();
        }
    }
    if rows.is_empty() {
        notes.push(
            "Backups of guests for which the token lacks VM.Backup are silently omitted by Proxmox."
                .to_owned(),
        );
    }
    Ok(BACKUPS.answer(rows, args, &notes))
}

/// Lists the guests to which none of `backups` belongs; templates are marked.
fn without_backup(
    client: &Client,
    args: &Args,
    backups: &[Value],
    mut notes: Vec<String>,
) -> Result<Answer, Error> {
    static GUESTS: Table = Table {
        name: "guests",
        noun: ["guest without a backup", "guests without a backup"],
        columns: &[
            Column::number("vmid"),
            Column::text("name"),
            Column::text("type"),
            Column::text("node"),
            Column::text("status"),
            Column::flag("template").unless(is_zero),
        ],
        sort: &[Order::Up("vmid")],
        count: Some("status"),
    };
    let mut guests = resources(client, "vm")?;
    if let Some(wanted) = args.get(&OF_GUEST) {
        guests.retain(|guest| plain(&guest["vmid"]) == wanted);
    }
    let seen = guests.len();
    let saved: BTreeSet<String> = gather(backups.iter().map(|backup| plain(&backup["vmid"])));
    guests.retain(|guest| !saved.contains(&plain(&guest["vmid"])));
    notes.push(if guests.is_empty() {
        format!("{seen} checked, all that the token sees.")
    } else {
        "Backups that the token may not see (VM.Backup on the guest) are not counted.".to_owned()
    });
    Ok(GUESTS.answer(guests, args, &notes))
}

const ARCHIVE: Param = Param::required(
    "archive",
    Kind::Format(&format::BACKUP),
    "volid of the backup.",
);
const RESTORE_STORAGE: Param = Param::optional(
    "storage",
    Kind::Format(&format::STORAGE),
    "Target; as in the backup if absent.",
);
const UNIQUE: Param = Param::optional("unique", Kind::Flag, "Generate new MAC addresses.");
const START: Param = Param::optional("start", Kind::Flag, "");
const LIVE_RESTORE: Param = Param::optional(
    "live_restore",
    Kind::Flag,
    "Start it during the restore; PBS only.",
)
.sent_as("live-restore");

pub(super) static RESTORE_LXC: Tool = Tool {
    title: "Restore container",
    summary: "Restores a container from a backup.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[
        &NODE,
        &NEW_VMID,
        &ARCHIVE,
        &RESTORE_STORAGE,
        &OVERWRITE,
        &UNIQUE,
        &START,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/vzdump/extractconfig", &[needs::BACKUP]),
            CREATION_OF_LXC.also(&[needs::BACKUP, needs::ARCHIVE, needs::STARTED]),
        ],
        restore_lxc,
    ),
};

fn restore_lxc(client: &Client, args: &Args) -> Result<Answer, Error> {
    let archive = &args[&ARCHIVE];
    let storage = match args.get(&RESTORE_STORAGE) {
        Some(storage) => storage.to_owned(),
        // Proxmox would use `local`, which usually holds no root volumes.
        None => root_storage(client, args).ok_or_else(|| {
            Error::impossible(
                "storage is missing, nothing was restored",
                "The configuration in the backup could not be read or names no storage: give storage, one that proxmox_get_storage lists with rootdir.",
            )
        })?,
    };
    let request = args
        .request(Post, "/nodes/{node}/lxc")
        .with("vmid", &args[&NEW_VMID])
        .with("ostemplate", archive)
        .with("restore", "1")
        .with("storage", &*storage);
    let request = args.send_given(request, &[&OVERWRITE, &UNIQUE, &START]);
    let what = format!(
        "Restore container {} from {archive} to {storage}",
        &args[&NEW_VMID]
    );
    start_task(client, &request, Reply::Task, &what)
}

/// Returns the storage of the root volume according to the configuration in the backup.
fn root_storage(client: &Client, args: &Args) -> Option<String> {
    let request = args
        .request(Get, "/nodes/{node}/vzdump/extractconfig")
        .with("volume", &args[&ARCHIVE]);
    let config = client.send(&request).ok()?;
    let rootfs = config
        .as_str()?
        .lines()
        .find_map(|line| line.strip_prefix("rootfs:"))?;
    let line = PropertyString::parse(rootfs.trim());
    let volume = line.get("").or(line.get("volume"))?;
    (format::STORAGE.parse)(volume.split_once(':')?.0)
}

pub(super) static RESTORE_VM: Tool = Tool {
    title: "Restore VM",
    summary: "Restores a VM from a backup.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[
        &NODE,
        &NEW_VMID,
        &ARCHIVE,
        &RESTORE_STORAGE,
        &OVERWRITE,
        &UNIQUE,
        &START,
        &LIVE_RESTORE,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Plain(
        CREATION_OF_VM.also(&[needs::BACKUP, needs::ARCHIVE, needs::STARTED]),
        Show::Action("Restore VM {vmid} from {archive}"),
    ),
};

const VOLUME: Param = Param::required(
    "volume",
    Kind::Format(&format::VOLUME_OR_NAME),
    "volid of the backup.",
);

pub(super) static DELETE: Tool = Tool {
    title: "Delete backup",
    summary: "Deletes a backup permanently.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &STORAGE, &VOLUME, &WAIT, &WAIT_TIMEOUT],
    call: Call::Steps(
        &[Step::change(
            Delete,
            "/nodes/{node}/storage/{storage}/content/{volume}",
            &[
                "/storage/{storage}:Datastore.AllocateSpace|Datastore.Allocate",
                needs::BACKUP,
            ],
            Touches::OwnerOf(&VOLUME),
            Harm::DeletesVolume {
                storage: &STORAGE,
                volume: &VOLUME,
            },
        )],
        delete,
    ),
};

fn delete(client: &Client, args: &Args) -> Result<Answer, Error> {
    let storage = &args[&STORAGE];
    let volume = &args[&VOLUME];
    // The endpoint would delete disk images and ISO files as well.
    let (of_storage, name) = match volume.split_once("backup/") {
        Some((prefix, _)) => (
            prefix.strip_suffix(':').unwrap_or(prefix),
            &volume[prefix.len()..],
        ),
        None => ("", ""),
    };
    if name.is_empty() || !(of_storage.is_empty() || of_storage == storage) {
        return Err(Error::arguments(vec![format!(
            "volume must be a backup on {storage}, such as {storage}:backup/vzdump-qemu-100-….vma.zst"
        )]));
    }
    let volume = format!("{storage}:{name}");
    let existing = client.send(
        &args
            .request(Get, "/nodes/{node}/storage/{storage}/content/{backup}")
            .segment("backup", &volume),
    );
    let is_gone = match existing {
        Err(error) if error.is_refused() => error.says("volume_size_info on"),
        existing => existing.map(|_| false)?,
    };
    // Proxmox replies nothing if it was done within the delay, and also if there was nothing to do.
    let request = args
        .request(Delete, "/nodes/{node}/storage/{storage}/content/{backup}")
        .segment("backup", &volume)
        .with("delay", "5");
    let what = format!("Delete backup {}", plain(&volume.into()));
    let answer = start_task(client, &request, Reply::TaskOrNothing, &what)?;
    Ok(match answer.task {
        None if is_gone => Answer::action(&what, "gone", "nothing was deleted, it did not exist."),
        _ => answer,
    })
}
