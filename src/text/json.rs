//! Parsing of untrusted JSON, with a limit on the memory that its values take.
//!
//! A short text can contain very many values: each `{"":0}` is 7 bytes of text with its comma, but 670 in
//! memory.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The limit for the values of one message of a client: more than the longest line has characters, so that
/// one long text always fits.
pub(crate) const OF_CLIENT: usize = 64 << 20;

/// Roughly what the allocator adds to each allocation.
const PIECE: usize = 16;

/// The size of a value in an array; a vector may have twice the capacity that it uses.
const ITEM: usize = 2 * size_of::<Value>();

/// The size of the smallest array that is not empty: a vector starts with a capacity of four.
const ARRAY: usize = 4 * size_of::<Value>() + PIECE;

/// The size of the smallest object that is not empty: the first node of its tree has a capacity of eleven.
const OBJECT: usize = 11 * PLACE + PIECE;

/// An entry of an object; the nodes of its tree may be half empty.
const ENTRY: usize = 2 * PLACE;

/// The size of an entry in an object.
const PLACE: usize = size_of::<String>() + size_of::<Value>();

/// Why JSON was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Its values would take more memory than the limit.
    TooLarge,
    Invalid(serde_json::Error),
}

/// A value with its approximate size in memory, in bytes.
#[derive(Debug, PartialEq)]
pub(crate) struct Weighed {
    pub(crate) value: Value,
    pub(crate) weight: usize,
}

/// Parses a value that a client has sent as JSON in a text.
pub(crate) fn from_text(json: &str) -> Option<Value> {
    Some(from_slice(json.as_bytes(), OF_CLIENT).ok()?.value)
}

/// Parses JSON whose values take at most `limit` bytes of memory.
pub(crate) fn from_slice(json: &[u8], limit: usize) -> Result<Weighed, Unread> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let budget = Budget::new(limit);
    let read = budget.deserialize(&mut json);
    if budget.is_exceeded() {
        return Err(Unread::TooLarge);
    }
    let value = read.and_then(|value| json.end().map(|()| value));
    Ok(Weighed {
        value: value.map_err(Unread::Invalid)?,
        weight: limit - budget.left(),
    })
}

/// The memory that values may still take.
pub(super) struct Budget {
    left: Cell<usize>,
    is_exceeded: Cell<bool>,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            left: Cell::new(limit),
            is_exceeded: Cell::new(false),
        }
    }

    pub(super) fn left(&self) -> usize {
        self.left.get()
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }

    pub(super) fn take<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.is_exceeded.set(true);
                Err(E::custom("too many values"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for &Budget {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Budget {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        self.take(text.capacity() + PIECE)?;
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(self)? {
            self.take(if items.is_empty() { ARRAY } else { ITEM })?;
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            self.take(name.capacity() + PIECE)?;
            self.take(if fields.is_empty() { OBJECT } else { ENTRY })?;
            fields.insert(name, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weigh(json: &str) -> usize {
        let weighed = from_slice(json.as_bytes(), usize::MAX);
        weighed.expect("it is JSON").weight
    }

    #[test]
    fn reads_what_serde_json_reads() {
        for json in [
            r#"null"#,
            r#" {"a": [1, -2, 3.5, 1e300, 18446744073709551615, 18446744073709551616], "b": {}} "#,
            r#"["\u00e9\ud83d\ude00\n", true, false, {"a": 1, "a": 2}, []]"#,
        ] {
            let expected: Value = serde_json::from_str(json).expect("it is JSON");
            let read = from_slice(json.as_bytes(), 10_000).expect("it is small");
            assert_eq!(read.value, expected);
        }
        let bottomless = "[".repeat(100_000);
        for json in ["", "{", "[1,]", "1 2", "\"\\ud800\"", &bottomless] {
            let read = from_slice(json.as_bytes(), 100_000);
            assert!(matches!(read, Err(Unread::Invalid(_))), "{json}");
        }
    }

    #[test]
    fn the_limit_is_exact_to_the_byte() {
        for json in [r#""text""#, "[[1],[2]]", r#"{"a":{"b":"c"},"d":[]}"#] {
            let weight = weigh(json);
            assert!(from_slice(json.as_bytes(), weight).is_ok(), "{json}");
            let read = from_slice(json.as_bytes(), weight - 1);
            assert!(matches!(read, Err(Unread::TooLarge)), "{json}");
        }
        assert_eq!(weigh("0"), 0);
    }

    #[test]
    fn weighs_small_objects_and_arrays_by_the_memory_that_they_take() {
        // The node of the object, with a capacity of eleven, and its entry in the array, which has four.
        assert!(weigh(&format!("[{}0]", "{\"\":0},".repeat(1_000))) > 648_000);
        assert!(weigh(&format!("[{}0]", "[0],".repeat(1_000))) > 160_000);
        assert!(weigh(&format!("[{}0]", "0,".repeat(1_000))) > 32_000);
        assert!(weigh(&format!("\"{}\"", "x".repeat(1_000))) < 1_100);
    }
}
