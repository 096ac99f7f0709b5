//! The recorded cluster behind `--demo`: the fixtures of the tools answer in place of a host.

use std::cell::{Cell, OnceCell};

use serde::Deserialize;
use serde_json::Value;

use crate::pve::http::{Failure, Reply};
use crate::pve::request::Request;

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
                cause: format!("{request} is not part of the demonstration"),
                remedy: "Run without --demo, connected to a Proxmox host.".to_owned(),
            })
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
    fn answers(&self, request: &Request) -> bool {
        let form = request
            .form
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        self.request == request.to_string() && form.eq(self.form.iter().cloned())
    }
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
        for unknown in [
            nodes.with("type", "c"),
            Request::new(Method::Delete, "/nodes"),
        ] {
            let failure = demonstration.exchange(&unknown).err();
            let Some(Failure::NotRecorded { cause, .. }) = failure else {
                panic!("{unknown}: {failure:?}");
            };
            assert_eq!(cause, format!("{unknown} is not part of the demonstration"));
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
