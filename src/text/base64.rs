//! Base64 (RFC 4648).

/// One of the two alphabets, with or without padding.
pub(crate) struct Base64 {
    digits: &'static [u8; 64],
    is_padded: bool,
}

/// Section 4: what Proxmox and the guest agent use.
pub(crate) static STANDARD: Base64 = Base64 {
    digits: b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    is_padded: true,
};

/// Section 5, without padding.
pub(crate) static URL: Base64 = Base64 {
    digits: b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    is_padded: false,
};

impl Base64 {
    pub(crate) fn encode(&self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let group = (0..3).fold(0, |group, index| {
                group << 8 | u32::from(chunk.get(index).copied().unwrap_or_default())
            });
            for index in 0..=chunk.len() {
                let digit = group >> (18 - 6 * index) & 63;
                text.push(char::from(self.digits[digit as usize]));
            }
            if self.is_padded {
                (chunk.len()..3).for_each(|_| text.push('='));
            }
        }
        text
    }

    /// Returns the bytes that [`Base64::encode`] turns into exactly `text`.
    pub(crate) fn decode(&self, text: &str) -> Option<Vec<u8>> {
        let digits = match self.is_padded {
            true => text.trim_end_matches('='),
            false => text,
        };
        let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
        for chunk in digits.as_bytes().chunks(4) {
            let mut group = 0;
            for index in 0..4 {
                let digit = match chunk.get(index) {
                    Some(byte) => self.digits.iter().position(|digit| digit == byte)?,
                    None => 0,
                };
                group = group << 6 | u32::try_from(digit).ok()?;
            }
            bytes.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
        }
        (self.encode(&bytes) == text).then_some(bytes)
    }

    #[cfg(test)]
    pub(crate) fn digits(&self) -> &'static [u8; 64] {
        self.digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_and_decodes_the_examples_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(STANDARD.encode(bytes.as_bytes()), text);
            assert_eq!(STANDARD.decode(text).as_deref(), Some(bytes.as_bytes()));
            let bare = text.trim_end_matches('=');
            assert_eq!(URL.encode(bytes.as_bytes()), bare);
            assert_eq!(URL.decode(bare).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(STANDARD.encode(&[0xFB, 0xFF, 0xFE]), "+//+");
        assert_eq!(URL.encode(&[0xFB, 0xFF, 0xFE]), "-__-");
        let all: Vec<u8> = (0..=255).collect();
        for base64 in [&STANDARD, &URL] {
            assert_eq!(base64.decode(&base64.encode(&all)), Some(all.clone()));
        }
    }

    #[test]
    fn decodes_only_canonical_base64() {
        for text in [
            "Zg==", "Zh", "Zm9", "Z", "Zm9vY", "Zm9v\n", " Zm9v", "+//+", "Zm.v", "Zmü",
        ] {
            assert_eq!(URL.decode(text), None, "{text:?}");
        }
        for text in [
            "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v=", "=", "Zg==Zg==", "Zm9v\n", "-__-",
        ] {
            assert_eq!(STANDARD.decode(text), None, "{text:?}");
        }
    }
}
