//! How a call of a tool runs: what it must be before it does, and how it ends.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    Call, Context, Effect, ListedTool, Permission, choice, host, plain, privileges, stand_in,
};
use crate::answer::Answer;
use crate::cluster::diagnosis;
use crate::cluster::guests;
use crate::cluster::tasks::{self, Patience, State, Task};
use crate::error::{Error, Question};
use crate::param::Args;
use crate::safety::nodes::refuse_alias;
use crate::safety::{Caller, Client, Gate};
use crate::text;

/// How a call ends.
pub(crate) enum End {
    /// Nobody wants to know any more.
    Cancelled,
    Outcome(Outcome),
    /// With a question, which the client puts to its user before it calls again.
    Question(Question),
    /// With a task that goes on, for a client that follows it itself.
    Task(Task),
    /// What came back with the call does not belong to it.
    Unbound,
}

/// How long a call waits for its task before it is handed to a client that follows tasks itself.
const HAND_OVER: Duration = Duration::from_secs(2);

/// What a call gives back, be it an error or not.
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// An object; absent for errors.
    pub(crate) structured: Option<Value>,
    pub(crate) is_error: bool,
}

impl ListedTool {
    /// Gate, arguments, requests, text: never fails, since every failure is for the model to read.
    pub(crate) fn call(
        &self,
        context: &Context,
        arguments: &Map<String, Value>,
        caller: &Caller,
    ) -> End {
        host::naming(context, || match self.admit(context, arguments, caller) {
            Ok(end) => end,
            Err(Error::Cancelled) => End::Cancelled,
            Err(Error::Unbound) => End::Unbound,
            Err(Error::Asked(question)) => End::Question(*question),
            Err(Error::Withheld(preview)) => End::Outcome(Answer::from(*preview).into()),
            Err(error) => End::Outcome(error.into()),
        })
    }

    /// All that a call must be before it runs, and the record that it was.
    fn admit(
        &self,
        context: &Context,
        arguments: &Map<String, Value>,
        caller: &Caller,
    ) -> Result<End, Error> {
        let safety = context.safety();
        let mut gate = Gate::new(
            safety,
            &context.keeper,
            (self.name, self.tool.summary),
            caller,
        )
        .of_rows(self.tool.declared());
        let denial = match self.hidden(safety) {
            Some(why) => Some(Error::Denied {
                what: format!("{} is hidden", self.name),
                why: format!("{why}; only the user can change that."),
            }),
            None if self.tool.permission == Permission::Elevated && !safety.allow_elevated => {
                Some(Error::Elevated)
            }
            None => None,
        };
        let parsed = match denial {
            Some(denial) => Err(denial),
            None => {
                let args = Args::parse(self.tool.listed_params(safety), arguments);
                args.map_err(Error::Arguments)
                    .and_then(|args| self.tool.check(args))
            }
        };
        let outcome = parsed.and_then(|mut args| {
            gate.take_in(&args, context.now())?;
            let client = Client::new(context.client()?, &gate);
            refuse_alias(&client, &args)?;
            let called = guests::look_up(&client, self.twins, &mut args)
                .and_then(|()| self.run_admitted(&client, &gate, &mut args, caller));
            let Err(Error::OtherKind { guest, refusal }) = called else {
                return called;
            };
            let twin = stand_in::stand_in(context, self, &args, arguments, guest, *refusal)?;
            gate.hand_to(twin.entry.tool.summary, twin.refusal);
            let (mut args, note) = (twin.args, Some(&*twin.note));
            twin.entry.run(&client, &mut args, caller, note)
        });
        match self.tool.permission {
            Permission::Basic => outcome,
            Permission::Elevated => gate.record(context.now(), context.peer(), outcome),
        }
    }

    /// Runs once the gate has let a call begin that only reads; what changes something passes it on its
    /// way out.
    fn run_admitted(
        &self,
        client: &Client,
        gate: &Gate,
        args: &mut Args,
        caller: &Caller,
    ) -> Result<End, Error> {
        if self.tool.permission == Permission::Basic || self.tool.effect != Effect::Reads {
            return self.run(client, args, caller, None);
        }
        let pass = gate.admit_reading(client, args)?;
        let outcome = self.run(client, args, caller, None);
        gate.end_reading(pass, outcome.as_ref().err());
        outcome
    }

    /// Does what was asked for; `note` is what there is to say about who does it.
    fn run(
        &self,
        client: &Client,
        args: &mut Args,
        caller: &Caller,
        note: Option<&str>,
    ) -> Result<End, Error> {
        client.begin(self.name);
        let answer = guests::with_free_id(client, args, |args| match &self.tool.call {
            Call::Choice(choice) => choice::choose(client, args, choice),
            Call::Plain(method, path, show) => plain(client, args, *method, path, show),
            Call::Steps(_, steps) => steps(client, args),
        });
        let noted = |answer: Answer| match note {
            Some(note) => answer.line(note).with("tool", self.name),
            None => answer,
        };
        let mut answer = match answer {
            Ok(answer) => noted(answer),
            Err(Error::Withheld(preview)) => {
                return Err(Error::Withheld(Box::new(noted((*preview).into()).into())));
            }
            Err(error) => {
                let error = guests::find_guest(client, self.twins, args, error);
                let lines = privileges::lines_of_call(self.name, self.tool, args);
                let error = privileges::explained(client, lines, args, error);
                return Err(diagnosis::explain(client, error));
            }
        };
        let defaults = args.defaults();
        if self.tool.effect != Effect::Reads && !defaults.is_empty() {
            answer = answer.remark(&format!("by default {defaults}"));
        }
        let then = answer.then.take();
        let with_rest = |answer: Answer| match then {
            Some(then) => then(client, args, answer),
            None => answer,
        };
        let Some(task) = answer.task.take() else {
            return Ok(End::Outcome(with_rest(answer).into()));
        };
        let asked = Patience::asked(client, args);
        // What the call has to say besides must be said now, and not be left to whoever follows the
        // task: a password that was made up is known to nobody else. A task that only files a request
        // ends before anything is done.
        let hands_over = caller.follows_tasks
            && args.get(&tasks::WAIT).is_none()
            && asked.is_none()
            && answer.text.is_empty()
            && answer.data.is_empty()
            && answer.made_up.is_none()
            && !task.only_files_a_request();
        let patience = if hands_over {
            Some(Patience::exactly(HAND_OVER))
        } else {
            asked
        };
        let state = match patience.map(|patience| task.wait(client, patience)) {
            None => State::Started,
            Some(Ok(state)) => state,
            Some(Err(error)) => {
                let answer = answer.with_made_up("shown this once, valid if the task succeeded");
                return Err(error.besides(&answer.text));
            }
        };
        if hands_over && state.is_open() {
            return Ok(End::Task(task));
        }
        let has_ended = matches!(state, State::Ended { .. });
        let mut answer = task.report(client, state, patience, answer)?;
        if has_ended {
            answer = with_rest(answer);
        }
        Ok(End::Outcome(answer.into()))
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self {
            text: answer.text,
            structured: Some(visible(Value::Object(answer.data))),
            is_error: false,
        }
    }
}

/// The same data with all text visible: some clients show a model only this.
fn visible(data: Value) -> Value {
    match data {
        Value::String(text) => text::visible(&text).into(),
        Value::Array(items) => items.into_iter().map(visible).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(key, value)| (text::visible(&key), visible(value)));
            Value::Object(fields.collect())
        }
        other => other,
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
    fn keys_of_a_host_are_escaped_like_values() {
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
