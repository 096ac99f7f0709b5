//! What a request that changes something passes before it is sent: boundaries, preview, confirmation,
//! audit.
//!
//! It stands where requests leave, not where tools begin: a tool that forgets about safety is held to it
//! all the same, and what is decided about is the request itself.

pub(crate) mod consent;
pub(crate) mod facts;
mod subject;

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::audit::{Audit, Line};
use crate::error::Error;
use crate::format;
use crate::param::{Args, Kind, Param};
use crate::peer::{Asked, Peer};
use crate::pve::client::Client;
use crate::pve::request::{MASK, Request, is_secret};
use crate::scope::{Known, Labels, tags};
use crate::settings::{Confirm, Safety};
use crate::text;
use crate::tool::{Caller, Tool};
use crate::tools;
use consent::{Asks, Consent, Consents, Reply, Way};
use facts::Facts;
use subject::{Harm, Part, Subject};

/// Whether to show what would be sent in place of sending it.
pub(crate) const DRY_RUN: Param = Param::optional("dry_run", Kind::Flag, "").about_the_call();

/// What a call is repeated with once the user has agreed.
pub(crate) const CONFIRM_TOKEN: Param =
    Param::optional("confirm_token", Kind::Text(1, 4_096), "").about_the_call();

/// How long a person may think about a question within a session.
const PATIENCE: Duration = Duration::from_secs(300);

/// The most characters of what is to be done that a person is asked about; nothing of it is left out.
const LONGEST: usize = 4_000;

/// How often a question is asked anew because its object has changed meanwhile.
const QUESTIONS: u32 = 3;

/// What all calls share of the gate.
pub(crate) struct Keeper {
    consents: Consents,
    audit: Option<Audit>,
}

impl Keeper {
    pub(crate) fn new(safety: &Safety) -> Self {
        Self {
            consents: Consents::default(),
            audit: safety.audit_log.clone().map(Audit::new),
        }
    }
}

/// A call as the gate sees it.
pub(crate) struct Gate<'a> {
    safety: &'a Safety,
    keeper: &'a Keeper,
    name: &'static str,
    tool: &'static Tool,
    caller: &'a Caller,
    /// What tells this call from others: tool and arguments. It can hold secrets.
    call: String,
    /// The arguments with the secrets masked; null while they could not be read.
    arguments: Value,
    is_dry_run: bool,
    /// What the model says to be the user's agreement, until it was looked at.
    token: RefCell<Option<String>>,
    /// What the user has agreed to, until it was used.
    consent: RefCell<Option<Consent>>,
    /// Whether the audit log has a line of this call.
    is_recorded: Cell<bool>,
}

/// What lets one request through.
pub(crate) struct Pass {
    line: Option<Line>,
}

/// A question to a person.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) message: String,
    /// The name of the one value in the answer, and what it must be.
    pub(crate) field: &'static str,
    pub(crate) word: String,
    /// What must come back with the answer, where the client keeps it.
    pub(crate) state: String,
}

/// What the one value in an answer is called: about a guest, and otherwise.
const FIELDS: [&str; 2] = ["vmid", "confirm"];

impl Question {
    /// The parameters of `elicitation/create`, but for its mode.
    pub(crate) fn params(&self) -> Value {
        let Self { field, word, .. } = self;
        json!({
            "message": self.message,
            "requestedSchema": {
                "type": "object",
                "properties": { *field: {
                    "type": "string",
                    "title": match *field {
                        "vmid" => "VMID",
                        _ => "Confirmation",
                    },
                    "description": format!("Type {word} to confirm"),
                } },
                "required": [field],
            },
        })
    }
}

/// What a person said, from the result of `elicitation/create`.
pub(crate) fn reply(result: &Value) -> Reply {
    let typed = FIELDS.iter().find_map(|field| result["content"].get(field));
    match typed.filter(|_| result["action"] == "accept") {
        Some(Value::String(text)) => Reply::Accepted(text.trim().to_owned()),
        Some(other) => Reply::Accepted(other.to_string()),
        None => Reply::Declined,
    }
}

impl<'a> Gate<'a> {
    pub(crate) fn new(
        safety: &'a Safety,
        keeper: &'a Keeper,
        (name, tool): (&'static str, &'static Tool),
        caller: &'a Caller,
    ) -> Self {
        Self {
            safety,
            keeper,
            name,
            tool,
            caller,
            call: String::new(),
            arguments: Value::Null,
            is_dry_run: safety.dry_run,
            token: RefCell::new(None),
            consent: RefCell::new(None),
            is_recorded: Cell::new(false),
        }
    }

    /// Takes in what the call asks for, and what the user said to a question that came back with it.
    pub(crate) fn take_in(&mut self, args: &Args, now: u64) -> Result<(), Error> {
        self.call = format!("{} {}", self.name, args.told(|_, value| value));
        self.arguments = args.told(|name, value| if is_secret(name) { MASK } else { value });
        self.is_dry_run |= args.flag(&DRY_RUN);
        *self.token.get_mut() = args.get(&CONFIRM_TOKEN).map(str::to_owned);
        *self.consent.get_mut() = self.returned(now)?;
        Ok(())
    }

    /// Lets `request` through, or says why not. What it looks at is read anew each time.
    pub(crate) fn admit(&self, client: &Client, request: &Request) -> Result<Pass, Error> {
        let decision = match self.decide(client, request) {
            Ok(decision) => decision,
            // Of several changes, each has its line.
            Err(error) => {
                self.is_recorded.set(false);
                return self.record(client.now(), client.peer(), Err(error));
            }
        };
        let Some(audit) = self.keeper.audit.as_ref() else {
            return Ok(Pass { line: None });
        };
        let mut fields = self.fields(client.now(), decision);
        fields.insert("request".to_owned(), request.to_string().into());
        fields.insert("parameters".to_owned(), request.shown_parameters());
        let line = audit.begin(client.peer(), &fields)?;
        self.is_recorded.set(true);
        Ok(Pass { line: Some(line) })
    }

    /// `allowed` or `confirmed`, or why neither.
    fn decide(&self, client: &Client, request: &Request) -> Result<&'static str, Error> {
        let subject = Subject::of(request);
        self.check(client, &subject)?;
        if self.is_dry_run {
            let preview = self.preview(client, request, &subject)?;
            return Err(Error::Withheld(Box::new(preview)));
        }
        let decision = self.confirm(client, request, &subject)?;
        if decision == "confirmed" {
            // Thinking takes its time.
            self.check(client, &subject)?;
        }
        Ok(decision)
    }

    /// Notes what came of the request that `pass` let through.
    pub(crate) fn close(&self, pass: Pass, outcome: &Result<Value, Error>) {
        let Some(line) = pass.line else {
            return;
        };
        let mut fields = Map::new();
        match outcome {
            Ok(answer) => {
                fields.insert("outcome".to_owned(), "ok".into());
                let upid = answer["data"].as_str();
                if let Some(upid) = upid.filter(|upid| format::upid_node(upid).is_some()) {
                    fields.insert("upid".to_owned(), upid.into());
                }
            }
            Err(error) => {
                fields.insert("outcome".to_owned(), brief(error).into());
            }
        }
        line.end(&fields);
    }

    /// Lets an elevated call begin that only reads: what it names must be within the boundaries.
    pub(crate) fn admit_reading(&self, client: &Client, args: &Args) -> Result<Pass, Error> {
        let subject = Subject::read(args.named("node"), args.named("vmid"));
        if !subject.nodes.is_empty() {
            self.check_nodes(&subject)?;
        }
        self.check_guests(client, &subject)?;
        let line = match self.keeper.audit.as_ref() {
            Some(audit) => {
                let fields = self.fields(client.now(), "allowed");
                Some(audit.begin(client.peer(), &fields)?)
            }
            None => None,
        };
        self.is_recorded.set(true);
        Ok(Pass { line })
    }

    /// Ends the line of an elevated call that only reads.
    pub(crate) fn end_reading(&self, pass: Pass, error: Option<&Error>) {
        if let Some(line) = pass.line {
            let outcome = error.map_or_else(|| "ok".to_owned(), brief);
            line.end(&Map::from_iter([("outcome".to_owned(), outcome.into())]));
        }
    }

    /// Records a call that has no line yet, since what it wanted was not sent. Where that cannot be done
    /// it fails.
    pub(crate) fn record<T>(
        &self,
        now: u64,
        peer: &Peer,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(audit) = self
            .keeper
            .audit
            .as_ref()
            .filter(|_| !self.is_recorded.get())
        else {
            return outcome;
        };
        let decision = match &outcome {
            Err(Error::Withheld(_)) => "dry run",
            Err(Error::Asked(_) | Error::Unconfirmed { .. }) => "asked",
            Err(Error::Denied { .. } | Error::Elevated) => "denied",
            Err(Error::Declined(_) | Error::Unbound) => "not confirmed",
            Err(_) => "failed",
            Ok(_) => "allowed",
        };
        let told = match &outcome {
            // The token is the model's alone.
            Err(Error::Asked(_) | Error::Unconfirmed { .. }) => "the user must agree".to_owned(),
            Err(error) => brief(error),
            Ok(_) => "nothing was sent".to_owned(),
        };
        let line = audit.begin(peer, &self.fields(now, decision))?;
        line.end(&Map::from_iter([("outcome".to_owned(), told.into())]));
        self.is_recorded.set(true);
        outcome
    }

    /// What the user agreed to when they were asked by the result of the call before.
    fn returned(&self, now: u64) -> Result<Option<Consent>, Error> {
        let Asks::ByResult(Some(returned)) = &self.caller.asks else {
            return Ok(None);
        };
        let consents = &self.keeper.consents;
        let consent = consents.open(Way::State, &self.call, &returned.state, now);
        let consent = consent.ok_or(Error::Unbound)?;
        // Without an answer to it, it is asked again.
        let Some(reply) = &returned.reply else {
            return Ok(None);
        };
        if let Err(refusal) = said(reply, &consent.word) {
            consents.spend(&consent, now);
            return Err(refusal);
        }
        Ok(Some(consent))
    }

    fn fields(&self, now: u64, decision: &str) -> Map<String, Value> {
        let fields = json!({
            "time": text::time(now).replace(' ', "T"),
            "client": self.caller.name,
            "tool": self.name,
            "arguments": self.arguments,
            "decision": decision,
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// Holds the request to what the user bounds elevated tools to.
    fn check(&self, client: &Client, subject: &Subject) -> Result<(), Error> {
        self.check_nodes(subject)?;
        self.check_command(subject)?;
        self.check_guests(client, subject)
    }

    fn check_guests(&self, client: &Client, subject: &Subject) -> Result<(), Error> {
        let bounds = [
            ("PROXMOX_GUESTS", self.safety.guests.as_ref()),
            ("PROXMOX_PROTECTED", self.safety.protected.as_ref()),
        ];
        for (setting, set) in bounds {
            let Some(set) = set else {
                continue;
            };
            let protects = setting == "PROXMOX_PROTECTED";
            if subject.is_for_many {
                return Err(denied(
                    "this acts on guests that it does not name",
                    format!("{setting} is set: name the guests, each by its VMID."),
                ));
            }
            for guest in &subject.guests {
                if protects && guest.part == Part::Keeps {
                    continue;
                }
                let labels = match set.needs_labels() {
                    true => labels(client, guest)?,
                    false => None,
                };
                let known = Known {
                    vmid: guest.vmid,
                    labels,
                };
                let is_new = matches!(guest.part, Part::Made { .. });
                match (set.contain(&known), protects) {
                    (Some(inside), _) if inside != protects => (),
                    (Some(_), true) => {
                        return Err(denied(
                            format!("guest {} is protected", guest.vmid),
                            format!(
                                "PROXMOX_PROTECTED ({}) names it: no tool may stop, change or destroy it.",
                                set.text()
                            ),
                        ));
                    }
                    (Some(_), false) => {
                        return Err(denied(
                            format!("guest {} is out of bounds", guest.vmid),
                            format!(
                                "PROXMOX_GUESTS bounds elevated tools to {}.{}",
                                set.text(),
                                match is_new {
                                    true => " Give the new guest a VMID or pool within it.",
                                    false => "",
                                }
                            ),
                        ));
                    }
                    (None, _) => {
                        return Err(denied(
                            format!("whether guest {} is in {setting} is unknown", guest.vmid),
                            "This token does not see its pool and tags (VM.Audit).",
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn check_nodes(&self, subject: &Subject) -> Result<(), Error> {
        let Some(bounds) = &self.safety.nodes else {
            return Ok(());
        };
        if subject.nodes.is_empty() {
            return Err(denied(
                "this acts on the whole cluster",
                format!("PROXMOX_NODES bounds elevated tools to {}.", bounds.text()),
            ));
        }
        match subject.nodes.iter().find(|node| !bounds.contain(node)) {
            Some(node) => Err(denied(
                format!("node {node} is out of bounds"),
                format!("PROXMOX_NODES bounds elevated tools to {}.", bounds.text()),
            )),
            None => Ok(()),
        }
    }

    fn check_command(&self, subject: &Subject) -> Result<(), Error> {
        let (Some(Harm::Command { argv, input }), Some(allowed)) =
            (&subject.harm, &self.safety.commands)
        else {
            return Ok(());
        };
        // What it reads can be as good as a command.
        let line = match input {
            Some(input) => format!("{} < {input}", command_line(argv)),
            None => command_line(argv),
        };
        if allowed.iter().any(|glob| glob.matches(&line)) {
            return Ok(());
        }
        let allowed: Vec<&str> = allowed.iter().map(|glob| glob.pattern()).collect();
        Err(denied(
            format!("{} may not be run", text::cut(&text::inline(&line), 200)),
            format!(
                "PROXMOX_ALLOW_COMMANDS allows: {}.",
                text::cut(&allowed.join(", "), 1_000)
            ),
        ))
    }

    /// What would be sent, and what that would do.
    fn preview(
        &self,
        client: &Client,
        request: &Request,
        subject: &Subject,
    ) -> Result<Answer, Error> {
        let mut answer = Answer::new(format!(
            "🔎 Dry run: nothing was changed. {} would send\n{request}",
            self.name
        ))
        .with("dry_run", true)
        .with(
            "request",
            json!({
                "method": request.method.as_str(),
                "path": request.path,
                "parameters": request.shown_parameters(),
            }),
        );
        for (name, value) in request.masked() {
            answer = answer.line(format!(
                "| {}: {}",
                text::inline(name),
                text::cut(&text::inline(value), 1_000)
            ));
        }
        let what = match &subject.harm {
            None => self.tool.summary.to_owned(),
            Some(harm) => {
                let facts = Facts::read(client, request, subject)?;
                let told = harm.told(&facts.object);
                let asks = match (self.safety.confirm, facts.is_harmless) {
                    (_, true) => "\nAs things are, it does no harm.",
                    (Confirm::Never, _) => "",
                    _ => "\nIt cannot be undone; it may have to be confirmed.",
                };
                format!("{told}{asks}\n{}", facts.lines.join("\n"))
            }
        };
        Ok(answer
            .line(format!("What it does: {}", what.trim_end()))
            .with("what", what.lines().next().unwrap_or_default()))
    }

    /// `allowed` or `confirmed`, or why neither.
    fn confirm(
        &self,
        client: &Client,
        request: &Request,
        subject: &Subject,
    ) -> Result<&'static str, Error> {
        let Some(harm) = &subject.harm else {
            return Ok("allowed");
        };
        let is_left_to_client =
            self.safety.confirm == Confirm::Auto && matches!(self.caller.asks, Asks::Nobody);
        if self.safety.confirm == Confirm::Never || is_left_to_client {
            return Ok("allowed");
        }
        let mut changed = "";
        for _ in 0..QUESTIONS {
            let facts = Facts::read(client, request, subject)?;
            if facts.is_harmless {
                return Ok("allowed");
            }
            let shown = self.digest(&format!("{request}\n{}", facts.fixed))?;
            if let Some(consent) = self.consent.take() {
                if consent.shown == shown {
                    self.keeper.consents.spend(&consent, client.now());
                    return Ok("confirmed");
                }
                changed = "It has changed since you were asked.\n";
            }
            let word = match facts.vmid {
                Some(vmid) => vmid.to_string(),
                None => "yes".to_owned(),
            };
            let told = harm.told(&facts.object);
            if told.chars().count() > LONGEST {
                return Err(Error::Declined(format!(
                    "It is too long to be shown to the user whole: at most {LONGEST} characters."
                )));
            }
            let mut lines = vec![told];
            lines.extend(options(request));
            lines.extend(facts.lines);
            let question = Question {
                message: format!("{changed}{}", lines.join("\n")),
                field: FIELDS[usize::from(facts.vmid.is_none())],
                state: self.seal(client, Way::State, &shown, &word)?,
                word: word.clone(),
            };
            let reply = match &self.caller.asks {
                Asks::ByResult(_) => return Err(Error::Asked(Box::new(question))),
                Asks::Nobody => return self.confirm_by_token(client, question, &shown),
                Asks::Beforehand { is_yes: true } => return Ok("confirmed"),
                Asks::Beforehand { is_yes: false } => {
                    return Err(Error::Declined(format!(
                        "{}\nNobody can be asked here: --yes says yes beforehand.",
                        question.message
                    )));
                }
                Asks::OnTerminal => on_terminal(&question.message, &word),
                Asks::InSession { says_mode } => match in_session(client, &question, *says_mode)? {
                    Some(reply) => reply,
                    None if self.safety.confirm == Confirm::Auto => return Ok("allowed"),
                    None => return self.confirm_by_token(client, question, &shown),
                },
            };
            said(&reply, &word)?;
            // It counts if nothing has changed when it is looked at again.
            *self.consent.borrow_mut() =
                self.keeper
                    .consents
                    .open(Way::State, &self.call, &question.state, client.now());
        }
        Err(Error::Declined(
            "It changed each time while it was being confirmed.".to_owned(),
        ))
    }

    /// Where nobody can be asked: the call is repeated with a token that came with the question.
    fn confirm_by_token(
        &self,
        client: &Client,
        question: Question,
        shown: &str,
    ) -> Result<&'static str, Error> {
        let mut refused = "";
        if let Some(token) = self.token.take() {
            let now = client.now();
            match self
                .keeper
                .consents
                .open(Way::Token, &self.call, &token, now)
            {
                Some(consent) if consent.shown == shown => {
                    self.keeper.consents.spend(&consent, now);
                    return Ok("confirmed");
                }
                _ => {
                    refused = "That confirm_token does not count: it is for one call with the same arguments, for 5 minutes, and for what was shown.\n";
                }
            }
        }
        Err(Error::Unconfirmed {
            token: self.seal(client, Way::Token, shown, &question.word)?,
            question: format!("{refused}{}", question.message),
        })
    }

    fn seal(&self, client: &Client, way: Way, shown: &str, word: &str) -> Result<String, Error> {
        let sealed = self
            .keeper
            .consents
            .close(way, &self.call, shown, word, client.now());
        sealed.ok_or_else(no_randomness)
    }

    fn digest(&self, text: &str) -> Result<String, Error> {
        self.keeper.consents.digest(text).ok_or_else(no_randomness)
    }
}

/// What else a request asks for, `with: purge=1`; what it is about is told elsewhere.
fn options(request: &Request) -> Option<String> {
    const TOLD: &[&str] = &[
        "archive",
        "background_delay",
        "command",
        "delay",
        "delete",
        "digest",
        "input-data",
        "ostemplate",
        "restore",
        "vmid",
    ];
    let options = request.masked().filter(|(name, _)| !TOLD.contains(name));
    let options: Vec<String> = options
        .map(|(name, value)| format!("{name}={}", text::cut(&text::inline(value), 200)))
        .collect();
    (!options.is_empty()).then(|| format!("with: {}", options.join(" ")))
}

/// Asks within the session; `None` for a client that cannot, though it had said that it can.
fn in_session(
    client: &Client,
    question: &Question,
    says_mode: bool,
) -> Result<Option<Reply>, Error> {
    let mut params = question.params();
    if says_mode {
        params["mode"] = "form".into();
    }
    match client.peer().ask("elicitation/create", params, PATIENCE) {
        Asked::Answered(Ok(result)) => Ok(Some(reply(&result))),
        Asked::Answered(Err(error)) if is_unable(&error) => Ok(None),
        Asked::Answered(Err(_)) => Ok(Some(Reply::Declined)),
        Asked::Cancelled => Err(Error::Cancelled),
        Asked::Closed => Err(Error::Declined(
            "The client closed its end before it was confirmed.".to_owned(),
        )),
        Asked::TimedOut => Err(Error::Declined(format!(
            "Nobody answered the question within {} minutes.",
            PATIENCE.as_secs() / 60
        ))),
    }
}

/// Whether a person said yes, in the way that was asked for.
fn said(reply: &Reply, word: &str) -> Result<(), Error> {
    match reply {
        Reply::Accepted(typed) if typed == word => Ok(()),
        Reply::Accepted(_) => Err(Error::Declined(format!(
            "What was typed is not {word}. Do not call again unless the user asks for it."
        ))),
        Reply::Declined => Err(Error::Declined(
            "The user did not agree. Do not call again unless they ask for it.".to_owned(),
        )),
    }
}

/// Whether a client says that it cannot ask, though it had declared that it can.
fn is_unable(error: &Value) -> bool {
    error["code"] == -32601
}

fn on_terminal(message: &str, word: &str) -> Reply {
    let mut line = String::new();
    // Results go to standard output, so the question does not.
    let asked = write!(io::stderr(), "{message}\nDo it? [y/N] ");
    let read = asked.and_then(|()| io::stdin().read_line(&mut line));
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" if read.is_ok() => Reply::Accepted(word.to_owned()),
        _ => Reply::Declined,
    }
}

fn no_randomness() -> Error {
    Error::impossible(
        "it cannot be confirmed, nothing was changed",
        "The system has no randomness to seal the question with.",
    )
}

fn denied(what: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Denied {
        what: what.into(),
        why: format!("{} Only the user can change that.", why.into()),
    }
}

/// What is known of where a guest belongs, read anew; `None` where the token does not see it.
fn labels(client: &Client, guest: &subject::Guest) -> Result<Option<Labels>, Error> {
    let of = |vmid| -> Result<Option<Labels>, Error> {
        let row = tools::guest_row(client, vmid)?;
        Ok((!row.is_null()).then(|| Labels::of(&row)))
    };
    match &guest.part {
        Part::Changes | Part::Keeps => of(guest.vmid),
        Part::Made {
            pool,
            tags: given,
            copy_of,
        } => {
            // A guest that is there is overwritten, so what it is counts.
            if let Some(labels) = of(guest.vmid)? {
                return Ok(Some(labels));
            }
            let mut labels = Labels {
                pool: pool.clone(),
                tags: tags(given),
            };
            if let Some(source) = copy_of {
                let Some(source) = of(*source)? else {
                    return Ok(None);
                };
                labels.tags.extend(source.tags);
            }
            Ok(Some(labels))
        }
    }
}

/// `argv` as a person would type it: what holds blanks or quotes is quoted, so that no two vectors
/// look the same.
fn command_line(argv: &[String]) -> String {
    let parts = argv.iter().map(|part| {
        let is_plain = !part.is_empty() && !part.contains([' ', '\t', '\'', '"']);
        match (is_plain, part.contains('\'')) {
            (true, _) => part.clone(),
            (false, false) => format!("'{part}'"),
            (false, true) => format!("'{}'", part.replace('\'', r#"'"'"'"#)),
        }
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// Why, for the audit log.
fn brief(error: &Error) -> String {
    text::cut(&text::inline(&error.on_one_line()), 500)
}

impl Harm {
    /// What it does to `object`, as a sentence.
    fn told(&self, object: &str) -> String {
        match self {
            Harm::Command { argv, input } => {
                let line = text::inline(&command_line(argv));
                match input {
                    Some(input) => format!(
                        "Run in {object}: {line}\nwith the standard input: {}",
                        text::inline(input)
                    ),
                    None => format!("Run in {object}: {line}"),
                }
            }
            Harm::Delete(path) => format!("Delete {path}, for good."),
            Harm::DeleteGuest => format!("Delete {object} with all its disks, for good."),
            Harm::DeleteSnapshot(name) => {
                format!(
                    "Delete snapshot {} of {object}, for good.",
                    text::inline(name)
                )
            }
            Harm::DeleteVolume { .. } => format!("Delete {object}, for good."),
            Harm::RemoveDisks {
                slots,
                erases: true,
            } => format!("Erase {} of {object}, for good.", slots.join(", ")),
            Harm::RemoveDisks { slots, .. } => format!(
                "Detach {} from {object}; the volume is kept.",
                slots.join(", ")
            ),
            Harm::RestoreOver(archive) => format!(
                "Restore {} over {object}: what is there now is lost.",
                text::inline(archive)
            ),
            Harm::Rollback(name) => format!(
                "Roll {object} back to snapshot {}: everything newer is lost.",
                text::inline(name)
            ),
            Harm::Stop => format!("Stop {object} hard: unsaved data is lost."),
            Harm::Wipe(disk) => format!("Wipe {} of {object}, for good.", text::inline(disk)),
        }
    }
}
