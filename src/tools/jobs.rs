//! Jobs that Proxmox runs on a schedule: backups and replication.

use serde_json::{Value, json};

use super::common::{
    ERRORS_ONLY, GREP, LISTED_DIGEST as DIGEST, RESOURCES_REQUEST, filtered, unseen,
};
use super::guest;
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{Reply, Request};
use crate::row::{Choice, Loss, Place, Scope, Touches, delete, get, needs, post, put, takes};
use crate::text::format;
use crate::text::list::items;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const BACKUPS: Scope = Scope {
    name: "",
    noun: "",
    path: "/cluster",
    reads: needs::ALL_NODES,
    changes: &["/:Sys.Modify"],
    touches: Touches::Judged(guests_of_backup),
    versions: Versions::ALL,
};

const VIEW: Param = Param::required(
    "view",
    Kind::Choice(&["jobs", "included_volumes", "not_backed_up"]),
    "not_backed_up: guests without any job.",
)
.default("jobs")
.local();
const ONE: Param = Param::optional("id", Kind::Format(&format::JOB), "Shows only this job.");

const JOB_COLUMNS: &[Column] = &[
    Column::text("id"),
    Column::flag("enabled"),
    Column::text("schedule"),
    Column::time("next-run"),
    Column::text("vmid"),
    Column::flag("all"),
    Column::text("pool"),
    Column::text("exclude"),
    Column::text("node"),
    Column::text("storage"),
    Column::text("mode"),
    Column::text("compress"),
    Column::text("prune-backups"),
    Column::text("comment"),
];

pub(super) static BACKUP_JOBS: Tool = Tool {
    title: "List backup jobs",
    summary: "Lists the scheduled backup jobs, what one includes, or the guests that no job backs up.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&VIEW, &ONE],
    call: Call::Choice(&Choice {
        by: &[&VIEW],
        place: Place::Only(BACKUPS),
        does: "",
        rows: &[
            get(
                "jobs",
                "/backup",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "jobs",
                    noun: ["backup job", "backup jobs"],
                    columns: JOB_COLUMNS,
                    sort: &[Order::Up("id")],
                    count: None,
                }),
            ),
            get(
                "jobs",
                "/backup/{id}",
                &[],
                Show::Fields(&Fields {
                    heading: "Backup job {id}",
                    columns: JOB_COLUMNS,
                    hidden: &[],
                }),
            ),
            get(
                "included_volumes",
                "/backup/{id}/included_volumes",
                &[&LIMIT, &OFFSET],
                Show::Made(included),
            ),
            get(
                "not_backed_up",
                "/backup-info/not-backed-up",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "guests",
                    noun: ["guest without a backup job", "guests without a backup job"],
                    columns: &[
                        Column::number("vmid"),
                        Column::text("type"),
                        Column::text("name"),
                    ],
                    sort: &[Order::Up("vmid")],
                    count: None,
                }),
            ),
        ],
    }),
};

/// The volumes of the guests of a job, each a row: Proxmox sends a tree of them.
fn included(args: &Args, data: Value, _: &Value) -> Answer {
    static VOLUMES: Table = Table {
        name: "volumes",
        noun: ["volume", "volumes"],
        columns: &[
            Column::number("vmid"),
            Column::text("guest"),
            Column::text("type"),
            Column::text("slot"),
            Column::text("volume"),
            Column::flag("included"),
            Column::text("reason"),
        ],
        sort: &[Order::Up("vmid"), Order::Up("slot")],
        count: Some("reason"),
    };
    let mut rows = Vec::new();
    for guest in data["children"].as_array().into_iter().flatten() {
        for volume in guest["children"].as_array().into_iter().flatten() {
            let id = plain(&volume["id"]);
            let slot = id.split_once(':').map_or(&*id, |(_, slot)| slot);
            rows.push(json!({
                "vmid": guest["id"],
                "guest": guest["name"],
                "type": guest["type"],
                "slot": slot,
                "volume": volume["name"],
                "included": volume["included"],
                "reason": volume["reason"],
            }));
        }
    }
    VOLUMES.answer(rows, args, &[])
}

const ACTION: Param = Param::required("action", Kind::Choice(&["create", "update", "delete"]), "");
const ID: Param = Param::required("id", Kind::Format(&format::JOB), "");
const SCHEDULE: Param = Param::optional("schedule", Kind::Text(1, 128), "Such as sat 02:00.");
const NEW_SCHEDULE: Param = Param::by_request("schedule", Kind::Text(1, 128), "Such as sat 02:00.");
const GUESTS: Param = Param::optional("guests", Kind::List, "VMIDs.")
    .sent_as("vmid")
    .alias(&["vmid"])
    .joined();
const ALL: Param = Param::optional("all", Kind::Flag, "All guests.");
const POOL: Param = Param::optional("pool", Kind::Format(&format::POOL), "");
const EXCLUDE: Param = Param::optional("exclude", Kind::List, "VMIDs.").joined();
const STORAGE: Param = Param::optional("storage", Kind::Format(&format::STORAGE), "");
const ON_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");
const MODE: Param = Param::optional("mode", Kind::Choice(&["snapshot", "suspend", "stop"]), "");
const COMPRESS: Param =
    Param::optional("compress", Kind::Choice(&["0", "gzip", "lzo", "zstd"]), "")
        .synonyms(&[("none", "0")]);
const ENABLED: Param = Param::optional("enabled", Kind::Flag, "");
const PRUNE: Param = Param::optional(
    "prune_backups",
    Kind::Format(&format::RETENTION),
    "Such as keep-last=3.",
)
.sent_as("prune-backups");
const NOTES: Param =
    Param::optional("notes_template", Kind::Text(1, 1_024), "").sent_as("notes-template");
const COMMENT: Param = Param::optional("comment", Kind::Text(1, 512), "");
const UNSET: Param = Param::optional("delete", Kind::List, "Options to reset.").joined();

const MAILTO: Param = Param::optional("mailto", Kind::List, "Addresses or users.")
    .joined()
    .rare();
const MAILS_WHEN: Param =
    Param::optional("mailnotification", Kind::Choice(&["always", "failure"]), "").rare();
const NOTIFIES_BY: Param = Param::optional(
    "notification_mode",
    Kind::Choice(&["auto", "legacy-sendmail", "notification-system"]),
    "",
)
.sent_as("notification-mode")
.known_to(Versions::since(8))
.rare();
const FLEECING: Param = Param::optional(
    "fleecing",
    Kind::Text(1, 200),
    "Such as enabled=1,storage=local-lvm.",
)
.known_to(Versions::since(8))
.rare();
const CHANGE_DETECTION: Param = Param::optional(
    "pbs_change_detection_mode",
    Kind::Choice(&["legacy", "data", "metadata"]),
    "",
)
.sent_as("pbs-change-detection-mode")
.known_to(Versions::since(8))
.rare();
const REMOVES: Param =
    Param::optional("remove", Kind::Flag, "Whether it prunes older backups.").rare();
const EXCLUDED_PATHS: Param = Param::optional("exclude_path", Kind::List, "Of containers.")
    .sent_as("exclude-path")
    .rare();

/// What a job is made of.
const OF_JOB: &[&Param] = &[
    &GUESTS,
    &ALL,
    &POOL,
    &EXCLUDE,
    &STORAGE,
    &ON_NODE,
    &MODE,
    &COMPRESS,
    &ENABLED,
    &PRUNE,
    &NOTES,
    &COMMENT,
    &Param::optional("protected", Kind::Flag, "Its backups, needs storage.").rare(),
    &Param::optional("repeat_missed", Kind::Flag, "Runs what was missed at once.")
        .sent_as("repeat-missed")
        .rare(),
    &MAILTO,
    &MAILS_WHEN,
    &NOTIFIES_BY,
    &Param::optional("bwlimit", Kind::Integer(0, u64::MAX), "KiB/s.").rare(),
    &FLEECING,
    &CHANGE_DETECTION,
    &REMOVES,
    &EXCLUDED_PATHS,
    &Param::optional("stdexcludes", Kind::Flag, "").rare(),
    &Param::optional("performance", Kind::Text(1, 200), "Such as max-workers=8.").rare(),
    &Param::optional(
        "zstd",
        Kind::Integer(0, u64::MAX),
        "Threads; 0 for half of the cores.",
    )
    .rare(),
    &Param::optional(
        "pigz",
        Kind::Integer(0, u64::MAX),
        "Threads; 1 for half of the cores.",
    )
    .rare(),
    &Param::optional("ionice", Kind::Integer(0, 8), "").rare(),
    &Param::optional("lockwait", Kind::Integer(0, u64::MAX), "Minutes.").rare(),
    &Param::optional("stopwait", Kind::Integer(0, u64::MAX), "Minutes.").rare(),
];

pub(super) static MANAGE_BACKUP_JOB: Tool = Tool {
    title: "Manage backup job",
    summary: "Manages a scheduled backup job. A new selection (vmid, all, pool) replaces the old one.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&ACTION, &ID],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(BACKUPS),
        does: "{action} backup job {id}",
        rows: &[
            post("create", "/backup", takes![&[&ID, &NEW_SCHEDULE], OF_JOB])
                .judged(lost_by_backup)
                .also_reads(&[RESOURCES_REQUEST])
                .checks(taken),
            put(
                "update",
                "/backup/{id}",
                takes![&[&SCHEDULE], OF_JOB, &[&UNSET]],
            )
            .judged(lost_by_backup)
            .reads_entry("/backup", "id", &ID)
            .also_reads(&[RESOURCES_REQUEST])
            .checks(replaced),
            delete("delete", "/backup/{id}", &[])
                .interrupts("It backs up its guests no longer.")
                .reads_entry("/backup", "id", &ID),
        ],
    }),
};

/// What selects the guests of a job; one of these replaces the others.
const SELECTION: &[&str] = &["vmid", "all", "pool"];

fn form<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut form = request.form.iter();
    form.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The guests that a job names, before and after; any where it takes them from a pool, or takes all.
fn guests_of_backup(request: &Request, was: &Value) -> Vec<String> {
    let sent = form(request, "vmid").map(str::to_owned);
    let known = was["vmid"].as_str().map(str::to_owned);
    let is_open = |name: &&&str| form(request, name).is_some() || !was[**name].is_null();
    let is_any = ["all", "pool", "exclude"].iter().any(|name| is_open(&name));
    let named: Vec<String> = sent
        .into_iter()
        .chain(known)
        .flat_map(|vmids| items(&vmids).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    match is_any || named.is_empty() {
        true => vec!["*".to_owned()],
        false => named,
    }
}

/// What a job loses of what is there.
fn lost_by_backup(request: &Request, was: &Value) -> Option<Loss> {
    let prunes = form(request, "prune-backups").filter(|keep| !keep.contains("keep-all=1"));
    let deleted = form(request, "delete").unwrap_or_default();
    let mut sentences = Vec::new();
    if let Some(keep) = prunes {
        sentences.push(format!(
            "After each run, the backups of its guests on the storage that {keep} does not keep are deleted."
        ));
    }
    match form(request, "mode") {
        Some("stop") => {
            sentences.push("Its guests are stopped while they are backed up.".to_owned())
        }
        Some("suspend") => {
            sentences.push("Its guests are suspended while they are backed up.".to_owned());
        }
        _ => (),
    }
    let is_new = was.is_null();
    let selects = SELECTION
        .iter()
        .any(|name| form(request, name).is_some() || items(deleted).any(|unset| unset == *name));
    if !is_new && selects {
        sentences.push("Guests that it selected so far may be backed up no longer.".to_owned());
    }
    if !is_new && form(request, "enabled") == Some("0") {
        sentences.push("It backs up its guests no longer.".to_owned());
    }
    if sentences.is_empty() {
        return None;
    }
    let sentence = sentences.join(" ");
    Some(match prunes {
        Some(_) => Loss::destroys(sentence),
        None => Loss::interrupts(sentence),
    })
}

/// What Proxmox takes without a look at it.
fn taken(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let guests = [&GUESTS, &EXCLUDE]
        .into_iter()
        .flat_map(|param| args.list(param));
    let guests = guests.map(|vmid| ("guest", &**vmid));
    let storage = args.get(&STORAGE).map(|storage| ("storage", storage));
    let node = args.get(&ON_NODE).map(|node| ("node", node));
    let unseen = unseen(client, guests.chain(storage).chain(node))?;
    let unseen = unseen.map(|unseen| format!("{unseen}: the job fails for what does not exist."));
    let selects = [&GUESTS, &ALL, &POOL]
        .iter()
        .any(|param| args.get(param).is_some());
    let excludes_alone = was.is_null() && !selects && args.get(&EXCLUDE).is_some();
    let all = excludes_alone.then(|| "It is for all guests but these.".to_owned());
    Ok(unseen.into_iter().chain(all).collect())
}

/// The selection that a change replaces.
fn replaced(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let mut lines = taken(client, args, was)?;
    let selects = [&GUESTS, &ALL, &POOL]
        .iter()
        .any(|param| args.get(param).is_some());
    let before = SELECTION.iter().filter(|name| !was[**name].is_null());
    let before: Vec<String> = before
        .map(|name| format!("{name}={}", plain(&was[*name])))
        .collect();
    if selects && !before.is_empty() {
        lines.push(format!(
            "This replaces its selection, {}.",
            before.join(" ")
        ));
    }
    Ok(lines)
}

const REPLICATION: Scope = Scope {
    name: "",
    noun: "",
    path: "",
    // Proxmox shows the jobs of the guests that a token may see.
    reads: &["/vms/{vmid}:VM.Audit"],
    changes: &["/vms/{vmid}:VM.Replicate or /storage:Datastore.Allocate"],
    touches: Touches::Judged(guest_of_replication),
    versions: Versions::ALL,
};

const REPLICATION_ID: Param = Param::required(
    "id",
    Kind::Format(&format::REPLICATION_JOB),
    "Such as 100-0.",
);
const ONE_REPLICATION: Param = Param::optional(
    "id",
    Kind::Format(&format::REPLICATION_JOB),
    "Shows only this job, such as 100-0.",
);
const STATE_ON: Param = Param::optional(
    "node",
    Kind::Format(&format::NODE),
    "The node it runs on: adds its state.",
);
/// Of a node that is named.
const OF_GUEST: Param = guest::OF_GUEST.sent_as("guest").alias(&["guest"]);
const LOG: Param = Param::by_request("log", Kind::Flag, "The log of its last run.").local();
const LINES: Param = Param::optional("limit", Kind::Integer(1, 5_000), "");
const FIRST_LINE: Param = Param::optional("start", Kind::Integer(0, u64::MAX), "Of the log.");

const REPLICATION_COLUMNS: &[Column] = &[
    Column::text("id"),
    Column::number("guest"),
    Column::text("source"),
    Column::text("target"),
    Column::text("schedule"),
    Column::flag("disable"),
    Column::number("rate"),
    Column::time("last_sync").unless(never),
    Column::time("next_sync").unless(never),
    Column::number("fail_count"),
    Column::duration("duration"),
    Column::text("error"),
    Column::text("remove_job"),
    Column::text("comment"),
];

/// Before its first run.
fn never(row: &Value, key: &str) -> bool {
    // The first run is due so many seconds after 1970.
    answer::number(&row[key]).is_some_and(|time| time < 1e6)
}

static REPLICATIONS: Table = Table {
    name: "jobs",
    noun: ["replication job", "replication jobs"],
    columns: REPLICATION_COLUMNS,
    sort: &[Order::Up("id")],
    count: None,
};

static REPLICATION_FIELDS: Fields = Fields {
    heading: "Replication job {id}",
    columns: REPLICATION_COLUMNS,
    hidden: &[],
};

pub(super) static REPLICATION_JOBS: Tool = Tool {
    title: "List replication jobs",
    summary: "Lists replication jobs; with node also their state, with log the log of one.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&ONE_REPLICATION, &STATE_ON, &OF_GUEST, &LOG],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(REPLICATION),
        does: "",
        rows: &[
            get(
                "",
                "/cluster/replication",
                &[&LIMIT, &OFFSET],
                Show::Table(&REPLICATIONS),
            ),
            get(
                "",
                "/cluster/replication/{id}",
                &[],
                Show::Fields(&REPLICATION_FIELDS),
            ),
            get(
                "",
                "/nodes/{node}/replication",
                &[&OF_GUEST, &LIMIT, &OFFSET],
                Show::Table(&REPLICATIONS),
            ),
            get(
                "",
                "/nodes/{node}/replication/{id}/status",
                &[],
                Show::Fields(&REPLICATION_FIELDS),
            ),
            get(
                "",
                "/nodes/{node}/replication/{id}/log",
                &[&LOG, &LINES, &FIRST_LINE, &ERRORS_ONLY, &GREP],
                Show::Made(log),
            ),
        ],
    }),
};

fn log(args: &Args, data: Value, beside: &Value) -> Answer {
    let heading = format!("Log of replication job {}", &args[&REPLICATION_ID]);
    filtered(args, &heading, data, beside, &FIRST_LINE, |line| {
        line.contains("error") || line.contains("failed")
    })
}

const REPLICATION_ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["create", "update", "delete", "run_now"]),
    "",
);
const TARGET: Param = Param::by_request("target", Kind::Format(&format::NODE), "Node to copy to.");
const EVERY: Param = Param::optional("schedule", Kind::Text(1, 128), "");
const RATE: Param = Param::optional("rate", Kind::Number(1.0, 1e9), "MB/s.");
const DISABLE: Param = Param::optional("disable", Kind::Flag, "");
const REMARK: Param = Param::optional("comment", Kind::Text(1, 4_096), "");
const SOURCE: Param = Param::optional(
    "source",
    Kind::Format(&format::NODE),
    "Default: its guest's node.",
)
.rare();
const REMOVE_JOB: Param = Param::optional(
    "remove_job",
    Kind::Choice(&["local", "full"]),
    "Has its next run remove it; full: and the copies.",
)
.rare();
const FORCE: Param = Param::optional("force", Kind::Flag, "Deletes at once, without cleaning up.");
const KEEP: Param = Param::optional("keep", Kind::Flag, "Keeps the copies.");
const RUNS_ON: Param = Param::by_request(
    "node",
    Kind::Format(&format::NODE),
    "The node of its guest.",
);

pub(super) static MANAGE_REPLICATION_JOB: Tool = Tool {
    title: "Manage replication job",
    summary: "Manages a replication job of a guest (ZFS), or runs it now.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&REPLICATION_ACTION, &REPLICATION_ID, &RUNS_ON],
    call: Call::Choice(&Choice {
        by: &[&REPLICATION_ACTION],
        place: Place::Only(REPLICATION),
        does: "{action} replication job {id}[ to {target}]",
        rows: &[
            post(
                "create",
                "/cluster/replication",
                &[
                    &REPLICATION_ID,
                    &TARGET,
                    &EVERY,
                    &RATE,
                    &DISABLE,
                    &REMARK,
                    &SOURCE,
                ],
            )
            .harmless()
            .always(&[("type", "local")]),
            put(
                "update",
                "/cluster/replication/{id}",
                &[
                    &EVERY,
                    &RATE,
                    &DISABLE,
                    &REMARK,
                    &SOURCE,
                    &REMOVE_JOB,
                    &UNSET,
                    &DIGEST,
                ],
            )
            .judged(paused)
            .says("done", |args, _| match args.get(&REMOVE_JOB) {
                Some(_) => vec![MARKED.to_owned()],
                None => Vec::new(),
            }),
            delete("delete", "/cluster/replication/{id}", &[&FORCE, &KEEP])
                .judged(lost_by_replication)
                .says("done", marked),
            post(
                "run_now",
                "/nodes/{node}/replication/{id}/schedule_now",
                &[],
            )
            .harmless()
            .does("run replication job {id} now")
            .answers(Reply::NothingOrEmpty)
            .says("requested", requested),
        ],
    }),
};

/// The guest whose job it is: `100-0`.
fn guest_of_replication(request: &Request, was: &Value) -> Vec<String> {
    let of_path = request
        .path
        .split('/')
        .find(|part| (format::REPLICATION_JOB.parse)(part).is_some());
    let id = form(request, "id").or(of_path).map(str::to_owned);
    let id = id.unwrap_or_else(|| plain(&was["id"]));
    vec![id.split('-').next().unwrap_or_default().to_owned()]
}

fn paused(request: &Request, was: &Value) -> Option<Loss> {
    let loss = match form(request, "remove_job") {
        Some("full") => copies_lost(was),
        Some(_) => Loss::interrupts(COPIES_STAY),
        None if form(request, "disable") == Some("1") => {
            Loss::interrupts("Its guest is replicated no longer.")
        }
        None => return None,
    };
    Some(loss)
}

fn lost_by_replication(request: &Request, was: &Value) -> Option<Loss> {
    let is_set = |name: &str| form(request, name) == Some("1");
    Some(match is_set("keep") || is_set("force") {
        true => Loss::interrupts(COPIES_STAY),
        false => copies_lost(was),
    })
}

const COPIES_STAY: &str = "Its guest is replicated no longer; the copies stay.";

fn copies_lost(was: &Value) -> Loss {
    Loss::destroys(format!(
        "Its guest is replicated no longer, and the copies of its volumes on {} are deleted.",
        plain(&was["target"])
    ))
}

const MARKED: &str =
    "It is marked, and goes with its next run: proxmox_list_replication_jobs shows it until then.";

fn marked(args: &Args, _: &Value) -> Vec<String> {
    match args.flag(&FORCE) {
        true => Vec::new(),
        false => vec![MARKED.to_owned()],
    }
}

fn requested(_: &Args, _: &Value) -> Vec<String> {
    vec![
        "It runs within a minute unless it is disabled: proxmox_list_replication_jobs with node shows its state."
            .to_owned(),
    ]
}
