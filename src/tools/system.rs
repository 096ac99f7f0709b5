//! The system of a node: time, DNS, hosts file, subscription, packages, power.

use serde_json::{Value, json};

use super::common::{DIGEST, ERRORS_ONLY, GREP, NODE, filtered};
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{Method::Get, Reply, Request};
use crate::row::{Choice, First, Place, Scope, Step, Touches, delete, get, needs, post, put};
use crate::text;
use crate::text::format;
use crate::text::list::items;
use crate::text::sort::sort_by;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const OF_NODE: Scope = Scope {
    name: "",
    noun: "",
    path: "/nodes/{node}",
    reads: needs::NODE,
    changes: &["/nodes/{node}:Sys.Modify"],
    touches: Touches::NoGuest,
    versions: Versions::ALL,
};

const KIND: Param = Param::required(
    "kind",
    Kind::Choice(&["time", "hosts", "subscription", "config", "report"]),
    "",
);
const FIRST_LINE: Param =
    Param::optional("start", Kind::Integer(0, u64::MAX), "First line.").local();
const LINES: Param = Param::optional("limit", Kind::Integer(1, 5_000), "").local();

pub(super) static GET: Tool = Tool {
    title: "Node system",
    summary: "Shows time, hosts file, subscription, options or the system report of a node.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &KIND],
    call: Call::Choice(&Choice {
        by: &[&KIND],
        place: Place::Only(OF_NODE),
        does: "",
        rows: &[
            get(
                "time",
                "/time",
                &[],
                Show::Fields(&Fields {
                    heading: "Time of node {node}",
                    columns: &[Column::text("timezone"), Column::time("time")],
                    // Those of the zone, as if it were UTC.
                    hidden: &["localtime"],
                }),
            ),
            get("hosts", "/hosts", &[], Show::Made(hosts)).needs(needs::ALL_NODES),
            get(
                "subscription",
                "/subscription",
                &[],
                Show::Fields(&Fields {
                    heading: "Subscription of node {node}",
                    columns: &[Column::text("status"), Column::text("message")],
                    hidden: &["signature"],
                }),
            )
            .needs(&[]),
            get(
                "config",
                "/config",
                &[],
                Show::Fields(&Fields {
                    heading: "Options of node {node}",
                    columns: &[],
                    hidden: &[],
                }),
            )
            .needs(needs::ALL_NODES),
            get(
                "report",
                "/report",
                &[&FIRST_LINE, &LINES, &ERRORS_ONLY, &GREP],
                Show::Made(report),
            ),
        ],
    }),
};

fn hosts(args: &Args, data: Value, _: &Value) -> Answer {
    let file = data["data"].as_str().unwrap_or_default();
    let lines: Vec<&str> = file.lines().collect();
    let answer = Answer::new(format!("Hosts file of node {}", &args[&NODE]));
    let answer = answer.foreign_lines(&lines, text::BUDGET / 2);
    let answer = answer.line(format!("digest: {}", plain(&data["digest"])));
    answer
        .with("data", text::cut(file, text::BUDGET))
        .with("digest", data["digest"].clone())
}

fn report(args: &Args, data: Value, _: &Value) -> Answer {
    let report = without_keys(data.as_str().unwrap_or_default());
    lines(args, "System report", &report, |line| {
        let line = line.to_lowercase();
        ["error", "fail", "warn"]
            .iter()
            .any(|word| line.contains(word))
    })
}

/// Those of the lines of a text that are asked for.
fn lines(args: &Args, heading: &str, text: &str, is_error: fn(&str) -> bool) -> Answer {
    let first = args.integer(&FIRST_LINE).unwrap_or_default();
    let all: Vec<String> = text.lines().map(str::to_owned).collect();
    let total = all.len() as u64;
    let is_filtered = args.get(&GREP).is_some() || args.flag(&ERRORS_ONLY);
    let limit = match (args.integer(&LINES), is_filtered) {
        (Some(limit), _) => limit,
        (None, true) => total,
        (None, false) => 200,
    };
    let asked = all.into_iter().skip(first as usize).take(limit as usize);
    let rows = asked.map(|line| json!({ "t": line })).collect();
    let beside = json!({ "total": total });
    filtered(args, heading, rows, &beside, &FIRST_LINE, is_error)
}

/// A report without subscription keys: `pve2c-1234567890`.
fn without_keys(report: &str) -> String {
    let words = report.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let mut shown = String::new();
    for word in words {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        match format::is_subscription(bare) {
            true => {
                shown.push_str(text::MASK);
                shown.push_str(&word[bare.len()..]);
            }
            false => shown.push_str(word),
        }
    }
    shown
}

const SET: Param = Param::required(
    "kind",
    Kind::Choice(&["time", "dns", "hosts", "config"]),
    "",
);
const TIMEZONE: Param = Param::by_request("timezone", Kind::Text(1, 64), "Such as Europe/Vienna.");
const SEARCH: Param = Param::optional("search", Kind::Format(&format::DNS_NAME), "Domain.");
const DNS1: Param =
    Param::optional("dns1", Kind::Format(&format::ADDRESS), "\"\" removes it.").clearable();
const DNS2: Param = Param::optional("dns2", Kind::Format(&format::ADDRESS), "").clearable();
const DNS3: Param = Param::optional("dns3", Kind::Format(&format::ADDRESS), "").clearable();
const DATA: Param = Param::by_request("data", Kind::Text(1, 65_536), "The whole file.");

const NOTES: Param = Param::optional("description", Kind::Text(1, 65_536), "");
const WAKE_ON_LAN: Param = Param::optional("wakeonlan", Kind::Text(17, 255), "MAC address.");
const BOOT_DELAY: Param = Param::optional(
    "startall_onboot_delay",
    Kind::Integer(0, 300),
    "Seconds until its guests start.",
)
.sent_as("startall-onboot-delay");
const UNSET: Param = Param::optional("delete", Kind::List, "Options to reset.").joined();

const fn option(name: &'static str, hint: &'static str) -> Param {
    Param::optional(name, Kind::Text(1, 1_024), hint).rare()
}

/// The options of a node.
const OPTIONS: &[&Param] = &[
    &NOTES,
    &WAKE_ON_LAN,
    &BOOT_DELAY,
    &option("acme", "Such as account=default,domains=pve1.example.com."),
    &option("acmedomain0", "Such as pve1.example.com,plugin=dns."),
    &option("acmedomain1", ""),
    &option("acmedomain2", ""),
    &option("acmedomain3", ""),
    &option("acmedomain4", ""),
    &option("acmedomain5", ""),
    &BALLOONING,
    &option("location", "").known_to(Versions::since(9)),
    &UNSET,
    &DIGEST,
];
const BALLOONING: Param = Param::optional(
    "ballooning_target",
    Kind::Integer(0, 100),
    "Percent of its memory.",
)
.sent_as("ballooning-target")
.known_to(Versions::since(8))
.rare();

/// How much memory ballooning leaves to guests.
fn guests_of_options(request: &Request, _: &Value) -> Vec<String> {
    let mut form = request.form.iter();
    let is_of_guests = form.any(|(name, value)| match name {
        "delete" => items(value).any(|name| name == "ballooning-target"),
        name => name == "ballooning-target",
    });
    is_of_guests.then(|| "*".to_owned()).into_iter().collect()
}

pub(super) static CHANGE: Tool = Tool {
    title: "Set node system",
    summary: "Sets the time zone, DNS servers, hosts file or options of a node; what is not given is kept.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &SET],
    call: Call::Choice(&Choice {
        by: &[&SET],
        place: Place::Only(OF_NODE),
        does: "set {kind} of node {node}",
        rows: &[
            put("time", "/time", &[&TIMEZONE])
                .harmless()
                .does("set the time zone of node {node} to {timezone}"),
            put("dns", "/dns", &[&SEARCH, &DNS1, &DNS2, &DNS3])
                .interrupts("The node resolves names by them at once.")
                .keeps(&[&SEARCH, &DNS1, &DNS2, &DNS3])
                .does("set the DNS servers of node {node}"),
            post("hosts", "/hosts", &[&DATA, &DIGEST])
                .interrupts("The node finds others by it, those of its cluster too.")
                .reads(First::Item)
                .first_needs(needs::ALL_NODES)
                .checks(changed_hosts)
                .does("replace the hosts file of node {node}"),
            put("config", "/config", OPTIONS)
                .harmless()
                .touches(Touches::Judged(guests_of_options))
                .needs(&["/:Sys.Modify"])
                .first_needs(needs::ALL_NODES)
                .does("set options of node {node}"),
        ],
    }),
};

/// The repository at `index` of the file at `path`, with the digest of all.
fn repository(args: &Args, mut all: Value) -> Result<Value, Error> {
    let (path, index) = (&args[&PATH], args.integer(&INDEX).unwrap_or_default());
    let mut files = all["files"].as_array_mut().into_iter().flatten();
    let file = files.find(|file| file["path"] == *path);
    let found = file.and_then(|file| file["repositories"].get_mut(index as usize));
    let Some(mut found) = found.map(Value::take) else {
        return Err(no_repository(&format!("{path} has no repository {index}")));
    };
    found["digest"] = all["digest"].take();
    Ok(found)
}

/// The standard repository of that handle, with the digest of all.
fn standard_repository(args: &Args, mut all: Value) -> Result<Value, Error> {
    let handle = &args[&HANDLE];
    let mut standard = all["standard-repos"].as_array_mut().into_iter().flatten();
    let found = standard.find(|known| known["handle"] == *handle);
    let Some(mut found) = found.map(Value::take) else {
        return Err(no_repository(&format!(
            "there is no standard repository {handle}"
        )));
    };
    found["digest"] = all["digest"].take();
    Ok(found)
}

fn no_repository(what: &str) -> Error {
    Error::impossible(
        format!("{what}, nothing was done"),
        "proxmox_get_node_packages with view=repositories lists what there is.",
    )
}

/// The lines of the hosts file that go and come.
fn changed_hosts(_: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let before: Vec<&str> = was["data"].as_str().unwrap_or_default().lines().collect();
    let after: Vec<&str> = args[&DATA].lines().collect();
    let lines = |sign: &str, of: &[&str], others: &[&str]| -> Vec<String> {
        let only = of
            .iter()
            .filter(|line| !line.trim().is_empty() && !others.contains(line));
        only.map(|line| format!("{sign} {}", text::cut(&text::inline(line), 200)))
            .collect()
    };
    let mut changed = lines("-", &before, &after);
    changed.extend(lines("+", &after, &before));
    if changed.is_empty() {
        changed.push("No line changes.".to_owned());
    }
    let names_node = |line: &str| {
        let bare = line.split('#').next().unwrap_or_default();
        bare.split_whitespace()
            .skip(1)
            .any(|name| name == &args[&NODE])
    };
    if !after.iter().any(|line| names_node(line)) {
        changed.push(format!(
            "No line names {} itself: its services need that.",
            &args[&NODE]
        ));
    }
    Ok(changed)
}

const SUBSCRIPTION: Param =
    Param::required("action", Kind::Choice(&["refresh", "set", "remove"]), "");
const FORCE: Param = Param::optional("force", Kind::Flag, "Even if it was checked lately.");
const KEY: Param = Param::by_request("key", Kind::Format(&format::SUBSCRIPTION), "");

pub(super) static SUBSCRIBE: Tool = Tool {
    title: "Manage node subscription",
    summary: "Checks the subscription of a node again, or sets or removes its key.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &SUBSCRIPTION],
    call: Call::Choice(&Choice {
        by: &[&SUBSCRIPTION],
        place: Place::Only(Scope {
            path: "/nodes/{node}/subscription",
            reads: &[],
            ..OF_NODE
        }),
        does: "{action} the subscription of node {node}",
        rows: &[
            post("refresh", "", &[&FORCE]).harmless(),
            put("set", "", &[&KEY]).harmless(),
            delete("remove", "", &[])
                .interrupts("The enterprise repository no longer serves the node."),
        ],
    }),
};

const VIEW: Param = Param::required(
    "view",
    Kind::Choice(&["updates", "versions", "repositories", "changelog"]),
    "",
);
const PACKAGE: Param = Param::by_request("name", Kind::Format(&format::PACKAGE), "");
const VERSION: Param = Param::optional("version", Kind::Text(1, 128), "");

pub(super) static PACKAGES: Tool = Tool {
    title: "Node packages",
    summary: "Shows available updates, versions of Proxmox packages, repositories, or the changelog of a package.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VIEW],
    call: Call::Choice(&Choice {
        by: &[&VIEW],
        place: Place::Only(Scope {
            path: "/nodes/{node}/apt",
            ..OF_NODE
        }),
        does: "",
        rows: &[
            get(
                "updates",
                "/update",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "updates",
                    noun: ["update", "updates"],
                    columns: &[
                        Column::text("Package"),
                        Column::text("OldVersion"),
                        Column::text("Version"),
                        Column::text("Origin"),
                        Column::text("Title"),
                    ],
                    sort: &[Order::Up("Package")],
                    count: Some("Origin"),
                }),
            )
            .needs(&["/nodes/{node}:Sys.Modify"]),
            get(
                "versions",
                "/versions",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "packages",
                    noun: ["package", "packages"],
                    columns: &[
                        Column::text("Package"),
                        Column::text("CurrentState"),
                        Column::text("OldVersion"),
                        Column::text("Version"),
                        Column::text("RunningKernel"),
                    ],
                    sort: &[Order::Up("Package")],
                    count: Some("CurrentState"),
                }),
            ),
            get(
                "repositories",
                "/repositories",
                &[&LIMIT, &OFFSET],
                Show::Made(repositories),
            ),
            get(
                "changelog",
                "/changelog",
                &[&PACKAGE, &VERSION, &FIRST_LINE, &LINES, &ERRORS_ONLY, &GREP],
                Show::Made(changelog),
            )
            .needs(&["/nodes/{node}:Sys.Modify"]),
        ],
    }),
};

fn repositories(args: &Args, data: Value, _: &Value) -> Answer {
    static TABLE: Table = Table {
        name: "repositories",
        noun: ["repository", "repositories"],
        columns: &[
            Column::text("path"),
            Column::number("index"),
            Column::flag("Enabled"),
            Column::text("Types"),
            Column::text("URIs"),
            Column::text("Suites"),
            Column::text("Components"),
        ],
        sort: &[Order::Up("path"), Order::Up("index")],
        count: None,
    };
    let mut rows = Vec::new();
    for file in data["files"].as_array().into_iter().flatten() {
        let repositories = file["repositories"].as_array().into_iter().flatten();
        for (index, repository) in repositories.enumerate() {
            let mut row = repository.clone();
            if row.is_object() {
                row["path"] = file["path"].clone();
                row["index"] = index.into();
                rows.push(row);
            }
        }
    }
    let mut notes = Vec::new();
    for error in data["errors"].as_array().into_iter().flatten() {
        notes.push(format!(
            "{}: {}",
            plain(&error["path"]),
            plain(&error["error"])
        ));
    }
    let infos = data["infos"].as_array().into_iter().flatten();
    for info in infos.filter(|info| info["kind"] == "warning") {
        notes.push(format!(
            "{}: {}",
            plain(&info["path"]),
            plain(&info["message"])
        ));
    }
    let standard = data["standard-repos"].as_array().into_iter().flatten();
    let standard = standard.map(|repository| {
        let state = match plain(&repository["status"]).as_str() {
            "1" => "enabled",
            "0" => "disabled",
            _ => "not there",
        };
        format!("{} {state}", plain(&repository["handle"]))
    });
    let standard: Vec<String> = standard.collect();
    if !standard.is_empty() {
        notes.push(format!("standard: {}", standard.join(", ")));
    }
    notes.push(format!("digest: {}", plain(&data["digest"])));
    TABLE.answer(rows, args, &notes).with("all", data)
}

fn changelog(args: &Args, data: Value, _: &Value) -> Answer {
    lines(
        args,
        "Changelog",
        data.as_str().unwrap_or_default(),
        |line| line.starts_with("E:") || line.starts_with("W:"),
    )
}

const PACKAGE_ACTION: Param = Param::required(
    "action",
    Kind::Choice(&[
        "refresh",
        "enable_repository",
        "disable_repository",
        "add_standard_repository",
    ]),
    "",
);
const NOTIFY: Param = Param::optional("notify", Kind::Flag, "Mail about new updates.");
const QUIET: Param = Param::optional("quiet", Kind::Flag, "");
const PATH: Param = Param::by_request("path", Kind::Text(1, 256), "As listed.");
const INDEX: Param = Param::by_request("index", Kind::Integer(0, 10_000), "As listed.");
const HANDLE: Param = Param::by_request(
    "handle",
    Kind::Format(&format::CONFIG_ID),
    "Such as no-subscription.",
);
const REPOSITORIES_DIGEST: Param =
    Param::optional("digest", Kind::Format(&format::LONG_DIGEST), "As listed.");
const UPGRADES: &str = "Upgrades of the node come from other repositories then.";

pub(super) static MANAGE_PACKAGES: Tool = Tool {
    title: "Manage node packages",
    summary: "Refreshes the package index of a node or changes its repositories. Nothing is installed: the API cannot.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &PACKAGE_ACTION],
    call: Call::Choice(&Choice {
        by: &[&PACKAGE_ACTION],
        place: Place::Only(Scope {
            path: "/nodes/{node}/apt",
            ..OF_NODE
        }),
        does: "refresh the package index of node {node}",
        rows: &[
            post(
                "refresh",
                "/update",
                &[&NOTIFY, &QUIET, &WAIT, &WAIT_TIMEOUT],
            )
            .harmless()
            .starts_task(),
            post(
                "enable_repository",
                "/repositories",
                &[&PATH, &INDEX, &REPOSITORIES_DIGEST],
            )
            .interrupts(UPGRADES)
            .always(&[("enabled", "1")])
            .reads(First::Other("/repositories"))
            .picked_by(repository)
            .does("enable repository {index} of {path} on node {node}"),
            post(
                "disable_repository",
                "/repositories",
                &[&PATH, &INDEX, &REPOSITORIES_DIGEST],
            )
            .interrupts(UPGRADES)
            .always(&[("enabled", "0")])
            .reads(First::Other("/repositories"))
            .picked_by(repository)
            .does("disable repository {index} of {path} on node {node}"),
            put(
                "add_standard_repository",
                "/repositories",
                &[&HANDLE, &REPOSITORIES_DIGEST],
            )
            .interrupts(UPGRADES)
            .reads(First::Other("/repositories"))
            .picked_by(standard_repository)
            .does("add standard repository {handle} to node {node}"),
        ],
    }),
};

const POWER: Param = Param::required("action", Kind::Choice(&["reboot", "shutdown", "wake"]), "");
const RUNNING: &[Step] = &[Step::read("/cluster/resources", &[])];

pub(super) static CONTROL_POWER: Tool = Tool {
    title: "Control node power",
    summary: "Reboots or shuts down a node with all of its guests, or wakes one by its network.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &POWER],
    call: Call::Choice(&Choice {
        by: &[&POWER],
        place: Place::Only(Scope {
            changes: &["/nodes/{node}:Sys.PowerMgmt"],
            touches: Touches::AnyGuest,
            ..OF_NODE
        }),
        does: "{action} node {node}",
        rows: &[
            post("reboot", "/status", &[])
                .interrupts("Its guests go down, and this program if it connects to it.")
                .always(&[("command", "reboot")])
                .also_reads(RUNNING)
                .checks(running_guests)
                .says("requested", |_, _| Vec::new()),
            post("shutdown", "/status", &[])
                .interrupts("Its guests go down, and this program if it connects to it. Somebody has to turn it on again.")
                .always(&[("command", "shutdown")])
                .also_reads(RUNNING)
                .checks(running_guests)
                .says("requested", |_, _| Vec::new()),
            post("wake", "/wakeonlan", &[])
                .harmless()
                .touches(Touches::NoGuest)
                .answers(Reply::Mac)
                .says("requested", |_, data| {
                    vec![format!("A magic packet was sent to {}; whether it wakes shows in proxmox_get_nodes.", plain(data))]
                }),
        ],
    }),
};

/// Names the guests that go down.
fn running_guests(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let request = Request::new(Get, "/cluster/resources").with("type", "vm");
    let guests = answer::rows(client.send(&request)?);
    let runs = |guest: &&Value| guest["node"] == args[&NODE] && guest["status"] == "running";
    let mut running: Vec<&Value> = guests.iter().filter(runs).collect();
    sort_by(&mut running, |a, b| answer::compare(&a["vmid"], &b["vmid"]));
    let names = running
        .iter()
        .map(|guest| format!("{} ({})", plain(&guest["vmid"]), plain(&guest["name"])));
    let names: Vec<String> = names.collect();
    Ok(vec![match names.is_empty() {
        true => "No guest is seen running there.".to_owned(),
        false => text::cut(
            &format!("{} running there: {}", names.len(), names.join(", ")),
            1_500,
        ),
    }])
}
