//! The rows of a long list, kept as the JSON text received.
//!
//! Rows are filtered, counted and sorted by a few keys, so only those are parsed of every row; only the rows
//! that are shown are parsed as a whole.

use std::cell::Cell;
use std::fmt;
use std::ops::{Index, Range};

use serde::de::{
    self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::text::json::{Budget, Unread, from_slice};

/// The objects in a list.
pub(crate) struct Rows {
    text: String,
    places: Vec<Range<usize>>,
    /// The memory that parsed values may still take, in bytes.
    left: Cell<usize>,
}

/// A row of which only some keys were parsed; all others read as null.
pub(crate) struct Row<'a> {
    text: &'a str,
    keys: &'a [&'a str],
    values: Vec<Value>,
}

impl Index<&str> for Row<'_> {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        let place = self.keys.iter().position(|known| *known == key);
        place.map_or(&Value::Null, |place| &self.values[place])
    }
}

impl Rows {
    /// Finds the rows in `{"data":[…]}`, whose parsed values may take `limit` bytes of memory. Returns the
    /// text if it does not have that form.
    pub(crate) fn of_data(text: String, limit: usize) -> Result<Self, String> {
        let budget = Budget::new(limit);
        let mut places = Vec::new();
        let mut json = serde_json::Deserializer::from_str(&text);
        let list = Data {
            start: text.as_ptr().addr(),
            places: &mut places,
            budget: &budget,
        };
        match list.deserialize(&mut json).and_then(|()| json.end()) {
            Ok(()) => Ok(Self {
                places,
                left: Cell::new(budget.left()),
                text,
            }),
            Err(_) => Err(text),
        }
    }

    /// The rows of data that has been read already; there are none where it is not a list.
    pub(crate) fn of_value(data: Value, limit: usize) -> Result<Self, Unread> {
        let is_list = data.is_array();
        let text = serde_json::json!({ "data": data }).to_string();
        Self::of_data(text, limit).or_else(|text| match is_list {
            // It is valid, so it can only be too long.
            true => Err(Unread::TooLarge),
            false => Ok(Self {
                text,
                places: Vec::new(),
                left: Cell::new(0),
            }),
        })
    }

    /// Returns every row with the values of `keys`.
    pub(crate) fn by<'a>(&'a self, keys: &'a [&'a str]) -> Result<Vec<Row<'a>>, Unread> {
        let budget = Budget::new(self.left.get());
        let read = self.places.iter().map(|place| {
            let text = &self.text[place.clone()];
            budget.take(size_of::<Row>() + size_of_val(keys))?;
            let mut row = Row {
                text,
                keys,
                values: vec![Value::Null; keys.len()],
            };
            Entries(&mut row, &budget)
                .deserialize(&mut serde_json::Deserializer::from_str(text))?;
            Ok(row)
        });
        let read: Result<Vec<Row>, serde_json::Error> = read.collect();
        if budget.is_exceeded() {
            return Err(Unread::TooLarge);
        }
        self.left.set(budget.left());
        read.map_err(Unread::Invalid)
    }

    /// Parses a whole row.
    pub(crate) fn whole(&self, row: &Row) -> Result<Value, Unread> {
        let read = from_slice(row.text.as_bytes(), self.left.get())?;
        self.left.set(self.left.get() - read.weight);
        Ok(read.value)
    }
}

/// An object whose `data` is a list.
struct Data<'a> {
    /// The address of the text in memory.
    start: usize,
    places: &'a mut Vec<Range<usize>>,
    budget: &'a Budget,
}

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Data<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with data alone")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        match entries.next_key::<&str>()? {
            Some("data") => entries.next_value_seed(List(self))?,
            _ => return Err(de::Error::missing_field("data")),
        }
        match entries.next_key::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(de::Error::invalid_type(Unexpected::Map, &"data alone")),
        }
    }
}

struct List<'a>(Data<'a>);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(list) = self;
        while let Some(item) = items.next_element::<&RawValue>()? {
            let item = item.get();
            if item.starts_with('{') {
                // A vector may have twice the capacity that it uses.
                list.budget.take(2 * size_of::<Range<usize>>())?;
                let start = item.as_ptr().addr() - list.start;
                list.places.push(start..start + item.len());
            }
        }
        Ok(())
    }
}

/// The values of the keys of a row.
struct Entries<'a, 'b>(&'a mut Row<'b>, &'a Budget);

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self(row, budget) = self;
        while let Some(place) = entries.next_key_seed(Key(row.keys))? {
            match place {
                Some(place) => row.values[place] = entries.next_value_seed(budget)?,
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The index of a key among those to parse.
struct Key<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|known| *known == key))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(text: &str, limit: usize) -> Option<Rows> {
        Rows::of_data(text.to_owned(), limit).ok()
    }

    #[test]
    fn parses_some_keys_of_all_rows_and_whole_rows_on_demand() {
        let text =
            r#" { "data" : [ {"a":1,"b":"x\n","c":{"d":[]}} , 5, null, {"\u0062":2,"b":3} ] } "#;
        let rows = rows(text, 10_000).expect("it is a list");
        let keys = ["b", "a"];
        let read = rows.by(&keys).expect("they are small");
        let values: Vec<[&Value; 3]> = read
            .iter()
            .map(|row| ["a", "b", "c"].map(|key| &row[key]))
            .collect();
        let (null, two) = (Value::Null, json!(3));
        assert_eq!(
            values,
            [[&json!(1), &json!("x\n"), &null], [&null, &two, &null]]
        );
        let whole = rows.whole(&read[0]).expect("it is small");
        assert_eq!(whole, json!({ "a": 1, "b": "x\n", "c": { "d": [] } }));
    }

    #[test]
    fn what_takes_too_much_memory_is_an_error_and_not_an_empty_list() {
        let data = json!([{ "vmid": 100 }, { "vmid": 101 }]);
        assert!(matches!(
            Rows::of_value(data.clone(), 40),
            Err(Unread::TooLarge)
        ));
        let count = |data| {
            Rows::of_value(data, 4_096)
                .map(|rows| rows.places.len())
                .ok()
        };
        assert_eq!(count(data), Some(2));
        assert_eq!(count(Value::Null), Some(0));
    }

    #[test]
    fn accepts_only_a_list_under_data() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"data":null}"#,
            r#"{"data":{}}"#,
            r#"{"data":[],"total":1}"#,
            r#"{"data":[{]}"#,
            r#"{"data":[]} x"#,
        ] {
            assert_eq!(
                Rows::of_data(text.to_owned(), 10_000).err().as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn all_parsed_values_together_are_limited() {
        let text = format!(r#"{{"data":[{}{{}}]}}"#, "{},".repeat(1_000));
        assert!(rows(&text, 32_000).is_none());
        let list = rows(&text, 40_000).expect("its places fit");
        assert!(matches!(list.by(&["a"]), Err(Unread::TooLarge)));

        let text = format!(r#"{{"data":[{{"a":"{}"}}]}}"#, "x".repeat(1_000));
        let list = rows(&text, 3_500).expect("its place fits");
        let read = list.by(&["a"]).expect("the text fits");
        assert!(list.whole(&read[0]).is_ok());
        assert!(matches!(list.whole(&read[0]), Err(Unread::TooLarge)));
    }
}
