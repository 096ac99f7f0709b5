//! Volumes of guests: whose they are.

/// The VMID of the guest that a volume belongs to, empty where its name tells none.
///
/// A storage that is a directory goes by the folder (`local:100/data.qcow2`), others by the name
/// (`local-lvm:vm-100-disk-0`); what comes before them is the image that a linked clone builds on
/// (`local:9000/base-9000-disk-0.qcow2/100/vm-100-disk-0.qcow2`). Backups are of a guest as well:
/// `vzdump-qemu-100-….vma.zst`, or `backup/vm/100/…` on a backup server (`parse_volname` in
/// `PVE/Storage/*.pm`).
pub(crate) fn owner(volume: &str) -> &str {
    let name = volume.split_once(':').map_or(volume, |(_, name)| name);
    let mut parts = name.rsplit('/');
    let file = parts.next().unwrap_or_default();
    if let Some(folder) = parts.next().filter(|folder| is_vmid(folder)) {
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
    fn knows_whose_a_volume_is() {
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
