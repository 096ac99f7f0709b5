//! How a tool call runs: the checks before it, what it waits for, and how it ends.
//!
//! Only [`CallState::finish`] sleeps. A waiting call is a value, [`WaitingCall`], which its owner keeps and
//! polls when a poll is due.

pub(super) mod several;

use std::iter;
use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::{
    Call, Context, Effect, ListedTool, Permission, choice, host, privileges, send_single, stand_in,
    start_task,
};
use crate::answer::{Answer, FollowUp, Wait};
use crate::cluster::diagnosis;
use crate::cluster::guests::{self, GUESTS};
use crate::cluster::patience::{Pace, Patience};
use crate::cluster::tasks::{self, FollowedTask, State, Task};
use crate::error::{Error, ErrorKind, Question};
use crate::param::Args;
use crate::row::Declared;
use crate::safety::nodes::refuse_alias;
use crate::safety::{Caller, Client, Gate, Pass};
use crate::text;
use crate::text::sort::gather;
use several::Several;

/// The state of a call.
pub(crate) enum CallState<'a> {
    Ended(End),
    Waits(Box<WaitingCall<'a>>),
}

/// How a call ends.
pub(crate) enum End {
    /// Cancelled: the client no longer wants an answer.
    Cancelled,
    Outcome(Outcome),
    /// With a question to the user, whose answer the client sends with a repeated call.
    Question(Question),
    /// With a running task, for a client that follows tasks itself.
    Task(Task),
    /// Refused: the state that the client sent back does not belong to the call.
    InvalidRequestState,
}

/// How long a call waits before it hands its task over to a client that follows tasks itself.
const HAND_OVER: Duration = Duration::from_secs(2);

/// The result of a call, successful or not.
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// An object; absent for errors.
    pub(crate) structured: Option<Value>,
    pub(crate) is_error: bool,
}

/// A waiting call.
pub(crate) enum WaitingCall<'a> {
    One(WaitingJob<'a>),
    /// The calls for several guests.
    Several(Several<'a>),
}

/// A waiting call of one tool.
pub(crate) struct WaitingJob<'a> {
    oversight: Oversight<'a>,
    job: Job,
    awaited: Awaited,
    pace: Pace,
}

/// What oversees a call's work: the gate and the audit log.
struct Oversight<'a> {
    context: &'a Context,
    gate: Gate<'a>,
    /// Whether the audit log records the call.
    is_elevated: bool,
    /// Completes that record if the call only reads.
    pass: Option<Pass>,
}

/// A call's work.
struct Job {
    /// The tool that does it.
    entry: ListedTool,
    args: Args,
    /// The request to send, if the tool picks one of several.
    picked: Option<Declared>,
    /// Whether the client accepts a running task as the end of the call.
    follows_tasks: bool,
    /// The line that says which tool does the work, if it is not the one that was called.
    note: Option<String>,
}

/// What a call waits for.
enum Awaited {
    Task(Box<AwaitedTask>),
    Other(Wait),
}

struct AwaitedTask {
    following: FollowedTask,
    /// The rest of what the call reports, and what it does next.
    answer: Answer,
    patience: Patience,
    /// Whether the client takes over the task when the limit is reached.
    hands_over: bool,
}

/// The state of the work.
enum JobState {
    Ends(End),
    Waits(Awaited, Pace),
}

impl From<Answer> for JobState {
    fn from(answer: Answer) -> Self {
        JobState::Ends(End::Outcome(answer.into()))
    }
}

impl CallState<'_> {
    /// Runs the call to its end, sleeping while it waits.
    pub(crate) fn finish(self) -> End {
        let mut state = self;
        loop {
            match state {
                CallState::Ended(end) => return end,
                CallState::Waits(waiting) => {
                    thread::sleep(waiting.due().saturating_duration_since(Instant::now()));
                    state = waiting.poll();
                }
            }
        }
    }
}

impl<'a> WaitingCall<'a> {
    /// Returns when the next poll is due.
    pub(crate) fn due(&self) -> Instant {
        match self {
            WaitingCall::One(job) => job.pace.due(),
            WaitingCall::Several(several) => several.due(),
        }
    }

    /// Polls what the call waits for.
    pub(crate) fn poll(self: Box<Self>) -> CallState<'a> {
        host::naming_host(self.context(), || self.advance())
    }

    /// Ends the call with what is known, since the client has closed its input.
    pub(crate) fn leave(self: Box<Self>) -> CallState<'a> {
        host::naming_host(self.context(), || self.depart())
    }

    /// Returns the VMIDs of the guests that would have been next.
    pub(crate) fn not_started(&self) -> Vec<String> {
        match self {
            WaitingCall::One(_) => Vec::new(),
            WaitingCall::Several(several) => several.not_started(),
        }
    }

    fn context(&self) -> &'a Context {
        match self {
            WaitingCall::One(job) => job.oversight.context,
            WaitingCall::Several(several) => several.oversight.context,
        }
    }

    fn advance(self) -> CallState<'a> {
        match self {
            WaitingCall::One(job) => job.step(Job::poll),
            WaitingCall::Several(several) => several.poll(),
        }
    }

    fn depart(self) -> CallState<'a> {
        match self {
            WaitingCall::One(job) => job.step(|job, client, awaited, _| job.leave(client, awaited)),
            WaitingCall::Several(several) => several.leave(),
        }
    }
}

impl<'a> WaitingJob<'a> {
    fn step(
        self,
        step: impl FnOnce(&Job, &Client, Awaited, Pace) -> Result<JobState, Error>,
    ) -> CallState<'a> {
        let Self {
            oversight,
            job,
            awaited,
            pace,
        } = self;
        let state = oversight
            .client()
            .and_then(|client| step(&job, &client, awaited, pace));
        oversight.proceed(job, state)
    }
}

impl ListedTool {
    /// Starts a call. It never fails: every error is a result for the model to read.
    pub(crate) fn call<'a>(
        &self,
        context: &'a Context,
        arguments: &Map<String, Value>,
        caller: Caller,
    ) -> CallState<'a> {
        host::naming_host(context, || self.start(context, arguments, caller))
    }

    fn start<'a>(
        &self,
        context: &'a Context,
        arguments: &Map<String, Value>,
        caller: Caller,
    ) -> CallState<'a> {
        let follows_tasks = caller.follows_tasks;
        let mut oversight = Oversight::new(context, *self, caller);
        let (args, picked) = match self.check_call(context, arguments) {
            Ok(checked) => checked,
            Err(error) => return CallState::Ended(oversight.end(Err(error))),
        };
        let mut job = Job {
            entry: *self,
            args,
            picked,
            follows_tasks,
            note: None,
        };
        if self.tool.takes_several() && job.args.get(&GUESTS).is_some() {
            return several::begin(oversight, job, arguments);
        }
        let state = oversight.begin(&mut job, arguments);
        oversight.proceed(job, state)
    }

    /// Checks the call before anything is sent.
    fn check_call(
        &self,
        context: &Context,
        arguments: &Map<String, Value>,
    ) -> Result<(Args, Option<Declared>), Error> {
        let safety = context.safety();
        if let Some(why) = self.hidden(safety) {
            return Err(Error::denied(
                format!("{} is hidden", self.name),
                format!("{why}; only the user can change that."),
            ));
        }
        if self.tool.permission == Permission::Elevated && !safety.allow_elevated {
            return Err(Error::elevated());
        }
        let args = Args::parse(self.tool.listed_params(safety).collect(), arguments);
        let args = args.map_err(Error::arguments)?;
        let picked = self.tool.pick(&args)?;
        Ok((args, picked))
    }
}

impl<'a> Oversight<'a> {
    fn new(context: &'a Context, entry: ListedTool, caller: Caller) -> Self {
        let tool = (entry.name, entry.tool.summary);
        Self {
            context,
            gate: Gate::new(context.safety(), &context.gate_state, tool, caller)
                .with_requests(entry.tool.declared_requests())
                .with_disruption(entry.tool.disrupts()),
            is_elevated: entry.tool.permission == Permission::Elevated,
            pass: None,
        }
    }

    /// Returns the client through which the call reaches the cluster.
    fn client(&self) -> Result<Client<'_>, Error> {
        Ok(Client::new(self.context.reader()?, &self.gate))
    }

    /// Starts the work, or has the tool's twin do it.
    fn begin(&mut self, job: &mut Job, arguments: &Map<String, Value>) -> Result<JobState, Error> {
        let context = self.context;
        self.gate.set_call(&job.args, context.now())?;
        let client = Client::new(context.reader()?, &self.gate);
        refuse_alias(&client, &job.args)?;
        let begun = match guests::resolve_guest(&client, job.entry.twins, &mut job.args) {
            Ok(()) => {
                // Changes pass the gate when they are sent.
                if self.is_elevated && job.entry.tool.effect == Effect::Reads {
                    self.pass = Some(self.gate.authorize_read(&client, &job.args)?);
                }
                job.begin(&client)
            }
            Err(error) => Err(error),
        };
        let (guest, refusal) = match begun {
            Err(mut error) => match &mut error.kind {
                ErrorKind::OtherKind(guest) => (guest.take(), error),
                _ => return Err(error),
            },
            begun => return begun,
        };
        let entry = &job.entry;
        let twin = stand_in::stand_in(context, entry, &job.args, arguments, guest, refusal)?;
        let tool = twin.entry.tool;
        self.gate
            .delegate(tool.summary, tool.declared_requests(), twin.refusal);
        (job.entry, job.args, job.note) = (twin.entry, twin.args, Some(twin.note));
        job.begin(&client)
    }

    /// Turns the state of the work into that of the call.
    fn proceed(self, job: Job, state: Result<JobState, Error>) -> CallState<'a> {
        let end = match state {
            // In the demonstration nothing takes time, and only one call's recording can be replayed at once.
            Ok(JobState::Waits(awaited, pace)) => {
                let waiting = WaitingJob {
                    oversight: self,
                    job,
                    awaited,
                    pace,
                };
                return match waiting.oversight.context.is_demo() {
                    true => waiting.step(Job::poll),
                    false => CallState::Waits(Box::new(WaitingCall::One(waiting))),
                };
            }
            Ok(JobState::Ends(end)) => Ok(end),
            Err(error) => Err(error),
        };
        CallState::Ended(self.end(end))
    }

    /// Records how the call ended, and turns an error into its end.
    fn end(self, end: Result<End, Error>) -> End {
        if let Some(pass) = self.pass {
            self.gate.finish_read(pass, end.as_ref().err());
        }
        let end = match self.is_elevated {
            true => {
                let context = self.context;
                self.gate.record_unsent(context.now(), context.peer(), end)
            }
            false => end,
        };
        match end {
            Ok(end) => end,
            Err(error) => match error.kind {
                ErrorKind::Cancelled => End::Cancelled,
                ErrorKind::InvalidRequestState => End::InvalidRequestState,
                ErrorKind::Asked(question) => End::Question(*question),
                ErrorKind::DryRun(preview) => End::Outcome(Answer::from(*preview).into()),
                _ => End::Outcome(error.into()),
            },
        }
    }
}

impl Job {
    /// Works until the call ends or waits.
    fn begin(&mut self, client: &Client) -> Result<JobState, Error> {
        let tool = self.entry.tool;
        client.begin(self.entry.name);
        if let (Call::Choice(choice), None) = (&tool.call, self.picked) {
            self.picked = choice::pick(client, &self.args, choice)?;
        }
        let picked = self.picked;
        let answer = guests::with_free_vmid(client, &mut self.args, |args| match &tool.call {
            Call::Choice(_) => choice::choose(client, args, picked),
            Call::Plain(step, show) => send_single(client, args, step, show),
            Call::Steps(_, steps) => steps(client, args),
        });
        match answer {
            Ok(answer) => self.go_on(client, self.completed(answer), None),
            Err(error) if matches!(error.kind, ErrorKind::Rehearsed(_)) => Err(error),
            Err(error) => Err(match error.kind {
                ErrorKind::DryRun(preview) => Error::dry_run(self.noted((*preview).into()).into()),
                _ => self.explained(client, error),
            }),
        }
    }

    /// Continues after an answer; `pace` is that of the preceding wait.
    fn go_on(
        &self,
        client: &Client,
        mut answer: Answer,
        pace: Option<Pace>,
    ) -> Result<JobState, Error> {
        if let Some(wait) = answer.wait.take() {
            let pace = Pace::new(Patience::exactly(wait.limit));
            return Ok(JobState::Waits(Awaited::Other(wait), pace));
        }
        let Some(task) = answer.task.take() else {
            return Ok(self.with_rest(client, answer).into());
        };
        let args = &self.args;
        let asked = match answer.waits || answer.follow_up.is_some() {
            true => Some(Patience::of(client, args.integer(&tasks::WAIT_TIMEOUT))),
            false => Patience::asked(client, args),
        };
        // A call with something else to report must report it now, such as a generated password, which is not
        // stored. A task that only files a request ends before anything is done.
        let hands_over = self.follows_tasks
            && args.get(&tasks::WAIT).is_none()
            && asked.is_none()
            && answer.text.is_empty()
            && answer.data.is_empty()
            && answer.generated.is_none()
            && !task.only_files_a_request();
        let patience = match hands_over {
            true => Some(Patience::exactly(HAND_OVER)),
            false => asked,
        };
        let Some(patience) = patience else {
            return self.report(client, &task, State::Started, None, answer);
        };
        let pace = match pace {
            Some(pace) => pace.restarted(),
            None => Pace::new(patience),
        };
        let following = FollowedTask::new(client, task);
        let awaited = AwaitedTask {
            following,
            answer,
            patience,
            hands_over,
        };
        Ok(JobState::Waits(Awaited::Task(Box::new(awaited)), pace))
    }

    /// Polls what the call waits for.
    fn poll(&self, client: &Client, awaited: Awaited, pace: Pace) -> Result<JobState, Error> {
        let mut awaited = match awaited {
            Awaited::Task(awaited) => awaited,
            Awaited::Other(wait) => {
                return match wait.subject.poll(client, &self.args) {
                    Ok(Some(answer)) => Ok(self.completed(answer).into()),
                    Ok(None) if !pace.is_over() => {
                        Ok(JobState::Waits(Awaited::Other(wait), pace.advanced()))
                    }
                    Ok(None) => Ok(self.completed(wait.subject.unfinished(&self.args)).into()),
                    Err(error) => Err(self.explained(client, error)),
                };
            }
        };
        let state = match awaited.following.poll(client) {
            Ok(state) if state.is_open() && !pace.is_over() => {
                return Ok(JobState::Waits(Awaited::Task(awaited), pace.advanced()));
            }
            Ok(state) => state,
            Err(error) => {
                let answer = awaited.answer;
                let answer =
                    answer.with_generated("shown only this once, valid if the task succeeded");
                return Err(error.hint(answer.text.trim_start()));
            }
        };
        let AwaitedTask {
            following,
            mut answer,
            patience,
            hands_over,
        } = *awaited;
        let task = following.task;
        match answer.follow_up.take() {
            Some(next) if matches!(state, State::Ended { .. }) => {
                let answer = self.send_next(client, *next, &task)?;
                self.go_on(client, answer, Some(pace))
            }
            Some(next) => {
                answer.follow_up = Some(next);
                self.report(client, &task, state, Some(patience), answer)
            }
            None if hands_over && state.is_open() => Ok(JobState::Ends(End::Task(task))),
            None => self.report(client, &task, state, Some(patience), answer),
        }
    }

    /// Ends the work with what is known.
    fn leave(&self, client: &Client, awaited: Awaited) -> Result<JobState, Error> {
        match awaited {
            Awaited::Task(awaited) if awaited.hands_over => {
                Ok(JobState::Ends(End::Task(awaited.following.task)))
            }
            Awaited::Task(awaited) => {
                let AwaitedTask {
                    following, answer, ..
                } = *awaited;
                let (task, state) = following.known();
                self.report(client, &task, state, None, answer)
            }
            Awaited::Other(wait) => match wait.subject.poll(client, &self.args) {
                Ok(Some(answer)) => Ok(self.completed(answer).into()),
                Ok(None) => Ok(self.completed(wait.subject.unfinished(&self.args)).into()),
                Err(error) => Err(self.explained(client, error)),
            },
        }
    }

    /// Sends the change that follows `task`, and further ones until one starts a task.
    fn send_next(&self, client: &Client, next: FollowUp, task: &Task) -> Result<Answer, Error> {
        let begun = start_task(client, &next.request, next.reply, &next.what);
        let mut answer = begun.map_err(|error| {
            if error.is_cancelled() {
                return error;
            }
            // A caller who took this for a failure of the whole and repeated it would repeat the first part.
            let error = privileges::explained(client, iter::empty(), &self.args, error);
            let [what, advice] = next.failure;
            let whole = Error::impossible(what, format!("{advice}\n{}", error.summary()));
            error.hints().fold(whole, Error::hint)
        })?;
        match next.next {
            Some(mut following) if answer.task.is_none() => {
                following.note = [next.note, format!("{}: done.", next.what), following.note]
                    .into_iter()
                    .filter(|note| !note.is_empty())
                    .collect::<Vec<_>>()
                    .join("\n");
                return self.send_next(client, *following, task);
            }
            following => answer.follow_up = following,
        }
        if let Some(id) = task.chosen {
            answer.task = answer.task.map(|started| started.with_chosen_vmid(id));
        }
        Ok(self.completed(match next.note.is_empty() {
            true => answer,
            false => answer.line(next.note),
        }))
    }

    /// Reports on the task, and adds what can be read once it has succeeded.
    fn report(
        &self,
        client: &Client,
        task: &Task,
        state: State,
        patience: Option<Patience>,
        mut answer: Answer,
    ) -> Result<JobState, Error> {
        let then = answer.then.take();
        let next = answer.follow_up.take();
        let has_ended = matches!(state, State::Ended { .. });
        let mut reported = task.report(client, state, patience, answer)?;
        if let Some(next) = next {
            reported = reported.line(next.unsent);
        }
        if has_ended {
            reported.then = then;
        }
        let mut answer = self.with_rest(client, reported);
        // What the task set in motion may take longer than the task.
        Ok(match answer.wait.take() {
            Some(wait) => {
                let pace = Pace::new(Patience::exactly(wait.limit));
                JobState::Waits(Awaited::Other(wait), pace)
            }
            None => answer.into(),
        })
    }

    /// Adds what can be read now.
    fn with_rest(&self, client: &Client, mut answer: Answer) -> Answer {
        match answer.then.take() {
            Some(then) => then(client, &self.args, answer),
            None => answer,
        }
    }

    /// Adds the defaults that were used, and which tool did the work.
    fn completed(&self, answer: Answer) -> Answer {
        let defaults = self.args.defaults();
        let answer = self.noted(answer);
        match self.entry.tool.effect != Effect::Reads && !defaults.is_empty() {
            true => answer.remark(&format!("by default {defaults}")),
            false => answer,
        }
    }

    fn noted(&self, answer: Answer) -> Answer {
        match &self.note {
            Some(note) => answer.line(note).with("tool", self.entry.name),
            None => answer,
        }
    }

    fn explained(&self, client: &Client, error: Error) -> Error {
        let error = guests::with_location(client, self.entry.twins, &self.args, error);
        let lines = privileges::lines_of_call(self.entry.tool, self.picked.as_ref());
        let error = privileges::explained(client, lines, &self.args, error);
        diagnosis::explain(client, error)
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self {
            text: answer.text,
            structured: Some(Value::Object(visible(answer.data))),
            is_error: answer.is_failure,
        }
    }
}

/// Makes all text in the data visible: some clients show a model nothing else.
fn visible(mut fields: Map<String, Value>) -> Map<String, Value> {
    if !fields.keys().all(|key| text::is_visible(key)) {
        let made = fields.into_iter();
        fields = gather(made.map(|(key, value)| (text::visible(&key), value)));
    }
    fields.values_mut().for_each(make_visible);
    fields
}

fn make_visible(value: &mut Value) {
    match value {
        Value::String(text) if !text::is_visible(text) => *text = text::visible(text),
        Value::Array(items) => items.iter_mut().for_each(make_visible),
        Value::Object(fields) => *fields = visible(mem::take(fields)),
        _ => (),
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self {
            text: error.to_string(),
            structured: None,
            is_error: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn escapes_keys_of_a_host_like_values() {
        let answer = Answer::of(
            "x".to_owned(),
            json!({ "a\u{202e}b": { "\u{1b}[2J": ["\u{200b}"] } }),
        );
        assert_eq!(
            Outcome::from(answer).structured,
            Some(json!({ "a\\u{202e}b": { "\\u{1b}[2J": ["\\u{200b}"] } }))
        );
    }
}
