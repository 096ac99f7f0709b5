//! Property strings: `virtio=BC:24:11:5A:7D:01,bridge=vmbr0,firewall=1`.

use std::fmt;

/// The parts of a property string, in order, including unknown ones.
///
/// Proxmox splits at every comma and has no quoting (`PVE/JSONSchema.pm`, `parse_property_string`), so a
/// value must never hold one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PropertyString(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// Empty for the value of the default key, which may stand without its key.
    key: String,
    value: String,
}

impl PropertyString {
    pub(crate) fn parse(line: &str) -> Self {
        let parts = line.split(',').filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or(("", part));
            Part {
                key: key.to_owned(),
                value: value.to_owned(),
            }
        });
        Self(parts.collect())
    }

    /// Begins with a value without a key, such as the volume of a disk.
    pub(crate) fn of(value: impl Into<String>) -> Self {
        Self(vec![Part {
            key: String::new(),
            value: value.into(),
        }])
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|part| part.key == key)
            .map(|part| &*part.value)
    }

    /// Returns the first key that satisfies `is`, and its value.
    pub(crate) fn find(&self, is: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
        self.0
            .iter()
            .find(|part| is(&part.key))
            .map(|part| (&*part.key, &*part.value))
    }

    /// Sets `key` in place if it is there, and at the end otherwise.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|part| part.key == key) {
            Some(part) => part.value = value,
            None => self.0.push(Part {
                key: key.to_owned(),
                value,
            }),
        }
    }

    /// Sets every part of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for part in &other.0 {
            self.set(&part.key, &*part.value);
        }
    }

    /// Puts a pair at the front.
    pub(crate) fn begin(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(
            0,
            Part {
                key: key.to_owned(),
                value: value.into(),
            },
        );
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.0.retain(|part| part.key != key);
    }
}

impl fmt::Display for PropertyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            if !part.key.is_empty() {
                write!(f, "{}=", part.key)?;
            }
            f.write_str(&part.value)?;
        }
        Ok(())
    }
}

/// Splits the `options` of a tool, `discard=on,ssd=1`. Refuses keys that have their own parameter
/// (`reserved`) or that would name another volume, bridge or address.
pub(crate) fn options(text: &str, reserved: &[&str]) -> Result<Vec<(String, String)>, String> {
    const NEVER: [&str; 9] = [
        "file",
        "volume",
        "import-from",
        "mp",
        "bridge",
        "name",
        "hwaddr",
        "macaddr",
        "model",
    ];
    let pairs = text.split(',').map(|part| {
        let (key, value) = part
            .trim()
            .split_once('=')
            .ok_or_else(|| "options must be key=value pairs with commas between them".to_owned())?;
        if NEVER.contains(&key) || reserved.contains(&key) {
            return Err(format!(
                "options must not set {key}: it has a parameter of its own or is fixed"
            ));
        }
        let well_formed = !value.is_empty()
            && !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            && value.chars().all(|c| !c.is_control() && !c.is_whitespace());
        well_formed
            .then(|| (key.to_owned(), value.to_owned()))
            .ok_or_else(|| "options must be key=value pairs without spaces".to_owned())
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_and_unknown_keys() {
        let line = "virtio=BC:24:11:5A:7D:01,bridge=vmbr0,future=x=y,tag=10";
        let mut parts = PropertyString::parse(line);
        assert_eq!(parts.to_string(), line);
        parts.set("bridge", "vmbr1");
        parts.remove("tag");
        parts.set("firewall", "1");
        assert_eq!(
            parts.to_string(),
            "virtio=BC:24:11:5A:7D:01,bridge=vmbr1,future=x=y,firewall=1"
        );
    }

    #[test]
    fn keeps_a_value_without_a_key() {
        let parts = PropertyString::parse("local-lvm:vm-100-disk-0,size=32G");
        assert_eq!(parts.get(""), Some("local-lvm:vm-100-disk-0"));
        assert_eq!(parts.to_string(), "local-lvm:vm-100-disk-0,size=32G");
    }

    #[test]
    fn refuses_options_that_would_name_another_object() {
        assert_eq!(
            options("discard=on, ssd=1", &[]),
            Ok(vec![
                ("discard".to_owned(), "on".to_owned()),
                ("ssd".to_owned(), "1".to_owned())
            ])
        );
        for text in [
            "file=local:iso/x",
            "mp=/x",
            "tag=5",
            "bridge=vmbr9",
            "hwaddr=x",
            "import-from=x",
            "model=e1000",
        ] {
            assert!(
                options(text, &["tag"]).is_err_and(|why| why.contains("must not set")),
                "{text}"
            );
        }
        for text in ["", "discard", "=1", "a=", "a=b c", "a=b,,c=d", "a=b\nc"] {
            assert!(options(text, &[]).is_err(), "{text:?}");
        }
    }
}
