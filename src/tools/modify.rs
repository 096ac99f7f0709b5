//! Guest modification: clone, and resize CPU and memory.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::cloud_init;
use super::common::{DESCRIPTION, DIGEST, Guest, POOL};
use super::config::{
    CONFIG_OF_LXC, CONFIG_OF_VM, Config, DEFAULT, Settings, change_settings, with_waits,
};
use super::guest::{NODE, VMID};
use crate::answer::{Answer, FollowUp};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::request::{
    Method::{self, Post, Put},
    Reply, Request,
};
use crate::row::{Harm, Step, Touches, needs, takes};
use crate::safety::Client;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool, start_task};

const NEWID: Param = Param::optional("newid", Kind::NewGuest, "Next free VMID if absent.");
const HOSTNAME: Param =
    Param::optional("hostname", Kind::Format(&format::DNS_NAME), "").alias(&["name"]);
const NAME: Param =
    Param::optional("name", Kind::Format(&format::DNS_NAME), "").alias(&["hostname"]);
const FULL: Param = Param::optional("full", Kind::Flag, "Full clone, not linked.");
const TO_STORAGE: Param = Param::optional(
    "storage",
    Kind::Format(&format::STORAGE),
    "Only for a full clone.",
);
const IMAGE_FORMAT: Param = Param::optional(
    "format",
    Kind::Choice(&["raw", "qcow2", "vmdk"]),
    "Only for a full clone.",
);
const TARGET: Param = Param::optional(
    "target",
    Kind::Format(&format::NODE),
    "Node for the copy; needs shared storage.",
);
const START_COPY: Param =
    Param::optional("start", Kind::Flag, "Wait for the copy and start it.").local();
const OF_SNAPSHOT: Param = Param::optional(
    "snapname",
    Kind::Format(&format::SNAPSHOT),
    "Copy this snapshot.",
);

pub(super) static CLONE_LXC: Tool = Tool {
    title: "Clone container",
    summary: "Clones a container. A full clone of a running one needs snapname.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE,
        &VMID,
        &NEWID,
        &HOSTNAME,
        &FULL,
        &TO_STORAGE,
        &TARGET,
        &OF_SNAPSHOT,
        &POOL,
        &DESCRIPTION,
        &START_COPY,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::change(
                Post,
                "/nodes/{node}/lxc/{vmid}/clone",
                needs::CLONE,
                Touches::Unchanged(&VMID),
                Harm::None,
            ),
            Step::read("/nodes/{node}/tasks/{upid}/status", &[]),
            Step::change(
                Post,
                "/nodes/{node}/lxc/{newid}/status/start",
                &[needs::STARTED],
                Touches::Unchanged(&NEWID),
                Harm::None,
            ),
        ],
        |client, args| clone(client, args, Guest::Container),
    ),
};

pub(super) static CLONE_VM: Tool = Tool {
    title: "Clone VM",
    summary: "Clones a VM or a VM template; cloud-init settings are given to the copy.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: takes![
        &[
            &NODE,
            &VMID,
            &NEWID,
            &NAME,
            &FULL,
            &TO_STORAGE,
            &IMAGE_FORMAT,
            &TARGET,
            &OF_SNAPSHOT,
            &POOL,
            &DESCRIPTION,
        ],
        cloud_init::FIELDS,
        &[&START_COPY, &WAIT, &WAIT_TIMEOUT,],
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT).dispensable(),
            Step::change(
                Post,
                "/nodes/{node}/qemu/{vmid}/clone",
                needs::CLONE,
                Touches::Unchanged(&VMID),
                Harm::None,
            ),
            Step::change(
                Put,
                "/nodes/{node}/qemu/{newid}/config",
                &["/vms/{newid}:VM.Config.Cloudinit or /pool/{pool}:VM.Config.Cloudinit"],
                Touches::GuestOf(&NEWID),
                Harm::OfConfig,
            )
            .dispensable(),
            Step::read("/nodes/{node}/tasks/{upid}/status", &[]),
            Step::change(
                Post,
                "/nodes/{node}/qemu/{newid}/status/start",
                &[needs::STARTED],
                Touches::Unchanged(&NEWID),
                Harm::None,
            ),
        ],
        |client, args| clone(client, args, Guest::Vm),
    ),
};

/// Clones a guest; then tells the copy of a VM what cloud-init is to do, and starts it, as far as that is asked for.
fn clone(client: &Client, args: &Args, guest: Guest) -> Result<Answer, Error> {
    let is_told = cloud_init::is_wanted(args);
    let starts = args.flag(&START_COPY);
    if (starts || is_told) && args.get(&WAIT) == Some("0") {
        return Err(Error::arguments(vec![
            "start and cloud-init settings wait for the copy: leave wait=false out".to_owned(),
        ]));
    }
    let settings = match is_told {
        true => Some(settings_of_copy(client, args)?),
        false => None,
    };
    let request = args.whole_request(Post, &guest.path("clone"));
    let what = format!("Clone {} {{vmid}} to {{newid}}", guest.noun());
    let answer = start_task(client, &request, Reply::Task, &args.fill(&what))?;
    let Some(copying) = answer.task.as_ref() else {
        return Ok(answer);
    };
    let name = format!("{} {}", guest.noun(), &args[&NEWID]);
    let copied = args.fill("Copied from {vmid} to {newid}: done.");
    let start = starts.then(|| {
        let rest = format!("{}/{{newid}}/status/start", guest.api_type());
        Box::new(FollowUp {
            request: of_copy(args, Post, &rest),
            reply: Reply::Task,
            what: format!("Start {name}"),
            note: copied.clone(),
            unsent: "It was not started: start it when the copy is done.",
            failure: [
                format!("{name} was copied, its start failed"),
                format!(
                    "{} is done: start it instead of copying again.",
                    copying.what
                ),
            ],
            next: None,
        })
    });
    let follow_up = match settings {
        None => start,
        Some(request) => Some(Box::new(FollowUp {
            request,
            reply: Reply::Nothing,
            what: format!("Cloud-init settings of {name}"),
            note: copied.clone(),
            unsent: "Its cloud-init settings were not sent: proxmox_update_guest_config sets them when the copy is done.",
            failure: [
                format!("{name} was copied, its cloud-init settings were refused"),
                "proxmox_update_guest_config sets them; do not copy again.".to_owned(),
            ],
            // The first of the two says that it was copied.
            next: start.map(|start| {
                Box::new(FollowUp {
                    note: String::new(),
                    ..*start
                })
            }),
        })),
    };
    Ok(Answer {
        follow_up,
        ..answer
    })
}

/// A request about the copy, where it will be.
fn of_copy(args: &Args, method: Method, rest: &str) -> Request {
    Request::new(method, &format!("/nodes/{{node}}/{rest}"))
        .segment("node", args.get(&TARGET).unwrap_or(&args[&NODE]))
        .segment("newid", &args[&NEWID])
}

/// The request that gives a copy of a VM its cloud-init settings, and the drive that they need if the original
/// has none.
fn settings_of_copy(client: &Client, args: &Args) -> Result<Request, Error> {
    let config = Config::read(client, args, Guest::Vm)?;
    let request = of_copy(args, Put, "qemu/{newid}/config");
    let request = match config.cloud_init_drive() {
        Some(_) => request,
        None => {
            let storage = args.get(&TO_STORAGE).map(str::to_owned);
            let storage = storage.or_else(|| config.storage());
            match (config.free_cd_slot(), storage) {
                (Some(slot), Some(storage)) => request.with(slot, cloud_init::drive(&storage)),
                _ => {
                    return Err(Error::impossible(
                        args.fill("VM {vmid} has no cloud-init drive, nothing was copied"),
                        "proxmox_set_cdrom with action=cloud_init adds one.",
                    ));
                }
            }
        }
    };
    Ok(cloud_init::with_fields(args, request))
}

const MEMORY: Param = Param::optional("memory", Kind::Integer(16, u64::MAX), "MiB.");
const LXC_CORES: Param = Param::optional("cores", Kind::Integer(1, 8_192), "");
const SWAP: Param = Param::optional("swap", Kind::Integer(0, u64::MAX), "MiB.");
const CPU_LIMIT: Param =
    Param::optional("cpulimit", Kind::Number(0.0, 8_192.0), "CPUs; 0: no limit.");
const VM_CORES: Param = Param::optional("cores", Kind::Integer(1, u64::MAX), "Per socket.");
const SOCKETS: Param = Param::optional("sockets", Kind::Integer(1, u64::MAX), "");
const BALLOON: Param = Param::optional(
    "balloon",
    Kind::Integer(0, u64::MAX),
    "Minimum MiB; 0: no ballooning.",
);

pub(super) static RESIZE_LXC: Tool = Tool {
    title: "Resize container",
    summary: "Changes CPU cores and memory of a container, with immediate effect.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[
        &NODE, &VMID, &MEMORY, &LXC_CORES, &SWAP, &CPU_LIMIT, &DIGEST,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
            CONFIG_OF_LXC.also(needs::RESIZE),
        ],
        |client, args| {
            resize(
                client,
                args,
                Guest::Container,
                &[&MEMORY, &LXC_CORES, &SWAP, &CPU_LIMIT],
            )
        },
    ),
};

pub(super) static RESIZE_VM: Tool = Tool {
    title: "Resize VM",
    summary: "Changes CPU cores and memory of a VM. A running one usually needs a stop and start.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[
        &NODE, &VMID, &MEMORY, &VM_CORES, &SOCKETS, &BALLOON, &DIGEST,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
            CONFIG_OF_VM.also(needs::RESIZE),
        ],
        |client, args| {
            resize(
                client,
                args,
                Guest::Vm,
                &[&MEMORY, &VM_CORES, &SOCKETS, &BALLOON],
            )
        },
    ),
};

/// Sets those of `values` that were given, and shows each before and after.
fn resize(client: &Client, args: &Args, guest: Guest, values: &[&Param]) -> Result<Answer, Error> {
    args.require_any(values.iter()).map_err(Error::arguments)?;
    let request = args.send_given(args.request(Put, &guest.path("config")), values);
    let before = change_settings(client, args, guest, |_| Some(request.clone()))?;
    // In a container they take effect immediately.
    let waits = match guest {
        Guest::Container => Some(BTreeMap::new()),
        Guest::Vm => Settings::read(client, args, guest)
            .ok()
            .map(|settings| settings.waits()),
    };
    let given: Vec<&Param> = values
        .iter()
        .copied()
        .filter(|value| args.get(value).is_some())
        .collect();
    let waits_for_restart = waits
        .as_ref()
        .is_some_and(|waits| given.iter().any(|value| waits.contains_key(value.name)));
    let what = format!("Resize {} {}", guest.noun(), &args[&VMID]);
    let mut answer = Answer::done_or_saved(&what, waits_for_restart);
    let mut was = Map::new();
    for value in given {
        let now = &args[value];
        let shown = before.shown(value.name);
        let shown = shown.as_deref().unwrap_or(DEFAULT);
        answer = answer.line(format!("{}: {shown} → {now}", value.name));
        let before = before.active(value.name);
        was.insert(value.name.to_owned(), before.map_or(Value::Null, numeric));
    }
    answer = answer.with("before", was);
    Ok(with_waits(answer, guest, waits))
}

/// Turns `2048`, which Proxmox may send as text, into a number.
fn numeric(text: String) -> Value {
    serde_json::from_str(&text).map_or(Value::String(text), Value::Number)
}
