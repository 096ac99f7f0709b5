//! The findings of the checks, as text for people and JSON for programs.

use std::process::ExitCode;

use serde_json::{Value, json};

/// The longest line, in characters; a longer word is not broken.
const WIDTH: usize = 100;

/// The blanks between columns.
const GAP: usize = 2;

/// The findings of all checks, in order.
#[derive(Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
}

/// The finding of one check.
pub(super) struct Finding {
    /// The name of the check, stable for programs.
    check: &'static str,
    verdict: Verdict,
    text: String,
    /// How to fix it; lines that begin with two blanks are commands to copy.
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failed,
    /// A check that this one depends on did not pass.
    Skipped,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
        }
    }

    /// Returns the ANSI code of the verdict's colour.
    fn colour(self) -> &'static str {
        match self {
            Verdict::Ok => "32",
            Verdict::Warning => "33",
            Verdict::Failed => "31",
            Verdict::Skipped => "2",
        }
    }
}

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(check, Verdict::Ok, text.into(), None);
    }

    pub(super) fn skipped(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(check, Verdict::Skipped, text.into(), None);
    }

    pub(super) fn warning(
        &mut self,
        check: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Verdict::Warning, text.into(), Some(remedy.into()));
    }

    pub(super) fn failed(
        &mut self,
        check: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Verdict::Failed, text.into(), Some(remedy.into()));
    }

    fn add(&mut self, check: &'static str, verdict: Verdict, text: String, remedy: Option<String>) {
        self.findings.push(Finding {
            check,
            verdict,
            text,
            remedy: remedy.filter(|remedy| !remedy.is_empty()),
        });
    }

    fn count(&self, verdict: Verdict) -> usize {
        let all = self.findings.iter();
        all.filter(|finding| finding.verdict == verdict).count()
    }

    /// Returns 0 if all is well, 1 if a check failed, 3 if there are only warnings.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match (self.count(Verdict::Failed), self.count(Verdict::Warning)) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }

    /// Returns one object with `ok` and `checks`, each of which has `check`, `verdict`, `text` and `remedy`.
    pub(crate) fn json(&self) -> String {
        let checks = self.findings.iter().map(|finding| {
            json!({
                "check": finding.check,
                "verdict": finding.verdict.name(),
                "text": finding.text,
                "remedy": finding.remedy,
            })
        });
        let checks: Value = checks.collect();
        let ok = self.count(Verdict::Failed) + self.count(Verdict::Warning) == 0;
        format!("{:#}", json!({ "checks": checks, "ok": ok }))
    }

    /// Returns three columns: verdict, check, and the finding with its remedy below.
    pub(crate) fn text(&self, coloured: bool) -> String {
        const VERDICT: usize = "skipped".len();
        let names = self.findings.iter().map(|finding| finding.check.len());
        let indent = VERDICT + GAP + names.max().unwrap_or(0) + GAP;
        let mut text = String::new();
        let is_same = |one: &Finding, other: &Finding| {
            let are_skipped = [one, other].map(|it| it.verdict) == [Verdict::Skipped; 2];
            are_skipped && one.text == other.text
        };
        // Checks that are skipped for the same reason share a line.
        for findings in self.findings.chunk_by(is_same) {
            let finding = &findings[0];
            let others = findings[1..].iter().map(|other| other.check);
            let others = others.collect::<Vec<_>>().join(", ");
            let found = match others.is_empty() {
                true => finding.text.clone(),
                false => format!("and {others}: {}", finding.text),
            };
            let verdict = finding.verdict.name();
            let (on, off) = match coloured {
                true => (format!("\x1b[{}m", finding.verdict.colour()), "\x1b[0m"),
                false => (String::new(), ""),
            };
            text.push_str(&format!("{on}{verdict:<VERDICT$}{off}  {}", finding.check));
            let mut column = VERDICT + GAP + finding.check.len();
            let remedy = finding.remedy.iter().flat_map(|remedy| remedy.lines());
            let remedy = remedy.enumerate().map(|(at, line)| match (at, line) {
                (0, line) if !line.starts_with("  ") => format!("-> {line}"),
                (_, line) => line.to_owned(),
            });
            let lines = found.lines().map(str::to_owned).chain(remedy);
            for line in lines.flat_map(|line| wrapped(&line, WIDTH - indent)) {
                text.push_str(&format!("{:1$}{line}\n", "", indent - column));
                column = 0;
            }
        }
        let counts = [Verdict::Failed, Verdict::Warning, Verdict::Skipped].map(|verdict| {
            let count = self.count(verdict);
            let plural = if verdict == Verdict::Warning && count > 1 {
                "s"
            } else {
                ""
            };
            (count > 0).then(|| format!("{count} {}{plural}", verdict.name()))
        });
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        text.push_str(&match counts.is_empty() {
            true => "\nAll is well.\n".to_owned(),
            false => format!("\n{}\n", counts.join(", ")),
        });
        text
    }
}

/// Breaks a line between words into pieces of at most `width` characters; a line that begins with two blanks
/// is a command to copy, and stays whole.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    if line.starts_with("  ") {
        return vec![line.to_owned()];
    }
    let mut pieces = vec![String::new()];
    for word in line.split(' ') {
        let piece = pieces.last_mut().expect("it starts with one piece");
        if piece.is_empty() {
            piece.push_str(word);
        } else if piece.chars().count() + 1 + word.chars().count() <= width {
            piece.push(' ');
            piece.push_str(word);
        } else {
            pieces.push(word.to_owned());
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.ok("tcp", "pve1:8006 accepts connections");
        report.failed(
            "api-version",
            format!("a{}", " word".repeat(30)),
            "Do this:\n  pveum role add MCP --privs A,B,C,D,E,F,G,H",
        );
        report.skipped("token", "needs the API");
        report
    }

    #[test]
    fn aligns_findings_and_wraps_long_lines() {
        let text = report().text(false);
        let expected = "\
ok       tcp          pve1:8006 accepts connections
failed   api-version  a word word word word word word word word word word word word word word word
                      word word word word word word word word word word word word word word word
                      -> Do this:
                        pveum role add MCP --privs A,B,C,D,E,F,G,H
skipped  token        needs the API

1 failed, 1 skipped
";
        assert_eq!(text, expected);
    }

    #[test]
    fn checks_skipped_for_the_same_reason_share_a_line_of_text_but_not_of_json() {
        let mut report = Report::default();
        for (check, reason) in [("tcp", "a"), ("tls", "a"), ("token", "a"), ("clock", "b")] {
            report.skipped(check, reason);
        }
        let expected = "\
skipped  tcp    and tls, token: a
skipped  clock  b

4 skipped
";
        assert_eq!(report.text(false), expected);
        assert_eq!(report.json().matches("\"skipped\"").count(), 4);
    }

    #[test]
    fn colours_only_the_verdict() {
        let text = report().text(true);
        assert!(text.contains("\x1b[32mok     \x1b[0m  tcp"), "{text:?}");
        assert!(
            text.contains("\x1b[31mfailed \x1b[0m  api-version"),
            "{text:?}"
        );
        assert_eq!(text.matches('\x1b').count(), 6);
        let plain = text.split('\x1b').map(|part| match part.split_once('m') {
            Some((code, rest)) if code.starts_with('[') => rest,
            _ => part,
        });
        assert_eq!(plain.collect::<String>(), report().text(false));
    }

    #[test]
    fn only_a_report_without_warnings_is_a_success() {
        let code = |report: &Report| format!("{:?}", report.exit_code());
        let mut report = Report::default();
        report.ok("tcp", "");
        report.skipped("clock", "");
        assert_eq!(code(&report), format!("{:?}", ExitCode::SUCCESS));
        assert!(report.json().contains("\"ok\": true"));
        assert!(report.text(false).ends_with("\n1 skipped\n"));
        report.warning("tls", "", "");
        assert!(report.text(false).ends_with("\n1 warning, 1 skipped\n"));
        report.warning("nodes", "", "");
        assert!(report.text(false).ends_with("\n2 warnings, 1 skipped\n"));
        assert_eq!(code(&report), format!("{:?}", ExitCode::from(3)));
        report.failed("tcp", "", "");
        assert_eq!(code(&report), format!("{:?}", ExitCode::FAILURE));
        assert!(report.json().contains("\"ok\": false"));
    }
}
