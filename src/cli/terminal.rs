//! The text of an answer on a terminal: tables are aligned, and a share of a whole has a bar beside it.
//!
//! Only people see this: whatever is piped gets the text as it is.

/// What a terminal can show.
#[derive(Clone, Copy)]
pub(crate) struct Terminal {
    pub(crate) has_colors: bool,
    /// Its width, where the environment says it.
    columns: Option<usize>,
}

/// How many characters a bar has.
const BAR: usize = 8;

/// A character that is filled by so many eighths.
const EIGHTHS: [&str; 8] = ["░", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// What the terminals set that show colors on Windows. Its console prints the codes instead, unless a program
/// calls a function for it that std does not have.
const COLORFUL_ON_WINDOWS: &[&str] = &["WT_SESSION", "TERM", "TERM_PROGRAM"];

impl Terminal {
    /// Returns what the variables of the environment say.
    pub(crate) fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let is_dumb = variable("TERM").is_some_and(|name| name == "dumb");
        Self {
            has_colors: !is_set("NO_COLOR")
                && !is_dumb
                && (!cfg!(windows) || COLORFUL_ON_WINDOWS.iter().copied().any(is_set)),
            columns: variable("COLUMNS").and_then(|columns| columns.trim().parse().ok()),
        }
    }

    /// Returns the text of an answer for this terminal. Bars are left out where they would not fit.
    pub(crate) fn show(self, text: &str) -> String {
        let lines: Vec<Vec<Cell>> = text.split('\n').map(cells).collect();
        let barred = barred_columns(&lines);
        let bars_fit = self
            .columns
            .is_none_or(|columns| width(&lines, &barred) <= columns);
        let barred = if bars_fit { barred } else { Vec::new() };
        let widths = widths(&lines, &barred);
        let shown = lines
            .iter()
            .map(|line| self.line(line, &widths, &barred, bars_fit));
        shown.collect::<Vec<_>>().join("\n")
    }

    fn line(self, cells: &[Cell], widths: &[usize], barred: &[bool], bars_fit: bool) -> String {
        let mut shown = String::new();
        if let [Cell { text, share }] = cells {
            shown.push_str(text);
            if let Some(share) = share.filter(|_| bars_fit) {
                shown.push_str(&format!("  {}", self.bar(share)));
            }
            return shown;
        }
        for (column, cell) in cells.iter().enumerate() {
            let is_last = column + 1 == cells.len();
            let mut room = widths.get(column).copied().unwrap_or_default();
            if has(barred, column) {
                room = room.saturating_sub(BAR + 1);
                match cell.share {
                    Some(share) => shown.push_str(&format!("{} ", self.bar(share))),
                    // Its heading stands above the bars.
                    None if cell.is_heading() => room += BAR + 1,
                    None if is_last && cell.text.is_empty() => (),
                    None => shown.push_str(&" ".repeat(BAR + 1)),
                }
            }
            match is_last {
                true => shown.push_str(cell.text),
                false => shown.push_str(&format!("{:<room$}  ", cell.text)),
            }
        }
        shown
    }

    /// Returns a bar that is filled by `share`, coloured by how close it is to full.
    fn bar(self, share: f64) -> String {
        let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
        let mut filled = "█".repeat(eighths / 8);
        let mut rest = BAR - eighths / 8;
        if !eighths.is_multiple_of(8) {
            filled.push_str(EIGHTHS[eighths % 8]);
            rest -= 1;
        }
        let rest = EIGHTHS[0].repeat(rest);
        if !self.has_colors {
            return filled + &rest;
        }
        let color = match share {
            share if share >= 0.9 => 31,
            share if share >= 0.8 => 33,
            _ => 32,
        };
        format!("\x1b[{color}m{filled}\x1b[90m{rest}\x1b[0m")
    }
}

/// A part of a line, and the share that it tells.
struct Cell<'a> {
    text: &'a str,
    share: Option<f64>,
}

impl Cell<'_> {
    fn is_heading(&self) -> bool {
        let is_key = |c: char| c.is_ascii_lowercase() || c == '_' || c == '-';
        !self.text.is_empty() && self.text.chars().all(is_key)
    }
}

/// Takes a line of a table apart; a line `key: value` stays whole.
fn cells(line: &str) -> Vec<Cell<'_>> {
    let cell = |text| Cell {
        text,
        share: share(text),
    };
    match line.split_once(": ") {
        Some((key, value)) if !line.contains('\t') => {
            let is_key = !key.contains(' ') && !key.starts_with('|');
            vec![Cell {
                text: line,
                share: share(value).filter(|_| is_key),
            }]
        }
        None if !line.contains('\t') => vec![Cell {
            text: line,
            share: None,
        }],
        _ => line.split('\t').map(cell).collect(),
    }
}

/// Returns the share in a value as answers show it: `12% of 16 CPUs`, `22 GiB of 62.7 GiB (35%)`.
fn share(value: &str) -> Option<f64> {
    let (before, after) = value.split_once(" of ")?;
    let percent = match after.strip_suffix("%)") {
        Some(amount) => amount.rsplit_once(" (")?.1,
        None if after.ends_with(" CPU") || after.ends_with(" CPUs") => before.strip_suffix('%')?,
        None => return None,
    };
    percent.parse::<f64>().ok().map(|percent| percent / 100.0)
}

/// Returns for each column whether it has shares.
fn barred_columns(lines: &[Vec<Cell>]) -> Vec<bool> {
    let mut barred = Vec::new();
    for line in lines.iter().filter(|line| line.len() > 1) {
        barred.resize(barred.len().max(line.len()), false);
        for (is_barred, cell) in barred.iter_mut().zip(line) {
            *is_barred |= cell.share.is_some();
        }
    }
    barred
}

fn has(barred: &[bool], column: usize) -> bool {
    barred.get(column).copied().unwrap_or_default()
}

/// Returns the width of each column, bars included. Nothing follows the last cell of a line, so that does not count.
fn widths(lines: &[Vec<Cell>], barred: &[bool]) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        for (column, cell) in line[..line.len() - 1].iter().enumerate() {
            let width = cell.width(has(barred, column));
            widths.resize(widths.len().max(column + 1), 0);
            widths[column] = widths[column].max(width);
        }
    }
    widths
}

impl Cell<'_> {
    fn width(&self, is_barred: bool) -> usize {
        let bar = if is_barred { BAR + 1 } else { 0 };
        self.text.chars().count() + bar
    }
}

/// Returns the width of the widest line of a table.
fn width(lines: &[Vec<Cell>], barred: &[bool]) -> usize {
    let widths = widths(lines, barred);
    let tables = lines.iter().filter(|line| line.len() > 1);
    let width = |line: &Vec<Cell>| {
        let last = line.len() - 1;
        let before: usize = widths[..last].iter().map(|width| width + 2).sum();
        before + line[last].width(has(barred, last))
    };
    tables.map(width).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Terminal = Terminal {
        has_colors: false,
        columns: None,
    };

    const GUESTS: &str = "2 guests\nvmid\tname\tcpu\tmem\n100\tä\t3.1% of 4 CPUs\t2 GiB of 4 GiB (50%)\n103\tbuild01\tof 1 CPU\n";

    #[test]
    fn aligns_tables_by_characters() {
        assert_eq!(
            PLAIN.show("2 guests\nvmid\tname\tnode\n9\tä\tpve1\n10000\n8\t\tpve2\n"),
            "2 guests\nvmid  name  node\n9     ä     pve1\n10000\n8           pve2\n"
        );
        assert_eq!(PLAIN.show("a: b\n\n| log"), "a: b\n\n| log");
    }

    #[test]
    fn draws_a_bar_beside_each_share() {
        assert_eq!(
            PLAIN.show(GUESTS),
            "2 guests\n\
             vmid  name     cpu                      mem\n\
             100   ä        ▎░░░░░░░ 3.1% of 4 CPUs  ████░░░░ 2 GiB of 4 GiB (50%)\n\
             103   build01           of 1 CPU\n"
        );
        assert_eq!(
            PLAIN.show("mem: 3 GiB of 4 GiB (75%)\ncpu: 100% of 1 CPU\nnote: half of it"),
            "mem: 3 GiB of 4 GiB (75%)  ██████░░\ncpu: 100% of 1 CPU  ████████\nnote: half of it"
        );
    }

    #[test]
    fn takes_only_the_forms_of_answers_for_shares() {
        for (value, expected) in [
            ("22 GiB of 62.7 GiB (35%)", Some(0.35)),
            ("0% of 1 CPU", Some(0.0)),
            ("of 4 GiB", None),
            ("35%", None),
            ("half of it (much%)", None),
            ("5% of all guests", None),
            ("", None),
        ] {
            assert_eq!(share(value), expected, "{value}");
        }
        assert_eq!(PLAIN.show("| mem: 1 of 2 (50%)"), "| mem: 1 of 2 (50%)");
    }

    #[test]
    fn leaves_bars_out_where_they_do_not_fit() {
        let of = |columns| Terminal {
            columns: Some(columns),
            ..PLAIN
        };
        assert_eq!(of(69).show(GUESTS), PLAIN.show(GUESTS));
        let narrow = of(68).show(GUESTS);
        assert!(!narrow.contains('░'), "{narrow}");
        assert!(narrow.contains("\n100   ä        3.1% of 4 CPUs  2 GiB"));
    }

    #[test]
    fn colours_say_how_full_it_is_unless_they_are_not_wanted() {
        let terminal = |set: &[(&str, &str)]| {
            Terminal::new(|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let bar = |percent: u32| {
            let value = format!("mem: 1 of 2 ({percent}%)");
            terminal(&[("COLUMNS", "120")]).show(&value)
        };
        assert!(bar(50).contains("\x1b[32m████\x1b[90m░░░░\x1b[0m"));
        assert!(bar(85).contains("\x1b[33m"));
        assert!(bar(95).contains("\x1b[31m"));
        for set in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
            assert!(!terminal(&set).show("mem: 1 of 2 (95%)").contains('\x1b'));
        }
        assert_eq!(terminal(&[("NO_COLOR", "")]).has_colors, !cfg!(windows));
        assert!(terminal(&[("WT_SESSION", "1"), ("NO_COLOR", "")]).has_colors);
    }
}
