//! Metrics: what Proxmox records of the load of guests, nodes and storages (`rrddata`), summarised.

use serde_json::{Map, Value, json};

use crate::answer::{self, Answer, number};
use crate::param::{Args, Kind, Param, Versions};
use crate::row::needs::{self, Needs};
use crate::row::{Choice, Place, Scope, Touches, list};
use crate::text::sort::sort_by_key;
use crate::text::{self, format};
use crate::tool::{Call, Effect, Permission, Show, Tool};

const TARGET: Param = Param::required(
    "target",
    Kind::Choice(&["vm", "lxc", "node", "storage"]),
    "",
);
const NODE: Param = Param::by_request("node", Kind::Format(&format::NODE), "");
const VMID: Param = Param::by_request("vmid", Kind::Guest, "VMID or name.");
const STORAGE: Param = Param::by_request("storage", Kind::Format(&format::STORAGE), "");
const TIMEFRAME: Param = Param::required(
    "timeframe",
    Kind::Choice(&["hour", "day", "week", "month", "year", "decade"]),
    "decade: nodes only.",
)
.values_known_to(&[("decade", Versions::since(9))]);
const FUNCTION: Param = Param::optional(
    "cf",
    Kind::Choice(&["AVERAGE", "MAX"]),
    "Whether points are averages or maxima.",
);
const SERIES: Param = Param::optional("series", Kind::List, "Only these, such as cpu.").local();
const MAX_POINTS: Param = Param::optional(
    "max_points",
    Kind::Integer(1, 200),
    "Also returns the values, thinned out to so many.",
)
.local();

const fn scope(name: &'static str, noun: &'static str, path: &'static str, reads: Needs) -> Scope {
    Scope {
        name,
        noun,
        path,
        reads,
        changes: &[],
        touches: Touches::AnyGuest,
        versions: Versions::ALL,
    }
}

pub(super) static METRICS: Tool = Tool {
    title: "Metrics",
    summary: "Shows the load of a guest, node or storage over time: minimum, average, maximum and last value of each series, with a sparkline.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&TARGET, &NODE, &VMID, &STORAGE],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::By(
            &TARGET,
            &[
                scope(
                    "vm",
                    "VM {vmid}",
                    "/nodes/{node}/qemu/{vmid}/rrddata",
                    needs::AUDIT,
                ),
                scope(
                    "lxc",
                    "container {vmid}",
                    "/nodes/{node}/lxc/{vmid}/rrddata",
                    needs::AUDIT,
                ),
                scope("node", "node {node}", "/nodes/{node}/rrddata", needs::NODE),
                scope(
                    "storage",
                    "storage {storage} on {node}",
                    "/nodes/{node}/storage/{storage}/rrddata",
                    &[needs::STORED],
                ),
            ],
        ),
        does: "",
        rows: &[list(
            &[&TIMEFRAME, &FUNCTION, &SERIES, &MAX_POINTS],
            Show::Made(metrics),
        )],
    }),
};

/// What the values of a series are.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    /// Bytes each second.
    Rate,
    /// 0 to 1.
    Share,
    /// 0 to 100.
    Percent,
    Plain,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Bytes => text::bytes(value),
            Unit::Rate => format!("{}/s", text::bytes(value)),
            Unit::Share => text::percent(value),
            Unit::Percent => text::percent(value / 100.0),
            Unit::Plain => rounded(value).to_string(),
        }
    }
}

/// The series that Proxmox records, in the order shown, each with the one that has the most there can be.
static KNOWN: &[(&str, Unit, &str)] = &[
    ("cpu", Unit::Share, "maxcpu"),
    ("iowait", Unit::Share, ""),
    ("loadavg", Unit::Plain, ""),
    ("mem", Unit::Bytes, "maxmem"),
    ("memhost", Unit::Bytes, ""),
    ("memused", Unit::Bytes, "memtotal"),
    ("memavailable", Unit::Bytes, ""),
    ("arcsize", Unit::Bytes, ""),
    ("swapused", Unit::Bytes, "swaptotal"),
    ("disk", Unit::Bytes, "maxdisk"),
    ("rootused", Unit::Bytes, "roottotal"),
    ("used", Unit::Bytes, "total"),
    ("netin", Unit::Rate, ""),
    ("netout", Unit::Rate, ""),
    ("diskread", Unit::Rate, ""),
    ("diskwrite", Unit::Rate, ""),
    ("pressurecpusome", Unit::Percent, ""),
    ("pressurecpufull", Unit::Percent, ""),
    ("pressureiosome", Unit::Percent, ""),
    ("pressureiofull", Unit::Percent, ""),
    ("pressurememorysome", Unit::Percent, ""),
    ("pressurememoryfull", Unit::Percent, ""),
    ("maxcpu", Unit::Plain, ""),
    ("maxmem", Unit::Bytes, ""),
    ("memtotal", Unit::Bytes, ""),
    ("swaptotal", Unit::Bytes, ""),
    ("maxdisk", Unit::Bytes, ""),
    ("roottotal", Unit::Bytes, ""),
    ("total", Unit::Bytes, ""),
];

/// How many characters a sparkline has.
const TREND: usize = 24;

/// One series, with a value for each point that has one.
struct Series {
    name: String,
    unit: Unit,
    values: Vec<Option<f64>>,
    /// The most that there can be, where that did not change.
    of: Option<f64>,
}

impl Series {
    fn present(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied().flatten()
    }

    fn least(&self) -> f64 {
        self.present().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.present().fold(f64::NEG_INFINITY, f64::max)
    }

    fn average(&self) -> f64 {
        let count = self.present().count().max(1);
        self.present().sum::<f64>() / count as f64
    }

    fn last(&self) -> f64 {
        self.present().last().unwrap_or_default()
    }

    fn is_constant(&self) -> bool {
        self.least() == self.most()
    }

    /// The same in at most `count` values, each of as many points: their average, or their maximum.
    fn thinned(&self, count: usize, takes_most: bool) -> Vec<Option<f64>> {
        buckets(self.values.len(), count)
            .map(|bucket| {
                let values = &self.values[bucket];
                let values: Vec<f64> = values.iter().copied().flatten().collect();
                match (values.len(), takes_most) {
                    (0, _) => None,
                    (_, true) => values.into_iter().reduce(f64::max),
                    (count, false) => Some(values.iter().sum::<f64>() / count as f64),
                }
            })
            .collect()
    }

    /// Its course from the minimum to the maximum; a dot where there is no value.
    fn trend(&self) -> String {
        const LEVELS: &[char] = &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let values = self.thinned(TREND, false);
        let of_values = || values.iter().copied().flatten();
        let least = of_values().fold(f64::INFINITY, f64::min);
        let most = of_values().fold(f64::NEG_INFINITY, f64::max);
        let level = |value: f64| {
            let share = match most > least {
                true => (value - least) / (most - least),
                false => 0.0,
            };
            LEVELS[((share * LEVELS.len() as f64) as usize).min(LEVELS.len() - 1)]
        };
        let shown = values.iter().map(|value| value.map_or('·', level));
        shown.collect()
    }

    fn of(&self) -> String {
        match (self.of, self.unit) {
            (None, _) => String::new(),
            (Some(of), Unit::Share) => format!("{of} CPUs"),
            (Some(of), unit) => unit.show(of),
        }
    }
}

/// The indexes of `total` points in at most `count` parts of nearly the same size.
fn buckets(total: usize, count: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = count.min(total);
    (0..count).map(move |part| part * total / count..(part + 1) * total / count)
}

/// A number with five significant digits, as its average has no more that mean anything.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// The points of an answer as series; those that only say how much there can be are in what they limit.
fn series(points: &[Value]) -> Vec<Series> {
    let column = |name: &str| -> Vec<Option<f64>> {
        points.iter().map(|point| number(&point[name])).collect()
    };
    let keys = points.iter().filter_map(Value::as_object).flatten();
    let mut names: Vec<&str> = keys
        .filter(|(key, value)| *key != "time" && number(value).is_some())
        .map(|(key, _)| key.as_str())
        .collect();
    sort_by_key(&mut names, |name| {
        let known = KNOWN.iter().position(|(known, ..)| known == name);
        (known.unwrap_or(KNOWN.len()), *name)
    });
    names.dedup();
    let mut series: Vec<Series> = Vec::new();
    let mut limits = Vec::new();
    for name in names {
        let known = KNOWN.iter().find(|(known, ..)| *known == name);
        let (_, unit, limit) = known.copied().unwrap_or((name, Unit::Plain, ""));
        let limit = Series {
            name: limit.to_owned(),
            unit,
            values: column(limit),
            of: None,
        };
        let of = (limit.is_constant() && limit.present().next().is_some()).then(|| limit.last());
        if of.is_some() {
            limits.push(limit.name);
        }
        series.push(Series {
            name: name.to_owned(),
            unit,
            values: column(name),
            of,
        });
    }
    series.retain(|series| !limits.contains(&series.name));
    series
}

fn metrics(args: &Args, data: Value, _: &Value) -> Answer {
    let mut points = answer::rows(data);
    points.retain(|point| number(&point["time"]).is_some());
    let time = |point: &Value| number(&point["time"]).unwrap_or_default() as u64;
    sort_by_key(&mut points, time);
    let times: Vec<u64> = points.iter().map(time).collect();
    let mut series = series(&points);
    // The disk of a VM is the guest's own matter: Proxmox records 0.
    if &args[&TARGET] == "vm" {
        series.retain(|series| series.name != "disk" || series.most() > 0.0);
    }
    let known: Vec<String> = series.iter().map(|series| series.name.clone()).collect();
    let wanted = args.list(&SERIES);
    series.retain(|series| wanted.is_empty() || wanted.contains(&series.name));

    let noun = args.fill(match &args[&TARGET] {
        "vm" => "VM {vmid}",
        "lxc" => "Container {vmid}",
        "node" => "Node {node}",
        _ => "Storage {storage} on {node}",
    });
    let (Some(from), Some(to)) = (times.first(), times.last()) else {
        return Answer::new(format!("{noun}: nothing is recorded"));
    };
    let step = (to - from) / (times.len() as u64 - 1).max(1);
    let mut heading = match times.len() {
        1 => format!("{noun}, {}: one point", text::time(*from)),
        count => format!(
            "{noun}, {} to {}: {count} points, one each {}",
            text::time(*from),
            text::time(*to),
            text::duration(step)
        ),
    };
    let has_values = |at: &usize| series.iter().any(|series| series.values[*at].is_some());
    let with_values: Vec<usize> = (0..times.len()).filter(has_values).collect();
    let mut data = json!({
        "from": from, "to": to, "step": step,
        "points": times.len(), "points_with_values": with_values.len(),
    });
    match (with_values.first(), with_values.last()) {
        (Some(first), Some(last)) if with_values.len() < times.len() => {
            heading.push_str(&format!(
                "; values in {}, {} to {}",
                with_values.len(),
                text::time(times[*first]),
                text::time(times[*last])
            ));
        }
        (None, _) => heading.push_str("; no values"),
        _ => (),
    }
    let mut lines = vec![heading];
    let is_guest = ["vm", "lxc"].contains(&&args[&TARGET]);
    if is_guest && wanted.is_empty() && !known.iter().any(|name| name == "cpu") {
        lines.push("No load is recorded: it did not run.".to_owned());
    }
    let (constant, moving): (Vec<&Series>, Vec<&Series>) =
        series.iter().partition(|series| series.is_constant());
    if !moving.is_empty() {
        lines.push("series\tmin\taverage\tmax\tlast\tof\ttrend".to_owned());
    }
    for series in &moving {
        let unit = series.unit;
        let figures = [
            series.least(),
            series.average(),
            series.most(),
            series.last(),
        ];
        let figures = figures.map(|figure| unit.show(figure)).join("\t");
        let (name, of, trend) = (text::inline(&series.name), series.of(), series.trend());
        lines.push(format!(
            "{}\t{figures}\t{of}\t{trend}",
            text::opening(&name)
        ));
    }
    if !constant.is_empty() {
        let shown = constant.iter().map(|series| {
            let value = series.unit.show(series.last());
            let of = series.of();
            let of = if of.is_empty() {
                of
            } else {
                format!(" of {of}")
            };
            format!("{} {value}{of}", text::inline(&series.name))
        });
        let shown: Vec<String> = shown.collect();
        lines.push(format!("constant: {}", shown.join(", ")));
    }
    let unknown = wanted.iter().filter(|name| !known.contains(name));
    let unknown: Vec<String> = unknown.map(|name| text::inline(name)).collect();
    if !unknown.is_empty() {
        lines.push(format!(
            "Not recorded: {}; recorded: {}",
            text::cut(&unknown.join(", "), 200),
            text::inline(&known.join(", "))
        ));
    }
    let takes_most = args.get(&FUNCTION) == Some("MAX");
    let mut described: Vec<Value> = series.iter().map(summary).collect();
    if let Some(count) = args.integer(&MAX_POINTS) {
        let count = count as usize;
        let starts = buckets(times.len(), count).map(|bucket| times[bucket.start]);
        let starts: Vec<u64> = starts.collect();
        for (described, series) in described.iter_mut().zip(&series) {
            let values = series.thinned(count, takes_most);
            let values = values
                .into_iter()
                .map(|value| value.map(|value| brief(rounded(value))));
            described["values"] = values.collect();
        }
        lines.extend(listed(&moving, &starts, count, takes_most));
        data["times"] = starts.into();
    }
    data["series"] = described.into();
    Answer::of(lines.join("\n"), data)
}

/// A series as data.
fn summary(series: &Series) -> Value {
    let mut fields = Map::new();
    fields.insert("name".to_owned(), series.name.as_str().into());
    let average = match series.is_constant() {
        true => series.last(),
        false => rounded(series.average()),
    };
    for (name, figure) in [
        ("min", series.least()),
        ("average", average),
        ("max", series.most()),
        ("last", series.last()),
    ] {
        fields.insert(name.to_owned(), brief(figure));
    }
    if let Some(of) = series.of {
        fields.insert("of".to_owned(), brief(of));
    }
    fields.into()
}

/// A number as data, without a fraction where it has none.
fn brief(value: f64) -> Value {
    /// The integers that a double holds exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.fract() == 0.0 && value.abs() < EXACT {
        true => (value as i64).into(),
        false => value.into(),
    }
}

/// The values of all series as a table, as far as there is room for it.
fn listed(series: &[&Series], starts: &[u64], count: usize, takes_most: bool) -> Vec<String> {
    let thinned: Vec<(Unit, Vec<Option<f64>>)> = series
        .iter()
        .map(|series| (series.unit, series.thinned(count, takes_most)))
        .collect();
    if thinned.is_empty() {
        return Vec::new();
    }
    let names: Vec<String> = series
        .iter()
        .map(|series| text::inline(&series.name))
        .collect();
    let mut lines = vec![format!("time\t{}", names.join("\t"))];
    let mut room = text::BUDGET / 2;
    for (at, start) in starts.iter().enumerate() {
        let values = thinned.iter().map(|(unit, values)| {
            let value = values.get(at).copied().flatten();
            value.map(|value| unit.show(value)).unwrap_or_default()
        });
        let line = format!(
            "{}\t{}",
            text::time(*start),
            values.collect::<Vec<_>>().join("\t")
        );
        room = room.saturating_sub(line.chars().count());
        if room == 0 {
            let left = starts.len() - at;
            lines.push(format!("{left} more points are in structuredContent."));
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[Option<f64>]) -> Series {
        Series {
            name: "cpu".to_owned(),
            unit: Unit::Share,
            values: values.to_vec(),
            of: None,
        }
    }

    #[test]
    fn a_trend_spans_the_least_and_the_most_and_shows_gaps() {
        assert_eq!(of(&[Some(0.0), None, Some(0.5), Some(1.0)]).trend(), "▁·▅█");
        assert_eq!(of(&[Some(3.0), Some(3.0)]).trend(), "▁▁");
        assert_eq!(of(&[Some(-1.0), Some(1.0)]).trend(), "▁█");
        assert_eq!(of(&[None]).trend(), "·");
        let long: Vec<Option<f64>> = (0..1_440).map(|at| Some(f64::from(at))).collect();
        let trend = of(&long).trend();
        assert_eq!(trend.chars().count(), TREND);
        assert!(
            trend.starts_with("▁▁▁▂") && trend.ends_with("▇███"),
            "{trend}"
        );
    }

    #[test]
    fn thinning_out_keeps_every_point_once() {
        for (total, count) in [(0, 5), (1, 5), (7, 3), (60, 24), (1_440, 200), (3, 3)] {
            let all: Vec<usize> = buckets(total, count).flatten().collect();
            assert_eq!(all, (0..total).collect::<Vec<_>>(), "{total} in {count}");
            assert!(buckets(total, count).count() <= count);
            assert!(buckets(total, count).all(|bucket| !bucket.is_empty()));
        }
        let series = of(&[Some(1.0), None, Some(4.0), Some(2.0), None]);
        assert_eq!(
            series.thinned(2, false),
            [Some(1.0), Some(3.0)],
            "the average of what is there"
        );
        assert_eq!(series.thinned(2, true), [Some(1.0), Some(4.0)]);
        assert_eq!(series.thinned(5, true), series.values);
    }

    #[test]
    fn what_limits_a_series_is_shown_with_it_unless_it_changed() {
        let names = |points: Value| {
            let points = answer::rows(points);
            let shown = series(&points).into_iter();
            let shown = shown.map(|series| format!("{} {:?}", series.name, series.of));
            shown.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            names(json!([
                { "time": 1, "other": 5, "mem": 1, "maxmem": 8 },
                { "time": 2, "mem": 2, "maxmem": "8", "cpu": 0.5 },
                { "time": 3 },
            ])),
            "cpu None, mem Some(8.0), other None"
        );
        assert_eq!(
            names(json!([{ "mem": 1, "maxmem": 8 }, { "mem": 1, "maxmem": 16 }])),
            "mem None, maxmem None"
        );
    }

    #[test]
    fn an_average_has_five_digits() {
        for (value, expected) in [
            (14_760_494.545_454_5, 14_760_000.0),
            (0.227_121_419, 0.227_12),
            (0.0, 0.0),
            (60.0, 60.0),
        ] {
            assert_eq!(rounded(value), expected);
        }
    }
}
