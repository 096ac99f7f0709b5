//! Storages: their definitions, what a node could use as one, and what is kept on them for how long.

use std::collections::BTreeMap;

use serde_json::Value;

use super::common::{LISTED_DIGEST as DIGEST, NODE, RESOURCES_REQUEST, STORAGE, resources, unseen};
use super::guest::OF_GUEST;
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, number, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::cluster::volumes::{REQUESTS, Volumes};
use crate::error::{Error, ErrorKind};
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{
    Method::{Delete, Get, Put},
    Reply, Request,
};
use crate::row::{
    Choice, Harm, Loss, Place, Scope, Step, Touches, delete, get, needs, post, put, takes,
};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::text::sort::sort;
use crate::tool::{Call, Effect, Permission, Show, Tool, start_task};

const ACTION: Param = Param::required("action", Kind::Choice(&["create", "update", "delete"]), "");
const TYPE: Param = Param::by_request(
    "type",
    Kind::Choice(&[
        "btrfs",
        "cephfs",
        "cifs",
        "dir",
        "esxi",
        "glusterfs",
        "iscsi",
        "iscsidirect",
        "lvm",
        "lvmthin",
        "nfs",
        "pbs",
        "rbd",
        "zfs",
        "zfspool",
    ]),
    "zfs: over iSCSI.",
)
.values_known_to(&[
    ("esxi", Versions::since(8)),
    ("glusterfs", Versions::until(8)),
]);
const CONTENT: Param =
    Param::optional("content", Kind::List, "Such as iso, backup, images.").joined();
const NODES: Param = Param::optional("nodes", Kind::List, "").joined();
const DISABLE: Param = Param::optional("disable", Kind::Flag, "");
const SHARED: Param = Param::optional("shared", Kind::Flag, "All nodes reach the same data.");
const PATH: Param = Param::optional("path", Kind::Text(1, 4_096), "");
const SERVER: Param = Param::optional("server", Kind::Text(1, 255), "");
const EXPORT: Param = Param::optional("export", Kind::Text(1, 4_096), "");
const SHARE: Param = Param::optional("share", Kind::Text(1, 255), "");
const USERNAME: Param = Param::optional("username", Kind::Text(1, 255), "");
const PASSWORD: Param = Param::optional("password", Kind::Text(1, 256), "");
const DOMAIN: Param = Param::optional("domain", Kind::Text(1, 256), "");
const NAMESPACE: Param = Param::optional("namespace", Kind::Text(1, 255), "");
const DATASTORE: Param = Param::optional("datastore", Kind::Text(1, 255), "");
const FINGERPRINT: Param = Param::optional("fingerprint", Kind::Text(95, 95), "");
const VGNAME: Param = Param::optional("vgname", Kind::Text(1, 128), "");
const THINPOOL: Param = Param::optional("thinpool", Kind::Text(1, 128), "");
const POOL: Param = Param::optional("pool", Kind::Text(1, 255), "Of ZFS or Ceph.");
const PORTAL: Param = Param::optional("portal", Kind::Text(1, 255), "");
const TARGET: Param = Param::optional("target", Kind::Text(1, 255), "IQN.");
const RETENTION: Param =
    Param::optional("prune_backups", Kind::Format(&format::RETENTION), "").sent_as("prune-backups");
const MOUNT_OPTIONS: Param = Param::optional("options", Kind::Text(1, 1_024), "Mount options.");
const UNSET: Param = Param::optional("delete", Kind::List, "Keys to reset.").joined();

const fn rare(name: &'static str, hint: &'static str) -> Param {
    Param::optional(name, Kind::Text(1, 4_096), hint).rare()
}

const fn rare_flag(name: &'static str, hint: &'static str) -> Param {
    Param::optional(name, Kind::Flag, hint).rare()
}

/// What can be given to a new storage, and changed later.
const CHANGEABLE: &[&Param] = &[
    &CONTENT,
    &NODES,
    &DISABLE,
    &SHARED,
    &SERVER,
    &USERNAME,
    &PASSWORD,
    &DOMAIN,
    &NAMESPACE,
    &FINGERPRINT,
    &POOL,
    &RETENTION,
    &MOUNT_OPTIONS,
    // Of several types.
    &Param::optional("port", Kind::Integer(1, 65_535), "").rare(),
    &Param::optional(
        "preallocation",
        Kind::Choice(&["off", "metadata", "falloc", "full"]),
        "",
    )
    .rare(),
    &Param::optional("format", Kind::Choice(&["raw", "qcow2", "vmdk"]), "").rare(),
    &rare("bwlimit", "Such as clone=100000,restore=50000, in KiB/s."),
    &rare("max_protected_backups", "Of each guest; -1 for any number.")
        .sent_as("max-protected-backups"),
    &rare("subdir", ""),
    &rare_flag("saferemove", "Wipes removed volumes."),
    &rare("saferemove_throughput", ""),
    &Param::optional(
        "saferemove_stepsize",
        Kind::Choice(&["1", "2", "4", "8", "16", "32"]),
        "MiB.",
    )
    .sent_as("saferemove-stepsize")
    .known_to(Versions::since(9))
    .rare(),
    &rare_flag("snapshot_as_volume_chain", "")
        .sent_as("snapshot-as-volume-chain")
        .known_to(Versions::since(9)),
    &rare_flag("tagged_only", "Of LVM."),
    // Directories.
    &rare_flag("mkdir", ""),
    &rare_flag("create_base_path", "")
        .sent_as("create-base-path")
        .known_to(Versions::since(8)),
    &rare_flag("create_subdirs", "")
        .sent_as("create-subdirs")
        .known_to(Versions::since(8)),
    &rare("content_dirs", "Such as iso=custom/iso.").sent_as("content-dirs"),
    &rare("is_mountpoint", "yes, or the path of the mount."),
    &rare_flag("nocow", "Of btrfs."),
    &Param::optional(
        "smbversion",
        Kind::Choice(&["default", "2.0", "2.1", "3", "3.0", "3.11"]),
        "",
    )
    .rare(),
    // Ceph.
    &rare("monhost", "Such as 10.0.0.1 10.0.0.2."),
    &rare("fs_name", "").sent_as("fs-name"),
    &rare("data_pool", "").sent_as("data-pool"),
    &rare("keyring", "Of an external cluster."),
    &rare_flag("krbd", ""),
    &rare_flag("fuse", ""),
    // Proxmox Backup Server.
    &rare("encryption_key", "autogen, or the JSON of a key.").sent_as("encryption-key"),
    &rare("master_pubkey", "RSA key, PEM in base64.").sent_as("master-pubkey"),
    // ESXi.
    &rare_flag("skip_cert_verification", "")
        .sent_as("skip-cert-verification")
        .known_to(Versions::since(8)),
    // ZFS, also over iSCSI.
    &rare("blocksize", "Such as 16k."),
    &rare_flag("sparse", ""),
    &rare("mountpoint", ""),
    &rare_flag("nowritecache", ""),
    &rare("comstar_hg", ""),
    &rare("comstar_tg", ""),
    &rare("lio_tpg", ""),
    &rare("zfs_base_path", "")
        .sent_as("zfs-base-path")
        .known_to(Versions::since(9)),
    // GlusterFS.
    &rare("server2", "").known_to(Versions::until(8)),
    &Param::optional("transport", Kind::Choice(&["tcp", "rdma", "unix"]), "")
        .known_to(Versions::until(8))
        .rare(),
];

/// What can be given to a new storage only.
const FIXED: &[&Param] = &[
    &STORAGE,
    &TYPE,
    &PATH,
    &EXPORT,
    &SHARE,
    &DATASTORE,
    &VGNAME,
    &THINPOOL,
    &PORTAL,
    &TARGET,
    &rare("base", "Volume that new ones are on."),
    &rare("authsupported", ""),
    &Param::optional(
        "iscsiprovider",
        Kind::Choice(&["comstar", "istgt", "iet", "LIO"]),
        "",
    )
    .rare(),
    &rare("volume", "Of GlusterFS.").known_to(Versions::until(8)),
];

pub(super) static MANAGE: Tool = Tool {
    title: "Manage storage",
    summary: "Creates, changes or deletes the definition of a storage; its data is never touched.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&ACTION, &STORAGE],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            name: "",
            noun: "",
            path: "/storage",
            reads: &["/storage/{storage}:Datastore.Allocate"],
            changes: &["/storage:Datastore.Allocate"],
            touches: Touches::AnyGuest,
            versions: Versions::ALL,
        }),
        does: "{action} storage {storage}",
        rows: &[
            post("create", "", takes![FIXED, CHANGEABLE])
                .harmless()
                .touches(Touches::NoGuest)
                .also_reads(&[RESOURCES_REQUEST])
                .checks(nodes)
                .answers(Reply::Object("storage"))
                .says("done", keep_the_key),
            put("update", "/{storage}", takes![CHANGEABLE, &[&UNSET, &DIGEST]])
            .judged(narrowed)
            .refuses(
                &[
                    "type",
                    "path",
                    "export",
                    "share",
                    "datastore",
                    "vgname",
                    "thinpool",
                    "portal",
                    "target",
                    "base",
                    "authsupported",
                    "iscsiprovider",
                    "volume",
                ],
                IS_FIXED,
            )
            .also_reads(&[RESOURCES_REQUEST])
            .checks(refuse_fixed)
            .answers(Reply::Object("storage"))
            .says("done", keep_the_key),
            delete("delete", "/{storage}", &[])
                .interrupts("Its data stays, but nothing can use it: guests with volumes on it no longer start, and its backups are no longer listed.")
                .checks(residents)
                .also_reads(REQUESTS)
                .says("done", |_, _| {
                    vec!["Its data is still there: create the storage again to use it.".to_owned()]
                }),
        ],
    }),
};

const IS_FIXED: &str =
    "is fixed once a storage exists: delete the storage, which keeps its data, and create it again";

/// The key of a storage is on the host alone, and Proxmox does not show it again.
fn keep_the_key(args: &Args, _: &Value) -> Vec<String> {
    let is_new = args.named("encryption_key").is_some();
    let key = is_new.then(|| {
        format!(
            "Its encryption key is /etc/pve/priv/storage/{}.enc on the nodes: keep a copy elsewhere, \
             no backup can be restored without it.",
            &args[&STORAGE]
        )
    });
    key.into_iter().collect()
}

/// Refuses another value of what Proxmox takes, and changes for storages of some types only.
fn refuse_fixed(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let kind = plain(&was["type"]);
    let fixed = [(SERVER, &["nfs", "cifs", "pbs"][..]), (POOL, &["zfspool"])];
    for (param, kinds) in fixed {
        let before = plain(&was[param.name]);
        let is_other = args.get(&param).is_some_and(|given| given != before);
        if is_other && kinds.contains(&&*kind) {
            return Err(Error::impossible(
                format!("{} of a storage of type {kind} {IS_FIXED}", param.name),
                format!("It is {before} now; nothing was changed."),
            ));
        }
    }
    nodes(client, args, was)
}

/// Proxmox takes nodes that do not exist.
fn nodes(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let named = args.list(&NODES).iter().map(|node| ("node", &**node));
    let unseen = unseen(client, named)?;
    let unseen = unseen.map(|unseen| format!("{unseen}."));
    Ok(unseen.into_iter().collect())
}

/// What a change takes away from those who use the storage.
fn narrowed(request: &Request, was: &Value) -> Option<Loss> {
    let sent = |name: &str| {
        let mut form = request.form.iter();
        form.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let list = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
    let lost = |name: &str| {
        let (before, after) = (list(&plain(&was[name])), list(sent(name)?));
        let lost: Vec<String> = before
            .into_iter()
            .filter(|item| !item.is_empty() && !after.contains(item))
            .collect();
        (!lost.is_empty()).then(|| lost.join(", "))
    };
    let mut sentences = Vec::new();
    if sent("disable") == Some("1") && number(&was["disable"]) != Some(1.0) {
        sentences.push("Until it is enabled again, nothing on it can be used.".to_owned());
    }
    match (sent("nodes"), &was["nodes"]) {
        (Some(nodes), Value::Null) => {
            sentences.push(format!(
                "No node but {} can use it any more.",
                text::inline(nodes)
            ));
        }
        _ => sentences.extend(
            lost("nodes").map(|nodes| format!("{} can no longer use it.", text::inline(&nodes))),
        ),
    }
    if let Some(content) = lost("content") {
        sentences.push(format!(
            "Its {} can no longer be used or listed.",
            text::inline(&content)
        ));
    }
    let unset: Vec<String> = sent("delete").map(list).unwrap_or_default();
    let resets = |name: &str| unset.iter().any(|unset| unset == name);
    if resets("content") {
        sentences.push(
            "Content that is not usual for its type can be used and listed no more.".to_owned(),
        );
    }
    let access = [
        "username",
        "password",
        "domain",
        "fingerprint",
        "options",
        "keyring",
        "monhost",
        "port",
    ];
    if access.iter().any(|name| resets(name)) {
        sentences.push("It may not be reached any more without what is reset.".to_owned());
    }
    if sent("shared") == Some("1") && number(&was["shared"]) != Some(1.0) {
        sentences.push(
            "Guests then move to other nodes without their volumes on it: it must hold the same on all."
                .to_owned(),
        );
    }
    let keeps = sent("prune-backups");
    let prunes = keeps.is_some_and(|keeps| keeps != plain(&was["prune-backups"]));
    if prunes {
        sentences.push(
            "Backups that this policy does not keep are removed with the next backup of each guest."
                .to_owned(),
        );
    }
    let has_key = !was["encryption-key"].is_null();
    let loses_key = has_key && (resets("encryption-key") || sent("encryption-key").is_some());
    if loses_key {
        sentences.push(
            "The key that it encrypts with so far is deleted: without a copy of it, no backup made with it can be restored."
                .to_owned(),
        );
    }
    (!sentences.is_empty()).then(|| Loss {
        sentence: sentences.join(" "),
        destroys: prunes || loses_key,
    })
}

/// The guests that have volumes on a storage, and what else is on it, for the question.
fn residents(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let storage = args.get(&STORAGE);
    let volumes = match Volumes::read(client, args, None, storage) {
        Ok(volumes) => volumes,
        Err(error) if error.is_refused() || matches!(error.kind, ErrorKind::Impossible) => {
            return Ok(vec![format!(
                "Which guests have volumes on it cannot be read: {}",
                error.brief()
            )]);
        }
        Err(error) => return Err(error),
    };
    let guests = resources(client, "vm").unwrap_or_default();
    let (mut owners, mut others) = (BTreeMap::new(), BTreeMap::new());
    for row in &volumes.rows {
        let content = plain(&row["content"]);
        let key = match &*content {
            "images" | "rootdir" => owners.entry(plain(&row["vmid"])),
            _ => others.entry(content),
        };
        *key.or_insert(0) += 1;
    }
    let owners = owners.into_iter().map(|(vmid, count)| {
        let name = guests.iter().find(|guest| plain(&guest["vmid"]) == vmid);
        let name = name.map(|guest| format!(" {}", plain(&guest["name"])));
        let noun = if count == 1 { "volume" } else { "volumes" };
        format!("{vmid}{} ({count} {noun})", name.unwrap_or_default())
    });
    let owners: Vec<String> = owners.collect();
    let others = others.into_iter();
    let others: Vec<String> = others
        .map(|(content, count)| format!("{count} {content}"))
        .collect();
    let mut lines = vec![match owners.is_empty() {
        true => "No guest is seen to have volumes on it.".to_owned(),
        false => format!("Guests with volumes on it: {}", owners.join(", ")),
    }];
    if !others.is_empty() {
        lines.push(format!("Also on it: {}", others.join(", ")));
    }
    lines.extend(volumes.notes);
    Ok(lines)
}

const KIND: Param = Param::required(
    "kind",
    Kind::Choice(&["nfs", "cifs", "iscsi", "lvm", "lvmthin", "zfs", "pbs"]),
    "",
);
const OF_SERVER: Param = Param::by_request("server", Kind::Text(1, 255), "");
const OF_PORTAL: Param = Param::by_request("portal", Kind::Text(1, 255), "");
const VG: Param = Param::by_request("vg", Kind::Text(2, 100), "");
const PBS_USER: Param = Param::by_request("username", Kind::Text(1, 255), "");
const PBS_PASSWORD: Param = Param::by_request("password", Kind::Text(1, 256), "");
const PORT: Param = Param::optional("port", Kind::Integer(1, 65_535), "");

pub(super) static SCAN: Tool = Tool {
    title: "Scan for storage",
    summary: "Elevated, since it takes passwords: finds the exports, shares, targets, volume groups or datastores that a node could use.",
    permission: Permission::Elevated,
    effect: Effect::Reads,
    params: &[&NODE, &KIND],
    call: Call::Choice(&Choice {
        by: &[&KIND],
        place: Place::Only(Scope {
            name: "",
            noun: "",
            path: "/nodes/{node}/scan",
            reads: &["/storage:Datastore.Allocate"],
            changes: &[],
            touches: Touches::NoGuest,
            versions: Versions::ALL,
        }),
        does: "",
        rows: &[
            get("nfs", "/nfs", &[&OF_SERVER], Show::Table(&EXPORTS)),
            get(
                "cifs",
                "/cifs",
                &[&OF_SERVER, &USERNAME, &PASSWORD, &DOMAIN],
                Show::Table(&SHARES),
            ),
            get("iscsi", "/iscsi", &[&OF_PORTAL], Show::Table(&TARGETS)),
            get("lvm", "/lvm", &[], Show::Table(&GROUPS)),
            get("lvmthin", "/lvmthin", &[&VG], Show::Table(&THIN_POOLS)),
            get("zfs", "/zfs", &[], Show::Table(&POOLS)),
            get(
                "pbs",
                "/pbs",
                &[&OF_SERVER, &PBS_USER, &PBS_PASSWORD, &FINGERPRINT, &PORT],
                Show::Table(&DATASTORES),
            ),
        ],
    }),
};

static EXPORTS: Table = found(
    "exports",
    ["export", "exports"],
    &[Column::text("path"), Column::text("options")],
);
static SHARES: Table = found(
    "shares",
    ["share", "shares"],
    &[Column::text("share"), Column::text("description")],
);
static TARGETS: Table = found(
    "targets",
    ["target", "targets"],
    &[Column::text("target"), Column::text("portal")],
);
static GROUPS: Table = found(
    "groups",
    ["volume group", "volume groups"],
    &[
        Column::text("vg"),
        Column::bytes("size"),
        Column::bytes("free"),
        Column::number("lvcount"),
    ],
);
static THIN_POOLS: Table = found(
    "pools",
    ["thin pool", "thin pools"],
    &[Column::text("lv"), Column::bytes("lv_size")],
);
static POOLS: Table = found(
    "pools",
    ["pool", "pools"],
    &[
        Column::text("pool"),
        Column::bytes("size"),
        Column::bytes("free"),
    ],
);
static DATASTORES: Table = found(
    "datastores",
    ["datastore", "datastores"],
    &[Column::text("store"), Column::text("comment")],
);

const fn found(name: &'static str, noun: [&'static str; 2], columns: &'static [Column]) -> Table {
    Table {
        name,
        noun,
        columns,
        sort: &[],
        count: None,
    }
}

const KEEP: Param = Param::optional(
    "keep",
    Kind::Format(&format::RETENTION),
    "keep-last=3,keep-daily=7; the storage's own if absent.",
)
.sent_as("prune-backups");
const OF_TYPE: Param = Param::optional("type", Kind::Choice(&["qemu", "lxc"]), "");
const APPLY: Param =
    Param::optional("apply", Kind::Flag, "Remove them; else only show which.").local();
const ALL: Param = Param::optional("all", Kind::Flag, "To apply it to all guests.").local();

pub(super) static PRUNE: Tool = Tool {
    title: "Prune backups",
    summary: "Shows which backups a retention policy would remove, and with apply removes them, for good.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[
        &NODE,
        &STORAGE,
        &KEEP,
        &OF_GUEST,
        &OF_TYPE,
        &APPLY,
        &ALL,
        &LIMIT,
        &OFFSET,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read(PRUNED, &[needs::STORED]),
            Step::change(
                Delete,
                PRUNED,
                &["/storage/{storage}:Datastore.AllocateSpace|Datastore.Allocate"],
                Touches::Judged(owners),
                Harm::Judged(pruned),
            ),
        ],
        prune,
    ),
};

const PRUNED: &str = "/nodes/{node}/storage/{storage}/prunebackups";

fn prune(client: &Client, args: &Args) -> Result<Answer, Error> {
    static BACKUPS: Table = Table {
        name: "backups",
        noun: ["backup", "backups"],
        columns: &[
            Column::text("mark"),
            Column::text("volid"),
            Column::number("vmid"),
            Column::text("type"),
            Column::time("ctime"),
        ],
        sort: &[Order::Down("mark"), Order::Up("vmid"), Order::Up("ctime")],
        count: Some("mark"),
    };
    let names_guests = args.get(&OF_GUEST).is_some() || args.flag(&ALL);
    if args.flag(&APPLY) && !names_guests {
        return Err(Error::arguments(vec![
            "vmid or all is missing: apply=true needs one of them".to_owned(),
        ]));
    }
    let of = [&KEEP, &OF_GUEST, &OF_TYPE];
    let rows = answer::rows(client.send(&args.send_given(args.request(Get, PRUNED), &of))?);
    let storage = &args[&STORAGE];
    let removed = removed(&rows).count();
    if !args.flag(&APPLY) {
        let note = match removed {
            0 => "Nothing would be removed.",
            _ => "Nothing was removed: apply=true removes those marked remove.",
        };
        return Ok(BACKUPS.answer(rows, args, &[note.to_owned()]));
    }
    if removed == 0 {
        let what = format!("Prune backups on {storage}");
        return Ok(Answer::action(&what, "done", "there is nothing to remove."));
    }
    client.show_before(&rows.into());
    let request = args.send_given(args.request(Delete, PRUNED), &of);
    let noun = if removed == 1 { "backup" } else { "backups" };
    let what = format!("Prune {removed} {noun} on {storage}");
    start_task(client, &request, Reply::Task, &what)
}

/// The backups that the policy removes.
fn removed(rows: &[Value]) -> impl Iterator<Item = &Value> {
    rows.iter().filter(|row| row["mark"] == "remove")
}

/// The guests whose backups go; any, as long as that was not looked at.
fn owners(_: &Request, rows: &Value) -> Vec<String> {
    let Some(rows) = rows.as_array() else {
        return vec!["*".to_owned()];
    };
    let mut owners: Vec<String> = removed(rows).map(|row| plain(&row["vmid"])).collect();
    sort(&mut owners);
    owners.dedup();
    owners
}

/// All that goes, by guest and time, which is what tells one backup from another.
fn pruned(_: &Request, rows: &Value) -> Option<Loss> {
    let Some(rows) = rows.as_array() else {
        return Some(Loss::destroys(
            "Remove the backups that the policy does not keep.",
        ));
    };
    let mut times = BTreeMap::<String, Vec<String>>::new();
    for row in removed(rows) {
        let guest = format!("{}/{}", plain(&row["type"]), plain(&row["vmid"]));
        let time = number(&row["ctime"]).map(|time| text::time(time as u64));
        times
            .entry(guest)
            .or_default()
            .push(time.unwrap_or_default());
    }
    let guests = times
        .into_iter()
        .map(|(guest, times)| format!("{} of {}", text::inline(&guest), times.join(", ")));
    let guests: Vec<String> = guests.collect();
    Some(Loss::destroys(format!(
        "Remove {} of {} backups, for good: {}.",
        removed(rows).count(),
        rows.len(),
        guests.join("; ")
    )))
}

const VOLUME: Param = Param::required(
    "volume",
    Kind::Format(&format::VOLUME_OR_NAME),
    "volid of a backup.",
);
const NOTES: Param =
    Param::optional("notes", Kind::Text(0, 8_192), "none removes them.").clearable();
const PROTECTED: Param = Param::optional("protected", Kind::Flag, "Keep it from pruning.");

pub(super) static UPDATE_VOLUME: Tool = Tool {
    title: "Update backup",
    summary: "Changes the notes of a backup, or protects it; no other volumes have either.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[&NODE, &STORAGE, &VOLUME, &NOTES, &PROTECTED],
    call: Call::Steps(
        &[
            Step::read(ATTRIBUTES, &[needs::STORED]),
            Step::change(
                Put,
                ATTRIBUTES,
                &[needs::SPACE, needs::BACKUP],
                Touches::OwnerOf(&VOLUME),
                Harm::Judged(unprotected),
            ),
        ],
        update_volume,
    ),
};

const ATTRIBUTES: &str = "/nodes/{node}/storage/{storage}/content/{volume}";

fn update_volume(client: &Client, args: &Args) -> Result<Answer, Error> {
    let (notes, protected) = (args.get(&NOTES), args.get(&PROTECTED));
    if notes.is_none() && protected.is_none() {
        return Err(Error::arguments(vec![
            "nothing to change: give notes or protected".to_owned(),
        ]));
    }
    let volume = &args[&VOLUME];
    // A change of one that is not there is answered as if it was done.
    let was = client.send(&args.request(Get, ATTRIBUTES));
    let was = was.map_err(|error| match error.says("volume_size_info on") {
        true => Error::impossible(
            format!("there is no {}, nothing was changed", text::inline(volume)),
            "proxmox_list_backups lists the backups.",
        ),
        false => error,
    })?;
    if was["protected"].is_null() && was["notes"].is_null() {
        return Err(Error::impossible(
            format!(
                "{} is not a backup, nothing was changed",
                text::inline(volume)
            ),
            "Only backups have notes and protection.",
        ));
    }
    client.show_before(&was);
    let request = args.send_given(args.request(Put, ATTRIBUTES), &[&NOTES, &PROTECTED]);
    client.change(&request, Reply::Nothing)?;
    let what = format!("Update {}", text::inline(volume));
    let mut answer = Answer::done(&what);
    let before = text::cut(&text::inline(&plain(&was["notes"])), 1_000);
    if let Some(notes) = notes {
        let shown = |notes: &str| match notes {
            "" => "none".to_owned(),
            notes => notes.to_owned(),
        };
        let notes = text::cut(&text::inline(notes), 1_000);
        answer = answer.line(format!("notes: {} -> {}", shown(&before), shown(&notes)));
    }
    if let Some(protected) = protected {
        let shown = |flag: bool| if flag { "yes" } else { "no" };
        let before = number(&was["protected"]) == Some(1.0);
        answer = answer.line(format!(
            "protected: {} -> {}",
            shown(before),
            shown(protected == "1")
        ));
    }
    Ok(answer.with("was", was))
}

/// What is kept from pruning and from deletion no longer is.
fn unprotected(request: &Request, was: &Value) -> Option<Loss> {
    let mut form = request.form.iter();
    let lifts = form.any(|pair| pair == ("protected", "0"));
    (lifts && number(&was["protected"]) == Some(1.0)).then(|| {
        Loss::interrupts("Lift the protection of a backup: it can then be pruned or deleted.")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_reset_or_shared_can_be_lost_as_well() {
        let was = json!({ "content": "images,iso", "username": "me" });
        for (name, value, expected) in [
            ("delete", "content", true),
            ("delete", "nodes,fingerprint", true),
            ("delete", "nodes", false),
            ("shared", "1", true),
            ("shared", "0", false),
        ] {
            let request = Request::new(Put, "/storage/s1").with(name, value);
            let loss = narrowed(&request, &was);
            assert_eq!(loss.is_some(), expected, "{name}={value}");
        }
    }
}
