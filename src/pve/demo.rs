//! The sample cluster behind `--demo`: the fixtures of the tools answer in place of a host.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Failure;
use crate::pve::inflate::inflate;
use crate::request::Request;
use crate::request::Response;
use crate::text;

/// Returns what the fixtures of the tools record, each exchange once, as lines of JSON.
///
/// The first line is the list of [`Recording`]s; `UPDATE_FIXTURES=1 cargo test` makes them all. They take a
/// seventh of their size in the program, and are inflated when they are first needed.
pub(crate) fn recorded() -> &'static str {
    static RECORDED: OnceLock<String> = OnceLock::new();
    RECORDED.get_or_init(|| inflate(COMPRESSED).expect("a test inflates it"))
}

static COMPRESSED: &[u8] = include_bytes!("../../fixtures/demonstration.jsonl.gz");

/// A cluster that answers what was recorded, and never changes.
pub(crate) struct Demonstration {
    recordings: Vec<Recording<'static>>,
    lines: Vec<Line>,
    /// The recording of the tool being called, and the exchange of it that is next.
    position: Cell<Option<(usize, usize)>>,
}

/// What is recorded of one tool. Its `example` is the arguments of its first call, the natural case.
#[derive(Deserialize)]
struct Recording<'a> {
    tool: &'a str,
    /// Which lines, counted from the one below the first, are its exchanges, in the order of its calls.
    exchanges: Vec<usize>,
}

/// An exchange, read when first needed: starting costs nothing.
struct Line {
    json: &'static str,
    exchange: OnceCell<Option<Exchange>>,
}

#[derive(Deserialize)]
struct Exchange {
    /// Method and path.
    request: String,
    /// Each parameter as `name=value`.
    #[serde(default)]
    form: Vec<String>,
    #[serde(default)]
    answer: Value,
}

impl Demonstration {
    /// What its clock shows, 2026-07-14 10:00:00Z: the present of what was recorded.
    pub(crate) const RECORDED_AT: u64 = 1_784_023_200;

    /// From lines like [`recorded`].
    pub(crate) fn new(recorded: &'static str) -> Self {
        let lines = recorded.lines().skip(1).map(|json| Line {
            json,
            exchange: OnceCell::new(),
        });
        Self {
            recordings: serde_json::from_str(first_line(recorded)).unwrap_or_default(),
            lines: lines.collect(),
            position: Cell::new(None),
        }
    }

    /// A call of `tool` begins: its own recording answers first, from the start.
    pub(crate) fn begin(&self, tool: &str) {
        let own = self.recordings.iter().position(|own| own.tool == tool);
        self.position.set(own.map(|own| (own, 0)));
    }

    /// Reads as if the call had just begun, and leaves it where it is: the world does not change under
    /// who only looks.
    pub(crate) fn without_advancing<T>(&self, read: impl FnOnce() -> T) -> T {
        let position = self.position.get();
        self.position.set(position.map(|(own, _)| (own, 0)));
        let read = read();
        self.position.set(position);
        read
    }

    /// The recorded answer to `request`.
    ///
    /// The recording of the tool goes forward only, so that a configuration that is read, written
    /// and read again shows the change. What does not follow there is looked for in all recordings.
    pub(crate) fn exchange(&self, request: &Request) -> Result<Response, Failure> {
        self.next_of_own(request)
            .or_else(|| {
                let mut all = self.lines.iter().filter_map(Line::exchange);
                all.find(|exchange| exchange.answers(request))
            })
            .map(|exchange| Response {
                status: 200,
                reason: "OK".to_owned(),
                body: exchange.answer.clone(),
                rows: None,
                may_repeat_secret: false,
                is_page: false,
                date: None,
                took: Duration::ZERO,
            })
            .ok_or_else(|| Failure::NotRecorded {
                cause: format!(
                    "It is not part of the demonstration. {}",
                    self.known(request)
                ),
                remedy: "For anything else run without --demo, connected to a Proxmox host."
                    .to_owned(),
            })
    }

    /// What is recorded in place of `request`: it with other parameters, or the same of other objects.
    fn known(&self, request: &Request) -> String {
        /// The most that are named.
        const MOST: usize = 3;

        let line = request.to_string();
        // Those of the tool that asks come first.
        let position = self.position.get();
        let own = position.map_or(&[][..], |(own, _)| &self.recordings[own].exchanges);
        let own = || own.iter().filter_map(|line| self.lines.get(*line));
        let all = || own().chain(&self.lines).filter_map(Line::exchange);
        let same = all().filter(|exchange| exchange.request == line);
        let mut known: Vec<String> = same.map(Exchange::parameters).collect();
        let mut what = "It is recorded only with";
        if known.is_empty() {
            what = "Recorded are only";
            let alike = all().filter(|exchange| is_of_the_same_form(&exchange.request, &line));
            known = alike.map(|exchange| exchange.request.clone()).collect();
        }
        let mut seen = BTreeSet::new();
        known.retain(|text| seen.insert(text.clone()));
        if known.is_empty() {
            return "Its nodes are pve1 and pve2; proxmox_get_vms lists its guests.".to_owned();
        }
        let more = if known.len() > MOST { "; …" } else { "" };
        known.truncate(MOST);
        format!("{what}: {}{more}", known.join("; "))
    }

    /// The next exchange of the tool being called that answers `request`.
    fn next_of_own(&self, request: &Request) -> Option<&Exchange> {
        let (own, next) = self.position.get()?;
        let lines = self.recordings.get(own)?.exchanges.iter().enumerate();
        let (index, exchange) = lines.skip(next).find_map(|(index, line)| {
            let exchange = self.lines.get(*line)?.exchange()?;
            exchange.answers(request).then_some((index, exchange))
        })?;
        self.position.set(Some((own, index + 1)));
        Some(exchange)
    }
}

impl Line {
    fn exchange(&self) -> Option<&Exchange> {
        // A test makes every line: none is broken, and a demonstration without one goes on.
        let read = || serde_json::from_str(self.json).ok();
        self.exchange.get_or_init(read).as_ref()
    }
}

impl Exchange {
    /// Its parameters for a person; passwords are masked.
    fn parameters(&self) -> String {
        let shown = self.form.iter().map(|pair| match pair.split_once('=') {
            Some(("password", _)) => "password=…",
            _ => pair,
        });
        match self.form[..] {
            [] => "no parameters".to_owned(),
            _ => text::cut(&text::inline(&shown.collect::<Vec<_>>().join(" ")), 200),
        }
    }

    fn answers(&self, request: &Request) -> bool {
        let form = request
            .form
            .sent()
            .map(|(name, value)| format!("{name}={value}"));
        self.request == request.to_string() && form.eq(self.form.iter().cloned())
    }
}

/// Whether two requests are of one endpoint: they differ in ids alone, which stand behind the word
/// that says of what.
fn is_of_the_same_form(one: &str, other: &str) -> bool {
    const NAMED: &[&str] = &[
        "nodes", "qemu", "lxc", "network", "services", "snapshot", "storage", "content", "tasks",
    ];
    let (one, other): (Vec<_>, Vec<_>) = (one.split('/').collect(), other.split('/').collect());
    let fits =
        |index: usize| one[index] == other[index] || (index > 0 && NAMED.contains(&one[index - 1]));
    one.len() == other.len() && (0..one.len()).all(fits)
}

/// The arguments of the first recorded call of a tool, as JSON.
pub(crate) fn example(tool: &str) -> Option<String> {
    let recordings: Value = serde_json::from_str(first_line(recorded())).ok()?;
    let mut recordings = recordings.as_array()?.iter();
    let own = recordings.find(|recording| recording["tool"] == tool)?;
    Some(own["example"].to_string())
}

fn first_line(recorded: &str) -> &str {
    recorded.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::{env, fs};

    use serde_json::json;

    use super::*;
    use crate::request::Method;
    use crate::tools::DOMAINS;

    /// The request for all guests.
    fn is_of_guests(exchange: &Value) -> bool {
        exchange["request"] == "GET /cluster/resources" && exchange["form"] == json!(["type=vm"])
    }

    /// Whether each row of `answer` is a part of one in `whole`.
    fn is_part(answer: &Value, whole: &Value) -> bool {
        let rows = |list: &Value| list["data"].as_array().cloned().unwrap_or_default();
        let is_in = |part: &Value, row: &Value| {
            let mut fields = part.as_object().into_iter().flatten();
            fields.all(|(name, value)| row.get(name) == Some(value))
        };
        let (parts, whole) = (rows(answer), rows(whole));
        !parts.is_empty()
            && parts
                .iter()
                .all(|part| whole.iter().any(|row| is_in(part, row)))
    }

    /// Lines like [`recorded`], from the name and the fixture of each tool.
    ///
    /// A fixture lists only the guests and fields that its calls need; the demonstration shows all of them,
    /// or a boundary would not know the tags of the guest it is to protect.
    fn lines(fixtures: &[(&str, String)]) -> String {
        let (mut recordings, mut lines) = (Vec::new(), Vec::new());
        let guests = fixtures.iter().find(|(tool, _)| *tool == "proxmox_get_vms");
        let guests = guests.map(|(tool, fixture)| {
            let fixture: Value = serde_json::from_str(fixture).expect(tool);
            fixture["cases"][0]["exchanges"][0]["answer"].clone()
        });
        for (tool, fixture) in fixtures {
            let mut fixture: Value = serde_json::from_str(fixture).expect(tool);
            let cases = fixture["cases"].as_array_mut().expect(tool);
            let example = cases[0]["arguments"].clone();
            let mut own = Vec::new();
            for exchange in cases
                .iter_mut()
                .flat_map(|case| case["exchanges"].as_array_mut().expect(tool))
                .filter_map(Value::as_object_mut)
                .filter(|exchange| exchange.get("status").is_none_or(|status| status == 200))
            {
                exchange.retain(|key, _| ["request", "form", "answer"].contains(&&**key));
                let mut exchange = json!(exchange);
                if let Some(guests) = &guests
                    && is_of_guests(&exchange)
                    && is_part(&exchange["answer"], guests)
                {
                    exchange["answer"] = guests.clone();
                }
                let line = exchange.to_string();
                let known = lines.iter().position(|known| *known == line);
                own.push(known.unwrap_or(lines.len()));
                if known.is_none() {
                    lines.push(line);
                }
            }
            recordings.push(json!({ "tool": tool, "example": example, "exchanges": own }));
        }
        lines.insert(0, json!(recordings).to_string());
        lines.join("\n") + "\n"
    }

    /// Compresses with the program `gzip`, since no dependency does; only needed when fixtures are updated.
    fn compressed(text: &str) -> Vec<u8> {
        let mut gzip = Command::new("gzip")
            .args(["--best", "--no-name"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("gzip is installed");
        let mut input = gzip.stdin.take().expect("it is piped");
        // gzip writes little before it has read all, so this cannot block.
        input.write_all(text.as_bytes()).expect("gzip reads");
        drop(input);
        gzip.wait_with_output().expect("gzip ends").stdout
    }

    #[test]
    fn the_recorded_cluster_is_that_of_the_fixtures() {
        let package = env!("CARGO_MANIFEST_DIR");
        let tools = DOMAINS.iter().flat_map(|domain| domain.tools);
        let fixtures = tools.map(|(name, _)| {
            let path = format!("{package}/fixtures/tools/{name}.json");
            let fixture = fs::read_to_string(&path);
            (*name, fixture.unwrap_or_else(|err| panic!("{path}: {err}")))
        });
        let made = lines(&fixtures.collect::<Vec<_>>());
        if env::var_os("UPDATE_FIXTURES").is_some() {
            let path = format!("{package}/fixtures/demonstration.jsonl.gz");
            if made != recorded() {
                fs::write(path, compressed(&made)).expect("the file can be written");
            }
            return;
        }
        let is_current = made == recorded();
        assert!(is_current, "run UPDATE_FIXTURES=1 cargo test");
    }

    const LIST: &str = r#"{
        "source": "written for this test",
        "cases": [
            { "shows": "a denial", "exchanges": [
                { "request": "GET /nodes", "status": 403, "answer": { "data": null } }
            ] },
            { "shows": "nodes", "exchanges": [
                { "request": "GET /nodes", "answer": { "data": ["pve1"] } }
            ] },
            { "shows": "a filter", "exchanges": [
                { "request": "GET /nodes", "form": ["type=a b"], "answer": { "data": [] } }
            ] }
        ]
    }"#;

    const CHANGE: &str = r#"{
        "source": "written for this test",
        "cases": [
            { "shows": "a change", "exchanges": [
                { "request": "GET /config", "answer": { "data": "before" } },
                { "request": "PUT /config", "form": ["net0=a"], "answer": { "data": null } },
                { "request": "GET /config", "answer": { "data": "a" } }
            ] },
            { "shows": "another change", "exchanges": [
                { "request": "GET /config", "answer": { "data": "before" } },
                { "request": "PUT /config", "form": ["net0=b"], "answer": { "data": null } },
                { "request": "GET /config", "answer": { "data": "b" } }
            ] }
        ]
    }"#;

    fn of_fixtures(fixtures: &[(&str, &str)]) -> Demonstration {
        let owned = fixtures
            .iter()
            .map(|(tool, text)| (*tool, text.to_string()));
        Demonstration::new(lines(&owned.collect::<Vec<_>>()).leak())
    }

    fn demonstration() -> Demonstration {
        of_fixtures(&[("list", LIST), ("change", CHANGE)])
    }

    fn data(demonstration: &Demonstration, request: &Request) -> Value {
        let reply = demonstration.exchange(request).expect("it is recorded");
        assert_eq!(reply.status, 200);
        reply.body["data"].clone()
    }

    #[test]
    fn answers_by_method_path_and_parameters() {
        let demonstration = demonstration();
        let nodes = Request::new(Method::Get, "/nodes");
        assert_eq!(data(&demonstration, &nodes), serde_json::json!(["pve1"]));
        let filtered = nodes.clone().with("type", "a b");
        assert_eq!(data(&demonstration, &filtered), serde_json::json!([]));
        for (unknown, expected) in [
            (
                nodes.with("type", "c"),
                "It is recorded only with: no parameters; type=a b",
            ),
            (
                Request::new(Method::Delete, "/nodes"),
                "Its nodes are pve1 and pve2; proxmox_get_vms lists its guests.",
            ),
        ] {
            let failure = demonstration.exchange(&unknown).err();
            let Some(Failure::NotRecorded { cause, .. }) = failure else {
                panic!("{unknown}: {failure:?}");
            };
            let expected = format!("It is not part of the demonstration. {expected}");
            assert_eq!(cause, expected);
        }
    }

    #[test]
    fn names_what_is_recorded_of_the_same_kind() {
        const START: &str = r#"{ "source": "written for this test", "cases": [
            { "shows": "starts", "exchanges": [
                { "request": "POST /nodes/pve1/qemu/101/status/start" },
                { "request": "POST /nodes/pve1/qemu/102/status/start" },
                { "request": "POST /nodes/pve1/qemu/101/status/stop" },
                { "request": "GET /nodes/pve1/qemu/101/status/start" },
                { "request": "POST /nodes/pve2/qemu/103/status/start" },
                { "request": "POST /nodes/pve2/qemu/104/status/start" },
                { "request": "POST /nodes/pve2/lxc/105/status/start", "form": ["password=hidden", "a=b"] }
            ] }
        ] }"#;
        let demonstration = of_fixtures(&[("start", START)]);
        for (path, expected) in [
            (
                "/nodes/pve9/qemu/100/status/start",
                "Recorded are only: POST /nodes/pve1/qemu/101/status/start; \
                 POST /nodes/pve1/qemu/102/status/start; POST /nodes/pve2/qemu/103/status/start; …",
            ),
            (
                "/nodes/pve2/lxc/105/status/start",
                "It is recorded only with: password=… a=b",
            ),
        ] {
            let request = Request::new(Method::Post, path);
            assert_eq!(demonstration.known(&request), expected);
        }
    }

    #[test]
    fn replays_each_change_as_it_was_recorded() {
        let demonstration = demonstration();
        let read = Request::new(Method::Get, "/config");
        for value in ["b", "a", "b"] {
            demonstration.begin("change");
            assert_eq!(data(&demonstration, &read), "before");
            let write = Request::new(Method::Put, "/config").with("net0", value);
            assert_eq!(data(&demonstration, &write), Value::Null);
            assert_eq!(data(&demonstration, &read), value);
        }
    }

    #[test]
    fn answers_a_tool_from_the_recordings_of_the_others() {
        let demonstration = demonstration();
        for tool in ["list", "unheard of"] {
            demonstration.begin(tool);
            let read = Request::new(Method::Get, "/config");
            assert_eq!(data(&demonstration, &read), "before");
            assert_eq!(data(&demonstration, &read), "before");
        }
    }
}
