//! JSON-RPC 2.0: parses lines into messages, and builds messages.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value, json};

use crate::text::json::{self, Unread};

/// How many messages a batch may have: their answers are held back until all are ready.
const LARGEST_BATCH: usize = 100;

/// The content of one line.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    Batch(Vec<Message>),
    Single(Message),
}

/// One message of a client.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// An invalid message that is not a notification; it is answered with the fault.
    Invalid(Option<Id>, Fault),
    /// Never answered, even if it is invalid.
    Notification(Notification),
    Request(Request),
    /// The response to a request that was sent to the client: a result or an error.
    Response(Option<Id>, Result<Value, Value>),
}

/// A request of the client, which is answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) id: Id,
    pub(crate) method: String,
    pub(crate) params: Map<String, Value>,
}

/// A message that is not answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Notification {
    pub(crate) method: String,
    pub(crate) params: Map<String, Value>,
}

/// The ID of a request, which its answer repeats: `1` and `"1"` are different.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Integer(Number),
    Text(String),
}

impl Id {
    /// Parses an ID; returns `None` for what MCP does not allow: null, fractions and anything but numbers and
    /// strings. An integer beyond 64 bits is parsed as a fraction, and could not be repeated exactly.
    pub(crate) fn new(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) if !number.is_f64() => Some(Id::Integer(number.clone())),
            Value::String(text) => Some(Id::Text(text.clone())),
            _ => None,
        }
    }
}

impl From<&Id> for Value {
    fn from(id: &Id) -> Self {
        match id {
            Id::Integer(number) => Value::Number(number.clone()),
            Id::Text(text) => Value::String(text.clone()),
        }
    }
}

/// Why a request has no result.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Fault {
    pub(crate) code: i64,
    /// One sentence.
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl Fault {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// Creates the fault for a line that is not JSON.
    pub(crate) fn parse(message: impl Into<String>) -> Self {
        Self::new(-32700, message)
    }

    /// Creates the fault for JSON that is not a valid request.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(-32600, message)
    }

    /// Creates the fault for a method that does not exist in this revision.
    pub(crate) fn unknown_method(method: &str) -> Self {
        let method: String = method.chars().take(100).collect();
        Self::new(-32601, format!("Method not found: {method}"))
    }

    /// Creates the fault for invalid parameters.
    pub(crate) fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(-32602, message)
    }

    /// Creates the fault for a valid request that failed.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(-32603, message)
    }
}

/// Parses one line, and returns roughly how many bytes of memory the result takes.
///
/// The checks and their order follow JSON-RPC 2.0, sections 4 to 6, and MCP, which is stricter: an ID is
/// never null, and `params` is an object.
pub(crate) fn read(line: &[u8]) -> (Frame, usize) {
    let refused = |fault| (Frame::Single(Message::Invalid(None, fault)), 0);
    let read = match json::from_slice(line, json::OF_CLIENT) {
        Ok(read) => read,
        Err(Unread::TooLarge) => {
            return refused(Fault::invalid_request(format!(
                "The values of this message take more than {} MiB of memory, the limit",
                json::OF_CLIENT >> 20
            )));
        }
        // The reason only gives a position in the line, which the user does not see.
        Err(Unread::Invalid(_)) => return refused(Fault::parse("Parse error")),
    };
    let frame = match read.value {
        Value::Array(elements) if elements.len() > LARGEST_BATCH => {
            return refused(Fault::invalid_request(format!(
                "A batch may have at most {LARGEST_BATCH} messages, and this one has {}",
                elements.len()
            )));
        }
        Value::Array(elements) => Frame::Batch(elements.into_iter().map(message).collect()),
        value => Frame::Single(message(value)),
    };
    (frame, read.weight)
}

fn message(value: Value) -> Message {
    let Value::Object(mut fields) = value else {
        let fault = Fault::invalid_request("A message must be an object");
        return Message::Invalid(None, fault);
    };
    let id = fields.get("id").and_then(Id::new);
    let Some(method) = fields.remove("method") else {
        if let Some(error) = fields.remove("error") {
            return Message::Response(id, Err(error));
        }
        if let Some(result) = fields.remove("result") {
            return Message::Response(id, Ok(result));
        }
        let fault = Fault::invalid_request("A request must have a method");
        return Message::Invalid(id, fault);
    };
    let params = fields.remove("params").unwrap_or_default();
    if !fields.contains_key("id") {
        return Message::Notification(Notification {
            method: text(method).unwrap_or_default(),
            params: object(params).unwrap_or_default(),
        });
    }
    let Some(id) = id else {
        let fault = Fault::invalid_request("The id must be a string or an integer");
        return Message::Invalid(None, fault);
    };
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        let fault = Fault::invalid_request("jsonrpc must be \"2.0\"");
        return Message::Invalid(Some(id), fault);
    }
    let Some(method) = text(method) else {
        let fault = Fault::invalid_request("The method must be a string");
        return Message::Invalid(Some(id), fault);
    };
    match object(params) {
        Some(params) => Message::Request(Request { id, method, params }),
        None => Message::Invalid(Some(id), Fault::invalid_params("params must be an object")),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Returns an object; null counts as an empty one.
fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Null => Some(Map::new()),
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// The answer to a request.
///
/// An ID that could not be read is left out, since clients reject a message whose ID is null (MCP 2025-11-25,
/// `JSONRPCErrorResponse`).
pub(crate) struct Answer<'a, R> {
    id: Option<&'a Id>,
    outcome: Result<R, Fault>,
}

/// Builds the answer to the request `id`.
pub(crate) fn answer<R: Serialize>(id: Option<&Id>, outcome: Result<R, Fault>) -> Answer<'_, R> {
    Answer { id, outcome }
}

impl<R: Serialize> Serialize for Answer<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_map(None)?;
        answer.serialize_entry("jsonrpc", "2.0")?;
        if let Some(id) = self.id {
            answer.serialize_entry("id", id)?;
        }
        match &self.outcome {
            Ok(result) => answer.serialize_entry("result", result)?,
            Err(fault) => answer.serialize_entry("error", fault)?,
        }
        answer.end()
    }
}

/// Builds a request to the client.
pub(crate) fn request(id: &Id, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": Value::from(id), "method": method, "params": params })
}

/// Builds a notification, which is not answered.
pub(crate) fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// The key of `_meta` that makes a request stateless and names its revision.
pub(crate) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Returns whether a request is stateless.
pub(crate) fn names_revision(params: &Map<String, Value>) -> bool {
    let meta = params.get("_meta").and_then(Value::as_object);
    meta.is_some_and(|meta| meta.contains_key(PROTOCOL_VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn single(line: &str) -> Message {
        match read(line.as_bytes()).0 {
            Frame::Single(message) => message,
            Frame::Batch(messages) => panic!("a batch: {messages:?}"),
        }
    }

    /// Checks that `line` is answered with `code` and `id`; null means no ID.
    #[track_caller]
    fn check_fault(line: impl AsRef<[u8]>, code: i64, id: Value) {
        match read(line.as_ref()).0 {
            Frame::Single(Message::Invalid(found, fault)) => {
                assert_eq!(fault.code, code);
                assert_eq!(found.as_ref().map_or(Value::Null, Value::from), id);
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check_request(line: &str, id: Value, params: Value) {
        match single(line) {
            Message::Request(request) => {
                assert_eq!(Value::from(&request.id), id);
                assert_eq!(Value::Object(request.params), params);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_invalid_json_without_an_id() {
        check_fault("garbage", -32700, Value::Null);
        check_fault(
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#,
            -32700,
            Value::Null,
        );
        check_fault(
            r#"{"jsonrpc":"2.0","id":1,"method":"ping""#,
            -32700,
            Value::Null,
        );
    }

    #[test]
    fn answers_invalid_utf_8_like_invalid_json() {
        check_fault(
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xFF\"}",
            -32700,
            Value::Null,
        );
        check_fault(
            r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
            -32700,
            Value::Null,
        );
    }

    #[test]
    fn answers_endless_nesting_like_invalid_json() {
        check_fault("[".repeat(100_000), -32700, Value::Null);
        check_fault("{\"a\":".repeat(100_000), -32700, Value::Null);
    }

    #[test]
    fn refuses_a_line_whose_values_take_too_much_memory() {
        let line = |objects| format!("[{}0]", r#"{"":0},"#.repeat(objects));
        check_fault(line(150_000), -32600, Value::Null);
        let text = "x".repeat(16 << 20);
        let line =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":"{text}"}}}}"#);
        let (frame, weight) = read(line.as_bytes());
        assert!(matches!(frame, Frame::Single(Message::Request(_))));
        assert!(weight > text.len());
    }

    #[test]
    fn refuses_a_batch_of_too_many_messages() {
        let batch = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(matches!(
            read(batch(LARGEST_BATCH).as_bytes()).0,
            Frame::Batch(messages) if messages.len() == LARGEST_BATCH
        ));
        check_fault(batch(LARGEST_BATCH + 1), -32600, Value::Null);
    }

    #[test]
    fn refuses_a_message_that_is_not_an_object() {
        for line in ["1", "null", "true", "\"ping\""] {
            check_fault(line, -32600, Value::Null);
        }
    }

    #[test]
    fn refuses_an_object_that_is_neither_request_nor_response() {
        check_fault("{}", -32600, Value::Null);
        check_fault(r#"{"jsonrpc":"2.0","id":1}"#, -32600, json!(1));
        check_fault(r#"{"jsonrpc":"2.0","id":null}"#, -32600, Value::Null);
    }

    #[test]
    fn accepts_responses_with_and_without_an_id() {
        let error = json!({ "code": -1, "message": "no" });
        for (line, id, outcome) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
                Some(json!(1)),
                Ok(json!({})),
            ),
            (
                r#"{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"no"}}"#,
                Some(json!("a")),
                Err(error),
            ),
            (r#"{"id":null,"error":null}"#, None, Err(Value::Null)),
        ] {
            let id = id.and_then(|id| Id::new(&id));
            assert_eq!(single(line), Message::Response(id, outcome), "{line}");
        }
    }

    #[test]
    fn never_answers_a_notification() {
        for line in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"1.0","method":"x"}"#,
            r#"{"method":5}"#,
            r#"{"method":null,"params":[1]}"#,
            r#"{"jsonrpc":"2.0","method":"x","params":"y"}"#,
        ] {
            assert!(matches!(single(line), Message::Notification(_)), "{line}");
        }
    }

    #[test]
    fn keeps_the_type_of_an_id() {
        for id in ["null", "true", "1.5", "{}", "[]", "18446744073709551616"] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            check_fault(line, -32600, Value::Null);
        }
    }

    #[test]
    fn answers_a_wrong_version_or_method_with_the_id() {
        check_fault(
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            -32600,
            json!(1),
        );
        check_fault(
            r#"{"jsonrpc":2.0,"id":"a","method":"ping"}"#,
            -32600,
            json!("a"),
        );
        check_fault(r#"{"id":1,"method":"ping"}"#, -32600, json!(1));
        check_fault(r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600, json!(1));
    }

    #[test]
    fn treats_absent_and_null_params_as_empty() {
        check_request(
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            json!(1),
            json!({}),
        );
        let line = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#;
        check_request(line, json!(1), json!({}));
        let line = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1}}"#;
        check_request(line, json!(1), json!({ "a": 1 }));
    }

    #[test]
    fn refuses_params_that_are_not_an_object() {
        for params in ["[]", "5", "\"a\"", "false"] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{params}}}"#);
            check_fault(line, -32602, json!(1));
        }
    }

    #[test]
    fn parses_each_message_of_a_batch() {
        let line = br#"[{"jsonrpc":"2.0","id":1,"method":"ping"},[],1]"#;
        let Frame::Batch(messages) = read(line).0 else {
            panic!("not a batch");
        };
        assert!(matches!(
            messages[..],
            [
                Message::Request(_),
                Message::Invalid(None, _),
                Message::Invalid(None, _)
            ]
        ));
    }

    #[test]
    fn leaves_out_the_id_that_could_not_be_read() {
        let answer = answer(None, Err::<Value, _>(Fault::parse("Parse error")));
        assert_eq!(
            json!(answer).to_string(),
            r#"{"error":{"code":-32700,"message":"Parse error"},"jsonrpc":"2.0"}"#
        );
    }

    #[test]
    fn writes_a_message_on_one_line() {
        let result = json!({ "text": "a\nb\r\u{85}" });
        let id = Id::Text("1".to_owned());
        let answer = serde_json::to_string(&answer(Some(&id), Ok(result))).expect("it is JSON");
        assert!(!answer.contains(['\n', '\r']), "{answer}");
    }
}
