//! What is pending of software defined networking: applied, previewed or discarded.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::common::changed_lines;
use super::{CONTROLLERS, LOCK_TOKEN, VNETS, ZONES, of_lock, with_change};
use crate::answer::{self, Answer, Pollable, Wait, plain};
use crate::cluster::tasks::{Task, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{Method::Get, Request};
use crate::row::{Choice, First, Place, Scope, Step, Touches, get, post, put};
use crate::text;
use crate::text::format;
use crate::text::sort::sort_by;
use crate::text::upid::Upid;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["apply", "preview", "rollback"]),
    "preview: what would change on node.",
);
const NODE: Param = Param::by_request("node", Kind::Format(&format::NODE), "");

/// What the question about a change names.
const PENDING: &[Step] = &[
    Step::read(ZONES, super::OF_ZONES).dispensable(),
    Step::read(VNETS, super::OF_ZONES).dispensable(),
    Step::read(super::SUBNETS, super::OF_ZONES).dispensable(),
    Step::read(CONTROLLERS, super::OF_CONTROLLERS).dispensable(),
    Step::read("/nodes", &[]),
    Step::read("/nodes/{node}/tasks", &[]),
    Step::read("/nodes/{node}/tasks/{upid}/log", &[]),
    Step::read("/nodes/{node}/sdn/zones", &[]),
];

pub(crate) static APPLY: Tool = Tool {
    title: "Apply SDN",
    summary: "Applies pending SDN changes on all nodes and shows what came of it on each, previews or discards them (Proxmox VE 9).",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&ACTION],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            name: "",
            noun: "",
            path: "/cluster/sdn",
            reads: &["/nodes/{node}:Sys.Audit"],
            changes: &["/sdn:SDN.Allocate"],
            touches: Touches::AnyGuest,
            versions: Versions::ALL,
        }),
        does: "{action} the pending SDN changes",
        rows: &[
            put("apply", "", &[&LOCK_TOKEN, &WAIT_TIMEOUT])
                .interrupts(
                    "The network of all nodes is reloaded: guests, nodes and this program can be cut off.",
                )
                .reads(First::Nothing)
                .also_reads(PENDING)
                .checks(pending)
                .starts_task()
                .waits()
                .then(follow_reloads),
            get("preview", "/dry-run", &[&NODE], Show::Made(preview))
                .known_to(Versions::since(9)),
            post("rollback", "/rollback", &[&LOCK_TOKEN])
                .interrupts("These changes are lost.")
                .touches(Touches::NoGuest)
                .also_reads(PENDING)
                .checks(pending)
                .known_to(Versions::since(9)),
        ],
    }),
};

/// The number of vnets whose subnets are looked at.
const VNETS_READ: usize = 20;

/// Names what is pending.
fn pending(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let read = |path: &str| {
        let request = Request::new(Get, path).with("pending", "1");
        client.send(&request).map(answer::rows)
    };
    let mut lines = Vec::new();
    let vnets = read(VNETS)?;
    lines.extend(changes("zone", read(ZONES)?));
    lines.extend(changes("vnet", vnets.clone()));
    for vnet in vnets.iter().take(VNETS_READ) {
        // What is deleted has none.
        if vnet["state"] != "deleted" {
            let request = Request::new(Get, super::SUBNETS).segment("vnet", &plain(&vnet["vnet"]));
            let subnets = client.send(&request.with("pending", "1"))?;
            lines.extend(changes("subnet", answer::rows(subnets)));
        }
    }
    if vnets.len() > VNETS_READ {
        lines.push(format!(
            "Subnets of only {VNETS_READ} vnets were looked at."
        ));
    }
    lines.extend(changes("controller", read(CONTROLLERS)?));
    if lines.is_empty() {
        lines.push("Nothing is pending, as far as the token sees.".to_owned());
    }
    lines.extend(of_lock(args));
    Ok(lines)
}

/// The lines `zone z1 changed: mtu: 1400 -> 1350` of the rows that are pending.
fn changes(noun: &str, rows: Vec<Value>) -> Vec<String> {
    let pending = rows.into_iter().map(with_change);
    let pending = pending.filter(|row| !row["state"].is_null());
    let lines = pending.map(|row| {
        let line = format!("{noun} {} {}", plain(&row[noun]), plain(&row["state"]));
        match &row["change"] {
            Value::Null => line,
            change => text::cut(&format!("{line}: {}", plain(change)), 300),
        }
    });
    lines.collect()
}

fn preview(args: &Args, data: Value, _: &Value) -> Answer {
    let mut answer = Answer::new(format!("What applying would change on {}", &args[&NODE]));
    for (key, file) in [
        ("interfaces-diff", "/etc/network/interfaces.d/sdn"),
        ("frr-diff", "/etc/frr/frr.conf"),
    ] {
        let diff = data[key].as_str().unwrap_or_default();
        let lines = changed_lines(diff);
        answer = match lines.is_empty() {
            true => answer.line(format!("{file}: nothing")),
            false => answer.line(format!("{file}:")).foreign_lines(&lines, 4_000),
        };
        answer = answer.with(key, text::cut(diff, text::BUDGET));
    }
    answer
}

/// The last lines of the log that are looked at.
const LOG_LINES: u64 = 200;

/// How long the nodes may take after the task that asks each of them to reload.
const RELOAD: Duration = Duration::from_secs(12);

/// The task only asks each node to reload its network, and ends well whatever comes of that.
fn follow_reloads(_: &Reader, _: &Args, answer: Answer) -> Answer {
    let Some(upid) = answer.data.get("upid").map(plain) else {
        return answer;
    };
    let reloads = Reloads {
        upid,
        text: answer.text.clone(),
        data: answer.data.clone(),
    };
    Answer {
        wait: Some(Wait {
            subject: Box::new(reloads),
            limit: RELOAD,
        }),
        ..answer
    }
}

/// The reloads of the nodes.
struct Reloads {
    /// The task that has asked for them.
    upid: String,
    /// What is known of that.
    text: String,
    data: Map<String, Value>,
}

/// What came of it on one node.
#[derive(PartialEq)]
enum Outcome {
    Reloads,
    Reloaded,
    /// Why it has not reloaded.
    Failed(String),
    Offline,
    /// Only a token with Sys.Audit on the node sees its tasks.
    Unseen,
}

impl Pollable for Reloads {
    fn poll(&self, client: &Reader, _: &Args) -> Result<Option<Answer>, Error> {
        let mut nodes = answer::rows(client.get("/nodes")?);
        sort_by(&mut nodes, |a, b| answer::compare(&a["node"], &b["node"]));
        let mut outcomes: Vec<(String, Outcome)> = Vec::new();
        for node in &nodes {
            let name = plain(&node["node"]);
            let outcome = match node["status"] == "offline" {
                true => Outcome::Offline,
                false => self.outcome(client, &name),
            };
            outcomes.push((name, outcome));
        }
        if outcomes
            .iter()
            .any(|(_, outcome)| *outcome == Outcome::Reloads)
        {
            return Ok(None);
        }
        if outcomes
            .iter()
            .any(|(_, outcome)| *outcome == Outcome::Unseen)
        {
            self.look_into_log(client, &mut outcomes);
        }
        self.answer(client, &outcomes).map(Some)
    }

    fn unfinished(&self, _: &Args) -> Answer {
        self.so_far().line("Nodes are still reloading: proxmox_get_node_tasks with type=srvreload shows them, proxmox_list_sdn with kind=zone_status what came of it.")
    }
}

impl Reloads {
    fn so_far(&self) -> Answer {
        Answer::of(self.text.clone(), self.data.clone().into())
    }

    /// How the task ended that reloads the network of a node.
    fn outcome(&self, client: &Reader, node: &str) -> Outcome {
        let since = Upid::parse(&self.upid).map_or(0, |upid| upid.started);
        let request = Request::new(Get, "/nodes/{node}/tasks")
            .segment("node", node)
            .with("source", "all")
            .with("typefilter", "srvreload")
            .with("since", since.to_string());
        let tasks = client.send(&request).map(answer::rows).unwrap_or_default();
        let mut tasks = tasks.iter();
        match tasks.find(|task| task["id"] == "networking") {
            None => Outcome::Unseen,
            Some(task) if task["endtime"].is_null() => Outcome::Reloads,
            Some(task) if task["status"] == "OK" => Outcome::Reloaded,
            Some(task) => Outcome::Failed(plain(&task["status"])),
        }
    }

    /// Finds the nodes that could not even be asked:
    ///
    /// ```text
    /// you need ifupdown2 to reload network configuration
    /// command 'pvesh set /nodes/pve1/network --regenerate-frr 1' failed: exit code 2
    /// ```
    fn look_into_log(&self, client: &Reader, outcomes: &mut [(String, Outcome)]) {
        let log = Task::new("", &self.upid).log_lines(client, None, LOG_LINES);
        let lines = log.map(|(lines, _, _)| lines).unwrap_or_default();
        for (node, outcome) in outcomes {
            let asked = format!("/nodes/{node}/network ");
            let failed = |line: &String| line.contains(&asked) && line.contains("failed");
            if *outcome == Outcome::Unseen
                && let Some(at) = lines.iter().position(failed)
            {
                let why = lines[at.saturating_sub(1)..=at].iter();
                let why: Vec<String> = why.map(|line| text::inline(line)).collect();
                *outcome = Outcome::Failed(why.join(": "));
            }
        }
    }

    /// What came of it on each node, with the state of its zones.
    fn answer(&self, client: &Reader, outcomes: &[(String, Outcome)]) -> Result<Answer, Error> {
        let (mut lines, mut rows) = (Vec::new(), Vec::new());
        for (node, outcome) in outcomes {
            let (state, shown) = match outcome {
                Outcome::Reloads => ("reloading", "reloading".to_owned()),
                Outcome::Reloaded => ("reloaded", "reloaded".to_owned()),
                Outcome::Failed(why) => ("failed", format!("NOT reloaded: {why}")),
                Outcome::Offline => ("offline", "NOT reloaded: it is offline".to_owned()),
                Outcome::Unseen => ("unseen", "its reload is not seen".to_owned()),
            };
            let mut line = format!("{node}: {shown}");
            let mut row = json!({ "node": node, "outcome": state });
            let request = Request::new(Get, "/nodes/{node}/sdn/zones").segment("node", node);
            let zones = match outcome {
                Outcome::Offline => None,
                _ => client.send(&request).ok(),
            };
            if let Some(mut zones) = zones.map(answer::rows) {
                sort_by(&mut zones, |a, b| answer::compare(&a["zone"], &b["zone"]));
                let state =
                    |zone: &Value| format!("{} {}", plain(&zone["zone"]), plain(&zone["status"]));
                let states: Vec<String> = zones.iter().map(state).collect();
                if !states.is_empty() {
                    line.push_str(&format!("; zones: {}", states.join(", ")));
                }
                row["zones"] = zones.into();
            }
            lines.push(text::cut(&line, 500));
            rows.push(row);
        }
        let may_have = |(_, outcome): &(String, Outcome)| match outcome {
            Outcome::Failed(_) | Outcome::Offline => false,
            Outcome::Reloads | Outcome::Reloaded | Outcome::Unseen => true,
        };
        if !outcomes.iter().any(may_have) {
            return Err(Error::impossible(
                "no node has applied it, although the task ended well",
                lines.join("\n"),
            )
            .hint(format!("upid: {}", self.upid)));
        }
        let answer = lines.iter().fold(self.so_far(), Answer::line);
        Ok(answer.with("nodes", rows))
    }
}
