//! Tasks: what a worker of Proxmox goes on doing after the request that started it was answered.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::answer::{self, Answer, number, plain};
use crate::error::{self, Error};
use crate::format;
use crate::param::{Args, Kind, Param};
use crate::peer::Interruption;
use crate::pve::client::Client;
use crate::pve::request::{Method::Get, Reply, Request};
use crate::text;

/// Whether to wait for the task that a call starts.
pub(crate) const WAIT: Param = Param::optional("wait", Kind::Flag, "").local();

/// How long to wait, which is also a way to say that.
pub(crate) const WAIT_TIMEOUT: Param =
    Param::optional("wait_timeout", Kind::Integer(1, 600), "").local();

/// How long to wait where nothing else is said: clients give up on a call after 60 s.
const PATIENCE: u64 = 45;

/// How long to wait at most for a client that does not hear of progress, and may take a long wait
/// for a dead server.
const PATIENCE_WITHOUT_PROGRESS: u64 = 50;

/// What waiting for a task may send.
pub(crate) const REQUESTS: &[&str] = &[
    "GET /nodes/{node}/tasks/{upid}/status",
    "GET /nodes/{node}/tasks/{upid}/log",
    "GET /cluster/tasks",
    "GET /cluster/resources",
    "GET /nodes/{node}/{type}/{vmid}/status/current",
];

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// How many of the last lines of its log explain a task that failed.
const LAST_LINES: u64 = 8;

/// A task that a call has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// What it does, as a person would say it: `Start VM 100`.
    pub(crate) what: String,
    pub(crate) upid: String,
}

/// Sends a request that `reply` says may start a task, and tells what it does.
pub(crate) fn begun(
    client: &Client,
    request: &Request,
    reply: Reply,
    what: &str,
) -> Result<Answer, Error> {
    let data = client.change(request, reply)?;
    Ok(Answer::of_action(what, &data))
}

/// What is known of a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// It has been started; nobody has looked since, or nobody went on looking.
    Started,
    /// It runs, for all that is known; `doubt` is why the last look told nothing.
    Running { doubt: Option<String> },
    /// It has ended well: `OK`, or `WARNINGS: 1` with the last lines of the log.
    Ended { exit: String, log: Vec<String> },
    /// It has failed: why, and the last lines of the log.
    Failed { exit: String, log: Vec<String> },
}

/// How long a call waits for the task that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    limit: Duration,
    /// Whether the limit is less than what was asked for.
    is_cut: bool,
}

impl Patience {
    /// What `args` ask for; `None` when they do not ask to wait.
    pub(crate) fn asked(client: &Client, args: &Args) -> Option<Self> {
        let seconds = args.integer(&WAIT_TIMEOUT);
        let waits = match args.get(&WAIT) {
            Some(wait) => wait == "1",
            None => seconds.is_some(),
        };
        waits.then(|| Self::of(client, seconds))
    }

    /// So many seconds, or the usual patience.
    pub(crate) fn of(client: &Client, seconds: Option<u64>) -> Self {
        let seconds = seconds.unwrap_or(PATIENCE);
        let most = match client.peer().wants_progress() {
            true => u64::MAX,
            false => PATIENCE_WITHOUT_PROGRESS,
        };
        Self {
            limit: Duration::from_secs(seconds.min(most)),
            is_cut: seconds > most,
        }
    }

    /// What is left of it after so long.
    pub(crate) fn after(self, waited: Duration) -> Self {
        let waited = Duration::from_secs(waited.as_secs());
        Self {
            limit: self.limit.saturating_sub(waited),
            ..self
        }
    }

    pub(crate) const fn exactly(limit: Duration) -> Self {
        Self {
            limit,
            is_cut: false,
        }
    }
}

impl Task {
    /// One that somebody else may have started: what it does is its type.
    pub(crate) fn found(upid: &str) -> Self {
        let task = Self {
            what: String::new(),
            upid: upid.to_owned(),
        };
        let kind = format::upid_type(upid).unwrap_or("task");
        let what = match task.guest() {
            Some(guest) => format!("{kind} of {guest}"),
            None => kind.to_owned(),
        };
        Self { what, ..task }
    }

    /// With a word about the VMID that was chosen for it.
    pub(crate) fn of_free_id(self) -> Self {
        let what = self.what + " (the next free VMID)";
        Self { what, ..self }
    }

    /// The node that runs it.
    pub(crate) fn node(&self) -> &str {
        format::upid_node(&self.upid).unwrap_or_default()
    }

    /// When it was started, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        let start = self.upid.split(':').nth(4).unwrap_or_default();
        u64::from_str_radix(start, 16).unwrap_or_default()
    }

    /// The VMID of the guest that it is about, if it is about one.
    fn guest(&self) -> Option<&str> {
        let id = self.upid.split(':').nth(6)?;
        (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())).then_some(id)
    }

    fn request(&self, path: &str) -> Request {
        Request::new(Get, path)
            .segment("node", self.node())
            .segment("upid", &self.upid)
    }

    /// What Proxmox says about it.
    pub(crate) fn status(&self, client: &Client) -> Result<Value, Error> {
        client.send(&self.request("/nodes/{node}/tasks/{upid}/status"))
    }

    /// Lines of its log from `start` on: the answer of Proxmox, `total` included.
    fn log(&self, client: &Client, start: u64, limit: u64) -> Result<Value, Error> {
        let request = self.request("/nodes/{node}/tasks/{upid}/log");
        client.answer(
            &request
                .with("start", start.to_string())
                .with("limit", limit.to_string()),
        )
    }

    /// Lines of its log, by default the last ones; how many come before them, and how many there are.
    pub(crate) fn log_lines(
        &self,
        client: &Client,
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

    /// When it ended, in seconds since 1970; `None` where that cannot be read. Only the list of tasks
    /// knows it.
    pub(crate) fn ended(&self, client: &Client) -> Option<u64> {
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

    /// Looks at it once.
    pub(crate) fn look(&self, client: &Client) -> Result<State, Error> {
        let status = self.status(client)?;
        if status["status"] != "stopped" {
            return Ok(State::Running { doubt: None });
        }
        let exit = status["exitstatus"].as_str().unwrap_or("no exit status");
        let exit = text::inline(exit);
        if exit == "OK" {
            return Ok(State::Ended {
                exit,
                log: Vec::new(),
            });
        }
        let log = self.log_lines(client, None, LAST_LINES);
        let log = log.map(|(lines, _, _)| lines).unwrap_or_default();
        Ok(match exit.starts_with("WARNINGS") {
            true => State::Ended { exit, log },
            false => State::Failed { exit, log },
        })
    }

    /// Waits for its end, or until patience or client have an end. What of it only files a request
    /// with the HA manager is followed to what that does.
    pub(crate) fn wait(&self, client: &Client, patience: Patience) -> Result<State, Error> {
        let mut followed = self.clone();
        let mut progress = Progress::default();
        let mut delay = FIRST_DELAY;
        let mut paused = Duration::ZERO;
        let mut looked = Duration::ZERO;
        loop {
            // In whole seconds: how often a task is looked at must not hang on the machine's mood.
            let waited = paused + Duration::from_secs(looked.as_secs());
            match client.pause(delay.min(patience.limit.saturating_sub(waited))) {
                Ok(()) => paused += delay,
                Err(Interruption::Cancelled) => return Err(Error::Cancelled),
                Err(Interruption::Closed) => return Ok(State::Started),
            }
            let look = Instant::now();
            let mut state = followed.step(client)?;
            if let State::Failed { log, .. } = &mut state
                && followed.upid != self.upid
            {
                log.push(format!("this was {}", followed.upid));
            }
            let State::Running { .. } = state else {
                return Ok(state);
            };
            progress.tell(&followed, client);
            looked += look.elapsed();
            if paused + Duration::from_secs(looked.as_secs()) >= patience.limit {
                return Ok(state);
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// Looks at it once; where it only files a request with the HA manager, at what that does.
    fn step(&mut self, client: &Client) -> Result<State, Error> {
        let state = match self.look(client) {
            Err(error) => return self.doubt(error),
            Ok(state) => state,
        };
        if !matches!(state, State::Ended { .. }) || self.ha_wish().is_none() {
            return Ok(state);
        }
        match self.ha_outcome(client)? {
            Outcome::Open => Ok(State::Running { doubt: None }),
            Outcome::Reached => Ok(state),
            Outcome::Worker(worker) => {
                self.upid = worker;
                self.step(client)
            }
        }
    }

    /// A look that told nothing: the task may well run on. Only what no other look can mend is an
    /// error.
    fn doubt(&self, error: Error) -> Result<State, Error> {
        match &error {
            Error::Refused(refusal) if refusal.says("no such task") => Err(Error::impossible(
                format!("how this ended is unknown: {}", self.what),
                format!(
                    "Proxmox no longer has the record of the task: look at what it was to change.\nupid: {}",
                    self.upid
                ),
            )),
            Error::Refused(_) | Error::Unanswered { .. } => Ok(State::Running {
                doubt: Some(error.on_one_line()),
            }),
            _ => Err(error),
        }
    }

    /// Whether another task does what it is about.
    pub(crate) fn only_files_a_request(&self) -> bool {
        self.ha_wish().is_some()
    }

    /// What a task of the HA manager wants of the guest; `None` for every other task.
    fn ha_wish(&self) -> Option<(&'static [&'static str], Option<&'static str>)> {
        match format::upid_type(&self.upid)? {
            "hastart" => Some((&["qmstart", "vzstart"], Some("running"))),
            "hastop" => Some((
                &["qmstop", "qmshutdown", "vzstop", "vzshutdown"],
                Some("stopped"),
            )),
            "hamigrate" => Some((&["qmigrate", "vzmigrate"], None)),
            _ => None,
        }
    }

    /// What has come of the request filed with the HA manager: the worker that it started, or, where
    /// the token may not see that, the state of the guest.
    fn ha_outcome(&self, client: &Client) -> Result<Outcome, Error> {
        let (Some((types, wanted)), Some(vmid)) = (self.ha_wish(), self.guest()) else {
            return Ok(Outcome::Reached);
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
            && format::upid_node(upid).is_some()
        {
            return Ok(Outcome::Worker(upid.to_owned()));
        }
        let request = Request::new(Get, "/cluster/resources").with("type", "vm");
        let guests = client.send(&request).map(answer::rows).unwrap_or_default();
        let guest = guests.iter().find(|guest| plain(&guest["vmid"]) == vmid);
        let is_reached = guest.is_some_and(|guest| match wanted {
            Some(wanted) => guest["status"] == wanted,
            // It was filed where the guest was, and that changes last.
            None => guest["node"].is_string() && guest["node"] != *self.node(),
        });
        Ok(if is_reached {
            Outcome::Reached
        } else {
            Outcome::Open
        })
    }

    /// What to say about it; `answer` holds what else the call has to say.
    pub(crate) fn report(
        &self,
        client: &Client,
        state: State,
        patience: Option<Patience>,
        answer: Answer,
    ) -> Result<Answer, Error> {
        let Self { what, upid } = self;
        let node = self.node();
        let mut data = json!({ "action": what, "upid": upid, "node": node });
        let text = match state {
            State::Started => {
                data["status"] = "started".into();
                let next = match self.ha_wish() {
                    Some(_) => {
                        "The guest is HA-managed: this task only files the request, the HA manager acts on it next; proxmox_wait_task follows it."
                    }
                    None => "proxmox_wait_task with this upid waits for its end.",
                };
                format!(
                    "✅ {what}: task started on {node}, not finished yet.\nupid: {upid}\n{next}"
                )
            }
            State::Running { doubt } => {
                data["status"] = "running".into();
                let waited = match patience {
                    Some(Patience {
                        limit,
                        is_cut: true,
                    }) => format!(
                        " after {} s, the most that is waited for a client without progress",
                        limit.as_secs()
                    ),
                    Some(Patience { limit, .. }) => format!(" after {} s", limit.as_secs()),
                    None => String::new(),
                };
                let doubt = doubt.map(|doubt| format!("\nThe last look at it failed: {doubt}"));
                format!(
                    "✅ {what}: started on {node}, not finished{waited}.{}\nupid: {upid}\nproxmox_wait_task with this upid goes on waiting.",
                    doubt.unwrap_or_default()
                )
            }
            State::Ended { exit, log } => {
                data["status"] = "done".into();
                data["exitstatus"] = exit.clone().into();
                let mut text = match exit.as_str() {
                    "OK" => format!("✅ {what}: done."),
                    warnings => format!("✅ {what}: done with {warnings}"),
                };
                for line in &log {
                    text.push_str(&format!("\n| {}", text::inline(line)));
                }
                if !log.is_empty() {
                    data["log"] = log.into();
                }
                if let Some(reached) = self.reached(client) {
                    text.push_str(&format!("\nstate: {reached}"));
                    data["state"] = reached.into();
                }
                text
            }
            State::Failed { exit, log } => {
                return Err(self.failure(&exit, &log).besides(&answer.text));
            }
        };
        let mut merged = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        merged.extend(answer.data);
        Ok(Answer {
            text: text + &answer.text,
            data: merged,
            task: None,
        })
    }

    /// `besides` is what the call has to say all the same: a copy that fails to start is made, and
    /// so can a container be whose password is known to nobody else.
    fn failure(&self, exit: &str, log: &[String]) -> Error {
        let mut cause = exit.to_owned();
        for line in log {
            cause.push_str(&format!("\n| {}", text::cut(&text::inline(line), 300)));
        }
        let said = format!("{exit}\n{}", log.join("\n"));
        if let Some(remedy) = error::remedy(&said) {
            cause.push_str(&format!("\n{remedy}"));
        }
        Error::impossible(
            format!("{} failed", self.what),
            format!("{cause}\nupid: {}", self.upid),
        )
    }

    /// The state of the guest after a task that may have started it.
    fn reached(&self, client: &Client) -> Option<String> {
        let kind = format::upid_type(&self.upid)?;
        let (guest, verb) = match (kind.strip_prefix("qm"), kind.strip_prefix("vz")) {
            (Some(verb), _) => ("qemu", verb),
            (_, Some(verb)) => ("lxc", verb),
            _ if kind == "hastart" => return Some("running".to_owned()),
            _ => return None,
        };
        if !["start", "resume", "reboot", "rollback", "create", "restore"].contains(&verb) {
            return None;
        }
        let request = Request::new(Get, "/nodes/{node}/{type}/{vmid}/status/current")
            .segment("node", self.node())
            .segment("type", guest)
            .segment("vmid", self.guest()?);
        let status = client.send(&request).ok()?;
        let state = status["qmpstatus"].as_str().or(status["status"].as_str())?;
        Some(text::inline(state))
    }
}

/// What has come of a request filed with the HA manager.
enum Outcome {
    Open,
    Reached,
    /// The UPID of the task that does it.
    Worker(String),
}

/// What the client has been told of a task.
#[derive(Default)]
struct Progress {
    /// The first line of the log that has not been read.
    next: u64,
    line: String,
    percent: Option<f64>,
}

impl Progress {
    /// Reads on in the log and tells how far the task is, where the client wants to know.
    fn tell(&mut self, task: &Task, client: &Client) {
        if !client.peer().wants_progress() {
            return;
        }
        const PAGE: u64 = 100;
        let Ok(mut page) = task.log(client, self.next, PAGE) else {
            return;
        };
        let lines = answer::log_lines(page["data"].take());
        self.next += lines.len() as u64;
        // A log that is long already, or grows fast, is not read through: the end of it is news.
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
        client.peer().tell(self.percent, &self.line);
    }
}

/// The percentage that a line of a log names: `transferred 1.2 GiB of 32.0 GiB (3.75%)`.
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
    fn reads_start_and_guest_out_of_the_upid() {
        let task = Task {
            what: String::new(),
            upid: "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:".to_owned(),
        };
        assert_eq!(task.node(), "pve1");
        assert_eq!(task.started(), 1_784_020_323);
        assert_eq!(task.guest(), Some("100"));
    }
}
