//! The gate that every change passes before it is sent: boundaries, preview, confirmation, audit.
//!
//! It sits where requests are sent, not where tools start: no tool can bypass it, and it judges the request
//! that is actually sent.
//!
//! May import: `text`, `request`, `mcp`, `settings`, `error`, `pve`, `param`, `answer`, `row`, `cluster`.

pub(crate) mod audit;
mod boundaries;
mod client;
mod confirm;
pub(crate) mod consent;
pub(crate) mod facts;
pub(crate) mod files;
pub(crate) mod nodes;
mod question;
pub(crate) mod risk;
mod subject;

use std::cell::{Cell, RefCell};

use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::error::{Error, ErrorKind};
use crate::mcp::connection::Peer;
use crate::param::{Args, Kind, Param};
use crate::pve::reader::{Changes, Reader};
use crate::request::{Request, readable};
use crate::row::Harm;
use crate::row::requests::Requests;
use crate::safety::audit::{Audit, Line};
pub(crate) use crate::safety::client::Client;
pub(crate) use crate::safety::question::{ask_on_terminal, elicited_reply};
use crate::settings::{Confirm, Safety};
use crate::text;
use crate::text::sort::gather;
use crate::text::upid::Upid;
use consent::{Approval, Consent, Pending, TokenKind, UserReply};
use facts::Facts;
use question::require_agreement;
use subject::Subject;

/// Whether to show what would be sent rather than send it.
pub(crate) const DRY_RUN: Param = Param::optional("dry_run", Kind::Flag, "").about_the_call();

/// The token to repeat a call with once the user has agreed.
pub(crate) const CONFIRM_TOKEN: Param =
    Param::optional("confirm_token", Kind::Text(1, 100), "").about_the_call();

/// The part of the gate that all calls share.
pub(crate) struct GateState {
    changes: Changes,
    pending: Pending,
    audit: Option<Audit>,
}

impl GateState {
    pub(crate) fn new(safety: &Safety) -> Self {
        Self {
            changes: Changes::new(),
            pending: Pending::default(),
            audit: safety.audit_log.clone().map(Audit::new),
        }
    }
}

/// The client that calls, and what it can do.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Its name and version for the audit log; it can claim any.
    pub(crate) name: String,
    /// Whether its calls may end while their task still runs.
    pub(crate) follows_tasks: bool,
    /// How the user can be asked.
    pub(crate) approval: Approval,
}

/// A call as the gate sees it.
pub(crate) struct Gate<'a> {
    safety: &'a Safety,
    state: &'a GateState,
    name: &'static str,
    /// What the tool does.
    summary: Cell<&'static str>,
    /// The requests that the tool declares.
    requests: Cell<Requests>,
    /// The object about to be changed, as the tool read it; null if it did not.
    before: RefCell<Value>,
    /// What the tool found out about the effects of the change, in lines.
    findings: RefCell<Vec<String>>,
    /// Whether the tool can interrupt, replace or destroy something, so that what its declarations do not speak of
    /// is confirmed too where everything is.
    disrupts: Cell<bool>,
    /// Whether the tool for the other kind of guest does the work, so that only harmless requests may pass.
    is_stand_in: Cell<bool>,
    /// The error to return instead of taking a risk.
    refusal: RefCell<Option<Error>>,
    caller: Caller,
    /// Identifies the call: tool and arguments. It can contain secrets.
    call: String,
    /// The arguments with secrets masked; null if they are invalid.
    arguments: Value,
    is_dry_run: bool,
    /// The `confirm_token` of the call, until it is checked.
    token: RefCell<Option<String>>,
    /// What the user has agreed to, until it is used.
    consent: RefCell<Option<Consent>>,
    /// Whether the call has sent a change, which must not be repeated, so the user can no longer be asked.
    has_sent: Cell<bool>,
    /// Whether the audit log has a line for this call.
    is_recorded: Cell<bool>,
}

/// The permission to send one request.
pub(crate) struct Pass {
    line: Option<Line>,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(
        safety: &'a Safety,
        state: &'a GateState,
        (name, summary): (&'static str, &'static str),
        caller: Caller,
    ) -> Self {
        Self {
            safety,
            state,
            name,
            summary: Cell::new(summary),
            requests: Cell::new(Requests::NONE),
            before: RefCell::default(),
            findings: RefCell::default(),
            disrupts: Cell::new(false),
            is_stand_in: Cell::new(false),
            refusal: RefCell::new(None),
            caller,
            call: String::new(),
            arguments: Value::Null,
            is_dry_run: safety.dry_run,
            token: RefCell::new(None),
            consent: RefCell::new(None),
            has_sent: Cell::new(false),
            is_recorded: Cell::new(false),
        }
    }

    /// Sets the tool's declared requests, by which those that it sends are judged.
    pub(crate) fn with_requests(self, requests: Requests) -> Self {
        self.requests.set(requests);
        self
    }

    /// Says whether the tool can interrupt, replace or destroy something.
    pub(crate) fn with_disruption(self, disrupts: bool) -> Self {
        self.disrupts.set(disrupts);
        self
    }

    /// Sets the arguments of the call, and reads the answer to a question if the call brings one back.
    pub(crate) fn set_call(&mut self, args: &Args, now: u64) -> Result<(), Error> {
        self.call = format!("{} {}", self.name, args.redacted(|_, value| value.into()));
        self.arguments = args.redacted(readable);
        self.is_dry_run |= args.flag(&DRY_RUN);
        *self.token.get_mut() = args.get(&CONFIRM_TOKEN).map(str::to_owned);
        *self.consent.get_mut() = self.returned_consent(now)?;
        Ok(())
    }

    /// Hands the call to the tool for the other kind of guest. Since the guests may have been mixed up, a
    /// risky request returns `refusal`.
    pub(crate) fn delegate(&self, summary: &'static str, requests: Requests, refusal: Error) {
        self.summary.set(summary);
        self.requests.set(requests);
        self.is_stand_in.set(true);
        *self.refusal.borrow_mut() = Some(refusal);
    }

    /// Lets `request` through or returns why not. Whatever the decision depends on is read each time.
    pub(crate) fn authorize(&self, client: &Reader, request: &Request) -> Result<Pass, Error> {
        let decision = match self.decide(client, request) {
            Ok(decision) => decision,
            // The enclosing call has a line.
            Err(error) if matches!(self.caller.approval, Approval::Rehearsed { .. }) => {
                return Err(error);
            }
            // Each of several changes has its own line.
            Err(error) => {
                self.is_recorded.set(false);
                return self.record_unsent(client.now(), client.peer(), Err(error));
            }
        };
        let Some(audit) = self.state.audit.as_ref() else {
            return Ok(Pass { line: None });
        };
        let mut fields = self.fields(client.now(), decision);
        fields.insert("request".to_owned(), request.to_string().into());
        fields.insert("parameters".to_owned(), request.shown_parameters());
        let line = audit.begin(client.peer(), &fields)?;
        self.is_recorded.set(true);
        Ok(Pass { line: Some(line) })
    }

    /// Returns `allowed` or `confirmed`, or the error that stops the request.
    fn decide(&self, client: &Reader, request: &Request) -> Result<&'static str, Error> {
        let mut subject = Subject::of(request, &self.requests.get(), &self.before.borrow());
        subject.add_findings(&self.findings.borrow());
        self.check(client, &subject)?;
        if subject.risk.is_some() && self.is_stand_in.get() {
            let refusal = self.refusal.take();
            return Err(refusal.unwrap_or_else(|| {
                Error::impossible(
                    format!("{request} was not sent"),
                    "It could harm a guest that was mixed up with another.",
                )
            }));
        }
        // Later changes of the call are a part of what was confirmed.
        let is_first = !self.has_sent.get();
        if self.safety.confirm == Confirm::Always
            && self.disrupts.get()
            && is_first
            && !is_judged(&self.requests.get(), request)
        {
            let before = self.before.borrow();
            subject.risk_as_disruption(request, self.summary.get(), &before);
        }
        if let Approval::Rehearsed { .. } = self.caller.approval {
            let rehearsal = self.rehearse(client, request, &subject)?;
            return Err(Error::rehearsed(rehearsal));
        }
        if self.is_dry_run {
            let preview = self.preview(client, request, &subject)?;
            return Err(Error::dry_run(preview.into()));
        }
        self.confirm(client, request, &subject)
    }

    /// Returns whether the call only shows what it would send.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// Returns whether there is anyone to ask.
    pub(crate) fn can_ask(&self) -> bool {
        self.caller.approval.can_ask()
    }

    /// Returns the name of the client.
    pub(crate) fn client_name(&self) -> &str {
        &self.caller.name
    }

    /// Leaves the audit log to the calls that make up this one.
    pub(crate) fn leave_record_to_parts(&self) {
        self.is_recorded.set(true);
    }

    /// Records the outcome of the request that `pass` let through.
    pub(crate) fn record_outcome(&self, pass: Pass, outcome: &Result<Value, Error>) {
        self.has_sent.set(true);
        let Some(line) = pass.line else {
            return;
        };
        let mut fields = Map::new();
        match outcome {
            Ok(answer) => {
                fields.insert("outcome".to_owned(), "ok".into());
                let upid = answer["data"].as_str();
                if let Some(upid) = upid.filter(|upid| Upid::parse(upid).is_some()) {
                    fields.insert("upid".to_owned(), upid.into());
                }
            }
            Err(error) => {
                fields.insert("outcome".to_owned(), brief(error).into());
            }
        }
        line.end(&fields);
    }

    /// Lets an elevated call that only reads start if the node and guest that it names are within the
    /// boundaries.
    pub(crate) fn authorize_read(&self, client: &Reader, args: &Args) -> Result<Pass, Error> {
        let subject = Subject::of_read(args.named("node"), args.named("vmid"));
        if !subject.nodes.is_empty() {
            self.check_nodes(client, &subject)?;
        }
        self.check_guests(client, &subject)?;
        let line = match self.state.audit.as_ref() {
            Some(audit) => {
                let fields = self.fields(client.now(), "allowed");
                Some(audit.begin(client.peer(), &fields)?)
            }
            None => None,
        };
        self.is_recorded.set(true);
        Ok(Pass { line })
    }

    /// Records the outcome of an elevated call that only reads.
    pub(crate) fn finish_read(&self, pass: Pass, error: Option<&Error>) {
        if let Some(line) = pass.line {
            let outcome = error.map_or_else(|| "ok".to_owned(), brief);
            line.end(&gather([("outcome".to_owned(), outcome.into())]));
        }
    }

    /// Records a call that has no line yet because nothing was sent. If recording fails, so does the call.
    pub(crate) fn record_unsent<T>(
        &self,
        now: u64,
        peer: &Peer,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(audit) = self
            .state
            .audit
            .as_ref()
            .filter(|_| !self.is_recorded.get())
        else {
            return outcome;
        };
        // The call continues once the user has answered.
        let kind = outcome.as_ref().err().map(|error| &error.kind);
        if let (Some(ErrorKind::Asked(_)), Approval::WithinCall(_)) = (kind, &self.caller.approval)
        {
            return outcome;
        }
        let decision = match kind {
            Some(ErrorKind::DryRun(_)) => "dry run",
            Some(ErrorKind::Asked(_) | ErrorKind::Unconfirmed) => "asked",
            Some(ErrorKind::Denied) => "denied",
            Some(ErrorKind::Declined | ErrorKind::InvalidRequestState) => "not confirmed",
            Some(_) => "failed",
            None => "allowed",
        };
        let result = match &outcome {
            Err(error) if error.asks_user() => "the user must agree".to_owned(),
            Err(error) => brief(error),
            Ok(_) => "nothing was sent".to_owned(),
        };
        let line = audit.begin(peer, &self.fields(now, decision))?;
        line.end(&gather([("outcome".to_owned(), result.into())]));
        self.is_recorded.set(true);
        outcome
    }

    /// Returns what the user agreed to when the previous call asked them.
    fn returned_consent(&self, now: u64) -> Result<Option<Consent>, Error> {
        let returned = match &self.caller.approval {
            Approval::ByResult(Some(returned)) | Approval::WithinCall(Some(returned)) => returned,
            Approval::Together { shown, .. } => {
                return Ok(shown.map(|shown| Consent {
                    shown,
                    word: String::new(),
                }));
            }
            _ => return Ok(None),
        };
        let pending = &self.state.pending;
        // Without an answer the question is asked again.
        let Some(reply) = &returned.reply else {
            let known = pending.peek(TokenKind::RequestState, &self.call, &returned.state, now);
            return known.map(|_| None).ok_or_else(Error::invalid_request_state);
        };
        let consent = pending.take(TokenKind::RequestState, &self.call, &returned.state, now);
        if let UserReply::Unanswered(_) = reply {
            require_agreement(reply, "")?;
        }
        let consent = consent.ok_or_else(|| match self.caller.approval {
            // The token never left this program, so it is valid but expired.
            Approval::WithinCall(_) => Error::declined(
                "The question was answered too late, or too many were open. Call again.",
            ),
            _ => Error::invalid_request_state(),
        })?;
        require_agreement(reply, &consent.word)?;
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

    /// Shows what would be sent, and its effects.
    fn preview(
        &self,
        client: &Reader,
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
        for (name, value) in request.readable() {
            answer = answer.line(format!(
                "| {}: {}",
                text::inline(name),
                text::cut(&text::inline(&value), 1_000)
            ));
        }
        let what = match &subject.risk {
            None => subject
                .does
                .clone()
                .unwrap_or_else(|| self.summary.get().to_owned()),
            Some(risk) => {
                let facts = Facts::read(client, request, subject)?;
                let sentence = facts.sentence(risk);
                let note = match (self.safety.confirm, facts.destroys(risk)) {
                    _ if facts.is_harmless => "\nIt is harmless at present.",
                    (Confirm::Never, true) => "\nIt cannot be undone.",
                    (Confirm::Never, false) => "",
                    (_, true) => "\nIt cannot be undone; it may have to be confirmed.",
                    (_, false) => "\nIt may have to be confirmed.",
                };
                format!("{sentence}{note}\n{}", facts.lines.join("\n"))
            }
        };
        Ok(answer
            .line(format!("What it does: {}", what.trim_end()))
            .with("what", what.trim_end()))
    }
}

/// Whether code decides what harm a request does.
fn is_judged(requests: &Requests, request: &Request) -> bool {
    let declared = requests.find(request);
    declared.is_some_and(|declared| matches!(declared.harm, Harm::Judged(_)))
}

/// Returns what failed and why, for the audit log.
fn brief(error: &Error) -> String {
    text::cut(&text::visible(&error.summary()), 500)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::Versions;
    use crate::pve::demo::{Demonstration, recorded};
    use crate::pve::reader::{Cluster, only_reads};
    use crate::request::Method::{Delete, Post, Put};
    use crate::row::{Choice, Loss, Place, Scope, Step, Touches, delete, post, put};
    use crate::safety::subject::listed;
    use crate::settings::boundaries::{Guests, Nodes};
    use crate::tools;

    /// Returns why the gate stops a request, if it does.
    fn refusal(safety: &Safety, approval: Approval, request: &Request) -> Option<ErrorKind> {
        let state = GateState::new(safety);
        let entry = tools::find("proxmox_delete_vm").expect("it exists");
        let caller = Caller {
            name: String::new(),
            follows_tasks: false,
            approval,
        };
        let gate = Gate::new(safety, &state, (entry.name, entry.tool.summary), caller);
        let cluster = Cluster::demo(Demonstration::new(recorded()));
        let peer = Peer::none();
        let client = Client::new(Reader::new(&cluster, &peer), &gate);
        gate.authorize(&client, request)
            .err()
            .map(|error| error.kind)
    }

    const ACTION: Param = Param::required("action", Kind::Text(1, 9), "");
    const VMIDS: Param = Param::optional("vmid", Kind::Text(1, 99), "");

    static JOBS: Choice = Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            name: "",
            noun: "",
            path: "/jobs",
            reads: &["/:Sys.Audit"],
            changes: &["/:Sys.Modify"],
            touches: Touches::Guests(&VMIDS),
            versions: Versions::ALL,
        }),
        does: "{action} job[ {job}]",
        rows: &[
            post("add", "", &[&VMIDS]).harmless(),
            post("run", "/{job}/run", &[&VMIDS]).interrupts("Job {job} takes a while."),
            put("update", "/{job}", &[&VMIDS])
                .judged(lost)
                .touches(Touches::Judged(both)),
            delete("delete", "/{job}", &[])
                .destroys("Its log is lost.")
                .touches(Touches::NoGuest),
        ],
    };

    fn lost(_: &Request, job: &Value) -> Option<Loss> {
        let guests = job["vmid"].as_str()?;
        Some(Loss::destroys(format!("{guests} are left out.")))
    }

    fn both(request: &Request, job: &Value) -> Vec<String> {
        let sent = listed(request, "vmid").map(str::to_owned);
        sent.chain(job["vmid"].as_str().map(str::to_owned))
            .collect()
    }

    /// Returns the gate's verdict on a request of [`JOBS`]: `allowed`, or why not.
    fn judge(safety: &Safety, request: &Request, job: &Value) -> String {
        judge_among(Requests::Rows(&JOBS), safety, request, job)
    }

    fn judge_among(
        requests: Requests,
        safety: &Safety,
        request: &Request,
        object: &Value,
    ) -> String {
        let state = GateState::new(safety);
        let caller = Caller {
            name: String::new(),
            follows_tasks: false,
            approval: Approval::Unavailable,
        };
        let gate = Gate::new(safety, &state, ("tool", "Does."), caller).with_requests(requests);
        let cluster = Cluster::demo(Demonstration::new(recorded()));
        let peer = Peer::none();
        let client = Client::new(Reader::new(&cluster, &peer), &gate);
        client.show_before(object);
        match gate.authorize(&client, request) {
            Ok(_) => "allowed".to_owned(),
            Err(error) => match error.kind {
                ErrorKind::Denied => error.what,
                ErrorKind::Unconfirmed => error.cause,
                ErrorKind::DryRun(preview) => Answer::from(*preview).text,
                kind => panic!("{kind:?}"),
            },
        }
    }

    #[test]
    fn a_row_decides_what_is_confirmed() {
        let always = Safety {
            confirm: Confirm::Always,
            ..Safety::default()
        };
        let auto = Safety::default();
        let job = json!({ "vmid": "101", "digest": "ab" });
        let run = Request::new(Post, "/jobs/a/run");
        let update = Request::new(Put, "/jobs/a").with("vmid", "100");
        let delete = Request::new(Delete, "/jobs/a");
        for (safety, request, job, expected) in [
            (&always, Request::new(Post, "/jobs"), &job, "allowed"),
            (&auto, run.clone(), &Value::Null, "allowed"),
            (
                &always,
                run,
                &Value::Null,
                "Run job a. Job a takes a while.",
            ),
            (
                &auto,
                update.clone(),
                &job,
                "Update job a. 101 are left out.\nnow: vmid=101",
            ),
            (&always, update, &Value::Null, "allowed"),
            (
                &auto,
                delete.clone(),
                &Value::Null,
                "Delete job a. Its log is lost.",
            ),
        ] {
            let found = judge(safety, &request, job);
            assert!(found.starts_with(expected), "{request}: {found}");
        }
        let dry = Safety {
            dry_run: true,
            ..Safety::default()
        };
        let preview = judge(&dry, &delete, &job);
        let expected = "What it does: Delete job a. Its log is lost.\nnow: vmid=101\n\
                        It cannot be undone; it may have to be confirmed.";
        assert!(preview.contains(expected), "{preview}");
    }

    #[test]
    fn a_question_shows_the_guest_unless_the_changed_object_was_read() {
        static STEPS: &[Step] = &[Step::change(
            Post,
            "/nodes/{node}/qemu/{vmid}/unplug",
            &[],
            Touches::GuestOf(&VMIDS),
            Harm::Destroys("Unplugs {slot} of {vmid}."),
        )];
        let request = Request::new(Post, "/nodes/pve1/qemu/100/unplug").with("slot", "scsi0");
        let judge = |object| {
            let requests = Requests::Steps(STEPS);
            judge_among(requests, &Safety::default(), &request, object)
        };
        let question = judge(&Value::Null);
        let expected =
            "Unplugs scsi0 of 100.\nwith: slot=scsi0\nVM 100 web01 on pve1\nstate: running";
        assert!(question.starts_with(expected), "{question}");
        let question = judge(&json!({ "slot": "scsi0" }));
        assert_eq!(
            question,
            "Unplugs scsi0 of 100.\nnow: slot=scsi0\nwith: slot=scsi0"
        );
    }

    #[test]
    fn a_row_decides_which_guests_the_boundaries_apply_to() {
        let safety = Safety {
            protected: Guests::parse("100").ok(),
            confirm: Confirm::Never,
            ..Safety::default()
        };
        let add = |vmids: &str| Request::new(Post, "/jobs").with("vmid", vmids);
        let update = |vmids: &str| Request::new(Put, "/jobs/a").with("vmid", vmids);
        let (protected, unnamed) = (
            "guest 100 is protected",
            "this may concern guests that it does not name",
        );
        for (request, before, expected) in [
            (add("101,102"), "101", "allowed"),
            (add("101;100"), "101", protected),
            (add("101,web"), "101", unnamed),
            (Request::new(Post, "/jobs"), "101", unnamed),
            (update("101"), "102", "allowed"),
            (update("101"), "100", protected),
            (update("101"), "*", unnamed),
            (Request::new(Delete, "/jobs/a"), "100", "allowed"),
        ] {
            let found = judge(&safety, &request, &json!({ "vmid": before }));
            assert_eq!(found, expected, "{request} {before}");
        }
    }

    /// Covers places that no recording has, too.
    #[test]
    fn each_setting_stops_every_declared_change_that_it_applies_to() {
        let unasked = Safety {
            confirm: Confirm::Never,
            ..Safety::default()
        };
        let dry_run = Safety {
            dry_run: true,
            ..unasked.clone()
        };
        let guests = Safety {
            guests: Guests::parse("99999999").ok(),
            ..unasked.clone()
        };
        let nodes = Safety {
            nodes: Nodes::parse("elsewhere").ok(),
            ..unasked.clone()
        };
        let always = Safety {
            confirm: Confirm::Always,
            ..unasked.clone()
        };
        let protected = Safety {
            protected: Guests::parse("100").ok(),
            ..unasked
        };
        let cluster = Cluster::demo(Demonstration::new(recorded()));
        let peer = Peer::none();
        let reader = Reader::new(&cluster, &peer);
        let mut seen = 0;
        for (_, (name, tool)) in tools::all() {
            for template in tool.requests() {
                let (method, path) = template.split_once(' ').expect("a method and a path");
                let method = match method {
                    "DELETE" => Delete,
                    "POST" => Post,
                    "PUT" => Put,
                    _ => continue,
                };
                if only_reads(method, path) {
                    continue;
                }
                let upid = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstop:100:root@pam!mcp:";
                let filled = path.split('/').map(|part| match part {
                    "{node}" => "pve1",
                    "{vmid}" | "{newid}" => "100",
                    "{upid}" => upid,
                    part if part.starts_with('{') => "a",
                    part => part,
                });
                let request = Request::new(method, &filled.collect::<Vec<_>>().join("/"));
                let stops = |safety: &Safety| {
                    let state = GateState::new(safety);
                    let caller = Caller {
                        name: String::new(),
                        follows_tasks: false,
                        approval: Approval::Unavailable,
                    };
                    let gate = Gate::new(safety, &state, (name, tool.summary), caller)
                        .with_requests(tool.declared_requests())
                        .with_disruption(tool.disrupts());
                    gate.authorize(&reader, &request)
                        .err()
                        .map(|error| error.kind)
                };
                let is_denied = |safety: &Safety| matches!(stops(safety), Some(ErrorKind::Denied));
                // A restored guest may be a new one.
                let is_kept = path.ends_with("/status/start") || name.contains("_restore_");
                let is_kept = is_kept || is_judged(&tool.declared_requests(), &request);
                if tool.disrupts() && !is_kept {
                    assert!(stops(&always).is_some(), "{name}: {request}");
                }
                assert!(stops(&dry_run).is_some(), "{name}: {request}");
                let names_guest = path.contains("/{vmid}") || path.contains("/{newid}");
                if names_guest {
                    assert!(is_denied(&guests), "{name}: {request}");
                }
                if path.contains("/{node}") {
                    assert!(is_denied(&nodes), "{name}: {request}");
                }
                if names_guest && method != Post {
                    assert!(is_denied(&protected), "{name}: {request}");
                }
                seen += 1;
            }
        }
        assert!(seen > 150, "{seen} changes");
    }

    #[test]
    fn never_asks_about_a_second_change_since_the_first_would_be_sent_again() {
        let safety = Safety::default();
        let state = GateState::new(&safety);
        let cluster = Cluster::demo(Demonstration::new(recorded()));
        let peer = Peer::none();
        let reader = Reader::new(&cluster, &peer);
        let first = Request::new(Post, "/nodes/pve1/qemu/100/status/start");
        let second = Request::new(Put, "/nodes/pve1/config");
        for approval in [
            Approval::ByResult(None),
            Approval::WithinCall(None),
            Approval::Unavailable,
        ] {
            let caller = Caller {
                name: String::new(),
                follows_tasks: false,
                approval,
            };
            let start = tools::find("proxmox_start_vm").expect("it exists");
            let gate = Gate::new(&safety, &state, ("tool", "Does."), caller)
                .with_requests(start.tool.declared_requests());
            let pass = gate.authorize(&reader, &first).expect("it is let through");
            gate.record_outcome(pass, &Ok(Value::Null));
            let refused = gate.authorize(&reader, &second).err();
            let text = refused.expect("it is refused").to_string();
            assert!(
                text.contains("PUT /nodes/pve1/config was not sent"),
                "{text}"
            );
            assert!(text.contains("first change was made"), "{text}");
        }
    }

    #[test]
    fn an_undeclared_request_is_refused_by_every_boundary_and_confirmed_as_destroying() {
        let open = Safety::default();
        let guests = || Guests::parse("100-199").ok();
        let bounded = [
            Safety {
                guests: guests(),
                ..open.clone()
            },
            Safety {
                protected: guests(),
                ..open.clone()
            },
            Safety {
                nodes: Nodes::parse("pve1").ok(),
                ..open.clone()
            },
        ];
        let unasked = Safety {
            confirm: Confirm::Never,
            ..open.clone()
        };
        for request in [
            Request::new(Post, "/cluster/ha/resources").with("sid", "vm:500"),
            Request::new(Put, "/nodes/pve1/config"),
            Request::new(Delete, "/nodes/pve1/qemu/100/firewall/rules/0"),
        ] {
            for safety in &bounded {
                let refused = refusal(safety, Approval::ByFlag { is_given: true }, &request);
                assert!(matches!(refused, Some(ErrorKind::Denied)), "{request}");
            }
            let asked = refusal(&open, Approval::ByResult(None), &request);
            let Some(ErrorKind::Asked(question)) = asked else {
                panic!("{request}: {asked:?}");
            };
            let expected = format!("Send {request}: what that changes or destroys is unknown");
            assert!(question.message.starts_with(&expected), "{question:?}");
            let asked = refusal(&open, Approval::Unavailable, &request);
            assert!(matches!(asked, Some(ErrorKind::Unconfirmed)), "{asked:?}");
            assert!(refusal(&unasked, Approval::Unavailable, &request).is_none());
        }
    }
}
