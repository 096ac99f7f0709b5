//! The parameters of tools. One declaration yields the schema that clients see and the checks of what they
//! send.
//!
//! May import: `text`, `request`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, RangeInclusive};
use std::ptr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::request::{Method, Request};
use crate::text;
use crate::text::format::{self, Format};
use crate::text::json::from_text;
use crate::text::list::items;
use crate::text::nearest::nearest;
use crate::text::sort::gather;
use crate::text::upid::Upid;

/// The valid VMIDs.
const VMIDS: RangeInclusive<u64> = 100..=999_999_999;

/// The kinds of guests under their names in the API.
const GUEST_TYPES: &[&str] = &["qemu", "lxc"];

/// A parameter of a tool.
#[derive(Clone, Copy)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    kind: Kind,
    /// What the name does not say; often empty, since it costs tokens in every conversation.
    pub(crate) description: &'static str,
    need: Need,
    wire: Wire,
    /// Other names that are accepted but not listed.
    aliases: &'static [&'static str],
    /// Words that are replaced before they are sent: `("none", "0")`.
    synonyms: &'static [(&'static str, &'static str)],
    /// Whether an empty text means "remove this" rather than no value. The word `none` means the same, since
    /// some clients drop empty texts.
    clearable: bool,
    /// Whether a list is sent as one text with commas rather than item by item.
    joined: bool,
    listing: Listing,
    /// The versions of Proxmox VE that have the parameter.
    versions: Versions,
    /// The values that not all of those versions have.
    values: &'static [(&'static str, Versions)],
}

/// A range of major versions of Proxmox VE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    from: u32,
    to: u32,
}

impl Versions {
    pub(crate) const ALL: Self = Self {
        from: 0,
        to: u32::MAX,
    };

    pub(crate) const fn since(from: u32) -> Self {
        Self { from, ..Self::ALL }
    }

    pub(crate) const fn until(to: u32) -> Self {
        Self { to, ..Self::ALL }
    }

    /// Returns the versions in both ranges.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
        }
    }

    pub(crate) fn contain(self, major: u32) -> bool {
        (self.from..=self.to).contains(&major)
    }
}

/// Writes the versions in words, to follow "Proxmox VE".
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            u32::MAX => write!(f, "{} or later", self.from),
            to => write!(f, "{to} or earlier"),
        }
    }
}

/// The kind of value that a parameter takes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Choice(&'static [&'static str]),
    Flag,
    Format(&'static Format),
    /// An existing guest, by VMID or name; names are looked up before the call.
    Guest,
    /// The type of a guest, VM or container; looked up if absent.
    GuestType,
    /// The least and the greatest integer.
    Integer(u64, u64),
    List,
    /// The VMID of a guest to create; a free one is chosen if it is absent.
    NewGuest,
    Number(f64, f64),
    /// Names with scalar values.
    Pairs,
    /// Free text with a minimum and maximum number of characters.
    Text(usize, usize),
    /// A point in time, sent as Unix seconds.
    Time,
}

#[derive(Clone, Copy)]
enum Need {
    /// The default, in the form of the schema.
    Default(&'static str),
    Optional,
    /// Required by some of the requests that the tool chooses from, which a schema cannot express.
    ByRequest,
    Required,
    /// Required unless one of these other parameters is given. A schema without combinators cannot express
    /// that, so it is listed as optional.
    RequiredUnless(&'static [&'static str]),
}

/// How schemas list a parameter. Each listing costs tokens in every conversation.
#[derive(Clone, Copy)]
enum Listing {
    /// Not at all: the instructions explain it once.
    None,
    /// As a property of its own.
    Own,
    /// Only by its name, in the description of [`MORE`].
    Rare,
}

/// The object for parameters that few calls need, under their names here or in Proxmox. They are parameters
/// like all others, and are also accepted outside of it.
const MORE: &str = "more";

#[derive(Clone, Copy)]
enum Wire {
    /// Not sent, but used by this server.
    Local,
    /// Not sent, but used by this server before the tool runs.
    AboutTheCall,
    /// Sent under this name.
    Named(&'static str),
    /// Sent under the parameter's own name.
    Same,
}

impl Param {
    pub(crate) const fn required(
        name: &'static str,
        kind: Kind,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            description,
            need: Need::Required,
            wire: Wire::Same,
            aliases: &[],
            synonyms: &[],
            clearable: false,
            joined: false,
            listing: Listing::Own,
            versions: Versions::ALL,
            values: &[],
        }
    }

    pub(crate) const fn optional(
        name: &'static str,
        kind: Kind,
        description: &'static str,
    ) -> Self {
        Self {
            need: Need::Optional,
            ..Self::required(name, kind, description)
        }
    }

    /// Declares a parameter that only some requests require.
    pub(crate) const fn by_request(
        name: &'static str,
        kind: Kind,
        description: &'static str,
    ) -> Self {
        Self {
            need: Need::ByRequest,
            ..Self::required(name, kind, description)
        }
    }

    pub(crate) const fn required_unless(self, others: &'static [&'static str]) -> Self {
        Self {
            need: Need::RequiredUnless(others),
            ..self
        }
    }

    pub(crate) const fn default(self, value: &'static str) -> Self {
        Self {
            need: Need::Default(value),
            ..self
        }
    }

    /// Marks a parameter that this server uses itself and does not send.
    pub(crate) const fn local(self) -> Self {
        Self {
            wire: Wire::Local,
            ..self
        }
    }

    /// Like [`Param::local`], for a parameter that concerns the call rather than what the tool does.
    pub(crate) const fn about_the_call(self) -> Self {
        Self {
            wire: Wire::AboutTheCall,
            ..self
        }
    }

    pub(crate) fn is_about_the_call(&self) -> bool {
        matches!(self.wire, Wire::AboutTheCall)
    }

    /// Sends the parameter under Proxmox's own name for it.
    pub(crate) const fn sent_as(self, name: &'static str) -> Self {
        Self {
            wire: Wire::Named(name),
            ..self
        }
    }

    pub(crate) const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(crate) const fn synonyms(self, synonyms: &'static [(&'static str, &'static str)]) -> Self {
        Self { synonyms, ..self }
    }

    pub(crate) const fn clearable(self) -> Self {
        Self {
            clearable: true,
            ..self
        }
    }

    pub(crate) const fn joined(self) -> Self {
        Self {
            joined: true,
            ..self
        }
    }

    /// Returns whether it is a list that is sent with commas.
    pub(crate) fn is_joined(&self) -> bool {
        self.joined
    }

    pub(crate) const fn unlisted(self) -> Self {
        Self {
            listing: Listing::None,
            ..self
        }
    }

    /// Lists it only by name, in [`MORE`].
    pub(crate) const fn rare(self) -> Self {
        Self {
            listing: Listing::Rare,
            ..self
        }
    }

    pub(crate) fn is_listed(&self) -> bool {
        !matches!(self.listing, Listing::None)
    }

    pub(crate) fn is_rare(&self) -> bool {
        matches!(self.listing, Listing::Rare)
    }

    pub(crate) const fn known_to(self, versions: Versions) -> Self {
        Self { versions, ..self }
    }

    /// Limits some values of the parameter to some versions.
    pub(crate) const fn values_known_to(self, values: &'static [(&'static str, Versions)]) -> Self {
        Self { values, ..self }
    }

    /// Returns the versions that accept the parameter as given in `args`, and what they limit: `group`,
    /// `type=forward`. Returns `None` if it is absent or all versions accept it.
    pub(crate) fn versions(&self, args: &Args) -> Option<(String, Versions)> {
        let given = args.get(self)?;
        if self.versions != Versions::ALL {
            return Some((self.name.to_owned(), self.versions));
        }
        let (value, versions) = self.values.iter().find(|(value, _)| *value == given)?;
        Some((format!("{}={value}", self.name), *versions))
    }

    pub(crate) fn is_listed_as_required(&self) -> bool {
        matches!(self.need, Need::Required)
    }

    /// Returns whether every call of its tool needs the parameter.
    pub(crate) fn is_always_required(&self) -> bool {
        matches!(self.need, Need::Required)
    }

    /// Returns whether a request that takes the parameter needs it.
    pub(crate) fn is_required_by_request(&self) -> bool {
        matches!(self.need, Need::Required | Need::ByRequest) || self.takes_several()
    }

    /// Returns whether it names the guest of a call, and several guests may be given instead.
    pub(crate) fn takes_several(&self) -> bool {
        self.names_guest() && matches!(self.need, Need::RequiredUnless(_))
    }

    pub(crate) fn names_guest(&self) -> bool {
        matches!(self.kind, Kind::Guest)
    }

    pub(crate) fn is_guest_type(&self) -> bool {
        matches!(self.kind, Kind::GuestType)
    }

    pub(crate) fn names_new_guest(&self) -> bool {
        matches!(self.kind, Kind::NewGuest)
    }

    /// Returns whether `value` is valid.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.wire_values(value).is_some()
    }

    /// Returns the name under which the parameter is sent; `None` if it is not sent.
    pub(crate) fn wire_name(&self) -> Option<&'static str> {
        match self.wire {
            Wire::Local | Wire::AboutTheCall => None,
            Wire::Named(name) => Some(name),
            Wire::Same => Some(self.name),
        }
    }

    /// Returns the default, in the form of the schema.
    pub(crate) fn default_value(&self) -> Option<&'static str> {
        match self.need {
            Need::Default(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the versions that have the parameter.
    #[cfg(test)]
    pub(crate) fn known_versions(&self) -> Versions {
        self.versions
    }

    /// Returns the values that may be sent, each with the versions that have it.
    #[cfg(test)]
    pub(crate) fn choices(&self) -> Vec<(&'static str, Versions)> {
        let Kind::Choice(choices) = self.kind else {
            return Vec::new();
        };
        let limit = |value: &str| {
            let mut values = self.values.iter();
            let found = values.find(|(limited, _)| *limited == value);
            found.map_or(Versions::ALL, |(_, versions)| *versions)
        };
        choices.iter().map(|value| (*value, limit(value))).collect()
    }

    #[cfg(test)]
    pub(crate) fn schema(&self) -> Value {
        serde_json::to_value(Schema(self)).expect("its keys are texts")
    }

    /// Describes the valid form, to follow "must be".
    pub(crate) fn form(&self) -> String {
        match self.kind {
            Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
            Kind::GuestType => format!("one of {}", GUEST_TYPES.join(", ")),
            Kind::Flag => "true or false".to_owned(),
            Kind::Format(format) if self.clearable => format!("{}, or none", format.form),
            Kind::Format(format) => format.form.to_owned(),
            Kind::Guest => format!(
                "an integer from {} to {}, or the name of a guest",
                VMIDS.start(),
                VMIDS.end()
            ),
            Kind::Integer(least, u64::MAX) => format!("an integer of at least {least}"),
            Kind::Integer(least, most) => format!("an integer from {least} to {most}"),
            Kind::NewGuest => {
                format!("an integer from {} to {}", VMIDS.start(), VMIDS.end())
            }
            Kind::List => "an array of strings".to_owned(),
            Kind::Number(least, most) => format!("a number from {least} to {most}"),
            Kind::Pairs => "an object of names and texts".to_owned(),
            Kind::Text(0, usize::MAX) => "a text".to_owned(),
            Kind::Text(least, usize::MAX) => format!("a text of at least {least} characters"),
            Kind::Text(0, most) => format!("a text of at most {most} characters"),
            Kind::Text(least, most) => format!("a text of {least} to {most} characters"),
            Kind::Time => {
                "a time in UTC such as 2026-11-20 10:00:00Z, a date, or Unix seconds".to_owned()
            }
        }
    }

    /// Returns whether `value` means that none is given. Clients that must fill in every parameter send `""`,
    /// `0`, `[]` or `{}` for those that they leave out. Such a value only counts as given if it is valid,
    /// such as an integer 0 if the bounds include 0.
    pub(crate) fn is_absent(&self, value: &Value) -> bool {
        let is_zero = || {
            let number = value
                .as_str()
                .map(str::trim)
                .and_then(|text| text.parse().ok());
            value.as_f64().or(number) == Some(0.0)
        };
        match (value, self.kind) {
            (Value::Null, _) => true,
            (Value::String(text), _) if text.is_empty() => !self.clearable,
            (Value::Array(items), _) => items.is_empty(),
            (Value::Object(fields), _) => fields.is_empty(),
            (_, Kind::List | Kind::Pairs) => {
                self.wire_values(value).is_some_and(|sent| sent.is_empty())
            }
            (
                _,
                Kind::Guest | Kind::Integer(..) | Kind::NewGuest | Kind::Number(..) | Kind::Time,
            ) => is_zero() && self.wire_values(value).is_none(),
            _ => false,
        }
    }

    /// Returns whether `name` is the parameter's name or an alias; a rare parameter may also have its name in
    /// Proxmox.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name
            || self.aliases.contains(&name)
            || (self.is_rare() && self.wire_name() == Some(name))
    }

    /// Returns `value` in the form in which it is sent; `None` if it is invalid. It is lenient in form
    /// (`"100"` for 100, `"true"` for true) and strict in meaning.
    fn wire_values(&self, value: &Value) -> Option<Vec<String>> {
        match self.kind {
            // Proxmox would split an item that contains separators, so they are split here, where they are
            // checked.
            Kind::List if self.joined => {
                let texts = list(value)?;
                let items = texts.iter().flat_map(|text| items(text));
                return Some(items.map(str::to_owned).collect());
            }
            Kind::List => return list(value),
            Kind::Pairs => return pairs(value),
            _ => (),
        }
        let text = match value {
            Value::String(text) if matches!(self.kind, Kind::Text(..)) => text.clone(),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        if let Some((_, sent)) = self.synonyms.iter().find(|(said, _)| *said == text) {
            return Some(vec![(*sent).to_owned()]);
        }
        if self.clearable && (text.is_empty() || text.eq_ignore_ascii_case("none")) {
            return Some(vec![String::new()]);
        }
        let sent = match self.kind {
            Kind::Choice(choices) => choices.contains(&&*text).then_some(text),
            Kind::GuestType => GUEST_TYPES.contains(&&*text).then_some(text),
            Kind::Flag => flag(&text).map(|flag| u8::from(flag).to_string()),
            Kind::Format(format) => (format.parse)(&text),
            Kind::Guest if value.is_string() && is_name(&text) => Some(text),
            Kind::Guest | Kind::NewGuest => integer(&text)
                .filter(|number| VMIDS.contains(number))
                .map(|number| number.to_string()),
            Kind::Integer(least, most) => integer(&text)
                .filter(|number| (least..=most).contains(number))
                .map(|number| number.to_string()),
            Kind::List | Kind::Pairs => None,
            Kind::Number(least, most) => text
                .parse()
                .ok()
                .filter(|number| (least..=most).contains(number))
                .map(|number: f64| number.to_string()),
            Kind::Text(least, most) => (least..=most)
                .contains(&text.chars().count())
                .then_some(text),
            Kind::Time => time(&text).map(|seconds| seconds.to_string()),
        };
        sent.map(|sent| vec![sent])
    }
}

/// The `inputSchema` of a tool with these parameters: a plain object without combinators or
/// `additionalProperties`, since a provider that does not understand one schema rejects all tools.
pub(crate) struct InputSchema(pub(crate) Vec<&'static Param>);

impl Serialize for InputSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let required = self.0.iter().filter(|param| param.is_listed_as_required());
        let required: Vec<&str> = required.map(|param| param.name).collect();
        let mut schema = serializer.serialize_map(None)?;
        schema.serialize_entry("type", "object")?;
        schema.serialize_entry("properties", &Properties(&self.0))?;
        if !required.is_empty() {
            schema.serialize_entry("required", &required)?;
        }
        schema.end()
    }
}

/// The schemas of parameters under their names.
struct Properties<'a>(&'a [&'static Param]);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (rare, own): (Vec<&Param>, Vec<&Param>) =
            self.0.iter().partition(|param| param.is_rare());
        let mut properties = serializer.serialize_map(None)?;
        for param in own {
            properties.serialize_entry(param.name, &Schema(param))?;
        }
        if !rare.is_empty() {
            let names: Vec<&str> = rare.iter().map(|param| param.name).collect();
            let description = format!("Rarely needed: {}.", names.join(", "));
            let schema = json!({ "type": "object", "description": description });
            properties.serialize_entry(MORE, &schema)?;
        }
        properties.end()
    }
}

/// The schema of one parameter.
struct Schema<'a>(&'a Param);

impl Serialize for Schema<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Param {
            kind, description, ..
        } = self.0;
        let mut schema = serializer.serialize_map(None)?;
        match kind {
            // A client that validates arguments only accepts the listed types.
            Kind::Guest => schema.serialize_entry("anyOf", &[Type::INTEGER, Type::STRING])?,
            Kind::Time => schema.serialize_entry("anyOf", &[Type::STRING, Type::INTEGER])?,
            kind => schema.serialize_entry("type", kind.json_type())?,
        }
        match kind {
            Kind::Choice(choices) => schema.serialize_entry("enum", choices)?,
            Kind::GuestType => schema.serialize_entry("enum", GUEST_TYPES)?,
            Kind::Integer(least, most) => {
                if *least > 0 {
                    schema.serialize_entry("minimum", least)?;
                }
                if *most < u64::MAX {
                    schema.serialize_entry("maximum", most)?;
                }
            }
            Kind::List => schema.serialize_entry("items", &Type::STRING)?,
            Kind::Number(least, most) => {
                schema.serialize_entry("minimum", least)?;
                schema.serialize_entry("maximum", most)?;
            }
            _ => (),
        }
        if !description.is_empty() {
            schema.serialize_entry("description", description)?;
        }
        if let Some(value) = self.0.default_value() {
            let bare = match kind {
                Kind::Flag | Kind::Integer(..) | Kind::Number(..) => {
                    serde_json::from_str::<Value>(value).ok()
                }
                _ => None,
            };
            match bare {
                Some(bare) => schema.serialize_entry("default", &bare)?,
                None => schema.serialize_entry("default", value)?,
            }
        }
        schema.end()
    }
}

/// A schema that consists only of a type.
#[derive(Serialize)]
struct Type {
    #[serde(rename = "type")]
    name: &'static str,
}

impl Type {
    const INTEGER: Self = Self { name: "integer" };
    const STRING: Self = Self { name: "string" };
}

impl Kind {
    /// Returns the type for a schema.
    fn json_type(&self) -> &'static str {
        match self {
            Kind::Flag => "boolean",
            // The bounds of a VMID are checked here; in the schema, they would keep clients from sending 0
            // for none.
            Kind::Integer(..) | Kind::NewGuest => "integer",
            Kind::List => "array",
            Kind::Number(..) => "number",
            Kind::Pairs => "object",
            Kind::Choice(_)
            | Kind::Format(_)
            | Kind::Guest
            | Kind::GuestType
            | Kind::Text(..)
            | Kind::Time => "string",
        }
    }
}

/// Checked arguments, as the texts that are sent. They may contain secrets, so there is no `Debug`.
pub(crate) struct Args {
    params: Vec<&'static Param>,
    values: BTreeMap<&'static str, Vec<String>>,
    /// The defaults that are sent: `storage=local`.
    defaults: Vec<String>,
    /// The row of the named guest in `/cluster/resources`, if that was looked up.
    pub(crate) guest: Option<Value>,
}

impl Args {
    /// Checks the arguments of a client; the error lists all problems.
    ///
    /// Some values count as absent: see [`Param::is_absent`].
    pub(crate) fn parse(
        params: Vec<&'static Param>,
        arguments: &Map<String, Value>,
    ) -> Result<Self, Vec<String>> {
        let mut values = BTreeMap::new();
        let mut invalid = Vec::new();
        let mut problems = Vec::new();
        let rare: Vec<&Param> = params
            .iter()
            .copied()
            .filter(|param| param.is_rare())
            .collect();
        let is_more = |name: &str| name == MORE && !rare.is_empty();
        let more = arguments.get(MORE).filter(|_| is_more(MORE));
        let more = more
            .map_or_else(|| Some(Map::new()), object)
            .unwrap_or_else(|| {
                problems.push(format!("{MORE} must be an object of names and values"));
                Map::new()
            });
        let own = arguments.iter().filter(|(name, _)| !is_more(name));
        let own = own.map(|(name, value)| (name, value, &params));
        let more = more.iter().map(|(name, value)| (name, value, &rare));
        for (name, value, params) in own.chain(more) {
            let Some(param) = params.iter().find(|param| param.is_called(name)) else {
                problems.push(unknown(name, params));
                continue;
            };
            if param.is_absent(value) {
                continue;
            }
            match param.wire_values(value) {
                None => {
                    invalid.push(param.name);
                    problems.push(format!("{} must be {}", param.name, param.form()));
                }
                Some(_) if values.contains_key(param.name) => {
                    problems.push(format!(
                        "{} is given twice, once under another name",
                        param.name
                    ));
                }
                Some(sent) => {
                    values.insert(param.name, sent);
                }
            }
        }
        let missing = params
            .iter()
            .filter(|param| !values.contains_key(param.name) && !invalid.contains(&param.name));
        for param in missing {
            match param.need {
                Need::ByRequest | Need::Optional | Need::Default(_) => (),
                Need::RequiredUnless(others)
                    if others.iter().any(|other| values.contains_key(other)) => {}
                Need::RequiredUnless(others) => {
                    let listed = param.is_listed().then_some(param.name);
                    let names = listed.iter().chain(others).copied();
                    let names: Vec<&str> = names.collect();
                    problems.push(format!("{} is missing", names.join(" or ")));
                }
                Need::Required => {
                    problems.push(format!("{} is missing: {}", param.name, param.form()));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut defaults = Vec::new();
        for param in &params {
            if let Need::Default(value) = param.need
                && let Some(sent) = param.wire_values(&value.into())
                && !values.contains_key(param.name)
            {
                values.insert(param.name, sent);
                // What is called default says so itself.
                if param.wire_name().is_some() && value != "default" {
                    defaults.push(format!("{}={value}", param.name));
                }
            }
        }
        Ok(Self {
            params,
            values,
            defaults,
            guest: None,
        })
    }

    /// Returns the parameters of the tool.
    pub(crate) fn params(&self) -> impl Iterator<Item = &'static Param> {
        self.params.iter().copied()
    }

    /// Returns the defaults that this server sends for absent arguments: `memory=512, storage=local-lvm`.
    pub(crate) fn defaults(&self) -> String {
        self.defaults.join(", ")
    }

    /// Returns the arguments as an object for a record, each value replaced by `show` of its name and value.
    /// Arguments about the call itself are omitted.
    pub(crate) fn redacted<'a>(&'a self, show: impl Fn(&str, &'a str) -> Cow<'a, str>) -> Value {
        let params = self.params().filter(|param| !param.is_about_the_call());
        let fields = params.filter_map(|param| {
            let value = match (param.kind, self.values.get(param.name)?.as_slice()) {
                (Kind::Pairs, _) => {
                    let pairs = self.pairs(param);
                    let shown =
                        pairs.map(|(name, value)| (name.to_owned(), show(name, value).into()));
                    Value::Object(gather(shown))
                }
                (Kind::List, values) => values
                    .iter()
                    .map(|value| show(param.name, value))
                    .collect::<Value>(),
                (_, values) => show(param.name, values.first()?).into(),
            };
            Some((param.name.to_owned(), value))
        });
        Value::Object(gather(fields))
    }

    /// Sets an argument that was looked up; `value` must be valid for `param`.
    pub(crate) fn set(&mut self, param: &Param, value: impl Into<String>) {
        self.values.insert(param.name, vec![value.into()]);
    }

    pub(crate) fn unset(&mut self, param: &Param) {
        self.values.remove(param.name);
    }

    pub(crate) fn get(&self, param: &Param) -> Option<&str> {
        self.list(param).first().map(String::as_str)
    }

    pub(crate) fn list(&self, param: &Param) -> &[String] {
        self.values.get(param.name).map_or(&[], Vec::as_slice)
    }

    /// Checks that at least one of `changes` is given.
    pub(crate) fn require_any<'a>(
        &self,
        changes: impl Iterator<Item = &'a &'a Param> + Clone,
    ) -> Result<(), Vec<String>> {
        if changes.clone().any(|change| self.get(change).is_some()) {
            return Ok(());
        }
        let mut names: Vec<&str> = Vec::new();
        for change in changes {
            let name = if change.is_rare() { MORE } else { change.name };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Err(vec![format!(
            "nothing to change: give {}",
            names.join(", ")
        )])
    }

    /// Returns the names and values of a [`Kind::Pairs`].
    pub(crate) fn pairs(&self, param: &Param) -> impl Iterator<Item = (&str, &str)> {
        self.list(param)
            .chunks_exact(2)
            .map(|pair| (&*pair[0], &*pair[1]))
    }

    pub(crate) fn flag(&self, param: &Param) -> bool {
        self.get(param) == Some("1")
    }

    pub(crate) fn integer(&self, param: &Param) -> Option<u64> {
        self.get(param)?.parse().ok()
    }

    /// Returns a value by the name of its parameter, for code that serves all tools with this parameter.
    pub(crate) fn named(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.first().map(String::as_str)
    }

    /// Returns whether an argument is given; a flag that picks a request only counts if it is set.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        let picks = |param: &Param| {
            param.name == name && matches!((param.kind, param.need), (Kind::Flag, Need::ByRequest))
        };
        match self.named(name) {
            Some("0") => !self.params.iter().any(|param| picks(param)),
            value => value.is_some(),
        }
    }

    /// Returns the nodes that the arguments name, including those in UPIDs.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.params().filter_map(|param| {
            let value = self.get(param)?;
            match param.kind {
                Kind::Format(format) if ptr::eq(format, &format::NODE) => Some(value),
                Kind::Format(format) if ptr::eq(format, &format::UPID) => {
                    Upid::parse(value).map(|task| task.node)
                }
                _ => None,
            }
        })
    }

    /// Returns a request to `path`, whose `{name}` parts are filled in from the arguments.
    pub(crate) fn request(&self, method: Method, path: &str) -> Request {
        self.firsts()
            .fold(Request::new(method, path), |request, (name, value)| {
                request.segment(name, value)
            })
    }

    /// Like [`Args::request`], but sends the arguments that are not part of the path as parameters.
    pub(crate) fn whole_request(&self, method: Method, path: &str) -> Request {
        self.params
            .iter()
            .filter(|param| !path.contains(&format!("{{{}}}", param.name)))
            .fold(self.request(method, path), |request, param| {
                self.send(request, param)
            })
    }

    /// Adds the arguments of `params` to `request`.
    pub(crate) fn send_given(&self, request: Request, params: &[&Param]) -> Request {
        params
            .iter()
            .fold(request, |request, param| self.send(request, param))
    }

    fn send(&self, request: Request, param: &Param) -> Request {
        match param.wire_name() {
            None => request,
            Some(name) if param.joined && !self.list(param).is_empty() => {
                request.with(name, self.list(param).join(","))
            }
            Some(name) => self
                .list(param)
                .iter()
                .fold(request, |request, value| request.with(name, value)),
        }
    }

    /// Replaces the `{name}` parts of a text by the arguments.
    pub(crate) fn fill(&self, template: &str) -> String {
        self.firsts()
            .fold(template.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), &text::inline(value))
            })
    }

    /// Returns the first value of each argument that has one.
    fn firsts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values
            .iter()
            .filter_map(|(name, values)| Some((*name, values.first()?.as_str())))
    }
}

/// Returns the value of a parameter that is required or has a default; empty if it is absent.
impl Index<&Param> for Args {
    type Output = str;

    fn index(&self, param: &Param) -> &str {
        self.get(param).unwrap_or_default()
    }
}

fn unknown(name: &str, params: &[&Param]) -> String {
    let name = text::cut(&text::inline(name), 40);
    let known: Vec<&str> = params.iter().map(|param| param.name).collect();
    match nearest(&name, known.iter().copied()) {
        _ if known.is_empty() => format!("{name} is not a parameter: this tool takes none"),
        Some(near) => format!(
            "{name} is not a parameter; did you mean {near}? Known: {}",
            known.join(", ")
        ),
        None => format!("{name} is not a parameter; known: {}", known.join(", ")),
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Returns whether `text` can be the name of a guest, which a number cannot.
fn is_name(text: &str) -> bool {
    !text.parse().is_ok_and(f64::is_finite) && (format::DNS_NAME.parse)(text).is_some()
}

/// Parses an integer: `100` and `100.0`, but not `100.5`.
fn integer(text: &str) -> Option<u64> {
    let whole = text.split_once('.').map_or(text, |(whole, fraction)| {
        if fraction.bytes().all(|byte| byte == b'0') {
            whole
        } else {
            text
        }
    });
    whole.parse().ok()
}

/// Parses a time in any form to Unix seconds, which must not be 0.
fn time(text: &str) -> Option<u64> {
    /// The last second of a year with four digits.
    const LAST: u64 = 253_402_300_799;
    integer(text)
        .or_else(|| text::moment(text))
        .filter(|seconds| (1..=LAST).contains(seconds))
}

/// Parses an array of texts, or a text that contains one in JSON.
fn list(value: &Value) -> Option<Vec<String>> {
    if let Value::String(text) = value {
        return from_text(text)
            .filter(Value::is_array)
            .and_then(|value| list(&value));
    }
    let texts = value.as_array()?.iter().map(|item| match item {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    texts.collect()
}

/// Parses an object, or a text that contains one in JSON; absent values count as an empty one.
fn object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Null => Some(Map::new()),
        Value::Array(items) => items.is_empty().then(Map::new),
        Value::Object(fields) => Some(fields.clone()),
        Value::String(text) if text.is_empty() => Some(Map::new()),
        Value::String(text) => from_text(text)?.as_object().cloned(),
        Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Parses an object of scalars, or a text that contains one in JSON, into a list in which each name is
/// followed by its value.
fn pairs(value: &Value) -> Option<Vec<String>> {
    if let Value::String(text) = value {
        return from_text(text)
            .filter(Value::is_object)
            .and_then(|value| pairs(&value));
    }
    let mut pairs = Vec::new();
    for (name, value) in value.as_object()? {
        let value = match value {
            Value::Null => continue,
            Value::Bool(flag) => u8::from(*flag).to_string(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Array(_) | Value::Object(_) => return None,
        };
        pairs.extend([name.clone(), value]);
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::format;

    #[test]
    fn splits_joined_lists_as_proxmox_does() {
        let joined = Param::optional("delete", Kind::List, "").joined();
        let items = joined.wire_values(&json!(["mode;vmid", " node\tall", 7, ""]));
        assert_eq!(
            items.as_deref(),
            Some(&["mode", "vmid", "node", "all", "7"].map(str::to_owned)[..])
        );
        let sent_singly = Param::optional("command", Kind::List, "");
        let items = sent_singly.wire_values(&json!(["a; b"]));
        assert_eq!(items.as_deref(), Some(&["a; b".to_owned()][..]));
    }

    #[test]
    fn a_guest_is_given_by_vmid_or_name() {
        let guest = Param::required("vmid", Kind::Guest, "");
        for (value, sent) in [
            (json!(100), Some("100")),
            (json!("100"), Some("100")),
            (json!(100.0), Some("100")),
            (json!(" web01 "), Some("web01")),
            (json!("db-1.example"), Some("db-1.example")),
            (json!(99), None),
            (json!("99"), None),
            (json!("100.5"), None),
            (json!("1e5"), None),
            (json!("-100"), None),
            (json!("a/b"), None),
            (json!(true), None),
            (json!(["web01"]), None),
        ] {
            let values = guest.wire_values(&value);
            let first = values.as_ref().and_then(|values| values.first());
            assert_eq!(first.map(String::as_str), sent, "{value}");
        }
        let new = Param::required("vmid", Kind::NewGuest, "");
        assert!(new.accepts(&json!(100)) && !new.accepts(&json!("web01")));
    }

    static PARAMS: &[&Param] = &[
        &Param::required("node", Kind::Format(&format::NODE), ""),
        &Param::required("vmid", Kind::Integer(100, 999_999_999), "").alias(&["VMID"]),
        &Param::optional("force_stop", Kind::Flag, "Kill it.").sent_as("forceStop"),
        &Param::optional("compress", Kind::Choice(&["zstd", "none"]), "")
            .default("zstd")
            .synonyms(&[("none", "0")]),
        &Param::optional("name", Kind::Text(0, 10), "").alias(&["hostname"]),
        &Param::optional("gw", Kind::Format(&format::IPV4), "").clearable(),
        &Param::optional("argv", Kind::List, "").local(),
    ];

    static SET: &[&Param] = &[
        &Param::required("set", Kind::Pairs, "")
            .local()
            .required_unless(&["delete", "revert"]),
        &Param::optional("delete", Kind::List, "").local(),
    ];

    fn parse(arguments: Value) -> Result<Args, Vec<String>> {
        Args::parse(
            PARAMS.to_vec(),
            arguments.as_object().expect("the test passes an object"),
        )
    }

    #[track_caller]
    fn check(arguments: Value, sent: &str) {
        let args = parse(arguments).expect("the arguments are right");
        let request = args.whole_request(Method::Post, "/nodes/{node}/qemu/{vmid}");
        assert_eq!(
            format!("{request} {}", request.body().unwrap_or_default()),
            sent
        );
    }

    #[track_caller]
    fn refuse(arguments: Value, problems: &[&str]) {
        assert_eq!(
            parse(arguments).err().expect("the arguments are wrong"),
            problems
        );
    }

    #[test]
    fn sends_each_argument_where_and_as_proxmox_expects_it() {
        check(
            json!({ "node": "pve1", "vmid": 100 }),
            "POST /nodes/pve1/qemu/100 compress=zstd",
        );
        check(
            json!({ "node": "pve1", "vmid": 100, "force_stop": true, "compress": "none", "gw": "", "argv": ["a"] }),
            "POST /nodes/pve1/qemu/100 forceStop=1&compress=0&gw=",
        );
    }

    #[test]
    fn is_lenient_in_form() {
        check(
            json!({ "node": " pve1 ", "vmid": "100", "force_stop": "False", "hostname": 7, "gw": null, "argv": "[\"a\", 1]" }),
            "POST /nodes/pve1/qemu/100 forceStop=0&compress=zstd&name=7",
        );
        check(
            json!({ "node": "pve1", "vmid": 100.0, "name": "" }),
            "POST /nodes/pve1/qemu/100 compress=zstd",
        );
    }

    #[test]
    fn reports_all_problems_of_a_call_at_once() {
        refuse(
            json!({ "vmid": "100.5", "force_stop": "maybe", "snap": 1, "compres": "zstd", "argv": "a" }),
            &[
                "argv must be an array of strings",
                "compres is not a parameter; did you mean compress? Known: node, vmid, force_stop, compress, name, gw, argv",
                "force_stop must be true or false",
                "snap is not a parameter; known: node, vmid, force_stop, compress, name, gw, argv",
                "vmid must be an integer from 100 to 999999999",
                "node is missing: a node name (letters, digits, dashes)",
            ],
        );
        refuse(
            json!({ "node": "", "vmid": 99, "name": "a", "hostname": "b" }),
            &[
                "name is given twice, once under another name",
                "vmid must be an integer from 100 to 999999999",
                "node is missing: a node name (letters, digits, dashes)",
            ],
        );
        refuse(
            json!({ "node": "p", "VMID": 99 }),
            &["vmid must be an integer from 100 to 999999999"],
        );
        refuse(
            json!({ "node": "a/b", "vmid": { "id": 100 }, "name": "far too long", "compress": "0" }),
            &[
                "compress must be one of zstd, none",
                "name must be a text of at most 10 characters",
                "node must be a node name (letters, digits, dashes)",
                "vmid must be an integer from 100 to 999999999",
            ],
        );
    }

    #[test]
    fn accepts_only_pairs_of_scalars() {
        let parse = |arguments: Value| {
            let args = Args::parse(SET.to_vec(), arguments.as_object().expect("an object"))?;
            let pairs = args.pairs(SET[0]);
            Ok(pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect())
        };
        let set = json!({ "cores": 2, "name": "a b", "onboot": true, "tags": null });
        let pairs: Vec<String> = vec!["cores=2".into(), "name=a b".into(), "onboot=1".into()];
        assert_eq!(parse(json!({ "set": set })), Ok(pairs.clone()));
        assert_eq!(parse(json!({ "set": set.to_string() })), Ok(pairs));
        assert_eq!(parse(json!({ "delete": ["tags"] })), Ok(Vec::new()));
        for (arguments, problem) in [
            (
                json!({ "set": { "tags": ["a"] } }),
                "set must be an object of names and texts",
            ),
            (
                json!({ "set": "onboot=1" }),
                "set must be an object of names and texts",
            ),
            (json!({}), "set or delete or revert is missing"),
        ] {
            assert_eq!(parse(arguments), Err(vec![problem.to_owned()]));
        }
        assert_eq!(SET[0].schema(), json!({ "type": "object" }));
    }

    static WITH_RARE: &[&Param] = &[
        &Param::required("id", Kind::Text(1, 9), ""),
        &Param::optional("mode", Kind::Choice(&["data", "metadata"]), "")
            .sent_as("change-mode")
            .rare(),
        &Param::optional("mailto", Kind::List, "").joined().rare(),
    ];

    #[test]
    fn rare_parameters_are_listed_by_name_and_accepted_in_more_or_outside() {
        assert_eq!(
            json!(InputSchema(WITH_RARE.to_vec()))["properties"],
            json!({
                "id": { "type": "string" },
                "more": { "type": "object", "description": "Rarely needed: mode, mailto." },
            })
        );
        let sent = |arguments: Value| {
            let args = Args::parse(
                WITH_RARE.to_vec(),
                arguments.as_object().expect("an object"),
            )?;
            Ok(args.whole_request(Method::Put, "/jobs/{id}").body())
        };
        let all = Ok(Some("change-mode=data&mailto=a%2Cb".to_owned()));
        let given = json!({ "mode": "data", "mailto": ["a", "b"] });
        for arguments in [
            json!({ "id": "x", "more": given }),
            json!({ "id": "x", "more": given.to_string() }),
            json!({ "id": "x", "mailto": "[\"a\", \"b\"]", "more": { "change-mode": "data" } }),
            json!({ "id": "x", "mode": "data", "mailto": ["a", "b"], "more": {} }),
        ] {
            assert_eq!(sent(arguments), all);
        }
        for nothing in [json!(null), json!(""), json!([]), json!({ "mode": "" })] {
            assert_eq!(
                sent(json!({ "id": "x", "more": nothing })),
                Ok(Some(String::new()))
            );
        }
        for (more, problem) in [
            (json!("mode"), "more must be an object of names and values"),
            (json!(1), "more must be an object of names and values"),
            (
                json!({ "mode": "all" }),
                "mode must be one of data, metadata",
            ),
            (
                json!({ "mode": "data", "change-mode": "data" }),
                "mode is given twice, once under another name",
            ),
            (
                json!({ "mailtoo": "a" }),
                "mailtoo is not a parameter; did you mean mailto? Known: mode, mailto",
            ),
            // Other parameters are not accepted in `more`.
            (
                json!({ "id": "y" }),
                "id is not a parameter; known: mode, mailto",
            ),
        ] {
            let problems = sent(json!({ "id": "x", "more": more })).err();
            assert_eq!(problems, Some(vec![problem.to_owned()]));
        }
        // Without rare parameters, there is no `more`.
        let known = "more is not a parameter; known: set, delete";
        let set = json!({ "set": { "a": 1 }, "more": {} });
        let problems = Args::parse(SET.to_vec(), set.as_object().expect("an object")).err();
        assert_eq!(problems, Some(vec![known.to_owned()]));
    }

    #[test]
    fn the_schema_is_one_that_every_provider_understands() {
        assert_eq!(
            json!(InputSchema(PARAMS[1..4].to_vec())),
            json!({
                "type": "object",
                "properties": {
                    "vmid": { "type": "integer", "minimum": 100, "maximum": 999_999_999 },
                    "force_stop": { "type": "boolean", "description": "Kill it." },
                    "compress": { "type": "string", "enum": ["zstd", "none"], "default": "zstd" },
                },
                "required": ["vmid"],
            })
        );
    }

    #[test]
    fn values_that_mean_none_count_as_absent() {
        let guest = Param::optional("vmid", Kind::Guest, "");
        let timeout = Param::optional("timeout", Kind::Integer(0, 600), "");
        let limit = Param::optional("limit", Kind::Integer(1, u64::MAX), "");
        let share = Param::optional("cpulimit", Kind::Number(0.0, 8.0), "");
        let time = Param::optional("since", Kind::Time, "");
        let text = Param::optional("name", Kind::Text(1, 10), "");
        let note = Param::optional("description", Kind::Text(0, 10), "");
        let gateway = Param::optional("gw", Kind::Format(&format::IPV4), "").clearable();
        let choice = *PARAMS[3];
        let flag = Param::optional("start", Kind::Flag, "");
        let list = Param::optional("fields", Kind::List, "");
        let set = *SET[0];
        let all = [
            guest, timeout, limit, share, time, text, note, gateway, choice, flag, list, set,
        ];
        for param in all {
            let name = param.name;
            assert!(param.is_absent(&Value::Null), "{name}");
            assert_eq!(param.is_absent(&json!("")), name != "gw", "{name}");
            assert!(param.is_absent(&json!([])), "{name}");
            assert!(param.is_absent(&json!({})), "{name}");
            let zero = ["vmid", "limit", "since"].contains(&name);
            for value in [json!(0), json!(0.0), json!("0")] {
                assert_eq!(param.is_absent(&value), zero, "{name}: {value}");
            }
        }
        assert!(list.is_absent(&json!("[]")) && set.is_absent(&json!("{}")));
        for (param, value) in [
            (&list, json!(["a"])),
            (&list, json!("a")),
            (&set, json!({ "a": "" })),
            (&limit, json!(-1)),
            (&flag, json!(false)),
            (&text, json!(" ")),
        ] {
            assert!(!param.is_absent(&value), "{}: {value}", param.name);
        }
        // Absent values cause no problem, unless they are required.
        let args = parse(json!({ "node": "pve1", "vmid": 100, "argv": {}, "force_stop": "" }));
        assert!(args.is_ok());
        refuse(
            json!({ "node": "pve1", "vmid": 0 }),
            &["vmid is missing: an integer from 100 to 999999999"],
        );
        let set = json!({ "set": {}, "delete": [], "revert": [] });
        let problems = Args::parse(SET.to_vec(), set.as_object().expect("an object")).err();
        assert!(problems.is_some());
    }

    #[test]
    fn none_clears_a_value_like_an_empty_text() {
        let gateway = Param::optional("gw", Kind::Format(&format::IPV4), "").clearable();
        for clears in ["", "none", "None"] {
            assert_eq!(
                gateway.wire_values(&clears.into()),
                Some(vec![String::new()])
            );
        }
        assert_eq!(gateway.wire_values(&"nothing".into()), None);
        assert_eq!(gateway.form(), "an IPv4 address, or none");
        let other = Param::optional("gw", Kind::Format(&format::IPV4), "");
        assert!(!other.accepts(&json!("none")));
    }

    #[test]
    fn every_form_of_a_time_means_the_same_second() {
        let since = Param::optional("since", Kind::Time, "");
        for value in [
            json!("2026-11-20 10:00:00Z"),
            json!("2026-11-20T10:00"),
            json!(1_795_168_800),
            json!("1795168800"),
            json!(1_795_168_800.0),
        ] {
            assert_eq!(
                since.wire_values(&value),
                Some(vec!["1795168800".to_owned()])
            );
        }
        assert!(since.accepts(&json!("2026-11-20")));
        for value in [
            json!("yesterday"),
            json!(-1),
            // Milliseconds.
            json!(1_795_168_800_000_u64),
            json!(true),
        ] {
            assert!(!since.accepts(&value), "{value}");
        }
        let schema = json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] });
        assert_eq!(since.schema(), schema);
    }
}
