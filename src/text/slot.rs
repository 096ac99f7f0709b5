//! Slots of guests, such as `scsi1`, `mp0` and `net2`: a family and a number within it.

/// A family of slots.
struct Family {
    name: &'static str,
    /// The highest number in the family (`PVE/QemuServer/Drive.pm`, `PVE/LXC/Config.pm`).
    last: u32,
    /// Whether its slots hold volumes.
    holds_volume: bool,
}

const fn disks(name: &'static str, last: u32) -> Family {
    Family {
        name,
        last,
        holds_volume: true,
    }
}

static FAMILIES: &[Family] = &[
    disks("scsi", 30),
    disks("virtio", 15),
    disks("sata", 5),
    disks("ide", 3),
    disks("efidisk", 0),
    disks("tpmstate", 0),
    disks("mp", 255),
    disks("unused", 255),
    Family {
        name: "net",
        last: 31,
        holds_volume: false,
    },
];

/// Slots without a number that hold a volume.
const SINGLE: &[&str] = &["rootfs", "vmstate"];

/// A configuration key, split into family and number. Any key can be split, even if Proxmox has no such slot,
/// since the gate must judge every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot<'a> {
    /// `scsi` in `scsi1`; the whole key if no number follows.
    pub(crate) family: &'a str,
    /// `None` if no number follows, or one that is too large.
    pub(crate) number: Option<u32>,
}

impl<'a> Slot<'a> {
    pub(crate) fn of(key: &'a str) -> Self {
        let family = key.trim_end_matches(|c: char| c.is_ascii_digit());
        Self {
            family,
            number: key[family.len()..].parse().ok(),
        }
    }

    fn known(&self) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.name == self.family)
    }

    /// Returns the highest number in the family.
    pub(crate) fn last(&self) -> Option<u32> {
        self.known().map(|family| family.last)
    }

    /// Returns true if the slot holds a volume, even an unused one.
    pub(crate) fn holds_volume(&self) -> bool {
        match self.number {
            Some(_) => self.known().is_some_and(|family| family.holds_volume),
            None => SINGLE.contains(&self.family),
        }
    }
}

/// Returns true if `text` is a slot of one of the families, spelt exactly as Proxmox does.
pub(crate) fn is_one_of(text: &str, families: &[&str]) -> bool {
    let slot = Slot::of(text);
    let is_canonical = |number: u32| text.len() == slot.family.len() + number.to_string().len();
    families.contains(&slot.family)
        && slot.number.is_some_and(|number| {
            is_canonical(number) && slot.last().is_some_and(|last| number <= last)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_any_key() {
        let slot = |family, number| Slot { family, number };
        assert_eq!(Slot::of("scsi12"), slot("scsi", Some(12)));
        assert_eq!(Slot::of("rootfs"), slot("rootfs", None));
        assert_eq!(Slot::of("net99999999999"), slot("net", None));
        assert_eq!(Slot::of(""), slot("", None));
    }

    #[test]
    fn knows_which_slots_hold_volumes() {
        for key in [
            "scsi0", "scsi99", "efidisk0", "unused7", "mp3", "rootfs", "vmstate",
        ] {
            assert!(Slot::of(key).holds_volume(), "{key}");
        }
        for key in ["net0", "scsi", "scsihw", "rootfs1", "memory", ""] {
            assert!(!Slot::of(key).holds_volume(), "{key}");
        }
    }

    #[test]
    fn a_slot_must_be_within_the_limits_of_its_family() {
        for (text, expected) in [
            ("scsi30", true),
            ("scsi31", false),
            ("scsi01", false),
            ("scsi", false),
            ("ide3", true),
            ("ide4", false),
            ("sata0", false),
        ] {
            assert_eq!(is_one_of(text, &["scsi", "ide"]), expected, "{text}");
        }
    }
}
