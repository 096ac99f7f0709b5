//! The Tasks extension of MCP: a call that continues as a task, and its client's requests about it.
//!
//! Nothing is stored. The ID of a task is its UPID, sealed with a key derived from the API token's secret, so
//! it outlives the process and is useless to holders of other tokens. The state of a task is read from
//! Proxmox each time. Proxmox's record of it is final, and so is the status reported here.

use rustls::crypto::ring;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::cluster::tasks::{Sequel, State, Task};
use crate::error::Error;
use crate::mcp::connection::Peer;
use crate::mcp::rpc::Fault;
use crate::pve::reader::Reader;
use crate::server::era::{self, Era};
use crate::server::tool_result;
use crate::text;
use crate::text::seal::Seal;
use crate::text::sort::gather;
use crate::text::upid::Upid;
use crate::tool::{Context, End, Outcome};
use crate::tools;

/// The purpose for which the key for task IDs is derived.
const PURPOSE: &str = "proxmox-mcp/task/v1";

/// How long after its start a task can certainly be queried. In fact it can be until Proxmox removes its
/// record, so tasks that run longer are not lost.
const TIME_TO_LIVE_MS: u32 = 86_400_000;

const POLL_INTERVAL_MS: u32 = 2_000;

/// The tool that stops a task.
const STOP: &str = "proxmox_stop_task";

/// The marks of a stopped task in its exit status (`PVE/RESTEnvironment.pm`, `PVE/Tools.pm`).
///
/// `unexpected status` is not among them: a killed worker leaves it, but so does a crashed one, and only a
/// result tells the model what is known.
const INTERRUPTED: [&str; 2] = ["received interrupt", "interrupted by signal"];

/// Returns the result of a call that continues as `task`. Without an ID, it is the result for a client
/// without tasks; the demonstration has none, since nothing continues there.
pub(super) fn created(context: &Context, task: &Task) -> Value {
    match (context.reader(), close(context, task)) {
        (Ok(client), Some(id)) => {
            let started = format!("{}: started", task.what);
            let mut result = described(&id, task, "working", &started, client.now());
            result["resultType"] = "task".into();
            result
        }
        (Ok(client), None) => reported(&client, task, State::Started),
        (Err(error), _) => tool_result(error.into()),
    }
}

/// Returns the result of `tasks/get`; `None` if that request was cancelled.
pub(super) fn get(context: &Context, params: &Map<String, Value>) -> Result<Option<Value>, Fault> {
    let (id, task) = open(context, params)?;
    let client = context.reader().map_err(internal)?;
    match poll(&client, id, &task) {
        Ok(result) => Ok(Some(result)),
        Err(error) if error.is_cancelled() => Ok(None),
        Err(error) if error.says("no such task") => Err(unknown()),
        // The task may still be running: a failed status would be final.
        Err(error) => Err(internal(error)),
    }
}

/// Returns the result of `tasks/cancel`, an acknowledgement in any case; `None` if that request was
/// cancelled.
pub(super) fn cancel(
    context: &Context,
    peer: &Peer,
    params: &mut Map<String, Value>,
) -> Result<Option<Value>, Fault> {
    let (_, task) = open(context, params)?;
    // The rules of the tool apply: the task was allowed when it started, but the settings may have changed.
    let caller = era::caller(&Era::Stateless, None, peer, params)?;
    let arguments = gather([("upid".to_owned(), task.upid.into())]);
    let stop = tools::find(STOP);
    match stop.map(|stop| stop.call(context, &arguments, caller).finish()) {
        Some(End::Cancelled) => return Ok(None),
        Some(End::Outcome(outcome)) if outcome.is_error => {
            log::warn!("a task was not stopped: {}", text::inline(&outcome.text));
        }
        _ => (),
    }
    Ok(Some(json!({})))
}

/// Returns the result of `tasks/update`. Tasks never ask for input, so there is no answer to use.
pub(super) fn update(context: &Context, params: &Map<String, Value>) -> Result<Value, Fault> {
    open(context, params)?;
    Ok(json!({}))
}

/// Reads the current state of the task.
fn poll(client: &Reader, id: &str, task: &Task) -> Result<Value, Error> {
    let state = task.followed_up(client, task.poll(client)?)?;
    let Some(exit) = state.exit().filter(|_| !state.is_open()) else {
        let message = match &state {
            State::Ended { sequel, .. } => match sequel {
                Sequel::Start(start, _) => last_line(client, start)?,
                _ => format!("{}: done, the guest is not running yet", task.what),
            },
            _ => last_line(client, task)?,
        };
        return Ok(described(id, task, "working", &message, client.now()));
    };
    let is_interrupted = INTERRUPTED.iter().any(|mark| exit.contains(mark));
    let status = match &state {
        State::Failed { .. } if is_interrupted => "cancelled",
        _ => "completed",
    };
    let ended = task.ended(client).unwrap_or_else(|| client.now());
    let mut result = described(id, task, status, exit, ended);
    if status == "completed" {
        result["result"] = era::stateless("tools/call", reported(client, task, state));
    }
    Ok(result)
}

/// Returns the result that the call would have had if it had waited.
fn reported(client: &Reader, task: &Task, state: State) -> Value {
    let answer = task.report(client, state, None, Answer::new(String::new()));
    tool_result(
        answer
            .map_or_else(Outcome::from, Outcome::from)
            .with_host(client.answered_by()),
    )
}

fn last_line(client: &Reader, task: &Task) -> Result<String, Error> {
    let lines = match task.log_lines(client, None, 1) {
        Ok((lines, _, _)) => lines,
        Err(error) if error.is_cancelled() => return Err(error),
        Err(_) => Vec::new(),
    };
    let line = lines.into_iter().rfind(|line| !line.trim().is_empty());
    Ok(line.unwrap_or_else(|| format!("{}: running", task.what)))
}

fn described(id: &str, task: &Task, status: &str, message: &str, updated: u64) -> Value {
    let started = task.started();
    json!({
        "taskId": id,
        "status": status,
        "statusMessage": text::cut(&text::inline(message), 200),
        "createdAt": timestamp(started),
        "lastUpdatedAt": timestamp(updated.max(started)),
        "ttlMs": TIME_TO_LIVE_MS,
        "pollIntervalMs": POLL_INTERVAL_MS,
    })
}

/// Returns a time in the form of ISO 8601.
fn timestamp(epoch: u64) -> String {
    text::time(epoch).replace(' ', "T")
}

fn seal(context: &Context) -> Option<Seal> {
    match context.is_demo() {
        true => None,
        false => Seal::new(context.token_secret()?, PURPOSE),
    }
}

/// Returns the ID of `task`. Its parts are not secret; the seal prevents guessing it.
fn close(context: &Context, task: &Task) -> Option<String> {
    let mut nonce = [0; 8];
    let random = ring::default_provider().secure_random;
    random.fill(&mut nonce).ok()?;
    let nonce = u64::from_be_bytes(nonce);
    Some(seal(context)?.close(&json!({
        "u": task.upid, "w": task.what, "s": task.starts, "v": task.chosen, "r": task.remarks, "n": nonce,
    })))
}

/// Returns the ID in `params`, and its task. Faults of the request come first, then those of the client, then
/// that of an unknown task.
fn open<'a>(context: &Context, params: &'a Map<String, Value>) -> Result<(&'a str, Task), Fault> {
    let Some(Value::String(id)) = params.get("taskId") else {
        return Err(Fault::invalid_params("taskId must be a string"));
    };
    era::require_tasks(params)?;
    let task = seal(context).and_then(|seal| task(&seal.open(id)?));
    Ok((id, task.ok_or_else(unknown)?))
}

fn task(content: &Value) -> Option<Task> {
    let (upid, what) = (content["u"].as_str()?, content["w"].as_str()?);
    Upid::parse(upid)?;
    Some(Task {
        starts: content["s"].as_bool(),
        chosen: content["v"].as_u64(),
        remarks: content["r"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|remark| Some(remark.as_str()?.to_owned()))
            .collect(),
        ..Task::new(what, upid)
    })
}

fn unknown() -> Fault {
    Fault::invalid_params(
        "Unknown task: the ID does not belong to this server and token, or Proxmox no longer has its record",
    )
}

fn internal(error: Error) -> Fault {
    Fault::internal(one_line(&error))
}

fn one_line(error: &Error) -> String {
    text::inline(&error.details().replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPID: &str = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:";

    #[test]
    fn describes_a_task_without_nesting() {
        let task = Task::new("Start VM 100", UPID);
        let expected = json!({
            "taskId": "id",
            "status": "working",
            "statusMessage": "50\\n%",
            "createdAt": "2026-07-14T09:12:03Z",
            // The node's clock is ahead.
            "lastUpdatedAt": "2026-07-14T09:12:03Z",
            "ttlMs": 86_400_000,
            "pollIntervalMs": 2_000,
        });
        assert_eq!(described("id", &task, "working", "50\n%", 0), expected);
    }

    #[test]
    fn accepts_only_an_id_that_contains_a_upid() {
        assert!(task(&json!({ "u": UPID, "w": "Start VM 100" })).is_some());
        for content in [
            json!({ "u": "UPID:pve1/../x:1:1:1:a:b:c:", "w": "Start" }),
            json!({ "u": UPID }),
            json!({ "w": "Start" }),
            json!([UPID]),
        ] {
            assert_eq!(task(&content), None, "{content}");
        }
    }
}
