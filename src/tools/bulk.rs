//! Many guests at once: those that are named one by one, or all of a node or of the cluster by one request.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::guest::{NODE, TYPE, VMID};
use super::{lifecycle, migration};
use crate::answer::{self, Answer, Pollable, Wait, number, plain};
use crate::cluster::guests::{self, Guest, OUTCOMES};
use crate::cluster::patience::Patience;
use crate::cluster::tasks::{State, Task, WAIT, WAIT_TIMEOUT};
use crate::error::{Error, ErrorKind};
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{
    Method::{Get, Post},
    Reply, Request,
};
use crate::row::{Harm, Loss, Step, Touches, needs};
use crate::safety::Client;
use crate::text::sort::{gather, sort_by_key};
use crate::text::{self, format};
use crate::tool::{Call, Effect, PARALLEL, Permission, Tool, USUAL_PARALLEL, act, check_version};

const ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["start", "shutdown", "suspend", "migrate"]),
    "",
)
.synonyms(&[("stop", "shutdown")])
.local();
/// For the calls that one about `guests` consists of.
const ONE: Param = VMID.required_unless(&["guests", "all"]).unlisted();
const OF_TYPE: Param = TYPE.unlisted();
const ALL: Param = Param::optional(
    "all",
    Kind::Flag,
    "All guests of node, or of the cluster (since version 9).",
)
.local();
const TARGET: Param = Param::optional("target", Kind::Format(&format::NODE), "Node to move to.");
const FORCE: Param = Param::optional(
    "force",
    Kind::Flag,
    "Of a node: start those without onboot too.",
);
const FORCE_STOP: Param =
    Param::optional("force_stop", Kind::Flag, "Kill what is not down by then.");
const TIMEOUT: Param = Param::optional(
    "timeout",
    Kind::Integer(1, 7_200),
    "Seconds for each guest.",
);
const WITH_LOCAL_DISKS: Param = Param::optional("with_local_disks", Kind::Flag, "");
const TO_DISK: Param = Param::optional("to_disk", Kind::Flag, "").alias(&["todisk"]);
const STATE_STORAGE: Param = Param::optional(
    "statestorage",
    Kind::Format(&format::STORAGE),
    "With to_disk.",
);

/// The guests that a request is about, as it names them.
const VMS: Param = Param::optional("vms", Kind::List, "");

/// What takes the guests of the cluster at once.
const CLUSTER_WIDE: Versions = Versions::since(9);

const OF_NODE: [&str; 4] = [
    "/nodes/{node}/startall",
    "/nodes/{node}/stopall",
    "/nodes/{node}/suspendall",
    "/nodes/{node}/migrateall",
];
const OF_CLUSTER: [&str; 4] = [
    "/cluster/bulk-action/guest/start",
    "/cluster/bulk-action/guest/shutdown",
    "/cluster/bulk-action/guest/suspend",
    "/cluster/bulk-action/guest/migrate",
];

pub(super) static BULK: Tool = Tool {
    title: "Bulk guest action",
    summary: "Starts, shuts down, suspends or migrates guests one by one, or with all=true every guest of a node or the cluster. What runs is migrated live, containers by a restart.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[
        &ACTION,
        &ONE,
        &OF_TYPE,
        &ALL,
        &NODE,
        &TARGET,
        &FORCE,
        &FORCE_STOP,
        &TIMEOUT,
        &WITH_LOCAL_DISKS,
        &TO_DISK,
        &STATE_STORAGE,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            of_all(OF_NODE[0], needs::POWER, Touches::AnyGuest, Harm::Destroys(
                "Start guests of node {node}. Before that Proxmox removes the backup lock of every guest of the node, whether it is to start or not: a backup that runs is no longer safe from changes.",
            )),
            of_all(OF_NODE[1], needs::POWER, Touches::Guests(&VMS), Harm::Judged(shut_down)),
            of_all(OF_NODE[2], needs::POWER, Touches::Guests(&VMS), Harm::Interrupts(
                "Suspend the VMs of node {node}.",
            ))
            .known_to(Versions::since(8)),
            // What HA rules keep together with a guest moves along.
            of_all(OF_NODE[3], needs::MIGRATE, Touches::AnyGuest, Harm::Interrupts(
                "Migrate the guests of node {node}[ to {target}]; containers that run are restarted there.",
            )),
            of_all(OF_CLUSTER[0], needs::POWER, Touches::Guests(&VMS), Harm::Interrupts(
                "Start all guests of the cluster.",
            ))
            .known_to(CLUSTER_WIDE),
            of_all(OF_CLUSTER[1], needs::POWER, Touches::Guests(&VMS), Harm::Judged(shut_down))
                .known_to(CLUSTER_WIDE),
            of_all(OF_CLUSTER[2], needs::POWER, Touches::Guests(&VMS), Harm::Interrupts(
                "Suspend all VMs of the cluster.",
            ))
            .known_to(CLUSTER_WIDE),
            of_all(OF_CLUSTER[3], needs::MIGRATE, Touches::AnyGuestAnywhere, Harm::Interrupts(
                "Migrate all guests of the cluster[ to {target}]; containers that run are restarted there.",
            ))
            .known_to(CLUSTER_WIDE),
            lifecycle::START_OF_VM,
            lifecycle::START_OF_LXC,
            lifecycle::SHUTDOWN_OF_VM,
            lifecycle::SHUTDOWN_OF_LXC,
            lifecycle::PAUSE_OF_VM,
            Step::read("/nodes", &[]),
            Step::read(migration::OF_VM, needs::MIGRATE),
            Step::read(migration::OF_CONTAINER, needs::MIGRATE).known_to(Versions::since(9)),
            migration::MIGRATION_OF_VM,
            migration::MIGRATION_OF_LXC,
            Step::read("/cluster/resources", &[]),
        ],
        bulk,
    ),
};

const fn of_all(path: &'static str, needs: needs::Needs, touches: Touches, harm: Harm) -> Step {
    Step::change(Post, path, needs, touches, harm)
}

/// What is lost depends on what becomes of guests that do not shut down.
fn shut_down(request: &Request, _: &Value) -> Option<Loss> {
    let value = |name: &str| {
        let mut form = request.form.iter();
        form.find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    };
    let mut path = request.path.split('/').skip(1);
    let place = match (path.next(), path.next()) {
        (Some("nodes"), Some(node)) => format!("of node {node}"),
        _ => "of the cluster".to_owned(),
    };
    let seconds = value("timeout").unwrap_or("180");
    let rest = match value("force-stop") {
        Some("0") => format!("Those that have not after {seconds} s keep running."),
        _ => format!("Those that have not after {seconds} s are killed."),
    };
    Some(Loss::interrupts(format!(
        "Shut down all guests {place}. {rest}"
    )))
}

/// What is done to each guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Start,
    Shutdown,
    Suspend,
    Migrate,
}

impl Action {
    fn of(args: &Args) -> Self {
        match &args[&ACTION] {
            "start" => Action::Start,
            "suspend" => Action::Suspend,
            "migrate" => Action::Migrate,
            _ => Action::Shutdown,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Action::Start => "Start",
            Action::Shutdown => "Shut down",
            Action::Suspend => "Suspend",
            Action::Migrate => "Migrate",
        }
    }

    /// The types of the tasks that do it to one guest, and of those that ask the HA manager to.
    fn tasks(self) -> &'static [&'static str] {
        match self {
            Action::Start => &["qmstart", "vzstart", "qmresume", "hastart"],
            Action::Shutdown => &["qmshutdown", "vzshutdown", "qmstop", "vzstop", "hastop"],
            Action::Suspend => &["qmsuspend", "qmpause"],
            Action::Migrate => &["qmigrate", "vzmigrate", "hamigrate"],
        }
    }
}

/// Where the guests are that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// One of those that are named.
    Guest,
    Node,
    Cluster,
}

impl Scope {
    fn of(args: &Args) -> Self {
        match (args.get(&ONE), args.get(&NODE)) {
            (Some(_), _) => Scope::Guest,
            (None, Some(_)) => Scope::Node,
            (None, None) => Scope::Cluster,
        }
    }
}

/// The parameters that only some calls take.
fn takes(action: Action, scope: Scope) -> &'static [&'static Param] {
    match (action, scope) {
        (Action::Start, Scope::Node) => &[&FORCE],
        (Action::Start, _) => &[&TIMEOUT],
        (Action::Shutdown, _) => &[&TIMEOUT, &FORCE_STOP],
        (Action::Suspend, Scope::Node) => &[],
        (Action::Suspend, _) => &[&TO_DISK, &STATE_STORAGE],
        (Action::Migrate, _) => &[&TARGET, &WITH_LOCAL_DISKS],
    }
}

/// What keeps the arguments from asking for one of the requests.
fn problems(args: &Args, action: Action, scope: Scope) -> Vec<String> {
    let mut problems = Vec::new();
    match (scope, args.flag(&ALL)) {
        (Scope::Guest, true) => problems.push("all does not go with guests".to_owned()),
        (Scope::Node | Scope::Cluster, false) => {
            problems.push("guests is missing, or all=true for every guest".to_owned());
        }
        _ => (),
    }
    let limited = [
        &TARGET,
        &FORCE,
        &FORCE_STOP,
        &TIMEOUT,
        &WITH_LOCAL_DISKS,
        &TO_DISK,
        &STATE_STORAGE,
    ];
    let taken = takes(action, scope);
    let of_what = match scope {
        Scope::Guest => "guests",
        Scope::Node => "all guests of a node",
        Scope::Cluster => "all guests of the cluster",
    };
    for param in limited.iter().filter(|param| args.get(param).is_some()) {
        if !taken.iter().any(|taken| taken.name == param.name) {
            problems.push(format!(
                "{} does not go with action={} for {of_what}",
                param.name, &args[&ACTION]
            ));
        }
    }
    if action == Action::Migrate && args.get(&TARGET).is_none() {
        problems.push(format!("target is missing: {}", TARGET.form()));
    }
    if args.get(&STATE_STORAGE).is_some() && !args.flag(&TO_DISK) {
        problems.push("statestorage needs to_disk=true".to_owned());
    }
    problems
}

fn bulk(client: &Client, args: &Args) -> Result<Answer, Error> {
    let (action, scope) = (Action::of(args), Scope::of(args));
    let problems = problems(args, action, scope);
    match (problems.is_empty(), scope) {
        (false, _) => Err(Error::arguments(problems)),
        (true, Scope::Guest) => one(client, args, action),
        (true, Scope::Node | Scope::Cluster) => all(client, args, action, scope),
    }
}

/// Does it to one guest, as the tool does that is for it alone.
fn one(client: &Client, args: &Args, action: Action) -> Result<Answer, Error> {
    let guest = match &args[&TYPE] {
        "lxc" => Guest::Container,
        _ => Guest::Vm,
    };
    let is_vm = guest == Guest::Vm;
    let tool = match (action, guest) {
        (Action::Start, Guest::Vm) => &lifecycle::START_VM,
        (Action::Start, Guest::Container) => &lifecycle::START_LXC,
        (Action::Shutdown, Guest::Vm) => &lifecycle::SHUTDOWN_VM,
        (Action::Shutdown, Guest::Container) => &lifecycle::SHUTDOWN_LXC,
        (Action::Suspend, Guest::Vm) => &lifecycle::PAUSE_VM,
        (Action::Suspend, Guest::Container) => {
            return Err(Error::impossible(
                format!("{} is a container, nothing was done", &args[&VMID]),
                "Only VMs can be suspended.",
            ));
        }
        (Action::Migrate, Guest::Vm) => &migration::MIGRATE_VM,
        (Action::Migrate, Guest::Container) => &migration::MIGRATE_LXC,
    };
    let mut arguments = Map::new();
    for (name, param, is_taken) in [
        ("node", &NODE, true),
        ("vmid", &VMID, true),
        ("target", &TARGET, true),
        ("timeout", &TIMEOUT, is_vm || action == Action::Shutdown),
        ("force_stop", &FORCE_STOP, true),
        ("with_local_disks", &WITH_LOCAL_DISKS, is_vm),
        ("todisk", &TO_DISK, true),
        ("statestorage", &STATE_STORAGE, true),
    ] {
        if let Some(value) = args.get(param).filter(|_| is_taken) {
            arguments.insert(name.to_owned(), value.into());
        }
    }
    if action == Action::Migrate {
        let while_it_runs = if is_vm { "online" } else { "restart" };
        arguments.insert(while_it_runs.to_owned(), true.into());
    }
    let mut own = Args::parse(tool.params().collect(), &arguments).map_err(Error::arguments)?;
    own.guest.clone_from(&args.guest);
    act(client, tool, &own)
}

/// Does it to all guests that the token sees, by one request that names each of them: the gate can then judge it,
/// and a guest that comes in between is not touched.
fn all(client: &Client, args: &Args, action: Action, scope: Scope) -> Result<Answer, Error> {
    match (action, scope) {
        (_, Scope::Cluster) => check_version(
            client,
            "an action for all guests of the cluster",
            CLUSTER_WIDE,
        )?,
        (Action::Suspend, _) => {
            check_version(client, "suspending all VMs of a node", Versions::since(8))?
        }
        _ => (),
    }
    let mut guests = guests::resources(client, "vm")?;
    guests.retain(|guest| scope == Scope::Cluster || guest["node"] == args[&NODE]);
    sort_by_key(&mut guests, |guest| {
        number(&guest["vmid"]).unwrap_or_default() as u64
    });
    let locked = named(guests.iter().filter(|guest| guest["lock"] == "backup"));
    guests.retain(|guest| takes_part(guest, action, args.get(&TARGET)));
    if guests.is_empty() {
        return Err(Error::impossible(
            format!(
                "no guest to {} was found, nothing was done",
                action.verb().to_lowercase()
            ),
            "This token sees none there that it would be done to.",
        )
        .hint("proxmox_get_vms lists the guests that it sees."));
    }
    let mut findings = vec![format!("The guests: {}.", named(guests.iter()))];
    if (action, scope) == (Action::Start, Scope::Node) {
        findings.push(match locked.is_empty() {
            true => "No guest there that this token sees has a backup lock now.".to_owned(),
            false => format!("With a backup lock now: {locked}."),
        });
    }
    client.show_findings(&findings);
    let request = request(client, args, action, scope, &guests)?;
    let sent = client
        .change(&request, Reply::Task)
        .map_err(|error| match error.kind {
            ErrorKind::Denied => {
                error.hint("guests does it one by one, to those within the boundaries.")
            }
            _ => error,
        });
    let upid = plain(&sent?);
    let place = match args.get(&NODE) {
        Some(node) => format!("node {node}"),
        None => "the cluster".to_owned(),
    };
    let task = Task::new(format!("{} all guests of {place}", action.verb()), upid);
    if args.get(&WAIT) == Some("0") {
        return Ok(Answer {
            task: Some(task),
            ..Answer::new(String::new())
        });
    }
    client.note_followed(&task.upid);
    let patience = Patience::of(client, args.integer(&WAIT_TIMEOUT));
    Ok(Answer {
        wait: Some(Wait {
            limit: patience.limit(),
            subject: Box::new(Following {
                task,
                action,
                guests,
                target: args.get(&TARGET).map(str::to_owned),
                only_onboot: (action, scope) == (Action::Start, Scope::Node) && !args.flag(&FORCE),
                seen: RefCell::default(),
            }),
        }),
        ..Answer::new(String::new())
    })
}

/// Whether it can be done to a guest: templates do not run, containers are not suspended, and nothing moves to
/// where it is.
fn takes_part(guest: &Value, action: Action, target: Option<&str>) -> bool {
    let is_template = number(&guest["template"]) == Some(1.0);
    match action {
        Action::Start | Action::Shutdown => !is_template,
        Action::Suspend => !is_template && Guest::of(guest) == Guest::Vm,
        Action::Migrate => target.is_none_or(|target| guest["node"] != *target),
    }
}

/// `100 web01, 103 mail`
fn named<'a>(guests: impl Iterator<Item = &'a Value>) -> String {
    let guests = guests.map(|guest| {
        let name = text::cut(&text::inline(&plain(&guest["name"])), 30);
        format!("{} {name}", plain(&guest["vmid"]))
            .trim_end()
            .to_owned()
    });
    guests.collect::<Vec<_>>().join(", ")
}

fn request(
    client: &Client,
    args: &Args,
    action: Action,
    scope: Scope,
    guests: &[Value],
) -> Result<Request, Error> {
    let index = action as usize;
    let path = match scope {
        Scope::Cluster => OF_CLUSTER[index],
        _ => OF_NODE[index],
    };
    let vmids: Vec<String> = guests.iter().map(|guest| plain(&guest["vmid"])).collect();
    let mut request = args.request(Post, path);
    match scope {
        Scope::Cluster => {
            for vmid in vmids {
                request = request.with(VMS.name, vmid);
            }
        }
        _ => request = request.with(VMS.name, vmids.join(",")),
    }
    for param in takes(action, scope) {
        let wire = match param.name {
            "force_stop" => "force-stop",
            "to_disk" => "to-disk",
            "with_local_disks" => "with-local-disks",
            same => same,
        };
        match args.get(param) {
            Some(value) => request = request.with(wire, value),
            // Otherwise Proxmox kills them.
            None if param.name == FORCE_STOP.name => request = request.with(wire, "0"),
            None => (),
        }
    }
    if (action, scope) == (Action::Migrate, Scope::Cluster) {
        request = request.with("online", "1");
    }
    let parallel = args.integer(&PARALLEL).unwrap_or(USUAL_PARALLEL);
    let name = match client.major_version()? >= 9 {
        true => Some("max-workers"),
        false => (action == Action::Migrate).then_some("maxworkers"),
    };
    Ok(match name {
        Some(name) => request.with(name, parallel.to_string()),
        None => request,
    })
}

/// A task that does something to many guests, by tasks of their own: it can end well although these fail.
struct Following {
    task: Task,
    action: Action,
    /// As they were before.
    guests: Vec<Value>,
    target: Option<String>,
    /// Whether Proxmox leaves out guests that do not start with their node.
    only_onboot: bool,
    /// What was seen of each.
    seen: RefCell<Vec<Value>>,
}

/// How many guests are looked at, each by a request of its own.
const LOOKS: usize = 100;

impl Pollable for Following {
    fn poll(&self, client: &Reader, args: &Args) -> Result<Option<Answer>, Error> {
        let state = match self.task.poll(client) {
            Ok(state) => state,
            Err(error) if error.is_cancelled() => return Err(error),
            // It runs as far as is known.
            Err(_) => return Ok(None),
        };
        let (exit, has_failed) = match &state {
            State::Ended { exit, .. } => (exit.clone(), false),
            State::Failed { exit, .. } => (exit.clone(), true),
            _ => return Ok(None),
        };
        let log = self.task.log_lines(client, Some(0), 1_000);
        let log = log.map(|(lines, ..)| lines).unwrap_or_default();
        let tasks = self.tasks(client);
        let moved = match self.action {
            Action::Migrate => guests::resources(client, "vm").unwrap_or_default(),
            _ => Vec::new(),
        };
        let look = |(index, guest): (usize, &Value)| {
            let now = match self.action {
                Action::Migrate => moved
                    .iter()
                    .find(|row| row["vmid"] == guest["vmid"])
                    .cloned(),
                _ if index < LOOKS => current(client, guest),
                _ => None,
            };
            self.outcome(guest, now.as_ref(), &tasks, &log)
        };
        let rows: Vec<Value> = self.guests.iter().enumerate().map(look).collect();
        let is_done = rows.iter().all(|row| row["status"] != "running");
        self.seen.replace(rows);
        Ok(is_done.then(|| self.answer(args, Some((exit, has_failed)), &log)))
    }

    fn unfinished(&self, args: &Args) -> Answer {
        self.answer(args, None, &[])
    }
}

/// The state of a guest now; `None` if it cannot be read.
fn current(client: &Reader, guest: &Value) -> Option<Value> {
    let [node, kind, vmid] = ["node", "type", "vmid"].map(|key| plain(&guest[key]));
    let path = format!("/nodes/{{node}}/{kind}/{vmid}/status/current");
    let request = Request::new(Get, &path).segment("node", &node);
    client.send(&request).ok()
}

impl Following {
    /// The tasks of its kind that were started since, as far as the token sees them.
    fn tasks(&self, client: &Reader) -> Vec<Value> {
        let nodes: BTreeSet<String> = gather(self.guests.iter().map(|row| plain(&row["node"])));
        let lists = nodes.iter().filter_map(|node| {
            let request = Request::new(Get, "/nodes/{node}/tasks")
                .segment("node", node)
                .with("source", "all")
                .with("since", self.task.started().to_string())
                .with("limit", "1000");
            client.send(&request).map(answer::rows).ok()
        });
        let mut tasks: Vec<Value> = lists.flatten().collect();
        let types = self.action.tasks();
        tasks.retain(|task| types.contains(&task["type"].as_str().unwrap_or_default()));
        // The newest first, and at the same second that which does the work.
        sort_by_key(&mut tasks, |task| {
            let place = types.iter().position(|kind| task["type"] == *kind);
            let started = number(&task["starttime"]).unwrap_or_default() as u64;
            (u64::MAX - started, place)
        });
        tasks
    }

    /// Whether a guest is in the state that it was to be brought into.
    fn is_reached(&self, guest: &Value) -> Option<bool> {
        let state = guest["status"].as_str()?;
        let pause = guest["qmpstatus"].as_str().unwrap_or_default();
        Some(match self.action {
            Action::Start => state == "running" && pause != "paused",
            Action::Shutdown => state == "stopped",
            Action::Suspend => state == "stopped" || ["paused", "suspended"].contains(&pause),
            Action::Migrate => guest["node"].as_str() == self.target.as_deref(),
        })
    }

    /// What came of one guest: as its own task says, and as it is now.
    fn outcome(&self, was: &Value, now: Option<&Value>, tasks: &[Value], log: &[String]) -> Value {
        let vmid = plain(&was["vmid"]);
        let task = tasks.iter().find(|task| plain(&task["id"]) == vmid);
        let is_reached = now.and_then(|now| self.is_reached(now));
        let exit = task.map(|task| plain(&task["status"]));
        let is_asked_of_ha = task.is_some_and(|task| plain(&task["type"]).starts_with("ha"));
        let is_managed = !["", "ignored"].contains(&&*plain(&was["hastate"]));
        let state = now.map(|now| match self.action {
            Action::Migrate => format!("on {}", plain(&now["node"])),
            _ => plain(&now["status"]),
        });
        let state = state.unwrap_or_default();
        let (status, outcome) = match (exit.as_deref(), is_reached) {
            (Some("" | "RUNNING"), Some(true)) => ("done", String::new()),
            (Some("" | "RUNNING"), _) => ("running", String::new()),
            (Some(exit), reached) if exit == "OK" || exit.starts_with("WARNINGS") => {
                match reached {
                    Some(false) if is_asked_of_ha => {
                        ("requested", "The HA manager acts on it next.".to_owned())
                    }
                    Some(false) => (
                        "failed",
                        format!("Its task ended {exit}, but it is {state}."),
                    ),
                    _ if exit == "OK" => ("done", String::new()),
                    _ => ("done", exit.to_owned()),
                }
            }
            (Some(exit), _) => ("failed", text::inline(exit)),
            (None, Some(true)) if self.is_reached(was) == Some(true) => {
                ("unchanged", format!("It was {state} before."))
            }
            (None, Some(true)) => ("done", String::new()),
            (None, reached) => {
                let why = said_of(&vmid, log).unwrap_or_else(|| match is_managed {
                    true => "The HA manager manages it, and Proxmox left it to that.".to_owned(),
                    false if self.only_onboot => {
                        "Without force only guests with onboot=1 are started.".to_owned()
                    }
                    false => "No task for it was seen.".to_owned(),
                });
                match reached {
                    None => ("unknown", why),
                    Some(_) => ("skipped", format!("{why} It is {state}.")),
                }
            }
        };
        let mut row = json!({ "vmid": was["vmid"], "status": status });
        if !was["name"].is_null() {
            row["name"] = was["name"].clone();
        }
        if let Some(upid) = task.and_then(|task| task["upid"].as_str()) {
            row["upid"] = upid.into();
        }
        if !outcome.is_empty() {
            row["outcome"] = text::cut(&outcome, 400).into();
        }
        row
    }

    /// A row for each guest; `exit` is that of the task, and whether it failed, once it has ended.
    fn answer(&self, args: &Args, exit: Option<(String, bool)>, log: &[String]) -> Answer {
        let mut rows = self.seen.borrow().clone();
        let Task { what, upid, .. } = &self.task;
        let mut notes = Vec::new();
        let status = match &exit {
            Some((exit, _)) => {
                if exit != "OK" {
                    notes.push(format!("{what}: {}", text::cut(exit, 1_000)));
                }
                "ended"
            }
            None => {
                notes.push(format!(
                    "{what}: not finished. proxmox_wait_task with upid {upid} goes on waiting; proxmox_get_vms then shows the guests."
                ));
                "running"
            }
        };
        if rows.is_empty() {
            let unknown = |guest: &Value| {
                let mut row = json!({ "vmid": guest["vmid"], "status": "running" });
                row["name"] = guest["name"].clone();
                row
            };
            rows = self.guests.iter().map(unknown).collect();
        }
        let unlocked: Vec<&str> = log
            .iter()
            .filter_map(|line| line.split_once("removed left over backup lock from '"))
            .filter_map(|(_, rest)| rest.split('\'').next())
            .collect();
        if !unlocked.is_empty() {
            notes.push(format!("Backup locks removed: {}.", unlocked.join(", ")));
        }
        let has = |status: &str| rows.iter().any(|row| row["status"] == status);
        let has_failed = exit.is_some_and(|(_, has_failed)| has_failed);
        let is_failure = has("failed") || has_failed && (has("skipped") || has("unknown"));
        let answer = OUTCOMES.answer(rows, args, &notes);
        let answer = answer.with("status", status).with("upid", &**upid);
        Answer {
            is_failure,
            ..answer
        }
    }
}

/// The last line of a log that says why nothing was done to a guest.
fn said_of(vmid: &str, log: &[String]) -> Option<String> {
    let names = |line: &str| {
        let mut rest = ["VM ", "CT "]
            .iter()
            .filter_map(|kind| line.split_once(kind));
        rest.any(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next() == Some(vmid))
    };
    let explains = |line: &str| {
        let signs = ["kip", "WARN", "fail", "not running", "already"];
        signs.iter().any(|sign| line.contains(sign))
    };
    let mut lines = log.iter().rev();
    let line = lines.find(|line| names(line) && explains(line))?;
    Some(format!("{}.", text::inline(line).trim_end_matches('.')))
}
