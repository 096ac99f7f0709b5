//! Volumes of guests: which guest owns them, and what happens to them.

use serde_json::Value;

use crate::pve::property::PropertyString;
use crate::text;
use crate::text::slot::Slot;

/// What happens to a disk or mount point when its slot is removed from the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its volume is erased for good.
    Erased,
    /// Its volume is kept with the guest, as unusedN.
    Kept,
    /// It is detached but its data stays, since the guest does not own it.
    Untouched,
}

impl Fate {
    /// Returns the fate of the volume that `line` puts into `slot` of the guest `vmid`. `erases` is whether
    /// Proxmox is asked to erase it, which it only does to volumes that the guest owns (`PVE/QemuServer.pm`,
    /// `try_deallocate_drive`; `PVE/LXC.pm`, `delete_mountpoint_volume`).
    pub(crate) fn of(vmid: &str, slot: &str, line: &str, erases: bool) -> Self {
        let line = PropertyString::parse(line);
        let volume = volume(&line);
        if volume.starts_with('/') || owner(volume) != vmid {
            return Fate::Untouched;
        }
        // Proxmox recreates it from the configuration, so it does not keep it.
        if volume.contains("-cloudinit") {
            return Fate::Erased;
        }
        if line.get("media") == Some("cdrom") {
            return Fate::Untouched;
        }
        match erases || slot.starts_with("unused") || slot == "vmstate" {
            true => Fate::Erased,
            false => Fate::Kept,
        }
    }
}

/// Returns the volume of a disk or mount point, its device or folder on the node, or `none` for an empty
/// drive.
pub(crate) fn volume(line: &PropertyString) -> &str {
    let named = ["", "file", "volume"].iter().find_map(|key| line.get(key));
    named.unwrap_or_default()
}

/// Lists what survives the deletion of a guest with this configuration, since the guest does not own it:
/// `scsi1 /dev/disk/by-id/…`. Discs in CD drives are omitted.
pub(crate) fn not_owned(config: &Value, vmid: &str) -> Vec<String> {
    let slots = config.as_object().into_iter().flatten();
    let disks = slots.filter(|(slot, _)| Slot::of(slot).holds_volume());
    let not_owned = disks.filter_map(|(slot, line)| {
        let line = line.as_str()?;
        let parts = PropertyString::parse(line);
        let is_disc = parts.get("media") == Some("cdrom");
        let is_spared = Fate::of(vmid, slot, line, true) == Fate::Untouched && !is_disc;
        is_spared.then(|| text::inline(&format!("{slot} {}", volume(&parts))))
    });
    not_owned.collect()
}

/// Returns the VMID of the guest that owns a volume; empty if its name contains none.
///
/// On directory storages the folder decides (`local:100/data.qcow2`), on others the name
/// (`local-lvm:vm-100-disk-0`). The image that a linked clone is based on may come first
/// (`local:9000/base-9000-disk-0.qcow2/100/vm-100-disk-0.qcow2`). Backups belong to a guest, too:
/// `vzdump-qemu-100-….vma.zst`, or `backup/vm/100/…` on a backup server (`parse_volname` in
/// `PVE/Storage/*.pm`).
pub(crate) fn owner(volume: &str) -> &str {
    let name = volume.split_once(':').map_or(volume, |(_, name)| name);
    let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
    // A folder of backups does not name the guest, except on a backup server.
    let folder = match folders.strip_prefix("backup/") {
        Some(rest) => ["vm/", "ct/"]
            .iter()
            .find_map(|kind| rest.strip_prefix(kind)),
        None => folders.rsplit('/').next(),
    };
    if let Some(folder) = folder.filter(|folder| is_vmid(folder)) {
        return folder;
    }
    let words: Vec<&str> = file.split('-').collect();
    match words[..] {
        ["vzdump", "qemu" | "lxc" | "openvz", vmid, ..]
        | ["vm" | "base" | "subvol" | "basevol", vmid, ..]
            if is_vmid(vmid) =>
        {
            vmid
        }
        _ => "",
    }
}

fn is_vmid(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_volumes_that_the_guest_owns_are_erased() {
        use Fate::{Erased, Kept, Untouched};
        for (slot, line, detached, erased) in [
            ("scsi1", "local-lvm:vm-100-disk-2,size=50G", Kept, Erased),
            ("scsi1", "file=local:100/vm-100-disk-2.qcow2", Kept, Erased),
            ("mp0", "local-zfs:subvol-100-disk-1,mp=/srv", Kept, Erased),
            (
                "mp0",
                "volume=local-zfs:subvol-100-disk-1,mp=/srv",
                Kept,
                Erased,
            ),
            (
                "efidisk0",
                "local-lvm:base-100-disk-0,size=4M",
                Kept,
                Erased,
            ),
            ("scsi0", "tank:base-9000-disk-0/vm-100-disk-0", Kept, Erased),
            ("unused0", "local-lvm:vm-100-disk-2", Erased, Erased),
            ("vmstate", "local-lvm:vm-100-state-suspend", Erased, Erased),
            ("unused0", "local-lvm:vm-101-disk-2", Untouched, Untouched),
            (
                "unused0",
                "local:101/vm-100-disk-2.raw",
                Untouched,
                Untouched,
            ),
            (
                "scsi1",
                "local-lvm:vm-101-disk-0,size=8G",
                Untouched,
                Untouched,
            ),
            (
                "scsi1",
                "/dev/disk/by-id/ata-vm-100-disk-0,size=1T",
                Untouched,
                Untouched,
            ),
            ("scsi1", "/dev/pve/vm-100-disk-0", Untouched, Untouched),
            ("scsi1", "san:0.0.1.scsi-36001405", Untouched, Untouched),
            (
                "mp0",
                "/srv/100/vm-100-disk-0,mp=/srv",
                Untouched,
                Untouched,
            ),
            (
                "ide2",
                "local:iso/debian.iso,media=cdrom",
                Untouched,
                Untouched,
            ),
            (
                "ide2",
                "local-lvm:vm-100-disk-1,media=cdrom",
                Untouched,
                Untouched,
            ),
            ("ide2", "none,media=cdrom", Untouched, Untouched),
            (
                "ide2",
                "local-lvm:vm-100-cloudinit,media=cdrom",
                Erased,
                Erased,
            ),
            (
                "ide2",
                "local:100/vm-100-cloudinit.qcow2,media=cdrom",
                Erased,
                Erased,
            ),
        ] {
            assert_eq!(
                Fate::of("100", slot, line, false),
                detached,
                "{slot}: {line}"
            );
            assert_eq!(Fate::of("100", slot, line, true), erased, "{slot}: {line}");
        }
    }

    #[test]
    fn lists_what_a_guest_does_not_own() {
        let config = serde_json::json!({
            "name": "a", "memory": 512, "args": "/dev/x", "scsi0": "local-lvm:vm-100-disk-0,size=8G",
            "scsi1": "/dev/disk/by-id/x,size=1T", "ide2": "local:iso/a.iso,media=cdrom",
            "ide3": "none,media=cdrom", "unused0": "local-lvm:vm-101-disk-0", "scsihw": "lsi",
        });
        assert_eq!(
            not_owned(&config, "100"),
            ["scsi1 /dev/disk/by-id/x", "unused0 local-lvm:vm-101-disk-0"]
        );
    }

    #[test]
    fn finds_the_owner_of_a_volume() {
        for (volume, of) in [
            ("local-lvm:vm-100-disk-0", "100"),
            ("local-lvm:vm-100-cloudinit", "100"),
            ("local-zfs:subvol-100-disk-0", "100"),
            ("local-zfs:base-9000-disk-0", "9000"),
            ("local-zfs:basevol-9000-disk-0/subvol-100-disk-0", "100"),
            ("local:100/vm-100-disk-0.qcow2", "100"),
            ("local:100/data.qcow2", "100"),
            ("local:900/vm-100-disk-0.qcow2", "900"),
            (
                "local:9000/base-9000-disk-0.qcow2/100/vm-100-disk-0.qcow2",
                "100",
            ),
            (
                "local:backup/vzdump-qemu-100-2026_01_01-00_00_00.vma.zst",
                "100",
            ),
            ("backup/vzdump-lxc-101-2026_01_01-00_00_00.tar.zst", "101"),
            ("pbs:backup/ct/101/2026-01-01T00:00:00Z", "101"),
            (
                "local:backup/100/vzdump-qemu-101-2026_01_01-00_00_00.vma.zst",
                "101",
            ),
            ("pbs:backup/ct/101/100/2026-01-01T00:00:00Z", ""),
            ("local:backup/100/renamed.vma.zst", ""),
            ("local:iso/debian.iso", ""),
            ("local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst", ""),
            ("san:0.0.1.scsi-36001405", ""),
            ("local-lvm:vm-data", ""),
            ("none", ""),
            ("", ""),
        ] {
            assert_eq!(owner(volume), of, "{volume}");
        }
    }
}
