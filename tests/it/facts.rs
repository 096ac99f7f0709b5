//! `fixtures/pve-api.txt`: the endpoints that the tools use, and whether the fixtures match them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};

use crate::fixture::{self, Exchange, Fixture};
use crate::snapshot;

const PATH: &str = "fixtures/pve-api.txt";

#[test]
fn the_api_declares_each_request_in_a_fixture() {
    let text = fs::read_to_string(snapshot::below_package(PATH)).expect("the facts can be read");
    let endpoints: Vec<Endpoint> = lines(&text).map(Endpoint::parse).collect();
    let mut problems = Vec::new();
    for tool in fixture::tools() {
        let fixture = match Fixture::of(&tool) {
            Ok(fixture) => fixture,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        for case in &fixture.cases {
            for exchange in &case.exchanges {
                let path = fixture::path(&tool);
                problems.extend(faults(&endpoints, exchange).into_iter().map(|fault| {
                    format!("{path}: {}:\n    {}: {fault}", case.shows, exchange.request)
                }));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n\n"));
}

/// `src/tool/README.md`: "Configurations are written with the digest they were read with."
#[test]
fn each_change_sends_the_digest_that_its_endpoint_takes() {
    let text = fs::read_to_string(snapshot::below_package(PATH)).expect("the facts can be read");
    let endpoints: Vec<Endpoint> = lines(&text).map(Endpoint::parse).collect();
    let takes_digest = |exchange: &&Exchange| {
        let (method, path) = exchange.request.split_once(' ').unwrap_or_default();
        let mut endpoints = endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.matches(method, path));
        // Proxmox accepts it with a new firewall rule, but ignores it.
        let is_ignored = method == "POST" && path.contains("/firewall/");
        method != "GET"
            && !is_ignored
            && endpoint.is_some_and(|found| found.params.contains_key("digest"))
    };
    let mut seen = 0;
    for tool in fixture::tools() {
        let fixture = Fixture::of(&tool).expect("it is well-formed");
        for case in &fixture.cases {
            let makes = |exchange: &Exchange| {
                let path = exchange.request.strip_prefix("POST /nodes/");
                path.is_some_and(|path| path.ends_with("/clone") || path.ends_with("/qemu"))
            };
            // A guest that the same call created has no other writer yet.
            let is_new = case.exchanges.iter().any(makes);
            for change in case.exchanges.iter().filter(takes_digest) {
                if is_new {
                    continue;
                }
                let sent = change.form.iter().any(|pair| pair.starts_with("digest="));
                assert!(sent, "{tool}: {}: {}", case.shows, change.request);
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen} changes");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that proves nothing says so")]
fn the_facts_match_the_api_description() {
    let Some(folder) = env::var_os("PVE_API_FACTS") else {
        eprintln!("PVE_API_FACTS names no folder: the facts are not compared");
        return;
    };
    let description = Description::read(&folder);
    let text = fs::read_to_string(snapshot::below_package(PATH)).expect("the facts can be read");
    let mut facts = String::new();
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        facts.push_str(line);
        facts.push('\n');
    }
    for line in lines(&text) {
        facts.push_str(&description.line(&Endpoint::parse(line)));
        facts.push('\n');
    }
    snapshot::check(PATH, &facts);
}

#[test]
fn checks_a_request_against_each_part_of_a_line() {
    let line = "PUT /nodes/{node}/qemu/{vmid}/resize =string disk!:enum(efidisk0|scsi{0..30}) net[n]? \
                skip?:bool timeout?:int(1..30) limit?:num(0..) command?:array";
    let endpoints = [Endpoint::parse(line)];
    let faults = |path: &str, form: &[&str]| {
        let exchange = json!({ "request": format!("PUT {path}"), "form": form });
        let exchange = serde_json::from_value(exchange).expect("an exchange");
        faults(&endpoints, &exchange).join("; ")
    };
    let path = "/nodes/pve1/qemu/100/resize";
    for form in [
        &["disk=scsi30"] as &[&str],
        &[
            "disk=efidisk0",
            "net31=virtio",
            "skip=0",
            "timeout=30",
            "limit=0.5",
        ],
        &["command=a", "disk=scsi0", "command=b"],
    ] {
        assert_eq!(faults(path, form), "", "{form:?}");
    }
    for (form, fault) in [
        (&["net0=virtio"] as &[&str], "disk is missing"),
        (
            &["disk=scsi31"],
            "disk=scsi31 is not one of efidisk0|scsi{0..30}",
        ),
        (&["disk=scsi0", "vmid=100"], "vmid is in the path"),
        (&["disk=scsi0", "size=1"], "size is not declared"),
        (&["disk=scsi0", "skip=true"], "skip=true is neither 0 nor 1"),
        (
            &["disk=scsi0", "timeout=31"],
            "timeout=31 is not within 1..30",
        ),
        (&["disk=scsi0", "timeout=1s"], "timeout=1s is no integer"),
        (&["disk=scsi0", "limit=x"], "limit=x is no number"),
        (&["disk=scsi0", "disk=scsi1"], "disk is repeated"),
        (
            &["disk=scsi0", "net0="],
            "net0 is empty, which Proxmox takes for absent",
        ),
    ] {
        assert_eq!(faults(path, form), fault);
    }
    for (data, fits) in [
        (json!(null), false),
        (json!({}), false),
        (json!("UPID"), true),
    ] {
        let endpoint = Endpoint::parse("POST /nodes/{node}/vzdump =string vmid?");
        assert_eq!(endpoint.may_answer(&data), fits, "{data}");
    }
    assert_eq!(
        faults("/nodes/pve1/qemu/100", &[]),
        "no such endpoint among the facts"
    );
}

/// A line: the API's declaration of an endpoint.
struct Endpoint {
    method: String,
    /// The template, with `{name}` for a parameter in the path.
    path: String,
    /// The answer to a change: `null`, `object`, `string`, or `string?` if it may be null.
    returns: Option<String>,
    params: BTreeMap<String, Param>,
}

/// A parameter that is not part of the path.
struct Param {
    required: bool,
    kind: Kind,
}

/// What a value can be checked for.
enum Kind {
    Array,
    Bool,
    /// The possible values as written: `scsi{0..30}` stands for 31 of them.
    Enum(String),
    Integer(Range),
    Number(Range),
    Text,
}

/// `1..30`, `0..`, or nothing.
struct Range(String);

impl Endpoint {
    /// Parses `METHOD /path/{x} =returns name! name?:kind …`.
    fn parse(line: &str) -> Self {
        let mut words = line.split(' ').peekable();
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, path) = (word(), word());
        let returns = words.next_if(|word| word.starts_with('='));
        Self {
            method,
            path,
            returns: returns.map(|word| word[1..].to_owned()),
            params: words.map(|word| Param::parse(line, word)).collect(),
        }
    }

    /// Returns whether the API may answer a change with `data`.
    fn may_answer(&self, data: &Value) -> bool {
        let returns = match (&*self.method, &*self.path) {
            // PVE 7 makes the change at once.
            ("PUT", "/nodes/{node}/qemu/{vmid}/resize") => "string?",
            _ => self.returns.as_deref().unwrap_or_default(),
        };
        match data {
            Value::Null => returns == "null" || returns.ends_with('?'),
            Value::Object(_) => ["object", "any"].contains(&returns),
            Value::String(_) => returns.starts_with("string"),
            Value::Number(_) => returns == "boolean",
            _ => false,
        }
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        let mut segments = path.split('/');
        let same = self.path.split('/').all(|template| {
            segments.next().is_some_and(|segment| {
                template == segment || (template.starts_with('{') && !segment.is_empty())
            })
        });
        same && segments.next().is_none() && self.method == method
    }

    fn fault(&self, name: &str, value: &str) -> Option<String> {
        if self.path.contains(&format!("{{{name}}}")) {
            return Some(format!("{name} is in the path"));
        }
        let family = format!("{}[n]", name.trim_end_matches(|c: char| c.is_ascii_digit()));
        let Some(param) = self.params.get(name).or_else(|| self.params.get(&family)) else {
            return Some(format!("{name} is not declared"));
        };
        // An empty text removes the notes of a backup; an empty list of groups removes a user from all.
        let may_be_empty = name == "notes" && self.path.ends_with("/content/{volume}")
            || name == "groups" && self.path == "/access/users/{userid}";
        if value.is_empty() && !may_be_empty {
            return Some(format!("{name} is empty, which Proxmox takes for absent"));
        }
        let fault = match &param.kind {
            Kind::Bool if !matches!(value, "0" | "1") => "neither 0 nor 1".to_owned(),
            Kind::Enum(members) if !has_member(members, value) => format!("not one of {members}"),
            Kind::Integer(_) if value.parse::<i64>().is_err() => "no integer".to_owned(),
            Kind::Number(_) if value.parse::<f64>().is_err() => "no number".to_owned(),
            Kind::Integer(range) | Kind::Number(range) if !range.contains(value) => {
                format!("not within {}", range.0)
            }
            _ => return None,
        };
        Some(format!("{name}={value} is {fault}"))
    }
}

impl Param {
    fn parse(line: &str, word: &str) -> (String, Self) {
        let (name, rest) = word
            .split_once(['!', '?'])
            .unwrap_or_else(|| panic!("{PATH}: {word}: neither ! nor ? in {line}"));
        let kind = rest.strip_prefix(':').unwrap_or_default();
        let (kind, detail) = kind.split_once('(').unwrap_or((kind, ""));
        let detail = detail.strip_suffix(')').unwrap_or(detail).to_owned();
        let kind = match kind {
            "" => Kind::Text,
            "array" => Kind::Array,
            "bool" => Kind::Bool,
            "enum" => Kind::Enum(detail),
            "int" => Kind::Integer(Range(detail)),
            "num" => Kind::Number(Range(detail)),
            _ => panic!("{PATH}: {word}: an unknown kind in {line}"),
        };
        let required = word[name.len()..].starts_with('!');
        (name.to_owned(), Self { required, kind })
    }
}

impl Range {
    fn contains(&self, value: &str) -> bool {
        let (least, most) = self.0.split_once("..").unwrap_or_default();
        let value: Option<f64> = value.parse().ok();
        let least: Option<f64> = least.parse().ok();
        let most: Option<f64> = most.parse().ok();
        least.is_none_or(|least| value >= Some(least))
            && most.is_none_or(|most| value <= Some(most))
    }
}

/// Returns whether `value` is among `a|scsi{0..30}|b`.
fn has_member(members: &str, value: &str) -> bool {
    members
        .split('|')
        .any(|member| match member.split_once('{') {
            Some((prefix, numbers)) => value.strip_prefix(prefix).is_some_and(|number| {
                number.parse::<u32>().is_ok() && Range(numbers.replace('}', "")).contains(number)
            }),
            None => member == value,
        })
}

/// Returns the lines that are not comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Finds the endpoint of a path. A literal wins: `/nextid` is an endpoint of its own, although `/{name}`
/// matches it.
fn find<'a>(endpoints: &'a [Endpoint], method: &str, path: &str) -> Option<&'a Endpoint> {
    endpoints
        .iter()
        .filter(|endpoint| endpoint.matches(method, path))
        .min_by_key(|endpoint| endpoint.path.matches('{').count())
}

/// Returns whether the API may answer `request`, a change, with `data`.
pub(crate) fn may_answer(request: &str, data: &Value) -> bool {
    let text = fs::read_to_string(snapshot::below_package(PATH)).expect("the facts can be read");
    let endpoints: Vec<Endpoint> = lines(&text).map(Endpoint::parse).collect();
    let (method, path) = request.split_once(' ').unwrap_or_default();
    find(&endpoints, method, path).is_some_and(|endpoint| endpoint.may_answer(data))
}

/// Returns the API's objections to a request in a fixture.
///
/// In a fixture, status 501 means that there is no such endpoint, and 400 that the parameters are invalid.
fn faults(endpoints: &[Endpoint], exchange: &Exchange) -> Vec<String> {
    let (method, path) = exchange.request.split_once(' ').unwrap_or_default();
    let endpoint = find(endpoints, method, path);
    let endpoint = match (endpoint, exchange.status) {
        (_, 501) => return Vec::new(),
        (None, _) => return vec!["no such endpoint among the facts".to_owned()],
        (Some(_), 400) => return Vec::new(),
        (Some(endpoint), _) => endpoint,
    };
    let mut faults = Vec::new();
    if method != "GET" && exchange.status == 200 {
        let data = exchange
            .answer
            .as_ref()
            .map_or(&Value::Null, |answer| &answer["data"]);
        if !endpoint.may_answer(data) {
            faults.push(format!("is never answered {data}"));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for pair in &exchange.form {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        faults.extend(endpoint.fault(name, value));
        let array = matches!(
            endpoint.params.get(name),
            Some(Param {
                kind: Kind::Array,
                ..
            })
        );
        if seen.contains(&name) && !array {
            faults.push(format!("{name} is repeated"));
        }
        seen.push(name);
    }
    for (name, param) in &endpoint.params {
        if param.required && !seen.contains(&&**name) {
            faults.push(format!("{name} is missing"));
        }
    }
    faults
}

/// The API description of one version of Proxmox: one JSON object per line.
struct Description(Vec<Value>);

impl Description {
    fn read(folder: &OsStr) -> Self {
        let file = Path::new(folder).join("9.2.jsonl");
        let text =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let endpoints: Result<_, _> = text.lines().map(serde_json::from_str).collect();
        Self(endpoints.unwrap_or_else(|error| panic!("{}: {error}", file.display())))
    }

    /// Returns the line of one endpoint according to this description.
    fn line(&self, endpoint: &Endpoint) -> String {
        let mut line = format!("{} {}", endpoint.method, endpoint.path);
        let declared = self
            .0
            .iter()
            .find(|declared| {
                declared["method"] == endpoint.method && declared["path"] == endpoint.path
            })
            .unwrap_or_else(|| panic!("{PATH}: the API has no {line}"));
        if endpoint.method != "GET" {
            let returns = &declared["returns"];
            let mark = if returns["optional"] == true { "?" } else { "" };
            let kind = returns["type"].as_str().unwrap_or("null");
            write!(line, " ={kind}{mark}").expect("a text takes all text");
        }
        let params = declared["params"].as_object().into_iter().flatten();
        let outside = params.filter(|(_, schema)| schema["in"] != "path");
        let (optional, required): (Vec<_>, Vec<_>) =
            outside.partition(|(_, schema)| schema["optional"] == true);
        for (params, mark) in [(required, '!'), (optional, '?')] {
            for (name, schema) in params {
                write!(line, " {name}{mark}{}", kind(schema)).expect("a text takes all text");
            }
        }
        line
    }
}

/// Returns the kind of a value, `:int(0..)`, or nothing if any text is valid.
fn kind(schema: &Value) -> String {
    let number = |name: &str| schema.get(name).map_or(String::new(), Value::to_string);
    let range = match (number("minimum"), number("maximum")) {
        (least, most) if least.is_empty() && most.is_empty() => String::new(),
        (least, most) => format!("({least}..{most})"),
    };
    let members = schema["enum"].as_array();
    match (schema["type"].as_str(), members) {
        (_, Some(members)) => {
            let members: Vec<String> = members
                .iter()
                .map(|member| member.as_str().map_or(member.to_string(), str::to_owned))
                .collect();
            format!(":enum({})", members.join("|"))
        }
        (Some("array"), _) => ":array".to_owned(),
        (Some("boolean"), _) => ":bool".to_owned(),
        (Some("integer"), _) => format!(":int{range}"),
        (Some("number"), _) => format!(":num{range}"),
        _ => String::new(),
    }
}
