//! Numbers and times in readable form, and foreign text made safe to show.
//!
//! May import: nothing of ours.

pub(crate) mod base64;
pub(crate) mod format;
pub(crate) mod glob;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod nearest;
pub(crate) mod percent;
pub(crate) mod rows;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod slot;
pub(crate) mod sort;
pub(crate) mod totp;
pub(crate) mod upid;

pub(crate) mod octets;

use crate::text::percent::encode;

use std::fmt::{self, Write};

/// The most characters in the text of a result: clients truncate or reject longer ones.
pub(crate) const BUDGET: usize = 20_000;

/// The text shown in place of a secret.
pub(crate) const MASK: &str = "(hidden)";

/// Appends to `text`, with less code in the binary than `push_str(&format!(..))`.
pub(crate) fn add(text: &mut String, words: fmt::Arguments<'_>) {
    text.write_fmt(words)
        .expect("writing to a String cannot fail");
}

/// Returns `text` on one line, so that text from guests and users cannot pass for a line of this program:
/// control characters and those that reorder or hide text are escaped.
pub(crate) fn inline(text: &str) -> String {
    let line = visible(text.trim_end_matches('\n'));
    if line.contains(['\n', '\t', '\r']) {
        return line
            .replace('\n', "\\n")
            .replace('\t', "\\t")
            .replace('\r', "\\r");
    }
    line
}

/// Returns `text` from a host to begin a line with: marked as foreign if it could pass for a line of this
/// program, which never begins with a single word of plain characters.
pub(crate) fn opening(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        text.to_owned()
    } else {
        format!("| {text}")
    }
}

/// Escapes the control characters in `text`, except line ends and tabs, and those that reorder or hide text.
pub(crate) fn visible(text: &str) -> String {
    if is_visible(text) {
        return text.to_owned();
    }
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\r' => visible.push(c),
            c if is_hidden(c) => visible.extend(c.escape_unicode()),
            c => visible.push(c),
        }
    }
    visible
}

/// Whether [`visible`] leaves `text` as it is, where that is quickly seen.
pub(crate) fn is_visible(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t' | b'\r'))
}

/// Returns true if a character is invisible, or changes how others are displayed.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Returns true for line and paragraph separators, zero-width and bidirectional controls, fillers, tags, and
/// variation selectors other than those of emoji.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Masks `secrets` in `text`, both plain and percent-encoded.
pub(crate) fn without(text: &str, secrets: &[&str]) -> String {
    // Shorter ones occur in many words by chance.
    let secrets = secrets.iter().filter(|secret| secret.len() >= 4);
    secrets.fold(text.to_owned(), |text, secret| {
        let encoded = encode(secret);
        let text = text.replace(*secret, MASK).replace(&encoded, MASK);
        text.replace(&encoded.to_lowercase(), MASK)
    })
}

/// Returns at most `most` characters of `text`, followed by its length if it was cut.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut text = text.to_owned();
    shorten(&mut text, most);
    text
}

/// Cuts `text` as [`cut`] does.
pub(crate) fn shorten(text: &mut String, most: usize) {
    // It does not have more characters than bytes.
    if text.len() > most
        && let Some((end, _)) = text.char_indices().nth(most)
    {
        let length = text.chars().count();
        text.truncate(end);
        add(text, format_args!("… ({length} characters)"));
    }
}

/// Returns a number of bytes in a readable unit: `1536` as `1.5 KiB`.
pub(crate) fn bytes(count: f64) -> String {
    let mut size = count;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter();
    let mut unit = units.next();
    while size >= 1023.95
        && let Some(larger) = units.next()
    {
        size /= 1024.0;
        unit = Some(larger);
    }
    let unit = unit.unwrap_or(&"EiB");
    if size.fract() == 0.0 || size >= 999.95 {
        format!("{size:.0} {unit}")
    } else {
        format!("{size:.1} {unit}")
    }
}

/// Returns a share as a percentage: `0.0421` as `4.2%`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 9.95 {
        format!("{percent:.0}%")
    } else {
        format!("{percent:.1}%")
    }
}

/// Returns seconds as the two largest units: `93211` as `1d 1h`.
pub(crate) fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let from = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<String> = parts[from..]
        .iter()
        .take(2)
        .filter(|(count, unit)| *count > 0 || (*unit == "s" && seconds == 0))
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

/// Returns seconds since 1970 as `2026-11-20 10:00:00Z`.
pub(crate) fn time(epoch: u64) -> String {
    let (year, month, day) = date(epoch / 86_400);
    let second = epoch % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// Parses the date of an HTTP header, `Tue, 29 Feb 2000 00:00:00 GMT`, to seconds since 1970 (RFC 9110,
/// 5.6.7; the obsolete forms are not supported).
pub(crate) fn epoch(date: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (_, date) = date.split_once(", ")?;
    let parts: Vec<&str> = date.strip_suffix(" GMT")?.split([' ', ':']).collect();
    let [day, month, year, rest @ ..] = &*parts else {
        return None;
    };
    let month = MONTHS
        .find(month)
        .filter(|at| at % 3 == 0 && month.len() == 3)? as u64
        / 3
        + 1;
    let days = day_of(year.parse().ok()?, month, day.parse().ok()?)?;
    let numbers: Option<Vec<u64>> = rest.iter().map(|part| part.parse().ok()).collect();
    match numbers?[..] {
        [hour @ 0..24, minute @ 0..60, second @ 0..=60] => {
            Some(((days * 24 + hour) * 60 + minute) * 60 + second)
        }
        _ => None,
    }
}

/// Parses a time in the form of [`time`] to seconds since 1970: also with a `T` in it, and without seconds or
/// the time of day. It is in UTC, with or without a `Z` at the end.
pub(crate) fn moment(text: &str) -> Option<u64> {
    /// The form, and the values of the parts that are left out.
    const WHOLE: &str = "0000-00-00 00:00:00";
    let text = text.strip_suffix('Z').unwrap_or(text).replacen('T', " ", 1);
    if ![10, 16, 19].contains(&text.len()) {
        return None;
    }
    let whole: Vec<u8> = text.bytes().chain(WHOLE.bytes().skip(text.len())).collect();
    let has_form = whole
        .iter()
        .zip(WHOLE.bytes())
        .all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            separator => *byte == separator,
        });
    if !has_form {
        return None;
    }
    let number = |part: &[u8]| {
        part.iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    };
    let days = day_of(
        number(&whole[..4]),
        number(&whole[5..7]),
        number(&whole[8..10]),
    )?;
    let [hour, minute, second] = [11, 14, 17].map(|at| number(&whole[at..at + 2]));
    (hour < 24 && minute < 60 && second < 60)
        .then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Returns the day since 1970-01-01 of a date; `None` if the date does not exist.
fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if !((1970..=9999).contains(&year) && (1..=12).contains(&month)) {
        return None;
    }
    // A month begins at least this many days after the first of January 1970.
    let first = (year - 1970) * 365 + (month - 1) * 28;
    (first..first + 2_100).find(|days| date(*days) == (year, month, day))
}

/// Returns the civil date of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
pub(crate) fn date(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Quotes a word for a shell if necessary.
pub(crate) fn shell_quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", inline(word).replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_begin_a_line() {
        assert_eq!(
            inline("a\n✅ done\r\n\tb\u{1b}[2J\u{202e}c\u{2028}d\n"),
            "a\\n✅ done\\r\\n\\tb\\u{1b}[2J\\u{202e}c\\u{2028}d"
        );
        assert_eq!(inline("Grüße"), "Grüße");
    }

    #[test]
    fn marks_foreign_text_at_the_beginning_of_a_line_unless_it_is_one_plain_word() {
        for text in ["local:iso/a.iso", "100", "", "lxc.idmap", "N/A"] {
            assert_eq!(opening(text), text);
        }
        for text in [
            "✅",
            "Nothing is left to do.",
            "local:iso/my file.iso",
            "Größe",
        ] {
            assert_eq!(opening(text), format!("| {text}"));
        }
    }

    #[test]
    fn masks_secrets_in_every_encoding() {
        let secrets = ["hunter!2/x", "abc"];
        assert_eq!(
            without(
                "a hunter!2/x b hunter%212%2Fx c hunter%212%2fx abc",
                &secrets
            ),
            "a (hidden) b (hidden) c (hidden) abc"
        );
    }

    #[test]
    fn a_cut_text_shows_its_full_length() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äöü… (4 characters)");
    }

    #[test]
    fn writes_numbers_in_readable_units() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(34_359_738_368.0), "32 GiB");
        assert_eq!(bytes(1_048_575.0), "1.0 MiB");
        assert_eq!(bytes(4_000_787_030_016.0), "3.6 TiB");
        assert_eq!(percent(0.0421), "4.2%");
        assert_eq!(percent(0.5), "50%");
        assert_eq!(percent(0.0), "0%");
        assert_eq!(duration(0), "0s");
        assert_eq!(duration(93_211), "1d 1h");
        assert_eq!(duration(3_600), "1h");
        assert_eq!(duration(61), "1m 1s");
    }

    #[test]
    fn reads_the_date_of_an_http_header() {
        for (date, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Sun, 17 Aug 2025 10:45:23 GMT", 1_755_427_523),
            ("Thu, 31 Dec 2099 23:59:59 GMT", 4_102_444_799),
        ] {
            assert_eq!(epoch(date), Some(expected), "{date}");
        }
        for date in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Wed, 30 Feb 2000 00:00:00 GMT",
            "Tue, 29 anF 2000 00:00:00 GMT",
            "Tue, 29 Feb 2000 24:00:00 GMT",
            "Tue, 29 Feb 2000 00:00 GMT",
            "Tue, 29 Feb 99999999999 00:00:00 GMT",
            "now",
        ] {
            assert_eq!(epoch(date), None, "{date}");
        }
    }

    #[test]
    fn parses_its_own_times_and_less_precise_ones() {
        for epoch in [0, 951_782_400, 1_755_427_523, 4_102_444_799] {
            assert_eq!(moment(&time(epoch)), Some(epoch));
            assert_eq!(moment(&time(epoch).replace(' ', "T")), Some(epoch));
        }
        for (text, epoch) in [
            ("2025-08-17", 1_755_388_800),
            ("2025-08-17 10:45", 1_755_427_500),
            ("2025-08-17 10:45:23", 1_755_427_523),
            ("2000-02-29", 951_782_400),
        ] {
            assert_eq!(moment(text), Some(epoch), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2025-8-17",
            "2025-08-17 1:00",
            "2025-08-17 10:45:23.5",
            "2025-08-17 10:45:23+02:00",
            "2025-08-17 10",
            "2025-08-17-10:45",
            "2025-02-29",
            "2025-13-01",
            "2025-00-01",
            "2025-08-17 24:00",
            "1969-12-31",
            "2025-08-1ä",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn writes_times_in_utc() {
        assert_eq!(time(0), "1970-01-01 00:00:00Z");
        assert_eq!(time(951_782_400), "2000-02-29 00:00:00Z");
        assert_eq!(time(1_755_427_523), "2025-08-17 10:45:23Z");
        assert_eq!(time(4_102_444_799), "2099-12-31 23:59:59Z");
    }
}
