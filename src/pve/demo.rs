//! The recorded cluster behind `--demo`: the fixtures of the tools answer in place of a host.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::pve::http::{Failure, Reply};
use crate::pve::request::Request;
use crate::text;

/// A cluster that answers what was recorded, and never changes.
pub(crate) struct Demonstration {
    recordings: Vec<Recording>,
    /// The recording of the tool being called, and the exchange of it that is next.
    position: Cell<Option<(usize, usize)>>,
}

/// The exchanges of one tool, read when first needed: starting costs nothing.
struct Recording {
    tool: &'static str,
    fixture: &'static str,
    exchanges: OnceCell<Vec<Exchange>>,
}

/// What is of interest in a fixture.
#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    /// Method and path.
    request: String,
    /// Each parameter as `name=value`.
    #[serde(default)]
    form: Vec<String>,
    /// Absent where it is 200.
    status: Option<u16>,
    #[serde(default)]
    answer: Value,
}

impl Demonstration {
    /// What its clock shows, 2026-07-14 10:00:00Z: the present of what was recorded.
    pub(crate) const RECORDED_AT: u64 = 1_784_023_200;

    /// From the name and the fixture of each tool.
    pub(crate) fn new(fixtures: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        let recordings = fixtures.map(|(tool, fixture)| Recording {
            tool,
            fixture,
            exchanges: OnceCell::new(),
        });
        Self {
            recordings: recordings.collect(),
            position: Cell::new(None),
        }
    }

    /// A call of `tool` begins: its own recording answers first, from the start.
    pub(crate) fn begin(&self, tool: &str) {
        let own = self.recordings.iter().position(|own| own.tool == tool);
        self.position.set(own.map(|own| (own, 0)));
    }

    /// The recorded answer to `request`.
    ///
    /// The recording of the tool goes forward only, so that a configuration that is read, written
    /// and read again shows the change. What does not follow there is looked for in all recordings.
    pub(crate) fn exchange(&self, request: &Request) -> Result<Reply, Failure> {
        self.next_of_own(request)
            .or_else(|| {
                let mut all = self.recordings.iter().flat_map(Recording::exchanges);
                all.find(|exchange| exchange.answers(request))
            })
            .map(|exchange| Reply {
                status: 200,
                reason: "OK".to_owned(),
                body: exchange.answer.clone(),
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
        let own = self.position.get().map(|(own, _)| &self.recordings[own]);
        let recordings = || own.into_iter().chain(&self.recordings);
        let all = || recordings().flat_map(Recording::exchanges);
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
        let exchanges = self.recordings.get(own)?.exchanges();
        let (index, exchange) = exchanges
            .iter()
            .enumerate()
            .skip(next)
            .find(|(_, exchange)| exchange.answers(request))?;
        self.position.set(Some((own, index + 1)));
        Some(exchange)
    }
}

impl Recording {
    fn exchanges(&self) -> &[Exchange] {
        self.exchanges.get_or_init(|| {
            // A test reads every fixture: none is broken, and a demonstration without one goes on.
            let cases = parse(self.fixture).map_or_else(|_| Vec::new(), |fixture| fixture.cases);
            let exchanges = cases.into_iter().flat_map(|case| case.exchanges);
            exchanges
                .filter(|exchange| exchange.status.is_none_or(|status| status == 200))
                .collect()
        })
    }
}

impl Exchange {
    /// Its parameters for a person; a password is nobody's to copy.
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
            .iter()
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

fn parse(fixture: &str) -> serde_json::Result<Fixture> {
    serde_json::from_str(fixture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::request::Method;

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

    fn demonstration() -> Demonstration {
        Demonstration::new([("list", LIST), ("broken", "{"), ("change", CHANGE)].into_iter())
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
        let demonstration = Demonstration::new([("start", START)].into_iter());
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
        for tool in ["list", "broken", "unheard of"] {
            demonstration.begin(tool);
            let read = Request::new(Method::Get, "/config");
            assert_eq!(data(&demonstration, &read), "before");
            assert_eq!(data(&demonstration, &read), "before");
        }
    }

    #[test]
    fn reads_every_fixture() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tools");
        for entry in std::fs::read_dir(folder).expect("there are fixtures") {
            let path = entry.expect("the folder can be read").path();
            let text = std::fs::read_to_string(&path).expect("a fixture is text");
            if let Err(error) = parse(&text) {
                panic!("{}: {error}", path.display());
            }
        }
    }
}
