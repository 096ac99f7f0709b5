//! Requests as tools declare them: a row for each, with what it takes, needs, touches and harms, and how its
//! answer is shown.
//!
//! A tool that sends one of several requests is a [`Choice`] of rows. The effect of a request on guests is
//! thus known before it is built, and the gate checks the request that is sent against the same row.
//!
//! How to declare each shape of row, after `post`, `put` or `delete` and the harm (`.harmless()`,
//! `.interrupts(…)`, `.destroys(…)`, `.judged(…)`):
//!
//! | what | how |
//! |---|---|
//! | picked by one parameter | `by: &[&ACTION]`, `post("create", …)` |
//! | picked by two | `by: &[&KIND, &ACTION]`, `post("alias create", …)` |
//! | picked by other arguments | rows with the same values: the one that needs most of the arguments wins |
//! | picked by the host's version | an optional selector, and rows or scopes with `versions` |
//! | below several paths | `place: Place::By(&SCOPE, …)`, and `.in_scopes(&["cluster"])` if not all have it |
//! | its object is read first | `put` and `delete` do that; otherwise `.reads(First::Item)` |
//! | it is an entry of a list | `.reads_entry("/aliases", "name", &NAME)`: refused if there is none |
//! | something else is read first | `.reads(First::Other("/ipset/{name}"))`, or `First::Nothing` |
//! | its object is a part of what is read | `.picked_by(repository)` |
//! | a PUT that replaces its object | `.keeps(&[&CIDR, &COMMENT])`: sent as read if absent; clearable ones are left out if `""` |
//! | it shares parameters with another | `takes![&[&ID], OPTIONS]` |
//! | it always sends something | `.always(&[("delete", "1")])` |
//! | a check of its own | `.checks(check)`: an error refuses, lines are shown with the question; `.also_reads(&[Step::read(…)])` |
//! | it cannot take some parameters of others | `.refuses(&["path"], "is fixed once a storage exists")` |
//! | it starts a task | `.starts_task()`, and `WAIT`, `WAIT_TIMEOUT` in `takes`; `.waits()` if the call always follows it |
//! | it shows its result | `.then(show)`, which runs after its task, if it has one |
//! | its own privileges, versions, words | `.needs(&["/pool/{poolid}:Pool.Allocate"])`, `.known_to(Versions::since(9))`, `.does("…")` |
//!
//! May import: `text`, `request`, `error`, `pve`, `param`, `answer`.

pub(crate) mod needs;
pub(crate) mod requests;

use std::fmt;

use serde_json::{Map, Value};

use crate::answer::{self, Answer, Fields, Table, Then, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::{Reader, only_reads};
use crate::request::{Login, Method, Reply, Request, readable};
use crate::row::needs::Needs;
use crate::text;
use crate::text::nearest::nearest;
use crate::text::percent::decode;
use crate::text::sort::sort;
use crate::text::upid::Upid;

/// One of several requests below a place.
pub(crate) struct Choice {
    /// The parameters whose values pick the row. If one is absent, the host's version decides. Among rows with
    /// the same values, the other arguments decide.
    pub(crate) by: &'static [&'static Param],
    pub(crate) place: Place,
    /// What it does, for result, preview and question: a template with names of parameters and `{place}`. A
    /// part in brackets is left out if a parameter in it has no value.
    pub(crate) does: &'static str,
    pub(crate) rows: &'static [Row],
}

/// Where the requests of a choice are.
pub(crate) enum Place {
    Only(Scope),
    /// In the scope that this parameter selects.
    By(&'static Param, &'static [Scope]),
}

/// The beginning of a path, with what applies to all requests below it.
pub(crate) struct Scope {
    /// The value of the parameter that selects it.
    pub(crate) name: &'static str,
    /// Its name for people, a template: `VM {vmid}`.
    pub(crate) noun: &'static str,
    pub(crate) path: &'static str,
    /// The privileges for its reads.
    pub(crate) reads: Needs,
    /// The privileges for its changes.
    pub(crate) changes: Needs,
    pub(crate) touches: Touches,
    pub(crate) versions: Versions,
}

/// The guests that a request changes.
///
/// The gate adds those that the parameters name elsewhere: in `newid`, in `target-vmid`, and by volumes in
/// configuration lines.
#[derive(Clone, Copy)]
pub(crate) enum Touches {
    /// None: it changes users, or settings that apply to no guest.
    NoGuest,
    /// Any guest, named or not.
    AnyGuest,
    /// Any guest of any node, whichever node the request names.
    AnyGuestAnywhere,
    GuestOf(&'static Param),
    /// Those in a list of VMIDs; any guest if the list is not sent.
    Guests(&'static Param),
    /// The VMIDs that code finds in the request and in the object before the change (null if that was not
    /// read). Anything else in the list, such as `*`, means any guest.
    Judged(fn(&Request, &Value) -> Vec<String>),
    /// One that is not changed: it is started, resumed or copied.
    Unchanged(&'static Param),
    /// The one that `vmid` creates or, with `force`, restores over; its sources are not changed.
    NewGuest,
    /// Those in `vmid` that are backed up; any guest if that is not sent.
    BackedUp,
    /// The owner of a volume; any guest unless the volume's name tells.
    OwnerOf(&'static Param),
    /// The same, for a volume that is only read.
    ReadsOwnerOf(&'static Param),
    /// The guest of a task.
    GuestOfTask(&'static Param),
    /// All guests of the node, if a command other than `start` goes to a service that they depend on.
    Service {
        name: &'static Param,
        command: &'static Param,
    },
    /// The guest of an HA resource, `vm:100`.
    HaResource(&'static Param),
    /// The guest of an HA resource, and those that rules keep together with it.
    HaCompanions(&'static Param),
}

/// What a request may do that its user has to confirm.
///
/// Its sentence follows what the request does if a [`Choice`] describes that, and otherwise says everything.
/// Names of parameters in it, `{disk}`, stand for their values.
#[derive(Clone, Copy)]
pub(crate) enum Harm {
    None,
    /// Something is interrupted, or access is lost: a sentence that says what.
    Interrupts(&'static str),
    /// Data is lost for good: a sentence that says which.
    Destroys(&'static str),
    /// It depends on the object before the change (null if that was not read).
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
    /// A guest is stopped hard, if it is running.
    Stops,
    /// The same, if `forceStop` or a short `timeout` causes it.
    StopsIfForced,
    /// By disks in `delete`, and by options that protect the guest or run something on its node.
    OfConfig,
    /// By `force`, which restores over a guest, and by such options.
    OfNewGuest,
}

/// What a request destroys or interrupts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// What is lost, as a sentence.
    pub(crate) sentence: String,
    /// Whether data is lost for good.
    pub(crate) destroys: bool,
}

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
    /// The values of the parameters that pick it, in their order: `alias create`.
    pub(crate) when: &'static str,
    /// The names of the scopes that have it; empty for all.
    scopes: &'static [&'static str],
    pub(crate) method: Method,
    /// The path below its place; each `{part}` is needed.
    pub(crate) rest: &'static str,
    pub(crate) takes: &'static [&'static Param],
    /// Parameters that it takes and that are sent as they were read if they are absent: the request replaces
    /// its object, or requires them.
    keeps: &'static [&'static Param],
    /// What every such request sends.
    pub(crate) always: &'static [(&'static str, &'static str)],
    pub(crate) reply: Reply,
    /// The privileges that it needs, if not those of its place.
    needs: Option<Needs>,
    versions: Versions,
    /// What it does, if not what its choice says.
    does: Option<&'static str>,
    /// The guests that it touches, if not those of its place.
    pub(crate) touches: Option<Touches>,
    pub(crate) harm: Harm,
    /// The login for it and for its first read, if no API token can send it.
    pub(crate) login: Option<Login>,
    /// The flag that lets the answer show the secrets that Proxmox sends.
    reveals: Option<&'static Param>,
    /// What is read before it is sent. The digest of that is sent along, and the answer shows it.
    pub(crate) first: First,
    /// The privileges for that read, if not those for reads of its place.
    first_needs: Option<Needs>,
    /// Checks whether it may be sent, given what was read first: refuses it, or returns what the user should
    /// know before they confirm.
    pub(crate) check: Option<Check>,
    /// Whether the call always follows its task, since its result only shows afterwards.
    waits: bool,
    /// Adds the result.
    pub(crate) then: Option<Then>,
    /// The requests that `check` and `then` read.
    also_reads: &'static [Step],
    /// Parameters of other rows that it cannot take, and why: the text follows the name of one.
    refuses: (&'static [&'static str], &'static str),
    /// Extracts what it changes from what was read first.
    picks: fn(&Args, Value) -> Result<Value, Error>,
    /// Extracts what is shown from the data of the answer, which may hold an error instead.
    opens: fn(Value) -> Result<Value, Error>,
    pub(crate) show: Show,
}

pub(crate) type Check = fn(&Reader, &Args, &Value) -> Result<Vec<String>, Error>;

/// What is read before a change is sent.
#[derive(Clone, Copy)]
pub(crate) enum First {
    Nothing,
    /// The object at the path of the change itself.
    Item,
    /// The entry of the list at `rest` below its place whose `key` is the value of `is`. Without such an
    /// entry, the change is not sent: Proxmox also answers null to a change of something that does not exist.
    Entry {
        rest: &'static str,
        key: &'static str,
        is: &'static Param,
    },
    /// The object at `rest` below its place.
    Other(&'static str),
}

/// How the answer to a request is shown.
pub(crate) enum Show {
    /// As the start of a task: what it does, a template such as `Start VM {vmid}`.
    Action(&'static str),
    /// As an action that is done, or its other outcome, with additional lines.
    Done(&'static str, fn(&Args, &Value) -> Vec<String>),
    Fields(&'static Fields),
    /// With additional lines about all rows.
    Listed(&'static Table, fn(&[Value]) -> Vec<String>),
    /// By code, from the data of the answer and its other fields.
    Made(fn(&Args, Value, &Value) -> Answer),
    Table(&'static Table),
}

pub(crate) const fn get(
    when: &'static str,
    rest: &'static str,
    takes: &'static [&'static Param],
    show: Show,
) -> Row {
    Row {
        show,
        ..row(when, Method::Get, rest, takes)
    }
}

pub(crate) const fn list(takes: &'static [&'static Param], show: Show) -> Row {
    get("", "", takes, show)
}

pub(crate) const fn item(rest: &'static str, show: Show) -> Row {
    get("", rest, &[], show)
}

/// A POST that changes nothing; the reader has a list of these.
pub(crate) const fn ask(when: &'static str, rest: &'static str, show: Show) -> Row {
    Row {
        show,
        ..row(when, Method::Post, rest, &[])
    }
}

pub(crate) const fn post(
    when: &'static str,
    rest: &'static str,
    takes: &'static [&'static Param],
) -> Change {
    Change(row(when, Method::Post, rest, takes))
}

/// A change of an existing object, which is read first.
pub(crate) const fn put(
    when: &'static str,
    rest: &'static str,
    takes: &'static [&'static Param],
) -> Change {
    Change(Row {
        first: First::Item,
        ..row(when, Method::Put, rest, takes)
    })
}

/// A removal of an existing object, which is read first.
pub(crate) const fn delete(
    when: &'static str,
    rest: &'static str,
    takes: &'static [&'static Param],
) -> Change {
    Change(Row {
        first: First::Item,
        ..row(when, Method::Delete, rest, takes)
    })
}

const fn row(
    when: &'static str,
    method: Method,
    rest: &'static str,
    takes: &'static [&'static Param],
) -> Row {
    Row {
        when,
        scopes: &[],
        method,
        rest,
        takes,
        keeps: &[],
        always: &[],
        reply: Reply::Nothing,
        needs: None,
        versions: Versions::ALL,
        does: None,
        touches: None,
        harm: Harm::None,
        login: None,
        reveals: None,
        first: First::Nothing,
        first_needs: None,
        check: None,
        waits: false,
        then: None,
        also_reads: &[],
        refuses: (&[], ""),
        picks: |_, data| Ok(data),
        opens: Ok,
        show: Show::Done("done", |_, _| Vec::new()),
    }
}

/// A request that changes something. It becomes a [`Row`] when its harm is declared.
pub(crate) struct Change(Row);

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
    /// Declares that it starts a task; if it takes `WAIT`, the call can follow that.
    pub(crate) const fn starts_task(self) -> Self {
        self.answers(Reply::Task)
    }

    pub(crate) const fn known_to(self, versions: Versions) -> Self {
        Self { versions, ..self }
    }

    /// Sets what every such request sends: `("delete", "1")`.
    pub(crate) const fn always(self, always: &'static [(&'static str, &'static str)]) -> Self {
        Self { always, ..self }
    }

    /// Makes the call always follow its task to the end.
    pub(crate) const fn waits(self) -> Self {
        Self {
            waits: true,
            ..self
        }
    }

    pub(crate) const fn then(self, then: Then) -> Self {
        Self {
            then: Some(then),
            ..self
        }
    }
}

impl Row {
    pub(crate) const fn answers(self, reply: Reply) -> Self {
        Self { reply, ..self }
    }

    /// Limits it to these scopes.
    pub(crate) const fn in_scopes(self, scopes: &'static [&'static str]) -> Self {
        Self { scopes, ..self }
    }

    pub(crate) const fn needs(self, needs: Needs) -> Self {
        Self {
            needs: Some(needs),
            ..self
        }
    }

    /// Sends these as they were read if they are absent; an empty value leaves them out.
    pub(crate) const fn keeps(self, keeps: &'static [&'static Param]) -> Self {
        Self { keeps, ..self }
    }

    /// Describes what it does, as a template like that of its choice.
    pub(crate) const fn does(self, does: &'static str) -> Self {
        Self {
            does: Some(does),
            ..self
        }
    }

    pub(crate) const fn reads(self, first: First) -> Self {
        Self { first, ..self }
    }

    /// Reads the entry of the list at `rest` whose `key` is the value of `is`.
    pub(crate) const fn reads_entry(
        self,
        rest: &'static str,
        key: &'static str,
        is: &'static Param,
    ) -> Self {
        self.reads(First::Entry { rest, key, is })
    }

    /// Takes what it changes out of what was read first; an error where that has no such part.
    pub(crate) const fn picked_by(self, picks: fn(&Args, Value) -> Result<Value, Error>) -> Self {
        Self { picks, ..self }
    }

    pub(crate) const fn opened_by(self, opens: fn(Value) -> Result<Value, Error>) -> Self {
        Self { opens, ..self }
    }

    pub(crate) const fn first_needs(self, needs: Needs) -> Self {
        Self {
            first_needs: Some(needs),
            ..self
        }
    }

    /// Has code check it; `also_reads` declares what that reads.
    pub(crate) const fn checks(self, check: Check) -> Self {
        Self {
            check: Some(check),
            ..self
        }
    }

    /// Declares what `checks` and `then` read.
    pub(crate) const fn also_reads(self, steps: &'static [Step]) -> Self {
        Self {
            also_reads: steps,
            ..self
        }
    }

    /// Explains why it does not take some parameters of other rows.
    pub(crate) const fn refuses(self, names: &'static [&'static str], why: &'static str) -> Self {
        Self {
            refuses: (names, why),
            ..self
        }
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

    /// Shows the secrets in its answer if this flag is given.
    pub(crate) const fn reveals(self, flag: &'static Param) -> Self {
        Self {
            reveals: Some(flag),
            ..self
        }
    }

    /// Declares that no API token can send it.
    pub(crate) const fn needs_login(self, login: Login) -> Self {
        Self {
            login: Some(login),
            ..self
        }
    }

    /// Returns the parameters that it requires, apart from the parts of its path.
    fn required(&self) -> impl Iterator<Item = &'static Param> {
        let takes = self.takes.iter().copied();
        takes.filter(|param| param.is_required_by_request())
    }
}

/// A request that code builds from the arguments, or the only one of a tool.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    needs: Needs,
    more: Needs,
    is_dispensable: bool,
    versions: Versions,
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
            versions: Versions::ALL,
            touches,
            harm,
        }
    }

    /// Limits it to these versions.
    pub(crate) const fn known_to(self, versions: Versions) -> Self {
        Self { versions, ..self }
    }

    /// Adds privileges that its tool needs beyond the request: Proxmox checks one for each kind of option,
    /// and leaves out of lists what the token may not see.
    pub(crate) const fn also(self, more: Needs) -> Self {
        Self { more, ..self }
    }

    /// Declares that the tool works without it if it is refused, or only sends it for some calls.
    pub(crate) const fn dispensable(self) -> Self {
        Self {
            is_dispensable: true,
            ..self
        }
    }

    pub(crate) fn versions(&self) -> Versions {
        self.versions
    }

    /// Returns the privileges that all tools need for it.
    #[cfg(test)]
    pub(crate) fn needs(&self) -> Needs {
        self.needs
    }

    /// Returns the privileges that `steps` cannot do without.
    pub(crate) fn all_needs<'a>(
        steps: impl Iterator<Item = &'a Self> + Clone,
    ) -> Vec<&'static str> {
        let own = steps.clone().filter(|step| !step.is_dispensable);
        let own = own.flat_map(|step| step.needs);
        let more = steps.flat_map(|step| step.more);
        own.chain(more).copied().collect()
    }
}

/// Writes `GET /nodes/{node}/status`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.path)
    }
}

impl Show {
    /// Returns the answer to a request that does `what`.
    pub(crate) fn answer(&self, what: &str, args: &Args, data: Value, beside: &Value) -> Answer {
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
            Show::Made(made) => made(args, data, beside),
            Show::Table(table) => table.answer(answer::rows(data), args, &[]),
        }
    }
}

/// Joins several lists of parameters: requests that share most of theirs declare those once.
macro_rules! takes {
    ($($list:expr),+ $(,)?) => {{
        const LISTS: &[&[&$crate::param::Param]] = &[$($list),+];
        const ALL: [&$crate::param::Param; $crate::row::count(LISTS)] = $crate::row::concat(LISTS);
        &ALL
    }};
}
pub(crate) use takes;

pub(crate) const fn count(lists: &[&[&Param]]) -> usize {
    let (mut count, mut list) = (0, 0);
    while list < lists.len() {
        count += lists[list].len();
        list += 1;
    }
    count
}

pub(crate) const fn concat<const N: usize>(lists: &[&[&'static Param]]) -> [&'static Param; N] {
    const NONE: &Param = &Param::required("", Kind::Flag, "");
    let mut all = [NONE; N];
    let (mut at, mut list) = (0, 0);
    while list < lists.len() {
        let mut item = 0;
        while item < lists[list].len() {
            all[at] = lists[list][item];
            at += 1;
            item += 1;
        }
        list += 1;
    }
    all
}

/// A row in its place: one complete request.
#[derive(Clone, Copy)]
pub(crate) struct Declared {
    pub(crate) row: &'static Row,
    pub(crate) scope: &'static Scope,
    pub(crate) choice: &'static Choice,
}

/// Fills in the `{name}` parts of a template. A part in brackets is left out if a name in it has no value;
/// returns `None` if any other name has none.
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

/// Returns the names of the parts of a path.
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

    /// Returns the parameters that pick the row and its place.
    fn selectors(&self) -> impl Iterator<Item = &'static Param> {
        let place = match &self.place {
            Place::Only(_) => None,
            Place::By(param, _) => Some(*param),
        };
        self.by.iter().copied().chain(place)
    }

    /// Returns all its requests.
    pub(crate) fn declared(&'static self) -> impl Iterator<Item = Declared> {
        let declared = self.scopes().iter().flat_map(move |scope| {
            self.rows.iter().map(move |row| Declared {
                row,
                scope,
                choice: self,
            })
        });
        declared.filter(|Declared { row, scope, .. }| {
            row.scopes.is_empty() || row.scopes.contains(&scope.name)
        })
    }

    /// Returns the parameters of its rows.
    pub(crate) fn takes(&'static self) -> impl Iterator<Item = &'static Param> {
        self.rows.iter().flat_map(|row| row.takes).copied()
    }

    /// Returns the request that `args` ask for, or all problems with them; `None` if the host's version
    /// decides and is not known.
    pub(crate) fn pick(
        &'static self,
        args: &Args,
        major: Option<u32>,
    ) -> Result<Option<Declared>, Vec<String>> {
        let mut asked: Vec<Declared> = self
            .declared()
            .filter(|declared| declared.is_asked_for(args))
            .collect();
        let leaves_open = self.selectors().any(|param| args.get(param).is_none());
        let known = |asked: &[Declared], major| {
            let mut known = asked.to_vec();
            known.retain(|declared| declared.known_to().contain(major));
            known
        };
        match major {
            None if leaves_open && asked.iter().any(Declared::is_limited) => return Ok(None),
            Some(major) if !known(&asked, major).is_empty() => asked = known(&asked, major),
            _ => (),
        }
        // Picks from those that fit best the one that needs the most parameters.
        let misfits =
            |declared: &Declared| declared.lacking(args).count() + declared.strange(args).count();
        let least = asked.iter().map(misfits).min().unwrap_or_default();
        asked.retain(|declared| misfits(declared) == least);
        let most = asked.iter().map(Declared::asks_for).max();
        asked.retain(|declared| Some(declared.asks_for()) == most);
        let Some(picked) = asked.first() else {
            return Err(vec![self.misfit(args)]);
        };
        if major.is_none() && asked.len() > 1 && asked.iter().any(Declared::is_limited) {
            return Ok(None);
        }
        let problems = picked.problems(args);
        match problems.is_empty() {
            true => Ok(Some(*picked)),
            false => Err(problems),
        }
    }

    /// Explains which values that pick a row do not go together.
    fn misfit(&'static self, args: &Args) -> String {
        let mut fitting: Vec<Declared> = self.declared().collect();
        let mut known: Vec<String> = Vec::new();
        for param in self.selectors() {
            let Some(value) = args.get(param) else {
                continue;
            };
            let shown = format!("{}={value}", param.name);
            let fits = |declared: &&Declared| declared.selected(param) == Some(value);
            if !fitting.iter().any(|declared| fits(&declared)) {
                let mut others: Vec<&str> = Vec::new();
                for other in fitting.iter().filter_map(|own| own.selected(param)) {
                    if !others.contains(&other) {
                        others.push(other);
                    }
                }
                return format!(
                    "{shown} does not go with {}, which takes {}={}",
                    known.join(" "),
                    param.name,
                    others.join(", ")
                );
            }
            fitting.retain(|declared| fits(&declared));
            known.push(shown);
        }
        "nothing fits these arguments".to_owned()
    }
}

impl Declared {
    /// Returns its path, with a `{name}` for each of its parts.
    pub(crate) fn path(&self) -> String {
        self.below(self.row.rest)
    }

    fn below(&self, rest: &str) -> String {
        format!("{}{rest}", self.scope.path)
    }

    fn parts(&self) -> impl Iterator<Item = &'static str> {
        parts(self.scope.path).chain(parts(self.row.rest))
    }

    /// Returns the path of what is read before it is sent, with `{name}` parts, too.
    pub(crate) fn read_first(&self) -> Option<String> {
        match self.row.first {
            First::Nothing => None,
            First::Item => Some(self.path()),
            First::Entry { rest, .. } | First::Other(rest) => Some(self.below(rest)),
        }
    }

    /// Returns whether it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        only_reads(self.row.method, &self.path())
    }

    /// Returns the requests that it can send, such as `GET /cluster/ha/resources/{sid}`, and what each needs.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (Method, String, Needs)> {
        let Scope { reads, changes, .. } = *self.scope;
        let (read, own) = match self.only_reads() {
            true => (None, reads),
            false => (self.read_first(), changes),
        };
        let needs = self.row.first_needs.unwrap_or(reads);
        let read = read.map(|path| (Method::Get, path, needs));
        let own = (self.row.method, self.path(), self.row.needs.unwrap_or(own));
        let also = self.row.also_reads.iter();
        let also = also.map(|step| (step.method, step.path.to_owned(), step.needs));
        read.into_iter().chain([own]).chain(also)
    }

    /// Returns the privileges that it needs. With a login, it needs none of the API token.
    pub(crate) fn privileges(&self) -> impl Iterator<Item = &'static str> {
        let is_token = self.row.login.is_none();
        self.requests()
            .flat_map(|(_, _, needs)| needs.iter().copied())
            .filter(move |_| is_token)
    }

    pub(crate) fn touches(&self) -> Touches {
        self.row.touches.unwrap_or(self.scope.touches)
    }

    /// Returns the versions that have it.
    pub(crate) fn known_to(&self) -> Versions {
        self.row.versions.and(self.scope.versions)
    }

    fn is_limited(&self) -> bool {
        self.known_to() != Versions::ALL
    }

    /// Returns its value of one of the parameters that pick it.
    fn selected(&self, param: &Param) -> Option<&'static str> {
        let mut by = self.choice.by.iter().zip(self.row.when.split(' '));
        match by.find(|(by, _)| by.name == param.name) {
            Some((_, value)) => Some(value),
            None => match &self.choice.place {
                Place::By(by, _) if by.name == param.name => Some(self.scope.name),
                _ => None,
            },
        }
    }

    /// Returns whether `args` have the values that pick it.
    fn is_asked_for(&self, args: &Args) -> bool {
        self.choice.selectors().all(|param| {
            let given = args.get(param);
            given.is_none() || given == self.selected(param)
        })
    }

    /// Returns the names of the parameters that it requires.
    fn needed(&self) -> impl Iterator<Item = &'static str> {
        let required = self.row.required().map(|param| param.name);
        let mut names: Vec<&str> = self.parts().collect();
        for name in required {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.into_iter()
    }

    fn asks_for(&self) -> usize {
        self.needed().count()
    }

    /// Returns the required names that `args` lack.
    fn lacking(&self, args: &Args) -> impl Iterator<Item = &'static str> {
        let names_guest = self.parts().any(|part| part == "vmid");
        self.needed()
            // The node of a guest is looked up.
            .filter(move |name| !(args.is_given(name) || (names_guest && *name == "node")))
    }

    /// Returns the names in `args` that it does not take.
    fn strange(&self, args: &Args) -> impl Iterator<Item = &'static str> {
        let params = args.params().filter(|param| !param.is_about_the_call());
        let names = params.map(|param| param.name);
        names.filter(|name| {
            let is_selector = self.choice.selectors().any(|param| param.name == *name);
            let takes = self.row.takes.iter().any(|param| param.name == *name);
            let is_part = self.parts().any(|part| part == *name);
            args.is_given(name) && !is_selector && !takes && !is_part
        })
    }

    /// Returns what is wrong with `args` for it: what is missing, and what does not go with it.
    fn problems(&self, args: &Args) -> Vec<String> {
        let shown = |param: &&Param| {
            let value = self.selected(param)?;
            Some(format!("{}={value}", param.name))
        };
        let by: Vec<String> = self.choice.by.iter().filter_map(shown).collect();
        let scope = match &self.choice.place {
            Place::Only(_) => None,
            Place::By(param, _) => shown(param),
        };
        let of_scopes = |name: &str| {
            let scopes = self.choice.scopes().iter();
            scopes
                .flat_map(|scope| parts(scope.path))
                .any(|part| part == name)
        };
        // Arguments that do not fit are reported against what picked the row.
        let with = |name: &str| match &scope {
            Some(scope) if by.is_empty() || of_scopes(name) => scope.clone(),
            Some(scope) if !self.row.scopes.is_empty() => format!("{} {scope}", by.join(" ")),
            _ if by.is_empty() => {
                let others = self.needed().filter(|needed| *needed != name);
                let others: Vec<&str> = others.collect();
                let takes = self.row.takes.iter().map(|param| param.name);
                let given: Vec<&str> = takes.filter(|taken| args.is_given(taken)).collect();
                match others.is_empty() {
                    true => given.join(" and "),
                    false => others.join(" with "),
                }
            }
            _ => by.join(" "),
        };
        let mut problems = Vec::new();
        for name in self.lacking(args) {
            problems.push(format!("{name} is missing: {} needs it", with(name)));
        }
        let (refused, why) = self.row.refuses;
        let mut strange: Vec<(String, Vec<&str>)> = Vec::new();
        for name in self.strange(args) {
            if refused.contains(&name) {
                problems.push(format!("{name} {why}"));
                continue;
            }
            let with = with(name);
            match strange.iter_mut().find(|(known, _)| *known == with) {
                Some((_, names)) => names.push(name),
                None => strange.push((with, vec![name])),
            }
        }
        for (with, names) in strange {
            let (names, is_one) = (names.join(", "), names.len() == 1);
            problems.push(match with.is_empty() {
                // Nothing picked this row: another takes them, together with what that needs.
                true => format!(
                    "{names} {} {}",
                    if is_one { "needs" } else { "need" },
                    self.others_need()
                ),
                false => format!(
                    "{names} {} not go with {with}",
                    if is_one { "does" } else { "do" }
                ),
            });
        }
        // Proxmox does one of the two, and does not say which.
        for unset in self.unset(args) {
            let mut takes = self.row.takes.iter();
            let given =
                takes.find(|param| param.wire_name() == Some(unset) && args.get(param).is_some());
            problems.extend(given.map(|param| {
                format!(
                    "{} is given and in delete: give it in one of both",
                    param.name
                )
            }));
        }
        // What every request of the tool requires names the object, and changes nothing.
        let changes = || {
            let takes = self.row.takes.iter();
            takes.filter(|param| {
                let is_change = !["digest", "lock_token"].contains(&param.name);
                is_change && param.wire_name().is_some() && !param.is_always_required()
            })
        };
        let is_open = !changes().any(|param| param.is_required_by_request());
        // A request that reads nothing first does not update: it is an action.
        if self.row.method == Method::Put
            && !matches!(self.row.first, First::Nothing)
            && is_open
            && changes().next().is_some()
            && let Err(found) = args.require_any(changes())
        {
            problems.extend(found);
        }
        problems
    }

    /// Returns what would pick another row of the same choice.
    fn others_need(&self) -> String {
        let needed = self.choice.declared().flat_map(|declared| {
            let names: Vec<&str> = declared.needed().collect();
            names
        });
        let mut names: Vec<&str> = Vec::new();
        for name in needed {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(" or ")
    }

    /// Returns the parts of it that not all versions have, with the versions that do.
    pub(crate) fn versions(&self, args: &Args) -> Vec<(String, Versions)> {
        let picked = self.choice.selectors().filter_map(|param| {
            let value = self.selected(param)?;
            Some(format!("{}={value}", param.name))
        });
        let picked: Vec<String> = picked.collect();
        let own = self.is_limited().then(|| {
            let what = match picked.is_empty() {
                true => format!("{} {}", self.row.method.as_str(), self.path()),
                false => picked.join(" "),
            };
            (what, self.known_to())
        });
        let params = self.row.takes.iter();
        let params = params.filter_map(|param| param.versions(args));
        own.into_iter().chain(params).collect()
    }

    /// Returns the request for these arguments; `was` is what was read first.
    pub(crate) fn request(&self, args: &Args, was: &Value) -> Request {
        let request = args.request(self.row.method, &self.path());
        let mut request = request.by(self.row.login);
        for (name, value) in self.row.always {
            request = request.with(*name, *value);
        }
        let unset = self.unset(args);
        for param in self.row.takes {
            // Names in `delete` are not sent as parameters, too.
            let is_unset = |name| unset.iter().any(|unset| Some(*unset) == name);
            let is_kept = self.row.keeps.iter().any(|kept| kept.name == param.name)
                && !is_unset(param.wire_name());
            request = match (args.get(param), param.wire_name()) {
                (None, Some(name)) if is_kept => match form_value(&was[name]) {
                    Some(value) => request.with(name, value),
                    None => request,
                },
                // Proxmox takes an empty value for a value; leaving it out removes it from a replaced object.
                (Some(""), _) if is_kept => request,
                (Some(_), Some("delete")) if param.is_joined() => {
                    request.with("delete", unset.join(","))
                }
                // A digest from the caller takes precedence: what they saw is what they mean to change.
                (None, Some(name)) if param.name == "digest" => match form_value(&was["digest"]) {
                    Some(digest) => request.with(name, digest),
                    None => request,
                },
                _ => args.send_given(request, std::slice::from_ref(param)),
            };
        }
        request
    }

    /// Returns the options to reset, by their names in Proxmox.
    fn unset<'a>(&self, args: &'a Args) -> Vec<&'a str> {
        let mut takes = self.row.takes.iter();
        let names = takes.find(|param| param.wire_name() == Some("delete") && param.is_joined());
        let names = names.map_or(&[][..], |param| args.list(param));
        let wire = |name: &'a String| {
            let mut takes = self.row.takes.iter();
            let known = takes.find(|param| param.name == *name);
            known.and_then(|known| known.wire_name()).unwrap_or(name)
        };
        names.iter().map(wire).collect()
    }

    /// Refuses to reset an unknown option: Proxmox accepts any name and reports success.
    pub(crate) fn check_unset(&self, args: &Args, was: &Value) -> Result<(), Error> {
        let Some(was) = was.as_object() else {
            return Ok(());
        };
        let takes = self.row.takes.iter().filter_map(|param| param.wire_name());
        let known: Vec<&str> = takes
            .filter(|name| !["delete", "digest"].contains(name))
            .collect();
        let mut unset = self.unset(args).into_iter();
        let is_known = |name: &str| known.contains(&name) || was.contains_key(name);
        let Some(strange) = unset.find(|name| !is_known(name)) else {
            return Ok(());
        };
        let set = was.keys().map(String::as_str);
        Err(Error::impossible(
            format!("delete: {strange} is not an option, nothing was done"),
            match nearest(strange, known.iter().copied().chain(set)) {
                Some(near) => format!("Did you mean {near}?"),
                None => format!("The options are {}.", known.join(", ")),
            },
        ))
    }

    /// Returns what was read first, taken from the answer to that; fails if there is no such object.
    pub(crate) fn found(&self, args: &Args, data: Value) -> Result<Value, Error> {
        let First::Entry { key, is, .. } = self.row.first else {
            return match data {
                Value::Null => Err(Error::impossible(
                    format!("{} does not exist, nothing was done", self.names(args)),
                    "Proxmox has no such object: list what exists first.",
                )),
                data => (self.row.picks)(args, data),
            };
        };
        let wanted = &args[is];
        let mut rows = answer::rows(data);
        if let Some(at) = rows.iter().position(|row| plain(&row[key]) == wanted) {
            return Ok(rows.swap_remove(at));
        }
        let mut known: Vec<String> = rows.iter().map(|row| plain(&row[key])).collect();
        sort(&mut known);
        Err(Error::impossible(
            format!("{}={wanted} does not exist, nothing was done", is.name),
            match known.is_empty() {
                true => "There are none.".to_owned(),
                false => text::cut(&format!("There are: {}", known.join(", ")), 1_000),
            },
        ))
    }

    /// Returns the parts of its path that name its object.
    fn names(&self, args: &Args) -> String {
        let own = parts(self.row.rest);
        let names = own.filter_map(|part| Some(format!("{part}={}", args.named(part)?)));
        let names: Vec<String> = names.collect();
        match names.is_empty() {
            true => self.path(),
            false => names.join(" "),
        }
    }

    /// Returns the values that a request gives its parameters, in the path or as parameters; `None` if the
    /// request is not of this row.
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
        // The row does not judge parameters that it does not take.
        let always = self.row.always;
        let is_taken = |name: &str| {
            let mut takes = self.row.takes.iter();
            takes.any(|param| param.wire_name() == Some(name))
        };
        let is_declared = |pair: (&str, &str)| always.contains(&pair) || is_taken(pair.0);
        let is_sent = |pair: &(&str, &str)| request.form.iter().any(|sent| sent == *pair);
        if !request.form.iter().all(is_declared) || !always.iter().all(is_sent) {
            return None;
        }
        for param in self.row.takes {
            let wire = param.wire_name();
            let mut form = request.form.iter();
            let Some((_, value)) = form.find(|(name, _)| Some(*name) == wire) else {
                continue;
            };
            // A parameter that is sent under two names must have one value.
            let mut known = values.iter().filter(|(name, _)| *name == param.name);
            if known.any(|(_, known)| known != value) {
                return None;
            }
            values.push((param.name, value.to_owned()));
        }
        let is_given = |param: &Param| values.iter().any(|(name, _)| *name == param.name);
        self.row.required().all(is_given).then_some(values)
    }

    /// Finds the row of `request` among `declared`: if several match, the one that requires most.
    pub(crate) fn find(declared: &[Self], request: &Request) -> Option<Self> {
        let fits = declared
            .iter()
            .filter(|declared| declared.values(request).is_some());
        fits.max_by_key(|declared| declared.row.required().count() + declared.row.always.len())
            .copied()
    }

    /// Describes what a request of this row does.
    pub(crate) fn does(&self, request: &Request) -> String {
        let values = self.values(request).unwrap_or_default();
        let value = |name: &str| {
            let by = self.choice.by.iter().find(|by| by.name == name);
            if let Some(selected) = by.and_then(|by| self.selected(by)) {
                return Some(selected.to_owned());
            }
            let found = values.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| text::inline(value))
        };
        let place = filled(self.scope.noun, value);
        let text = filled(
            self.row.does.unwrap_or(self.choice.does),
            |name| match name {
                "place" => place.clone(),
                name => value(name),
            },
        );
        let text = text.unwrap_or_default();
        let mut letters = text.chars();
        match letters.next() {
            Some(first) => first.to_uppercase().chain(letters).collect(),
            None => text,
        }
    }

    /// Describes an object for a person who compares it before and after a change.
    pub(crate) fn describe(object: &Value) -> String {
        if let Some(items) = object.as_array() {
            let items: Vec<String> = items.iter().map(Self::describe).collect();
            return text::cut(&items.join("; "), 1_000);
        }
        let fields = object.as_object().into_iter().flatten();
        let fields = fields.filter(|(key, value)| *key != "digest" && !value.is_null());
        let fields = fields.map(|(key, value)| {
            let value = form_value(value).unwrap_or_default();
            format!("{key}={}", text::inline(&readable(key, &value)))
        });
        text::cut(&text::inline(&fields.collect::<Vec<_>>().join(" ")), 1_000)
    }

    /// Returns whether the sentence about this row has the value of the parameter.
    fn says(&self, name: &str) -> bool {
        let sentence = self.row.does.unwrap_or_default();
        sentence.contains(&format!("{{{name}}}"))
    }

    /// Returns whether the sentence about this row has everything that its request changes.
    fn says_it_all(&self, request: &Request) -> bool {
        let mut takes = self.row.takes.iter().filter(|param| {
            let mut form = request.form.iter();
            form.any(|(key, _)| param.wire_name() == Some(key))
        });
        self.row.method == Method::Put && takes.all(|param| self.says(param.name))
    }

    /// Returns what `request` changes, given the object before: `comment: old -> new`.
    fn changes(&self, request: &Request, was: &Value) -> Vec<String> {
        let mut changes = Vec::new();
        let adds = request.form.iter().any(|pair| pair == APPENDED);
        // Deleted values are listed at the end.
        let is_deleted = |name: &str| {
            let mut deleted = request.form.iter().filter(|(key, _)| *key == "delete");
            deleted.any(|(_, names)| names.split(',').any(|deleted| deleted == name))
        };
        for param in self.row.takes {
            let is_own = |name: &&str| !["digest", APPENDED.0].contains(name);
            let Some(name) = param.wire_name().filter(is_own) else {
                continue;
            };
            let mut sent = request.form.iter().filter(|(key, _)| *key == name);
            let before = form_value(&was[name]);
            let sent_value = sent.next().map(|(_, value)| value);
            let all = match (&before, sent_value) {
                // Proxmox adds to the existing list.
                (Some(before), Some(more)) if adds && param.is_joined() => {
                    Some(joined_lists(before, more))
                }
                _ => None,
            };
            let after = all.as_deref().or(sent_value);
            // The parameter that names the entry does not change it.
            let names_it =
                matches!(self.row.first, First::Entry { is, .. } if is.name == param.name);
            let is_same = after == before.as_deref();
            let is_said = before.is_none() && self.says(param.name);
            if name == "delete" || names_it || is_same || is_said || sent.next().is_some() {
                continue;
            }
            let is_kept = self.row.keeps.iter().any(|kept| kept.name == param.name);
            let show = |value: &str| match value {
                "" => "none".to_owned(),
                value => text::cut(&text::inline(&readable(name, value)), 200),
            };
            match (before, after) {
                (Some(before), Some(after)) => {
                    changes.push(format!("{name}: {} -> {}", show(&before), show(after)));
                }
                (None, Some(after)) => changes.push(format!("{name}: {}", show(after))),
                (Some(before), None) if is_kept && !is_deleted(name) => {
                    changes.push(format!("{name}: {} -> none", show(&before)));
                }
                _ => (),
            }
        }
        let mut form = request.form.iter();
        let deleted = form.find(|(key, _)| {
            *key == "delete" && !self.row.always.iter().any(|(own, _)| own == key)
        });
        for name in deleted.into_iter().flat_map(|(_, names)| names.split(',')) {
            if let Some(before) = form_value(&was[name]) {
                let before = text::cut(&text::inline(&readable(name, &before)), 200);
                changes.push(format!("{}: {before} -> none", text::inline(name)));
            }
        }
        changes
    }

    /// Shows the answer to a request of this row; `was` is the object before the change, and `beside` the
    /// answer's fields other than the data.
    pub(crate) fn show(
        &self,
        request: &Request,
        args: &Args,
        data: Value,
        was: Option<Value>,
        beside: &Value,
    ) -> Result<Answer, Error> {
        let (show, what) = (&self.row.show, self.does(request));
        let data = (self.row.opens)(data)?;
        let Show::Done(..) = show else {
            return Ok(show.answer(&what, args, data, beside));
        };
        let answer = match data.as_str().filter(|upid| Upid::parse(upid).is_some()) {
            Some(_) => Answer::from_reply(&what, &data),
            None => show.answer(&what, args, data.clone(), beside),
        };
        let answer = match was {
            None => answer,
            Some(was) => {
                let (before, changes) = (Self::describe(&was), self.changes(request, &was));
                // A change only shows what it changes.
                let answer = match (self.row.method, changes.is_empty()) {
                    (Method::Put, false) => answer.line(format!("Changed: {}", changes.join("; "))),
                    _ if before.is_empty() || self.says_it_all(request) => answer,
                    _ => answer.line(format!("It was: {before}")),
                };
                answer.with("was", answer::masked("", was))
            }
        };
        let mut answer = match self.row.then {
            Some(then) => answer.then(then),
            None => answer,
        };
        answer.waits = self.row.waits;
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
        let is_revealed = self.row.reveals.is_some_and(|param| args.flag(param));
        Ok(fields.fold(answer, |answer, (key, value)| {
            let value = match is_revealed {
                true => value,
                false => answer::masked(&key, value),
            };
            answer.with(&key, value)
        }))
    }
}

/// Makes Proxmox add to a list instead of replacing it.
pub(crate) const APPENDED: (&str, &str) = ("append", "1");

/// Joins the items of two lists, without repetition.
fn joined_lists(first: &str, second: &str) -> String {
    let mut all: Vec<&str> = Vec::new();
    for item in first.split(',').chain(second.split(',')) {
        if !item.is_empty() && !all.contains(&item) {
            all.push(item);
        }
    }
    all.join(",")
}

/// Returns a value that was read in the form in which it is sent: an object as a property string,
/// `keep-last=3,keep-daily=7`.
fn form_value(value: &Value) -> Option<String> {
    let joined = |values: Vec<String>| values.join(",");
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(joined(items.iter().filter_map(form_value).collect())),
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields =
                fields.filter_map(|(key, value)| Some(format!("{key}={}", form_value(value)?)));
            Some(joined(fields.collect()))
        }
    }
}

/// Returns what is wrong with the declaration of a tool's requests; `params` are the parameters of the tool.
#[cfg(test)]
pub(crate) fn faults(choice: &'static Choice, params: &[&Param]) -> Vec<String> {
    let mut faults = Vec::new();
    let is_param = |name: &str| params.iter().any(|param| param.name == name);
    let scopes: Vec<&str> = choice.scopes().iter().map(|scope| scope.name).collect();
    for row in choice.rows {
        let what = format!("{} {} {}", row.when, row.method.as_str(), row.rest);
        let words = row.when.split(' ').filter(|word| !word.is_empty());
        if words.clone().count() != choice.by.len() {
            faults.push(format!(
                "{what}: it has a value for each parameter that picks it"
            ));
        }
        for (param, word) in choice.by.iter().zip(words) {
            if !param.accepts(&word.into()) {
                faults.push(format!("{what}: {word} is not a value of {}", param.name));
            }
        }
        if !row.scopes.iter().all(|scope| scopes.contains(scope)) {
            faults.push(format!("{what}: a scope is not there"));
        }
        let is_taken = |kept: &&Param| row.takes.iter().any(|param| param.name == kept.name);
        if !row.keeps.iter().all(is_taken) {
            faults.push(format!("{what}: what is kept is taken"));
        }
        if let First::Entry { is, .. } = row.first
            && !is_param(is.name)
        {
            faults.push(format!("{what}: {} is not a parameter", is.name));
        }
    }
    for declared in choice.declared() {
        for part in declared.parts().filter(|part| !is_param(part)) {
            faults.push(format!("{}: {part} is not a parameter", declared.path()));
        }
    }
    for param in choice.selectors() {
        if !is_param(param.name) {
            faults.push(format!("{} picks, and is not a parameter", param.name));
        }
        let Place::By(by, _) = &choice.place else {
            continue;
        };
        if by.name == param.name && !scopes.iter().all(|scope| by.accepts(&(*scope).into())) {
            faults.push(format!("a scope is not a value of {}", by.name));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Method::{Delete, Get, Post, Put};

    const ACTION: Param = Param::required("action", Kind::Choice(&["update", "move"]), "");
    const SCOPE: Param = Param::required("scope", Kind::Choice(&["all", "vm"]), "");
    const VMID: Param = Param::by_request("vmid", Kind::Guest, "");
    const POS: Param = Param::by_request("pos", Kind::Integer(0, 9), "");
    const MOVETO: Param = Param::by_request("moveto", Kind::Integer(0, 9), "");
    const LOG: Param = Param::optional("log", Kind::Text(1, 9), "").sent_as("log-level");
    const TAGS: Param = Param::optional("delete", Kind::List, "").joined();
    const PARAMS: &[&Param] = &[&ACTION, &SCOPE, &VMID, &POS, &MOVETO, &LOG, &TAGS];

    const fn scope(name: &'static str, noun: &'static str, path: &'static str) -> Scope {
        Scope {
            name,
            noun,
            path,
            reads: &["/:Sys.Audit"],
            changes: &["/:Sys.Modify"],
            touches: Touches::AnyGuest,
            versions: Versions::ALL,
        }
    }

    static RULES: Choice = Choice {
        by: &[&ACTION],
        place: Place::By(
            &SCOPE,
            &[
                scope("all", "the cluster", "/rules"),
                scope("vm", "VM {vmid}", "/nodes/{node}/qemu/{vmid}/rules"),
            ],
        ),
        does: "{action} rule[ {pos}] of {place}[ before {moveto}]",
        rows: &[
            put("update", "/{pos}", &[&LOG, &TAGS]).harmless(),
            put("move", "/{pos}", &[&MOVETO]).harmless(),
        ],
    };

    fn pick(arguments: Value) -> Result<Request, String> {
        let arguments = arguments.as_object().expect("an object");
        let args = Args::parse(PARAMS.to_vec(), arguments).expect("they have their forms");
        let picked = RULES.pick(&args, None);
        let picked = picked.map_err(|problems| problems.join("; "))?;
        let picked = picked.expect("no version decides");
        Ok(picked.request(&args, &Value::Null))
    }

    #[test]
    fn joins_lists_of_parameters() {
        let all: &[&Param] = takes![&[&LOG], &[], PARAMS];
        let names: Vec<&str> = all.iter().map(|param| param.name).collect();
        assert_eq!(
            names,
            [
                "log", "action", "scope", "vmid", "pos", "moveto", "log", "delete"
            ]
        );
    }

    #[test]
    fn reports_everything_that_does_not_go_with_the_row_at_once() {
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
    fn sends_the_parameters_of_the_row_under_their_names_in_proxmox() {
        let arguments = json!({ "action": "update", "scope": "all", "pos": 2, "log": "info", "delete": ["a", "b"] });
        let request = pick(arguments).expect("it fits");
        assert_eq!(request.to_string(), "PUT /rules/2");
        assert_eq!(
            request.body().as_deref(),
            Some("log-level=info&delete=a%2Cb")
        );
    }

    #[test]
    fn a_request_belongs_only_to_the_row_that_it_matches() {
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

    const KIND: Param = Param::optional("kind", Kind::Choice(&["rule", "group"]), "");
    const NAME: Param = Param::by_request("name", Kind::Text(1, 9), "");
    const NOTE: Param = Param::optional("note", Kind::Text(0, 9), "").clearable();
    const SIZE: Param = Param::optional("size", Kind::Integer(0, 9), "");
    const DIGEST: Param = Param::optional("digest", Kind::Text(1, 40), "");
    const WHAT: Param = Param::required("what", Kind::Choice(&["set", "entry", "macro"]), "");
    const OBJECTS_TAKE: &[&Param] = &[
        &WHAT, &ACTION, &SCOPE, &KIND, &NAME, &NOTE, &SIZE, &VMID, &DIGEST,
    ];

    static OBJECTS: Choice = Choice {
        by: &[&WHAT, &ACTION],
        place: Place::By(
            &SCOPE,
            &[
                scope("all", "the cluster", "/fw"),
                scope("vm", "VM {vmid}", "/nodes/{node}/qemu/{vmid}/fw"),
            ],
        ),
        does: "{action} {what} {name}",
        rows: &[
            put("set update", "/sets/{name}", &[&NOTE, &SIZE, &DIGEST])
                .harmless()
                .reads_entry("/sets", "name", &NAME)
                .keeps(&[&NOTE, &SIZE]),
            put("set move", "/sets/{name}", &[])
                .harmless()
                .always(&[("delete", "1")])
                .does("take {name} apart"),
            put("entry update", "/sets/{name}/{size}", &[&NOTE]).harmless(),
            put("macro update", "/macros/{name}", &[&NOTE])
                .harmless()
                .in_scopes(&["all"])
                .needs(&["/macros:Sys.Modify"]),
        ],
    };

    static BY_VERSION: Choice = Choice {
        by: &[],
        place: Place::By(
            &KIND,
            &[
                Scope {
                    versions: Versions::since(9),
                    ..scope("rule", "rule {name}", "/rules")
                },
                Scope {
                    versions: Versions::until(8),
                    ..scope("group", "group {name}", "/groups")
                },
            ],
        ),
        does: "change {place}",
        rows: &[
            put("", "/{name}", &[&SIZE]).harmless().in_scopes(&["rule"]),
            put("", "/{name}", &[&NOTE])
                .harmless()
                .in_scopes(&["group"]),
        ],
    };

    fn args(arguments: Value) -> Args {
        let arguments = arguments.as_object().expect("an object");
        Args::parse(OBJECTS_TAKE.to_vec(), arguments).expect("they have their forms")
    }

    fn picked(choice: &'static Choice, args: &Args, major: Option<u32>) -> Result<String, String> {
        match choice.pick(args, major) {
            Ok(Some(picked)) => Ok(picked.request(args, &Value::Null).to_string()),
            Ok(None) => Ok("by version".to_owned()),
            Err(problems) => Err(problems.join("; ")),
        }
    }

    #[test]
    fn several_values_pick_a_row_and_misfits_are_named() {
        let of = |mut arguments: Value| {
            arguments["action"] = arguments["action"].as_str().unwrap_or("update").into();
            arguments["scope"] = arguments["scope"].as_str().unwrap_or("all").into();
            picked(&OBJECTS, &args(arguments), None)
        };
        let named = json!({ "what": "set", "name": "a", "note": "x" });
        assert_eq!(of(named).as_deref(), Ok("PUT /fw/sets/a"));
        for (arguments, problem) in [
            (
                json!({ "what": "macro", "action": "move" }),
                "action=move does not go with what=macro, which takes action=update",
            ),
            (
                json!({ "what": "macro", "scope": "vm", "vmid": 100 }),
                "scope=vm does not go with what=macro action=update, which takes scope=all",
            ),
            (
                json!({ "what": "macro", "name": "a", "note": "x", "size": 1 }),
                "size does not go with what=macro action=update scope=all",
            ),
            (
                json!({ "what": "set", "vmid": 100, "name": "a", "note": "x" }),
                "vmid does not go with scope=all",
            ),
            (
                json!({ "what": "entry", "name": "a", "note": "x" }),
                "size is missing: what=entry action=update needs it",
            ),
        ] {
            assert_eq!(of(arguments), Err(problem.to_owned()));
        }
    }

    #[test]
    fn the_version_decides_between_rows_if_nothing_else_does() {
        let (size, note) = (json!({ "size": 1 }), json!({ "note": "x" }));
        let of = |kind: &str, more: &Value, major| {
            let mut arguments = more.clone();
            arguments["action"] = "update".into();
            arguments["scope"] = "all".into();
            arguments["what"] = "set".into();
            arguments["name"] = "a".into();
            if !kind.is_empty() {
                arguments["kind"] = kind.into();
            }
            let arguments = arguments.as_object().expect("an object");
            let params: &[&Param] = &[&KIND, &NAME, &NOTE, &SIZE];
            let own = arguments
                .iter()
                .filter(|(name, _)| params.iter().any(|param| param.name == **name));
            let own = own.map(|(name, value)| (name.clone(), value.clone()));
            let args =
                Args::parse(OBJECTS_TAKE_BY_VERSION.to_vec(), &own.collect()).expect("forms");
            picked(&BY_VERSION, &args, major)
        };
        assert_eq!(of("", &size, None).as_deref(), Ok("by version"));
        assert_eq!(of("", &size, Some(9)).as_deref(), Ok("PUT /rules/a"));
        assert_eq!(of("", &note, Some(8)).as_deref(), Ok("PUT /groups/a"));
        assert_eq!(of("group", &note, None).as_deref(), Ok("PUT /groups/a"));
        let problem = of("", &note, Some(9)).expect_err("a rule has no note");
        assert!(
            problem.starts_with("note does not go with kind=rule"),
            "{problem}"
        );
        let args = Args::parse(
            OBJECTS_TAKE_BY_VERSION.to_vec(),
            json!({ "kind": "group", "name": "a", "note": "x" })
                .as_object()
                .expect("an object"),
        )
        .expect("forms");
        let group = BY_VERSION
            .pick(&args, None)
            .ok()
            .flatten()
            .expect("a group");
        assert_eq!(
            group.versions(&args),
            [("kind=group".to_owned(), Versions::until(8))]
        );
    }

    const OBJECTS_TAKE_BY_VERSION: &[&Param] = &[&KIND, &NAME, &NOTE, &SIZE];

    #[test]
    fn a_replaced_object_keeps_what_was_not_given() {
        let was = json!({ "name": "a", "note": "old", "size": 3, "digest": "ab" });
        let sent = |arguments: Value| {
            let args = args(arguments);
            let picked = OBJECTS.pick(&args, None).ok().flatten().expect("it fits");
            let request = picked.request(&args, &was);
            let changes = picked.changes(&request, &was).join("; ");
            (request.body().unwrap_or_default(), changes)
        };
        let call = |more: Value| {
            let mut call =
                json!({ "what": "set", "action": "update", "scope": "all", "name": "a" });
            for (name, value) in more.as_object().expect("an object") {
                call[name] = value.clone();
            }
            sent(call)
        };
        for (more, form, changes) in [
            (
                json!({ "size": 4 }),
                "note=old&size=4&digest=ab",
                "size: 3 -> 4",
            ),
            (
                json!({ "note": "" }),
                "size=3&digest=ab",
                "note: old -> none",
            ),
            (
                json!({ "note": "new", "digest": "cd" }),
                "note=new&size=3&digest=cd",
                "note: old -> new",
            ),
        ] {
            assert_eq!(call(more), (form.to_owned(), changes.to_owned()));
        }
    }

    #[test]
    fn refuses_an_unknown_entry_of_a_list_and_names_the_known_ones() {
        let args = args(json!({
            "what": "set", "action": "update", "scope": "all", "name": "a", "note": "x",
        }));
        let picked = OBJECTS.pick(&args, None).ok().flatten().expect("it fits");
        assert_eq!(picked.read_first().as_deref(), Some("/fw/sets"));
        let found = |rows: Value| {
            let found = picked.found(&args, rows);
            found.map_err(|error| error.to_string())
        };
        let there = json!([{ "name": "b" }, { "name": "a", "size": 1 }]);
        assert_eq!(found(there), Ok(json!({ "name": "a", "size": 1 })));
        let without = found(json!([{ "name": "c" }, { "name": "b" }])).expect_err("none");
        assert_eq!(
            without,
            "❌ Error: name=a does not exist, nothing was done\n\nCause: There are: b, c"
        );
        let none = found(json!([])).expect_err("none");
        assert!(none.ends_with("Cause: There are none."), "{none}");
    }

    #[test]
    fn constant_parameters_distinguish_rows() {
        let declared: Vec<Declared> = OBJECTS.declared().collect();
        let does = |request: &Request| {
            let found = Declared::find(&declared, request)?;
            Some(found.does(request))
        };
        let put = Request::new(Put, "/fw/sets/a");
        let apart = "Take a apart";
        assert_eq!(
            does(&put.clone().with("delete", "1")).as_deref(),
            Some(apart)
        );
        assert_eq!(does(&put.clone().with("delete", "0")), None);
        assert_eq!(does(&put).as_deref(), Some("Update set a"));
        let of_macro = declared.iter().find(|own| own.row.when == "macro update");
        let needs: Vec<&str> = of_macro.expect("a macro").privileges().collect();
        assert_eq!(needs, ["/:Sys.Audit", "/macros:Sys.Modify"]);
        assert!(
            !declared
                .iter()
                .any(|own| own.path() == "/nodes/{node}/qemu/{vmid}/fw/macros/{name}")
        );
    }

    #[test]
    fn a_parameter_sent_under_two_names_must_have_one_value() {
        const OLD: Param = NAME.sent_as("rename");
        static SETS: Choice = Choice {
            by: &[&ACTION],
            place: Place::Only(scope("", "", "/sets")),
            does: "{action} {name}",
            rows: &[
                post(
                    "move",
                    "",
                    &[
                        &OLD,
                        &Param::by_request("to", Kind::Text(1, 9), "").sent_as("name"),
                        &NOTE,
                    ],
                )
                .interrupts("It is found no more.")
                .does("rename {name} to {to}"),
                post(
                    "update",
                    "",
                    &[
                        &OLD,
                        &NAME,
                        &Param::by_request("note", Kind::Text(1, 9), ""),
                    ],
                )
                .harmless(),
            ],
        };
        let declared: Vec<Declared> = SETS.declared().collect();
        let does = |to: &str| {
            let request = Request::new(Post, "/sets").with("rename", "a");
            let request = request.with("name", to).with("note", "x");
            Declared::find(&declared, &request).map(|found| found.does(&request))
        };
        assert_eq!(does("a").as_deref(), Some("Update a"));
        assert_eq!(does("b").as_deref(), Some("Rename a to b"));
    }

    #[test]
    fn sends_values_that_were_read_in_the_form_that_proxmox_takes() {
        for (read, sent) in [
            (json!(null), None),
            (json!(true), Some("1")),
            (json!(3), Some("3")),
            (json!("a b"), Some("a b")),
            (json!(["a", "b"]), Some("a,b")),
            (
                json!({ "keep-last": "3", "keep-daily": 7 }),
                Some("keep-daily=7,keep-last=3"),
            ),
        ] {
            assert_eq!(form_value(&read).as_deref(), sent);
        }
    }

    #[test]
    fn leaves_out_brackets_if_a_part_in_them_has_no_value() {
        let value = |name: &str| (name == "a").then(|| "1".to_owned());
        assert_eq!(
            filled("x {a}[ y {a}][ z {b}]!", value).as_deref(),
            Some("x 1 y 1!")
        );
        assert_eq!(filled("x {b}", value), None);
    }
}
