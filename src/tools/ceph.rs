//! Ceph: its state, daemons, pools and file systems.

use serde_json::Value;

use super::common::{ERRORS_ONLY, GREP, NODE, filtered};
use super::dependents::{STORAGES, VOLUMES, dependents};
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, number, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{self, Method::Get, Request};
use crate::row::needs::{self, Needs};
use crate::row::{Choice, First, Loss, Place, Scope, Step, Touches, delete, get, post, put, takes};
use crate::text;
use crate::text::format;
use crate::text::sort::sort;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const AUDIT: Needs = &["/:Sys.Audit|Datastore.Audit"];

/// What Ceph stores is spread over all of its nodes, whichever is asked; most of it is of guests.
const fn scope(noun: &'static str, path: &'static str) -> Scope {
    Scope {
        name: "",
        noun,
        path,
        reads: AUDIT,
        changes: &["/:Sys.Modify"],
        touches: Touches::AnyGuestAnywhere,
        versions: Versions::ALL,
    }
}

const CLUSTER: Scope = scope("the cluster", "");
const OF_NODE: Scope = scope("node {node}", "/nodes/{node}/ceph");

const VIEW: Param = Param::required(
    "view",
    Kind::Choice(&["status", "flags", "metadata", "log", "crush", "config"]),
    "metadata: versions and hosts of daemons.",
);
const AT_NODE: Param = Param::optional(
    "node",
    Kind::Format(&format::NODE),
    "log, crush and config need it.",
);
const LINES: Param = Param::optional("limit", Kind::Integer(1, 5_000), "Lines or rows.");
const FIRST_LINE: Param = Param::optional(
    "start",
    Kind::Integer(0, u64::MAX),
    "First line of the log.",
);

pub(super) static STATUS: Tool = Tool {
    title: "Ceph status",
    summary: "Shows the health of Ceph, its flags, daemons with their versions, log, CRUSH map or configuration.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&VIEW, &AT_NODE],
    call: Call::Choice(&Choice {
        by: &[&VIEW],
        place: Place::Only(CLUSTER),
        does: "",
        rows: &[
            get("status", "/cluster/ceph/status", &[], Show::Made(status)),
            get(
                "status",
                "/nodes/{node}/ceph/status",
                &[],
                Show::Made(status),
            ),
            get(
                "flags",
                "/cluster/ceph/flags",
                &[],
                Show::Table(&Table {
                    name: "flags",
                    noun: ["flag", "flags"],
                    columns: &[
                        Column::text("name"),
                        Column::flag("value"),
                        Column::text("description"),
                    ],
                    sort: &[Order::Up("name")],
                    count: None,
                }),
            )
            .needs(needs::ALL_NODES),
            get(
                "metadata",
                "/cluster/ceph/metadata",
                &[&LINES.local(), &OFFSET],
                Show::Made(metadata),
            ),
            get(
                "log",
                "/nodes/{node}/ceph/log",
                &[&LINES, &FIRST_LINE, &ERRORS_ONLY, &GREP],
                Show::Made(log),
            )
            .needs(needs::LOGS),
            get("crush", "/nodes/{node}/ceph/crush", &[], Show::Made(crush)),
            get(
                "config",
                "/nodes/{node}/ceph/cfg/db",
                &[&LINES.local(), &OFFSET],
                Show::Made(config),
            ),
        ],
    }),
};

/// The names of a list of names or of objects with a `name`.
fn names(list: &Value) -> String {
    let items = list.as_array().into_iter().flatten();
    let names = items.map(|item| match item {
        Value::Object(_) => plain(&item["name"]),
        name => plain(name),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn status(_: &Args, status: Value, _: &Value) -> Answer {
    let health = &status["health"];
    let mut answer = Answer::new(format!("Ceph: {}", plain(&health["status"])));
    for (name, check) in health["checks"].as_object().into_iter().flatten() {
        let details = check["detail"].as_array().into_iter().flatten();
        let details: Vec<String> = details.map(|detail| plain(&detail["message"])).collect();
        let line = format!(
            "{} ({}): {}{}{}",
            text::inline(name),
            plain(&check["severity"]),
            plain(&check["summary"]["message"]),
            if details.is_empty() { "" } else { ": " },
            details.join("; ")
        );
        answer = answer.line(text::cut(&line, 1_000));
    }
    // Versions before Octopus have it one level further down.
    let osds = match &status["osdmap"]["osdmap"] {
        Value::Object(_) => &status["osdmap"]["osdmap"],
        _ => &status["osdmap"],
    };
    let groups = &status["pgmap"];
    let states = groups["pgs_by_state"].as_array().into_iter().flatten();
    let states =
        states.map(|state| format!("{} {}", plain(&state["count"]), plain(&state["state_name"])));
    let states: Vec<String> = states.collect();
    let bytes = |key: &str| number(&groups[key]).unwrap_or_default();
    let mut lines = vec![
        format!("monitors in quorum: {}", names(&status["quorum_names"])),
        format!(
            "manager: {}; standby: {}",
            plain(&status["mgrmap"]["active_name"]),
            names(&status["mgrmap"]["standbys"])
        ),
        format!(
            "OSDs: {}, {} up, {} in",
            plain(&osds["num_osds"]),
            plain(&osds["num_up_osds"]),
            plain(&osds["num_in_osds"])
        ),
        format!(
            "space: {} of {} used",
            text::bytes(bytes("bytes_used")),
            text::bytes(bytes("bytes_total"))
        ),
        format!("placement groups: {}", states.join(", ")),
    ];
    for (key, what) in [
        ("degraded_ratio", "degraded"),
        ("misplaced_ratio", "misplaced"),
    ] {
        if let Some(share) = number(&groups[key]).filter(|share| *share > 0.0) {
            lines.push(format!("{what}: {} of objects", text::percent(share)));
        }
    }
    let speed = |key: &str| text::bytes(bytes(key));
    lines.push(format!(
        "client I/O: {}/s read, {}/s written",
        speed("read_bytes_sec"),
        speed("write_bytes_sec")
    ));
    if bytes("recovering_bytes_per_sec") > 0.0 {
        lines.push(format!("recovery: {}/s", speed("recovering_bytes_per_sec")));
    }
    let answer = lines.iter().fold(answer, Answer::line);
    Answer::of(answer.text, answer::masked("", status))
}

/// The daemons, which are in an object for each kind but the OSDs.
fn metadata(args: &Args, mut metadata: Value, _: &Value) -> Answer {
    static DAEMONS: Table = Table {
        name: "daemons",
        noun: ["daemon", "daemons"],
        columns: &[
            Column::text("type"),
            Column::text("name"),
            Column::text("hostname"),
            Column::text("ceph_version_short"),
            Column::text("devices"),
        ],
        sort: &[Order::Up("type"), Order::Up("name")],
        count: Some("ceph_version_short"),
    };
    let mut rows = Vec::new();
    for kind in ["mon", "mgr", "mds", "osd"] {
        let daemons: Vec<Value> = match answer::take(&mut metadata, kind) {
            Value::Object(daemons) => daemons.into_iter().map(|(_, daemon)| daemon).collect(),
            daemons => answer::rows(daemons),
        };
        for mut daemon in daemons.into_iter().filter(Value::is_object) {
            daemon["type"] = kind.into();
            if daemon["name"].is_null() {
                daemon["name"] = daemon["id"].clone();
            }
            rows.push(daemon);
        }
    }
    let nodes = metadata["node"].as_object().into_iter().flatten();
    let installed = nodes.map(|(node, known)| {
        let version = plain(&known["version"]["str"]);
        format!("installed on {}: {version}", text::inline(node))
    });
    let installed: Vec<String> = installed.collect();
    DAEMONS
        .answer(rows, args, &installed)
        .with("node", answer::take(&mut metadata, "node"))
}

fn log(args: &Args, data: Value, beside: &Value) -> Answer {
    filtered(args, "Ceph log", data, beside, &FIRST_LINE, |line| {
        ["[ERR]", "[WRN]"].iter().any(|level| line.contains(level))
    })
}

fn crush(_: &Args, map: Value, _: &Value) -> Answer {
    let map = map.as_str().unwrap_or_default();
    let lines: Vec<&str> = map.lines().filter(|line| !line.trim().is_empty()).collect();
    Answer::new("CRUSH map".to_owned())
        .foreign_lines(&lines, text::BUDGET - 2_000)
        .with("crush", text::cut(map, text::BUDGET))
}

fn config(args: &Args, data: Value, _: &Value) -> Answer {
    static OPTIONS: Table = Table {
        name: "options",
        noun: ["option", "options"],
        columns: &[
            Column::text("section"),
            Column::text("mask"),
            Column::text("name"),
            Column::text("value"),
        ],
        sort: &[Order::Up("section"), Order::Up("name")],
        count: None,
    };
    let mut rows = answer::rows(data);
    for row in &mut rows {
        let name = plain(&row["name"]);
        if request::is_secret(&name) || name.ends_with("key") {
            row["value"] = text::MASK.into();
        }
    }
    OPTIONS.answer(rows, args, &[])
}

const KIND: Param = Param::required(
    "kind",
    Kind::Choice(&["osd", "mon", "mgr", "mds", "pool", "fs", "rules"]),
    "",
);
const ONE: Param = Param::by_request(
    "name",
    Kind::Format(&format::CEPH_NAME),
    "Shows only this pool, or the OSD of this number.",
);

macro_rules! daemons {
    ($name:literal, $one:literal, $many:literal $(, $column:expr)*) => {
        Show::Table(&Table {
            name: $name,
            noun: [$one, $many],
            columns: &[
                Column::text("name"),
                Column::text("host"),
                Column::text("state"),
                $($column,)*
                Column::text("addr"),
                Column::text("ceph_version_short"),
            ],
            sort: &[Order::Up("name")],
            count: Some("state"),
        })
    };
}

pub(super) static LIST: Tool = Tool {
    title: "List Ceph objects",
    summary: "Lists OSDs, monitors, managers, metadata servers, pools, file systems or CRUSH rules of Ceph, or one OSD or pool.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &KIND],
    call: Call::Choice(&Choice {
        by: &[&KIND],
        place: Place::Only(OF_NODE),
        does: "",
        rows: &[
            get("osd", "/osd", &[&LIMIT, &OFFSET], Show::Made(osds)),
            get(
                "osd",
                "/osd/{name}/metadata",
                &[&ONE.local()],
                Show::Made(osd),
            )
            .needs(needs::ALL_NODES),
            get(
                "mon",
                "/mon",
                &[&LIMIT, &OFFSET],
                daemons!("monitors", "monitor", "monitors", Column::flag("quorum")),
            ),
            get(
                "mgr",
                "/mgr",
                &[&LIMIT, &OFFSET],
                daemons!("managers", "manager", "managers"),
            ),
            get(
                "mds",
                "/mds",
                &[&LIMIT, &OFFSET],
                daemons!(
                    "metadata_servers",
                    "metadata server",
                    "metadata servers",
                    Column::text("fs_name"),
                    Column::number("rank")
                ),
            ),
            get("pool", "/pool", &[&LIMIT, &OFFSET], Show::Made(pools)),
            get(
                "pool",
                "/pool/{name}/status",
                &[&ONE.local()],
                Show::Fields(&Fields {
                    heading: "Ceph pool {name}",
                    columns: &[
                        Column::text("application"),
                        Column::number("size"),
                        Column::number("min_size"),
                        Column::number("pg_num"),
                        Column::text("pg_autoscale_mode"),
                        Column::text("crush_rule"),
                    ],
                    hidden: &[],
                }),
            ),
            get(
                "fs",
                "/fs",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "file_systems",
                    noun: ["file system", "file systems"],
                    columns: &[
                        Column::text("name"),
                        Column::text("metadata_pool"),
                        Column::text("data_pool"),
                    ],
                    sort: &[Order::Up("name")],
                    count: None,
                }),
            ),
            get(
                "rules",
                "/rules",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "rules",
                    noun: ["CRUSH rule", "CRUSH rules"],
                    columns: &[Column::text("name")],
                    sort: &[Order::Up("name")],
                    count: None,
                }),
            ),
        ],
    }),
};

/// The OSDs of the tree below `branch`, each with its host.
fn leaves(branch: &mut Value, host: &str, found: &mut Vec<Value>) {
    let own = match branch["type"] == "host" {
        true => plain(&branch["name"]),
        false => host.to_owned(),
    };
    for mut child in answer::rows(answer::take(branch, "children")) {
        leaves(&mut child, &own, found);
    }
    if branch["type"] == "osd" {
        branch["host"] = own.into();
        found.push(branch.take());
    }
}

/// The OSDs, out of the CRUSH tree in which Proxmox lists them.
fn flat(mut tree: Value) -> Vec<Value> {
    let mut found = Vec::new();
    let mut root = answer::take(&mut tree, "root");
    if root.is_object() {
        leaves(&mut root, "", &mut found);
    }
    found
}

fn osds(args: &Args, tree: Value, _: &Value) -> Answer {
    static OSDS: Table = Table {
        name: "osds",
        noun: ["OSD", "OSDs"],
        columns: &[
            Column::number("id"),
            Column::text("host"),
            Column::text("status"),
            Column::flag("in"),
            Column::text("device_class"),
            Column::bytes("total_space"),
            Column::number("percent_used").worded("{}%"),
            Column::number("pgs"),
            Column::number("reweight"),
            Column::number("commit_latency_ms").worded("{} ms"),
        ],
        sort: &[Order::Up("id")],
        count: Some("status"),
    };
    let flags = plain(&tree["flags"]);
    let note = (!flags.is_empty()).then(|| format!("flags: {flags}"));
    OSDS.answer(flat(tree), args, &note.into_iter().collect::<Vec<_>>())
}

fn osd(args: &Args, mut metadata: Value, _: &Value) -> Answer {
    static OSD: Fields = Fields {
        heading: "OSD {name}",
        columns: &[
            Column::text("hostname"),
            Column::text("version"),
            Column::text("osd_objectstore"),
            Column::flag("encrypted"),
            Column::bytes("mem_usage"),
        ],
        hidden: &[],
    };
    let devices = answer::rows(answer::take(&mut metadata, "devices"));
    let answer = OSD.answer(answer::take(&mut metadata, "osd"), args, &[]);
    let line = |device: &Value| {
        format!(
            "{}: {} on {}, {} {}",
            plain(&device["device"]),
            plain(&device["dev_node"]),
            plain(&device["physical_device"]),
            text::bytes(number(&device["size"]).unwrap_or_default()),
            plain(&device["type"])
        )
    };
    let answer = devices
        .iter()
        .fold(answer, |answer, device| answer.line(line(device)));
    answer.with("devices", devices)
}

fn pools(args: &Args, data: Value, _: &Value) -> Answer {
    static POOLS: Table = Table {
        name: "pools",
        noun: ["pool", "pools"],
        columns: &[
            Column::text("pool_name"),
            Column::text("type"),
            Column::text("applications"),
            Column::number("size"),
            Column::number("min_size"),
            Column::number("pg_num"),
            Column::text("pg_autoscale_mode"),
            Column::text("crush_rule_name"),
            Column::bytes("bytes_used"),
            Column::share("percent_used"),
        ],
        sort: &[Order::Up("pool_name")],
        count: None,
    };
    let mut rows = answer::rows(data);
    for row in &mut rows {
        let uses = row["application_metadata"].as_object().cloned();
        let uses = uses.into_iter().flatten();
        row["applications"] = uses.map(|(name, _)| Value::from(name)).collect();
    }
    POOLS.answer(rows, args, &[])
}

const POOL_ACTION: Param =
    Param::required("action", Kind::Choice(&["create", "update", "destroy"]), "");
const NAME: Param = Param::required("name", Kind::Format(&format::CEPH_NAME), "");
const SIZE: Param = Param::optional("size", Kind::Integer(1, 7), "Copies.");
const MIN_SIZE: Param = Param::optional("min_size", Kind::Integer(1, 7), "Copies that I/O needs.");
const PG_NUM: Param = Param::optional("pg_num", Kind::Integer(1, 32_768), "");
const AUTOSCALE: Param = Param::optional(
    "pg_autoscale_mode",
    Kind::Choice(&["on", "off", "warn"]),
    "",
);
const APPLICATION: Param =
    Param::optional("application", Kind::Choice(&["rbd", "cephfs", "rgw"]), "");
const CRUSH_RULE: Param = Param::optional("crush_rule", Kind::Text(1, 255), "");
/// What a new pool is made of, and what can be changed later.
const OF_POOL: &[&Param] = &[
    &SIZE,
    &MIN_SIZE,
    &PG_NUM,
    &AUTOSCALE,
    &APPLICATION,
    &CRUSH_RULE,
    &Param::optional("pg_num_min", Kind::Integer(1, 32_768), "").rare(),
    &Param::optional("target_size", Kind::Text(1, 20), "Such as 2T.").rare(),
    &Param::optional("target_size_ratio", Kind::Number(0.0, 1e9), "").rare(),
];
const ERASURE_CODING: Param =
    Param::optional("erasure_coding", Kind::Text(3, 200), "Such as k=2,m=1.")
        .sent_as("erasure-coding")
        .rare();
const REMOVE_PROFILE: Param = Param::optional(
    "remove_ecprofile",
    Kind::Flag,
    "Its erasure coding profile; default true.",
)
.rare();
const ADD_STORAGES: Param =
    Param::optional("add_storages", Kind::Flag, "Add a storage for guests.");
const REMOVE_STORAGES: Param =
    Param::optional("remove_storages", Kind::Flag, "Its storages as well.");
const FORCE: Param = Param::optional("force", Kind::Flag, "Even with disks of guests in it.");

pub(super) static MANAGE_POOL: Tool = Tool {
    title: "Manage Ceph pool",
    summary: "Creates, changes or destroys a Ceph pool.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &POOL_ACTION, &NAME],
    call: Call::Choice(&Choice {
        by: &[&POOL_ACTION],
        place: Place::Only(OF_NODE),
        does: "{action} Ceph pool {name}",
        rows: &[
            post(
                "create",
                "/pool",
                takes![
                    &[&NAME],
                    OF_POOL,
                    &[&ADD_STORAGES, &ERASURE_CODING, &WAIT, &WAIT_TIMEOUT]
                ],
            )
            .judged(reshaped)
            .touches(Touches::NoGuest)
            .needs(&[
                "/:Sys.Modify",
                "/storage:Datastore.Allocate if add_storages",
            ])
            .starts_task(),
            put(
                "update",
                "/pool/{name}",
                takes![OF_POOL, &[&WAIT, &WAIT_TIMEOUT]],
            )
            .judged(reshaped)
            .reads(First::Other("/pool/{name}/status"))
            .starts_task(),
            delete(
                "destroy",
                "/pool/{name}",
                &[
                    &FORCE,
                    &REMOVE_STORAGES,
                    &REMOVE_PROFILE,
                    &WAIT,
                    &WAIT_TIMEOUT,
                ],
            )
            .destroys("All data in it is lost for good, disks of guests included.")
            .reads(First::Other("/pool/{name}/status"))
            .also_reads(&[STORAGES, VOLUMES])
            .checks(uses_of_pool)
            .needs(&[
                "/:Sys.Modify",
                "/storage:Datastore.Allocate if remove_storages",
            ])
            .starts_task(),
        ],
    }),
};

/// What a pool risks by what is sent, given how it was.
fn reshaped(request: &Request, was: &Value) -> Option<Loss> {
    let sent = |name: &str| {
        let mut form = request.form.iter();
        form.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let count = |name: &str| sent(name).and_then(|value| value.parse::<u64>().ok());
    let changes =
        |name: &str| !was.is_null() && sent(name).is_some_and(|value| value != plain(&was[name]));
    let mut risks = Vec::new();
    if count("size").is_some_and(|copies| copies < 2) {
        risks.push("With a single copy, a disk that fails takes data with it for good.");
    }
    if count("min_size").is_some_and(|copies| copies < 2) {
        risks.push("With min_size 1 what is written to a single copy is lost if its disk fails.");
    }
    let needed = |value: &Value| number(value).map(|copies| copies as u64);
    if changes("min_size") && count("min_size") > needed(&was["min_size"]) {
        risks.push("Where fewer copies than min_size are at hand, I/O of guests stops.");
    }
    if ["size", "pg_num", "crush_rule"].into_iter().any(changes) {
        risks.push("Ceph moves data to follow it, which slows guests down.");
    }
    (!risks.is_empty()).then(|| Loss::interrupts(risks.join(" ")))
}

fn uses_of_pool(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    // `rbd` is the pool of a storage that names none.
    let is_on = |storage: &Value| {
        let pool = storage["pool"].as_str().unwrap_or("rbd");
        let data_pool = storage["data-pool"].as_str().unwrap_or_default();
        // That of another cluster has its own monitors.
        storage["type"] == "rbd"
            && storage["monhost"].is_null()
            && [pool, data_pool].contains(&&args[&NAME])
    };
    dependents(client, &args[&NODE], is_on)
}

const DAEMON: Param = Param::required("kind", Kind::Choice(&["mon", "mgr", "mds", "osd"]), "");
const DAEMON_ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["create", "destroy", "in", "out", "scrub"]),
    "OSDs: in, out, scrub.",
);
const ID: Param = Param::required(
    "id",
    Kind::Format(&format::CEPH_DAEMON),
    "Usually the node's name; of an OSD its number.",
);
const MON_ADDRESS: Param = Param::optional("mon_address", Kind::List, "IP addresses.")
    .joined()
    .sent_as("mon-address");
const HOTSTANDBY: Param = Param::optional("hotstandby", Kind::Flag, "");
const DEEP: Param = Param::optional("deep", Kind::Flag, "Reads all data.");

pub(super) static MANAGE_DAEMON: Tool = Tool {
    title: "Manage Ceph daemon",
    summary: "Creates or destroys a Ceph monitor, manager or metadata server; takes an OSD in or out, or scrubs it. proxmox_manage_ceph_osd creates and destroys OSDs.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &DAEMON, &DAEMON_ACTION, &ID],
    call: Call::Choice(&Choice {
        by: &[&DAEMON, &DAEMON_ACTION],
        place: Place::Only(OF_NODE),
        does: "{action} {kind}.{id} on {place}",
        rows: &[
            post("mon create", "/mon/{id}", &[&MON_ADDRESS, &WAIT, &WAIT_TIMEOUT])
                .harmless()
                .touches(Touches::NoGuest)
                .starts_task(),
            delete("mon destroy", "/mon/{id}", &[&WAIT, &WAIT_TIMEOUT])
                .interrupts("Without a majority of monitors all of Ceph stops, and guests with it.")
                .reads_entry("/mon", "name", &ID)
                .also_reads(&[SAFETY])
                .checks(may_go)
                .starts_task(),
            post("mgr create", "/mgr/{id}", &[&WAIT, &WAIT_TIMEOUT])
                .harmless()
                .touches(Touches::NoGuest)
                .starts_task(),
            delete("mgr destroy", "/mgr/{id}", &[&WAIT, &WAIT_TIMEOUT])
                .interrupts("Without a manager Ceph neither reports its state nor balances.")
                .reads_entry("/mgr", "name", &ID)
                .checks(other_managers)
                .starts_task(),
            post("mds create", "/mds/{id}", &[&HOTSTANDBY, &WAIT, &WAIT_TIMEOUT])
                .harmless()
                .touches(Touches::NoGuest)
                .starts_task(),
            delete("mds destroy", "/mds/{id}", &[&WAIT, &WAIT_TIMEOUT])
                .interrupts("Its file system stops unless another takes over.")
                .reads_entry("/mds", "name", &ID)
                .also_reads(&[SAFETY])
                .checks(may_go)
                .starts_task(),
            post("osd in", "/osd/{id}/in", &[])
                .interrupts("Ceph moves data to it, which slows guests down.")
                .does("take osd.{id} in")
                .also_reads(&[OSDS])
                .checks(state_of_osd),
            post("osd out", "/osd/{id}/out", &[])
                .interrupts("Ceph moves its data to other OSDs, which slows guests down and needs space there.")
                .does("take osd.{id} out")
                .also_reads(&[OSDS])
                .checks(state_of_osd),
            post("osd scrub", "/osd/{id}/scrub", &[&DEEP])
                .harmless()
                .touches(Touches::NoGuest)
                .does("scrub osd.{id}")
                .also_reads(&[OSDS])
                .checks(state_of_osd)
                .says("requested", |_, _| Vec::new()),
        ],
    }),
};

const SAFETY: Step = Step::read("/nodes/{node}/ceph/cmd-safety", needs::ALL_NODES);
const OSDS: Step = Step::read("/nodes/{node}/ceph/osd", AUDIT);

/// What Ceph says about stopping or destroying a daemon. It decides nothing: Ceph knows its daemons, not why
/// one has to go.
fn safety(
    client: &Reader,
    args: &Args,
    action: &str,
    kind: &str,
    id: &str,
) -> Result<String, Error> {
    let request = args
        .request(Get, "/nodes/{node}/ceph/cmd-safety")
        .with("action", action)
        .with("id", id)
        .with("service", kind);
    let safety = match client.send(&request) {
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            return Ok(format!(
                "Whether it is safe to {action} {kind}.{id} is unknown: {}.",
                error.brief()
            ));
        }
        Ok(safety) => safety,
    };
    let is_safe = number(&safety["safe"]).is_some_and(|safe| safe != 0.0);
    let says = plain(&safety["status"]);
    Ok(format!(
        "Ceph says that it is {} to {action} {kind}.{id}{}",
        if is_safe { "safe" } else { "NOT safe" },
        match says.is_empty() {
            true => ".".to_owned(),
            false => format!(": {}", text::cut(&says, 1_000)),
        }
    ))
}

fn may_go(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    is_at_home(args, was)?;
    let line = safety(client, args, "destroy", &args[&DAEMON], &args[&ID])?;
    Ok(vec![line])
}

/// Proxmox destroys a daemon on the node that it asks, and leaves one of another node half destroyed.
fn is_at_home(args: &Args, daemon: &Value) -> Result<(), Error> {
    let host = plain(&daemon["host"]);
    match host.is_empty() || host == args[&NODE] {
        true => Ok(()),
        false => Err(Error::impossible(
            format!(
                "{}.{} is on node {host}, nothing was done",
                &args[&DAEMON], &args[&ID]
            ),
            format!("Call again with node={host}."),
        )),
    }
}

/// Ceph has no answer for managers.
fn other_managers(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    is_at_home(args, was)?;
    let managers = answer::rows(client.send(&args.request(Get, "/nodes/{node}/ceph/mgr"))?);
    let others: Vec<String> = managers
        .iter()
        .filter(|manager| plain(&manager["name"]) != args[&ID])
        .map(|manager| format!("{} ({})", plain(&manager["name"]), plain(&manager["state"])))
        .collect();
    Ok(vec![match others.is_empty() {
        true => "It is the only manager.".to_owned(),
        false => format!("Other managers: {}.", others.join(", ")),
    }])
}

/// Ceph answers null for OSDs that it does not have.
fn state_of_osd(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let osds = flat(client.send(&args.request(Get, "/nodes/{node}/ceph/osd"))?);
    let mut ids: Vec<u64> = osds.iter().filter_map(|osd| osd["id"].as_u64()).collect();
    sort(&mut ids);
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    let wanted = &args[&ID];
    let Some(osd) = osds.iter().find(|osd| plain(&osd["id"]) == wanted) else {
        return Err(Error::impossible(
            format!("there is no OSD {wanted}, nothing was done"),
            text::cut(&format!("There are: {}", ids.join(", ")), 1_000),
        ));
    };
    let is_in = number(&osd["in"]).is_some_and(|weight| weight > 0.0);
    Ok(vec![format!(
        "osd.{wanted} of {} is {} and {}, {}% used.",
        plain(&osd["host"]),
        plain(&osd["status"]),
        if is_in { "in" } else { "out" },
        number(&osd["percent_used"]).unwrap_or_default().round()
    )])
}

const FS_ACTION: Param = Param::required("action", Kind::Choice(&["create", "destroy"]), "")
    .values_known_to(&[("destroy", Versions::since(9))]);
const FS_PGS: Param = Param::optional("pg_num", Kind::Integer(8, 32_768), "");
const ADD_STORAGE: Param =
    Param::optional("add_storage", Kind::Flag, "Add it as storage.").sent_as("add-storage");
const REMOVE_POOLS: Param =
    Param::optional("remove_pools", Kind::Flag, "Its pools as well.").sent_as("remove-pools");
const FS_STORAGES: Param = REMOVE_STORAGES.sent_as("remove-storages");

pub(super) static MANAGE_FS: Tool = Tool {
    title: "Manage Ceph file system",
    summary: "Creates or destroys a CephFS. It needs a metadata server to be used.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &FS_ACTION, &NAME],
    call: Call::Choice(&Choice {
        by: &[&FS_ACTION],
        place: Place::Only(OF_NODE),
        does: "{action} CephFS {name}",
        rows: &[
            post(
                "create",
                "/fs/{name}",
                &[&FS_PGS, &ADD_STORAGE, &WAIT, &WAIT_TIMEOUT],
            )
            .harmless()
            .touches(Touches::NoGuest)
            .needs(&["/:Sys.Modify", "/storage:Datastore.Allocate if add-storage"])
            .starts_task(),
            delete(
                "destroy",
                "/fs/{name}",
                &[&REMOVE_POOLS, &FS_STORAGES, &WAIT, &WAIT_TIMEOUT],
            )
            .destroys("All files in it are lost for good.")
            .known_to(Versions::since(9))
            .reads_entry("/fs", "name", &NAME)
            .also_reads(&[STORAGES, VOLUMES])
            .checks(uses_of_fs)
            .needs(&[
                "/:Sys.Modify",
                "/storage:Datastore.Allocate if remove-storages",
            ])
            .starts_task(),
        ],
    }),
};

fn uses_of_fs(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    // One that names none has the only one, or that of Ceph's choice.
    let is_on = |storage: &Value| {
        let name = storage["fs-name"].as_str();
        storage["type"] == "cephfs"
            && storage["monhost"].is_null()
            && name.is_none_or(|name| *name == args[&NAME])
    };
    dependents(client, &args[&NODE], is_on)
}

const CONTROL_ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["start", "stop", "restart", "set_flags"]),
    "",
);
const OF_SERVICES: Param =
    Param::by_request("node", Kind::Format(&format::NODE), "Of the services.");
const SERVICE: Param = Param::optional(
    "service",
    Kind::Format(&format::CEPH_SERVICE),
    "Such as osd.3, or osd for all of the node. Default: all of Ceph there.",
);

/// Declares the flags of the cluster, each with what setting it means, if that is worth a question.
macro_rules! flags {
    ($($constant:ident $name:literal => $means:literal,)+) => {
        $(const $constant: Param = Param::optional($name, Kind::Flag, "");)+
        const FLAGS: &[&Param] = &[$(&$constant,)+ &WAIT, &WAIT_TIMEOUT];
        const MEANINGS: &[(&str, &str)] = &[$(($name, $means),)+];
        const SET: &str = concat!("set flags of Ceph:", $("[ ", $name, "={", $name, "}]",)+);
    };
}

flags! {
    NOBACKFILL "nobackfill" => "Data is not moved to OSDs that come or go.",
    NODEEP_SCRUB "nodeep-scrub" => "",
    NODOWN "nodown" => "OSDs that fail are not marked down, so I/O that needs them hangs.",
    NOIN "noin" => "OSDs that start are not taken in.",
    NOOUT "noout" => "Data of OSDs that stay down is not copied elsewhere: copies stay missing.",
    NOREBALANCE "norebalance" => "Data is not evened out between OSDs.",
    NORECOVER "norecover" => "Missing copies are not replaced.",
    NOSCRUB "noscrub" => "",
    NOTIERAGENT "notieragent" => "",
    NOUP "noup" => "OSDs that start are not used.",
    PAUSE "pause" => "All reads and writes stop: every guest with a disk on Ceph hangs.",
}

pub(super) static CONTROL: Tool = Tool {
    title: "Control Ceph",
    summary: "Starts, stops or restarts Ceph services of a node, or sets and clears flags of the cluster.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&CONTROL_ACTION, &OF_SERVICES],
    call: Call::Choice(&Choice {
        by: &[&CONTROL_ACTION],
        place: Place::Only(CLUSTER),
        does: "{action} Ceph[ service {service}] on node {node}",
        rows: &[
            post(
                "start",
                "/nodes/{node}/ceph/start",
                &[&SERVICE, &WAIT, &WAIT_TIMEOUT],
            )
            .harmless()
            .touches(Touches::NoGuest)
            .starts_task(),
            post(
                "stop",
                "/nodes/{node}/ceph/stop",
                &[&SERVICE, &WAIT, &WAIT_TIMEOUT],
            )
            .interrupts(STOPPED)
            .also_reads(&[SAFETY])
            .checks(may_stop)
            .starts_task(),
            post(
                "restart",
                "/nodes/{node}/ceph/restart",
                &[&SERVICE, &WAIT, &WAIT_TIMEOUT],
            )
            .interrupts(STOPPED)
            .also_reads(&[SAFETY])
            .checks(may_stop)
            .starts_task(),
            put("set_flags", "/cluster/ceph/flags", FLAGS)
                .judged(flagged)
                .does(SET)
                .reads(First::Nothing)
                .also_reads(&[Step::read("/cluster/ceph/flags", needs::ALL_NODES)])
                .checks(flags_before)
                .starts_task(),
        ],
    }),
};

const STOPPED: &str = "Guests hang where too few copies of their data, or monitors, are left.";

fn may_stop(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let service = args.get(&SERVICE).unwrap_or("ceph");
    Ok(vec![match service.split_once('.') {
        // Ceph has no answer for managers.
        Some(("mgr", _)) => return Ok(Vec::new()),
        Some((kind, id)) => safety(client, args, "stop", kind, id)?,
        None => "Ceph says of one service at a time whether it is safe to stop, not of several."
            .to_owned(),
    }])
}

/// What the flags that are set mean; clearing them lets Ceph do its work again.
fn flagged(request: &Request, _: &Value) -> Option<Loss> {
    let is_set = |name: &str| request.form.iter().any(|pair| pair == (name, "1"));
    let means = MEANINGS
        .iter()
        .filter(|(name, means)| !means.is_empty() && is_set(name));
    let means: Vec<String> = means
        .map(|(name, means)| format!("{name}: {means}"))
        .collect();
    (!means.is_empty()).then(|| Loss::interrupts(means.join(" ")))
}

fn flags_before(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let flags = || FLAGS.iter().filter(|flag| flag.wire_name().is_some());
    args.require_any(flags()).map_err(Error::arguments)?;
    let known = answer::rows(client.get("/cluster/ceph/flags")?);
    let shown = |is_set: bool| if is_set { "on" } else { "off" };
    let changes = flags().filter(|flag| args.get(flag).is_some()).map(|flag| {
        let mut known = known.iter();
        let before = known.find(|known| known["name"] == flag.name);
        let before = before.and_then(|known| number(&known["value"]));
        format!(
            "{}: {} -> {}",
            flag.name,
            shown(before.is_some_and(|value| value != 0.0)),
            shown(args.flag(flag))
        )
    });
    Ok(changes.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Method::{Post, Put};

    #[test]
    fn a_pool_that_risks_data_or_moves_it_is_asked_about() {
        let was = json!({ "size": 3, "min_size": 2, "pg_num": 32, "crush_rule": "all" });
        let asks = |form: &[(&str, &str)], was: &Value| {
            let request = form
                .iter()
                .fold(Request::new(Put, "/p"), |request, (name, value)| {
                    request.with(*name, *value)
                });
            reshaped(&request, was).map(|loss| loss.sentence)
        };
        for (form, asked) in [
            (&[("size", "3"), ("min_size", "2")][..], None),
            (&[("pg_autoscale_mode", "on")], None),
            (&[("size", "1")], Some("With a single copy")),
            (&[("min_size", "1")], Some("With min_size 1")),
            (&[("min_size", "3")], Some("Where fewer copies")),
            (&[("size", "4")], Some("Ceph moves data")),
            (&[("pg_num", "64")], Some("Ceph moves data")),
            (&[("crush_rule", "ssd")], Some("Ceph moves data")),
        ] {
            let sentence = asks(form, &was);
            let asks_it = asked.is_none_or(|asked| {
                sentence
                    .as_deref()
                    .is_some_and(|said| said.starts_with(asked))
            });
            assert!(
                asks_it && sentence.is_some() == asked.is_some(),
                "{form:?}: {sentence:?}"
            );
        }
        // Of a new pool there is nothing to move.
        assert_eq!(asks(&[("size", "3"), ("pg_num", "64")], &Value::Null), None);
        assert!(asks(&[("size", "1")], &Value::Null).is_some());
    }

    #[test]
    fn a_flag_that_is_cleared_or_only_spares_work_is_not_asked_about() {
        let asks = |name: &str, value: &str| {
            let request = Request::new(Post, "/f").with(name, value);
            flagged(&request, &Value::Null).is_some()
        };
        for name in ["pause", "nodown", "noout", "norecover"] {
            assert!(asks(name, "1") && !asks(name, "0"), "{name}");
        }
        assert!(!asks("noscrub", "1") && !asks("nodeep-scrub", "1"));
    }

    #[test]
    fn an_osd_is_found_however_deep_it_is() {
        let osd = |id: u64| json!({ "id": id, "type": "osd", "name": format!("osd.{id}") });
        let host =
            |name: &str, osds: Value| json!({ "type": "host", "name": name, "children": osds });
        let rack = json!({ "type": "rack", "children": [host("b", json!([osd(2)])), osd(3)] });
        let tree = json!({ "root": { "children": [
            { "type": "root", "children": [host("a", json!([osd(1)])), rack] },
        ] } });
        let found = flat(tree);
        let found: Vec<(u64, &str)> = found
            .iter()
            .filter_map(|osd| Some((osd["id"].as_u64()?, osd["host"].as_str()?)))
            .collect();
        assert_eq!(found, [(1, "a"), (2, "b"), (3, "")]);
        for nothing in [Value::Null, json!([]), json!({ "root": null })] {
            assert_eq!(flat(nothing), Vec::<Value>::new());
        }
    }
}
