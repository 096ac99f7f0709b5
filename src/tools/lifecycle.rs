//! Guest lifecycle: start, stop, shut down, reboot, pause, resume, delete.

use serde_json::Value;

use super::common::{Guest, TIMEOUT};
use super::guest::{NODE, VMID, VMID_OR_GUESTS};
use crate::answer::Answer;
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::cluster::volume;
use crate::cluster::volumes;
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::request::{
    Method::{Delete, Get, Post},
    Reply,
};
use crate::row::{Harm, Step, Touches, needs};
use crate::safety::Client;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Show, Tool, start_task};

const FORCE_STOP: Param =
    Param::optional("force_stop", Kind::Flag, "Kill it after the timeout.").sent_as("forceStop");
const OVERRULE_SHUTDOWN: Param = Param::optional(
    "overrule_shutdown",
    Kind::Flag,
    "Abort a shutdown in progress.",
)
.sent_as("overrule-shutdown");

pub(super) const START_OF_LXC: Step = Step::change(
    Post,
    "/nodes/{node}/lxc/{vmid}/status/start",
    needs::POWER,
    Touches::Unchanged(&VMID),
    Harm::None,
);

pub(super) static START_LXC: Tool = Tool {
    title: "Start container",
    summary: "Starts a container.",
    permission: Permission::Elevated,
    effect: Effect::Starts,
    params: &[&NODE, &VMID_OR_GUESTS, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(START_OF_LXC, Show::Action("Start container {vmid}")),
};

pub(super) const START_OF_VM: Step = Step::change(
    Post,
    "/nodes/{node}/qemu/{vmid}/status/start",
    needs::POWER,
    Touches::Unchanged(&VMID),
    Harm::None,
);

pub(super) static START_VM: Tool = Tool {
    title: "Start VM",
    summary: "Starts a VM, or resumes one that was suspended to disk.",
    permission: Permission::Elevated,
    effect: Effect::Starts,
    params: &[&NODE, &VMID_OR_GUESTS, &TIMEOUT, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(START_OF_VM, Show::Action("Start VM {vmid}")),
};

pub(super) static STOP_LXC: Tool = Tool {
    title: "Stop container",
    summary: "Stops a container at once, like pulling the plug.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &OVERRULE_SHUTDOWN,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Plain(
        Step::change(
            Post,
            "/nodes/{node}/lxc/{vmid}/status/stop",
            needs::POWER,
            Touches::GuestOf(&VMID),
            Harm::Stops,
        ),
        Show::Action("Stop container {vmid}"),
    ),
};

pub(super) static STOP_VM: Tool = Tool {
    title: "Stop VM",
    summary: "Stops a VM at once; unsaved data is lost.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &TIMEOUT,
        &OVERRULE_SHUTDOWN,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Plain(
        Step::change(
            Post,
            "/nodes/{node}/qemu/{vmid}/status/stop",
            needs::POWER,
            Touches::GuestOf(&VMID),
            Harm::Stops,
        ),
        Show::Action("Stop VM {vmid}"),
    ),
};

pub(super) const SHUTDOWN_OF_LXC: Step = Step::change(
    Post,
    "/nodes/{node}/lxc/{vmid}/status/shutdown",
    needs::POWER,
    Touches::GuestOf(&VMID),
    Harm::StopsIfForced,
);

pub(super) static SHUTDOWN_LXC: Tool = Tool {
    title: "Shut down container",
    summary: "Shuts a container down cleanly. After the timeout (60 s) it keeps running unless force_stop.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &TIMEOUT,
        &FORCE_STOP,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Plain(SHUTDOWN_OF_LXC, Show::Action("Shut down container {vmid}")),
};

pub(super) const SHUTDOWN_OF_VM: Step = Step::change(
    Post,
    "/nodes/{node}/qemu/{vmid}/status/shutdown",
    needs::POWER,
    Touches::GuestOf(&VMID),
    Harm::StopsIfForced,
);

pub(super) static SHUTDOWN_VM: Tool = Tool {
    title: "Shut down VM",
    summary: "Shuts a VM down cleanly. After the timeout (60 s) it keeps running unless force_stop.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &TIMEOUT,
        &FORCE_STOP,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Plain(SHUTDOWN_OF_VM, Show::Action("Shut down VM {vmid}")),
};

pub(super) static REBOOT_LXC: Tool = Tool {
    title: "Reboot container",
    summary: "Reboots a container, which applies pending changes; kills it after the timeout.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &VMID_OR_GUESTS, &TIMEOUT, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(
        Step::change(
            Post,
            "/nodes/{node}/lxc/{vmid}/status/reboot",
            needs::POWER,
            Touches::GuestOf(&VMID),
            Harm::StopsIfForced,
        ),
        Show::Action("Reboot container {vmid}"),
    ),
};

pub(super) static REBOOT_VM: Tool = Tool {
    title: "Reboot VM",
    summary: "Reboots a VM by shutdown and start, which applies pending changes.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &VMID_OR_GUESTS, &TIMEOUT, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(
        Step::change(
            Post,
            "/nodes/{node}/qemu/{vmid}/status/reboot",
            needs::POWER,
            Touches::GuestOf(&VMID),
            Harm::StopsIfForced,
        ),
        Show::Action("Reboot VM {vmid}"),
    ),
};

const TO_DISK: Param = Param::optional(
    "todisk",
    Kind::Flag,
    "Write its memory to disk and stop it.",
);
const STATE_STORAGE: Param = Param::optional(
    "statestorage",
    Kind::Format(&format::STORAGE),
    "For the memory, with todisk.",
);

pub(super) const PAUSE_OF_VM: Step = Step::change(
    Post,
    "/nodes/{node}/qemu/{vmid}/status/suspend",
    needs::POWER,
    Touches::GuestOf(&VMID),
    Harm::None,
);

pub(super) static PAUSE_VM: Tool = Tool {
    title: "Pause VM",
    summary: "Pauses a VM; its memory stays allocated unless todisk.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &VMID, &TO_DISK, &STATE_STORAGE, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(PAUSE_OF_VM, Show::Action("Pause VM {vmid}")),
};

pub(super) static RESUME_VM: Tool = Tool {
    title: "Resume VM",
    summary: "Resumes a paused VM.",
    permission: Permission::Elevated,
    effect: Effect::Starts,
    params: &[&NODE, &VMID, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(
        Step::change(
            Post,
            "/nodes/{node}/qemu/{vmid}/status/resume",
            needs::POWER,
            Touches::Unchanged(&VMID),
            Harm::None,
        ),
        Show::Action("Resume VM {vmid}"),
    ),
};

const PURGE: Param = Param::optional(
    "purge",
    Kind::Flag,
    "Remove it from backup jobs, replication and HA too.",
);
const UNREFERENCED: Param = Param::optional("destroy_unreferenced_disks", Kind::Flag, "")
    .sent_as("destroy-unreferenced-disks");
const FORCE: Param = Param::optional("force", Kind::Flag, "Even if it is running.");

pub(super) static DELETE_LXC: Tool = Tool {
    title: "Delete container",
    summary: "Deletes a container and all its volumes permanently.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &PURGE,
        &FORCE,
        &UNREFERENCED,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[Step::change(
            Delete,
            "/nodes/{node}/lxc/{vmid}",
            needs::ALLOCATE,
            Touches::GuestOf(&VMID),
            Harm::DeletesGuest,
        )],
        |client, args| delete(client, args, Guest::Container),
    ),
};

pub(super) static DELETE_VM: Tool = Tool {
    title: "Delete VM",
    summary: "Deletes a stopped VM and all its disks permanently.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &PURGE,
        &UNREFERENCED,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[Step::change(
            Delete,
            "/nodes/{node}/qemu/{vmid}",
            needs::ALLOCATE,
            Touches::GuestOf(&VMID),
            Harm::DeletesGuest,
        )],
        |client, args| delete(client, args, Guest::Vm),
    ),
};

/// Deletes a guest, and lists the volumes that are kept and those that are deleted in addition.
fn delete(client: &Client, args: &Args, guest: Guest) -> Result<Answer, Error> {
    let vmid = &args[&VMID];
    let config = match client.send(&args.request(Get, &guest.path("config"))) {
        Err(error) if error.is_refused() => Value::Null,
        config => config?,
    };
    let others = match args.flag(&UNREFERENCED) && !config.is_null() {
        true => volumes::unreferenced(client, guest.api_type(), vmid, &config).ok(),
        false => None,
    };
    let path = format!("/nodes/{{node}}/{}/{{vmid}}", guest.api_type());
    let request = args.whole_request(Delete, &path);
    let what = format!("Delete {} {vmid}", guest.noun());
    let mut answer = start_task(client, &request, Reply::Task, &what)?;
    let not_owned = volume::not_owned(&config, vmid);
    if !not_owned.is_empty() {
        let listed = not_owned.join(", ");
        answer = answer
            .line(format!("Not owned by the guest, so untouched: {listed}"))
            .with("untouched", not_owned);
    }
    if args.flag(&UNREFERENCED) && others.is_none() {
        answer = answer.line("Volumes in no slot are deleted too; they could not be listed.");
    }
    if let Some((volumes, notes)) = others {
        let listed = match volumes.is_empty() {
            true => "none that this token sees".to_owned(),
            false => volumes.join(", "),
        };
        answer = answer
            .line(format!("Volumes in no slot, deleted too: {listed}"))
            .with("unreferenced", volumes);
        answer = notes.iter().fold(answer, Answer::line);
    }
    Ok(answer)
}
