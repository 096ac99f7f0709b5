//! Explains failures by reading more: which task holds a lock, which volume cannot have snapshots.

use serde_json::Value;

use crate::answer::{self, plain};
use crate::error::Error;
use crate::error::remedy::{Advice, Case};
use crate::pve::property::PropertyString;
use crate::pve::reader::Reader;
use crate::request::{Method::Get, Request};
use crate::row::{Step, needs};
use crate::text;
use crate::text::slot::Slot;
use crate::text::upid::Upid;

/// The requests that a diagnosis may send, for every tool.
pub(crate) const REQUESTS: &[Step] = &[
    Step::read("/nodes/{node}/tasks", &[]),
    Step::read("/nodes/{node}/{type}/{vmid}/config", needs::AUDIT),
    Step::read("/cluster/resources", &[]),
];

/// The maximum number of volumes to name.
const MOST: usize = 4;

/// Adds a diagnosis to `error`, if there is one.
pub(crate) fn explain(client: &Reader, error: Error) -> Error {
    let refusal = error.refusal().filter(|_| !error.is_advised());
    match refusal.and_then(|refusal| inspect(client, &refusal.case())) {
        Some(advice) => error.advise(advice),
        None => error,
    }
}

/// Returns what to do about a failure: the diagnosis, or else the remedy from the table.
pub(crate) fn remedy(client: &Reader, case: &Case) -> Option<String> {
    inspect(client, case).or_else(|| case.remedy())
}

/// Reads what explains the failure; returns `None` if there is nothing to read or nothing was found.
fn inspect(client: &Reader, case: &Case) -> Option<String> {
    let advice = case.advice()?;
    client.without_advancing(|| match advice {
        Advice::Say(_) => None,
        Advice::GuestLock | Advice::LockFile => lock_holder(client, case),
        Advice::NoSnapshots => without_snapshots(client, case),
    })
}

/// Says which task holds the lock, or that none is known to.
fn lock_holder(client: &Reader, case: &Case) -> Option<String> {
    let (node, vmid) = (case.node.as_deref()?, case.vmid.as_deref()?);
    let request = Request::new(Get, "/nodes/{node}/tasks")
        .segment("node", node)
        .with("source", "active");
    let tasks = client.send(&request).map(answer::rows).ok()?;
    let running = || {
        tasks.iter().filter_map(|task| {
            let upid = task["upid"].as_str()?;
            let runs = task["endtime"].is_null() && Upid::parse(upid).is_some();
            (runs && case.upid.as_deref() != Some(upid)).then_some((task, upid))
        })
    };
    let of_guest = running().find(|(task, _)| plain(&task["id"]) == vmid);
    // A backup of several guests names none of them, and a copy is locked by its source's task.
    let of_several = |task: &Value| {
        let kind = task["type"].as_str().unwrap_or_default();
        kind.ends_with("clone") || (kind == "vzdump" && plain(&task["id"]).is_empty())
    };
    let maybe = || running().find(|(task, _)| of_several(task));
    const THEN: &str = "proxmox_wait_task waits for its end; then call again.";
    Some(match (of_guest, maybe()) {
        (Some((_, upid)), _) => format!("Task {upid} holds the lock: {THEN}"),
        (None, Some((_, upid))) => format!("Task {upid} may hold the lock: {THEN}"),
        (None, None) => format!(
            "No task of {vmid} that this token sees is running (Sys.Audit on /nodes/{node} shows all). If none is, {}.",
            match case.advice() {
                Some(Advice::LockFile) => case.hung(),
                _ => format!("the lock is stale: {}", case.unlock()),
            }
        ),
    })
}

/// Lists the volumes of the guest that cannot have snapshots, and why.
fn without_snapshots(client: &Reader, case: &Case) -> Option<String> {
    let (node, kind, vmid) = (case.node.as_deref()?, case.kind?, case.vmid.as_deref()?);
    let config = Request::new(Get, "/nodes/{node}/{type}/{vmid}/config")
        .segment("node", node)
        .segment("type", kind)
        .segment("vmid", vmid);
    let config = client.send(&config).ok()?;
    let storages = Request::new(Get, "/cluster/resources").with("type", "storage");
    let storages = client.send(&storages).map(answer::rows).unwrap_or_default();
    let type_of = |storage: &str| {
        let mut rows = storages.iter();
        let row = rows.find(|row| row["storage"] == *storage)?;
        row["plugintype"].as_str()
    };
    let slots = config.as_object().into_iter().flatten();
    let volumes = slots.filter_map(|(slot, line)| {
        let parts = PropertyString::parse(line.as_str()?);
        let volume = parts
            .get("")
            .or(parts.get("file"))
            .or(parts.get("volume"))?;
        let is_used = is_volume(slot) && parts.get("media") != Some("cdrom");
        let why = is_used
            .then(|| lacks_snapshots(volume, type_of))
            .flatten()?;
        Some(format!(
            "{slot} ({}) {why}",
            text::inline(&text::cut(volume, 120))
        ))
    });
    let volumes: Vec<String> = volumes.take(MOST).collect();
    if volumes.is_empty() {
        return None;
    }
    let helps = match kind {
        "qemu" => {
            "Move it with proxmox_move_disk_vm and format=qcow2, or to a storage with snapshots (ZFS, LVM-thin, Ceph, Btrfs)"
        }
        _ => {
            "Move it with proxmox_move_disk_lxc to a storage with snapshots (ZFS, LVM-thin, Ceph, Btrfs), or remove a bind mount"
        }
    };
    Some(format!(
        "{}.\n{helps}; or back the guest up instead.",
        volumes.join("; ")
    ))
}

/// Returns whether a slot holds a volume that snapshots include, which excludes unused ones.
fn is_volume(slot: &str) -> bool {
    Slot::of(slot).holds_volume() && !slot.starts_with("unused") && slot != "vmstate"
}

/// Explains why a volume cannot have snapshots (`volume_has_feature` in the plugins of PVE::Storage); returns
/// `None` if it can, or if that is unknown.
fn lacks_snapshots<'a>(volume: &str, type_of: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let Some((storage, name)) = volume.split_once(':').filter(|_| !volume.starts_with('/')) else {
        return Some("is a device or folder of the node, which has no snapshots".to_owned());
    };
    let format = match name.rsplit_once('.') {
        Some((_, format @ ("qcow2" | "raw" | "subvol" | "vmdk"))) => format,
        // Not a file: only the storage decides.
        _ => "raw",
    };
    match type_of(storage) {
        Some("btrfs" | "lvmthin" | "rbd" | "zfs" | "zfspool") => None,
        Some("cephfs" | "cifs" | "dir" | "glusterfs" | "nfs") if format != "qcow2" => Some(
            format!("has the format {format}: on a storage of files only qcow2 has snapshots"),
        ),
        Some("lvm") if format != "qcow2" => Some("is on LVM, which has no snapshots".to_owned()),
        Some("iscsi" | "iscsidirect") => Some("is on iSCSI, which has no snapshots".to_owned()),
        Some(_) => None,
        // Only names of files contain a folder.
        None if name.contains('/') && format != "qcow2" => {
            Some(format!("has the format {format}, qcow2 has snapshots"))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_lacks_snapshots_because_of_its_format_or_storage() {
        let type_of = |storage: &str| match storage {
            "local" => Some("dir"),
            "vg" => Some("lvm"),
            "thin" => Some("lvmthin"),
            "tank" => Some("zfspool"),
            "san" => Some("iscsi"),
            "bt" => Some("btrfs"),
            "nas" => Some("nfs"),
            "own" => Some("custom"),
            _ => None,
        };
        for (volume, why) in [
            ("local:100/vm-100-disk-0.raw", "format raw"),
            ("local:100/vm-100-disk-0.qcow2", ""),
            ("nas:100/vm-100-disk-0.vmdk", "format vmdk"),
            ("local:200/vm-200-disk-0.subvol", "format subvol"),
            ("vg:vm-100-disk-0", "LVM"),
            ("vg:vm-100-disk-0.qcow2", ""),
            ("thin:vm-100-disk-0", ""),
            ("tank:subvol-200-disk-0", ""),
            ("bt:100/vm-100-disk-0.raw", ""),
            ("san:0.0.1.lun1", "iSCSI"),
            ("own:vm-100-disk-0", ""),
            ("hidden:100/vm-100-disk-0.raw", "format raw"),
            ("hidden:vm-100-disk-0", ""),
            ("/mnt/data", "folder of the node"),
            ("/dev/disk/by-id/ata-x:1", "device or folder"),
        ] {
            let found = lacks_snapshots(volume, type_of);
            match why {
                "" => assert_eq!(found, None, "{volume}"),
                why => assert!(
                    found.as_ref().is_some_and(|found| found.contains(why)),
                    "{volume}: {found:?}"
                ),
            }
        }
    }
}
