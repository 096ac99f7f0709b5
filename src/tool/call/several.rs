//! A call for several guests: one call of the same tool for each.
//!
//! All of them are rehearsed first, up to the request that each would send. If the boundaries refuse one, or
//! one guest does not allow it, everything fails before anything is sent; and the user is asked once about
//! all of it. Then the calls run side by side. Each passes the gate again when it sends its request, which
//! must still be what the user agreed to.

use std::mem;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{CallState, End, Job, Outcome, Oversight, WaitingCall};
use crate::answer::{Answer, plain};
use crate::cluster::guests::{self, GUESTS, Guest, NODE, OUTCOMES, TYPE, VMID};
use crate::cluster::patience::Patience;
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::{Error, ErrorKind, Rehearsal};
use crate::param::{Args, Kind, Param};
use crate::safety::consent::Approval;
use crate::safety::nodes::refuse_alias;
use crate::safety::{CONFIRM_TOKEN, Caller, DRY_RUN};
use crate::text;
use crate::tool::ListedTool;

/// How many of the calls run at the same time.
pub(crate) const PARALLEL: Param = Param::optional("parallel", Kind::Integer(1, 10), "")
    .alias(&["max_workers"])
    .local()
    .unlisted();

/// The default of [`PARALLEL`].
pub(crate) const USUAL_PARALLEL: u64 = 2;

/// Whether no more calls are started once one has failed.
const STOP_ON_ERROR: Param = Param::optional("stop_on_error", Kind::Flag, "")
    .local()
    .unlisted();

/// What a tool also takes if its calls can be for several guests.
pub(in crate::tool) static PARAMS: [&Param; 3] = [&GUESTS, &PARALLEL, &STOP_ON_ERROR];

/// The calls for several guests.
pub(crate) struct Several<'a> {
    pub(super) oversight: Oversight<'a>,
    entry: ListedTool,
    args: Args,
    /// The arguments of each call, except its guest.
    arguments: Map<String, Value>,
    parallel: usize,
    stops_on_error: bool,
    /// When to stop starting calls.
    deadline: Instant,
    parts: Vec<Part>,
    /// The next part to start.
    next: usize,
    running: Vec<(usize, Box<WaitingCall<'a>>)>,
}

/// The call for one of the guests.
struct Part {
    guest: Value,
    /// A digest of what the user agreed to.
    shown: Option<[u8; 32]>,
    outcome: Option<Outcome>,
}

/// Starts a call whose arguments name several guests.
pub(super) fn begin<'a>(
    mut oversight: Oversight<'a>,
    job: Job,
    arguments: &Map<String, Value>,
) -> CallState<'a> {
    match plan(&mut oversight, &job, arguments) {
        Err(error) => CallState::Ended(oversight.end(Err(error))),
        Ok(Plan {
            parts,
            arguments,
            limit,
        }) => {
            oversight.gate.leave_record_to_parts();
            let parallel = job.args.integer(&PARALLEL).unwrap_or(USUAL_PARALLEL);
            Several {
                oversight,
                entry: job.entry,
                arguments,
                parallel: parallel as usize,
                stops_on_error: job.args.flag(&STOP_ON_ERROR),
                args: job.args,
                deadline: Instant::now() + limit,
                parts,
                next: 0,
                running: Vec::new(),
            }
            .poll()
        }
    }
}

/// What to do once everything is checked and confirmed.
struct Plan {
    parts: Vec<Part>,
    arguments: Map<String, Value>,
    limit: Duration,
}

/// Finds the guests, rehearses the call for each, and asks the user to agree to all of it.
fn plan(
    oversight: &mut Oversight,
    job: &Job,
    arguments: &Map<String, Value>,
) -> Result<Plan, Error> {
    let context = oversight.context;
    oversight.gate.set_call(&job.args, context.now())?;
    let of_one = ["vmid", "node", "type", "digest"];
    let problems = of_one.iter().filter(|name| job.args.named(name).is_some());
    let problems: Vec<String> = problems
        .map(|name| format!("{name} does not go with guests"))
        .collect();
    if !problems.is_empty() {
        return Err(Error::arguments(problems));
    }
    let about_all = [GUESTS, PARALLEL, STOP_ON_ERROR, DRY_RUN, CONFIRM_TOKEN];
    let is_about_all = |name: &str| about_all.iter().any(|param| param.is_called(name));
    let mut arguments = arguments.clone();
    arguments.retain(|name, _| !is_about_all(name) && !of_one.contains(&&**name));

    let client = oversight.client()?;
    refuse_alias(&client, &job.args)?;
    let guests = guests::find_several(&client, job.args.list(&GUESTS), true)?;
    let mut rehearsals = Vec::new();
    let mut failed: Option<Error> = None;
    for guest in &guests {
        match rehearse(oversight, job.entry, &arguments, guest) {
            Ok(rehearsal) => rehearsals.push((identified(guest), rehearsal)),
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => {
                failed = Some(match failed {
                    None => error,
                    Some(first) => first.because(error.summary()),
                });
            }
        }
    }
    if let Some(error) = failed {
        return Err(error.hint("Nothing was sent to any of the guests."));
    }
    if oversight.gate.is_dry_run() {
        let name = job.entry.name;
        return Err(Error::dry_run(preview(name, &guests, &rehearsals).into()));
    }
    oversight.gate.confirm_together(&client, &rehearsals)?;
    let parts = guests.into_iter().zip(rehearsals);
    let parts = parts.map(|(guest, (_, rehearsal))| Part {
        guest,
        shown: rehearsal.and_then(|rehearsal| rehearsal.shown),
        outcome: None,
    });
    Ok(Plan {
        parts: parts.collect(),
        arguments,
        limit: Patience::of(&client, job.args.integer(&WAIT_TIMEOUT)).limit(),
    })
}

/// Runs the call for one guest up to its first change, which is not sent; returns `None` if it would change
/// nothing.
fn rehearse(
    whole: &Oversight,
    entry: ListedTool,
    arguments: &Map<String, Value>,
    guest: &Value,
) -> Result<Option<Rehearsal>, Error> {
    let approval = Approval::Rehearsed {
        can_ask: whole.gate.can_ask(),
    };
    let arguments = with_guest(arguments, guest);
    let (mut args, picked) = entry.check_call(whole.context, &arguments)?;
    args.guest = Some(guest.clone());
    let mut job = Job {
        entry,
        args,
        picked,
        follows_tasks: false,
        note: None,
    };
    let mut oversight = Oversight::new(whole.context, entry, caller(whole, approval));
    match oversight.begin(&mut job, &arguments) {
        Ok(_) => Ok(None),
        Err(error) => match error.kind {
            ErrorKind::Rehearsed(rehearsal) => Ok(Some(*rehearsal)),
            _ => Err(error),
        },
    }
}

fn with_guest(arguments: &Map<String, Value>, guest: &Value) -> Map<String, Value> {
    let mut arguments = arguments.clone();
    arguments.insert(VMID.name.to_owned(), guest[VMID.name].clone());
    arguments
}

fn caller(whole: &Oversight, approval: Approval) -> Caller {
    Caller {
        name: whole.gate.client_name().to_owned(),
        follows_tasks: false,
        approval,
    }
}

/// Describes a guest: `VM 101 db01 on pve2`.
fn identified(guest: &Value) -> String {
    let [vmid, name, node] = ["vmid", "name", "node"].map(|key| plain(&guest[key]));
    let noun = Guest::of(guest).noun();
    format!("{noun} {vmid} {} on {node}", text::cut(&name, 60))
}

/// Shows the guests, and what would be sent to each.
fn preview(name: &str, guests: &[Value], parts: &[(String, Option<Rehearsal>)]) -> Answer {
    let mut rows = Vec::new();
    let mut answer = Answer::new(format!(
        "🔎 Dry run: nothing was changed. {name}, for {} guests, would send",
        guests.len()
    ));
    for (guest, (who, part)) in guests.iter().zip(parts) {
        let request = part.as_ref().map(|part| &*part.request);
        let sentence = part.as_ref().and_then(|part| part.sentence.as_deref());
        answer = answer.line(match (request, sentence) {
            (Some(request), Some(sentence)) => format!("{who}: {request}: {sentence}"),
            (Some(request), None) => format!("{who}: {request}"),
            (None, _) => format!("{who}: nothing"),
        });
        let mut row = json!({ "request": request });
        for param in [VMID, NODE, TYPE] {
            row[param.name] = guest[param.name].clone();
        }
        for (key, value) in [("name", guest["name"].as_str()), ("what", sentence)] {
            if let Some(value) = value {
                row[key] = value.into();
            }
        }
        rows.push(row);
    }
    if rows.len() > 1 && parts.iter().flat_map(|(_, part)| part).any(is_asked_about) {
        answer = answer.line("It may have to be confirmed.");
    }
    answer.with("dry_run", true).with("guests", rows)
}

fn is_asked_about(part: &Rehearsal) -> bool {
    part.shown.is_some()
}

impl<'a> Several<'a> {
    /// Returns when there is something to do.
    pub(super) fn due(&self) -> Instant {
        match self.starts_next() {
            true => Instant::now(),
            false => {
                let dues = self.running.iter().map(|(_, call)| call.due());
                dues.min().unwrap_or_else(Instant::now)
            }
        }
    }

    /// Polls the calls that are due, and starts one more if possible.
    pub(super) fn poll(mut self) -> CallState<'a> {
        let now = Instant::now();
        for (at, call) in mem::take(&mut self.running) {
            let state = match call.due() <= now {
                true => call.advance(),
                false => CallState::Waits(call),
            };
            if self.keep(at, state).is_err() {
                return CallState::Ended(End::Cancelled);
            }
        }
        // One at a time: the client may cancel in between.
        if self.starts_next() {
            let at = self.next;
            self.next += 1;
            let state = self.start(at);
            if self.keep(at, state).is_err() {
                return CallState::Ended(End::Cancelled);
            }
        }
        match self.running.is_empty() && !self.starts_next() {
            true => self.end(),
            false if self.oversight.context.is_demo() => self.poll(),
            false => CallState::Waits(Box::new(WaitingCall::Several(self))),
        }
    }

    /// Ends with what is known, since the client has closed its input.
    pub(super) fn leave(mut self) -> CallState<'a> {
        for (at, call) in mem::take(&mut self.running) {
            let state = call.depart();
            if self.keep(at, state).is_err() {
                return CallState::Ended(End::Cancelled);
            }
        }
        self.end()
    }

    /// Returns the VMIDs of the guests whose calls have not started.
    pub(super) fn not_started(&self) -> Vec<String> {
        let parts = self.parts[self.next..].iter();
        parts.map(|part| plain(&part.guest["vmid"])).collect()
    }

    /// Returns whether another call can start already.
    fn starts_next(&self) -> bool {
        let has_failed = || {
            let mut ended = self.parts.iter().flat_map(|part| &part.outcome);
            ended.any(|outcome| outcome.is_error)
        };
        self.running.len() < self.parallel
            && self.next < self.parts.len()
            && Instant::now() < self.deadline
            && !(self.stops_on_error && has_failed())
    }

    fn start(&self, at: usize) -> CallState<'a> {
        let part = &self.parts[at];
        let mut arguments = with_guest(&self.arguments, &part.guest);
        if self
            .entry
            .tool
            .params()
            .any(|param| param.name == WAIT.name)
        {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let seconds = left.as_secs().clamp(1, 600);
            arguments.insert(WAIT.name.to_owned(), true.into());
            arguments.insert(WAIT_TIMEOUT.name.to_owned(), seconds.into());
        }
        let approval = Approval::Together {
            can_ask: self.oversight.gate.can_ask(),
            shown: part.shown,
        };
        let caller = caller(&self.oversight, approval);
        self.entry.start(self.oversight.context, &arguments, caller)
    }

    /// Stores the state of a call; returns an error if the client has cancelled everything.
    fn keep(&mut self, at: usize, state: CallState<'a>) -> Result<(), ()> {
        match state {
            CallState::Waits(call) => self.running.push((at, call)),
            CallState::Ended(End::Outcome(outcome)) => self.parts[at].outcome = Some(outcome),
            CallState::Ended(_) => return Err(()),
        }
        Ok(())
    }

    /// Ends with a row for each guest.
    fn end(self) -> CallState<'a> {
        let rest = self.not_started();
        let notes = match rest[..] {
            [] => None,
            _ => Some(format!(
                "Call again with guests=[{}] for those that were not started.",
                rest.join(", ")
            )),
        };
        let has_failed = |part: &Part| part.outcome.as_ref().is_some_and(|end| end.is_error);
        let rows = self.parts.iter().map(Part::row).collect();
        let answer = Answer {
            is_failure: self.parts.iter().any(has_failed),
            ..OUTCOMES.answer(rows, &self.args, notes.as_slice())
        };
        CallState::Ended(End::Outcome(answer.into()))
    }
}

impl Part {
    fn row(&self) -> Value {
        let (status, outcome, upid) = match &self.outcome {
            None => ("not started".to_owned(), String::new(), Value::Null),
            Some(outcome) => {
                let data = outcome.structured.as_ref().unwrap_or(&Value::Null);
                let status = match (outcome.is_error, data["status"].as_str()) {
                    (true, _) => "failed",
                    (false, Some(status)) => status,
                    (false, None) => "done",
                };
                (
                    status.to_owned(),
                    brief(&outcome.text),
                    data["upid"].clone(),
                )
            }
        };
        let mut row = json!({ "vmid": self.guest["vmid"], "status": status });
        for (key, value) in [("name", &self.guest["name"]), ("upid", &upid)] {
            if !value.is_null() {
                row[key] = value.clone();
            }
        }
        if !outcome.is_empty() {
            row["outcome"] = outcome.into();
        }
        row
    }
}

/// Returns the text of an outcome in one line.
fn brief(text: &str) -> String {
    const MARKS: [&str; 4] = ["✅ ", "❌ Error: ", "🚫 Permission Denied: ", "Cause: "];
    let lines = text.lines().map(|line| {
        let line = line.trim();
        let mark = MARKS.iter().find_map(|mark| line.strip_prefix(mark));
        mark.unwrap_or(line)
    });
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    text::cut(&lines.join("; "), 400)
}
