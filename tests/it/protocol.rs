//! The dialogues in `fixtures/sessions`, one per file, and what cannot be written as a text file.
//!
//! A line `> …` is sent as it is. Each line `< …` below it is a message that the server must write next, in
//! this order and without others. `"…"` stands for any value. `# …` is a comment. The input ends right after
//! the last line `>`.
//!
//! `UPDATE_FIXTURES=1 cargo test` rewrites the lines `<`. There must be as many as the server writes, so
//! begin a new dialogue with an empty `<` for each.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::session::Session;

/// Stands for any value.
const ANY: &str = "…";

#[test]
fn every_dialogue_matches_its_recording() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sessions");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let failures: Vec<String> = files.iter().flat_map(|file| replay(file)).collect();
    assert!(
        failures.is_empty(),
        "{}\nrun UPDATE_FIXTURES=1 cargo test and review the diff",
        failures.join("\n")
    );
}

/// Plays the dialogue of one file with a new server; returns every difference, with file and line.
fn replay(file: &Path) -> Vec<String> {
    let dialogue = fs::read_to_string(file).expect("it can be read");
    let last = dialogue
        .lines()
        .filter(|line| line.starts_with('>'))
        .count();
    let mut sent = 0;
    let mut session = Session::start(&[], &[]);
    let mut failures = Vec::new();
    let mut replayed = String::new();
    for (index, line) in dialogue.lines().enumerate() {
        let place = format!("{}:{}", file.display(), index + 1);
        let line = match line.split_at_checked(1) {
            Some((">", text)) => {
                session.send(text.strip_prefix(' ').unwrap_or(text));
                sent += 1;
                if sent == last {
                    session.close();
                }
                line.to_owned()
            }
            Some(("<", text)) => {
                let expected = serde_json::from_str(text).unwrap_or_default();
                let actual = match session.next() {
                    Ok(actual) => actual,
                    Err(reason) => return vec![format!("{place}: the server {reason}\n-{text}")],
                };
                if !matches(&expected, &actual) {
                    failures.push(format!("{place}: differs\n-{text}\n+ {actual}"));
                }
                format!("< {}", recorded(&expected, actual))
            }
            Some(("#", _)) | None => line.to_owned(),
            Some(_) => panic!("{place}: begins with none of >, < and #"),
        };
        replayed.push_str(&line);
        replayed.push('\n');
    }
    for message in session.finish().messages {
        failures.push(format!(
            "{}: a message too many\n+ {message}",
            file.display()
        ));
        replayed.push_str(&format!("< {message}\n"));
    }
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(file, replayed).expect("it can be written");
        failures.clear();
    }
    failures
}

/// Returns whether `actual` is what was recorded.
fn matches(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::String(text), _) if text == ANY => true,
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected.iter().all(|(key, value)| {
                    actual.get(key).is_some_and(|actual| matches(value, actual))
                })
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .zip(actual)
                    .all(|(expected, actual)| matches(expected, actual))
        }
        _ => expected == actual,
    }
}

/// Returns `actual`, with any value where `expected` allows any.
fn recorded(expected: &Value, actual: Value) -> Value {
    match (expected, actual) {
        (Value::String(text), _) if text == ANY => expected.clone(),
        (Value::Object(expected), Value::Object(actual)) => {
            let fields = actual.into_iter().map(|(key, value)| {
                let value = match expected.get(&key) {
                    Some(expected) => recorded(expected, value),
                    None => value,
                };
                (key, value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            let elements = expected.iter().zip(actual);
            elements
                .map(|(expected, actual)| recorded(expected, actual))
                .collect()
        }
        (_, actual) => actual,
    }
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Returns what the server writes in answer to these bytes.
#[track_caller]
fn answers(bytes: &[u8]) -> Vec<Value> {
    let mut session = Session::start(&[], &[]);
    session.send_bytes(bytes);
    session.finish().messages
}

fn pong() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "result": {} })
}

#[track_caller]
fn check_parse_error(bytes: &[u8]) {
    let answers = answers(&[bytes, b"\n", PING.as_bytes()].concat());
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(answers[0]["error"]["code"], -32700, "{answers:?}");
    assert!(answers[0].get("id").is_none(), "{answers:?}");
    assert_eq!(answers[1], pong(), "it goes on");
}

#[test]
fn answers_a_last_line_without_a_newline() {
    assert_eq!(answers(PING.as_bytes()), [pong()]);
}

#[test]
fn ends_with_its_input() {
    assert_eq!(answers(b""), [json!(null); 0]);
}

#[test]
fn reads_lines_with_a_byte_order_mark_and_carriage_returns() {
    let lines = format!("\u{FEFF}{PING}\r\n\r\n  \n\n{PING}\r\n");
    assert_eq!(answers(lines.as_bytes()), [pong(), pong()]);
}

#[test]
fn answers_invalid_utf_8_as_a_parse_error() {
    check_parse_error(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xFF\"}");
}

#[test]
fn survives_deep_nesting() {
    check_parse_error("[".repeat(1_000_000).as_bytes());
    check_parse_error("{\"a\":".repeat(1_000_000).as_bytes());
}

#[test]
fn answers_an_overlong_line_and_continues() {
    check_parse_error("x".repeat(17 * 1024 * 1024).as_bytes());
}

#[test]
fn answers_before_the_next_line_arrives() {
    let mut session = Session::start(&[], &[]);
    for _ in 0..3 {
        session.send(PING);
        assert_eq!(session.receive(), pong());
    }
    session.finish();
}

#[test]
fn lists_the_same_tools_in_both_eras() {
    let mut session = Session::start(&[], &[]);
    let stateless = session.request("tools/list", json!({}));
    session.send(
        r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#,
    );
    session.receive();
    session.send(r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#);
    let in_session = session.receive();
    assert_eq!(
        in_session["result"],
        json!({ "tools": stateless["result"]["tools"] })
    );
    session.finish();
}

#[test]
fn answers_a_call_in_the_same_way_in_both_eras() {
    let mut session = Session::start(&[], &[]);
    let mut stateless = session.call("proxmox_get_nodes", json!({}));
    session.send(
        r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#,
    );
    session.receive();
    session.send(
        r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"proxmox_get_nodes"}}"#,
    );
    let in_session = session.receive();
    let fields = stateless.as_object_mut().expect("a result is an object");
    assert_eq!(fields.remove("resultType"), Some(json!("complete")));
    assert!(fields.remove("_meta").is_some());
    assert_eq!(in_session["result"], stateless);
    session.finish();
}
