//! Node management: services, logs, tasks, templates on offer, traffic.

use serde_json::Value;

use super::common::NODE;
use crate::answer::{self, Answer, Column, LIMIT, Lines, OFFSET, Order, Table, number, plain};
use crate::error::Error;
use crate::format;
use crate::param::{Args, Kind, Param};
use crate::pve::client::Client;
use crate::pve::request::Method::{Get, Post};
use crate::text;
use crate::tool::{Call, Effect, Permission, Show, Tool};

pub(super) static SERVICES: Tool = Tool {
    title: "List services",
    summary: "Lists the system services that Proxmox manages on a node.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, LIMIT, OFFSET],
    call: Call::Plain(
        Get,
        "/nodes/{node}/services",
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
    summary: "Starts, stops, restarts or reloads a service of a node. Reload pveproxy and pvedaemon: a restart can cut this connection.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[NODE, SERVICE, COMMAND],
    call: Call::Plain(
        Post,
        "/nodes/{node}/services/{service}/{command}",
        Show::Action("{command} of service {service}"),
    ),
};

/// How many lines of a log.
const LINES: Param = Param::optional("limit", Kind::Integer(1, 5_000), "").default("100");
const FIRST_LINE: Param = Param::optional(
    "start",
    Kind::Integer(0, u64::MAX),
    "Instead of the newest lines.",
);
const SINCE: Param = Param::optional(
    "since",
    Kind::Format(&format::TIME),
    "YYYY-MM-DD[ HH:MM[:SS]]; yesterday if absent.",
);
const UNTIL: Param = Param::optional("until", Kind::Format(&format::TIME), "");
const UNIT: Param = Param::optional("service", Kind::Format(&format::UNIT), "Unit name.");

pub(super) static SYSLOG: Tool = Tool {
    title: "Read the system log",
    summary: "Shows the newest lines of a node's system log since a time, all units or one.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, LINES, FIRST_LINE, SINCE, UNTIL, UNIT],
    call: Call::Steps(&["GET /nodes/{node}/syslog"], syslog),
};

fn syslog(client: &Client, args: &Args) -> Result<Answer, Error> {
    let since = args
        .get(&SINCE)
        .map_or_else(|| yesterday(client.now()), str::to_owned);
    let page = |start: u64, limit: u64| {
        let request = args
            .request(Get, "/nodes/{node}/syslog")
            .with("start", start.to_string())
            .with("limit", limit.to_string())
            .with("since", &*since);
        client.answer(&args.send_given(request, &[UNTIL, UNIT]))
    };
    let limit = args.integer(&LINES).unwrap_or(100);
    // Proxmox counts from the oldest line, so the newest are found through the total.
    let start = match args.integer(&FIRST_LINE) {
        Some(start) => start,
        None => {
            number(&page(0, 1)?["total"]).map_or(0, |total| (total as u64).saturating_sub(limit))
        }
    };
    let mut answer = page(start, limit)?;
    let lines = log_lines(answer["data"].take());
    let total = number(&answer["total"]).unwrap_or_default() as u64;
    Ok(Lines {
        heading: format!("System log of {} since {since}", &args[&NODE]),
        // `no content` counts as a line.
        total: if lines.is_empty() && start == 0 {
            0
        } else {
            total
        },
        lines,
        first: start,
        more: "start and limit show others",
    }
    .answer())
}

/// The day before `now`, in UTC: the host's own zone is not known here.
fn yesterday(now: u64) -> String {
    let (year, month, day) = text::date((now / 86_400).saturating_sub(1));
    format!("{year:04}-{month:02}-{day:02}")
}

/// The texts of rows `{n, t}`. An empty log is the one line `no content`.
fn log_lines(data: Value) -> Vec<String> {
    let lines = answer::rows(data)
        .into_iter()
        .map(|row| row["t"].as_str().unwrap_or_default().to_owned());
    let lines: Vec<String> = lines.collect();
    if lines == ["no content"] {
        Vec::new()
    } else {
        lines
    }
}

const ENTRIES: Param = Param::optional(
    "lastentries",
    Kind::Integer(1, 5_000),
    "Newest lines; not with since or startcursor.",
)
.local();
const JOURNAL_LINES: Param = Param::optional(
    "limit",
    Kind::Integer(1, 5_000),
    "Likewise, also with since.",
)
.local();
const SINCE_EPOCH: Param = Param::optional("since", Kind::Integer(0, u64::MAX), "Unix time.");
const UNTIL_EPOCH: Param = Param::optional("until", Kind::Integer(0, u64::MAX), "Unix time.");
const START_CURSOR: Param = Param::optional("startcursor", Kind::Text(1, 512), "");
const END_CURSOR: Param = Param::optional("endcursor", Kind::Text(1, 512), "");

pub(super) static JOURNAL: Tool = Tool {
    title: "Read the journal",
    summary: "Shows lines of a node's systemd journal, by default the newest 200.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[
        NODE,
        ENTRIES,
        JOURNAL_LINES,
        SINCE_EPOCH,
        UNTIL_EPOCH,
        START_CURSOR,
        END_CURSOR,
    ],
    call: Call::Steps(&["GET /nodes/{node}/journal"], journal),
};

fn journal(client: &Client, args: &Args) -> Result<Answer, Error> {
    let given = |param: &Param| args.get(param).is_some();
    // Proxmox answers these with an empty body and status 200.
    let conflicts = [
        (ENTRIES, SINCE_EPOCH),
        (ENTRIES, START_CURSOR),
        (SINCE_EPOCH, START_CURSOR),
        (UNTIL_EPOCH, END_CURSOR),
    ];
    let conflicts: Vec<String> = conflicts
        .iter()
        .filter(|(one, other)| given(one) && given(other))
        .map(|(one, other)| format!("{} and {} exclude each other", one.name, other.name))
        .collect();
    if !conflicts.is_empty() {
        return Err(Error::Arguments(conflicts));
    }
    let most = args
        .integer(&ENTRIES)
        .or(args.integer(&JOURNAL_LINES))
        .unwrap_or(200);
    let mut request = args.request(Get, "/nodes/{node}/journal");
    if !given(&SINCE_EPOCH) && !given(&START_CURSOR) {
        request = request.with(ENTRIES.name, most.to_string());
    }
    let request = args.send_given(
        request,
        &[SINCE_EPOCH, UNTIL_EPOCH, START_CURSOR, END_CURSOR],
    );
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
    let answer = Lines {
        heading: format!("Journal of {}", &args[&NODE]),
        lines: lines.split_off(first as usize),
        first,
        total,
        more: "a larger limit shows older ones",
    }
    .answer();
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

const SOURCE: Param =
    Param::optional("source", Kind::Choice(&["archive", "active", "all"]), "").default("all");
const TASK_LIMIT: Param = Param::optional("limit", Kind::Integer(1, 500), "").default("50");
const TASK_START: Param = Param::optional("start", Kind::Integer(0, u64::MAX), "");
const ERRORS: Param = Param::optional("errors", Kind::Flag, "Failed ones only.");
const TYPE_FILTER: Param = Param::optional(
    "typefilter",
    Kind::Text(1, 64),
    "Exact type, such as qmstart.",
);
const USER_FILTER: Param = Param::optional("userfilter", Kind::Text(1, 64), "");
const OF_GUEST: Param = Param::optional("vmid", Kind::Integer(100, 999_999_999), "");
const STATUS_FILTER: Param = Param::optional(
    "statusfilter",
    Kind::Text(1, 64),
    "Of ok, error, warning, unknown, with commas.",
);

pub(super) static TASKS: Tool = Tool {
    title: "List tasks",
    summary: "Lists tasks of a node, newest first, running ones included.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[
        NODE,
        SOURCE,
        TASK_LIMIT,
        TASK_START,
        ERRORS,
        TYPE_FILTER,
        USER_FILTER,
        OF_GUEST,
        SINCE_EPOCH,
        UNTIL_EPOCH,
        STATUS_FILTER,
    ],
    call: Call::Steps(&["GET /nodes/{node}/tasks"], tasks),
};

fn tasks(client: &Client, args: &Args) -> Result<Answer, Error> {
    static TASKS: Table = Table {
        name: "tasks",
        noun: ["task", "tasks"],
        columns: &[
            Column::time("starttime"),
            Column::time("endtime"),
            Column::text("type"),
            Column::text("id"),
            Column::text("user"),
            Column::text("status"),
            Column::text("upid"),
        ],
        sort: &[Order::Down("starttime"), Order::Up("upid")],
        count: None,
    };
    let mut answer = client.answer(&args.whole_request(Get, "/nodes/{node}/tasks"))?;
    let rows = answer::rows(answer["data"].take());
    let total = number(&answer["total"]).unwrap_or_default() as usize;
    Ok(TASKS.page(rows, args, &TASK_START, total))
}

const TASK_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");
const UPID: Param = Param::required("upid", Kind::Format(&format::UPID), "");
const LOG_LINES: Param = Param::optional(
    "log_lines",
    Kind::Integer(0, 5_000),
    "Last lines of its log.",
)
.default("20")
.alias(&["log_limit"]);
const LOG_START: Param = Param::optional(
    "start",
    Kind::Integer(0, u64::MAX),
    "Instead of the last lines.",
);

pub(super) static TASK: Tool = Tool {
    title: "Task status",
    summary: "Tells whether a task runs or how it ended, with the last lines of its log.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[TASK_NODE, UPID, LOG_LINES, LOG_START],
    call: Call::Steps(
        &[
            "GET /nodes/{node}/tasks/{upid}/status",
            "GET /nodes/{node}/tasks/{upid}/log",
        ],
        task,
    ),
};

fn task(client: &Client, args: &Args) -> Result<Answer, Error> {
    let upid = &args[&UPID];
    let node = format::upid_node(upid).unwrap_or_default();
    if let Some(given) = args.get(&TASK_NODE)
        && given != node
    {
        return Err(Error::Arguments(vec![format!(
            "node must be {node}, which runs this task, or absent"
        )]));
    }
    let request = |part| args.request(Get, part).segment("node", node);
    let status = client.send(&request("/nodes/{node}/tasks/{upid}/status"))?;
    let lines = args.integer(&LOG_LINES).unwrap_or(20);
    let log = |start: u64| {
        let request = request("/nodes/{node}/tasks/{upid}/log");
        client.answer(
            &request
                .with("start", start.to_string())
                .with("limit", lines.to_string()),
        )
    };
    let started = number(&status["starttime"]).unwrap_or_default() as u64;
    let state = match (status["status"].as_str(), status["exitstatus"].as_str()) {
        (Some("stopped"), Some(exit)) if exit == "OK" || exit.starts_with("WARNINGS") => {
            format!("ended, {}", text::inline(exit))
        }
        (Some("stopped"), Some(exit)) => format!("FAILED: {}", text::inline(exit)),
        (Some("stopped"), None) => "ended, result unknown".to_owned(),
        _ => "running".to_owned(),
    };
    let heading = format!(
        "{} on {node}: {state}\nstarted: {} by {}",
        format!("{} {}", plain(&status["type"]), plain(&status["id"])).trim_end(),
        text::time(started),
        plain(&status["user"]),
    );
    let mut answer = Answer {
        text: heading.clone(),
        data: Default::default(),
    };
    if lines > 0 {
        let wanted = args.integer(&LOG_START);
        let mut start = wanted.unwrap_or(0);
        let mut page = log(start)?;
        let total = number(&page["total"]).unwrap_or_default() as u64;
        if wanted.is_none() && total > lines {
            start = total - lines;
            page = log(start)?;
        }
        answer = Lines {
            heading,
            lines: log_lines(page["data"].take()),
            first: start,
            total,
            more: "log_lines and start show others",
        }
        .answer();
    }
    for (key, value) in status.as_object().into_iter().flatten() {
        answer = answer.with(key, value.clone());
    }
    Ok(answer)
}

const SECTION: Param =
    Param::optional("section", Kind::Text(1, 64), "system, turnkeylinux, mail.").local();
const SEARCH: Param =
    Param::optional("search", Kind::Text(1, 64), "Part of template or headline.").local();

pub(super) static APLINFO: Tool = Tool {
    title: "List templates on offer",
    summary: "Lists the container templates that a node can download. Those it has already: proxmox_list_templates.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, SECTION, SEARCH, LIMIT, OFFSET],
    call: Call::Steps(&["GET /nodes/{node}/aplinfo"], aplinfo),
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
    summary: "Shows the bytes that each running guest's network devices on a node took in and sent.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, LIMIT, OFFSET],
    call: Call::Plain(
        Get,
        "/nodes/{node}/netstat",
        Show::Table(&Table {
            name: "devices",
            noun: ["device", "devices"],
            columns: &[
                Column::number("vmid"),
                Column::text("dev"),
                Column::bytes("in"),
                Column::bytes("out"),
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
    fn takes_the_log_from_the_day_before() {
        assert_eq!(yesterday(1_784_030_400), "2026-07-13");
        assert_eq!(yesterday(1_772_323_200), "2026-02-28");
    }
}
