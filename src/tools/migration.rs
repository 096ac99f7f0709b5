//! Migration of guests to other nodes, and their conversion into templates.

use serde_json::{Map, Value, json};

use super::common::Guest;
use super::guest::{NODE, TYPE, VMID, VMID_OR_GUESTS};
use crate::answer::{self, Answer, number, plain};
use crate::cluster::guests;
use crate::cluster::tasks::{Task, WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{
    Method::{Get, Post},
    Reply, Request,
};
use crate::row::{Harm, Loss, Step, Touches, needs};
use crate::safety::Client;
use crate::text::{self, format};
use crate::tool::{Call, Effect, Permission, Tool, check_version, start_task};

pub(super) const OF_VM: &str = "/nodes/{node}/qemu/{vmid}/migrate";
pub(super) const OF_CONTAINER: &str = "/nodes/{node}/lxc/{vmid}/migrate";

/// The versions that say what keeps a container from moving.
const CHECKS_CONTAINERS: Versions = Versions::since(9);

const WHERE_TO: Param = Param::optional("target", Kind::Format(&format::NODE), "Only this node.");

pub(super) static CHECK: Tool = Tool {
    title: "Check migration",
    summary: "Shows to which nodes a guest can move and what stands in the way: local disks and devices, storages, HA rules, nodes that are offline.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &TYPE, &WHERE_TO],
    call: Call::Steps(
        &[
            Step::read(OF_VM, needs::MIGRATE),
            Step::read(OF_CONTAINER, needs::MIGRATE).known_to(CHECKS_CONTAINERS),
            Step::read("/nodes", &[]),
        ],
        check,
    ),
};

fn check(client: &Client, args: &Args) -> Result<Answer, Error> {
    let guest = of_type(args);
    if guest == Guest::Container {
        check_version(client, "a check of containers", CHECKS_CONTAINERS)?;
    }
    let request = args.send_given(args.request(Get, path(guest)), &[&WHERE_TO]);
    let found = client.send(&request)?;
    let nodes = Nodes::read(client)?;
    let preconditions = Preconditions(&found);
    let runs = preconditions.runs();
    let mut answer = Answer::new(format!(
        "{} on {}: {}",
        args.fill(match guest {
            Guest::Vm => "VM {vmid}",
            Guest::Container => "container {vmid}",
        }),
        &args[&NODE],
        if runs { "running" } else { "not running" }
    ));
    let allowed = preconditions.allowed();
    let wanted = args.get(&WHERE_TO);
    let is_wanted = |node: &str| wanted.is_none_or(|wanted| wanted == node);
    for node in allowed.iter().filter(|node| is_wanted(node)) {
        answer = answer.line(match nodes.status(node) {
            Some("offline") => format!("{node}: allowed, but it is offline"),
            _ => format!("{node}: allowed"),
        });
    }
    for (node, why) in preconditions
        .obstacles()
        .filter(|(node, _)| is_wanted(node))
    {
        answer = answer.line(format!("{node}: not allowed: {}", text::cut(&why, 500)));
    }
    if let Some(wanted) = wanted.filter(|wanted| !allowed.iter().any(|node| node == wanted))
        && let Some(problem) = nodes.problem(wanted, &args[&NODE])
    {
        answer = answer.line(format!("{wanted}: {problem}"));
    }
    let mut advice = Vec::new();
    let disks = preconditions.local_disks();
    if !disks.is_empty() {
        answer = answer.line(format!("local disks, copied along: {}", disks.join(", ")));
        if runs {
            advice.push("with_local_disks=true");
        }
    }
    for (key, what) in [
        (
            "local_resources",
            "devices of this node, which keep it here",
        ),
        ("mapped-resources", "mapped devices"),
        ("dependent-ha-resources", "moved along by HA rules"),
    ] {
        let listed = plain(&found[key]);
        if !listed.is_empty() {
            answer = answer.line(format!("{what}: {}", text::cut(&listed, 500)));
        }
    }
    let (tool, while_it_runs) = match guest {
        Guest::Vm => ("proxmox_migrate_vm", "online=true"),
        Guest::Container => ("proxmox_migrate_lxc", "restart=true"),
    };
    if runs {
        advice.insert(0, while_it_runs);
    }
    if !advice.is_empty() {
        answer = answer.line(format!("{tool} needs {}.", advice.join(" and ")));
    }
    let fields = match found {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Ok(Answer {
        data: fields,
        ..answer
    }
    .with("offline_nodes", nodes.offline()))
}

/// What Proxmox says of a guest before it moves. The keys are spelt in two ways.
struct Preconditions<'a>(&'a Value);

impl Preconditions<'_> {
    fn get(&self, keys: [&str; 2]) -> &Value {
        let [one, other] = keys.map(|key| &self.0[key]);
        if one.is_null() { other } else { one }
    }

    fn runs(&self) -> bool {
        number(&self.0["running"]) == Some(1.0)
    }

    fn allowed(&self) -> Vec<String> {
        let nodes = self.get(["allowed_nodes", "allowed-nodes"]).as_array();
        nodes.into_iter().flatten().map(plain).collect()
    }

    /// What keeps it from moving to which node. An empty object stands for no reason.
    fn obstacles(&self) -> impl Iterator<Item = (String, String)> {
        let nodes = self.get(["not_allowed_nodes", "not-allowed-nodes"]);
        let nodes = nodes.as_object().into_iter().flatten();
        nodes.filter_map(|(node, why)| {
            let reasons = why.as_object()?.iter();
            let reasons = reasons.map(|(what, of)| {
                let of = match of.as_array() {
                    Some(items) => items.iter().map(obstacle).collect::<Vec<_>>().join(", "),
                    None => plain(of),
                };
                format!("{} {of}", text::inline(what).replace(['-', '_'], " "))
            });
            let reasons: Vec<String> = reasons.collect();
            (!reasons.is_empty()).then(|| (text::inline(node), reasons.join("; ")))
        })
    }

    /// Disks on storages of the node alone, without discs.
    fn local_disks(&self) -> Vec<String> {
        let disks = self.0["local_disks"].as_array().into_iter().flatten();
        let disks = disks.filter(|disk| number(&disk["cdrom"]) != Some(1.0));
        disks
            .map(|disk| {
                let size = number(&disk["size"]).map(text::bytes).unwrap_or_default();
                let shown = format!(
                    "{} {} {size}",
                    plain(&disk["drivename"]),
                    plain(&disk["volid"])
                );
                shown.trim().to_owned()
            })
            .collect()
    }

    /// The guests that HA rules move along, by their VMIDs.
    fn companions(&self) -> Vec<String> {
        let resources = self.0["dependent-ha-resources"].as_array();
        let resources = resources.into_iter().flatten().map(plain);
        resources
            .map(|sid| match sid.split_once(':') {
                Some((_, vmid)) => vmid.to_owned(),
                None => sid,
            })
            .collect()
    }
}

/// A resource that blocks, with its cause, or the name of what is missing.
fn obstacle(item: &Value) -> String {
    match &item["sid"] {
        Value::Null => plain(item),
        sid => format!("{} ({})", plain(sid), plain(&item["cause"])),
    }
}

/// The nodes of the cluster and their states.
struct Nodes(Vec<(String, String)>);

impl Nodes {
    fn read(client: &Reader) -> Result<Self, Error> {
        let rows = client.get("/nodes").map(answer::rows)?;
        let nodes = rows
            .iter()
            .map(|row| (plain(&row["node"]), plain(&row["status"])));
        Ok(Self(nodes.collect()))
    }

    fn status(&self, node: &str) -> Option<&str> {
        let known = self.0.iter().find(|(name, _)| name == node);
        known.map(|(_, status)| status.as_str())
    }

    fn offline(&self) -> Vec<String> {
        let offline = self.0.iter().filter(|(_, status)| status == "offline");
        offline.map(|(name, _)| name.clone()).collect()
    }

    /// Why nothing can move to `target`, which Proxmox finds out only when it tries.
    fn problem(&self, target: &str, source: &str) -> Option<String> {
        match self.status(target) {
            _ if target == source => Some("that is where it is".to_owned()),
            Some("offline") => Some("that node is offline".to_owned()),
            None if !self.0.is_empty() => {
                let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
                Some(format!("no such node; there are {}", names.join(", ")))
            }
            _ => None,
        }
    }
}

const TARGET: Param = Param::required("target", Kind::Format(&format::NODE), "Node to move it to.");
const ONLINE: Param = Param::optional("online", Kind::Flag, "While it runs; needed if it does.");
const WITH_LOCAL_DISKS: Param = Param::optional(
    "with_local_disks",
    Kind::Flag,
    "Copy local disks of a running VM.",
)
.sent_as("with-local-disks");
const TARGETSTORAGE: Param = Param::optional(
    "target_storage",
    Kind::Text(1, 512),
    "Storage there, or pairs such as local:nfs.",
)
.sent_as("targetstorage");
const TARGET_STORAGE: Param = Param::optional(
    "target_storage",
    Kind::Text(1, 512),
    "Storage there, or pairs such as local:nfs.",
)
.sent_as("target-storage");
const RESTART: Param = Param::optional(
    "restart",
    Kind::Flag,
    "Shut it down and start it there; needed if it runs.",
);
const SHUTDOWN_TIMEOUT: Param = Param::optional(
    "timeout",
    Kind::Integer(0, u64::MAX),
    "Seconds to shut down, 180 by default.",
);
const BANDWIDTH: Param = Param::optional("bwlimit", Kind::Integer(0, u64::MAX), "KiB/s.");

pub(super) const MIGRATION_OF_VM: Step = Step::change(
    Post,
    OF_VM,
    needs::MIGRATE,
    Touches::Judged(moved),
    Harm::None,
);

pub(super) static MIGRATE_VM: Tool = Tool {
    title: "Migrate VM",
    summary: "Moves a VM to another node, live if it runs (online).",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &TARGET,
        &ONLINE,
        &WITH_LOCAL_DISKS,
        &TARGETSTORAGE,
        &BANDWIDTH,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes", &[]),
            Step::read(OF_VM, needs::MIGRATE),
            MIGRATION_OF_VM,
        ],
        |client, args| migrate(client, args, Guest::Vm),
    ),
};

pub(super) const MIGRATION_OF_LXC: Step = Step::change(
    Post,
    OF_CONTAINER,
    needs::MIGRATE,
    Touches::Judged(moved),
    Harm::Judged(interrupted),
);

pub(super) static MIGRATE_LXC: Tool = Tool {
    title: "Migrate container",
    summary: "Moves a container to another node. One that runs is shut down and started there (restart): containers cannot move live.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &TARGET,
        &RESTART,
        &SHUTDOWN_TIMEOUT,
        &TARGET_STORAGE,
        &BANDWIDTH,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes", &[]),
            Step::read(OF_CONTAINER, needs::MIGRATE).known_to(CHECKS_CONTAINERS),
            MIGRATION_OF_LXC,
        ],
        |client, args| migrate(client, args, Guest::Container),
    ),
};

/// The guest, and those that HA rules keep with it.
fn moved(request: &Request, before: &Value) -> Vec<String> {
    let vmid = request.path.split('/').nth(4).unwrap_or_default();
    let mut moved = vec![vmid.to_owned()];
    moved.extend(Preconditions(before).companions());
    moved
}

/// A container that is to be restarted is down while it moves, unless it is known not to run.
fn interrupted(request: &Request, before: &Value) -> Option<Loss> {
    let value = |name: &str| {
        let mut form = request.form.iter();
        form.find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    };
    let is_down = !before.is_null() && !Preconditions(before).runs();
    if value("restart") != Some("1") || is_down {
        return None;
    }
    let vmid = request.path.split('/').nth(4).unwrap_or_default();
    let target = value("target").unwrap_or_default();
    Some(Loss::interrupts(format!(
        "Shut container {vmid} down, and start it on {target}."
    )))
}

/// Moves a guest once nothing is known that would keep it here: Proxmox looks at little before it starts.
fn migrate(client: &Client, args: &Args, guest: Guest) -> Result<Answer, Error> {
    let (target, vmid) = (&args[&TARGET], &args[&VMID]);
    let refused = |why: &str, hint: &str| {
        let what = format!("{} {vmid} was not moved to {target}", guest.noun());
        Err(Error::impossible(what, why).hint(hint))
    };
    let nodes = Nodes::read(client)?;
    if let Some(problem) = nodes.problem(target, &args[&NODE]) {
        return refused(&problem, "proxmox_get_nodes shows which nodes are online.");
    }
    let says_what_stands_in_the_way = match guest {
        Guest::Vm => true,
        Guest::Container => CHECKS_CONTAINERS.contain(client.major_version()?),
    };
    if says_what_stands_in_the_way {
        let asked = args.request(Get, path(guest)).with("target", target);
        let found = client.send(&asked)?;
        let preconditions = Preconditions(&found);
        let mut obstacles = preconditions.obstacles();
        if let Some((_, why)) = obstacles.find(|(node, _)| node == target) {
            return refused(&why, "proxmox_check_migration shows where it can move.");
        }
        let (flag, moves) = match guest {
            Guest::Vm => (&ONLINE, "Give online=true: it moves while it runs."),
            Guest::Container => (
                &RESTART,
                "Give restart=true: it is shut down, and started there.",
            ),
        };
        if preconditions.runs() && !args.flag(flag) {
            return refused("it runs", moves);
        }
        // The rest is of no use to whoever is asked.
        client.show_before(&json!({
            "running": found["running"],
            "dependent-ha-resources": found["dependent-ha-resources"],
        }));
    }
    let request = args.whole_request(Post, path(guest));
    let what = format!("Migrate {} {vmid} to {target}", guest.noun());
    let answer = start_task(client, &request, Reply::Task, &what)?;
    Ok(answer.then(arrived))
}

/// Says where the guest is: a task of the HA manager only asks for the move.
fn arrived(client: &Reader, args: &Args, answer: Answer) -> Answer {
    let vmid = args[&VMID].parse().unwrap_or_default();
    let Ok(row) = guests::guest_row(client, vmid) else {
        return answer;
    };
    let node = plain(&row["node"]);
    match &*node {
        "" => answer,
        node if node == &args[&TARGET] => {
            answer.line(format!("It is on {node} now, {}.", plain(&row["status"])))
        }
        node => answer
            .line(format!(
                "Proxmox still lists it on {node}: proxmox_get_vms shows it once it has moved."
            ))
            .with("still_on", node),
    }
}

const DISK: Param = Param::optional(
    "disk",
    Kind::Format(&format::VM_DISK_OR_STATE),
    "Of a VM: only this disk.",
);

const TEMPLATE_OF_VM: &str = "/nodes/{node}/qemu/{vmid}/template";
const TEMPLATE_OF_CONTAINER: &str = "/nodes/{node}/lxc/{vmid}/template";
const FOR_GOOD: &str = "Turn[ {disk} of] guest {vmid} into a template, which cannot be undone: it can be cloned, and never started again.";

pub(super) static CONVERT: Tool = Tool {
    title: "Convert to template",
    summary: "Turns a stopped guest without snapshots into a template, for good.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &VMID, &TYPE, &DISK, &WAIT, &WAIT_TIMEOUT],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/{type}/{vmid}/config", needs::AUDIT),
            Step::change(
                Post,
                TEMPLATE_OF_VM,
                needs::ALLOCATE,
                Touches::GuestOf(&VMID),
                Harm::Destroys(FOR_GOOD),
            ),
            Step::change(
                Post,
                TEMPLATE_OF_CONTAINER,
                needs::ALLOCATE,
                Touches::GuestOf(&VMID),
                Harm::Destroys(FOR_GOOD),
            ),
            Step::read("/nodes/{node}/tasks", &[]),
        ],
        convert,
    ),
};

fn convert(client: &Client, args: &Args) -> Result<Answer, Error> {
    let guest = of_type(args);
    let vmid = &args[&VMID];
    if guest == Guest::Container {
        if args.get(&DISK).is_some() {
            let problem = "disk does not go with type=lxc: all of a container is converted";
            return Err(Error::arguments(vec![problem.to_owned()]));
        }
        return convert_container(client, args);
    }
    if let Some(disk) = args.get(&DISK) {
        let config = client.send(&args.request(Get, CONFIG))?;
        // Proxmox would do nothing, and report success.
        if config[disk].is_null() {
            return Err(Error::impossible(
                format!("VM {vmid} has no {disk}, nothing was done"),
                "Its configuration has no such disk.",
            )
            .hint("proxmox_get_vm_config shows its disks."));
        }
    }
    let request = args.request(Post, TEMPLATE_OF_VM);
    let request = args.send_given(request, &[&DISK]);
    let what = match args.get(&DISK) {
        Some(disk) => format!("Convert {disk} of VM {vmid} to a base image"),
        None => format!("Convert VM {vmid} to a template"),
    };
    let answer = start_task(client, &request, Reply::Task, &what)?;
    Ok(answer.then(converted))
}

const CONFIG: &str = "/nodes/{node}/{type}/{vmid}/config";

/// Proxmox does not say which task does it, but lists that.
fn convert_container(client: &Client, args: &Args) -> Result<Answer, Error> {
    let what = format!("Convert container {} to a template", &args[&VMID]);
    let request = args.request(Post, TEMPLATE_OF_CONTAINER);
    let data = client.change(&request, Reply::TaskOrNothing)?;
    let task = match data.as_str() {
        Some(upid) => Some(upid.to_owned()),
        None => own_task(client, args),
    };
    Ok(match task {
        Some(upid) => Answer {
            task: Some(Task::new(what, upid)),
            ..Answer::new(String::new())
        }
        .then(converted),
        None => Answer::action(&what, "started", "started.").line(
            "Its task, vztemplate, is not in the list of tasks that this token sees: proxmox_get_lxc_config shows template once it is done.",
        ),
    })
}

/// The newest task that makes a template of the container: it is one only once.
fn own_task(client: &Client, args: &Args) -> Option<String> {
    let request = args
        .request(Get, "/nodes/{node}/tasks")
        .with("source", "all")
        .with("typefilter", "vztemplate")
        .with("vmid", &args[&VMID]);
    let tasks = client.send(&request).map(answer::rows).ok()?;
    let started = |task: &Value| number(&task["starttime"]).unwrap_or_default();
    let newest = tasks
        .iter()
        .filter(|task| task["type"] == "vztemplate")
        .max_by(|a, b| started(a).total_cmp(&started(b)))?;
    newest["upid"].as_str().map(str::to_owned)
}

/// Looks at what came of it: the task can succeed without having done anything.
fn converted(client: &Reader, args: &Args, answer: Answer) -> Answer {
    let Ok(config) = client.send(&args.request(Get, CONFIG)) else {
        return answer;
    };
    let is_done = match args.get(&DISK) {
        Some(disk) => plain(&config[disk]).contains("base-"),
        None => number(&config["template"]) == Some(1.0),
    };
    let answer = match (args.get(&DISK), is_done) {
        (Some(disk), true) => answer.line(format!("{disk}: {}", plain(&config[disk]))),
        (Some(disk), false) => answer.line(format!(
            "{disk} is not a base image: {}",
            plain(&config[disk])
        )),
        (None, true) => answer.line("It is a template now."),
        (None, false) => {
            answer.line("Its configuration does not say that it is a template, though: look at the log of the task (proxmox_get_node_task).")
        }
    };
    match is_done {
        true => answer,
        false => answer.with("status", "incomplete"),
    }
}

fn of_type(args: &Args) -> Guest {
    match &args[&TYPE] {
        "lxc" => Guest::Container,
        _ => Guest::Vm,
    }
}

fn path(guest: Guest) -> &'static str {
    match guest {
        Guest::Vm => OF_VM,
        Guest::Container => OF_CONTAINER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_reason_is_none_and_a_resource_that_blocks_is_named_with_its_cause() {
        let found = json!({
            "allowed_nodes": ["pve2"],
            "not_allowed_nodes": {
                "pve2": {},
                "pve3": { "unavailable_storages": ["local-zfs", "data"] },
                "pve4": { "blocking-ha-resources": [{ "sid": "vm:101", "cause": "resource-affinity" }] },
            },
        });
        let obstacles: Vec<(String, String)> = Preconditions(&found).obstacles().collect();
        let expected = [
            ("pve3", "unavailable storages local-zfs, data"),
            ("pve4", "blocking ha resources vm:101 (resource-affinity)"),
        ];
        assert_eq!(obstacles.len(), expected.len());
        for ((node, why), (expected_node, expected_why)) in obstacles.iter().zip(expected) {
            assert_eq!((node.as_str(), why.as_str()), (expected_node, expected_why));
        }
    }

    #[test]
    fn companions_move_along_and_only_a_restart_of_what_may_run_interrupts() {
        let request = |restart: &str| {
            Request::new(Post, "/nodes/pve1/lxc/101/migrate")
                .with("target", "pve2")
                .with("restart", restart)
        };
        let known = |running: u8| json!({ "running": running, "dependent-ha-resources": ["vm:100", "ct:102"] });
        assert_eq!(moved(&request("1"), &known(1)), ["101", "100", "102"]);
        assert_eq!(moved(&request("1"), &Value::Null), ["101"]);
        for (restart, before, expected) in [
            ("1", known(1), true),
            ("1", Value::Null, true),
            ("1", known(0), false),
            ("0", known(1), false),
        ] {
            let loss = interrupted(&request(restart), &before);
            assert_eq!(loss.is_some(), expected, "{restart} {before}");
            assert!(loss.is_none_or(|loss| !loss.destroys));
        }
    }

    #[test]
    fn a_target_that_cannot_be_reached_is_known_before() {
        let nodes = [("pve1", "online"), ("pve2", "offline"), ("pve3", "unknown")];
        let nodes = Nodes(nodes.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec());
        for (target, problem) in [
            ("pve1", Some("that is where it is")),
            ("pve2", Some("that node is offline")),
            ("pve3", None),
            ("pve9", Some("no such node; there are pve1, pve2, pve3")),
        ] {
            assert_eq!(nodes.problem(target, "pve1").as_deref(), problem);
        }
        assert_eq!(Nodes(Vec::new()).problem("pve2", "pve1"), None);
    }
}
