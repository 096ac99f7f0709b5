//! Requests as tools declare them: each a row with what it takes, needs, touches and interrupts, and how
//! its answer is shown.
//!
//! A tool that sends one of several requests is a [`Choice`] of rows. What a request does to guests is then
//! known before it is made, and the gate holds the request that leaves against the same row.
//!
//! May import: `text`, `request`, `param`, `answer`.

pub(crate) mod needs;
pub(crate) mod requests;

use std::fmt;

use serde_json::{Map, Value};

use crate::answer::{self, Answer, Fields, Table, plain};
use crate::param::{Args, Param, Versions};
use crate::request::{Login, Method, Reply, Request};
use crate::row::needs::Needs;
use crate::text;
use crate::text::percent::decode;

/// One of several requests below a place.
pub(crate) struct Choice {
    /// The parameter whose value picks the row; without one the parts of a path that are given do.
    pub(crate) by: Option<&'static Param>,
    pub(crate) place: Place,
    /// What it does, for result, preview and question: a template with names of parameters and `{place}`.
    /// What stands in brackets is left out where a part of it has no value.
    pub(crate) does: &'static str,
    pub(crate) rows: &'static [Row],
}

/// Where the requests of a choice are.
pub(crate) enum Place {
    Only(Scope),
    /// In the scope that this parameter names.
    By(&'static Param, &'static [Scope]),
}

/// The beginning of a path, with what counts for all requests below it.
pub(crate) struct Scope {
    /// The value of the parameter that picks it.
    pub(crate) name: &'static str,
    /// For texts, a template: `VM {vmid}`.
    pub(crate) noun: &'static str,
    pub(crate) path: &'static str,
    /// What its reads need, in the form of the API description.
    pub(crate) reads: &'static str,
    /// What its changes need.
    pub(crate) changes: &'static str,
    pub(crate) touches: Touches,
    pub(crate) versions: Versions,
}

/// The guests that a request changes.
///
/// The gate adds those that its parameters name elsewhere: by `newid`, by `target-vmid`, and by the volumes
/// in lines of a configuration.
#[allow(dead_code, reason = "the tools that need the rest come next")]
#[derive(Clone, Copy)]
pub(crate) enum Touches {
    /// None: it changes users, or settings that apply to no guest.
    NoGuest,
    /// Any guest, named or not.
    AnyGuest,
    GuestOf(&'static Param),
    /// Those of a list of VMIDs; any guest if the list is not sent.
    Guests(&'static Param),
    /// Those that code finds in the request and the object as it was (null if it was not read): their VMIDs.
    /// Anything else in the list, such as `*`, stands for any guest.
    Judged(fn(&Request, &Value) -> Vec<String>),
    /// One that stays what it is: it is started, resumed or copied.
    Keeps(&'static Param),
    /// The one that `vmid` creates or, with `force`, restores over; what it is made of stays what it is.
    NewGuest,
    /// Those of `vmid` that are backed up; any guest if it is not sent.
    BackedUp,
    /// The owner of a volume; any guest unless its name says whose it is.
    OwnerOf(&'static Param),
    /// That of a task.
    GuestOfTask(&'static Param),
    /// All of the node if a command other than `start` goes to a service that they depend on.
    Service {
        name: &'static Param,
        command: &'static Param,
    },
    /// That of an HA resource, `vm:100`.
    HaResource(&'static Param),
    /// That of an HA resource, and those that rules keep together with it.
    HaCompanions(&'static Param),
}

/// What a request may do that its user has to confirm.
///
/// Its sentence follows what the request does, where a [`Choice`] says that; else it says all of it. Names of
/// parameters in it, `{disk}`, stand for their values.
#[allow(dead_code, reason = "the tools that need the rest come next")]
#[derive(Clone, Copy)]
pub(crate) enum Harm {
    None,
    /// Something is interrupted, or the way in is lost: a sentence that says what.
    Interrupts(&'static str),
    /// Data is lost for good: a sentence that says which.
    Destroys(&'static str),
    /// It depends on the object as it was (null if it was not read).
    Judged(fn(&Request, &Value) -> Option<Loss>),
    DeletesGuest,
    DeletesSnapshot(&'static Param),
    DeletesVolume {
        storage: &'static Param,
        volume: &'static Param,
    },
    RollsBack(&'static Param),
    /// A program runs inside the guest.
    RunsCommand,
    /// A guest that runs is stopped hard.
    Stops,
    /// The same if `forceStop` or a short `timeout` says so.
    StopsIfForced,
    /// By disks in `delete`, and by options that protect the guest or run something on its node.
    OfConfig,
    /// By `force`, which restores over a guest, and by such options.
    OfNewGuest,
}

/// What one request loses or interrupts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// What is lost, as a sentence.
    pub(crate) sentence: String,
    /// Whether data is lost for good.
    pub(crate) destroys: bool,
}

#[allow(dead_code, reason = "the tools that need the rest come next")]
impl Loss {
    pub(crate) fn interrupts(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            destroys: false,
        }
    }

    pub(crate) fn destroys(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            destroys: true,
        }
    }
}

/// One request.
pub(crate) struct Row {
    /// The value of the parameter that picks it.
    pub(crate) when: &'static str,
    pub(crate) method: Method,
    /// Below the path of its place; each `{part}` is needed.
    pub(crate) rest: &'static str,
    pub(crate) takes: &'static [Param],
    pub(crate) reply: Reply,
    /// What it touches, unless that is what its place says.
    pub(crate) touches: Option<Touches>,
    pub(crate) harm: Harm,
    /// Whether its object is read first: then its digest is sent along, and the answer says what it was.
    pub(crate) reads_first: bool,
    /// Who sends it, and what it reads first, where no API token can.
    pub(crate) login: Option<Login>,
    pub(crate) show: Show,
}

/// How the answer to a request is shown.
pub(crate) enum Show {
    /// As the start of a task: what it does, a template like `Start VM {vmid}`.
    Action(&'static str),
    /// As an action that is done, or how far else it has come, with what there is to say beside that.
    Done(&'static str, fn(&Args, &Value) -> Vec<String>),
    Fields(&'static Fields),
    /// With what else there is to say of all rows.
    Listed(&'static Table, fn(&[Value]) -> Vec<String>),
    Table(&'static Table),
}

pub(crate) const fn list(takes: &'static [Param], show: Show) -> Row {
    Row {
        show,
        ..row("", Method::Get, "", takes)
    }
}

pub(crate) const fn item(rest: &'static str, show: Show) -> Row {
    Row {
        show,
        ..row("", Method::Get, rest, &[])
    }
}

pub(crate) const fn post(
    when: &'static str,
    rest: &'static str,
    takes: &'static [Param],
) -> Change {
    Change(row(when, Method::Post, rest, takes))
}

/// A change of what is there, which is read first.
pub(crate) const fn put(when: &'static str, rest: &'static str, takes: &'static [Param]) -> Change {
    Change(Row {
        reads_first: true,
        ..row(when, Method::Put, rest, takes)
    })
}

/// A removal of what is there, which is read first.
pub(crate) const fn delete(
    when: &'static str,
    rest: &'static str,
    takes: &'static [Param],
) -> Change {
    Change(Row {
        reads_first: true,
        ..row(when, Method::Delete, rest, takes)
    })
}

const fn row(
    when: &'static str,
    method: Method,
    rest: &'static str,
    takes: &'static [Param],
) -> Row {
    Row {
        when,
        method,
        rest,
        takes,
        reply: Reply::Nothing,
        touches: None,
        harm: Harm::None,
        reads_first: false,
        login: None,
        show: Show::Done("done", |_, _| Vec::new()),
    }
}

/// A request that changes something. It is a [`Row`] once it says what harm it does.
pub(crate) struct Change(Row);

#[allow(dead_code, reason = "the tools that need the rest come next")]
impl Change {
    pub(crate) const fn harmless(self) -> Row {
        self.harm(Harm::None)
    }

    pub(crate) const fn interrupts(self, what: &'static str) -> Row {
        self.harm(Harm::Interrupts(what))
    }

    pub(crate) const fn destroys(self, what: &'static str) -> Row {
        self.harm(Harm::Destroys(what))
    }

    pub(crate) const fn judged(self, judge: fn(&Request, &Value) -> Option<Loss>) -> Row {
        self.harm(Harm::Judged(judge))
    }

    const fn harm(self, harm: Harm) -> Row {
        let Self(row) = self;
        Row { harm, ..row }
    }
}

impl Row {
    pub(crate) const fn answers(self, reply: Reply) -> Self {
        Self { reply, ..self }
    }

    pub(crate) const fn says(
        self,
        outcome: &'static str,
        lines: fn(&Args, &Value) -> Vec<String>,
    ) -> Self {
        Self {
            show: Show::Done(outcome, lines),
            ..self
        }
    }

    pub(crate) const fn touches(self, touches: Touches) -> Self {
        Self {
            touches: Some(touches),
            ..self
        }
    }

    /// No API token can do it.
    #[allow(dead_code, reason = "the tools that need it come next")]
    pub(crate) const fn needs_login(self, login: Login) -> Self {
        Self {
            login: Some(login),
            ..self
        }
    }

    /// What it cannot do without beside the parts of its path.
    fn needs(&self) -> impl Iterator<Item = &'static Param> {
        self.takes
            .iter()
            .filter(|param| param.is_required_by_request())
    }
}

/// A request that code makes from the arguments, or the only one of a tool.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    needs: Needs,
    more: Needs,
    is_dispensable: bool,
    pub(crate) touches: Touches,
    pub(crate) harm: Harm,
}

impl Step {
    pub(crate) const fn read(path: &'static str, needs: Needs) -> Self {
        Self::change(Method::Get, path, needs, Touches::NoGuest, Harm::None)
    }

    pub(crate) const fn change(
        method: Method,
        path: &'static str,
        needs: Needs,
        touches: Touches,
        harm: Harm,
    ) -> Self {
        Self {
            method,
            path,
            needs,
            more: &[],
            is_dispensable: false,
            touches,
            harm,
        }
    }

    /// What its tool needs beyond the request: Proxmox asks for a privilege for each kind of option, and
    /// leaves out of lists what the token may not see.
    pub(crate) const fn also(self, more: Needs) -> Self {
        Self { more, ..self }
    }

    /// The tool does its work without what this reads, where it is refused.
    pub(crate) const fn dispensable(self) -> Self {
        Self {
            is_dispensable: true,
            ..self
        }
    }

    /// The privileges that all tools need for it.
    #[cfg(test)]
    pub(crate) fn needs(&self) -> Needs {
        self.needs
    }

    /// What the work of `steps` cannot be done without.
    pub(crate) fn all_needs(steps: &[Self]) -> Vec<&'static str> {
        let own = steps.iter().filter(|step| !step.is_dispensable);
        let own = own.flat_map(|step| step.needs);
        let more = steps.iter().flat_map(|step| step.more);
        own.chain(more).copied().collect()
    }
}

/// `GET /nodes/{node}/status`
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.path)
    }
}

impl Show {
    /// The answer to a request that does `what`.
    pub(crate) fn answer(&self, what: &str, args: &Args, data: Value) -> Answer {
        match self {
            Show::Action(what) => Answer::from_reply(&args.fill(what), &data),
            Show::Done(outcome, lines) => {
                let answer = Answer::action(what, outcome, &format!("{outcome}."));
                lines(args, &data).iter().fold(answer, Answer::line)
            }
            Show::Fields(fields) => fields.answer(data, args, &[]),
            Show::Listed(table, notes) => {
                let rows = answer::rows(data);
                let notes = notes(&rows);
                table.answer(rows, args, &notes)
            }
            Show::Table(table) => table.answer(answer::rows(data), args, &[]),
        }
    }
}

/// A row in its place: one request, whole.
#[derive(Clone, Copy)]
pub(crate) struct Declared {
    pub(crate) row: &'static Row,
    pub(crate) scope: &'static Scope,
    choice: &'static Choice,
}

/// A template with its `{name}` parts filled in, and without what stands in brackets where a part of that
/// has no value; `None` where another has none.
fn filled(template: &str, value: impl Fn(&str) -> Option<String> + Copy) -> Option<String> {
    if let Some((before, rest)) = template.split_once('[') {
        let (optional, after) = rest.split_once(']')?;
        let optional = filled(optional, value).unwrap_or_default();
        return Some(format!(
            "{}{optional}{}",
            filled(before, value)?,
            filled(after, value)?
        ));
    }
    let mut pieces = template.split('{');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (name, after) = piece.split_once('}')?;
        text.push_str(&value(name)?);
        text.push_str(after);
    }
    Some(text)
}

/// The names of the parts of a path.
fn parts(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

impl Choice {
    fn scopes(&'static self) -> &'static [Scope] {
        match &self.place {
            Place::Only(scope) => std::slice::from_ref(scope),
            Place::By(_, scopes) => scopes,
        }
    }

    /// All its requests.
    pub(crate) fn declared(&'static self) -> impl Iterator<Item = Declared> {
        self.scopes().iter().flat_map(move |scope| {
            self.rows.iter().map(move |row| Declared {
                row,
                scope,
                choice: self,
            })
        })
    }

    /// What its rows take.
    pub(crate) fn takes(&'static self) -> impl Iterator<Item = &'static Param> {
        self.rows.iter().flat_map(|row| row.takes)
    }

    /// The request that `args` ask for, or all that keeps them from asking for one.
    pub(crate) fn pick(&'static self, args: &Args) -> Result<Declared, Vec<String>> {
        let is_given = |name: &str| args.named(name).is_some();
        let scope = match &self.place {
            Place::Only(scope) => Some(scope),
            Place::By(param, scopes) => scopes
                .iter()
                .find(|scope| args.get(param) == Some(scope.name)),
        };
        let fits = |row: &&Row| match self.by {
            Some(param) => args.get(param) == Some(row.when),
            None => parts(row.rest).all(is_given),
        };
        let row = self.rows.iter().filter(fits);
        let row = row.max_by_key(|row| parts(row.rest).count());
        let (Some(scope), Some(row)) = (scope, row) else {
            return Err(vec!["nothing fits these arguments".to_owned()]);
        };
        let declared = Declared {
            row,
            scope,
            choice: self,
        };
        let problems = declared.problems(args);
        match problems.is_empty() {
            true => Ok(declared),
            false => Err(problems),
        }
    }
}

impl Declared {
    pub(crate) fn path(&self) -> String {
        format!("{}{}", self.scope.path, self.row.rest)
    }

    fn parts(&self) -> impl Iterator<Item = &'static str> {
        parts(self.scope.path).chain(parts(self.row.rest))
    }

    /// What it needs, in the form of the API description; that of its read is needed as well. Who has logged
    /// in needs nothing of the API token.
    pub(crate) fn privileges(&self) -> impl Iterator<Item = &'static str> {
        let Scope { reads, changes, .. } = *self.scope;
        let is_token = self.row.login.is_none();
        let is_change = !self.row.method.only_reads();
        let reads = Some(reads).filter(|_| !is_change || self.row.reads_first);
        let changes = Some(changes).filter(|_| is_change);
        reads.into_iter().chain(changes).filter(move |_| is_token)
    }

    pub(crate) fn touches(&self) -> Touches {
        self.row.touches.unwrap_or(self.scope.touches)
    }

    /// What is wrong with `args` for it: what is missing, what does not go with it.
    fn problems(&self, args: &Args) -> Vec<String> {
        let picked = |param: &Param| format!("{}={}", param.name, &args[param]);
        let by = self.choice.by.map(picked);
        let scope = match &self.choice.place {
            Place::Only(_) => None,
            Place::By(param, _) => Some(picked(param)),
        };
        let of_scopes = |name: &str| {
            let scopes = self.choice.scopes().iter();
            scopes
                .flat_map(|scope| parts(scope.path))
                .any(|part| part == name)
        };
        // What picked the row is what an argument has to go with.
        let with = |name: &str| match (&by, &scope) {
            (_, Some(scope)) if of_scopes(name) => scope.clone(),
            (Some(by), _) => by.clone(),
            (None, _) => parts(self.row.rest).collect::<Vec<_>>().join(" and "),
        };
        let mut problems = Vec::new();
        let names_guest = self.parts().any(|part| part == "vmid");
        let needed = self
            .parts()
            .chain(self.row.needs().map(|param| param.name))
            // The node of a guest is looked up.
            .filter(|name| !(names_guest && *name == "node") && args.named(name).is_none());
        for name in needed {
            problems.push(format!("{name} is missing: {} needs it", with(name)));
        }
        let is_selector = |name: &str| {
            let by = self.choice.by.into_iter();
            let scope = match self.choice.place {
                Place::Only(_) => None,
                Place::By(param, _) => Some(param),
            };
            by.chain(scope).any(|param| param.name == name)
        };
        let takes = |name: &str| self.row.takes.iter().any(|param| param.name == name);
        let mut strange: Vec<(String, Vec<&str>)> = Vec::new();
        for param in args.params().filter(|param| !param.is_about_the_call()) {
            let name = param.name;
            let fits = is_selector(name) || takes(name) || self.parts().any(|part| part == name);
            if fits || args.get(param).is_none() {
                continue;
            }
            let with = with(name);
            match strange.iter_mut().find(|(known, _)| *known == with) {
                Some((_, names)) => names.push(name),
                None => strange.push((with, vec![name])),
            }
        }
        for (with, names) in strange {
            let verb = if names.len() == 1 { "does" } else { "do" };
            problems.push(format!("{} {verb} not go with {with}", names.join(", ")));
        }
        let changes = || {
            let takes = self.row.takes.iter();
            takes.filter(|param| param.name != "digest")
        };
        let is_open = self.row.needs().next().is_none();
        if self.row.method == Method::Put
            && is_open
            && changes().all(|param| args.get(param).is_none())
        {
            let names: Vec<&str> = changes().map(|param| param.name).collect();
            problems.push(format!("nothing to change: give {}", names.join(", ")));
        }
        problems
    }

    /// What of it not all versions know, with those that do.
    pub(crate) fn versions(&self, args: &Args) -> Vec<(String, Versions)> {
        let scope = match &self.choice.place {
            Place::By(param, _) if self.scope.versions != Versions::ALL => Some((
                format!("{}={}", param.name, self.scope.name),
                self.scope.versions,
            )),
            _ => None,
        };
        let params = self.row.takes.iter();
        let params = params.filter_map(|param| param.versions(args));
        scope.into_iter().chain(params).collect()
    }

    /// The request for these arguments.
    pub(crate) fn request(&self, args: &Args) -> Request {
        let request = args.request(self.row.method, &self.path());
        args.send_given(request, self.row.takes).by(self.row.login)
    }

    /// The value that a request gives a parameter, in its path or beside it; `None` where the request is
    /// not of this row.
    fn values(&self, request: &Request) -> Option<Vec<(&'static str, String)>> {
        let path = self.path();
        let (own, sent) = (path.split('/'), request.path.split('/'));
        if self.row.method != request.method || own.clone().count() != sent.clone().count() {
            return None;
        }
        let parts: Vec<&'static str> = self.parts().collect();
        let mut values = Vec::new();
        for (own, sent) in own.zip(sent) {
            match own.strip_prefix('{').and_then(|own| own.strip_suffix('}')) {
                Some(name) => {
                    let part = parts.iter().find(|part| **part == name)?;
                    values.push((*part, decode(sent)));
                }
                None if own != sent => return None,
                None => (),
            }
        }
        // What the row does not take would not be judged by what the row says.
        let is_taken = |name: &str| {
            let mut takes = self.row.takes.iter();
            name == "digest" || takes.any(|param| param.wire_name() == Some(name))
        };
        if !request.form.iter().all(|(name, _)| is_taken(name)) {
            return None;
        }
        for param in self.row.takes {
            let wire = param.wire_name();
            let mut form = request.form.iter();
            if let Some((_, value)) = form.find(|(name, _)| Some(*name) == wire) {
                values.push((param.name, value.to_owned()));
            }
        }
        let is_given = |param: &Param| values.iter().any(|(name, _)| *name == param.name);
        self.row.needs().all(is_given).then_some(values)
    }

    /// The row that `request` is of, among `declared`: of several the one that asks for most.
    pub(crate) fn find(declared: &[Self], request: &Request) -> Option<Self> {
        let fits = declared
            .iter()
            .filter(|declared| declared.values(request).is_some());
        fits.max_by_key(|declared| declared.row.needs().count())
            .copied()
    }

    /// What a request of this row does, in words.
    pub(crate) fn does(&self, request: &Request) -> String {
        let values = self.values(request).unwrap_or_default();
        let value = |name: &str| match self.choice.by {
            Some(by) if by.name == name => Some(self.row.when.to_owned()),
            _ => {
                let mut values = values.iter();
                let found = values.find(|(known, _)| *known == name);
                found.map(|(_, value)| text::inline(value))
            }
        };
        let place = filled(self.scope.noun, value);
        let text = filled(self.choice.does, |name| match name {
            "place" => place.clone(),
            name => value(name),
        });
        let text = text.unwrap_or_default();
        let mut letters = text.chars();
        match letters.next() {
            Some(first) => first.to_uppercase().chain(letters).collect(),
            None => text,
        }
    }

    /// What of an object a person needs to see before and after it is changed.
    pub(crate) fn describe(object: &Value) -> String {
        let fields = object.as_object().into_iter().flatten();
        let fields = fields.filter(|(key, value)| *key != "digest" && !value.is_null());
        let fields = fields.map(|(key, value)| format!("{key}={}", plain(value)));
        text::cut(&text::inline(&fields.collect::<Vec<_>>().join(" ")), 1_000)
    }

    /// Shows the answer to a request of this row; `was` is its object as it was before.
    pub(crate) fn show(
        &self,
        request: &Request,
        args: &Args,
        data: Value,
        was: Option<Value>,
    ) -> Answer {
        let (show, what) = (&self.row.show, self.does(request));
        let Show::Done(..) = show else {
            return show.answer(&what, args, data);
        };
        let answer = show.answer(&what, args, data.clone());
        let answer = match was {
            None => answer,
            Some(was) => answer
                .line(format!("It was: {}", Self::describe(&was)))
                .with("was", was),
        };
        let fields = match data {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let is_known = |value: &Value| {
            let value = plain(value);
            let mut params = args.params();
            params.any(|param| args.get(param) == Some(&*value))
        };
        let fields = fields.into_iter().filter(|(_, value)| !is_known(value));
        fields.fold(answer, |answer, (key, value)| answer.with(&key, value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::param::Kind;
    use crate::request::Method::{Delete, Get, Put};

    const ACTION: Param = Param::required("action", Kind::Choice(&["update", "move"]), "");
    const SCOPE: Param = Param::required("scope", Kind::Choice(&["all", "vm"]), "");
    const VMID: Param = Param::by_request("vmid", Kind::Guest, "");
    const POS: Param = Param::by_request("pos", Kind::Integer(0, 9), "");
    const MOVETO: Param = Param::by_request("moveto", Kind::Integer(0, 9), "");
    const LOG: Param = Param::optional("log", Kind::Text(1, 9), "").sent_as("log-level");
    const TAGS: Param = Param::optional("delete", Kind::List, "").joined();
    const PARAMS: &[Param] = &[ACTION, SCOPE, VMID, POS, MOVETO, LOG, TAGS];

    const fn scope(name: &'static str, noun: &'static str, path: &'static str) -> Scope {
        Scope {
            name,
            noun,
            path,
            reads: "/:Sys.Audit",
            changes: "/:Sys.Modify",
            touches: Touches::AnyGuest,
            versions: Versions::ALL,
        }
    }

    static RULES: Choice = Choice {
        by: Some(&ACTION),
        place: Place::By(
            &SCOPE,
            &[
                scope("all", "the cluster", "/rules"),
                scope("vm", "VM {vmid}", "/nodes/{node}/qemu/{vmid}/rules"),
            ],
        ),
        does: "{action} rule[ {pos}] of {place}[ before {moveto}]",
        rows: &[
            put("update", "/{pos}", &[LOG, TAGS]).harmless(),
            put("move", "/{pos}", &[MOVETO]).harmless(),
        ],
    };

    fn pick(arguments: Value) -> Result<Request, String> {
        let arguments = arguments.as_object().expect("an object");
        let args = Args::parse(PARAMS, arguments).expect("they have their forms");
        let picked = RULES.pick(&args).map_err(|problems| problems.join("; "))?;
        Ok(picked.request(&args))
    }

    #[test]
    fn says_at_once_all_that_does_not_go_with_the_row() {
        for (arguments, problems) in [
            (
                json!({ "action": "move", "scope": "all", "vmid": 100, "log": "info", "delete": ["a"] }),
                "pos is missing: action=move needs it; moveto is missing: action=move needs it; \
                 vmid does not go with scope=all; log, delete do not go with action=move",
            ),
            (
                json!({ "action": "update", "scope": "vm", "pos": 0 }),
                "vmid is missing: scope=vm needs it; nothing to change: give log, delete",
            ),
        ] {
            assert_eq!(pick(arguments).err().as_deref(), Some(problems));
        }
    }

    #[test]
    fn sends_what_the_row_takes_under_its_own_names() {
        let arguments = json!({ "action": "update", "scope": "all", "pos": 2, "log": "info", "delete": ["a", "b"] });
        let request = pick(arguments).expect("it fits");
        assert_eq!(request.to_string(), "PUT /rules/2");
        assert_eq!(
            request.body().as_deref(),
            Some("log-level=info&delete=a%2Cb")
        );
    }

    #[test]
    fn a_request_is_of_the_row_that_it_matches_and_of_no_other() {
        let declared: Vec<Declared> = RULES.declared().collect();
        let does = |request: &Request| {
            let found = Declared::find(&declared, request)?;
            Some(found.does(request))
        };
        let put = |path: &str| Request::new(Put, path);
        assert_eq!(
            does(&put("/rules/0").with("moveto", "2")).as_deref(),
            Some("Move rule 0 of the cluster before 2")
        );
        assert_eq!(
            does(&put("/nodes/pve1/qemu/100/rules/1").with("log-level", "info")).as_deref(),
            Some("Update rule 1 of VM 100")
        );
        for other in [
            Request::new(Delete, "/rules/0"),
            Request::new(Get, "/rules/0"),
            put("/rules"),
            put("/rules/0/1"),
            put("/nodes/pve1/lxc/100/rules/1"),
            put("/rules/0").with("moveto", "2").with("vmid", "100"),
        ] {
            assert_eq!(does(&other), None, "{other}");
        }
    }

    #[test]
    fn what_stands_in_brackets_is_left_out_where_a_part_has_no_value() {
        let value = |name: &str| (name == "a").then(|| "1".to_owned());
        assert_eq!(
            filled("x {a}[ y {a}][ z {b}]!", value).as_deref(),
            Some("x 1 y 1!")
        );
        assert_eq!(filled("x {b}", value), None);
    }
}
