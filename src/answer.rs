//! What a successful call gives back: a text for reading and the same as data, neither needing the other.

use serde_json::{Map, Value, json};

use crate::format;
use crate::param::{Args, Kind, Param};
use crate::settings::Secret;
use crate::task::Task;
use crate::text;

/// The result of a call that succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// Raw numbers and strings, under Proxmox's own names.
    pub(crate) data: Map<String, Value>,
    /// The task that was started. Text and data are then only what is to be said beside it.
    pub(crate) task: Option<Task>,
    /// What was made up for what the task makes, and is told with it alone.
    pub(crate) made_up: Option<MadeUp>,
}

/// A secret that was made up for a call, and is known to nobody else.
#[derive(Debug)]
pub(crate) struct MadeUp {
    /// What it is called in the data.
    pub(crate) name: &'static str,
    /// What it is, in words.
    pub(crate) what: &'static str,
    pub(crate) secret: Secret,
}

/// How a list is shown: a count line, then a tab-separated table.
pub(crate) struct Table {
    /// What the rows are called in the data.
    pub(crate) name: &'static str,
    /// What a row is: one, many.
    pub(crate) noun: [&'static str; 2],
    pub(crate) columns: &'static [Column],
    /// The keys to sort by; Proxmox builds many lists from Perl hashes, in random order.
    pub(crate) sort: &'static [Order],
    /// The key whose values the count line counts, such as `status`.
    pub(crate) count: Option<&'static str>,
}

/// How one object is shown: a `key: value` line for each of its keys.
pub(crate) struct Fields {
    /// What the object is, for the first line: a template like `VM {vmid} on {node}`.
    pub(crate) heading: &'static str,
    /// The keys that are shown first and how; others follow as they are.
    pub(crate) columns: &'static [Column],
    /// Keys that are left out.
    pub(crate) hidden: &'static [&'static str],
}

/// A key of a row or an object, and how its values read.
pub(crate) struct Column {
    key: &'static str,
    cell: Cell,
}

/// How a value reads.
#[derive(Clone, Copy)]
enum Cell {
    Bytes,
    /// Seconds.
    Duration,
    /// 0 or 1.
    Flag,
    /// Also when it comes as a text.
    Number,
    /// 0 to 1.
    Share,
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
        Self { key, cell }
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

    pub(crate) const fn share(key: &'static str) -> Self {
        Self::new(key, Cell::Share)
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

    /// The keys of the object that this column shows, the first of which is its name.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        let total = match self.cell {
            Cell::UsedOf(total) => Some(total),
            _ => None,
        };
        [Some(self.key), total].into_iter().flatten()
    }

    /// The value in `row` as it reads; empty when it has none.
    fn show(&self, row: &Value) -> String {
        let value = &row[self.key];
        if value.is_null() {
            // How much there is says something also where nobody knows how much of it is used.
            return match self.cell {
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
            Cell::Number | Cell::Text => None,
            Cell::Time => number(value).map(|epoch| text::time(epoch as u64)),
            Cell::Usage => number(&value["used"]).and_then(|used| usage(used, &value["total"])),
            Cell::UsedOf(total) => number(value).and_then(|used| usage(used, &row[total])),
        };
        shown.unwrap_or_else(|| plain(value))
    }
}

/// How many rows a list shows when nothing else is asked for.
const ROWS: u64 = 100;

/// How many rows to show; the budget of the text bounds it as well.
pub(crate) const LIMIT: Param = Param::optional("limit", Kind::Integer(1, u64::MAX), "").local();

/// How many rows to skip.
pub(crate) const OFFSET: Param = Param::optional("offset", Kind::Integer(0, u64::MAX), "").local();

/// Where rows stand in the whole list.
struct Place {
    /// How many rows come before them.
    first: usize,
    total: usize,
    /// The argument that shows other rows.
    argument: &'static str,
}

/// The most characters of one cell.
const CELL: usize = 300;

impl Table {
    /// The rows that `args` ask for, below a line that counts them all; `notes` follow the count.
    pub(crate) fn answer(&self, rows: Vec<Value>, args: &Args, notes: &[String]) -> Answer {
        let counts = self.count.filter(|_| rows.len() > 1);
        let counts = counts.map(|key| tally(&rows, key, "")).unwrap_or_default();
        self.counted(rows, args, &counts, notes)
    }

    /// As [`Table::answer`], with what else the count line counts.
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
        let place = Place {
            first,
            total,
            argument: OFFSET.name,
        };
        self.show(rows, args, &place, counts, notes)
    }

    /// A page that Proxmox cut out of a list of `total` rows, where `start` says from which row on.
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
        let place = Place {
            first,
            total: match rows.len() {
                0 => total,
                some => total.max(first.saturating_add(some)),
            },
            argument: start.name,
        };
        self.show(rows, args, &place, "", notes)
    }

    /// As many of `rows` as were asked for and as the budget allows.
    fn show(
        &self,
        mut rows: Vec<Value>,
        args: &Args,
        place: &Place,
        counts: &str,
        notes: &[String],
    ) -> Answer {
        let Place {
            first,
            total,
            argument,
        } = *place;
        rows.truncate(args.integer(&LIMIT).unwrap_or(ROWS) as usize);
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
        let mut size = 0;
        for row in &rows {
            let cells: Vec<String> = shown
                .iter()
                .map(|column| text::cut(&column.show(row), CELL))
                .collect();
            let line = cells.join("\t");
            size += line.chars().count() + 1;
            if size > text::BUDGET - 2_000 && kept > 0 {
                break;
            }
            table.push('\n');
            table.push_str(line.trim_end_matches('\t'));
            kept += 1;
        }
        rows.truncate(kept);

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
        for note in notes {
            text.push_str(&format!("\n{note}"));
        }
        text.push_str(&table);
        if !notes.is_empty() {
            data.insert("notes".to_owned(), notes.into());
        }
        let rows: Vec<Value> = rows.iter().map(|row| self.raw(row)).collect();
        data.insert(self.name.to_owned(), rows.into());
        Answer {
            data,
            ..Answer::new(text)
        }
    }

    fn sort(&self, rows: &mut [Value]) {
        rows.sort_by(|a, b| {
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

    /// The keys of the columns, with numbers as numbers.
    fn raw(&self, row: &Value) -> Value {
        let keys = self
            .columns
            .iter()
            .flat_map(|column| column.keys().map(move |key| (key, column.cell)));
        let values = keys.filter_map(|(key, cell)| {
            let value = &row[key];
            (!value.is_null()).then(|| (key.to_owned(), raw(value, cell)))
        });
        Value::Object(values.collect())
    }
}

impl Fields {
    pub(crate) fn answer(&self, object: Value, args: &Args, notes: &[String]) -> Answer {
        let Value::Object(mut data) = object else {
            return Answer::new(format!("{}: nothing", args.fill(self.heading)));
        };
        data.retain(|key, value| !self.hidden.contains(&&**key) && !value.is_null());
        let object = Value::Object(data);
        let mut lines = vec![args.fill(self.heading)];
        lines.extend(notes.iter().cloned());
        for column in self.columns {
            let shown = column.show(&object);
            if !shown.is_empty() {
                lines.push(format!("{}: {}", column.key, text::cut(&shown, 1_000)));
            }
        }
        let done: Vec<&str> = self.columns.iter().flat_map(Column::keys).collect();
        let mut size = 0;
        for (key, value) in object.as_object().into_iter().flatten() {
            if done.contains(&&**key) {
                continue;
            }
            let line = format!("{}: {}", text::inline(key), text::cut(&plain(value), 4_000));
            size += line.chars().count() + 1;
            if size > text::BUDGET - 5_000 {
                lines.push("The rest is only in the structured content.".to_owned());
                break;
            }
            lines.push(line);
        }
        let Value::Object(mut data) = object else {
            return Answer::new(lines.join("\n"));
        };
        for column in self.columns {
            for key in column.keys() {
                if let Some(value) = data.get_mut(key) {
                    *value = raw(value, column.cell);
                }
            }
        }
        if !notes.is_empty() {
            data.insert("notes".to_owned(), notes.into());
        }
        Answer {
            data,
            ..Answer::new(lines.join("\n"))
        }
    }
}

/// Lines of a log, or of what a command printed, each behind a `| ` that marks it as foreign.
pub(crate) struct Lines {
    pub(crate) heading: String,
    pub(crate) lines: Vec<String>,
    /// How many lines come before the first of `lines`.
    pub(crate) first: u64,
    /// How many there are in all.
    pub(crate) total: u64,
    /// Which arguments show lines that are left out.
    pub(crate) more: &'static str,
}

impl Lines {
    /// The newest lines that the budget allows.
    pub(crate) fn answer(mut self) -> Answer {
        for line in &mut self.lines {
            *line = text::cut(line, LINE);
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

/// The most characters of one line of a log.
const LINE: usize = 1_000;

impl Answer {
    /// An action that took effect at once.
    pub(crate) fn done(what: &str) -> Self {
        Self::acted(what, "done", "done.")
    }

    /// An action that took effect at once, or that waits, which the next lines tell.
    pub(crate) fn done_or_saved(what: &str, waits: bool) -> Self {
        if waits {
            Self::acted(what, "pending", "saved, not in effect yet.")
        } else {
            Self::done(what)
        }
    }

    /// An action and how far it has come, in a word and in words.
    pub(crate) fn acted(what: &str, status: &str, outcome: &str) -> Self {
        let data = json!({ "action": what, "status": status });
        Self::of(format!("✅ {what}: {outcome}"), data)
    }

    /// An action whose answer is `data`: the id of the task that was started, or nothing when it is
    /// done already.
    pub(crate) fn of_action(what: &str, data: &Value) -> Self {
        match data
            .as_str()
            .filter(|upid| format::upid_node(upid).is_some())
        {
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
            made_up: None,
        }
    }

    /// With what was made up, if anything, which is `how`.
    pub(crate) fn with_made_up(mut self, how: &str) -> Self {
        match self.made_up.take() {
            None => self,
            Some(MadeUp { name, what, secret }) => self
                .line(format!("{what}, {how}: {}", secret.expose()))
                .with(name, secret.expose()),
        }
    }

    /// `data` is an object.
    pub(crate) fn of(text: String, data: Value) -> Self {
        match data {
            Value::Object(data) => Self {
                data,
                ..Self::new(text)
            },
            _ => Self::new(text),
        }
    }

    /// Adds a line of ours.
    pub(crate) fn line(mut self, line: impl AsRef<str>) -> Self {
        self.text.push('\n');
        self.text.push_str(line.as_ref());
        self
    }

    /// Adds a value to the data.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }
}

/// A value on one line, safe to print.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(flag) => (if *flag { "yes" } else { "no" }).to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text::inline(text),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let pairs = map
                .iter()
                .map(|(key, value)| format!("{}={}", text::inline(key), plain(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
    }
}

/// How many rows have which value: `8 running, 4 stopped`; with a word before it `8 on pve1`.
pub(crate) fn tally(rows: &[Value], key: &str, word: &str) -> String {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for row in rows {
        *counts.entry(text::cut(&plain(&row[key]), 40)).or_default() += 1;
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

/// A number, which Proxmox sends as a string as well.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        // `inf` and `nan` are names, and no JSON.
        Value::String(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite()),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
}

/// The texts of the rows `{n, t}` of a log. An empty log is the one line `no content`.
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

/// The rows of a list, wherever Proxmox sent one: objects, as writing to a key of anything else panics.
pub(crate) fn rows(data: Value) -> Vec<Value> {
    match data {
        Value::Array(rows) => rows.into_iter().filter(Value::is_object).collect(),
        _ => Vec::new(),
    }
}

/// The value under `key`, taken out; null where there is none, whatever `object` really is.
pub(crate) fn take(object: &mut Value, key: &str) -> Value {
    object.get_mut(key).map_or(Value::Null, Value::take)
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

/// `value` with a number as a number and a text within bounds.
fn raw(value: &Value, cell: Cell) -> Value {
    match (value, cell) {
        (Value::String(text), Cell::Text) => text::cut(text, CELL).into(),
        (Value::String(text), _) => {
            let integer = text.trim().parse::<i64>().map(Value::from);
            integer
                .ok()
                .or_else(|| number(value).map(Value::from))
                .unwrap_or_else(|| value.clone())
        }
        _ => value.clone(),
    }
}

/// What is missing first, then numbers by size, then everything else as text: one order for all kinds,
/// since sorting panics over one that contradicts itself.
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

    static PARAMS: &[Param] = &[LIMIT, OFFSET];

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
        Args::parse(PARAMS, arguments).expect("the arguments are right")
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
    fn a_list_is_counted_sorted_and_leaves_out_empty_columns() {
        let rows = vec![
            json!({ "vmid": 101, "name": "b", "status": "stopped", "maxmem": 1024, "more": 1 }),
            json!({ "vmid": "100", "name": "a", "status": "running", "mem": "512", "maxmem": 1024 }),
        ];
        let answer = GUESTS.answer(rows, &args(json!({})), &["A note.".to_owned()]);
        assert_eq!(
            answer.text,
            "2 guests (1 running, 1 stopped)\nA note.\nvmid\tname\tstatus\tmem\n\
             100\ta\trunning\t512 B of 1 KiB (50%)\n101\tb\tstopped\tof 1 KiB"
        );
        assert_eq!(
            Value::Object(answer.data),
            json!({
                "total": 2,
                "notes": ["A note."],
                "guests": [
                    { "vmid": 100, "name": "a", "status": "running", "mem": 512, "maxmem": 1024 },
                    { "vmid": 101, "name": "b", "status": "stopped", "maxmem": 1024 },
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
    fn text_and_data_are_cut_alike_at_the_budget() {
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
    fn a_page_that_the_budget_cuts_goes_on_with_its_own_argument() {
        const START: Param = Param::optional("start", Kind::Integer(0, u64::MAX), "");
        static PARAMS: &[Param] = &[LIMIT, START];
        let page = |start: u64, rows: Vec<Value>| {
            let arguments = json!({ "limit": 500, "start": start });
            let arguments = arguments.as_object().expect("it is an object");
            let args = Args::parse(PARAMS, arguments).expect("the arguments are right");
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
        // More than the limit of what can be counted, as a host may claim.
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
    fn a_list_counts_only_the_values_that_there_are() {
        let rows = vec![json!({ "vmid": 100 }), json!({ "vmid": 101 })];
        let answer = GUESTS.answer(rows, &args(json!({})), &[]);
        assert_eq!(answer.text, "2 guests\nvmid\n100\n101");
    }

    #[test]
    fn lines_keep_the_newest_and_are_marked() {
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
    fn fields_show_every_key_once_and_hide_what_they_must() {
        static FIELDS: Fields = Fields {
            heading: "Guest",
            columns: &[Column::text("name"), Column::used_of("mem", "maxmem")],
            hidden: &["secret"],
        };
        let object = json!({ "a": [1, "b\n"], "mem": "512", "maxmem": 1024, "name": "x\ny", "secret": 1, "z": { "k": true }, "none": null });
        let answer = FIELDS.answer(object, &args(json!({})), &[]);
        assert_eq!(
            answer.text,
            "Guest\nname: x\\ny\nmem: 512 B of 1 KiB (50%)\na: 1, b\nz: k=yes"
        );
        assert_eq!(
            Value::Object(answer.data),
            json!({ "a": [1, "b\n"], "mem": 512, "maxmem": 1024, "name": "x\ny", "z": { "k": true } })
        );
    }

    #[test]
    fn an_action_tells_a_task_from_what_is_done() {
        let upid = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:";
        let answer = Answer::of_action("Start VM 100", &json!(upid));
        let task = answer.task.expect("it is one");
        assert_eq!((&*task.what, &*task.upid), ("Start VM 100", upid));
        for nothing in [Value::Null, json!("OK")] {
            let answer = Answer::of_action("Resize", &nothing);
            assert_eq!(answer.text, "✅ Resize: done.");
            assert_eq!(answer.task, None);
        }
    }
}
