//! Creating guests, and the templates for containers.

use super::common::{NODE, POOL, STORAGE};
use super::guest::NEW_VMID;
use crate::answer::{self, Answer, Column, GeneratedSecret, LIMIT, OFFSET, Order, Table};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::property::PropertyString;
use crate::request::{
    Method::{Get, Post},
    Reply,
};
use crate::row::{Harm, Step, Touches, needs};
use crate::safety::Client;
use crate::settings::Secret;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool, start_task};

pub(super) static TEMPLATES: Tool = Tool {
    title: "List container templates",
    summary: "Lists the container templates on a storage; volid serves as ostemplate.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, STORAGE, LIMIT, OFFSET],
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

pub(super) static CREATE_LXC: Tool = Tool {
    title: "Create container",
    summary: "Creates a container from a template; without bridge it has no network card.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        NODE,
        NEW_VMID,
        OSTEMPLATE,
        HOSTNAME,
        PASSWORD,
        MEMORY,
        ON_STORAGE,
        ROOTFS_SIZE,
        LXC_CORES,
        SWAP,
        LXC_BRIDGE,
        IP,
        GW,
        UNPRIVILEGED,
        NESTING,
        SSH_PUBLIC_KEYS,
        START,
        POOL,
        WAIT,
        WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[Step::change(
            Post,
            "/nodes/{node}/lxc",
            needs::CREATE,
            Touches::NewGuest,
            Harm::OfNewGuest,
        )
        .also(&[
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
            NEW_VMID,
            OSTEMPLATE,
            HOSTNAME,
            MEMORY,
            LXC_CORES,
            SWAP,
            UNPRIVILEGED,
            SSH_PUBLIC_KEYS,
            START,
            POOL,
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
const DISK_SIZE: Param = Param::optional(
    "disk_size",
    Kind::Format(&format::NEW_SIZE),
    "GiB, or with unit M, G or T.",
)
.default("8G");
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

pub(super) static CREATE_VM: Tool = Tool {
    title: "Create VM",
    summary: "Creates a VM with one disk (scsi0) and one network card (net0).",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        NODE,
        NEW_VMID,
        NAME,
        MEMORY,
        CORES,
        SOCKETS,
        DISK_SIZE,
        ON_STORAGE,
        ISO,
        OSTYPE,
        BRIDGE,
        CPU,
        BIOS,
        AGENT,
        TAG,
        START,
        POOL,
        WAIT,
        WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[Step::change(
            Post,
            "/nodes/{node}/qemu",
            needs::CREATE,
            Touches::NewGuest,
            Harm::OfNewGuest,
        )
        .also(&[
            "/vms/{newid}:VM.Config.CPU or /pool/{pool}:VM.Config.CPU",
            "/vms/{newid}:VM.Config.Disk or /pool/{pool}:VM.Config.Disk",
            "/vms/{newid}:VM.Config.HWType or /pool/{pool}:VM.Config.HWType",
            "/vms/{newid}:VM.Config.Memory or /pool/{pool}:VM.Config.Memory",
            "/vms/{newid}:VM.Config.Network or /pool/{pool}:VM.Config.Network",
            "/vms/{newid}:VM.Config.Options or /pool/{pool}:VM.Config.Options",
            needs::READ,
            needs::STARTED,
        ])],
        create_vm,
    ),
};

fn create_vm(client: &Client, args: &Args) -> Result<Answer, Error> {
    let mut card = PropertyString::of("virtio");
    card.set("bridge", &args[&BRIDGE]);
    if let Some(tag) = args.get(&TAG) {
        card.set("tag", tag);
    }
    let disk = format!("{}:{}", &args[&ON_STORAGE], &args[&DISK_SIZE]);
    let request = args.request(Post, "/nodes/{node}/qemu");
    let mut request = args
        .send_given(
            request,
            &[
                NEW_VMID, NAME, MEMORY, CORES, SOCKETS, OSTYPE, CPU, BIOS, AGENT, START, POOL,
            ],
        )
        // Proxmox's own default is the slow lsi controller.
        .with("scsihw", "virtio-scsi-single")
        .with("scsi0", disk)
        .with("net0", card.to_string());
    let mut boot = "order=scsi0;net0";
    if let Some(iso) = args.get(&ISO) {
        request = request.with("ide2", format!("{iso},media=cdrom"));
        boot = "order=scsi0;ide2;net0";
    }
    let what = format!(
        "Create VM {} ({}, {} GiB on {})",
        &args[&NEW_VMID], &args[&NAME], &args[&DISK_SIZE], &args[&ON_STORAGE]
    );
    let answer = start_task(client, &request.with("boot", boot), Reply::Task, &what)?;
    Ok(match args.get(&BIOS) {
        Some("ovmf") => answer.remark("without an EFI disk, so boot entries are lost at each stop"),
        _ => answer,
    })
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
