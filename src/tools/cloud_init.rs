//! Cloud-init and CD drives of VMs: the settings that a cloud image reads when it starts, and discs.

use serde_json::Value;

use super::common::{DIGEST, Guest};
use super::config::{CD_FAMILIES, CONFIG_OF_VM, Config, change, is_cloud_init_drive, with_slot};
use super::guest::{NODE, VMID};
use crate::answer::{self, Answer, Column, Order, Table};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::property::PropertyString;
use crate::pve::reader::Reader;
use crate::request::{self, Method::Put, Reply, Request};
use crate::row::{Choice, First, Place, Scope, Step, Touches, get, needs, put};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::text::percent::encode;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const USER: Param = Param::optional("ciuser", Kind::Text(1, 256), "Cloud-init user.").local();
const PASSWORD: Param = Param::optional("cipassword", Kind::Text(1, 1_024), "").local();
const SSH_KEYS: Param = Param::optional(
    "sshkeys",
    Kind::Text(1, 32_768),
    "Public keys, one per line.",
)
.local();
const IP_CONFIG: Param = Param::optional(
    "ipconfig0",
    Kind::Text(1, 256),
    "Such as ip=dhcp, or ip=192.0.2.10/24,gw=192.0.2.1.",
)
.local();
const NAMESERVER: Param = Param::optional("nameserver", Kind::Text(1, 256), "").local();
const SEARCHDOMAIN: Param = Param::optional("searchdomain", Kind::Text(1, 256), "").local();

/// The settings that a new guest can be given.
pub(super) const FIELDS: &[&Param] = &[
    &USER,
    &PASSWORD,
    &SSH_KEYS,
    &IP_CONFIG,
    &NAMESERVER,
    &SEARCHDOMAIN,
];

pub(super) fn is_wanted(args: &Args) -> bool {
    FIELDS.iter().any(|field| args.get(field).is_some())
}

/// Adds the settings that were given. Proxmox keeps SSH keys percent-encoded.
pub(super) fn with_fields(args: &Args, request: Request) -> Request {
    let given = FIELDS.iter();
    let given = given.filter_map(|field| Some((field.name, args.get(field)?)));
    given.fold(request, |request, (name, value)| match name {
        "sshkeys" => request.with(name, encode(value)),
        name => request.with(name, value),
    })
}

/// The value of a drive that cloud-init reads from.
pub(super) fn drive(storage: &str) -> String {
    format!("{storage}:cloudinit")
}

const OF_VM: Scope = Scope {
    name: "",
    noun: "VM {vmid}",
    path: "/nodes/{node}/qemu/{vmid}/cloudinit",
    reads: needs::AUDIT,
    changes: &["/vms/{vmid}:VM.Config.Cloudinit"],
    touches: Touches::GuestOf(&VMID),
    versions: Versions::ALL,
};

const DUMP: Param = Param::by_request(
    "dump",
    Kind::Choice(&["user", "network", "meta"]),
    "Shows this document, as the guest gets it.",
)
.sent_as("type");

pub(super) static READ: Tool = Tool {
    title: "Cloud-init settings",
    summary: "Shows the cloud-init settings of a VM and which of them wait for its next start.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(OF_VM),
        does: "",
        rows: &[
            get("", "", &[], Show::Made(settings)),
            get("", "/dump", &[&DUMP], Show::Made(dump)),
        ],
    }),
};

fn settings(args: &Args, data: Value, _: &Value) -> Answer {
    static SETTINGS: Table = Table {
        name: "settings",
        noun: ["setting", "settings"],
        columns: &[
            Column::text("key"),
            Column::text("value"),
            Column::text("pending"),
            Column::flag("delete"),
        ],
        sort: &[Order::Up("key")],
        count: None,
    };
    let rows = answer::rows(data).into_iter().map(|mut row| {
        // As version 7 names them.
        for (old, name) in [("old", "value"), ("new", "pending")] {
            if let Some(value) = row.as_object_mut().and_then(|row| row.remove(old)) {
                row[name] = value;
            }
        }
        if row["key"] == SSH_KEYS.name {
            for part in ["value", "pending"] {
                if let Some(keys) = row[part].as_str() {
                    row[part] = request::readable(SSH_KEYS.name, keys).into();
                }
            }
        }
        row
    });
    SETTINGS.answer(rows.collect(), args, &[])
}

/// The document, without the hash of the password in it.
fn dump(args: &Args, data: Value, _: &Value) -> Answer {
    // Not `plain`, which has all on one line, where the key of the password is not seen.
    let document = data.as_str().unwrap_or_default();
    let lines = document.lines().map(|line| {
        let (key, _) = line.split_once(':').unwrap_or((line, ""));
        match request::is_secret(key.trim_start_matches([' ', '-'])) {
            true => format!("{key}: {}", text::MASK),
            false => line.to_owned(),
        }
    });
    let lines: Vec<String> = lines.collect();
    let shown: Vec<&str> = lines.iter().map(String::as_str).collect();
    let heading = args.fill("cloud-init's {dump} document of VM {vmid}");
    Answer::new(heading)
        .foreign_lines(&shown, text::BUDGET)
        .with("document", lines.join("\n"))
}

pub(super) static REGENERATE: Tool = Tool {
    title: "Regenerate cloud-init drive",
    summary: "Writes changed cloud-init settings onto the drive of a VM, which reads them at its next start.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[&NODE, &VMID],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(OF_VM),
        does: "Regenerate the cloud-init drive of VM {vmid}",
        rows: &[put("", "", &[])
            .harmless()
            .reads(First::Nothing)
            .checks(has_drive)
            .also_reads(&[Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT)])],
    }),
};

/// Without a drive Proxmox does nothing and reports success.
fn has_drive(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    match Config::read(client, args, Guest::Vm)?.cloud_init_drive() {
        Some(_) => Ok(Vec::new()),
        None => Err(Error::impossible(
            args.fill("VM {vmid} has no cloud-init drive, nothing was changed"),
            "proxmox_set_cdrom with action=cloud_init adds one.",
        )),
    }
}

const ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["insert", "eject", "cloud_init"]),
    "cloud_init adds the drive that cloud-init reads from.",
);
const ISO: Param = Param::optional("iso", Kind::Format(&format::VOLUME), "volid, for insert.");
const DRIVE: Param = Param::optional(
    "drive",
    Kind::Format(&format::VM_DISK),
    "The CD drive in use, else a free one, if absent.",
);
const STORAGE: Param =
    Param::optional("storage", Kind::Format(&format::STORAGE), "For cloud_init.");

pub(super) static SET_CDROM: Tool = Tool {
    title: "Set CD drive",
    summary: "Inserts an ISO image into a CD drive of a VM, ejects it, or adds a cloud-init drive. proxmox_remove_disk_vm removes a drive.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[&NODE, &VMID, &ACTION, &ISO, &STORAGE, &DRIVE, &DIGEST],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT),
            CONFIG_OF_VM.also(&["/vms/{vmid}:VM.Config.CDROM", needs::READ]),
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
        ],
        set_cdrom,
    ),
};

fn set_cdrom(client: &Client, args: &Args) -> Result<Answer, Error> {
    let problem = |problem: &str| Err(Error::arguments(vec![problem.to_owned()]));
    let (iso, storage) = (args.get(&ISO), args.get(&STORAGE));
    let line = match (&args[&ACTION], iso, storage) {
        ("insert", Some(iso), None) => format!("{iso},media=cdrom"),
        ("eject", None, None) => "none,media=cdrom".to_owned(),
        ("cloud_init", None, Some(storage)) => drive(storage),
        ("insert", ..) => return problem("insert takes iso, and no storage"),
        ("eject", ..) => return problem("eject takes neither iso nor storage"),
        _ => return problem("cloud_init takes storage, and no iso"),
    };
    let (before, _) = change(client, args, Guest::Vm, Reply::Nothing, |config| {
        let request = args.request(Put, &Guest::Vm.path("config"));
        Ok(request.with(&*pick_drive(args, config)?, &*line))
    })?;
    let slot = pick_drive(args, &before)?;
    let what = match &args[&ACTION] {
        "insert" => format!("Insert {} into {slot} of VM {{vmid}}", &args[&ISO]),
        "eject" => format!("Eject the disc in {slot} of VM {{vmid}}"),
        _ => format!("Add cloud-init drive {slot} to VM {{vmid}}"),
    };
    let answer = Answer::done(&args.fill(&what));
    let answer = match before.get(&slot) {
        Some(was) => answer.line(format!("It was: {}", text::inline(&was))),
        None => answer,
    };
    Ok(with_slot(client, args, Guest::Vm, &slot, answer))
}

/// The drive that is meant. A disk is not overwritten: Proxmox would silently detach it.
fn pick_drive(args: &Args, config: &Config) -> Result<String, Error> {
    let is_cd = |slot: &str| {
        let line = config.get(slot).unwrap_or_default();
        PropertyString::parse(&line).get("media") == Some("cdrom") && !is_cloud_init_drive(&line)
    };
    let wants_cloud_init = &args[&ACTION] == "cloud_init";
    let name = args.fill("VM {vmid}");
    if let (true, Some(slot)) = (wants_cloud_init, config.cloud_init_drive()) {
        return Err(Error::impossible(
            format!("{name} has a cloud-init drive, nothing was changed"),
            format!("It is {slot}."),
        ));
    }
    let in_use: Vec<&str> = config
        .slots(CD_FAMILIES)
        .into_iter()
        .filter(|slot| is_cd(slot))
        .collect();
    let may_be = |slot: &str| match &args[&ACTION] {
        "insert" => is_cd(slot) || config.get(slot).is_none(),
        "eject" => is_cd(slot),
        _ => config.get(slot).is_none(),
    };
    if let Some(slot) = args.get(&DRIVE) {
        return match may_be(slot) {
            true => Ok(slot.to_owned()),
            false => Err(Error::impossible(
                format!("{slot} of {name} cannot be used, nothing was changed"),
                match config.get(slot) {
                    Some(line) => format!("{slot} is {}", text::inline(&line)),
                    None => format!("CD drives: {}", some(&in_use)),
                },
            )),
        };
    }
    let mut candidates = in_use.iter().copied().chain(config.free_cd_slot());
    let slot = candidates.find(|slot| may_be(slot));
    slot.map(str::to_owned).ok_or_else(|| {
        Error::impossible(
            format!("{name} has no CD drive to use, nothing was changed"),
            match &args[&ACTION] {
                "eject" => "Nothing is inserted.",
                _ => "ide2 and ide0 are in use: name a free drive, such as drive=sata0.",
            },
        )
    })
}

fn some(slots: &[&str]) -> String {
    match slots.is_empty() {
        true => "none".to_owned(),
        false => slots.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_does_not_show_the_hash_of_the_password() {
        let document =
            "#cloud-config\nuser: admin\npassword: $5$salt$hash\nchpasswd:\n  expire: False\n";
        let given = [("vmid", json!(100)), ("dump", json!("user"))];
        let given = given.map(|(name, value)| (name.to_owned(), value));
        let args =
            Args::parse(vec![&VMID, &DUMP], &given.into_iter().collect()).expect("they are right");
        let answer = dump(&args, json!(document), &Value::Null);
        let shown = format!("{answer:?}");
        assert!(
            shown.contains("user: admin") && shown.contains("expire: False"),
            "{shown}"
        );
        assert!(!shown.contains("$5$salt$hash"), "{shown}");
    }
}
