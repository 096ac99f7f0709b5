//! Creating guests, and the templates for containers.

use super::cloud_init;
use super::common::{NODE, POOL, STORAGE};
use super::disks::{IMPORT_FROM, imported};
use super::guest::NEW_VMID;
use crate::answer::{self, Answer, Column, FollowUp, GeneratedSecret, LIMIT, OFFSET, Order, Table};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::property::PropertyString;
use crate::request::{
    Method::{Get, Post, Put},
    Reply, Request,
};
use crate::row::{Harm, Step, Touches, needs, takes};
use crate::safety::Client;
use crate::settings::Secret;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool, start_task};

pub(super) static TEMPLATES: Tool = Tool {
    title: "List container templates",
    summary: "Lists the container templates on a storage; volid serves as ostemplate.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &STORAGE, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[Step::read(
            "/nodes/{node}/storage/{storage}/content",
            &[needs::STORED],
        )],
        templates,
    ),
};

fn templates(client: &Client, args: &Args) -> Result<Answer, Error> {
    static TEMPLATES: Table = Table {
        name: "templates",
        noun: ["template", "templates"],
        columns: &[
            Column::text("volid"),
            Column::bytes("size"),
            Column::time("ctime"),
            Column::text("format"),
        ],
        sort: &[Order::Up("volid")],
        count: None,
    };
    let request = args
        .request(Get, "/nodes/{node}/storage/{storage}/content")
        .with("content", "vztmpl");
    let rows = answer::rows(client.send(&request)?);
    let none = rows.is_empty().then(|| {
        "proxmox_get_storage shows which storages hold vztmpl, proxmox_get_node_aplinfo what can be downloaded.".to_owned()
    });
    Ok(TEMPLATES.answer(rows, args, none.as_slice()))
}

const MEMORY: Param = Param::optional("memory", Kind::Integer(16, u64::MAX), "MiB.").default("512");
const ON_STORAGE: Param =
    Param::optional("storage", Kind::Format(&format::STORAGE), "").default("local-lvm");
const START: Param = Param::optional("start", Kind::Flag, "");

const OSTEMPLATE: Param = Param::required(
    "ostemplate",
    Kind::Format(&format::TEMPLATE),
    "volid from proxmox_list_templates.",
);
const HOSTNAME: Param = Param::required("hostname", Kind::Format(&format::DNS_NAME), "");
const PASSWORD: Param = Param::optional(
    "password",
    Kind::Text(5, 256),
    "Of root; generated if no SSH key is given either.",
);
const ROOTFS_SIZE: Param =
    Param::optional("rootfs_size", Kind::Format(&format::NEW_SIZE), "GiB.").default("8");
const LXC_CORES: Param = Param::optional("cores", Kind::Integer(1, 8_192), "");
const SWAP: Param = Param::optional("swap", Kind::Integer(0, u64::MAX), "MiB.");
const LXC_BRIDGE: Param = Param::optional(
    "bridge",
    Kind::Format(&format::BRIDGE),
    "Bridge of net0; no network card without it.",
);
const IP: Param = Param::optional(
    "ip",
    Kind::Format(&format::IPV4_CONFIG),
    "With bridge; dhcp if absent.",
);
const GW: Param = Param::optional("gw", Kind::Format(&format::IPV4), "");
const UNPRIVILEGED: Param = Param::optional("unprivileged", Kind::Flag, "").default("true");
const NESTING: Param = Param::optional("nesting", Kind::Flag, "");
const SSH_PUBLIC_KEYS: Param =
    Param::optional("ssh_public_keys", Kind::Text(1, 32_768), "One per line.")
        .sent_as("ssh-public-keys");

/// Creates a container, or restores one.
pub(super) const CREATION_OF_LXC: Step = Step::change(
    Post,
    "/nodes/{node}/lxc",
    needs::CREATE,
    Touches::NewGuest,
    Harm::OfNewGuest,
);

/// Creates a VM, or restores one.
pub(super) const CREATION_OF_VM: Step = Step::change(
    Post,
    "/nodes/{node}/qemu",
    needs::CREATE,
    Touches::NewGuest,
    Harm::OfNewGuest,
);

pub(super) static CREATE_LXC: Tool = Tool {
    title: "Create container",
    summary: "Creates a container from a template; without bridge it has no network card.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE,
        &NEW_VMID,
        &OSTEMPLATE,
        &HOSTNAME,
        &PASSWORD,
        &MEMORY,
        &ON_STORAGE,
        &ROOTFS_SIZE,
        &LXC_CORES,
        &SWAP,
        &LXC_BRIDGE,
        &IP,
        &GW,
        &UNPRIVILEGED,
        &NESTING,
        &SSH_PUBLIC_KEYS,
        &START,
        &POOL,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[CREATION_OF_LXC.also(&[
            "/vms/{newid}:VM.Config.CPU or /pool/{pool}:VM.Config.CPU",
            "/vms/{newid}:VM.Config.Disk or /pool/{pool}:VM.Config.Disk",
            "/vms/{newid}:VM.Config.Memory or /pool/{pool}:VM.Config.Memory",
            "/vms/{newid}:VM.Config.Network or /pool/{pool}:VM.Config.Network",
            "/vms/{newid}:VM.Config.Options or /pool/{pool}:VM.Config.Options",
            needs::READ,
            needs::STARTED,
        ])],
        create_lxc,
    ),
};

fn create_lxc(client: &Client, args: &Args) -> Result<Answer, Error> {
    let rootfs = format!("{}:{}", &args[&ON_STORAGE], &args[&ROOTFS_SIZE]);
    let request = args
        .request(Post, "/nodes/{node}/lxc")
        .with("rootfs", rootfs);
    // Without `unprivileged`, hosts before PVE 9 create a privileged container.
    let mut request = args.send_given(
        request,
        &[
            &NEW_VMID,
            &OSTEMPLATE,
            &HOSTNAME,
            &MEMORY,
            &LXC_CORES,
            &SWAP,
            &UNPRIVILEGED,
            &SSH_PUBLIC_KEYS,
            &START,
            &POOL,
        ],
    );
    let card = network_card(args)?;
    if let Some(card) = &card {
        request = request.with("net0", card.to_string());
    }
    if args.flag(&NESTING) {
        request = request.with("features", "nesting=1");
    }
    let (password, is_generated) = match args.get(&PASSWORD) {
        Some(password) => (Some(password.to_owned()), false),
        None if args.get(&SSH_PUBLIC_KEYS).is_some() => (None, false),
        None => (Some(generate_password()?), true),
    };
    if let Some(password) = &password {
        request = request.with("password", password);
    }
    let what = format!(
        "Create container {} ({}, {} GiB on {})",
        &args[&NEW_VMID], &args[&HOSTNAME], &args[&ROOTFS_SIZE], &args[&ON_STORAGE]
    );
    let answer = start_task(client, &request, Reply::Task, &what)?;
    let answer = match card {
        Some(card) => answer.remark(&format!("net0 {card}")),
        None => answer.remark("no network card"),
    };
    Ok(Answer {
        generated: password
            .filter(|_| is_generated)
            .map(|password| GeneratedSecret {
                name: PASSWORD.name,
                what: "root password",
                secret: Secret::new(password),
            }),
        ..answer
    })
}

/// Returns the value of `net0`; `None` for a container without a network card.
fn network_card(args: &Args) -> Result<Option<PropertyString>, Error> {
    let problem = |problem: &str| Err(Error::arguments(vec![problem.to_owned()]));
    let Some(bridge) = args.get(&LXC_BRIDGE) else {
        return match args.get(&IP).or(args.get(&GW)) {
            None => Ok(None),
            Some(_) => problem("ip and gw need bridge, such as bridge=vmbr0"),
        };
    };
    let ip = args.get(&IP).unwrap_or("dhcp");
    let mut line = PropertyString::default();
    line.set("name", "eth0");
    line.set("bridge", bridge);
    line.set("ip", ip);
    if let Some(gateway) = args.get(&GW) {
        if !ip.contains('/') {
            return problem("gw needs a fixed ip, such as ip=192.0.2.10/24");
        }
        line.set("gw", gateway);
    }
    Ok(Some(line))
}

/// Returns 24 characters that are hard to guess (about 138 bits) and easy to type.
fn generate_password() -> Result<String, Error> {
    const LETTERS: &[u8; 54] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz234567";
    let random = rustls::crypto::ring::default_provider().secure_random;
    let mut password = String::new();
    while password.len() < 24 {
        let mut bytes = [0; 64];
        random.fill(&mut bytes).map_err(|_| {
            Error::impossible(
                "no password could be generated, nothing was sent",
                "Give one as password.",
            )
        })?;
        // Bytes above the last whole multiple would favour the first letters.
        let fair = bytes
            .iter()
            .filter(|byte| usize::from(**byte) < 256 / LETTERS.len() * LETTERS.len());
        let letters = fair.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        password.extend(letters.take(24 - password.len()));
    }
    Ok(password)
}

const NAME: Param = Param::required("name", Kind::Format(&format::DNS_NAME), "");
const CORES: Param = Param::optional("cores", Kind::Integer(1, u64::MAX), "").default("1");
const SOCKETS: Param = Param::optional("sockets", Kind::Integer(1, u64::MAX), "").default("1");
/// In GiB.
const USUAL_SIZE: &str = "8";
const DISK_SIZE: Param = Param::optional(
    "disk_size",
    Kind::Format(&format::NEW_SIZE),
    "GiB, or with unit M, G or T; 8G or that of the image if absent.",
);
const IMAGE_FORMAT: Param = Param::optional("format", Kind::Choice(&["raw", "qcow2", "vmdk"]), "");
const MACHINE: Param = Param::optional("machine", Kind::Text(1, 40), "Such as q35.");
const SERIAL: Param = Param::optional(
    "serial",
    Kind::Flag,
    "Serial console as display, as cloud images use it.",
)
.local();
const ONBOOT: Param = Param::optional("onboot", Kind::Flag, "");
const STARTUP: Param = Param::optional("startup", Kind::Text(1, 60), "Such as order=1,up=30.");
const ISO: Param = Param::optional(
    "iso",
    Kind::Format(&format::VOLUME),
    "volid of an ISO image for a CD drive.",
);
const OSTYPE: Param = Param::optional(
    "ostype",
    Kind::Choice(&[
        "other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24",
        "l26", "solaris",
    ]),
    "",
)
.default("l26");
const BRIDGE: Param = Param::optional("bridge", Kind::Format(&format::BRIDGE), "").default("vmbr0");
const CPU: Param = Param::optional(
    "cpu",
    Kind::Text(1, 256),
    "CPU type, such as host or x86-64-v2-AES.",
);
const BIOS: Param = Param::optional("bios", Kind::Choice(&["seabios", "ovmf"]), "");
const AGENT: Param = Param::optional("agent", Kind::Flag, "Use the QEMU guest agent.");
const TAG: Param = Param::optional("tag", Kind::Integer(1, 4_094), "VLAN.");

/// The VM that was created, in the paths of what follows.
const CREATED: Param = Param::optional("newid", Kind::NewGuest, "");

pub(super) static CREATE_VM: Tool = Tool {
    title: "Create VM",
    summary: "Creates a VM with one disk (scsi0), empty or from an image, and one network card (net0). Cloud-init settings bring their drive.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: takes![
        &[
            &NODE,
            &NEW_VMID,
            &NAME,
            &MEMORY,
            &CORES,
            &SOCKETS,
            &DISK_SIZE,
            &ON_STORAGE,
            &IMPORT_FROM,
            &IMAGE_FORMAT,
            &ISO,
            &OSTYPE,
            &BRIDGE,
            &CPU,
            &MACHINE,
            &BIOS,
            &AGENT,
            &SERIAL,
            &TAG,
        ],
        cloud_init::FIELDS,
        &[&ONBOOT, &STARTUP, &START, &POOL, &WAIT, &WAIT_TIMEOUT,],
    ],
    call: Call::Steps(
        &[
            CREATION_OF_VM.also(&[
                "/vms/{newid}:VM.Config.CPU or /pool/{pool}:VM.Config.CPU",
                "/vms/{newid}:VM.Config.Disk or /pool/{pool}:VM.Config.Disk",
                "/vms/{newid}:VM.Config.HWType or /pool/{pool}:VM.Config.HWType",
                "/vms/{newid}:VM.Config.Memory or /pool/{pool}:VM.Config.Memory",
                "/vms/{newid}:VM.Config.Network or /pool/{pool}:VM.Config.Network",
                "/vms/{newid}:VM.Config.Options or /pool/{pool}:VM.Config.Options",
                needs::READ,
                needs::STARTED,
            ]),
            Step::change(
                Put,
                "/nodes/{node}/qemu/{newid}/resize",
                &[
                    "/vms/{newid}:VM.Config.Disk or /pool/{pool}:VM.Config.Disk",
                    needs::SPACE,
                ],
                Touches::GuestOf(&CREATED),
                Harm::None,
            ),
            Step::change(
                Post,
                "/nodes/{node}/qemu/{newid}/status/start",
                &[needs::STARTED],
                Touches::Unchanged(&CREATED),
                Harm::None,
            ),
        ],
        create_vm,
    ),
};

fn create_vm(client: &Client, args: &Args) -> Result<Answer, Error> {
    let mut card = PropertyString::of("virtio");
    card.set("bridge", &args[&BRIDGE]);
    if let Some(tag) = args.get(&TAG) {
        card.set("tag", tag);
    }
    let (storage, image) = (&args[&ON_STORAGE], args.get(&IMPORT_FROM));
    let size = args.get(&DISK_SIZE).unwrap_or(USUAL_SIZE);
    let mut disk = match image {
        Some(image) => imported(storage, image),
        None => PropertyString::of(format!("{storage}:{size}")),
    };
    if let Some(image_format) = args.get(&IMAGE_FORMAT) {
        disk.set("format", image_format);
    }
    // A disk gets the size of its image, and is enlarged before its VM starts.
    let grows = args.get(&DISK_SIZE).filter(|_| image.is_some());
    if grows.is_some() && args.get(&WAIT) == Some("0") {
        return Err(Error::arguments(vec![
            "disk_size waits for the import: give only one of disk_size and wait=false".to_owned(),
        ]));
    }
    let mut sent = vec![
        &NEW_VMID, &NAME, &MEMORY, &CORES, &SOCKETS, &OSTYPE, &CPU, &MACHINE, &BIOS, &AGENT,
        &ONBOOT, &STARTUP,
    ];
    if grows.is_none() {
        sent.push(&START);
    }
    sent.push(&POOL);
    let request = args.request(Post, "/nodes/{node}/qemu");
    let mut request = args
        .send_given(request, &sent)
        // Proxmox's own default is the slow lsi controller.
        .with("scsihw", "virtio-scsi-single")
        .with("scsi0", disk.to_string())
        .with("net0", card.to_string());
    if args.flag(&SERIAL) {
        request = request.with("serial0", "socket").with("vga", "serial0");
    }
    let mut boot = "order=scsi0;net0";
    let mut cloud_init_slot = "ide2";
    if let Some(iso) = args.get(&ISO) {
        request = request.with("ide2", format!("{iso},media=cdrom"));
        boot = "order=scsi0;ide2;net0";
        cloud_init_slot = "ide0";
    }
    if cloud_init::is_wanted(args) {
        request = request.with(cloud_init_slot, cloud_init::drive(storage));
        request = cloud_init::with_fields(args, request);
    }
    let from = match image {
        Some(image) => image.to_owned(),
        None => format!("{size} GiB"),
    };
    let what = format!(
        "Create VM {} ({}, {from} on {storage})",
        &args[&NEW_VMID], &args[&NAME]
    );
    let answer = start_task(client, &request.with("boot", boot), Reply::Task, &what)?;
    let answer = Answer {
        follow_up: grows.map(|size| Box::new(enlarge(args, size))),
        ..answer
    };
    Ok(match args.get(&BIOS) {
        Some("ovmf") => answer.remark("without an EFI disk, so boot entries are lost at each stop"),
        _ => answer,
    })
}

/// Enlarges the disk of a new VM to `size`, in GiB, and then starts it if that is asked for.
fn enlarge(args: &Args, size: &str) -> FollowUp {
    let id = &args[&NEW_VMID];
    let request = |method, rest: &str| {
        let path = format!("/nodes/{{node}}/qemu/{{newid}}{rest}");
        let request = Request::new(method, &path);
        request.segment("node", &args[&NODE]).segment("newid", id)
    };
    let starts = args.flag(&START).then(|| {
        Box::new(FollowUp {
            request: request(Post, "/status/start"),
            reply: Reply::Task,
            what: format!("Start VM {id}"),
            note: format!("VM {id} was created, its disk has {size} GiB."),
            unsent: "It was not started: start it when its disk is enlarged.",
            failure: [
                format!("VM {id} was created, its start failed"),
                "Start it instead of creating it again.".to_owned(),
            ],
            next: None,
        })
    });
    FollowUp {
        request: request(Put, "/resize")
            .with("disk", "scsi0")
            .with("size", format!("{size}G")),
        reply: Reply::TaskOrNothing,
        what: format!("Enlarge scsi0 of VM {id} to {size} GiB"),
        note: format!("VM {id} was created."),
        unsent: "Its disk was not enlarged: proxmox_resize_disk_vm does that when the VM is there.",
        failure: [
            format!("VM {id} was created, its disk could not be enlarged"),
            "proxmox_resize_disk_vm enlarges it; do not create the VM again.".to_owned(),
        ],
        next: starts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generates_a_different_password_each_time() {
        let passwords = [(); 3].map(|()| generate_password().expect("there is randomness"));
        assert!(passwords.iter().all(|password| password.len() == 24));
        assert!(passwords[0] != passwords[1] && passwords[1] != passwords[2]);
    }
}
