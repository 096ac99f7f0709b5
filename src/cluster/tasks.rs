//! Tasks: work that Proxmox continues after it has answered the request that started it.

use serde_json::{Map, Value, json};

pub(crate) use crate::answer::Task;
use crate::answer::{self, Answer, number, plain};
use crate::cluster::diagnosis;
use crate::cluster::patience::Patience;
use crate::error::remedy::Case;
use crate::error::{Error, ErrorKind};
use crate::param::{Kind, Param};
use crate::pve::reader::Reader;
use crate::request::{Method::Get, Request};
use crate::row::{Step, needs};
use crate::text;
use crate::text::upid::Upid;

/// Whether to wait for the task that a call starts.
pub(crate) const WAIT: Param = Param::optional("wait", Kind::Flag, "").local();

/// How long to wait; implies `wait`.
pub(crate) const WAIT_TIMEOUT: Param = Param::optional(
    "wait_timeout",
    Kind::Integer(1, 600),
    "Seconds to wait for the task.",
)
.local();

/// The requests that waiting for a task may send.
pub(crate) const REQUESTS: &[Step] = &[
    Step::read("/nodes/{node}/tasks/{upid}/status", &[]),
    Step::read("/nodes/{node}/tasks/{upid}/log", &[]),
    Step::read("/nodes/{node}/tasks", &[]),
    Step::read("/cluster/tasks", &[]),
    Step::read("/cluster/resources", &[]),
    Step::read("/nodes/{node}/{type}/{vmid}/status/current", needs::AUDIT),
];

/// After this many seconds, a guest that a reboot has shut down will not come up again.
const LONGEST_REBOOT: u64 = 600;

/// How many of the last log lines explain a failure.
const LAST_LINES: u64 = 8;

/// What is known about a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// It was started, and is not or no longer polled.
    Started,
    /// It is running as far as is known; `poll_error` says why the last poll failed.
    Running { poll_error: Option<String> },
    /// It succeeded: `OK`, or `WARNINGS: 1` with the last lines of the log.
    Ended {
        exit: String,
        log: Vec<String>,
        sequel: Sequel,
    },
    /// It failed: why, and the last lines of the log.
    Failed { exit: String, log: Vec<String> },
}

/// What follows a successful task: a guest that was created or shut down is started by a task of its own,
/// which can fail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sequel {
    /// Nothing, as far as is known.
    None,
    /// The guest should run but was not seen running; whether it still may.
    Unseen { is_due: bool },
    /// The task that starts the guest, and its state.
    Start(Task, Box<State>),
}

impl State {
    /// Returns whether more may follow.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            State::Started | State::Running { .. } => true,
            State::Ended { sequel, .. } => match sequel {
                Sequel::None => false,
                Sequel::Unseen { is_due } => *is_due,
                Sequel::Start(_, state) => state.is_open(),
            },
            State::Failed { .. } => false,
        }
    }

    /// Returns the final exit status: that of the start that follows, if it failed.
    pub(crate) fn exit(&self) -> Option<&str> {
        match self {
            State::Started | State::Running { .. } => None,
            State::Ended {
                sequel: Sequel::Start(_, start),
                ..
            } if matches!(**start, State::Failed { .. }) => start.exit(),
            State::Ended { exit, .. } | State::Failed { exit, .. } => Some(exit),
        }
    }
}

/// A task that a call follows to its end, and to the end of what follows it. If the task only files a request
/// with the HA manager, the call follows the task that the manager starts.
pub(crate) struct FollowedTask {
    /// The task that was started.
    pub(crate) task: Task,
    /// The task that is polled: the same one, or the one that the HA manager started for it.
    followed: Task,
    /// Its final state, once known.
    ended: Option<State>,
    progress: Progress,
}

impl FollowedTask {
    pub(crate) fn new(client: &Reader, task: Task) -> Self {
        client.note_followed(&task.upid);
        Self {
            followed: task.clone(),
            task,
            ended: None,
            progress: Progress::default(),
        }
    }

    /// Returns its last known state without polling.
    pub(crate) fn known(self) -> (Task, State) {
        (self.task, self.ended.unwrap_or(State::Started))
    }

    /// Polls it once, and reports progress to the client if it is still running.
    pub(crate) fn poll(&mut self, client: &Reader) -> Result<State, Error> {
        let mut state = match self.ended.take() {
            Some(ended) => ended,
            None => self.followed.step(client)?,
        };
        if let State::Failed { log, .. } = &mut state
            && self.followed.upid != self.task.upid
        {
            log.push(format!("this was {}", self.followed.upid));
        }
        let state = self.task.followed_up(client, state)?;
        if !state.is_open() {
            return Ok(state);
        }
        match &state {
            State::Ended { sequel, .. } => {
                if let Sequel::Start(start, _) = sequel {
                    self.progress.report(start, client);
                }
                self.ended = Some(state.clone());
            }
            _ => self.progress.report(&self.followed, client),
        }
        Ok(state)
    }
}

impl Task {
    pub(crate) fn new(what: impl Into<String>, upid: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            upid: upid.into(),
            starts: None,
            chosen: None,
            remarks: Vec::new(),
        }
    }

    /// Creates a task that may have been started elsewhere, described by its type.
    pub(crate) fn found(upid: &str) -> Self {
        let task = Self::new("", upid);
        let kind = Upid::parse(upid).map_or("task", |upid| upid.kind);
        let what = match task.guest() {
            Some(guest) => format!("{kind} of {guest}"),
            None => kind.to_owned(),
        };
        Self { what, ..task }
    }

    /// Records that this program chose the VMID of its guest, for text and data.
    pub(crate) fn with_chosen_vmid(self, id: u64) -> Self {
        Self {
            what: self.what + " (the next free VMID)",
            chosen: Some(id),
            ..self
        }
    }

    /// Adds a remark to its description and to the data.
    pub(crate) fn remark(mut self, remark: &str) -> Self {
        self.remarks.push(remark.to_owned());
        self
    }

    /// Returns what it does, with the remarks in brackets at the end.
    fn description(&self) -> String {
        let remarks = self.remarks.join("; ");
        match self.what.strip_suffix(')') {
            _ if remarks.is_empty() => self.what.clone(),
            Some(open) => format!("{open}; {remarks})"),
            None => format!("{} ({remarks})", self.what),
        }
    }

    fn parts(&self) -> Option<Upid<'_>> {
        Upid::parse(&self.upid)
    }

    /// Returns the node that runs it.
    pub(crate) fn node(&self) -> &str {
        self.parts().map_or("", |upid| upid.node)
    }

    /// Returns when it was started, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        self.parts().map_or(0, |upid| upid.started)
    }

    /// Returns the VMID of the guest that it works on, if there is one.
    fn guest(&self) -> Option<&str> {
        self.parts()?.vmid()
    }

    fn request(&self, path: &str) -> Request {
        Request::new(Get, path)
            .segment("node", self.node())
            .segment("upid", &self.upid)
    }

    /// Reads its status.
    pub(crate) fn status(&self, client: &Reader) -> Result<Value, Error> {
        client.send(&self.request("/nodes/{node}/tasks/{upid}/status"))
    }

    /// Reads lines of its log, beginning at `start`; returns the whole answer, including `total`.
    fn log(&self, client: &Reader, start: u64, limit: u64) -> Result<Value, Error> {
        let request = self.request("/nodes/{node}/tasks/{upid}/log");
        client.answer(
            &request
                .with("start", start.to_string())
                .with("limit", limit.to_string()),
        )
    }

    /// Reads lines of its log, by default the last ones; also returns how many precede them and how many
    /// there are.
    pub(crate) fn log_lines(
        &self,
        client: &Reader,
        from: Option<u64>,
        count: u64,
    ) -> Result<(Vec<String>, u64, u64), Error> {
        let mut start = from.unwrap_or(0);
        let mut page = self.log(client, start, count)?;
        let total = number(&page["total"]).unwrap_or_default() as u64;
        if from.is_none() && total > count {
            start = total - count;
            page = self.log(client, start, count)?;
        }
        Ok((answer::log_lines(page["data"].take()), start, total))
    }

    /// Returns when it ended, in seconds since 1970; `None` if that cannot be read. Only the list of tasks
    /// says so.
    pub(crate) fn ended(&self, client: &Reader) -> Option<u64> {
        let started = self.started().to_string();
        let request = self
            .request("/nodes/{node}/tasks")
            .with("since", &*started)
            .with("until", started)
            .with("limit", "500");
        let tasks = client.send(&request).map(answer::rows).ok()?;
        let own = tasks.iter().find(|task| task["upid"] == *self.upid)?;
        number(&own["endtime"]).map(|end| end as u64)
    }

    /// Polls it once.
    pub(crate) fn poll(&self, client: &Reader) -> Result<State, Error> {
        let status = self.status(client)?;
        if status["status"] != "stopped" {
            return Ok(State::Running { poll_error: None });
        }
        let exit = status["exitstatus"].as_str().unwrap_or("no exit status");
        let exit = text::inline(exit);
        if exit == "OK" {
            return Ok(State::Ended {
                exit,
                log: Vec::new(),
                sequel: Sequel::None,
            });
        }
        let log = self.log_lines(client, None, LAST_LINES);
        let log = log.map(|(lines, _, _)| lines).unwrap_or_default();
        Ok(match exit.starts_with("WARNINGS") {
            true => State::Ended {
                exit,
                log,
                sequel: Sequel::None,
            },
            false => State::Failed { exit, log },
        })
    }

    /// Adds what follows to `state`, if the task succeeded.
    pub(crate) fn followed_up(&self, client: &Reader, state: State) -> Result<State, Error> {
        Ok(match state {
            State::Ended { exit, log, .. } => State::Ended {
                exit,
                log,
                sequel: self.sequel(client)?,
            },
            other => other,
        })
    }

    /// Finds out what follows its success.
    fn sequel(&self, client: &Reader) -> Result<Sequel, Error> {
        let is_expected = match self.verb() {
            // The guest is down when the task ends, and comes up a moment later.
            Some((_, "reboot")) if self.guest_state(client)?.as_deref() == Some("running") => {
                return Ok(Sequel::None);
            }
            Some((_, "reboot")) => true,
            Some((_, "create" | "restore" | "rollback")) if self.starts != Some(false) => {
                self.starts == Some(true)
            }
            _ => return Ok(Sequel::None),
        };
        let tasks = unless_refused(self.tasks_since(client))?.unwrap_or_default();
        if let Some(mut start) = self.start_among(&tasks) {
            start.starts = Some(false);
            client.note_followed(&start.upid);
            let state = start
                .poll(client)
                .or_else(|error| start.poll_error(error))?;
            return Ok(Sequel::Start(start, Box::new(state)));
        }
        let runs = || Ok(self.guest_state(client)?.as_deref() == Some("running"));
        if !is_expected || (self.starts == Some(true) && runs()?) {
            return Ok(Sequel::None);
        }
        let is_due = may_still_start(self.end_among(&tasks), client.clock());
        Ok(Sequel::Unseen { is_due })
    }

    /// Returns when it ended, if `tasks` say so.
    fn end_among(&self, tasks: &[Value]) -> Option<f64> {
        let own = tasks.iter().find(|task| task["upid"] == *self.upid)?;
        number(&own["endtime"])
    }

    /// Lists the tasks that were started since for its guest on its node, as far as the token sees them.
    fn tasks_since(&self, client: &Reader) -> Result<Vec<Value>, Error> {
        let Some(guest) = self.guest() else {
            return Ok(Vec::new());
        };
        let request = Request::new(Get, "/nodes/{node}/tasks")
            .segment("node", self.node())
            .with("source", "all")
            .with("vmid", guest)
            .with("since", self.started().to_string());
        client.send(&request).map(answer::rows)
    }

    /// Returns the first of `tasks` that starts its guest. A start after the end of the task that created the
    /// guest is unrelated.
    fn start_among(&self, tasks: &[Value]) -> Option<Task> {
        let (family, verb) = self.verb()?;
        let started = |task: &Value| number(&task["starttime"]).unwrap_or_default();
        let end = self.end_among(tasks).filter(|_| verb != "reboot");
        let end = end.unwrap_or(f64::INFINITY);
        let starts = tasks
            .iter()
            .filter(|task| task["type"] == *format!("{family}start"));
        let first = starts
            .filter(|task| started(task) <= end)
            .min_by(|a, b| started(a).total_cmp(&started(b)))?;
        let upid = first["upid"].as_str()?;
        Upid::parse(upid)?;
        Some(Task::found(upid))
    }

    /// Polls it once; if it only filed a request with the HA manager, polls the outcome of that.
    fn step(&mut self, client: &Reader) -> Result<State, Error> {
        let state = match self.poll(client) {
            Err(error) => return self.poll_error(error),
            Ok(state) => state,
        };
        if !matches!(state, State::Ended { .. }) || self.ha_goal().is_none() {
            return Ok(state);
        }
        match self.ha_outcome(client)? {
            HaOutcome::Pending => Ok(State::Running { poll_error: None }),
            HaOutcome::Reached => Ok(state),
            HaOutcome::Worker(worker) => {
                client.note_followed(&worker);
                self.upid = worker;
                self.step(client)
            }
        }
    }

    /// Returns the state after a failed poll: the task may well be running. It is an error only if polling
    /// again cannot help.
    fn poll_error(&self, error: Error) -> Result<State, Error> {
        match &error.kind {
            ErrorKind::Refused(refusal) if refusal.says("no such task") => Err(Error::impossible(
                format!("how this ended is unknown: {}", self.what),
                "Proxmox no longer has the record of the task: check what it was to change.",
            )
            .hint(format!("upid: {}", self.upid))),
            ErrorKind::Refused(_) | ErrorKind::Unanswered | ErrorKind::NotRecorded => {
                Ok(State::Running {
                    poll_error: Some(error.details()),
                })
            }
            _ => Err(error),
        }
    }

    /// Returns whether another task does the actual work.
    pub(crate) fn only_files_a_request(&self) -> bool {
        self.ha_goal().is_some()
    }

    /// For a task that files a request with the HA manager, returns the types of the task that does the work,
    /// and the resulting state of the guest.
    fn ha_goal(&self) -> Option<(&'static [&'static str], Option<&'static str>)> {
        match self.parts()?.kind {
            "hastart" => Some((&["qmstart", "vzstart"], Some("running"))),
            "hastop" => Some((
                &["qmstop", "qmshutdown", "vzstop", "vzshutdown"],
                Some("stopped"),
            )),
            "hamigrate" => Some((&["qmigrate", "vzmigrate"], None)),
            _ => None,
        }
    }

    /// Reads the outcome of a request filed with the HA manager: the task that it started or, if the token
    /// may not see that, the state of the guest.
    fn ha_outcome(&self, client: &Reader) -> Result<HaOutcome, Error> {
        let (Some((types, wanted)), Some(vmid)) = (self.ha_goal(), self.guest()) else {
            return Ok(HaOutcome::Reached);
        };
        let tasks = client
            .get("/cluster/tasks")
            .map(answer::rows)
            .unwrap_or_default();
        let worker = tasks.iter().find(|task| {
            plain(&task["id"]) == vmid
                && types.contains(&task["type"].as_str().unwrap_or_default())
                && number(&task["starttime"]).is_some_and(|start| start as u64 >= self.started())
        });
        if let Some(upid) = worker.and_then(|task| task["upid"].as_str())
            && Upid::parse(upid).is_some()
        {
            return Ok(HaOutcome::Worker(upid.to_owned()));
        }
        let request = Request::new(Get, "/cluster/resources").with("type", "vm");
        let guests = client.send(&request).map(answer::rows).unwrap_or_default();
        let guest = guests.iter().find(|guest| plain(&guest["vmid"]) == vmid);
        let is_reached = guest.is_some_and(|guest| match wanted {
            Some(wanted) => guest["status"] == wanted,
            // The request names the node that the guest leaves; the list is updated last.
            None => guest["node"].is_string() && guest["node"] != *self.node(),
        });
        Ok(if is_reached {
            HaOutcome::Reached
        } else {
            HaOutcome::Pending
        })
    }

    /// Returns the result of the call; `answer` has the rest of its text and data.
    pub(crate) fn report(
        &self,
        client: &Reader,
        state: State,
        patience: Option<Patience>,
        answer: Answer,
    ) -> Result<Answer, Error> {
        // A generated password is worthless if its guest was not created.
        let answer = match &state {
            State::Failed { .. } => Answer {
                generated: None,
                ..answer
            },
            State::Ended { .. } => answer.with_generated("shown this once"),
            _ => answer.with_generated("shown this once, valid once the task succeeds"),
        };
        let what = self.description();
        let upid = &self.upid;
        let node = self.node();
        let mut data = json!({ "upid": upid });
        if !self.remarks.is_empty() {
            data["notes"] = self.remarks.clone().into();
        }
        if let Some(vmid) = self.chosen {
            data["vmid"] = vmid.into();
        }
        let text = match state {
            State::Started => {
                data["status"] = "started".into();
                let next = match self.ha_goal() {
                    Some(_) => {
                        "The guest is HA-managed: this task only files the request, the HA manager acts on it next; proxmox_wait_task follows it."
                    }
                    None if self.starts == Some(true) => {
                        "proxmox_wait_task with this upid waits for its end and for the start that follows."
                    }
                    None => "proxmox_wait_task with this upid waits for its end.",
                };
                format!(
                    "✅ {what}: task started on {node}, not finished yet.\nupid: {upid}\n{next}"
                )
            }
            State::Running { poll_error } => {
                data["status"] = "running".into();
                let waited = patience.map(Patience::elapsed).unwrap_or_default();
                let poll_error =
                    poll_error.map(|poll_error| format!("\nThe last poll failed: {poll_error}"));
                format!(
                    "✅ {what}: started on {node}, not finished{waited}.{}\nupid: {upid}\nproxmox_wait_task with this upid goes on waiting.",
                    poll_error.unwrap_or_default()
                )
            }
            State::Ended { exit, log, sequel } => {
                data["status"] = "done".into();
                data["exitstatus"] = exit.clone().into();
                let done = done(&exit);
                let waited = patience.map(Patience::elapsed).unwrap_or_default();
                let (outcome, next) = match sequel {
                    Sequel::None => (format!("{done}."), String::new()),
                    Sequel::Unseen { .. } => {
                        data["status"] = "incomplete".into();
                        let next = "\nproxmox_get_vm_status shows whether it runs.".to_owned();
                        let outcome =
                            format!("{done}, but the guest was not seen running{waited}.");
                        (outcome, next)
                    }
                    Sequel::Start(start, state) => {
                        data["start_upid"] = start.upid.clone().into();
                        match *state {
                            State::Started | State::Running { .. } => {
                                data["status"] = "running".into();
                                let next = format!(
                                    "\nupid: {}\nproxmox_wait_task with this upid goes on waiting.",
                                    start.upid
                                );
                                let outcome = format!("{done}; its start is not finished{waited}.");
                                (outcome, next)
                            }
                            State::Ended {
                                exit,
                                log: of_start,
                                ..
                            } => {
                                let next = format!(
                                    "\nIts start: {}.{}",
                                    self::done(&exit),
                                    quoted(&of_start)
                                );
                                (format!("{done}."), next)
                            }
                            State::Failed { exit, log } => {
                                let what = format!("{what}: {done}, but its start failed");
                                let failure = start.failure(client, what, &exit, &log);
                                return Err(failure
                                    .hint("Start it instead of calling this again.")
                                    .hint(answer.text.trim_start()));
                            }
                        }
                    }
                };
                let mut text = format!("✅ {what}: {outcome}{}{next}", quoted(&log));
                if !log.is_empty() {
                    data["log"] = log.into();
                }
                if data["status"] == "done"
                    && let Some(reached) = self.reached(client)?
                {
                    text.push_str(&format!("\nstate: {reached}"));
                    data["state"] = reached.into();
                }
                if let Some(Backup { volume, mode }) = self.backup(client)? {
                    text.push_str(&format!("\nvolume: {volume}"));
                    data["volume"] = volume.into();
                    if let Some(mode) = mode {
                        text.push_str(&format!("\nmode: {mode}"));
                        data["mode"] = mode.into();
                    }
                }
                text
            }
            State::Failed { exit, log } => {
                let failure = self.failure(client, format!("{what} failed"), &exit, &log);
                return Err(failure.hint(answer.text.trim_start()));
            }
        };
        let mut merged = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        merged.extend(answer.data);
        Ok(Answer {
            data: merged,
            ..Answer::new(text + &answer.text)
        })
    }

    /// Returns the error for a failed task: its exit status, last log lines and remedy.
    fn failure(&self, client: &Reader, what: String, exit: &str, log: &[String]) -> Error {
        let mut cause = exit.to_owned();
        for line in log {
            cause.push_str(&format!("\n| {}", text::cut(&text::inline(line), 300)));
        }
        let case = Case::of_task(&self.upid, exit, log);
        Error::impossible(what, cause)
            .hint(diagnosis::remedy(client, &case).unwrap_or_default())
            .hint(format!("upid: {}", self.upid))
    }

    /// Returns the backup that it created, if it backed up a single guest.
    fn backup(&self, client: &Reader) -> Result<Option<Backup>, Error> {
        /// The line that names the archive precedes the data, and follows a line for each disk.
        const LINES: u64 = 500;
        if self.parts().is_none_or(|upid| upid.kind != "vzdump") || self.guest().is_none() {
            return Ok(None);
        }
        let page = unless_refused(self.log(client, 0, LINES))?;
        let lines = page.map(|mut page| answer::log_lines(page["data"].take()));
        Ok(lines.and_then(|lines| Backup::of(&lines)))
    }

    /// Returns the state of the guest after a task that may have started it.
    fn reached(&self, client: &Reader) -> Result<Option<String>, Error> {
        match self.verb() {
            None if self.parts().is_some_and(|upid| upid.kind == "hastart") => {
                Ok(Some("running".to_owned()))
            }
            // Nothing more follows, so the guest was seen running.
            Some((_, "reboot")) => Ok(Some("running".to_owned())),
            Some((_, "start" | "resume" | "rollback" | "create" | "restore")) => {
                self.guest_state(client)
            }
            _ => Ok(None),
        }
    }

    /// Splits its type into `qm` or `vz`, and a verb such as `start`.
    fn verb(&self) -> Option<(&'static str, &str)> {
        let kind = self.parts()?.kind;
        let of = |family| Some((family, kind.strip_prefix(family)?));
        of("qm").or_else(|| of("vz"))
    }

    /// Reads the current state of its guest; `None` if that cannot be read.
    fn guest_state(&self, client: &Reader) -> Result<Option<String>, Error> {
        let (Some((family, _)), Some(guest)) = (self.verb(), self.guest()) else {
            return Ok(None);
        };
        let of_type = match family {
            "qm" => "qemu",
            _ => "lxc",
        };
        let request = Request::new(Get, "/nodes/{node}/{type}/{vmid}/status/current")
            .segment("node", self.node())
            .segment("type", of_type)
            .segment("vmid", guest);
        let status = unless_refused(client.send(&request))?.unwrap_or_default();
        let state = status["qmpstatus"].as_str().or(status["status"].as_str());
        Ok(state.map(text::inline))
    }
}

/// Returns whether the guest may still come up after a task that ended at `ended`, both in seconds since
/// 1970.
fn may_still_start(ended: Option<f64>, now: Option<u64>) -> bool {
    match (ended, now) {
        (Some(ended), Some(now)) => now < (ended as u64).saturating_add(LONGEST_REBOOT),
        _ => true,
    }
}

/// Turns a refusal or a missing reply into `None`: the next poll may succeed.
fn unless_refused<T>(looked: Result<T, Error>) -> Result<Option<T>, Error> {
    match looked {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.kind {
            ErrorKind::Refused(_) | ErrorKind::Unanswered | ErrorKind::NotRecorded => Ok(None),
            _ => Err(error),
        },
    }
}

/// Describes a successful end.
fn done(exit: &str) -> String {
    match exit {
        "OK" => "done".to_owned(),
        warnings => format!("done with {warnings}"),
    }
}

/// Quotes lines of a log, one per line.
fn quoted(log: &[String]) -> String {
    let lines = log.iter().map(|line| format!("\n| {}", text::inline(line)));
    lines.collect()
}

/// The backup of one guest that a task created.
#[derive(Debug, PartialEq)]
struct Backup {
    /// The volume ID, or the path of a file outside all storages.
    volume: String,
    /// How it was made: a stopped guest is never backed up in snapshot mode.
    mode: Option<String>,
}

impl Backup {
    /// Parses the log of vzdump (`PVE/VZDump.pm`), whose first line names the storage:
    /// `INFO: creating vzdump archive '/var/lib/vz/dump/vzdump-qemu-100-….vma.zst'`.
    fn of(log: &[String]) -> Option<Self> {
        let path = log.iter().find_map(|line| {
            let (_, rest) = line
                .split_once("creating vzdump archive '")
                .or(line.split_once("creating Proxmox Backup Server archive '"))?;
            rest.strip_suffix('\'')
        })?;
        let name = match path.strip_prefix('/') {
            Some(path) => path.rsplit('/').next().unwrap_or(path),
            None => path,
        };
        let storage = log.iter().find_map(|line| {
            let (_, job) = line.split_once("starting new backup job: ")?;
            let (_, rest) = job.split_once("--storage ")?;
            rest.split(' ').next()
        });
        let volume = match storage {
            Some(storage) => format!("{storage}:backup/{name}"),
            None => path.to_owned(),
        };
        let mode = log.iter().rev().find_map(|line| {
            let (_, mode) = line.split_once("INFO: backup mode: ")?;
            Some(text::inline(mode))
        });
        Some(Self {
            volume: text::inline(&volume),
            mode,
        })
    }
}

/// The outcome of a request filed with the HA manager.
enum HaOutcome {
    Pending,
    Reached,
    /// The UPID of the task that does the work.
    Worker(String),
}

/// The progress of a task as reported to the client.
#[derive(Default)]
struct Progress {
    /// The task whose log is read.
    upid: String,
    /// The first line of the log that was not read yet.
    next: u64,
    line: String,
    percent: Option<f64>,
}

impl Progress {
    /// Continues reading the log and reports the progress, if the client asked for it.
    fn report(&mut self, task: &Task, client: &Reader) {
        if !client.peer().wants_progress() {
            return;
        }
        if self.upid != task.upid {
            self.upid.clone_from(&task.upid);
            (self.next, self.percent) = (0, None);
        }
        const PAGE: u64 = 100;
        let Ok(mut page) = task.log(client, self.next, PAGE) else {
            return;
        };
        let lines = answer::log_lines(page["data"].take());
        self.next += lines.len() as u64;
        // A long or fast-growing log is not read in full: only its end is news.
        let total = number(&page["total"]).unwrap_or_default() as u64;
        self.next = self.next.max(total.saturating_sub(PAGE));
        self.percent = lines
            .iter()
            .rev()
            .find_map(|line| percent(line))
            .or(self.percent);
        if let Some(line) = lines.into_iter().rfind(|line| !line.trim().is_empty()) {
            self.line = line;
        }
        // One call can follow several tasks.
        let line = format!("{}: {}", task.what, self.line);
        client.peer().report_progress(self.percent, &line);
    }
}

/// Returns the percentage in a line of a log: `transferred 1.2 GiB of 32.0 GiB (3.75%)`.
fn percent(line: &str) -> Option<f64> {
    let before = &line[..line.rfind('%')?];
    let digits = before
        .rfind(|c: char| !c.is_ascii_digit() && c != '.')
        .map_or(0, |at| {
            at + before[at..].chars().next().map_or(1, char::len_utf8)
        });
    before[digits..]
        .parse()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_percentage_in_a_line_of_a_log() {
        for (line, expected) in [
            ("transferred 1.2 GiB of 32.0 GiB (3.75%)", Some(3.75)),
            (
                "INFO:  12% (3.9 GiB of 32.0 GiB) in 6s, read: 660 MiB/s",
                Some(12.0),
            ),
            (
                "drive-scsi0: transferred 0.0 B of 4.0 MiB (0.00%) in 0s, ready",
                Some(0.0),
            ),
            ("ü100%", Some(100.0)),
            ("123%", None),
            ("no % here", None),
            ("nothing", None),
        ] {
            assert_eq!(percent(line), expected, "{line}");
        }
    }

    #[test]
    fn finds_the_volume_in_the_log_of_a_backup() {
        let backup = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            let backup = Backup::of(&lines)?;
            Some((backup.volume, backup.mode))
        };
        let found =
            |volume: &str, mode: Option<&str>| Some((volume.to_owned(), mode.map(str::to_owned)));
        let started =
            "INFO: starting new backup job: vzdump 100 --storage nfs-backup --mode snapshot";
        assert_eq!(
            backup(&[
                started,
                "INFO: backup mode: snapshot",
                "INFO: mode failure - some volumes do not support snapshots",
                "INFO: backup mode: suspend",
                "INFO: creating vzdump archive '/mnt/pve/nfs/dump/vzdump-lxc-100-2026_07_14-09_12_03.tar.zst'",
            ]),
            found(
                "nfs-backup:backup/vzdump-lxc-100-2026_07_14-09_12_03.tar.zst",
                Some("suspend")
            )
        );
        assert_eq!(
            backup(&[
                started,
                "INFO: creating Proxmox Backup Server archive 'vm/100/2026-07-14T09:12:03Z'",
            ]),
            found("nfs-backup:backup/vm/100/2026-07-14T09:12:03Z", None)
        );
        let path = "/tmp/vzdump-qemu-100-2026_07_14-09_12_03.vma";
        let line = format!("INFO: creating vzdump archive '{path}'");
        assert_eq!(backup(&[&line]), found(path, None));
        assert_eq!(backup(&[started]), None);
    }

    #[test]
    fn appends_remarks_to_the_description_of_a_task() {
        let task = Task::new("Clone VM 100 to 105", "")
            .with_chosen_vmid(105)
            .remark("by default full=0")
            .remark("linked");
        let expected = "Clone VM 100 to 105 (the next free VMID; by default full=0; linked)";
        assert_eq!(task.description(), expected);
    }

    #[test]
    fn finds_the_start_that_follows_a_task() {
        let upid = |kind: &str, start: u64| {
            format!("UPID:pve1:0012A4F3:03B6C2D1:{start:08X}:{kind}:100:root@pam:")
        };
        let row = |kind: &str, start: u64, end: Option<u64>| json!({ "type": kind, "upid": upid(kind, start), "starttime": start, "endtime": end });
        let found = |kind: &str, rows: &[Value]| {
            let task = Task::new("", upid(kind, 100));
            task.start_among(rows).map(|start| start.started())
        };
        let later = row("qmstart", 200, None);
        let start = row("qmstart", 109, None);
        for made in ["qmcreate", "qmrestore", "qmrollback"] {
            let own = row(made, 100, Some(110));
            assert_eq!(
                found(made, &[later.clone(), start.clone(), own.clone()]),
                Some(109)
            );
            assert_eq!(found(made, &[later.clone(), own]), None, "started by hand");
            assert_eq!(
                found(made, &[row(made, 100, None), start.clone()]),
                Some(109)
            );
        }
        let down = row("qmreboot", 100, Some(110));
        assert_eq!(found("qmreboot", &[down, later.clone()]), Some(200));
        assert_eq!(found("vzcreate", &[start]), None);
        assert_eq!(found("vzcreate", &[row("vzstart", 100, None)]), Some(100));
        assert_eq!(
            found("qmcreate", &[json!({ "type": "qmstart", "upid": 5 })]),
            None
        );
    }

    #[test]
    fn does_not_wait_for_a_guest_that_has_long_been_down() {
        assert!(may_still_start(Some(1_000.0), Some(1_599)));
        assert!(!may_still_start(Some(1_000.0), Some(1_600)));
        assert!(may_still_start(None, Some(1_600)) && may_still_start(Some(0.0), None));
    }

    #[test]
    fn parses_start_and_guest_from_the_upid() {
        let upid = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:";
        let task = Task::new("", upid);
        assert_eq!(task.node(), "pve1");
        assert_eq!(task.started(), 1_784_020_323);
        assert_eq!(task.guest(), Some("100"));
    }
}
