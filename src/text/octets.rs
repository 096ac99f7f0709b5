//! Bytes sent as one character each: the form in which the Proxmox VE API passes text to and from the guest
//! agent.
//!
//! `PVE/QMPClient.pm` and `PVE/QemuServer/Agent.pm` write the characters sent to the API to the agent as
//! bytes, and return its bytes as characters. UTF-8 text is then encoded twice, and a character above U+00FF
//! cannot be sent at all.

/// Returns `text` with each byte of its UTF-8 as one character: `ä` as `Ã¤`.
pub(crate) fn of_text(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

/// Returns the bytes that are `characters`; `None` if one is above U+00FF.
pub(crate) fn bytes(characters: &str) -> Option<Vec<u8>> {
    let bytes = characters.chars().map(|c| u8::try_from(u32::from(c)).ok());
    bytes.collect()
}

/// Decodes the text whose bytes are `characters`: UTF-8, or the UTF-16 that Windows programs print. Text with
/// characters above U+00FF is returned unchanged.
pub(crate) fn text(characters: &str) -> String {
    match bytes(characters) {
        None => characters.to_owned(),
        Some(bytes) => decode(&bytes),
    }
}

/// Decodes UTF-8 or UTF-16; what is neither is shown as replacement characters.
pub(crate) fn decode(bytes: &[u8]) -> String {
    utf16(bytes).unwrap_or_else(|| {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        String::from_utf8_lossy(bytes).into_owned()
    })
}

/// Decodes `bytes` if they are UTF-16, which is detected by the byte order mark, or else by the zeros.
fn utf16(bytes: &[u8]) -> Option<String> {
    let (is_little_endian, bytes) = match bytes {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        bytes => (has_zeros_of_little_endian(bytes)?, bytes),
    };
    // The agent may cut the text within a character.
    let units = bytes.chunks_exact(2).map(|pair| match is_little_endian {
        true => u16::from_le_bytes([pair[0], pair[1]]),
        false => u16::from_be_bytes([pair[0], pair[1]]),
    });
    let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(text.collect())
}

/// Returns whether the zeros in `bytes` are those of little-endian UTF-16, rather than big-endian; `None` if
/// neither. In most texts every other byte is zero, always on the same side.
fn has_zeros_of_little_endian(bytes: &[u8]) -> Option<bool> {
    let zeros = |side: usize| {
        let bytes = bytes.iter().skip(side).step_by(2);
        bytes.filter(|byte| **byte == 0).count()
    };
    let pairs = bytes.len() / 2;
    match (zeros(0), zeros(1)) {
        // Too short to decide.
        _ if pairs < 2 => None,
        (0, zeros) if zeros * 4 >= pairs * 3 => Some(true),
        (zeros, 0) if zeros * 4 >= pairs * 3 => Some(false),
        _ => None,
    }
}

/// Repairs UTF-8 in `text` that was encoded twice, such as `â€¦` for `…`. Real text does not contain such
/// sequences.
pub(crate) fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_byte_of_many) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_byte_of_many(c)).unwrap_or(from.len());
        let (run, after) = from.split_at(end);
        // Each character is a byte.
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

/// Returns true if `c` can be one byte of a character that has several in UTF-8.
fn is_byte_of_many(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `bytes` as one character each.
    fn characters(bytes: &[u8]) -> String {
        bytes.iter().copied().map(char::from).collect()
    }

    fn little_endian(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn text_sent_as_bytes_comes_back_unchanged() {
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
        // With the mark, even text without zeros; without it, even text that the agent cut.
        let marked = marked([0xff, 0xfe], &little_endian("日本🦀"));
        assert_eq!(text(&characters(&marked)), "日本🦀");
        let cut = &little[..little.len() - 1];
        assert_eq!(text(&characters(cut)), words.trim_end_matches('\n'));
    }

    #[test]
    fn other_zeros_are_not_taken_for_utf_16() {
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
    fn repairs_only_text_that_was_encoded_twice() {
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
