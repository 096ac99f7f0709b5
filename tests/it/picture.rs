//! The picture at the top of README.md: a session with the sample cluster, drawn as SVG.
//!
//! What the user says and what the model calls is written here; every answer and the question are what the
//! program prints. The lines appear one after the other, once; without animation all of them stand there.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::session::Session;
use crate::snapshot;

const PATH: &str = "fixtures/session.svg";

const ARGUMENTS: &[&str] = &["--demo"];
const VARIABLES: &[(&str, &str)] = &[
    ("PROXMOX_ALLOW_ELEVATED", "true"),
    ("PROXMOX_PROTECTED", "tag:prod"),
];

/// How many characters an answer has on a line, and how large one is.
const WIDTH: usize = 82;
const CHARACTER: f32 = 8.43;
const LINE: f32 = 21.0;

/// Where the labels begin, and where what they label does.
const MARGIN: f32 = 24.0;
const INDENT: f32 = MARGIN + 11.0 * CHARACTER;

/// Something that appears at once.
struct Step {
    label: &'static str,
    /// Its class in the style sheet.
    kind: &'static str,
    lines: Vec<String>,
    /// Seconds until it appears, after the step before.
    pause: f32,
    /// The space above it.
    space: f32,
}

/// A client that draws what it hears.
struct Client {
    session: Session,
    steps: Vec<Step>,
}

impl Client {
    fn start() -> Self {
        let mut session = Session::start(ARGUMENTS, VARIABLES);
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "picture", "version": "1" },
        });
        send(&mut session, "initialize", &params);
        session.receive();
        Self {
            session,
            steps: Vec::new(),
        }
    }

    fn draw(&mut self, label: &'static str, kind: &'static str, text: &str, pause: f32) {
        self.steps.push(Step {
            label,
            kind,
            lines: text.lines().flat_map(wrapped).collect(),
            pause,
            space: 0.0,
        });
    }

    /// The user says something, and the model calls a tool.
    fn call(&mut self, said: &str, tool: &str, arguments: &Value) {
        self.draw("you", "you", said, 1.5);
        self.steps.last_mut().expect("it was added").space = 12.0;
        self.draw("model", "model", &format!("{tool} {arguments}"), 1.0);
        let params = json!({ "name": tool, "arguments": arguments });
        send(&mut self.session, "tools/call", &params);
        let mut message = self.session.receive();
        if message["method"] == "elicitation/create" {
            message = self.answer_question(&message);
        }
        let result = &message["result"];
        let text = result["content"][0]["text"].as_str().expect("a text");
        let kind = match result["isError"] == true {
            true => "refused",
            false if text.starts_with('✅') => "done",
            false => "answer",
        };
        self.draw("answer", kind, &aligned(text), 0.8);
    }

    /// Types what the question asks for, and gives what the server says then.
    fn answer_question(&mut self, question: &Value) -> Value {
        let params = &question["params"];
        let message = params["message"].as_str().expect("a text");
        let (field, schema) = params["requestedSchema"]["properties"]
            .as_object()
            .and_then(|fields| fields.iter().next())
            .expect("a field");
        let prompt = schema["description"].as_str().expect("a text");
        let typed = prompt.split(' ').nth(1).expect("the word to type");
        self.draw(
            "question",
            "question",
            &format!("{message}\n{prompt}:"),
            0.8,
        );
        self.draw("you", "you", typed, 2.5);
        let content = json!({ field: typed });
        let result = json!({ "action": "accept", "content": content });
        let reply = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
        self.session.send(&reply.to_string());
        self.session.receive()
    }
}

fn send(session: &mut Session, method: &str, params: &Value) {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    session.send(&request.to_string());
}

/// A text whose tables have their columns below each other.
fn aligned(text: &str) -> String {
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let width = |column: usize| {
        let table = rows.iter().filter(|row| row.len() > 1);
        let cells = table.filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |row: &Vec<&str>| match row[..] {
        [line] => line.to_owned(),
        _ => {
            let cells = row.iter().enumerate();
            let padded = cells.map(|(column, cell)| format!("{cell:0$}  ", width(column)));
            padded.collect::<String>().trim_end().to_owned()
        }
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `line` in parts of at most [`WIDTH`] characters, cut at spaces.
fn wrapped(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in line.split(' ') {
        let part = parts.last_mut().expect("there is one");
        if part.is_empty() {
            part.push_str(word);
        } else if part.chars().count() + 1 + word.chars().count() <= WIDTH {
            part.push(' ');
            part.push_str(word);
        } else {
            parts.push(format!("  {word}"));
        }
    }
    parts
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const STYLE: &str = "\
svg{--page:#fff;--edge:#d0d7de;--bar:#f6f8fa;--text:#1f2328;--dim:#656d76;--you:#0550ae;--model:#6639ba;\
--done:#116329;--refused:#a40e26;--question:#7d4e00}\
@media(prefers-color-scheme:dark){svg{--page:#0d1117;--edge:#30363d;--bar:#161b22;--text:#e6edf3;--dim:#8d96a0;\
--you:#79c0ff;--model:#d2a8ff;--done:#7ee787;--refused:#ffa198;--question:#f0b72f}}\
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:var(--text);\
white-space:pre}\
.label,.bar{fill:var(--dim)}.you text,.you .label{fill:var(--you)}.model text{fill:var(--model)}\
.done .first{fill:var(--done)}.refused .first{fill:var(--refused)}.question .first{fill:var(--question)}\
.you .first{font-weight:600}rect.rule{fill:var(--edge)}\
.done rect.rule{fill:var(--done)}.refused rect.rule{fill:var(--refused)}.question rect.rule{fill:var(--question)}\
.step{animation:show .3s both}@keyframes show{from{opacity:0}}\
@media(prefers-reduced-motion:reduce){.step{animation:none}}";

fn drawn(steps: &[Step]) -> String {
    const TOP: f32 = 40.0;

    let mut body = String::new();
    let (mut y, mut at) = (TOP, -1.0);
    for step in steps {
        at += step.pause;
        y += step.space;
        let _ = writeln!(
            body,
            "<g class=\"step {}\" style=\"animation-delay:{at:.1}s\">",
            step.kind
        );
        if !["you", "model"].contains(&step.label) {
            let (x, height) = (INDENT - 12.0, step.lines.len() as f32 * LINE - 4.0);
            let _ = writeln!(
                body,
                "<rect class=\"rule\" x=\"{x:.1}\" y=\"{:.1}\" width=\"3\" height=\"{height:.1}\" rx=\"1.5\"/>",
                y + 3.0
            );
        }
        for (index, line) in step.lines.iter().enumerate() {
            y += LINE;
            let baseline = y - 5.0;
            if index == 0 {
                let label = step.label;
                let _ = writeln!(
                    body,
                    "<text class=\"label\" x=\"{MARGIN}\" y=\"{baseline:.1}\">{label}</text>"
                );
            }
            if line.is_empty() {
                continue;
            }
            let class = match index {
                0 => " class=\"first\"",
                _ if line.starts_with("vmid  ") => " class=\"label\"",
                _ => "",
            };
            let _ = writeln!(
                body,
                "<text{class} x=\"{INDENT:.1}\" y=\"{baseline:.1}\">{}</text>",
                escaped(line)
            );
        }
        body.push_str("</g>\n");
    }
    let width = (2.0 * MARGIN + (11 + WIDTH) as f32 * CHARACTER).round();
    let height = (y + 18.0).round();
    let variables = VARIABLES
        .iter()
        .map(|(name, value)| format!("{name}={value} "));
    let title = variables.collect::<String>() + "proxmox-mcp " + &ARGUMENTS.join(" ");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" xml:space=\"preserve\">\n\
         <title>A session of {title}: guests are listed, the deletion of a protected one is refused, that of another confirmed.</title>\n\
         <style>{STYLE}</style>\n\
         <rect x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\" style=\"fill:var(--page);stroke:var(--edge)\"/>\n\
         <path d=\"M.5 {TOP}V8.5a8 8 0 0 1 8-8h{}a8 8 0 0 1 8 8V{TOP}z\" style=\"fill:var(--bar);stroke:var(--edge)\"/>\n\
         <text class=\"bar\" x=\"{MARGIN}\" y=\"25\">{title}</text>\n\
         {body}</svg>\n",
        width - 1.0,
        height - 1.0,
        width - 17.0,
    )
}

#[test]
fn the_picture_shows_what_the_program_prints() {
    let mut client = Client::start();
    let fields = ["vmid", "name", "node", "status", "mem", "tags"];
    client.call(
        "Which guests do we have?",
        "proxmox_get_vms",
        &json!({ "fields": fields }),
    );
    client.call(
        "Delete web01.",
        "proxmox_delete_vm",
        &json!({ "vmid": "web01" }),
    );
    client.call(
        "Then delete build01.",
        "proxmox_delete_vm",
        &json!({ "vmid": "build01" }),
    );
    let kinds: Vec<&str> = client.steps.iter().map(|step| step.kind).collect();
    assert_eq!(
        kinds,
        [
            "you", "model", "answer", "you", "model", "refused", "you", "model", "question", "you",
            "done"
        ]
    );
    let lines = client.steps.iter().flat_map(|step| &step.lines);
    for line in lines {
        assert!(line.chars().count() <= WIDTH, "cut off: {line}");
    }
    let picture = drawn(&client.steps);
    assert!(picture.len() < 40_000, "it has {} bytes", picture.len());
    snapshot::check(PATH, &picture);
}
