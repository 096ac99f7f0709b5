//! Node management: services, logs, tasks, downloadable templates, traffic.

use serde_json::Value;

use super::common::{ERRORS_ONLY, GREP, NODE, matching, tells_error};
use super::guest::OF_GUEST;
use crate::answer::{
    self, Answer, Column, LIMIT, Lines, OFFSET, Order, Table, compare, number, plain,
};
use crate::cluster::tasks::{Task, WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::request::{
    Method::{Get, Post},
    Request,
};
use crate::row::{Harm, Step, Touches, needs, takes};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::text::sort::sort_by;
use crate::text::upid::Upid;
use crate::tool::{Call, Effect, Permission, Show, Tool};

pub(super) static SERVICES: Tool = Tool {
    title: "List services",
    summary: "Lists the system services that Proxmox manages on a node.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &LIMIT, &OFFSET],
    call: Call::Plain(
        Step::read("/nodes/{node}/services", needs::NODE),
        Show::Table(&Table {
            name: "services",
            noun: ["service", "services"],
            columns: &[
                Column::text("service"),
                Column::text("state"),
                Column::text("unit-state"),
                Column::text("desc"),
            ],
            sort: &[Order::Up("service")],
            count: Some("state"),
        }),
    ),
};

const SERVICE: Param = Param::required(
    "service",
    Kind::Choice(&[
        "chrony",
        "corosync",
        "cron",
        "ksmtuned",
        "lxcfs",
        "postfix",
        "proxmox-firewall",
        "pve-cluster",
        "pve-firewall",
        "pve-ha-crm",
        "pve-ha-lrm",
        "pve-lxc-syscalld",
        "pvedaemon",
        "pvefw-logger",
        "pveproxy",
        "pvescheduler",
        "pvestatd",
        "qmeventd",
        "spiceproxy",
        "sshd",
        "syslog",
        "systemd-journald",
        "systemd-timesyncd",
    ]),
    "",
)
.synonyms(&[("ssh", "sshd")]);
const COMMAND: Param = Param::required(
    "command",
    Kind::Choice(&["start", "stop", "restart", "reload"]),
    "",
);

pub(super) static CONTROL_SERVICE: Tool = Tool {
    title: "Control a service",
    summary: "Starts, stops, restarts or reloads a service of a node. Restarting pveproxy can cut this connection.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &SERVICE, &COMMAND, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(
        Step::change(
            Post,
            "/nodes/{node}/services/{service}/{command}",
            &["/nodes/{node}:Sys.Modify"],
            Touches::Service {
                name: &SERVICE,
                command: &COMMAND,
            },
            Harm::None,
        ),
        Show::Action("{command} of service {service}"),
    ),
};

/// How many lines of a log.
const LINES: Param = Param::optional("limit", Kind::Integer(1, 5_000), "").default("100");
const FIRST_LINE: Param = Param::optional(
    "start",
    Kind::Integer(0, u64::MAX),
    "First line to show, instead of the newest.",
);
const SINCE: Param = Param::optional(
    "since",
    Kind::Time,
    "UTC: 2026-11-20 10:00:00Z, a date, or Unix seconds.",
);
const UNTIL: Param = Param::optional("until", Kind::Time, "");
const UNIT: Param = Param::optional("service", Kind::Format(&format::UNIT), "systemd unit.");

pub(super) static SYSLOG: Tool = Tool {
    title: "Read the system log",
    summary: "Shows the newest lines of a node's system log, by time span or unit. proxmox_get_node_journal continues where a call ended.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[
        &NODE,
        &LINES,
        &FIRST_LINE,
        &SINCE,
        &UNTIL,
        &UNIT,
        &ERRORS_ONLY,
        &GREP,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/time", needs::NODE),
            Step::read("/nodes/{node}/syslog", needs::LOGS),
        ],
        syslog,
    ),
};

fn syslog(client: &Client, args: &Args) -> Result<Answer, Error> {
    let (since, until) = (args.integer(&SINCE), args.integer(&UNTIL));
    // Proxmox expects times in the time zone of the node.
    let offset = match since.or(until) {
        Some(_) => offset(client, args)?,
        None => None,
    };
    let local = |time: u64| {
        let local = text::time(time.saturating_add_signed(offset.unwrap_or(0)));
        let local = local.trim_end_matches('Z');
        local.strip_suffix(" 00:00:00").unwrap_or(local).to_owned()
    };
    let from = since.map_or_else(|| yesterday(client.now()), local);
    let page = |start: u64, limit: u64| {
        let mut request = args
            .request(Get, "/nodes/{node}/syslog")
            .with("start", start.to_string())
            .with("limit", limit.to_string())
            .with(SINCE.name, &*from);
        if let Some(until) = until {
            request = request.with(UNTIL.name, local(until));
        }
        client.answer(&args.send_given(request, &[&UNIT]))
    };
    let limit = args.integer(&LINES).unwrap_or(100);
    // Proxmox counts from the oldest line, so the total is needed to find the newest.
    let start = match args.integer(&FIRST_LINE) {
        Some(start) => start,
        None => {
            number(&page(0, 1)?["total"]).map_or(0, |total| (total as u64).saturating_sub(limit))
        }
    };
    let mut answer = page(start, limit)?;
    let lines = answer::log_lines(answer["data"].take());
    let total = number(&answer["total"]).unwrap_or_default() as u64;
    let node = &args[&NODE];
    let given = since.map(text::time);
    let heading = match (since.or(until), offset) {
        (None, _) | (Some(_), Some(0)) => given.unwrap_or(from),
        (Some(_), Some(offset)) => {
            format!("{} (lines in {})", given.unwrap_or(from), zone(offset))
        }
        (Some(_), None) => format!(
            "{from} (times taken as local: the zone of {node} could not be read, which needs Sys.Audit on /nodes/{node})"
        ),
    };
    let log = Lines {
        heading: format!("System log of {node} since {heading}"),
        // `no content` counts as a line.
        total: if lines.is_empty() && start == 0 {
            0
        } else {
            total
        },
        lines,
        first: start,
        more: "start and limit show others",
    };
    let answer = matching(args, log, tells_error).answer();
    Ok(match offset {
        Some(offset) => answer.with("utc_offset", offset),
        None => answer,
    })
}

/// Returns the offset of the node from UTC in seconds; `None` if the token may not read it.
fn offset(client: &Client, args: &Args) -> Result<Option<i64>, Error> {
    let clock = match client.send(&args.request(Get, "/nodes/{node}/time")) {
        Err(error) if error.is_refused() => return Ok(None),
        clock => clock?,
    };
    let seconds = |key: &str| number(&clock[key]).map(|seconds| seconds as i64);
    let offset = seconds("localtime").zip(seconds("time"));
    let offset = offset.map(|(local, universal)| local.saturating_sub(universal));
    Ok(offset.filter(|offset| offset.unsigned_abs() <= 86_400))
}

/// `UTC+02:00`
fn zone(offset: i64) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Returns the day before `now`, in UTC, since the time zone of the host is unknown.
fn yesterday(now: u64) -> String {
    let (year, month, day) = text::date((now / 86_400).saturating_sub(1));
    format!("{year:04}-{month:02}-{day:02}")
}

const ENTRIES: Param = Param::optional(
    "lastentries",
    Kind::Integer(1, 5_000),
    "Number of newest lines; not with since or startcursor.",
)
.local();
const JOURNAL_LINES: Param = Param::optional(
    "limit",
    Kind::Integer(1, 5_000),
    "Number of newest lines, even with since.",
)
.local();
const START_CURSOR: Param = Param::optional("startcursor", Kind::Text(1, 512), "");
const END_CURSOR: Param = Param::optional("endcursor", Kind::Text(1, 512), "");

pub(super) static JOURNAL: Tool = Tool {
    title: "Read the journal",
    summary: "Shows a node's systemd journal, by default the newest 200 lines, or what came after a cursor. For one unit use proxmox_get_node_syslog.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[
        &NODE,
        &ENTRIES,
        &JOURNAL_LINES,
        &SINCE,
        &UNTIL,
        &START_CURSOR,
        &END_CURSOR,
        &ERRORS_ONLY,
        &GREP,
    ],
    call: Call::Steps(&[Step::read("/nodes/{node}/journal", needs::LOGS)], journal),
};

fn journal(client: &Client, args: &Args) -> Result<Answer, Error> {
    let given = |param: &Param| args.get(param).is_some();
    // Proxmox would reply with an empty body and status 200.
    let conflicts = [
        (ENTRIES, SINCE),
        (ENTRIES, START_CURSOR),
        (SINCE, START_CURSOR),
        (UNTIL, END_CURSOR),
    ];
    let conflicts: Vec<String> = conflicts
        .iter()
        .filter(|(one, other)| given(one) && given(other))
        .map(|(one, other)| format!("{} and {} are mutually exclusive", one.name, other.name))
        .collect();
    if !conflicts.is_empty() {
        return Err(Error::arguments(conflicts));
    }
    let most = args
        .integer(&ENTRIES)
        .or(args.integer(&JOURNAL_LINES))
        .unwrap_or(200);
    let mut request = args.request(Get, "/nodes/{node}/journal");
    if !given(&SINCE) && !given(&START_CURSOR) {
        request = request.with(ENTRIES.name, most.to_string());
    }
    let request = args.send_given(request, &[&SINCE, &UNTIL, &START_CURSOR, &END_CURSOR]);
    let data = client.send(&request)?;
    let mut lines: Vec<String> = data
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| line.as_str().unwrap_or_default().to_owned())
        .collect();
    // The first and the last element are cursors.
    let last_cursor = (lines.len() > 1).then(|| lines.pop()).flatten();
    if last_cursor.is_some() {
        lines.remove(0);
    }
    if lines == ["no content"] {
        lines.clear();
    }
    let total = lines.len() as u64;
    let first = total.saturating_sub(most);
    let log = Lines {
        heading: format!("Journal of {}", &args[&NODE]),
        lines: lines.split_off(first as usize),
        first,
        total,
        more: "a larger limit shows older ones",
    };
    let answer = matching(args, log, tells_error).answer();
    Ok(match last_cursor {
        None => answer,
        Some(cursor) => {
            let cursor = text::inline(&cursor);
            answer
                .line(format!("startcursor={cursor} continues from here."))
                .with("cursor", cursor)
        }
    })
}

const TASKS_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");
const SOURCE: Param = Param::optional(
    "source",
    Kind::Choice(&["all", "active", "archive"]),
    "active: running or just ended.",
)
.default("all");
const RUNNING: Param = Param::optional("running", Kind::Flag, "");
const TASK_LIMIT: Param = Param::optional("limit", Kind::Integer(1, 500), "").default("50");
const TASK_START: Param = Param::optional("start", Kind::Integer(0, u64::MAX), "");
const ERRORS: Param = Param::optional("errors", Kind::Flag, "Only failed tasks.");
const TYPE_FILTER: Param =
    Param::optional("type", Kind::Text(1, 64), "Task type, such as qmstart.")
        .sent_as("typefilter")
        .alias(&["typefilter"]);
const USER_FILTER: Param = Param::optional("userfilter", Kind::Text(1, 64), "");
const STATUS_FILTER: Param = Param::optional(
    "statusfilter",
    Kind::Text(1, 64),
    "Any of ok, error, warning, unknown.",
);
const TASK_FILTERS: &[&Param] = &[
    &ERRORS,
    &TYPE_FILTER,
    &USER_FILTER,
    &OF_GUEST,
    &SINCE,
    &UNTIL,
    &STATUS_FILTER,
];

pub(super) static TASKS: Tool = Tool {
    title: "List tasks",
    summary: "Searches tasks of all nodes or one by type, guest, user, result and time, including archived ones, newest first; the status of a failed one says why.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: takes![
        &[&TASKS_NODE, &SOURCE, &RUNNING, &TASK_LIMIT, &TASK_START,],
        TASK_FILTERS,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes", &[]),
            Step::read("/nodes/{node}/tasks", &[]),
        ],
        tasks,
    ),
};

/// Tasks, the newest first.
pub(super) static TASK_TABLE: Table = Table {
    name: "tasks",
    noun: ["task", "tasks"],
    columns: &[
        Column::time("starttime"),
        Column::time("endtime"),
        Column::text("node"),
        Column::text("type"),
        Column::text("id"),
        Column::text("user"),
        Column::text("status"),
        Column::text("upid"),
    ],
    sort: &[Order::Down("starttime"), Order::Up("upid")],
    count: None,
};

fn tasks(client: &Client, args: &Args) -> Result<Answer, Error> {
    let running = args.flag(&RUNNING);
    let source = &args[&SOURCE];
    if running && source == "archive" {
        return Err(Error::arguments(vec![
            "running and source=archive are mutually exclusive".to_owned(),
        ]));
    }
    let source = if running { "active" } else { source };
    let limit = args.integer(&TASK_LIMIT).unwrap_or(50);
    let start = args.integer(&TASK_START);
    let read = |node: &str, start: Option<u64>, limit: u64| {
        let mut request = Request::new(Get, "/nodes/{node}/tasks")
            .segment("node", node)
            .with("source", source)
            .with("limit", limit.to_string());
        if let Some(start) = start {
            request = request.with("start", start.to_string());
        }
        let mut answer = client.answer(&args.send_given(request, TASK_FILTERS))?;
        let mut rows = answer::rows(answer["data"].take());
        let total = number(&answer["total"]).unwrap_or_default() as u64;
        if running {
            // Recently ended tasks count as active.
            rows.retain(|task| task["endtime"].is_null());
        }
        Ok::<_, Error>((rows, total))
    };
    let skipped = start.unwrap_or(0);
    let mut notes = Vec::new();
    let (rows, total) = match args.get(&TASKS_NODE) {
        Some(node) => read(node, start, limit)?,
        None => {
            let (nodes, offline) = nodes(client)?;
            notes.extend(offline);
            // A page of all tasks can come from any node.
            let page = |node: &str| read(node, None, skipped.saturating_add(limit));
            let (rows, total) = of_all_nodes(&nodes, page, &mut notes)?;
            (page_of(rows, skipped, limit), total)
        }
    };
    let total = if running { rows.len() } else { total as usize };
    Ok(TASK_TABLE.page(rows, args, &TASK_START, total, &notes))
}

/// Returns the nodes that are not offline, and a note that names the others.
fn nodes(client: &Client) -> Result<(Vec<String>, Option<String>), Error> {
    let mut nodes = answer::rows(client.get("/nodes")?);
    sort_by(&mut nodes, |a, b| compare(&a["node"], &b["node"]));
    let (offline, online): (Vec<Value>, Vec<Value>) = nodes
        .into_iter()
        .partition(|node| node["status"] == "offline");
    let names = |nodes: &[Value]| -> Vec<String> {
        nodes.iter().map(|node| plain(&node["node"])).collect()
    };
    let note = (!offline.is_empty()).then(|| format!("Offline: {}", names(&offline).join(", ")));
    Ok((names(&online), note))
}

/// Returns what `read` finds on all nodes, with the total. A node that fails is named in a note; it is an error
/// only if all fail.
fn of_all_nodes(
    nodes: &[String],
    read: impl Fn(&str) -> Result<(Vec<Value>, u64), Error>,
    notes: &mut Vec<String>,
) -> Result<(Vec<Value>, u64), Error> {
    let mut all = (Vec::new(), 0);
    let mut failed = Vec::new();
    for node in nodes {
        match read(node) {
            Ok((rows, total)) => {
                all.0.extend(rows);
                all.1 += total;
            }
            Err(error) if error.is_refused() => {
                notes.push(format!("Not read: {node}: {}", error.brief()));
                failed.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    match failed.pop() {
        Some(error) if failed.len() + 1 == nodes.len() => Err(error),
        _ => Ok(all),
    }
}

/// Returns the newest tasks after the first `skipped`.
fn page_of(mut rows: Vec<Value>, skipped: u64, limit: u64) -> Vec<Value> {
    sort_by(&mut rows, |a, b| compare(&b["starttime"], &a["starttime"]));
    rows.into_iter()
        .skip(skipped as usize)
        .take(limit as usize)
        .collect()
}

const TASK_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");
const UPID: Param = Param::required("upid", Kind::Format(&format::UPID), "");
const LOG_LINES: Param = Param::optional("log_lines", Kind::Integer(0, 5_000), "")
    .default("20")
    .alias(&["log_limit"]);
const LOG_START: Param = Param::optional(
    "start",
    Kind::Integer(0, u64::MAX),
    "First log line to show, instead of the last.",
);

pub(super) static TASK: Tool = Tool {
    title: "Task status",
    summary: "Shows whether a task is running or how it ended, with the last lines of its log; does not wait.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[
        &TASK_NODE,
        &UPID,
        &LOG_LINES,
        &LOG_START,
        &ERRORS_ONLY,
        &GREP,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/tasks/{upid}/status", &[]),
            Step::read("/nodes/{node}/tasks/{upid}/log", &[]),
            Step::read("/nodes/{node}/tasks", &[]),
        ],
        task_status,
    ),
};

fn task_status(client: &Client, args: &Args) -> Result<Answer, Error> {
    let upid = &args[&UPID];
    let node = Upid::parse(upid).map_or("", |task| task.node);
    if let Some(given) = args.get(&TASK_NODE)
        && given != node
    {
        return Err(Error::arguments(vec![format!(
            "node must be {node}, which runs this task, or absent"
        )]));
    }
    let task = Task::new("", upid);
    let status = task.status(client)?;
    let state = match (status["status"].as_str(), status["exitstatus"].as_str()) {
        (Some("stopped"), Some(exit)) if exit == "OK" || exit.starts_with("WARNINGS") => {
            format!("ended, {}", text::inline(exit))
        }
        (Some("stopped"), Some(exit)) => format!("FAILED: {}", text::inline(exit)),
        (Some("stopped"), None) => "ended, result unknown".to_owned(),
        _ => "running".to_owned(),
    };
    let ended = match status["status"] == "stopped" {
        true => task.ended(client),
        false => None,
    };
    let duration = ended.and_then(|ended| ended.checked_sub(task.started()));
    let what = format!(
        "{} {}",
        text::opening(&plain(&status["type"])),
        plain(&status["id"])
    );
    let mut heading = format!(
        "{} on {node}: {state}\nstarted: {} by {}",
        what.trim_end(),
        text::time(task.started()),
        plain(&status["user"]),
    );
    if let Some(duration) = duration {
        heading.push_str(&format!(", took {}", text::duration(duration)));
    }
    let lines = args.integer(&LOG_LINES).unwrap_or(20);
    let mut answer = match lines {
        0 => Answer::new(heading),
        lines => {
            let (lines, first, total) = task.log_lines(client, args.integer(&LOG_START), lines)?;
            let log = Lines {
                heading,
                lines,
                first,
                total,
                more: "log_lines and start show others",
            };
            matching(args, log, tells_error).answer()
        }
    };
    if let Some(duration) = duration {
        answer = answer.with("duration", duration);
    }
    for (key, value) in status.as_object().into_iter().flatten() {
        answer = answer.with(key, value.clone());
    }
    Ok(answer)
}

const SECTION: Param = Param::optional(
    "section",
    Kind::Text(1, 64),
    "system, turnkeylinux or mail.",
)
.local();
const SEARCH: Param =
    Param::optional("search", Kind::Text(1, 64), "Part of the name or headline.").local();

pub(super) static APLINFO: Tool = Tool {
    title: "List templates on offer",
    summary: "Lists the container templates that a node can download.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &SECTION, &SEARCH, &LIMIT, &OFFSET],
    call: Call::Steps(&[Step::read("/nodes/{node}/aplinfo", &[])], aplinfo),
};

fn aplinfo(client: &Client, args: &Args) -> Result<Answer, Error> {
    static TEMPLATES: Table = Table {
        name: "templates",
        noun: ["template", "templates"],
        columns: &[
            Column::text("template"),
            Column::text("section"),
            Column::text("version"),
            Column::text("headline"),
        ],
        sort: &[Order::Up("section"), Order::Up("template")],
        count: Some("section"),
    };
    let mut rows = answer::rows(client.send(&args.request(Get, "/nodes/{node}/aplinfo"))?);
    if let Some(section) = args.get(&SECTION) {
        rows.retain(|row| plain(&row["section"]).eq_ignore_ascii_case(section));
    }
    if let Some(search) = args.get(&SEARCH).map(str::to_lowercase) {
        rows.retain(|row| {
            ["template", "headline"]
                .iter()
                .any(|key| plain(&row[key]).to_lowercase().contains(&search))
        });
    }
    Ok(TEMPLATES.answer(rows, args, &[]))
}

pub(super) static NETSTAT: Tool = Tool {
    title: "Guest traffic",
    summary: "Shows the network traffic of each running guest on a node.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &LIMIT, &OFFSET],
    call: Call::Plain(
        Step::read("/nodes/{node}/netstat", needs::NODE),
        Show::Table(&Table {
            name: "devices",
            noun: ["device", "devices"],
            columns: &[
                Column::number("vmid"),
                Column::text("dev"),
                // As the guest sees it.
                Column::bytes("in").worded("{} received"),
                Column::bytes("out").worded("{} sent"),
            ],
            sort: &[Order::Up("vmid"), Order::Up("dev")],
            count: None,
        }),
    ),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_log_from_the_day_before() {
        assert_eq!(yesterday(1_784_030_400), "2026-07-13");
        assert_eq!(yesterday(1_772_323_200), "2026-02-28");
    }
}
