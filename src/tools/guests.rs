//! Guests and storages: lists, status, configuration.

use serde_json::{Map, Value, json};

use super::common::{Guest, resources};
use super::config::{DEFAULT, REMOVED, Settings, readable};
use super::guest::{NODE, TYPE, VMID};
use crate::answer::{
    self, Answer, Column, Fields, Keyed, LIMIT, OFFSET, Table, compare, number, plain, tally,
};
use crate::cluster::guests;
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::reader::unread;
use crate::request::Method::Get;
use crate::row::{Step, needs};
use crate::safety::Client;
use crate::text;
use crate::text::format::{self, Format};
use crate::text::json::Unread;
use crate::text::rows::Row;
use crate::text::sort::{sort_by, sort_by_key};
use crate::tool::{Call, Effect, Permission, Tool};

const OF_NAME: Param = Param::optional("name", Kind::Text(1, 128), "Part of the name.");
const OF_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");
const OF_TYPE: Param = Param::optional("type", Kind::Choice(&["qemu", "lxc"]), "");
const OF_STATUS: Param = Param::optional("status", Kind::Choice(&["running", "stopped"]), "");
const OF_POOL: Param = Param::optional("pool", Kind::Format(&format::POOL), "");
const OF_TAG: Param = Param::optional("tag", Kind::Text(1, 128), "");
const TEMPLATE: Param = Param::optional("template", Kind::Flag, "");
const SORT: Param = Param::optional(
    "sort",
    Kind::Format(&SORT_KEY),
    "Column; with - descending, such as -mem.",
)
.default("vmid");
const FIELDS: Param = Param::optional("fields", Kind::List, "Only these columns.");

static SORT_KEY: Format = Format {
    form: "vmid, name, node, status, cpu, mem, disk, uptime or tags, with - before it for descending order",
    parse: |text| {
        let key = text.strip_prefix('-').unwrap_or(text);
        let keys = [
            "vmid", "name", "node", "status", "cpu", "mem", "disk", "uptime", "tags",
        ];
        keys.contains(&key).then(|| text.to_owned())
    },
};

pub(super) static LIST: Tool = Tool {
    title: "List guests",
    summary: "Lists VMs (qemu) and containers (lxc) of the whole cluster with VMID, node, state and load.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[
        &OF_NAME, &OF_NODE, &OF_TYPE, &OF_STATUS, &OF_POOL, &OF_TAG, &TEMPLATE, &SORT, &FIELDS,
        &LIMIT, &OFFSET,
    ],
    call: Call::Steps(
        &[Step::read("/cluster/resources", &[]).also(needs::AUDIT)],
        list,
    ),
};

fn list(client: &Client, args: &Args) -> Result<Answer, Error> {
    static GUESTS: Table = Table {
        name: "guests",
        noun: ["guest", "guests"],
        columns: &[
            Column::number("vmid"),
            Column::text("name"),
            Column::text("type"),
            Column::text("node"),
            Column::text("status"),
            Column::share_of_cpus("cpu", "maxcpu").unless(is_stopped),
            Column::used_of("mem", "maxmem").unless(is_stopped),
            Column::used_of("disk", "maxdisk").unless(is_unknown_disk),
            Column::duration("uptime").unless(is_stopped),
            Column::text("tags"),
            Column::text("pool"),
            Column::text("lock"),
            Column::text("hastate"),
            Column::flag("template").unless(is_zero),
        ],
        sort: &[],
        count: None,
    };
    let kept = keys_of(args.list(&FIELDS), GUESTS.columns)?;
    let all = guests::list(client)?;
    let by = &args[&SORT];
    let sorts = by.strip_prefix('-').unwrap_or(by);
    let mut keys = vec!["vmid", "status", "node", sorts, most(sorts)];
    keys.extend(
        FILTERS
            .iter()
            .filter(|(param, _)| args.get(param).is_some())
            .map(|(_, key)| key),
    );
    let mut guests = all.by(&keys).map_err(too_many)?;
    retain_wanted(&mut guests, args);
    sort(&mut guests, by);
    let counts = match guests.len() {
        0 | 1 => String::new(),
        _ => format!(
            "{}; {}",
            tally(&guests, "status", ""),
            tally(&guests, "node", "on ")
        ),
    };
    let read = |guest: &Row| {
        let mut guest = all.whole(guest).map_err(too_many)?;
        if let Some(guest) = guest.as_object_mut().filter(|_| !kept.is_empty()) {
            guest.retain(|key, _| kept.contains(&&**key));
        }
        Ok(guest)
    };
    let none = guests.is_empty().then(|| {
        "Guests for which the token lacks VM.Audit are silently omitted by Proxmox.".to_owned()
    });
    GUESTS.read(&guests, read, args, &counts, none.as_slice())
}

fn too_many(why: Unread) -> Error {
    unread("the list of guests", &why)
}

/// Returns true if a guest is stopped, and its load therefore meaningless.
fn is_stopped(guest: &Value, _: &str) -> bool {
    guest["status"] == "stopped"
}

/// Returns true if the disk usage of a guest is unknown: Proxmox does not know that of a VM, and sends 0.
fn is_unknown_disk(guest: &Value, disk: &str) -> bool {
    is_stopped(guest, disk) || (guest["type"] != "lxc" && is_zero(guest, disk))
}

pub(super) fn is_zero(object: &Value, key: &str) -> bool {
    number(&object[key]) == Some(0.0)
}

/// Returns the keys of the columns named in `fields`.
fn keys_of(fields: &[String], columns: &'static [Column]) -> Result<Vec<&'static str>, Error> {
    let names = || columns.iter().flat_map(Column::keys);
    let unknown = fields
        .iter()
        .find(|field| !names().any(|name| name == **field));
    if let Some(unknown) = unknown {
        return Err(Error::arguments(vec![format!(
            "fields: {} is not a column; known: {}",
            text::cut(&text::inline(unknown), 40),
            names().collect::<Vec<_>>().join(", ")
        )]));
    }
    let is_wanted = |column: &&Column| {
        let mut keys = column.keys();
        keys.any(|key| fields.iter().any(|field| field == key))
    };
    let wanted = columns.iter().filter(is_wanted);
    Ok(wanted.flat_map(Column::keys).collect())
}

/// The parameters that filter guests, each with the key that it filters by; the first ones match the whole value.
static FILTERS: &[(Param, &str)] = &[
    (OF_NODE, "node"),
    (OF_TYPE, "type"),
    (OF_STATUS, "status"),
    (OF_POOL, "pool"),
    (OF_NAME, "name"),
    (TEMPLATE, "template"),
    (OF_TAG, "tags"),
];

/// Keeps the guests that match every filter in `args`.
fn retain_wanted<R: Keyed>(guests: &mut Vec<R>, args: &Args) {
    for (param, key) in &FILTERS[..4] {
        if let Some(wanted) = args.get(param) {
            guests.retain(|guest| guest[*key] == wanted);
        }
    }
    if let Some(wanted) = args.get(&OF_NAME).map(str::to_lowercase) {
        guests.retain(|guest| plain(&guest["name"]).to_lowercase().contains(&wanted));
    }
    if args.get(&TEMPLATE).is_some() {
        let wanted = args.flag(&TEMPLATE);
        guests.retain(|guest| (number(&guest["template"]) == Some(1.0)) == wanted);
    }
    if let Some(wanted) = args.get(&OF_TAG) {
        guests.retain(|guest| {
            let tags = guest["tags"].as_str().unwrap_or_default();
            tags.split([';', ',', ' '])
                .any(|tag| tag.eq_ignore_ascii_case(wanted))
        });
    }
}

/// Sorts by a key, or descending if it is preceded by `-`. Guests without a value are then last, sorted by their
/// total; equal guests are sorted by VMID.
fn sort<R: Keyed>(guests: &mut [R], by: &str) {
    sort_by(guests, |a, b| compare(&a["vmid"], &b["vmid"]));
    let (key, descends) = match by.strip_prefix('-') {
        Some(key) => (key, true),
        None => (by, false),
    };
    let most = most(key);
    sort_by(guests, |a, b| {
        let order = compare(&a[key], &b[key]).then_with(|| compare(&a[most], &b[most]));
        if descends { order.reverse() } else { order }
    });
}

/// Returns the key of the total that belongs to `key`.
fn most(key: &str) -> &str {
    match key {
        "mem" => "maxmem",
        "disk" => "maxdisk",
        _ => key,
    }
}

pub(super) static STATUS: Tool = Tool {
    title: "Guest status",
    summary: "Shows the current state and load of one VM or container.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &TYPE],
    call: Call::Steps(
        &[Step::read(
            "/nodes/{node}/{type}/{vmid}/status/current",
            needs::AUDIT,
        )],
        status,
    ),
};

fn status(client: &Client, args: &Args) -> Result<Answer, Error> {
    static FIELDS: Fields = Fields {
        heading: "{type} {vmid} on {node}",
        columns: &[
            Column::text("name"),
            Column::text("status"),
            Column::text("qmpstatus"),
            Column::text("lock"),
            Column::duration("uptime").unless(is_stopped),
            Column::share_of_cpus("cpu", "cpus").unless(is_stopped),
            Column::used_of("mem", "maxmem").unless(is_stopped),
            Column::bytes("freemem"),
            // The memory that the balloon leaves to the guest, not what it takes.
            Column::bytes("balloon").worded("the guest has {}"),
            Column::bytes("balloon_min").worded("the guest keeps {}"),
            Column::bytes("memhost").unless(is_stopped),
            Column::used_of("swap", "maxswap").unless(is_stopped),
            Column::used_of("disk", "maxdisk").unless(is_unknown_disk),
            Column::bytes("diskread")
                .worded(SINCE_START)
                .unless(is_stopped),
            Column::bytes("diskwrite")
                .worded(SINCE_START)
                .unless(is_stopped),
            Column::bytes("netin")
                .worded("{} received since its start")
                .unless(is_stopped),
            Column::bytes("netout")
                .worded("{} sent since its start")
                .unless(is_stopped),
            Column::number("pressurecpusome")
                .worded(STALLED)
                .unless(is_zero),
            Column::number("pressurecpufull")
                .worded(STALLED)
                .unless(is_zero),
            Column::number("pressureiosome")
                .worded(STALLED)
                .unless(is_zero),
            Column::number("pressureiofull")
                .worded(STALLED)
                .unless(is_zero),
            Column::number("pressurememorysome")
                .worded(STALLED)
                .unless(is_zero),
            Column::number("pressurememoryfull")
                .worded(STALLED)
                .unless(is_zero),
        ],
        hidden: &["ballooninfo", "blockstat", "nics", "proxmox-support"],
    };
    const SINCE_START: &str = "{} since its start";
    const STALLED: &str = "{}% of the last 10 s";
    let path = "/nodes/{node}/{type}/{vmid}/status/current";
    let status = client.send(&args.request(Get, path))?;
    Ok(FIELDS.answer(status, args, &[]))
}

const CURRENT: Param = Param::optional("current", Kind::Flag, "Only values in effect.");
const OF_SNAPSHOT: Param = Param::optional("snapshot", Kind::Format(&format::SNAPSHOT), "");

pub(super) static VM_CONFIG: Tool = Tool {
    title: "VM configuration",
    summary: "Shows hardware and options of a VM with pending values marked, or of a snapshot.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &CURRENT, &OF_SNAPSHOT],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT),
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
        ],
        |client, args| config(client, args, Guest::Vm, "VM {vmid} on {node}"),
    ),
};

pub(super) static LXC_CONFIG: Tool = Tool {
    title: "Container configuration",
    summary: "Shows hardware and options of a container with pending values marked, or of a snapshot.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &CURRENT, &OF_SNAPSHOT],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/lxc/{vmid}/config", needs::AUDIT),
            Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
        ],
        |client, args| config(client, args, Guest::Container, "Container {vmid} on {node}"),
    ),
};

fn config(
    client: &Client,
    args: &Args,
    guest: Guest,
    heading: &'static str,
) -> Result<Answer, Error> {
    if args.flag(&CURRENT) && args.get(&OF_SNAPSHOT).is_some() {
        return Err(Error::arguments(vec![
            "current and snapshot are mutually exclusive".to_owned(),
        ]));
    }
    let fields = Fields {
        heading,
        columns: &[],
        hidden: &[],
    };
    let config = client.send(&args.whole_request(Get, &guest.path("config")))?;
    // These views contain no pending values.
    if args.flag(&CURRENT) || args.get(&OF_SNAPSHOT).is_some() {
        return Ok(fields.answer(config, args, &[]));
    }
    Ok(match Settings::read(client, args, guest) {
        Ok(settings) => marked(fields.answer(config, args, &[]), &settings),
        Err(error) if error.is_cancelled() => return Err(error),
        Err(_) => {
            let note = "Which of these values are pending could not be read.".to_owned();
            fields.answer(config, args, &[note])
        }
    })
}

/// Marks pending values in `answer`, the merged view of a configuration.
fn marked(answer: Answer, settings: &Settings) -> Answer {
    let waits = settings.waits();
    if waits.is_empty() {
        return answer;
    }
    let active = |key: &str| {
        let active = settings.active(key);
        active.map(|active| text::cut(&readable(key, &active), 1_000))
    };
    let mut lines: Vec<String> = answer.text.lines().map(str::to_owned).collect();
    let mut pending = Map::new();
    for (key, value) in waits {
        let now = active(&key);
        let shown = now.as_deref().unwrap_or(DEFAULT);
        match &value {
            None => lines.push(format!("{key}: {shown} (pending: {REMOVED})")),
            Some(_) => {
                let start = format!("{key}: ");
                if let Some(line) = lines.iter_mut().find(|line| line.starts_with(&start)) {
                    line.push_str(&format!(" (pending, now {shown})"));
                }
            }
        }
        let value = match value {
            Some(Value::String(text)) => readable(&key, &text).into(),
            other => other.unwrap_or_default(),
        };
        pending.insert(key, json!({ "now": now, "pending": value }));
    }
    Answer {
        text: lines.join("\n"),
        ..answer
    }
    .with("pending", pending)
}

pub(super) static STORAGE: Tool = Tool {
    title: "List storages",
    summary: "Lists storages with type, content and usage, fullest first.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&OF_NODE, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/storage", &[]),
            Step::read("/storage", &[]),
            Step::read("/cluster/resources", &[]).also(&[needs::STORED]),
        ],
        storage,
    ),
};

fn storage(client: &Client, args: &Args) -> Result<Answer, Error> {
    static OF_NODE_TABLE: Table = Table {
        name: "storages",
        noun: ["storage", "storages"],
        columns: &[
            Column::text("storage"),
            Column::text("type"),
            Column::text("content"),
            Column::flag("active"),
            Column::flag("enabled"),
            Column::flag("shared"),
            Column::used_of("used", "total"),
            Column::bytes("avail"),
        ],
        sort: &[],
        count: None,
    };
    static OF_CLUSTER_TABLE: Table = Table {
        name: "storages",
        noun: ["storage", "storages, non-shared ones counted once per node"],
        columns: &[
            Column::text("storage"),
            Column::text("node"),
            Column::text("type"),
            Column::text("content"),
            Column::text("status"),
            Column::flag("disable"),
            Column::flag("shared"),
            Column::used_of("disk", "maxdisk"),
            Column::text("path"),
            Column::text("server"),
            Column::text("export"),
            Column::text("nodes"),
            Column::text("prune-backups"),
        ],
        sort: &[],
        count: None,
    };
    if args.get(&OF_NODE).is_some() {
        let mut rows = answer::rows(client.send(&args.request(Get, "/nodes/{node}/storage"))?);
        fullest_first(&mut rows, "used", "total");
        return Ok(OF_NODE_TABLE.answer(rows, args, &[]));
    }
    let configured = answer::rows(client.get("/storage")?);
    let usages = resources(client, "storage")?;
    let mut rows = Vec::new();
    for storage in configured {
        let shared = plain(&storage["shared"]) == "1";
        let mut of_nodes: Vec<&Value> = usages
            .iter()
            .filter(|usage| usage["storage"] == storage["storage"])
            .collect();
        // A shared storage is the same on every node: shown once, by a node that reaches it.
        sort_by_key(&mut of_nodes, |usage| {
            (usage["status"] != "available", plain(&usage["node"]))
        });
        if shared {
            of_nodes.truncate(1);
        }
        for usage in &of_nodes {
            let mut row = storage.clone();
            for key in ["status", "disk", "maxdisk"] {
                if !usage[key].is_null() {
                    row[key] = usage[key].clone();
                }
            }
            row["node"] = if shared {
                "(shared)".into()
            } else {
                usage["node"].clone()
            };
            rows.push(row);
        }
        if of_nodes.is_empty() {
            rows.push(storage);
        }
    }
    fullest_first(&mut rows, "disk", "maxdisk");
    Ok(OF_CLUSTER_TABLE.answer(rows, args, &[]))
}

/// Sorts storages by the used share. Those of unknown usage are last; the share that Proxmox sends for them may be
/// outdated.
fn fullest_first(storages: &mut [Value], used: &str, total: &str) {
    let share = |storage: &Value| {
        let total = number(&storage[total]).filter(|total| *total > 0.0);
        Value::from(
            number(&storage[used])
                .zip(total)
                .map(|(used, total)| used / total),
        )
    };
    sort_by(storages, |a, b| {
        compare(&share(b), &share(a))
            .then_with(|| compare(&a["storage"], &b["storage"]))
            .then_with(|| compare(&a["node"], &b["node"]))
    });
}
