//! Disks of VMs and volumes of containers: add, resize, remove, move.

use super::common::{DIGEST, Guest, STORAGE};
use super::config::{
    CONFIG_OF_LXC, CONFIG_OF_VM, Config, Settled, change, unknown_whether_it_waits, with_slot,
};
use super::guest::{NODE, VMID};
use crate::answer::Answer;
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::cluster::volume::{Fate, volume};
use crate::error::{Error, Refusal};
use crate::param::{Args, Kind, Param};
use crate::pve::property::{self, PropertyString};
use crate::request::{
    Method::{Post, Put},
    Reply,
};
use crate::row::{Harm, Step, Touches, needs};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool};

const DISKS: &[&str] = &[
    "scsi", "virtio", "sata", "ide", "efidisk", "tpmstate", "unused",
];
const VOLUMES: &[&str] = &["mp", "unused"];

const NEW_DISK: Param = Param::required(
    "disk",
    Kind::Format(&format::VM_DISK),
    "scsi0-30, virtio0-15, sata0-5, ide0-3.",
);
const NEW_SIZE: Param = Param::required(
    "size",
    Kind::Format(&format::NEW_SIZE),
    "GiB, or with unit M, G or T.",
);
const IMAGE_FORMAT: Param = Param::optional("format", Kind::Choice(&["raw", "qcow2", "vmdk"]), "");
const DISK_OPTIONS: Param =
    Param::optional("options", Kind::Text(1, 512), "Such as discard=on,ssd=1.");

const IMPORTED_SIZE: Param = NEW_SIZE.required_unless(&["import_from"]);
/// Where the content of a new disk comes from: an image, or a disk of another VM.
pub(super) const IMPORT_FROM: Param = Param::optional(
    "import_from",
    Kind::Format(&format::VOLUME),
    "Image to copy, such as local:import/debian.qcow2.",
);

pub(super) static ADD_VM: Tool = Tool {
    title: "Add disk to VM",
    summary: "Adds a new disk to a VM, empty or with an imported image.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE,
        &VMID,
        &NEW_DISK,
        &STORAGE,
        &IMPORTED_SIZE,
        &IMPORT_FROM,
        &IMAGE_FORMAT,
        &DISK_OPTIONS,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT),
            Step::change(
                Post,
                "/nodes/{node}/qemu/{vmid}/config",
                needs::CONFIG_VM,
                Touches::GuestOf(&VMID),
                Harm::OfConfig,
            )
            .also(&[needs::DISK, needs::SPACE, needs::READ]),
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
        ],
        add_vm,
    ),
};

fn add_vm(client: &Client, args: &Args) -> Result<Answer, Error> {
    let slot = &args[&NEW_DISK];
    let mut line = match (args.get(&IMPORT_FROM), args.get(&IMPORTED_SIZE)) {
        (Some(image), None) => imported(&args[&STORAGE], image),
        (None, Some(size)) => PropertyString::of(format!("{}:{size}", &args[&STORAGE])),
        _ => {
            return Err(Error::arguments(vec![
                "import_from takes the size of the image: give only one of size and import_from, then proxmox_resize_disk_vm enlarges it".to_owned(),
            ]));
        }
    };
    if let Some(image_format) = args.get(&IMAGE_FORMAT) {
        line.set("format", image_format);
    }
    add_options(
        &mut line,
        args,
        &DISK_OPTIONS,
        &["format", "import-from", "size"],
    )?;
    // POST starts a task for what takes long; PUT would exceed the limit of 30 s.
    let (before, data) = change(client, args, Guest::Vm, Reply::TaskOrNothing, |config| {
        config.free(args, Guest::Vm, slot)?;
        let request = args.request(Post, &Guest::Vm.path("config"));
        Ok(request
            .with(slot, line.to_string())
            .with("background_delay", "10"))
    })?;
    let what = format!("Add disk {slot} to VM {} as {line}", &args[&VMID]);
    let mut answer = Answer::from_reply(&what, &data);
    // A disk gets a thread of its own only with a controller of its own (`PVE/QemuServer.pm`).
    if line.get("iothread").is_some_and(|value| value != "0")
        && slot.starts_with("scsi")
        && before.get("scsihw").as_deref() != Some("virtio-scsi-single")
    {
        answer = answer.remark("iothread has no effect without scsihw=virtio-scsi-single");
    }
    // Whether it is pending is known only once the task has ended.
    let hotplugs = before.hotplugs("disk") && !slot.starts_with("ide") && !slot.starts_with("sata");
    if answer.task.is_some() && !hotplugs {
        answer = answer.remark("a running VM sees it after a stop and start");
    }
    Ok(answer
        .then(|client, args, answer| with_slot(client, args, Guest::Vm, &args[&NEW_DISK], answer)))
}

/// The line of a disk on `storage` that gets the content of `image`.
pub(super) fn imported(storage: &str, image: &str) -> PropertyString {
    let mut line = PropertyString::of(format!("{storage}:0"));
    line.set("import-from", image);
    line
}

/// Adds the `options` of a call to a line.
pub(super) fn add_options(
    line: &mut PropertyString,
    args: &Args,
    options: &Param,
    reserved: &[&str],
) -> Result<(), Error> {
    if let Some(text) = args.get(options) {
        for (key, value) in
            property::options(text, reserved).map_err(|problem| Error::arguments(vec![problem]))?
        {
            line.set(&key, value);
        }
    }
    Ok(())
}

const NEW_MOUNT_POINT: Param =
    Param::required("mp", Kind::Format(&format::MOUNT_POINT), "mp0-mp255.");
const MOUNT_PATH: Param = Param::optional(
    "path",
    Kind::Format(&format::MOUNT_PATH),
    "Mount path; /mnt/{mp} if absent.",
);
const IN_BACKUPS: Param = Param::optional("backup", Kind::Flag, "");
const MOUNT_OPTIONS: Param = Param::optional("options", Kind::Text(1, 512), "Such as ro=1,acl=1.");

pub(super) static ADD_LXC: Tool = Tool {
    title: "Add mount point to container",
    summary: "Adds a new volume to a container and mounts it.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE,
        &VMID,
        &NEW_MOUNT_POINT,
        &STORAGE,
        &NEW_SIZE,
        &MOUNT_PATH,
        &IN_BACKUPS,
        &MOUNT_OPTIONS,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/lxc/{vmid}/config", needs::AUDIT),
            CONFIG_OF_LXC.also(needs::DISK_AND_SPACE),
            Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
        ],
        add_lxc,
    ),
};

fn add_lxc(client: &Client, args: &Args) -> Result<Answer, Error> {
    let slot = &args[&NEW_MOUNT_POINT];
    let mut line = PropertyString::of(format!("{}:{}", &args[&STORAGE], &args[&NEW_SIZE]));
    line.set(
        "mp",
        args.get(&MOUNT_PATH)
            .map_or_else(|| format!("/mnt/{slot}"), str::to_owned),
    );
    if let Some(backup) = args.get(&IN_BACKUPS) {
        line.set("backup", backup);
    }
    add_options(&mut line, args, &MOUNT_OPTIONS, &["backup", "size"])?;
    let added = change(client, args, Guest::Container, Reply::Nothing, |config| {
        config.free(args, Guest::Container, slot)?;
        Ok(args
            .request(Put, &Guest::Container.path("config"))
            .with(slot, line.to_string()))
    });
    match added {
        Ok(_) => (),
        // Creating a large volume takes longer than pveproxy waits, and succeeds nevertheless.
        Err(error) if error.refusal().is_some_and(Refusal::may_be_running) => {
            let made = Config::read(client, args, Guest::Container)
                .is_ok_and(|config| config.get(slot).is_some());
            if !made {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    let what = format!("Add {slot} to container {} as {line}", &args[&VMID]);
    let answer = Answer::done(&what);
    Ok(with_slot(client, args, Guest::Container, slot, answer))
}

const VM_DISK: Param = Param::required("disk", Kind::Format(&format::VM_DISK_OR_STATE), "");
const LXC_VOLUME: Param = Param::required(
    "disk",
    Kind::Format(&format::LXC_VOLUME),
    "rootfs or mp0-mp255.",
)
.alias(&["volume"]);
const GROWN_SIZE: Param = Param::required(
    "size",
    Kind::Format(&format::GROWN_SIZE),
    "+10G adds; 50G is the new size.",
);

pub(super) static RESIZE_VM: Tool = Tool {
    title: "Grow VM disk",
    summary: "Enlarges a disk of a VM. The guest must still grow its partition and file system.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID,
        &VM_DISK,
        &GROWN_SIZE,
        &DIGEST,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT),
            Step::change(
                Put,
                "/nodes/{node}/qemu/{vmid}/resize",
                needs::DISK_AND_SPACE,
                Touches::GuestOf(&VMID),
                Harm::None,
            ),
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
        ],
        |client, args| grow(client, args, Guest::Vm, &VM_DISK),
    ),
};

pub(super) static RESIZE_LXC: Tool = Tool {
    title: "Grow container volume",
    summary: "Enlarges a volume of a container and its file system.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID,
        &LXC_VOLUME,
        &GROWN_SIZE,
        &DIGEST,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/lxc/{vmid}/config", needs::AUDIT),
            Step::change(
                Put,
                "/nodes/{node}/lxc/{vmid}/resize",
                needs::DISK_AND_SPACE,
                Touches::GuestOf(&VMID),
                Harm::None,
            ),
            Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
        ],
        |client, args| grow(client, args, Guest::Container, &LXC_VOLUME),
    ),
};

fn grow(client: &Client, args: &Args, guest: Guest, slot: &Param) -> Result<Answer, Error> {
    let request = args.request(Put, &guest.path("resize"));
    let request = args.send_given(request, &[slot, &GROWN_SIZE]);
    // PVE 7 replies nothing once a disk of a VM has grown.
    let reply = match guest {
        Guest::Container => Reply::Task,
        Guest::Vm => Reply::TaskOrNothing,
    };
    let (before, data) = change(client, args, guest, reply, |config| {
        config.used(args, guest, &args[slot], families(guest))?;
        Ok(request.clone())
    })?;
    let what = format!(
        "Resize {} of {} {}",
        &args[slot],
        guest.noun(),
        &args[&VMID]
    );
    let line = before.get(&args[slot]).unwrap_or_default();
    let sizes = PropertyString::parse(&line)
        .get("size")
        .and_then(|size| grown(size, &args[&GROWN_SIZE]));
    let answer = match sizes {
        Some((from, to)) => {
            Answer::from_reply(&what, &data).remark(&format!("from {from} to {to}"))
        }
        None => Answer::from_reply(&format!("{what} ({})", &args[&GROWN_SIZE]), &data),
    };
    Ok(with_slot_at_end(answer, guest))
}

/// Returns the sizes of a volume before and after it grows from `now` to, or by, `wanted`.
fn grown(now: &str, wanted: &str) -> Option<(String, String)> {
    let before = bytes(now)?;
    let after = match wanted.strip_prefix('+') {
        Some(more) => before + bytes(more)?,
        None => bytes(wanted)?,
    };
    Some((text::bytes(before), text::bytes(after)))
}

/// Parses a size such as `32G` to bytes.
fn bytes(size: &str) -> Option<f64> {
    let (number, factor) = match size.char_indices().next_back()? {
        (at, 'K') => (&size[..at], 10),
        (at, 'M') => (&size[..at], 20),
        (at, 'G') => (&size[..at], 30),
        (at, 'T') => (&size[..at], 40),
        _ => (size, 0),
    };
    let number: f64 = number.parse().ok()?;
    Some(number * f64::from(factor).exp2())
}

/// Adds the slot as Proxmox has it to the answer, once that can be known.
fn with_slot_at_end(answer: Answer, guest: Guest) -> Answer {
    answer.then(match guest {
        Guest::Container => |client, args, answer| {
            with_slot(client, args, Guest::Container, &args[&LXC_VOLUME], answer)
        },
        Guest::Vm => {
            |client, args, answer| with_slot(client, args, Guest::Vm, &args[&VM_DISK], answer)
        }
    })
}

/// Returns the families of slots that can be resized and moved.
fn families(guest: Guest) -> &'static [&'static str] {
    match guest {
        Guest::Container => &["rootfs", "mp"],
        Guest::Vm => DISKS,
    }
}

const REMOVED_DISK: Param = Param::required(
    "disk",
    Kind::Format(&format::VM_DISK_OR_UNUSED),
    "Such as scsi1; unusedN erases that volume.",
);
const PURGE: Param = Param::optional("purge", Kind::Flag, "Erase its volume, if the VM owns it.")
    .default("false")
    .local();

pub(super) static REMOVE_VM: Tool = Tool {
    title: "Remove disk from VM",
    summary: "Detaches a disk from a VM. Its volume is kept as unusedN unless purge.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &VMID, &REMOVED_DISK, &PURGE],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT),
            CONFIG_OF_VM.also(&[needs::DISK]),
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
        ],
        |client, args| remove(client, args, Guest::Vm, &REMOVED_DISK, DISKS),
    ),
};

const REMOVED_MOUNT_POINT: Param = Param::required(
    "mp",
    Kind::Format(&format::MOUNT_POINT_OR_UNUSED),
    "mp0-mp255; unusedN erases that volume.",
);

pub(super) static REMOVE_LXC: Tool = Tool {
    title: "Remove mount point from container",
    summary: "Detaches a mount point from a container. Its volume is kept as unusedN.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &VMID, &REMOVED_MOUNT_POINT],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/lxc/{vmid}/config", needs::AUDIT),
            CONFIG_OF_LXC.also(&[needs::DISK]),
            Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
        ],
        |client, args| {
            remove(
                client,
                args,
                Guest::Container,
                &REMOVED_MOUNT_POINT,
                VOLUMES,
            )
        },
    ),
};

fn remove(
    client: &Client,
    args: &Args,
    guest: Guest,
    slot: &Param,
    families: &[&str],
) -> Result<Answer, Error> {
    let slot = &args[slot];
    let (before, _) = change(client, args, guest, Reply::Nothing, |config| {
        config.used(args, guest, slot, families)?;
        let request = args
            .request(Put, &guest.path("config"))
            .with("delete", slot);
        Ok(if args.flag(&PURGE) {
            request.with("force", "1")
        } else {
            request
        })
    })?;
    let line = before.get(slot).unwrap_or_default();
    let settled = Settled::read(client, args, guest, slot);
    let waits = settled.map(|settled| settled.waits);
    let what = format!("Remove {slot} from {} {}", guest.noun(), &args[&VMID]);
    let answer = Answer::done_or_saved(&what, waits == Some(true))
        .line(format!("before: {slot}: {line}"))
        .with("before", &*line);
    let fate = Fate::of(&args[&VMID], slot, &line, args.flag(&PURGE));
    match (waits, fate) {
        (None, _) => return Ok(answer.line(unknown_whether_it_waits(guest))),
        (Some(true), fate) => {
            return Ok(answer.line(format!(
                "It stays attached until the {} stops; {}.",
                guest.noun(),
                match fate {
                    Fate::Erased => "then its volume is erased",
                    Fate::Kept => "then its volume is kept as unusedN",
                    Fate::Untouched => "its data stays untouched",
                }
            )));
        }
        (Some(false), Fate::Erased) => {
            // Proxmox then keeps the volume, and does not say so.
            let unless = match guest == Guest::Container && before.get("parent").is_some() {
                true => ", unless a snapshot still uses it",
                false => "",
            };
            return Ok(answer
                .line(format!("Its volume was erased{unless}."))
                .with("erased", true));
        }
        // A drive without a disc.
        (Some(false), Fate::Untouched) if line.starts_with("none") => return Ok(answer),
        (Some(false), Fate::Untouched) => {
            return Ok(answer
                .line(format!(
                    "Detached; its data is untouched, since the {} does not own it.",
                    guest.noun()
                ))
                .with("erased", false));
        }
        (Some(false), Fate::Kept) => (),
    }
    let Ok(after) = Config::read(client, args, guest) else {
        return Ok(answer.line("Which unusedN keeps its volume could not be read."));
    };
    let held =
        |line: Option<String>| line.map(|line| volume(&PropertyString::parse(&line)).to_owned());
    let kept = after
        .slots(&["unused"])
        .into_iter()
        .find(|unused| held(after.get(unused)) == held(before.get(slot)));
    Ok(match kept {
        None => answer.line("Its volume is kept, but not as unusedN: a snapshot may still use it."),
        Some(unused) => answer
            .line(format!(
                "Its volume is kept as {unused}; removing {unused} erases it."
            ))
            .with("unused", unused),
    })
}

const TO_STORAGE: Param = Param::required("storage", Kind::Format(&format::STORAGE), "");
const DELETE: Param = Param::optional(
    "delete",
    Kind::Flag,
    "Erase the source volume; false keeps it as unusedN.",
)
.default("true");

pub(super) static MOVE_VM: Tool = Tool {
    title: "Move VM disk",
    summary: "Moves a disk of a VM, even a running one, to another storage.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID,
        &VM_DISK,
        &TO_STORAGE,
        &DELETE,
        &IMAGE_FORMAT,
        &DIGEST,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT),
            Step::change(
                Post,
                "/nodes/{node}/qemu/{vmid}/move_disk",
                needs::DISK_AND_SPACE,
                Touches::GuestOf(&VMID),
                Harm::None,
            ),
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
        ],
        |client, args| {
            let params = &[&VM_DISK, &TO_STORAGE, &DELETE, &IMAGE_FORMAT];
            relocate(client, args, Guest::Vm, "move_disk", params)
        },
    ),
};

const MOVED_VOLUME: Param = LXC_VOLUME.sent_as("volume");

pub(super) static MOVE_LXC: Tool = Tool {
    title: "Move container volume",
    summary: "Moves a volume of a stopped container to another storage.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID,
        &MOVED_VOLUME,
        &TO_STORAGE,
        &DELETE,
        &DIGEST,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/lxc/{vmid}/config", needs::AUDIT),
            Step::change(
                Post,
                "/nodes/{node}/lxc/{vmid}/move_volume",
                needs::DISK_AND_SPACE,
                Touches::GuestOf(&VMID),
                Harm::None,
            ),
            Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
        ],
        |client, args| {
            let params = &[&MOVED_VOLUME, &TO_STORAGE, &DELETE];
            relocate(client, args, Guest::Container, "move_volume", params)
        },
    ),
};

/// Moves the slot that the first of `params` names; all of them are sent.
fn relocate(
    client: &Client,
    args: &Args,
    guest: Guest,
    path: &str,
    params: &[&Param],
) -> Result<Answer, Error> {
    let slot = &args[params[0]];
    let (_, data) = change(client, args, guest, Reply::Task, |config| {
        config.used(args, guest, slot, families(guest))?;
        let request = args.request(Post, &guest.path(path));
        Ok(args.send_given(request, params))
    })?;
    let what = format!(
        "Move {slot} of {} {} to {}",
        guest.noun(),
        &args[&VMID],
        &args[&TO_STORAGE]
    );
    Ok(with_slot_at_end(Answer::from_reply(&what, &data), guest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_sizes_before_and_after() {
        for (now, wanted, sizes) in [
            ("32G", "+10G", Some(("32 GiB", "42 GiB"))),
            ("512M", "+1G", Some(("512 MiB", "1.5 GiB"))),
            ("4M", "1T", Some(("4 MiB", "1 TiB"))),
            ("528K", "1G", Some(("528 KiB", "1 GiB"))),
            ("large", "+1G", None),
            ("", "+1G", None),
        ] {
            let sizes = sizes.map(|(from, to)| (from.to_owned(), to.to_owned()));
            assert_eq!(grown(now, wanted), sizes, "{now} {wanted}");
        }
    }
}
