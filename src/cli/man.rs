//! The manual page: `man`.

use crate::cli::commands;
use crate::settings::{Flag, SETTINGS};
use crate::text::add;

/// Returns the page in roff, with the macros of man(7).
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
            add(&mut page, format_args!(".br\n{}\n", escaped(&names)));
        }
    }
    page.push_str(".SH FLAGS\n");
    for (switch, of) in commands::switches() {
        let letter = switch.letter.map(|letter| format!("-{letter}, "));
        let of = of.map(|word| format!("{word}: ")).unwrap_or_default();
        entry(
            &mut page,
            &(letter.unwrap_or_default() + &switch.shown()),
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
    add(
        &mut page,
        format_args!(".PP\n{}\n.SH EXAMPLES\n", escaped(commands::NOTES)),
    );
    add(
        &mut page,
        format_args!(".nf\n{}\n.fi\n", escaped(&commands::EXAMPLES.join("\n\n"))),
    );
    add(
        &mut page,
        format_args!(".SH EXIT STATUS\n{}\n", escaped(commands::EXIT_STATUS)),
    );
    page
}

/// Adds a term and its meaning.
fn entry(page: &mut String, term: &str, meaning: &str) {
    add(
        page,
        format_args!(".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(meaning)),
    );
}

/// Escapes text so that roff prints it unchanged: with ASCII dashes and quotes, and no line taken for a
/// request.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
        .replace("\n.", "\n\\&.");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_roff_would_interpret() {
        assert_eq!(
            escaped("'a' -b\\\n.c `d` ^~"),
            "\\(aqa\\(aq \\-b\\e\n\\&.c \\(gad\\(ga \\(ha\\(ti"
        );
        assert_eq!(escaped(".a"), "\\&.a");
    }
}
