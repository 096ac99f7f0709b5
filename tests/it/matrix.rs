//! No change is sent without permission: every recorded call of every tool, under every setting that
//! withholds it.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tiny_http::{Method, Request, Response, Server};

use crate::fake::{CSRF_TOKEN, TICKET, TOKEN, login};
use crate::fixture::{Case, Exchange, Fixture};
use crate::session::Session;
use crate::snapshot;
use crate::storage::Uploads;

/// A column of the matrix: a setting that withholds permission.
struct Column {
    name: &'static str,
    setting: (&'static str, &'static str),
    withholds: Withholds,
}

/// What must not be sent under a setting.
enum Withholds {
    Nothing,
    /// Not even a read of a tool that can change something.
    Everything,
    /// Any change; it is shown instead.
    Changes,
    /// The changes to which this applies, whichever tool they come from. [`REVIEWED`] has the others that are
    /// withheld.
    Those(fn(&str) -> bool),
}

static COLUMNS: &[Column] = &[
    column("none", ("PROXMOX_CONFIRM", "never"), Withholds::Nothing),
    column(
        "read-only",
        ("PROXMOX_READ_ONLY", "true"),
        Withholds::Everything,
    ),
    column(
        "toolset",
        ("PROXMOX_TOOLSETS", "nodes"),
        Withholds::Everything,
    ),
    column(
        "excluded",
        ("PROXMOX_EXCLUDE_TOOLS", "proxmox_*"),
        Withholds::Everything,
    ),
    column("dry run", ("PROXMOX_DRY_RUN", "true"), Withholds::Changes),
    column(DRY_RUN, ("PROXMOX_DRY_RUN", "false"), Withholds::Changes),
    column(
        "guests",
        ("PROXMOX_GUESTS", "99999999"),
        Withholds::Those(names_guest),
    ),
    column(
        "nodes",
        ("PROXMOX_NODES", "elsewhere"),
        Withholds::Those(names_node),
    ),
    column(
        "protected",
        ("PROXMOX_PROTECTED", "100-999999999"),
        Withholds::Those(alters_guest),
    ),
    column(
        "confirm",
        ("PROXMOX_CONFIRM", "always"),
        Withholds::Those(deletes),
    ),
];

/// The column whose calls have this argument.
const DRY_RUN: &str = "dry_run";

/// The effect of the columns after [`DRY_RUN`] on each change.
const REVIEWED: &str = "fixtures/permissions.txt";

const fn column(
    name: &'static str,
    setting: (&'static str, &'static str),
    withholds: Withholds,
) -> Column {
    Column {
        name,
        setting,
        withholds,
    }
}

/// Returns whether a request names a guest in its path.
fn names_guest(request: &str) -> bool {
    let parts: Vec<&str> = request.split('/').collect();
    parts.windows(2).any(|pair| {
        ["qemu", "lxc"].contains(&pair[0]) && pair[1].starts_with(|c: char| c.is_ascii_digit())
    })
}

fn names_node(request: &str) -> bool {
    request.contains(" /nodes/")
}

/// Returns whether a request changes or deletes a guest or a part of it.
fn alters_guest(request: &str) -> bool {
    names_guest(request) && !request.starts_with("POST ")
}

/// Returns whether a request deletes a guest, a part of it, or a volume.
fn deletes(request: &str) -> bool {
    request.starts_with("DELETE ") && (names_guest(request) || request.contains("/content/"))
}

/// A host that plays the recording of one call at a time, as far as it matches.
struct Host {
    server: Arc<Server>,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    /// The calls of a tool, the index of the current one, and that of its next exchange.
    cases: Arc<[Case]>,
    own: usize,
    next: usize,
    /// The requests that arrived.
    requests: Vec<String>,
}

impl Host {
    fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("loopback has a free port"));
        let state = Arc::new(Mutex::new(State::at(Arc::new([]), 0)));
        let thread = thread::spawn({
            let (server, state) = (Arc::clone(&server), Arc::clone(&state));
            move || {
                for request in server.incoming_requests() {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.meet(request);
                }
            }
        });
        Self {
            server,
            state,
            thread: Some(thread),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn at(cases: Arc<[Case]>, own: usize) -> Self {
        Self {
            cases,
            own,
            next: 0,
            requests: Vec::new(),
        }
    }

    fn meet(&mut self, mut request: Request) {
        let mut body = String::new();
        let _ = request.as_reader().read_to_string(&mut body);
        let path = request.url().split('?').next().unwrap_or_default();
        let path = path.strip_prefix("/api2/json").unwrap_or(path);
        let line = format!("{} {path}", request.method());
        let (status, answer) = self.answer(request.method(), &line);
        self.requests.push(line);
        let answer = Response::from_string(answer).with_status_code(status);
        let _ = request.respond(answer);
    }

    /// Returns what was recorded, wherever the call is; otherwise it plays a small cluster where every task
    /// ends at once.
    fn answer(&mut self, method: &Method, line: &str) -> (u16, String) {
        let data = |data: Value| (200, json!({ "data": data }).to_string());
        let has_begun = self.requests.iter().any(|request| changes(request));
        if has_begun && line.contains("/tasks/") && line.ends_with("/status") {
            return data(json!({ "status": "stopped", "exitstatus": "OK" }));
        }
        if line == "POST /access/ticket" {
            return data(json!({
                "username": "root@pam", "ticket": TICKET, "CSRFPreventionToken": CSRF_TOKEN,
            }));
        }
        let is_it = |exchange: &&Exchange| exchange.request == line;
        let own = self
            .cases
            .get(self.own)
            .map_or(&[][..], |case| &case.exchanges);
        let mut following = own.iter().skip(self.next);
        let recorded = match following.position(|exchange| is_it(&exchange)) {
            Some(index) => {
                self.next += index + 1;
                own.get(self.next - 1)
            }
            None => {
                let others = self.cases.iter().flat_map(|case| &case.exchanges);
                own.iter().chain(others).find(is_it)
            }
        };
        if let Some(exchange) = recorded {
            let answer = exchange.answer.as_ref().map(Value::to_string);
            let answer = answer.or_else(|| exchange.file.clone());
            return (exchange.status, answer.unwrap_or_default());
        }
        match line {
            "GET /version" => data(json!({ "version": "9.2.11", "release": "9.2" })),
            "GET /cluster/nextid" => data(json!("105")),
            "GET /cluster/resources" => data(json!([])),
            "GET /nodes" => data(json!(
                ["pve1", "pve2", "pve3"].map(|node| json!({ "node": node }))
            )),
            _ if *method == Method::Get && line.ends_with("/status/current") => {
                data(json!({ "status": "running" }))
            }
            _ if *method != Method::Get => data(Value::Null),
            _ => (
                500,
                json!({ "data": null, "message": "not recorded\n" }).to_string(),
            ),
        }
    }
}

/// Returns whether a request changes something.
fn changes(request: &str) -> bool {
    // These are POSTs that only ask.
    let asks = ["/access/ticket", "/agent/fsfreeze-status", "/agent/ping"];
    !request.starts_with("GET ") && !asks.iter().any(|ask| request.ends_with(ask))
}

/// A tool as listed in `src/tools/README.md`.
struct Listed {
    is_elevated: bool,
    /// The changes that it may send, with `{…}` for what varies.
    changes: Vec<String>,
}

fn tools() -> BTreeMap<String, Listed> {
    let readme = snapshot::below_package("src/tools/README.md");
    let readme = std::fs::read_to_string(readme).expect("it can be read");
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| `proxmox_"));
    rows.map(|row| {
        let (name, rest) = row[3..].split_once('`').expect("a name");
        let requests = rest.rsplit('|').nth(1).expect("a cell").split("<br>");
        let requests = requests.map(|request| request.trim_matches([' ', '`']).to_owned());
        let listed = Listed {
            is_elevated: rest.starts_with(" 🔒"),
            changes: requests.filter(|request| changes(request)).collect(),
        };
        (name.to_owned(), listed)
    })
    .collect()
}

/// Returns whether `request` has the form of `template`, whose `{…}` parts match anything.
fn fits(request: &str, template: &str) -> bool {
    let (request, template) = (request.split('/'), template.split('/'));
    request.clone().count() == template.clone().count()
        && request
            .zip(template)
            .all(|(part, form)| form.starts_with('{') || part == form)
}

/// The outcome of a call.
struct Outcome {
    text: String,
    requests: Vec<String>,
    is_listed: bool,
}

impl Outcome {
    fn changes(&self) -> impl Iterator<Item = &String> {
        self.requests.iter().filter(|request| changes(request))
    }

    /// Does the same for one of its changes: others may have been sent before.
    fn word_of(&self, change: &str) -> &'static str {
        let is_sent = self.changes().any(|request| fits(request, change));
        match &*self.text {
            _ if is_sent => "sent",
            text => Self::unsent(text),
        }
    }

    fn word(&self) -> &'static str {
        match &*self.text {
            _ if self.changes().next().is_some() => "sent",
            text => Self::unsent(text),
        }
    }

    fn unsent(text: &str) -> &'static str {
        match text {
            text if text.starts_with("🚫 Permission Denied: ") => "refused",
            text if text.starts_with("🔎 Dry run") => "shown",
            text if text.contains("confirm_token") => "asked",
            _ => "failed",
        }
    }
}

/// The recorded calls of each tool, by the major version of the host.
type Fixtures = BTreeMap<String, (String, Arc<[Case]>)>;

fn fixtures(tools: &BTreeMap<String, Listed>) -> Fixtures {
    let of = |tool: &String| {
        let cases = Fixture::of(tool).expect("a fixture that can be read").cases;
        let mut exchanges = cases.iter().flat_map(|case| &case.exchanges);
        let version = exchanges.find(|exchange| exchange.request == "GET /version");
        let version = version.and_then(|exchange| exchange.answer.as_ref());
        let version = version.and_then(|answer| answer["data"]["version"].as_str());
        let major = version.unwrap_or("9").split('.').next().unwrap_or_default();
        (tool.clone(), (major.to_owned(), cases.into()))
    };
    tools.keys().map(of).collect()
}

/// The outcome of each call, by tool and index.
type Outcomes<'a> = BTreeMap<(&'a str, usize), Outcome>;

/// Returns the outcomes of the recorded calls that change something, and of each tool's first call, for every
/// `parts`th tool.
fn outcomes<'a>(
    fixtures: &'a Fixtures,
    column: &Column,
    is_elevated: bool,
    (part, parts): (usize, usize),
) -> Outcomes<'a> {
    let uploads = Uploads::of(&format!("matrix-{}-{is_elevated}-{part}", column.name));
    let host = Host::start();
    let address = format!("http://{}", host.server.server_addr());
    let login = login("root@pam");
    let mut settings = BTreeMap::from([
        ("PROXMOX_HOST", &*address),
        ("PROXMOX_TOKEN_NAME", "mcp"),
        ("PROXMOX_TOKEN_VALUE", TOKEN),
        ("PROXMOX_TOOLSETS", "all"),
        ("PROXMOX_CONFIRM", "never"),
        ("PROXMOX_UPLOAD_DIRS", uploads.path()),
    ]);
    settings.extend(login.iter().map(|(name, value)| (*name, &**value)));
    settings.extend(is_elevated.then_some(("PROXMOX_ALLOW_ELEVATED", "true")));
    settings.extend([column.setting]);
    let settings: Vec<_> = settings.into_iter().collect();
    // A session remembers the version of its host.
    let mut sessions = BTreeMap::new();
    let mut outcomes = BTreeMap::new();
    for (tool, (version, cases)) in fixtures.iter().skip(part).step_by(parts) {
        let (session, listed) = sessions.entry(version).or_insert_with(|| {
            let mut session = Session::start(&[], &settings);
            let listed = names(&mut session);
            (session, listed)
        });
        for (index, case) in cases.iter().enumerate() {
            let mut exchanges = case.exchanges.iter();
            if index > 0 && !exchanges.any(|exchange| changes(&exchange.request)) {
                continue;
            }
            *host.state() = State::at(Arc::clone(cases), index);
            let mut arguments = case.arguments.clone();
            if column.name == DRY_RUN {
                arguments.insert(DRY_RUN.to_owned(), true.into());
            }
            let result = session.call(tool, json!(arguments));
            let text = result["content"][0]["text"].as_str().unwrap_or_default();
            let outcome = Outcome {
                text: text.to_owned(),
                requests: mem::take(&mut host.state().requests),
                is_listed: listed.contains(tool),
            };
            outcomes.insert((&**tool, index), outcome);
        }
    }
    if !is_elevated || matches!(column.withholds, Withholds::Everything | Withholds::Changes) {
        assert_eq!(uploads.names(), ["debian.iso"], "{}", column.name);
    }
    outcomes
}

/// Returns the tools that a session lists.
fn names(session: &mut Session) -> BTreeSet<String> {
    let answer = session.request("tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().expect("a list");
    let names = tools.iter().filter_map(|tool| tool["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Returns the outcomes of every column, elevated or not.
fn matrix(fixtures: &Fixtures) -> BTreeMap<(&str, bool), Outcomes<'_>> {
    let cells = COLUMNS
        .iter()
        .flat_map(|column| [true, false].map(|is_elevated| (column, is_elevated)));
    // Some calls wait for tasks, so run them in parallel.
    let parts = cells.flat_map(|(column, is_elevated)| {
        let waits = match column.withholds {
            Withholds::Nothing | Withholds::Those(_) => is_elevated,
            Withholds::Everything | Withholds::Changes => false,
        };
        let parts = if waits { 8 } else { 1 };
        (0..parts).map(move |part| (column, is_elevated, (part, parts)))
    });
    let mut matrix: BTreeMap<_, Outcomes> = BTreeMap::new();
    thread::scope(|scope| {
        let running: Vec<_> = parts
            .map(|(column, is_elevated, part)| {
                let run = scope.spawn(move || outcomes(fixtures, column, is_elevated, part));
                ((column.name, is_elevated), run)
            })
            .collect();
        for (cell, run) in running {
            let outcomes = run.join().expect("its calls are answered");
            matrix.entry(cell).or_default().extend(outcomes);
        }
    });
    matrix
}

#[test]
fn no_change_is_sent_without_permission() {
    let tools = tools();
    let fixtures = fixtures(&tools);
    let matrix = matrix(&fixtures);
    let free = &matrix[&("none", true)];
    // Every tool, every change that a tool declares and every setting is covered.
    let all: BTreeSet<&str> = free.keys().map(|(tool, _)| *tool).collect();
    assert!(all.iter().eq(tools.keys()), "{} tools", all.len());
    assert!(free.values().all(|outcome| outcome.is_listed));
    assert_eq!(
        all.len(),
        names(&mut Session::start(&[], &[("PROXMOX_TOOLSETS", "all")])).len()
    );
    assert_eq!(matrix.len(), 2 * COLUMNS.len());
    let mut problems = Vec::new();
    for (tool, listed) in tools
        .iter()
        .filter(|(_, listed)| !listed.changes.is_empty())
    {
        let mut changes = listed.changes.iter();
        if changes.all(|change| senders(free, tool, change).is_empty()) {
            problems.push(format!("{tool}: no recorded call changes anything"));
        }
    }
    for column in COLUMNS {
        for is_elevated in [true, false] {
            let cell = &matrix[&(column.name, is_elevated)];
            assert!(cell.keys().eq(free.keys()), "{}", column.name);
            for (call, outcome) in cell {
                let needs_elevation = tools[call.0].is_elevated;
                if let Some(problem) = match is_elevated {
                    true => problem(column, outcome, &free[call]),
                    false => unelevated_problem(outcome, needs_elevation),
                } {
                    let (name, text) = (column.name, &outcome.text);
                    problems.push(format!(
                        "{name}, elevated: {is_elevated}: {call:?}: {problem}\n{text}"
                    ));
                }
            }
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n\n"));
    snapshot::check(REVIEWED, &reviewed(&tools, &matrix));
}

/// Returns the calls of a tool that send a change of this form.
fn senders<'a>(outcomes: &Outcomes<'a>, tool: &str, change: &str) -> Vec<(&'a str, usize)> {
    let of_tool = outcomes.iter().filter(|((name, _), _)| *name == tool);
    let sends =
        of_tool.filter(|(_, outcome)| outcome.changes().any(|request| fits(request, change)));
    sends.map(|(call, _)| *call).collect()
}

/// Returns what is wrong with an outcome; `free` is that of the same call if nothing is withheld.
fn problem(column: &Column, outcome: &Outcome, free: &Outcome) -> Option<String> {
    let is_change = free.word() == "sent";
    match column.withholds {
        Withholds::Nothing => None,
        Withholds::Everything if is_change && outcome.is_listed => Some("it is listed".to_owned()),
        Withholds::Everything if outcome.is_listed => sent(outcome, |_| true),
        Withholds::Everything if outcome.requests.is_empty() && outcome.word() == "refused" => None,
        Withholds::Everything => Some(format!("{} and {:?}", outcome.word(), outcome.requests)),
        Withholds::Changes if is_change && outcome.word() != "shown" => {
            Some(outcome.word().to_owned())
        }
        Withholds::Changes => sent(outcome, |_| true),
        // A call that fails for another reason proves nothing.
        Withholds::Those(_) if is_change && outcome.word() == "failed" => {
            Some("it failed".to_owned())
        }
        Withholds::Those(applies) => sent(outcome, applies),
    }
}

fn unelevated_problem(outcome: &Outcome, needs_elevation: bool) -> Option<String> {
    let is_refused = outcome.requests.is_empty() && outcome.word() == "refused";
    match needs_elevation && !is_refused {
        true => Some(format!("{} and {:?}", outcome.word(), outcome.requests)),
        false => sent(outcome, |_| true),
    }
}

fn sent(outcome: &Outcome, applies: fn(&str) -> bool) -> Option<String> {
    let sent: Vec<_> = outcome
        .changes()
        .filter(|request| applies(request))
        .collect();
    (!sent.is_empty()).then(|| format!("sent {sent:?}"))
}

/// Returns the effect of boundaries, protection and confirmation on each change: `sent` if they let it pass.
fn reviewed(tools: &BTreeMap<String, Listed>, matrix: &BTreeMap<(&str, bool), Outcomes>) -> String {
    let mut text = String::from(
        "What became of each recorded change outside PROXMOX_GUESTS, outside PROXMOX_NODES, of guests in\n\
         PROXMOX_PROTECTED, and with PROXMOX_CONFIRM=always in a client that cannot ask.\n",
    );
    for (tool, listed) in tools
        .iter()
        .filter(|(_, listed)| !listed.changes.is_empty())
    {
        text.push_str(&format!("\n{tool}\n"));
        for change in &listed.changes {
            let calls = senders(&matrix[&("none", true)], tool, change);
            if calls.is_empty() {
                text.push_str(&format!("  {change}: no recorded call\n"));
                continue;
            }
            let columns = COLUMNS
                .iter()
                .filter(|column| matches!(column.withholds, Withholds::Those(_)));
            let words = columns.map(|column| {
                let cell = &matrix[&(column.name, true)];
                let words: BTreeSet<&str> = calls
                    .iter()
                    .map(|call| cell[call].word_of(change))
                    .collect();
                let words: Vec<&str> = words.into_iter().collect();
                format!("{}: {}", column.name, words.join(" or "))
            });
            let words: Vec<String> = words.collect();
            text.push_str(&format!("  {change}: {}\n", words.join(", ")));
        }
    }
    text
}
