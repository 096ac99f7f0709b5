//! The manual page: `man`.

use crate::cli::commands;
use crate::settings::{Flag, SETTINGS};

/// The page in roff, with the macros of man(7).
pub(crate) fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".TH PROXMOX\\-MCP 1 \"\" \"proxmox\\-mcp {version}\"\n\
         .SH NAME\nproxmox\\-mcp \\- {}\n\
         .SH SYNOPSIS\n\\fBproxmox\\-mcp\\fR [\\fIFLAGS\\fR] [\\fICOMMAND\\fR]\n\
         .SH COMMANDS\n",
        escaped(env!("CARGO_PKG_DESCRIPTION"))
    );
    for form in commands::FORMS {
        let term = match form.words {
            [] => "none".to_owned(),
            _ => form.synopsis(),
        };
        entry(&mut page, &term, form.meaning);
        if let Some(names) = form.names() {
            page.push_str(&format!(".br\n{}\n", escaped(&names)));
        }
    }
    page.push_str(".SH FLAGS\n");
    for (switch, of) in commands::switches() {
        let letter = switch.letter.map(|letter| format!("-{letter}, "));
        let of = of.map(|word| format!("{word}: ")).unwrap_or_default();
        entry(
            &mut page,
            &(letter.unwrap_or_default() + switch.name),
            &format!("{of}{}", switch.meaning),
        );
    }
    page.push_str(".SH SETTINGS\n");
    for setting in SETTINGS {
        let variable = match setting.flag {
            Flag::None => String::new(),
            _ => format!(", {}", setting.variable),
        };
        entry(
            &mut page,
            &(commands::shown(setting) + &variable),
            &commands::meaning(setting),
        );
    }
    page.push_str(&format!(
        ".PP\n{}\n.SH EXAMPLES\n",
        escaped(commands::NOTES)
    ));
    page.push_str(&format!(
        ".nf\n{}\n.fi\n",
        escaped(&commands::EXAMPLES.join("\n\n"))
    ));
    page.push_str(&format!(
        ".SH EXIT STATUS\n{}\n",
        escaped(commands::EXIT_STATUS)
    ));
    page
}

/// A term and what it means.
fn entry(page: &mut String, term: &str, meaning: &str) {
    page.push_str(&format!(
        ".TP\n\\fB{}\\fR\n{}\n",
        escaped(term),
        escaped(meaning)
    ));
}

/// Text that roff sets as it is: `-` and quotes as in a program, no line that begins a request.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for line in text.lines() {
        if !escaped.is_empty() {
            escaped.push('\n');
        }
        if line.starts_with('.') {
            escaped.push_str("\\&");
        }
        for letter in line.chars() {
            match letter {
                '\\' => escaped.push_str("\\e"),
                '-' => escaped.push_str("\\-"),
                '\'' => escaped.push_str("\\(aq"),
                '`' => escaped.push_str("\\(ga"),
                '^' => escaped.push_str("\\(ha"),
                '~' => escaped.push_str("\\(ti"),
                letter => escaped.push(letter),
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_roff_would_heed() {
        assert_eq!(
            escaped("'a' -b\\\n.c `d` ^~\n"),
            "\\(aqa\\(aq \\-b\\e\n\\&.c \\(gad\\(ga \\(ha\\(ti"
        );
    }
}
