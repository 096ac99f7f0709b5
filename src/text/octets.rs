//! Bytes that travel as characters, one each: the form in which the API of Proxmox VE carries what the
//! guest agent reads and says.
//!
//! `PVE/QMPClient.pm` and `PVE/QemuServer/Agent.pm` write the characters that the API was sent to the
//! agent as bytes, and hand its bytes back as characters. What was meant as UTF-8 has then been encoded
//! twice, and a character above U+00FF cannot be sent at all.

/// `text` with each byte of its UTF-8 as one character: `ä` is `Ã¤`.
pub(crate) fn of_text(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

/// The text whose bytes `characters` are: UTF-8, or the UTF-16 that programs of Windows print. What
/// holds characters that are no bytes is the text already.
pub(crate) fn text(characters: &str) -> String {
    let bytes: Option<Vec<u8>> = characters
        .chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect();
    match bytes {
        None => characters.to_owned(),
        Some(bytes) => utf16(&bytes).unwrap_or_else(|| {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            String::from_utf8_lossy(bytes).into_owned()
        }),
    }
}

/// The text in `bytes` if they are UTF-16, which the mark at its beginning tells, or else the zeros.
fn utf16(bytes: &[u8]) -> Option<String> {
    let (is_little_endian, bytes) = match bytes {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        bytes => (has_zeros_of_little_endian(bytes)?, bytes),
    };
    // The agent can cut it within a character.
    let units = bytes.chunks_exact(2).map(|pair| match is_little_endian {
        true => u16::from_le_bytes([pair[0], pair[1]]),
        false => u16::from_be_bytes([pair[0], pair[1]]),
    });
    let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(text.collect())
}

/// Whether the zeros in `bytes` are those of little-endian UTF-16 or of big-endian; `None` where they
/// are neither. Every other byte of most texts is zero, always on the same side.
fn has_zeros_of_little_endian(bytes: &[u8]) -> Option<bool> {
    let zeros = |side: usize| {
        let bytes = bytes.iter().skip(side).step_by(2);
        bytes.filter(|byte| **byte == 0).count()
    };
    let pairs = bytes.len() / 2;
    match (zeros(0), zeros(1)) {
        // Too little to tell.
        _ if pairs < 2 => None,
        (0, zeros) if zeros * 4 >= pairs * 3 => Some(true),
        (zeros, 0) if zeros * 4 >= pairs * 3 => Some(false),
        _ => None,
    }
}

/// `text` with the UTF-8 in it that was encoded twice repaired: `â€¦` for `…`. No letters that belong
/// together look like that.
pub(crate) fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_byte_of_many) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_byte_of_many(c)).unwrap_or(from.len());
        let (run, after) = from.split_at(end);
        // Each is a byte.
        let bytes: Vec<u8> = run.chars().map(|c| u32::from(c) as u8).collect();
        repaired.push_str(before);
        match String::from_utf8(bytes) {
            Ok(decoded) => repaired.push_str(&decoded),
            Err(_) => repaired.push_str(run),
        }
        rest = after;
    }
    repaired + rest
}

/// Whether `c` can stand for a byte of a character that takes several in UTF-8.
fn is_byte_of_many(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The characters that stand for `bytes`.
    fn characters(bytes: &[u8]) -> String {
        bytes.iter().copied().map(char::from).collect()
    }

    fn little_endian(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn what_is_sent_as_bytes_comes_back_as_the_text() {
        assert_eq!(of_text("ä"), "\u{c3}\u{a4}");
        for sent in ["", "plain", "Grüße", "10 € 日本 🦀\n"] {
            assert_eq!(text(&of_text(sent)), sent);
            assert!(of_text(sent).chars().all(|c| c <= '\u{ff}'));
        }
    }

    #[test]
    fn reads_utf_8() {
        assert_eq!(text("Gr\u{c3}\u{bc}\u{c3}\u{9f}e"), "Grüße");
        assert_eq!(text("\u{ef}\u{bb}\u{bf}a"), "a");
        assert_eq!(text("already €"), "already €");
        assert_eq!(text("\u{ff}"), "\u{fffd}");
    }

    #[test]
    fn reads_utf_16_with_and_without_its_mark() {
        let words = "Größe: 10 € für Müller\r\n";
        let little = little_endian(words);
        let big: Vec<u8> = words.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: [u8; 2], rest: &[u8]| [&mark, rest].concat();
        for bytes in [
            marked([0xff, 0xfe], &little),
            marked([0xfe, 0xff], &big),
            little.clone(),
            big,
        ] {
            assert_eq!(text(&characters(&bytes)), words);
        }
        // With the mark, also what has no zeros; without it, also what the agent cut.
        let marked = marked([0xff, 0xfe], &little_endian("日本🦀"));
        assert_eq!(text(&characters(&marked)), "日本🦀");
        let cut = &little[..little.len() - 1];
        assert_eq!(text(&characters(cut)), words.trim_end_matches('\n'));
    }

    #[test]
    fn takes_no_other_zeros_for_utf_16() {
        for bytes in [
            &b"cat\0/proc/self/cmdline\0"[..],
            b"./a\0./b\0./c\0",
            b"\0\0\0\0",
            b"a\0\0\0b\0",
            b"\0",
            b"",
        ] {
            assert_eq!(text(&characters(bytes)).into_bytes(), bytes);
        }
    }

    #[test]
    fn repairs_what_was_encoded_twice_and_nothing_else() {
        let twice = of_text("“nosuchcmd” fehlt für 日本");
        assert_eq!(repaired(&twice), "“nosuchcmd” fehlt für 日本");
        assert_eq!(
            repaired(&format!("… {twice}")),
            "… “nosuchcmd” fehlt für 日本"
        );
        for text in ["", "plain", "Größe für Ärger, ÄÖÜß", "10 €", "“x”", "é"] {
            assert_eq!(repaired(text), text);
        }
    }
}
