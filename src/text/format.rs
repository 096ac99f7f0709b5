//! The formats of identifiers and sizes that Proxmox accepts, checked before anything is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::text::slot;
use crate::text::upid::Upid;

/// A format that a text must have.
pub(crate) struct Format {
    /// The format in words, to follow "must be".
    pub(crate) form: &'static str,
    /// Returns the text as Proxmox expects it; `None` if it does not have the format.
    pub(crate) parse: fn(&str) -> Option<String>,
}

/// Declares formats whose texts are sent unchanged.
macro_rules! checked {
    ($($(#[$doc:meta])* $name:ident: $form:literal, $check:expr;)+) => {
        $($(#[$doc])* pub(crate) static $name: Format = Format {
            form: $form,
            parse: |text| {
                let check: fn(&str) -> bool = $check;
                check(text).then(|| text.to_owned())
            },
        };)+
    };
}

// The rules are those of `PVE/JSONSchema.pm`, `PVE/QemuServer/Drive.pm` and `PVE/LXC/Config.pm`.
checked! {
    /// A user, group, role, realm or token; it goes into paths, where a slash would part it.
    ACCESS_ID: "an id without blanks and slashes", |text| {
        (1..=128).contains(&text.chars().count())
            && ![".", ".."].contains(&text)
            && !text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
    };
    /// As an IP set takes it; it goes into a path, whose last part may contain a slash.
    ADDRESS_OR_ALIAS: "an address, a network such as 10.0.0.0/8, or an alias", |text| {
        let (address, prefix) = text.split_once('/').map_or((text, "0"), |(address, prefix)| (address, prefix));
        let is_alias = |name: &str| name.len() >= 2 && starts_with_letter(name) && all(name, "-_");
        address.parse::<Ipv4Addr>().is_ok() && is_within(prefix, 0, 32)
            || address.parse::<Ipv6Addr>().is_ok() && is_within(prefix, 0, 128)
            || is_alias(text)
            || text.split_once('/').is_some_and(|(scope, name)| ["dc", "guest"].contains(&scope) && is_alias(name))
    };
    ADDRESS: "an IP address", |text| text.parse::<IpAddr>().is_ok();
    BACKUP: "a volume id such as local:backup/vzdump-qemu-100-….vma.zst (at most 255 characters)", is_volume;
    /// A disk or partition, by any of its names.
    BLOCK_DEVICE: "a device such as /dev/sda or /dev/disk/by-id/…", |text| {
        text.strip_prefix("/dev/").is_some_and(|rest| {
            all(rest, "/-_.:+") && rest.split('/').all(|part| !part.is_empty() && ![".", ".."].contains(&part))
        })
    };
    BRIDGE: "a bridge or vnet (letters, digits, - _ .)", |text| all(text, "-_.");
    CHECKSUM: "a checksum of 32 to 128 hexadecimal digits", |text| {
        (32..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    /// A monitor, manager or metadata server by its name, an OSD by its number.
    CEPH_DAEMON: "a name of letters, digits and dashes, for an OSD its number", is_label;
    /// A pool or file system.
    CEPH_NAME: "a name without blanks, : and /", |text| {
        (1..=255).contains(&text.len())
            && ![".", ".."].contains(&text)
            && is_printable(text)
            && !text.contains(|c: char| c.is_whitespace() || [':', '/'].contains(&c))
    };
    CEPH_SERVICE: "mon, mgr, mds or osd, or one of them such as osd.3", |text| {
        let (kind, id) = text.split_once('.').unwrap_or((text, "0"));
        ["mon", "mgr", "mds", "osd"].contains(&kind) && is_label(id)
    };
    CONFIG_ID: "a letter, then letters, digits, - or _", |text| {
        text.len() >= 2 && starts_with_letter(text) && all(text, "-_")
    };
    /// A block device as `PUT disks/…` accepts it: no dash, dot or underscore.
    DEVICE: "a device such as /dev/sda (letters, digits, /)", |text| {
        text.strip_prefix("/dev/").is_some_and(|rest| all(rest, "/"))
    };
    DIGEST: "a digest of at most 40 hexadecimal digits", |text| {
        (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    DNS_NAME: "a DNS name (letters, digits, dashes; dots between labels; no underscore)", |text| {
        text.len() <= 255 && text.split('.').all(is_label)
    };
    GUID: "a UUID of hexadecimal digits and dashes (at most 36)", |text| {
        (1..=36).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    };
    GROUP: "a group id (letters, digits, - _ .)", |text| is_access_name(text);
    /// Several, since an empty text takes a user out of all.
    GROUPS: "group ids with commas between them", |text| text.split(',').all(|group| is_access_name(group.trim()));
    HA_RESOURCE: "an HA resource such as vm:100 or ct:101", |text| {
        let vmid = text.strip_prefix("vm:").or(text.strip_prefix("ct:")).unwrap_or(text);
        !vmid.starts_with('0') && is_within(vmid, 100, 999_999_999)
    };
    IPV4: "an IPv4 address", |text| text.parse::<Ipv4Addr>().is_ok();
    IPV4_CONFIG: "dhcp, manual or an IPv4 address with prefix such as 192.0.2.10/24", |text| {
        ["dhcp", "manual"].contains(&text)
            || text.split_once('/').is_some_and(|(address, prefix)| {
                address.parse::<Ipv4Addr>().is_ok() && is_within(prefix, 8, 32)
            })
    };
    IPV6: "an IPv6 address", |text| text.parse::<Ipv6Addr>().is_ok();
    IPV6_CONFIG: "auto, dhcp, manual or an IPv6 address with prefix such as 2001:db8::10/64", |text| {
        ["auto", "dhcp", "manual"].contains(&text)
            || text.split_once('/').is_some_and(|(address, prefix)| {
                address.parse::<Ipv6Addr>().is_ok() && is_within(prefix, 8, 128)
            })
    };
    INTERFACE: "a network interface such as vmbr0 (2 to 20 characters)", |text| {
        let (name, unit) = match text.split_once([':', '.']) {
            Some((name, unit)) => (name, unit),
            None => (text, "0"),
        };
        (2..=20).contains(&text.len()) && name.len() >= 2 && starts_with_letter(name)
            && all(name, "_") && is_within(unit, 0, u32::MAX)
    };
    /// The name of a NIC inside a container.
    INTERFACE_NAME: "an interface name such as eth0 (letters, digits, - _ .)", |text| all(text, "-_.");
    /// As the path of a backup job takes it; a job that Proxmox named has a UUID.
    JOB: "a job id (letters, digits, . _ -, at most 50)", |text| text.len() <= 50 && all(text, "._-") && text != "." && text != "..";
    /// That of all repositories.
    LONG_DIGEST: "a digest of at most 80 hexadecimal digits", |text| {
        (1..=80).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    LOG_LEVEL: "emerg, alert, crit, err, warning, notice, info, debug or nolog", |text| {
        ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog"].contains(&text)
    };
    LXC_VOLUME: "rootfs or mp0 to mp255", |text| {
        text == "rootfs" || slot::is_one_of(text, &["mp"])
    };
    MAC: "a unicast MAC address such as BC:24:11:00:00:01", |text| {
        let bytes: Vec<&str> = text.split(':').collect();
        bytes.len() == 6
            && bytes.iter().all(|byte| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit()))
            && u8::from_str_radix(bytes[0], 16).is_ok_and(|first| first & 1 == 0)
    };
    MOUNT_POINT: "mp0 to mp255", |text| slot::is_one_of(text, &["mp"]);
    MOUNT_POINT_OR_UNUSED: "mp0 to mp255, or unused0 to unused255", |text| {
        slot::is_one_of(text, &["mp", "unused"])
    };
    /// An address of an interface.
    NETWORK: "an address with prefix such as 192.0.2.10/24", |text| {
        text.split_once('/').is_some_and(|(address, prefix)| match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => is_within(prefix, 1, 32),
            Ok(IpAddr::V6(_)) => is_within(prefix, 1, 128),
            Err(_) => false,
        })
    };
    NEW_LXC_SNAPSHOT: "a letter, then letters, digits, - or _, 2 to 40 in all, not current or vzdump", |text| {
        is_snapshot(text) && text != "vzdump"
    };
    NEW_VM_SNAPSHOT: "a letter, then letters, digits, - or _, 2 to 40 in all, not current or pending", |text| {
        is_snapshot(text) && !text.eq_ignore_ascii_case("pending")
    };
    NIC: "net0 to net31", |text| slot::is_one_of(text, &["net"]);
    NODE: "a node name (letters, digits, dashes)", is_label;
    /// As `lspci` shows it, with or without its domain, or a mapping of the cluster.
    PCI_DEVICE: "a PCI address such as 0000:01:00.0, or a mapping", |text| {
        let hex = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let rest = match text.split_once(':') {
            Some((domain, rest)) if hex(domain, 4) => rest,
            _ => text,
        };
        let is_address = rest.split_once(':').is_some_and(|(bus, slot)| {
            hex(bus, 2) && slot.split_once('.').is_some_and(|(slot, function)| hex(slot, 2) && hex(function, 1))
        });
        is_address || (text.len() >= 2 && starts_with_letter(text) && all(text, "-_"))
    };
    PACKAGE: "a package name (lower-case letters, digits, - + . :)", |text| {
        let is_first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        (2..=128).contains(&text.len()) && text.starts_with(is_first)
            && text.chars().all(|c| is_first(c) || "-+.:".contains(c))
    };
    POOL: "a pool id (letters, digits, . _ -; up to three levels a/b/c)", |text| {
        let levels: Vec<&str> = text.split('/').collect();
        levels.len() <= 3 && levels.iter().all(|level| all(level, "._-") && ![".", ".."].contains(level))
    };
    RETENTION: "a retention policy such as keep-last=3,keep-daily=7", |text| {
        text.split(',').all(|part| {
            let (key, count) = part.split_once('=').unwrap_or_default();
            let unit = key.strip_prefix("keep-").unwrap_or_default();
            ["all", "last", "hourly", "daily", "weekly", "monthly", "yearly"].contains(&unit)
                && is_within(count, 0, u32::MAX)
        })
    };
    REPLICATION_JOB: "a replication job such as 100-0", |text| {
        text.split_once('-').is_some_and(|(vmid, number)| {
            is_within(vmid, 100, 999_999_999) && !vmid.starts_with('0') && is_within(number, 0, 999_999_999)
        })
    };
    /// An object of software defined networking.
    SDN_ID: "an id such as z1, vnet1 or z1-10.0.0.0-24", |text| {
        text.len() <= 64 && starts_with_letter(text) && all(text, "-_.:")
    };
    REALM: "a realm (a letter, then letters, digits, - _ .; 2 to 32 in all)", |text| {
        (2..=32).contains(&text.len()) && starts_with_letter(text) && all(text, "-_.")
    };
    ROLE: "a role id (letters, digits, - _ .)", |text| is_access_name(text);
    SNAPSHOT: "a snapshot name (a letter, then letters, digits, - or _; 2 to 40; not current)", is_snapshot;
    STORAGE: "a storage id (a letter first, then letters, digits, - _ .)", is_storage;
    /// A network, or the id that Proxmox makes of it and the zone.
    SUBNET: "a network such as 10.0.0.0/24, or the id of a subnet such as z1-10.0.0.0-24", |text| {
        let network = match text.split_once('/') {
            Some(network) => Some(network),
            None => {
                let id = text.split_once('-').filter(|(zone, _)| all(zone, ""));
                id.and_then(|(_, network)| network.rsplit_once('-'))
            }
        };
        network.is_some_and(|(address, prefix)| match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => is_within(prefix, 0, 32),
            Ok(IpAddr::V6(_)) => is_within(prefix, 0, 128),
            Err(_) => false,
        })
    };
    SUBSCRIPTION: "a subscription key such as pve2c-0123456789", is_subscription;
    TEMPLATE: "a volume id such as local:vztmpl/debian-13-….tar.zst (at most 255 characters)", is_volume;
    TOKEN: "a token id (a letter, then letters, digits, - _ .; 2 or more in all)", |text| {
        text.len() >= 2 && starts_with_letter(text) && all(text, "-_.")
    };
    UNIT: "a unit name (letters, digits, - _ . @ :)", |text| text.len() <= 128 && all(text, "-_.@:");
    UPID: "a task id: UPID:node:pid:pstart:starttime:type:id:user: with the last colon", |text| {
        Upid::parse(text).is_some()
    };
    URL: "an http:// or https:// URL", |text| {
        let rest = text.strip_prefix("https://").or(text.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    /// It goes into paths, where a slash would part it.
    USER: "a user with the realm, such as mcp@pve", |text| {
        text.len() <= 64
            && text.rsplit_once('@').is_some_and(|(user, realm)| {
                !user.is_empty() && !realm.is_empty() && all(realm, "-_.")
            })
            && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !":/!".contains(c))
    };
    VM_DISK: "scsi0-30, virtio0-15, sata0-5, ide0-3", |text| slot::is_one_of(text, DISKS);
    VM_DISK_OR_STATE: "scsi0-30, virtio0-15, sata0-5, ide0-3, efidisk0 or tpmstate0", |text| {
        slot::is_one_of(text, DISKS) || slot::is_one_of(text, STATE)
    };
    VM_DISK_OR_UNUSED: "scsi0-30, virtio0-15, sata0-5, ide0-3, efidisk0, tpmstate0 or unused0-255", |text| {
        slot::is_one_of(text, DISKS) || slot::is_one_of(text, STATE) || slot::is_one_of(text, &["unused"])
    };
    VNET: "a vnet (a letter, then letters and digits, 2 to 8 in all)", |text| {
        (2..=8).contains(&text.len()) && starts_with_letter(text) && all(text, "")
    };
    /// `{storage}:{volume}`. The volume may contain slashes, so none of its parts may lead out of its path.
    VOLUME: "a volume id such as local:iso/debian.iso (at most 255 characters)", is_volume;
    /// A backup with or without its storage.
    VOLUME_OR_NAME: "a volume id such as local:backup/vzdump-qemu-100-….vma.zst", |text| {
        text.len() <= 255 && is_volume_name(text)
    };
    ZONE: "a zone (a letter, then letters and digits, 2 to 8 in all)", |text| {
        (2..=8).contains(&text.len()) && starts_with_letter(text) && all(text, "")
    };
}

/// A path of access control as Proxmox stores it: without a slash at its end or two in a row.
pub(crate) static ACL_PATH: Format = Format {
    form: "a path such as /, /vms/100, /storage/local or /pool/dev",
    parse: |text| {
        let rest = text.strip_prefix('/')?;
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let has_form = !text.contains(|c: char| c.is_whitespace() || c.is_control());
        has_form.then(|| format!("/{}", parts.join("/")))
    },
};

/// What a synchronisation removes: Proxmox takes commas as well, and then removes nothing.
pub(crate) static VANISHED: Format = Format {
    form: "none, or some of acl, entry, properties with ; between them",
    parse: |text| {
        let parts: Vec<&str> = text.split([';', ',']).map(str::trim).collect();
        let is_part = |part: &&str| ["acl", "entry", "properties"].contains(part);
        (text == "none" || parts.iter().all(is_part)).then(|| parts.join(";"))
    },
};

/// A mount point path in a container; a trailing slash is removed.
pub(crate) static MOUNT_PATH: Format = Format {
    form: "an absolute path without . or .. parts",
    parse: |text| {
        let path = text.strip_suffix('/').unwrap_or(text);
        let has_form = is_printable(path)
            && !path.contains(',')
            && path
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(|part| !["", ".", ".."].contains(&part)));
        has_form.then(|| path.to_owned())
    },
};

/// The size of a new volume: a number of GiB without a unit, since Proxmox takes `50G` for a volume name.
pub(crate) static NEW_SIZE: Format = Format {
    form: "a size in GiB such as 32, or with a unit M, G or T",
    parse: |text| {
        let (number, unit) = size(text)?;
        let gibibytes = match unit {
            None | Some('G') => number,
            Some('M') => number / 1024.0,
            Some('T') => number * 1024.0,
            Some(_) => return None,
        };
        Some(gibibytes.to_string())
    },
};

/// The size to grow a volume to or by, always with a unit: Proxmox takes a number without one for bytes.
pub(crate) static GROWN_SIZE: Format = Format {
    form: "a size such as +10G (more) or 50G (in all), units K, M, G, T; without one GiB",
    parse: |text| {
        let (plus, rest) = match text.strip_prefix('+') {
            Some(rest) => ("+", rest),
            None => ("", text),
        };
        let (number, unit) = size(rest)?;
        Some(format!("{plus}{number}{}", unit.unwrap_or('G')))
    },
};

const DISKS: &[&str] = &["scsi", "virtio", "sata", "ide"];
const STATE: &[&str] = &["efidisk", "tpmstate"];

/// Splits a size into a positive number and its unit letter in upper case; `GB` and `GiB` mean `G`.
fn size(text: &str) -> Option<(f64, Option<char>)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let plain = number.starts_with(|c: char| c.is_ascii_digit())
        && !number.ends_with('.')
        && number.len() <= 12;
    let number: f64 = number
        .parse()
        .ok()
        .filter(|number| plain && *number > 0.0)?;
    let unit = match unit.trim_start().to_ascii_uppercase().as_str() {
        "" => None,
        "K" | "KB" | "KIB" => Some('K'),
        "M" | "MB" | "MIB" => Some('M'),
        "G" | "GB" | "GIB" => Some('G'),
        "T" | "TB" | "TIB" => Some('T'),
        _ => return None,
    };
    Some((number, unit))
}

/// Returns true if `text` is not empty and contains only letters, digits and `others`.
fn all(text: &str, others: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Whether a word is the key of a subscription.
pub(crate) fn is_subscription(word: &str) -> bool {
    let level = word
        .strip_prefix("pve")
        .and_then(|rest| rest.split_once('-'));
    level.is_some_and(|(level, number)| {
        let mut level = level.chars();
        level.next().is_some_and(|c| "1248".contains(c))
            && level.next().is_some_and(|c| "cbsp".contains(c))
            && level.next().is_none()
            && number.len() == 10
            && number.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

pub(crate) fn is_label(text: &str) -> bool {
    all(text, "-") && text.len() <= 63 && !text.starts_with('-') && !text.ends_with('-')
}

/// A group or a role.
fn is_access_name(text: &str) -> bool {
    all(text, "-_.") && ![".", ".."].contains(&text)
}

fn is_printable(text: &str) -> bool {
    text.chars().all(|c| !c.is_control())
}

fn is_snapshot(text: &str) -> bool {
    (2..=40).contains(&text.len())
        && starts_with_letter(text)
        && all(text, "_-")
        && text != "current"
}

fn is_storage(text: &str) -> bool {
    (2..=100).contains(&text.len())
        && starts_with_letter(text)
        && all(text, "-_.")
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_volume(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(storage, volume)| is_storage(storage) && is_volume_name(volume))
        && text.len() <= 255
}

fn is_volume_name(text: &str) -> bool {
    !text.is_empty()
        && is_printable(text)
        && !text.contains([' ', ',', '?', '#', '%', '\\'])
        && text.split('/').all(|part| !["", ".", ".."].contains(&part))
}

fn is_within(number: &str, least: u32, most: u32) -> bool {
    number.bytes().all(|byte| byte.is_ascii_digit())
        && number
            .parse::<u32>()
            .is_ok_and(|number| (least..=most).contains(&number))
}

fn starts_with_letter(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &Format, accepted: &[&str], refused: &[&str]) {
        for text in accepted {
            assert_eq!(
                (format.parse)(text).as_deref(),
                Some(*text),
                "{}",
                format.form
            );
        }
        for text in refused {
            assert_eq!((format.parse)(text), None, "{text} is not {}", format.form);
        }
    }

    #[test]
    fn rejects_texts_that_would_reach_another_endpoint() {
        let hostile = [
            "", ".", "..", "a/b", "../b", "a?b", "a#b", "a%2Fb", "a\\b", "a b", "a\nb", "a\0b", "ä",
        ];
        for format in [
            &NODE, &STORAGE, &SNAPSHOT, &INTERFACE, &NIC, &VM_DISK, &UPID, &VOLUME, &SDN_ID,
            &SUBNET, &ZONE, &GROUP, &REALM, &ROLE, &TOKEN, &USER,
        ] {
            check(format, &[], &hostile);
        }
        check(
            &VOLUME,
            &[],
            &[
                "local:../x",
                "local:a/../b",
                "local:a?b",
                "local:a%2e",
                "local:",
                "local:a,size=1",
            ],
        );
        check(&VOLUME_OR_NAME, &[], &["../x", "a//b", "/a", "a\u{7f}"]);
        check(
            &DEVICE,
            &[],
            &["/dev/", "/dev/../x", "/dev/sd-a", "sda", "/dev/a?b"],
        );
    }

    #[test]
    fn ids_and_paths_of_access_control_have_the_form_that_proxmox_stores() {
        check(
            &ACCESS_ID,
            &["a", "anna@pve", "t1"],
            &["", "..", "a/b", "a b"],
        );
        check(&GROUPS, &["ops", "ops,dev"], &["", "ops,", "a/b"]);
        check(&REALM, &["pve", "ldap1"], &["1a", "a"]);
        check(
            &USER,
            &["mcp@pve", "a+b@ldap1"],
            &["mcp", "mcp@", "@pve", "mcp@pve!t"],
        );
        for (given, sent) in [
            ("/", Some("/")),
            ("/vms/100/", Some("/vms/100")),
            ("//pool//dev", Some("/pool/dev")),
            ("vms", None),
            ("/a b", None),
        ] {
            assert_eq!((ACL_PATH.parse)(given).as_deref(), sent, "{given}");
        }
        for (given, sent) in [
            ("none", Some("none")),
            ("acl, entry", Some("acl;entry")),
            ("acl;entry;properties", Some("acl;entry;properties")),
            ("acl;none", None),
            ("all", None),
        ] {
            assert_eq!((VANISHED.parse)(given).as_deref(), sent, "{given}");
        }
    }

    #[test]
    fn accepts_the_identifiers_of_proxmox() {
        check(
            &NODE,
            &["pve1", "p", "PVE-2"],
            &["-a", "a-", "pve1.lan", "a_b"],
        );
        check(&STORAGE, &["local-lvm", "nfs.1", "ab"], &["a", "1a", "a-"]);
        check(
            &VOLUME,
            &[
                "local:iso/debian-12.iso",
                "pbs:backup/vm/100/2026-01-01T00:00:00Z",
                "local-lvm:vm-100-disk-0",
            ],
            &["local"],
        );
        check(
            &SNAPSHOT,
            &["ab", "before-update_2", "vzdump"],
            &["a", "1a", "current", &"a".repeat(41)],
        );
        check(&NEW_LXC_SNAPSHOT, &["pending"], &["vzdump", "current"]);
        check(&NEW_VM_SNAPSHOT, &["vzdump"], &["Pending", "current"]);
        check(
            &MAC,
            &["BC:24:11:5A:7D:01", "02:00:00:00:00:00"],
            &["01:00:00:00:00:00", "BC:24:11:5A:7D", "BC-24-11-5A-7D-01"],
        );
        check(
            &INTERFACE,
            &["vmbr0", "eno1.40", "bond0:1"],
            &["a", "0eth", "eth0.", "eth0.x", &"a".repeat(21)],
        );
        check(
            &VM_DISK,
            &["scsi0", "scsi30", "virtio15", "ide3"],
            &["scsi31", "scsi01", "scsi", "efidisk0", "sata6"],
        );
        check(
            &VM_DISK_OR_UNUSED,
            &["efidisk0", "unused255", "tpmstate0"],
            &["efidisk1", "unused256"],
        );
        check(
            &LXC_VOLUME,
            &["rootfs", "mp0", "mp255"],
            &["mp256", "rootfs0", "unused0"],
        );
        check(&NIC, &["net0", "net31"], &["net32", "net", "eth0"]);
        check(
            &DNS_NAME,
            &["web01", "web01.example.com"],
            &["web_01", ".a", "a..b", "-a"],
        );
        check(
            &IPV4_CONFIG,
            &["dhcp", "manual", "192.0.2.10/24"],
            &["192.0.2.10", "192.0.2.10/7", "auto", "192.0.2.10/33"],
        );
        check(
            &IPV6_CONFIG,
            &["auto", "2001:db8::1/64"],
            &["2001:db8::1", "2001:db8::1/129"],
        );
        check(
            &SUBNET,
            &[
                "10.0.0.0/24",
                "z1-10.0.0.0-24",
                "fd00:1::/64",
                "z1-fd00:1::-64",
            ],
            &[
                "10.0.0.0",
                "10.0.0.0/33",
                "z1-10.0.0.0-33",
                "../-10.0.0.0-24",
                "z1-10.0.0-24",
            ],
        );
        check(
            &SDN_ID,
            &["z1", "z1-fd00:1::-64"],
            &["1z", "z1-10.0.0.0/24"],
        );
        check(&ZONE, &["z1", "abcdefgh"], &["z", "1z", "z-1", "abcdefghi"]);
        check(&ADDRESS, &["192.0.2.1", "2001:db8::1"], &["192.0.2.0/24"]);
        check(&POOL, &["prod", "a/b/c"], &["a/b/c/d", "a//b", "../a"]);
        check(
            &MOUNT_PATH,
            &["/srv/data"],
            &[
                "/", "//", "srv", "/a/../b", "/a/..", "/a/../", "/a,b", "/a//b", "/a//",
            ],
        );
        assert_eq!(
            (MOUNT_PATH.parse)("/srv/data/").as_deref(),
            Some("/srv/data")
        );
    }

    #[test]
    fn converts_sizes_to_the_form_of_proxmox() {
        let new = |text| (NEW_SIZE.parse)(text);
        assert_eq!(new("50").as_deref(), Some("50"));
        assert_eq!(new("50G").as_deref(), Some("50"));
        assert_eq!(new("0.5 GiB").as_deref(), Some("0.5"));
        assert_eq!(new("512M").as_deref(), Some("0.5"));
        assert_eq!(new("2t").as_deref(), Some("2048"));
        let grown = |text| (GROWN_SIZE.parse)(text);
        assert_eq!(grown("+10").as_deref(), Some("+10G"));
        assert_eq!(grown("50G").as_deref(), Some("50G"));
        assert_eq!(grown("+512m").as_deref(), Some("+512M"));
        for text in [
            "", "0", "-1", "+", "1e3", "1P", "1,5", ".5", "5.", "5G5", "inf", "NaN",
        ] {
            assert_eq!(new(text), None, "{text}");
            assert_eq!(grown(text), None, "{text}");
        }
    }
}
