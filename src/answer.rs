//! The result of a successful call: a text to read, and the same content as data. Each is complete in itself.
//!
//! May import: `text`, `request`, `settings`, `error`, `pve`, `param`.

mod wait;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Index;

use serde_json::{Map, Value, json};

pub(crate) use crate::answer::wait::{FollowUp, Pollable, Wait};
use crate::error::{Error, Preview};
use crate::param::{Args, Kind, Param};
use crate::pve::reader::Reader;
use crate::request;
use crate::settings::Secret;
use crate::text;
use crate::text::sort::{gather, sort_by};
use crate::text::upid::Upid;

/// The result of a call that succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// Raw numbers and strings under Proxmox's own names.
    pub(crate) data: Map<String, Value>,
    /// The task that was started; text and data then only have what is to be said in addition.
    pub(crate) task: Option<Task>,
    /// A secret generated for what the task creates, which is shown only once that exists.
    pub(crate) generated: Option<GeneratedSecret>,
    /// Adds what can be read once the action, including its task, has succeeded.
    pub(crate) then: Option<Then>,
    /// Whether the call waits for the task even without `wait`.
    pub(crate) waits: bool,
    /// The change that follows once the task has succeeded; the call waits for both.
    pub(crate) follow_up: Option<Box<FollowUp>>,
    /// What else the call waits for; the outcome replaces this answer.
    pub(crate) wait: Option<Wait>,
    /// Whether a part of what was to be done failed, which the rows tell.
    pub(crate) is_failure: bool,
}

/// A secret generated for one call, which this program does not keep.
#[derive(Debug)]
pub(crate) struct GeneratedSecret {
    /// Its name in the data.
    pub(crate) name: &'static str,
    /// What it is, in words.
    pub(crate) what: &'static str,
    pub(crate) secret: Secret,
}

pub(crate) type Then = fn(&Reader, &Args, Answer) -> Answer;

/// A task that a call started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// What it does, in words: `Start VM 100`.
    pub(crate) what: String,
    pub(crate) upid: String,
    /// Whether it starts its guest at the end, in a task of its own; `None` if unknown.
    pub(crate) starts: Option<bool>,
    /// The VMID chosen for the guest that it creates.
    pub(crate) chosen: Option<u64>,
    /// What else to report: defaults that were chosen, and arguments without effect.
    pub(crate) remarks: Vec<String>,
}

/// How to show a list: a count, then a tab-separated table.
pub(crate) struct Table {
    /// The key of the rows in the data.
    pub(crate) name: &'static str,
    /// The noun for a row: singular, plural.
    pub(crate) noun: [&'static str; 2],
    pub(crate) columns: &'static [Column],
    /// The keys to sort by; Proxmox builds many lists from Perl hashes, in random order.
    pub(crate) sort: &'static [Order],
    /// The key whose values the count line counts, such as `status`.
    pub(crate) count: Option<&'static str>,
}

/// How to show one object: a `key: value` line for each key.
pub(crate) struct Fields {
    /// The first line, a template such as `VM {vmid} on {node}`.
    pub(crate) heading: &'static str,
    /// The keys to show first, and how; the others follow without formatting.
    pub(crate) columns: &'static [Column],
    /// Keys to omit from the text, which lists them at its end.
    pub(crate) hidden: &'static [&'static str],
}

/// A key of a row or an object, and how to show its values.
pub(crate) struct Column {
    key: &'static str,
    cell: Cell,
    /// A template for numbers that could be misread without words: `life left {}%`.
    words: &'static str,
    /// Returns whether the value is meaningless in a row, such as the load of a stopped guest.
    is_idle: fn(&Value, &str) -> bool,
}

/// How to show a value.
#[derive(Clone, Copy)]
enum Cell {
    Bytes,
    /// Seconds.
    Duration,
    /// 0 or 1.
    Flag,
    /// Also if sent as text.
    Number,
    /// An object of which only these keys are shown.
    Parts(&'static [&'static str]),
    /// 0 to 1.
    Share,
    /// 0 to 1, of the number of CPUs under this key.
    ShareOfCpus(&'static str),
    Text,
    /// Seconds since 1970.
    Time,
    /// An object with `used` and `total`.
    Usage,
    /// Bytes used, of the bytes under this key.
    UsedOf(&'static str),
}

pub(crate) enum Order {
    Down(&'static str),
    Up(&'static str),
}

impl Column {
    const fn new(key: &'static str, cell: Cell) -> Self {
        Self {
            key,
            cell,
            words: "{}",
            is_idle: |_, _| false,
        }
    }

    pub(crate) const fn bytes(key: &'static str) -> Self {
        Self::new(key, Cell::Bytes)
    }

    pub(crate) const fn duration(key: &'static str) -> Self {
        Self::new(key, Cell::Duration)
    }

    pub(crate) const fn flag(key: &'static str) -> Self {
        Self::new(key, Cell::Flag)
    }

    pub(crate) const fn number(key: &'static str) -> Self {
        Self::new(key, Cell::Number)
    }

    pub(crate) const fn parts(key: &'static str, parts: &'static [&'static str]) -> Self {
        Self::new(key, Cell::Parts(parts))
    }

    pub(crate) const fn share(key: &'static str) -> Self {
        Self::new(key, Cell::Share)
    }

    pub(crate) const fn share_of_cpus(key: &'static str, cpus: &'static str) -> Self {
        Self::new(key, Cell::ShareOfCpus(cpus))
    }

    pub(crate) const fn text(key: &'static str) -> Self {
        Self::new(key, Cell::Text)
    }

    pub(crate) const fn time(key: &'static str) -> Self {
        Self::new(key, Cell::Time)
    }

    pub(crate) const fn usage(key: &'static str) -> Self {
        Self::new(key, Cell::Usage)
    }

    pub(crate) const fn used_of(key: &'static str, total: &'static str) -> Self {
        Self::new(key, Cell::UsedOf(total))
    }

    /// Puts numbers into a template in place of `{}`.
    pub(crate) const fn worded(self, words: &'static str) -> Self {
        Self { words, ..self }
    }

    /// Omits the value in rows where it is meaningless: `is_idle` gets the row and the key.
    pub(crate) const fn unless(self, is_idle: fn(&Value, &str) -> bool) -> Self {
        Self { is_idle, ..self }
    }

    /// Returns the keys that this column shows, the first of which is its name.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        let other = match self.cell {
            Cell::ShareOfCpus(other) | Cell::UsedOf(other) => Some(other),
            _ => None,
        };
        [Some(self.key), other].into_iter().flatten()
    }

    /// Returns the value in `row` as text; empty if there is none.
    fn show(&self, row: &Value) -> String {
        let value = &row[self.key];
        if value.is_null() || (self.is_idle)(row, self.key) {
            // The total is worth showing even if the usage is unknown.
            return match self.cell {
                Cell::ShareOfCpus(count) if !row[count].is_null() => {
                    format!("of {}", cpus(&row[count]))
                }
                Cell::UsedOf(total) => number(&row[total])
                    .map(|total| format!("of {}", text::bytes(total)))
                    .unwrap_or_default(),
                _ => String::new(),
            };
        }
        let shown = match self.cell {
            Cell::Bytes => number(value).map(text::bytes),
            Cell::Duration => number(value).map(|seconds| text::duration(seconds as u64)),
            Cell::Flag => {
                number(value).map(|flag| (if flag == 0.0 { "no" } else { "yes" }).to_owned())
            }
            Cell::Share => number(value).map(text::percent),
            Cell::ShareOfCpus(count) => number(value).map(|share| match &row[count] {
                Value::Null => text::percent(share),
                count => format!("{} of {}", text::percent(share), cpus(count)),
            }),
            Cell::Number => number(value).map(|_| plain(value).trim().to_owned()),
            Cell::Parts(parts) => value.as_object().map(|object| {
                let parts = parts
                    .iter()
                    .filter_map(|part| Some((part, object.get(*part)?)));
                let parts = parts.map(|(part, value)| format!("{part}={}", plain(value)));
                parts.collect::<Vec<_>>().join(", ")
            }),
            Cell::Text => None,
            Cell::Time => number(value).map(|epoch| text::time(epoch as u64)),
            Cell::Usage => number(&value["used"]).and_then(|used| usage(used, &value["total"])),
            Cell::UsedOf(total) => number(value).and_then(|used| usage(used, &row[total])),
        };
        match shown {
            Some(shown) if self.words == "{}" => shown,
            Some(shown) => self.words.replace("{}", &shown),
            None => plain(value),
        }
    }

    /// Returns whether it shows text of the host unchanged.
    fn is_foreign(&self, row: &Value) -> bool {
        row[self.key].is_string() && number(&row[self.key]).is_none()
    }
}

/// The default number of rows to show.
const ROWS: u64 = 100;

/// How many rows to show; the size of the text is limited, too.
pub(crate) const LIMIT: Param = Param::optional("limit", Kind::Integer(1, u64::MAX), "").local();

/// Returns the maximum number of rows to show.
fn limit(args: &Args) -> usize {
    args.integer(&LIMIT).unwrap_or(ROWS) as usize
}

/// How many rows to skip.
pub(crate) const OFFSET: Param = Param::optional("offset", Kind::Integer(0, u64::MAX), "").local();

/// An object with values under keys; absent values are null.
pub(crate) trait Keyed: for<'k> Index<&'k str, Output = Value> {}

impl<R: for<'k> Index<&'k str, Output = Value>> Keyed for R {}

/// The position of the shown rows in the whole list.
struct Window {
    /// How many rows precede them.
    first: usize,
    total: usize,
    /// The argument that selects other rows.
    argument: &'static str,
}

/// The maximum size of a list's rows as data, in bytes. The text has its own limit; this one is for rows with
/// much more data than their text shows.
const DATA_BUDGET: usize = 3 * text::BUDGET;

/// The maximum size of a row as data, in bytes. Nothing that Proxmox stores is that large; a larger row is
/// cut rather than displacing others.
const ROW: usize = 16_384;

/// The maximum number of characters in a cell.
const CELL: usize = 300;

impl Table {
    /// Shows the rows that `args` select, below a count of all; `notes` follow the count.
    pub(crate) fn answer(&self, rows: Vec<Value>, args: &Args, notes: &[String]) -> Answer {
        let counts = self.count.filter(|_| rows.len() > 1);
        let counts = counts.map(|key| tally(&rows, key, "")).unwrap_or_default();
        self.counted(rows, args, &counts, notes)
    }

    /// Like [`Table::answer`], with additional counts.
    pub(crate) fn counted(
        &self,
        mut rows: Vec<Value>,
        args: &Args,
        counts: &str,
        notes: &[String],
    ) -> Answer {
        self.sort(&mut rows);
        let total = rows.len();
        let first = (args.integer(&OFFSET).unwrap_or(0) as usize).min(total);
        rows.drain(..first);
        let window = Window {
            first,
            total,
            argument: OFFSET.name,
        };
        self.show(rows, args, &window, counts, notes)
    }

    /// Like [`Table::counted`], for rows that are already sorted and are parsed only if shown.
    pub(crate) fn read<R>(
        &self,
        rows: &[R],
        read: impl FnMut(&R) -> Result<Value, Error>,
        args: &Args,
        counts: &str,
        notes: &[String],
    ) -> Result<Answer, Error> {
        let total = rows.len();
        let first = (args.integer(&OFFSET).unwrap_or(0) as usize).min(total);
        let shown = rows[first..].iter().take(limit(args)).map(read);
        let shown: Vec<Value> = shown.collect::<Result<_, _>>()?;
        let window = Window {
            first,
            total,
            argument: OFFSET.name,
        };
        Ok(self.show(shown, args, &window, counts, notes))
    }

    /// Shows a page that Proxmox returned from a list of `total` rows; `start` is the parameter that selects
    /// its first row.
    pub(crate) fn page(
        &self,
        mut rows: Vec<Value>,
        args: &Args,
        start: &Param,
        total: usize,
        notes: &[String],
    ) -> Answer {
        self.sort(&mut rows);
        let first = args.integer(start).unwrap_or(0) as usize;
        let window = Window {
            first,
            total: match rows.len() {
                0 => total,
                some => total.max(first.saturating_add(some)),
            },
            argument: start.name,
        };
        self.show(rows, args, &window, "", notes)
    }

    /// Shows as many of `rows` as were requested and fit.
    fn show(
        &self,
        mut rows: Vec<Value>,
        args: &Args,
        window: &Window,
        counts: &str,
        notes: &[String],
    ) -> Answer {
        let Window {
            first,
            total,
            argument,
        } = *window;
        rows.truncate(limit(args));
        let mut rows: Vec<Value> = rows
            .into_iter()
            .map(|row| whole(row, self.columns))
            .collect();
        let shown: Vec<&Column> = self
            .columns
            .iter()
            .filter(|column| rows.iter().any(|row| !column.show(row).is_empty()))
            .collect();
        let mut table = String::new();
        if !rows.is_empty() {
            let header: Vec<&str> = shown.iter().map(|column| column.key).collect();
            table = format!("\n{}", header.join("\t"));
        }
        let mut kept = 0;
        let (mut size, mut data_size) = (0, 0);
        let mut lengths = Vec::new();
        for row in &rows {
            let mut cells: Vec<String> = shown.iter().map(|column| column.show(row)).collect();
            for cell in &mut cells {
                text::shorten(cell, CELL);
            }
            if shown.first().is_some_and(|column| column.is_foreign(row)) {
                cells[0] = text::opening(&cells[0]);
            }
            let line = cells.join("\t");
            size += line.chars().count() + 1;
            let length = row.to_string().len();
            data_size += length.min(ROW);
            let is_full = size > text::BUDGET - 2_000 || data_size > DATA_BUDGET;
            if is_full && kept > 0 {
                break;
            }
            table.push('\n');
            table.push_str(line.trim_end_matches('\t'));
            lengths.push(length);
            kept += 1;
        }
        rows.truncate(kept);
        for (row, length) in rows.iter_mut().zip(lengths) {
            if length > ROW {
                bound(row, self.columns);
            }
        }

        let noun = self.noun[usize::from(total != 1)];
        let mut text = format!("{total} {noun}");
        if !counts.is_empty() {
            text.push_str(&format!(" ({counts})"));
        }
        let mut data = Map::new();
        data.insert("total".to_owned(), total.into());
        if kept == 0 && total > 0 {
            text.push_str(&format!("; none of them from {argument} {first} on"));
        } else if kept < total {
            text.push_str(&format!(
                "; {} to {} shown",
                first.saturating_add(1),
                first.saturating_add(kept)
            ));
        }
        let next = first.saturating_add(kept);
        if next < total {
            text.push_str(&format!(", {argument}={next} shows more"));
        }
        if first > 0 {
            data.insert(argument.to_owned(), first.into());
        }
        let done: Vec<&str> = self.columns.iter().flat_map(Column::keys).collect();
        let more = rows.iter().filter_map(Value::as_object).flatten();
        let more = more.filter(|(key, value)| !value.is_null() && !done.contains(&&***key));
        if let Some(more) = more_in_data(more.map(|(key, _)| &**key)) {
            text.push_str(&format!("; {more}"));
        }
        for note in notes {
            text.push_str(&format!("\n{note}"));
        }
        text.push_str(&table);
        if !notes.is_empty() {
            data.insert("notes".to_owned(), notes.into());
        }
        data.insert(self.name.to_owned(), rows.into());
        Answer {
            data,
            ..Answer::new(text)
        }
    }

    fn sort(&self, rows: &mut [Value]) {
        sort_by(rows, |a, b| {
            self.sort
                .iter()
                .fold(std::cmp::Ordering::Equal, |ordering, order| {
                    ordering.then_with(|| match order {
                        Order::Up(key) => compare(&a[key], &b[key]),
                        Order::Down(key) => compare(&b[key], &a[key]),
                    })
                })
        });
    }
}

impl Fields {
    pub(crate) fn answer(&self, object: Value, args: &Args, notes: &[String]) -> Answer {
        let mut text = args.fill(self.heading);
        let mut object = whole(object, self.columns);
        let Some(fields) = object.as_object() else {
            return Answer::new(text + ": nothing");
        };
        let mut add = |line: fmt::Arguments| text::add(&mut text, format_args!("\n{line}"));
        for note in notes {
            add(format_args!("{note}"));
        }
        for column in self.columns {
            let mut shown = column.show(&object);
            if !shown.is_empty() {
                text::shorten(&mut shown, 1_000);
                add(format_args!("{}: {shown}", column.key));
            }
        }
        let done: Vec<&str> = self.columns.iter().flat_map(Column::keys).collect();
        let is_in_heading = |key: &str| {
            let mut named = self.heading.split(['{', '}']).skip(1).step_by(2);
            named.any(|named| named == key)
        };
        let others = fields.iter().filter(|(key, value)| {
            !value.is_null() && !done.contains(&&***key) && !is_in_heading(key)
        });
        let (hidden, others): (Vec<_>, Vec<_>) =
            others.partition(|(key, _)| self.hidden.contains(&&***key));
        let mut unseen: Vec<&str> = hidden.into_iter().map(|(key, _)| &**key).collect();
        let mut size = 0;
        for (key, value) in others {
            let shown = lines_of(key, value);
            size += shown
                .iter()
                .map(|line| line.chars().count() + 1)
                .sum::<usize>();
            if size > text::BUDGET - 5_000 {
                unseen.push(key);
            } else {
                add(format_args!("{}", shown.join("\n")));
            }
        }
        if let Some(more) = more_in_data(unseen.into_iter()) {
            add(format_args!("{more}"));
        }
        cut_texts(&mut object, text::BUDGET);
        let mut answer = Answer::of(text, object);
        if !notes.is_empty() {
            answer = answer.with("notes", notes);
        }
        answer
    }
}

/// Returns the lines for a key of an object: one, or one per item of a list of pairs or objects.
fn lines_of(key: &str, value: &Value) -> Vec<String> {
    let key = text::opening(&text::inline(key));
    let line = |mut shown: String| {
        text::shorten(&mut shown, 4_000);
        let mut line = format!("{key}: {shown}");
        line.truncate(line.trim_end().len());
        line
    };
    match value {
        Value::Array(items) if items.iter().any(is_nested) => {
            let items = items.iter().map(|item| match item {
                Value::Array(parts) => parts.iter().map(plain).collect::<Vec<_>>().join(": "),
                other => plain(other),
            });
            items.map(line).collect()
        }
        value => vec![line(plain(value))],
    }
}

fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

/// Lists the keys that a text omits, for readers who may be looking for one of them.
fn more_in_data<'a>(keys: impl Iterator<Item = &'a str>) -> Option<String> {
    const NAMED: usize = 16;
    let keys: BTreeSet<&str> = gather(keys);
    let named = keys.iter().take(NAMED);
    let mut named: Vec<String> = named.map(|key| text::cut(&text::inline(key), 40)).collect();
    if keys.len() > NAMED {
        named.push("…".to_owned());
    }
    (!named.is_empty()).then(|| format!("also in structuredContent: {}", named.join(", ")))
}

/// Lines of a log or of a command's output, each marked as foreign by a leading `| `.
pub(crate) struct Lines {
    pub(crate) heading: String,
    pub(crate) lines: Vec<String>,
    /// How many lines precede `lines`.
    pub(crate) first: u64,
    /// How many lines there are in total.
    pub(crate) total: u64,
    /// The arguments that show the omitted lines.
    pub(crate) more: &'static str,
}

impl Lines {
    /// Shows as many of the newest lines as fit.
    pub(crate) fn answer(mut self) -> Answer {
        for line in &mut self.lines {
            text::shorten(line, LINE);
        }
        let shown: Vec<String> = self.lines.iter().map(|line| text::inline(line)).collect();
        let mut room = text::BUDGET - 2_000;
        let kept = shown.iter().rev().take_while(|line| {
            room = room.saturating_sub(line.chars().count() + 3);
            room > 0
        });
        let dropped = shown.len() - kept.count();
        self.lines.drain(..dropped);
        let shown_lines = self.lines.len() as u64;
        // `start` may be any number.
        let first = self.first.saturating_add(dropped as u64);
        let last = first.saturating_add(shown_lines);
        let mut text = self.heading;
        text.push_str(&match (shown_lines, self.total) {
            (_, 0) => "; no lines".to_owned(),
            (0, total) => format!("; none of {total} lines shown, {}", self.more),
            (1, 1) => "; 1 line".to_owned(),
            (shown, total) if shown == total => format!("; {total} lines"),
            (_, total) => format!(
                "; lines {} to {last} of {total} shown, {}",
                first.saturating_add(1),
                self.more
            ),
        });
        for line in &shown[dropped..] {
            text.push_str("\n| ");
            text.push_str(line);
        }
        let data = json!({ "lines": self.lines, "start": first, "total": self.total });
        Answer::of(text, data)
    }
}

/// The maximum number of characters in a line of a log.
const LINE: usize = 1_000;

impl From<Preview> for Answer {
    fn from(Preview { text, data }: Preview) -> Self {
        Self {
            data,
            ..Self::new(text)
        }
    }
}

impl From<Answer> for Preview {
    fn from(Answer { text, data, .. }: Answer) -> Self {
        Self { text, data }
    }
}

impl Answer {
    /// Creates the answer to an action that took effect at once.
    pub(crate) fn done(what: &str) -> Self {
        Self::action(what, "done", "done.")
    }

    /// Creates the answer to an action that took effect at once, or was saved and takes effect later.
    pub(crate) fn done_or_saved(what: &str, waits: bool) -> Self {
        if waits {
            Self::action(what, "pending", "saved, not in effect yet.")
        } else {
            Self::done(what)
        }
    }

    /// Turns "done" into "saved", for an action that turns out to take effect later.
    pub(crate) fn saved(self) -> Self {
        let text = self
            .text
            .replacen(": done.", ": saved, not in effect yet.", 1);
        Self { text, ..self }.with("status", "pending")
    }

    /// Creates the answer to an action from its outcome, as a word for the data and in words for the text.
    /// The data has what a program needs but cannot know from the arguments.
    pub(crate) fn action(what: &str, status: &str, outcome: &str) -> Self {
        Self::new(format!("✅ {what}: {outcome}")).with("status", status)
    }

    /// Creates the answer to an action to which Proxmox answered `data`: the UPID of the task that it
    /// started, or nothing if it is already done.
    pub(crate) fn from_reply(what: &str, data: &Value) -> Self {
        match data.as_str().filter(|upid| Upid::parse(upid).is_some()) {
            None => Self::done(what),
            Some(upid) => Self {
                task: Some(Task::new(what, upid)),
                ..Self::new(String::new())
            },
        }
    }

    pub(crate) fn new(text: String) -> Self {
        Self {
            text,
            data: Map::new(),
            task: None,
            generated: None,
            then: None,
            waits: false,
            follow_up: None,
            wait: None,
            is_failure: false,
        }
    }

    /// Shows the generated secret, if there is one; `how` says how long it is shown and valid.
    pub(crate) fn with_generated(mut self, how: &str) -> Self {
        match self.generated.take() {
            None => self,
            Some(GeneratedSecret { name, what, secret }) => self
                .line(format!("{what}, {how}: {}", secret.expose()))
                .with(name, secret.expose()),
        }
    }

    /// Creates an answer with `data`, which must be an object.
    pub(crate) fn of(text: String, data: Value) -> Self {
        match data {
            Value::Object(data) => Self {
                data,
                ..Self::new(text)
            },
            _ => Self::new(text),
        }
    }

    /// Adds a line.
    pub(crate) fn line(mut self, line: impl AsRef<str>) -> Self {
        self.text.push('\n');
        self.text.push_str(line.as_ref());
        self
    }

    /// Adds as many lines of foreign text as fit into `room` characters.
    pub(crate) fn foreign_lines(mut self, lines: &[&str], mut room: usize) -> Self {
        for (at, line) in lines.iter().enumerate() {
            let line = text::cut(&text::inline(line), CELL);
            room = room.saturating_sub(line.chars().count() + 3);
            if room == 0 {
                let left = lines.len() - at;
                return self.line(format!("{left} more lines are in structuredContent."));
            }
            self = self.line(format!("| {line}"));
        }
        self
    }

    /// Adds the fields of the whole `reply`, except `data`, to the data of this answer.
    pub(crate) fn with_reply_fields(mut self, reply: Value) -> Self {
        if let Value::Object(reply) = reply {
            for (key, value) in reply.into_iter().filter(|(key, _)| key != "data") {
                let mut value = masked(&key, value);
                cut_texts(&mut value, text::BUDGET);
                self.data.entry(key).or_insert(value);
            }
        }
        self
    }

    /// Adds a line to the text and to the notes in the data.
    pub(crate) fn note(self, note: String) -> Self {
        let mut notes = match self.data.get("notes") {
            Some(Value::Array(notes)) => notes.clone(),
            _ => Vec::new(),
        };
        notes.push(note.as_str().into());
        self.line(note).with("notes", notes)
    }

    /// Adds a remark to the description of the action; a task keeps it to its end, wherever that is shown.
    pub(crate) fn remark(self, remark: &str) -> Self {
        match self.task {
            Some(task) => Self {
                task: Some(task.remark(remark)),
                ..self
            },
            None => self.note(remark.to_owned()),
        }
    }

    pub(crate) fn then(self, then: Then) -> Self {
        Self {
            then: Some(then),
            ..self
        }
    }

    /// Adds a value to the data.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }
}

/// Returns a value on one line, safe to print.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(flag) => (if *flag { "yes" } else { "no" }).to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text::inline(text),
        Value::Array(items) => {
            let items = items.iter().map(|item| match is_nested(item) {
                true => format!("[{}]", plain(item)),
                false => plain(item),
            });
            items.collect::<Vec<_>>().join(", ")
        }
        Value::Object(map) => {
            let pairs = map
                .iter()
                .map(|(key, value)| format!("{}={}", text::inline(key), plain(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Counts the rows by value: `8 running, 4 stopped`; with `word`, `8 on pve1`.
pub(crate) fn tally<R: Keyed>(rows: &[R], key: &str, word: &str) -> String {
    let mut values = BTreeMap::<Cow<str>, usize>::new();
    for row in rows {
        let value = match &row[key] {
            Value::String(text) => Cow::Borrowed(&**text),
            value => Cow::Owned(plain(value)),
        };
        *values.entry(value).or_default() += 1;
    }
    let mut counts = BTreeMap::<String, usize>::new();
    for (value, count) in values {
        *counts
            .entry(text::cut(&text::inline(&value), 40))
            .or_default() += count;
    }
    let mut counts: Vec<String> = counts
        .iter()
        .filter(|(value, _)| !value.is_empty())
        .map(|(value, count)| format!("{count} {word}{value}"))
        .collect();
    if counts.len() > 8 {
        counts.truncate(8);
        counts.push("…".to_owned());
    }
    counts.join(", ")
}

/// Returns a number, which Proxmox may send as text.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => finite(text),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
}

/// Parses a finite number: `inf` and `nan` are names, and not valid in JSON.
fn finite(text: &str) -> Option<f64> {
    let number: Option<f64> = text.trim().parse().ok();
    number.filter(|number| number.is_finite())
}

/// Returns the texts of the rows `{n, t}` of a log. The log is empty if its only line is `no content`.
pub(crate) fn log_lines(data: Value) -> Vec<String> {
    let lines = rows(data)
        .into_iter()
        .map(|row| row["t"].as_str().unwrap_or_default().to_owned());
    let lines: Vec<String> = lines.collect();
    if lines == ["no content"] {
        Vec::new()
    } else {
        lines
    }
}

/// Returns the rows of a list, or none. Only objects count, since writing to a key of anything else panics.
pub(crate) fn rows(data: Value) -> Vec<Value> {
    match data {
        Value::Array(rows) => rows.into_iter().filter(Value::is_object).collect(),
        _ => Vec::new(),
    }
}

/// Removes and returns the value under `key`; returns null if there is none or `object` is not an object.
pub(crate) fn take(object: &mut Value, key: &str) -> Value {
    object.get_mut(key).map_or(Value::Null, Value::take)
}

fn cpus(count: &Value) -> String {
    let count = plain(count);
    let noun = if count == "1" { "CPU" } else { "CPUs" };
    format!("{count} {noun}")
}

fn usage(used: f64, total: &Value) -> Option<String> {
    let total = number(total)?;
    if total == 0.0 {
        return Some(text::bytes(used));
    }
    Some(format!(
        "{} of {} ({})",
        text::bytes(used),
        text::bytes(total),
        text::percent(used / total)
    ))
}

/// Returns a host's object as data: complete, with numbers as numbers if a column declares them so, and with
/// secrets masked unless a column shows them.
fn whole(mut object: Value, columns: &[Column]) -> Value {
    for (key, value) in object.as_object_mut().into_iter().flatten() {
        let column = columns
            .iter()
            .find(|column| column.keys().any(|shown| shown == key));
        match (column.map(|column| column.cell), &mut *value) {
            (None, value) => mask(key, value),
            (Some(Cell::Text), value) => mask("", value),
            (Some(_), Value::String(text)) => {
                if let Some(number) = as_number(text) {
                    *value = number;
                }
            }
            (Some(_), value) => mask("", value),
        }
    }
    object
}

/// Masks secrets in a value that a host sent under `key`.
pub(crate) fn masked(key: &str, mut value: Value) -> Value {
    mask(key, &mut value);
    value
}

/// Like [`masked`], in place.
fn mask(key: &str, value: &mut Value) {
    match value {
        Value::Null => (),
        value if request::is_secret(key) => *value = text::MASK.into(),
        Value::String(text) => {
            if let Cow::Owned(readable) = request::readable(key, text) {
                *text = readable;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(key, item)),
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| mask(key, value)),
        Value::Bool(_) | Value::Number(_) => (),
    }
}

/// Cuts the texts of an oversized row and, if that is not enough, removes everything that no column shows.
fn bound(row: &mut Value, columns: &[Column]) {
    cut_texts(row, CELL);
    if row.to_string().len() > ROW
        && let Some(fields) = row.as_object_mut()
    {
        let shown: Vec<&str> = columns.iter().flat_map(Column::keys).collect();
        fields.retain(|key, _| shown.contains(&&**key));
    }
}

/// Cuts each text in `value` to at most `most` characters.
fn cut_texts(value: &mut Value, most: usize) {
    match value {
        Value::String(text) => text::shorten(text, most),
        Value::Array(items) => items.iter_mut().for_each(|item| cut_texts(item, most)),
        Value::Object(fields) => fields.values_mut().for_each(|value| cut_texts(value, most)),
        _ => (),
    }
}

/// Returns the number that `text` represents, if it does.
fn as_number(text: &str) -> Option<Value> {
    let integer = text.trim().parse::<i64>().map(Value::from);
    integer.ok().or_else(|| finite(text).map(Value::from))
}

/// Compares values of any kind: null first, then numbers by size, then everything else as text. It must be a
/// total order, or sorting may panic.
pub(crate) fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) if !b.is_null() => std::cmp::Ordering::Less,
        (None, Some(_)) if !a.is_null() => std::cmp::Ordering::Greater,
        _ => plain(a).cmp(&plain(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PARAMS: &[&Param] = &[&LIMIT, &OFFSET];

    static GUESTS: Table = Table {
        name: "guests",
        noun: ["guest", "guests"],
        columns: &[
            Column::number("vmid"),
            Column::text("name"),
            Column::text("status"),
            Column::used_of("mem", "maxmem"),
            Column::text("lock"),
        ],
        sort: &[Order::Up("vmid")],
        count: Some("status"),
    };

    fn args(arguments: Value) -> Args {
        let arguments = arguments.as_object().expect("the test passes an object");
        Args::parse(PARAMS.to_vec(), arguments).expect("the arguments are valid")
    }

    #[test]
    fn sorts_names_some_of_which_are_numbers() {
        static NODES: Table = Table {
            name: "nodes",
            noun: ["node", "nodes"],
            columns: &[Column::text("node")],
            sort: &[Order::Up("node")],
            count: None,
        };
        let numbers = (0..20).map(|number| number.to_string());
        let others = (0..20).map(|number| format!("{number}a"));
        let names: Vec<String> = numbers.chain(others).chain(["inf".to_owned()]).collect();
        let mut rows: Vec<Value> = names.iter().map(|name| json!({ "node": name })).collect();
        rows.reverse();
        rows.push(json!({}));
        NODES.sort(&mut rows);
        assert_eq!(
            rows[..4],
            [
                json!({}),
                json!({ "node": "0" }),
                json!({ "node": "1" }),
                json!({ "node": "2" })
            ]
        );
        assert_eq!(
            rows[20..23],
            [
                json!({ "node": "19" }),
                json!({ "node": "0a" }),
                json!({ "node": "10a" })
            ]
        );
        assert_eq!(rows[41], json!({ "node": "inf" }));
    }

    fn guests(count: u64) -> Vec<Value> {
        let guest = |vmid: u64| json!({ "vmid": (100 + vmid).to_string(), "name": format!("web{vmid}"), "status": "running" });
        (0..count).rev().map(guest).collect()
    }

    #[test]
    fn counts_and_sorts_a_list_and_omits_empty_columns() {
        let rows = vec![
            json!({ "vmid": 101, "name": "b", "status": "stopped", "maxmem": 1024, "more": 1 }),
            json!({ "vmid": "100", "name": "a", "status": "running", "mem": "512", "maxmem": 1024 }),
        ];
        let answer = GUESTS.answer(rows, &args(json!({})), &["A note.".to_owned()]);
        assert_eq!(
            answer.text,
            "2 guests (1 running, 1 stopped); also in structuredContent: more\nA note.\nvmid\tname\tstatus\tmem\n\
             100\ta\trunning\t512 B of 1 KiB (50%)\n101\tb\tstopped\tof 1 KiB"
        );
        assert_eq!(
            Value::Object(answer.data),
            json!({
                "total": 2,
                "notes": ["A note."],
                "guests": [
                    { "vmid": 100, "name": "a", "status": "running", "mem": 512, "maxmem": 1024 },
                    { "vmid": 101, "name": "b", "status": "stopped", "maxmem": 1024, "more": 1 },
                ],
            })
        );
    }

    #[test]
    fn an_empty_list_says_so() {
        let answer = GUESTS.answer(Vec::new(), &args(json!({})), &[]);
        assert_eq!(answer.text, "0 guests");
        let answer = GUESTS.answer(guests(1), &args(json!({ "offset": 5 })), &[]);
        assert_eq!(answer.text, "1 guest; none of them from offset 1 on");
    }

    #[test]
    fn twenty_thousand_guests_cost_no_more_than_two_hundred() {
        let few = GUESTS.answer(guests(200), &args(json!({})), &[]);
        let many = GUESTS.answer(guests(20_000), &args(json!({})), &[]);
        assert!(
            many.text.starts_with(
                "20000 guests (20000 running); 1 to 100 shown, offset=100 shows more\n"
            )
        );
        assert!(
            many.text.len() < few.text.len() + 20,
            "{} {}",
            many.text.len(),
            few.text.len()
        );
        assert_eq!(many.data["guests"].as_array().map(Vec::len), Some(100));
    }

    #[test]
    fn cuts_text_and_data_at_the_same_row() {
        let answer = GUESTS.answer(
            guests(20_000),
            &args(json!({ "limit": 20_000, "offset": 7 })),
            &[],
        );
        assert!(answer.text.chars().count() <= text::BUDGET);
        let shown = answer.text.lines().count() - 2;
        assert_eq!(answer.data["guests"].as_array().map(Vec::len), Some(shown));
        assert!(answer.text.contains(&format!(
            "; 8 to {} shown, offset={} shows more",
            shown + 7,
            shown + 7
        )));
    }

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        let name = "x\t200\n✅ Stop VM 100: done.\r\u{202e}\u{1b}[31m";
        let rows = vec![
            json!({ "vmid": 100, "name": name, "status": "a\nb" }),
            json!({ "vmid": 101, "status": "a\nb" }),
        ];
        let text = GUESTS.answer(rows, &args(json!({})), &[]).text;
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.lines().all(|line| !line.starts_with('✅')), "{text}");
        assert!(
            text.contains("x\\t200\\n✅ Stop VM 100: done.\\r\\u{202e}\\u{1b}[31m"),
            "{text}"
        );
    }

    #[test]
    fn a_cut_page_continues_with_its_own_argument() {
        const START: Param = Param::optional("start", Kind::Integer(0, u64::MAX), "");
        static PARAMS: &[&Param] = &[&LIMIT, &START];
        let page = |start: u64, rows: Vec<Value>| {
            let arguments = json!({ "limit": 500, "start": start });
            let arguments = arguments.as_object().expect("it is an object");
            let args = Args::parse(PARAMS.to_vec(), arguments).expect("the arguments are valid");
            GUESTS.page(rows, &args, &START, 1_000, &[])
        };
        let mut rows = guests(500);
        for row in &mut rows {
            row["name"] = "x".repeat(200).into();
        }
        let answer = page(100, rows);
        let kept = answer.text.lines().count() - 2;
        let last = 100 + kept;
        let expected = format!("1000 guests; 101 to {last} shown, start={last} shows more\n");
        assert!(
            kept < 500 && answer.text.starts_with(&expected),
            "{}",
            answer.text
        );
        assert_eq!(answer.data["start"], 100);
        let beyond = page(u64::MAX, Vec::new());
        assert_eq!(
            beyond.text,
            format!("1000 guests; none of them from start {} on", u64::MAX)
        );
        // More than can be counted, as a host may claim.
        page(u64::MAX, guests(1));
    }

    #[test]
    fn lines_may_begin_anywhere() {
        let answer = Lines {
            heading: "Log".to_owned(),
            lines: vec!["last".to_owned()],
            first: u64::MAX,
            total: 5,
            more: "start shows others",
        }
        .answer();
        assert!(answer.text.ends_with("\n| last"), "{}", answer.text);
    }

    #[test]
    fn counts_only_values_that_are_present() {
        let rows = vec![json!({ "vmid": 100 }), json!({ "vmid": 101 })];
        let answer = GUESTS.answer(rows, &args(json!({})), &[]);
        assert_eq!(answer.text, "2 guests\nvmid\n100\n101");
    }

    #[test]
    fn keeps_the_newest_lines_and_marks_them() {
        let lines: Vec<String> = (0..5_000)
            .map(|line| format!("✅ line {line}\t\u{7}"))
            .collect();
        let answer = Lines {
            heading: "Log".to_owned(),
            lines,
            first: 10,
            total: 5_020,
            more: "start shows others",
        }
        .answer();
        assert!(answer.text.chars().count() <= text::BUDGET);
        assert!(
            answer.text.ends_with("\n| ✅ line 4999\\t\\u{7}"),
            "{}",
            answer.text
        );
        assert!(
            answer
                .text
                .lines()
                .skip(1)
                .all(|line| line.starts_with("| ✅ line "))
        );
        let shown = answer.text.lines().count() - 1;
        assert_eq!(answer.data["lines"].as_array().map(Vec::len), Some(shown));
        assert!(answer.text.starts_with(&format!(
            "Log; lines {} to 5010 of 5020 shown, start shows others\n",
            5_010 - shown + 1
        )));
    }

    #[test]
    fn fields_show_every_key_once_and_name_those_omitted() {
        static FIELDS: Fields = Fields {
            heading: "Guest {vmid}",
            columns: &[Column::text("name"), Column::used_of("mem", "maxmem")],
            hidden: &["bulk"],
        };
        let object = json!({ "a": [1, "b\n"], "mem": "512", "maxmem": 1024, "name": "x\ny", "bulk": 1, "z": { "k": true }, "none": null, "vmid": 100 });
        let answer = FIELDS.answer(object, &args(json!({})), &[]);
        assert_eq!(
            answer.text,
            "Guest {vmid}\nname: x\\ny\nmem: 512 B of 1 KiB (50%)\na: 1, b\nz: k=yes\n\
             also in structuredContent: bulk"
        );
        assert_eq!(
            Value::Object(answer.data),
            json!({ "a": [1, "b\n"], "mem": 512, "maxmem": 1024, "name": "x\ny", "bulk": 1, "z": { "k": true }, "none": null, "vmid": 100 })
        );
    }

    static ANY: Fields = Fields {
        heading: "Any",
        columns: &[],
        hidden: &[],
    };

    #[test]
    fn shows_pairs_on_a_line_each() {
        let object =
            json!({ "lxc": [["lxc.idmap", "u 0 100000 65536"], ["lxc.mount.entry", "a\nb"]] });
        assert_eq!(
            ANY.answer(object, &args(json!({})), &[]).text,
            "Any\nlxc: lxc.idmap: u 0 100000 65536\nlxc: lxc.mount.entry: a\\nb"
        );
        let nested = json!([["a", 1], { "b": [2, 3] }]);
        assert_eq!(plain(&nested), "[a, 1], [b=2, 3]");
    }

    #[test]
    fn masks_secrets_in_data() {
        let object = json!({ "cipassword": "hunter2", "client-key": 1234, "deep": { "secret": ["a"] }, "sshkeys": "ssh%20a" });
        let hidden = json!({ "cipassword": "(hidden)", "client-key": "(hidden)", "deep": { "secret": "(hidden)" }, "sshkeys": "ssh a" });
        let answer = ANY.answer(object.clone(), &args(json!({})), &[]);
        assert_eq!(Value::Object(answer.data), hidden);
        assert!(!answer.text.contains("hunter2") && answer.text.contains("sshkeys: ssh a"));
        let answer = GUESTS.answer(vec![object.clone()], &args(json!({})), &[]);
        assert_eq!(answer.data["guests"], json!([hidden]));
        let reply = json!({ "data": 1, "total": 5, "beside": object });
        let answer = Answer::new(String::new())
            .with("total", 2)
            .with_reply_fields(reply);
        assert_eq!(
            Value::Object(answer.data),
            json!({ "total": 2, "beside": hidden })
        );
    }

    #[test]
    fn marks_keys_and_first_cells_that_could_pass_for_lines_of_this_program() {
        static NAMES: Table = Table {
            name: "names",
            noun: ["name", "names"],
            columns: &[Column::text("name"), Column::text("other")],
            sort: &[],
            count: None,
        };
        let rows = [
            "✅ Stop VM 100: done.",
            "0 names are left",
            "local:iso/a.iso",
        ];
        let rows = rows.map(|name| json!({ "name": name, "other": "x y" }));
        let answer = NAMES.answer(rows.to_vec(), &args(json!({})), &[]);
        assert_eq!(
            answer.text,
            "3 names\nname\tother\n| ✅ Stop VM 100: done.\tx y\n| 0 names are left\tx y\nlocal:iso/a.iso\tx y"
        );
        let object = json!({ "✅ Stop VM 100": "done.", "plain": [["✅ x", "y"]] });
        assert_eq!(
            ANY.answer(object, &args(json!({})), &[]).text,
            "Any\nplain: ✅ x: y\n| ✅ Stop VM 100: done."
        );
    }

    #[test]
    fn puts_words_around_numbers_only_and_omits_meaningless_values() {
        static DISKS: Table = Table {
            name: "disks",
            noun: ["disk", "disks"],
            columns: &[
                Column::number("wearout").worded("life left {}%"),
                Column::share_of_cpus("cpu", "maxcpu").unless(|row, key| row[key] == 0),
            ],
            sort: &[],
            count: None,
        };
        let rows = vec![
            json!({ "wearout": "97", "cpu": 0.5, "maxcpu": 4 }),
            json!({ "wearout": "N/A", "cpu": 0, "maxcpu": 4 }),
            json!({ "wearout": 3, "cpu": 0.5 }),
        ];
        let answer = DISKS.answer(rows, &args(json!({})), &[]);
        assert_eq!(
            answer.text,
            "3 disks\nwearout\tcpu\nlife left 97%\t50% of 4 CPUs\nN/A\tof 4 CPUs\nlife left 3%\t50%"
        );
        assert_eq!(answer.data["disks"][1]["cpu"], 0);
    }

    #[test]
    fn shows_fewer_rows_if_their_data_is_large() {
        let rows = (100..600).map(|vmid| json!({ "vmid": vmid, "more": "x".repeat(2_000) }));
        let answer = GUESTS.answer(rows.collect(), &args(json!({ "limit": 500 })), &[]);
        let kept = answer.data["guests"].as_array().map_or(0, Vec::len);
        assert!((20..40).contains(&kept), "{kept}");
        let expected = format!("500 guests; 1 to {kept} shown, offset={kept} shows more");
        assert!(answer.text.starts_with(&expected), "{}", answer.text);
        // An oversized row is cut, and displaces no other.
        let rows =
            [40_000, 1, 40_000].map(|length| json!({ "vmid": 100, "more": "x".repeat(length) }));
        let answer = GUESTS.answer(rows.to_vec(), &args(json!({})), &[]);
        let guests = answer.data["guests"].as_array().expect("they are rows");
        assert_eq!(guests.len(), 3);
        assert!(guests[2].to_string().len() < 1_000, "{}", guests[2]);
        let many: Map<String, Value> = (0..10_000)
            .map(|key| (format!("k{key}"), 1.into()))
            .collect();
        let answer = GUESTS.answer(vec![many.into()], &args(json!({})), &[]);
        assert_eq!(answer.data["guests"], json!([{}]));
    }

    #[test]
    fn distinguishes_a_started_task_from_a_finished_action() {
        let upid = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:";
        let answer = Answer::from_reply("Start VM 100", &json!(upid));
        let task = answer.task.expect("it is one");
        assert_eq!((&*task.what, &*task.upid), ("Start VM 100", upid));
        for nothing in [Value::Null, json!("OK")] {
            let answer = Answer::from_reply("Resize", &nothing);
            assert_eq!(answer.text, "✅ Resize: done.");
            assert_eq!(answer.task, None);
        }
    }
}
