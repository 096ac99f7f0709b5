//! Sealed contents, which a client stores for this server but can neither forge nor change.
//!
//! `v1.{content}.{tag}`: JSON and its HMAC-SHA256, both in base64url. The content is not secret.

use std::hint::black_box;

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::{Hkdf, OkmBlock};
use serde_json::Value;

use crate::text::secret::Secret;

const VERSION: &str = "v1";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The key that seals contents for one purpose.
pub(crate) struct Seal {
    hkdf: &'static dyn Hkdf,
    key: OkmBlock,
}

impl Seal {
    /// Derives the key, which opens whatever any process sealed for the same purpose with the same secret.
    pub(crate) fn new(secret: &Secret, purpose: &str) -> Option<Self> {
        let hkdf = TLS13_AES_128_GCM_SHA256.tls13()?.hkdf_provider;
        let key = hkdf
            .extract_from_secret(None, secret.expose().as_bytes())
            .expand_block(&[purpose.as_bytes()]);
        Some(Self { hkdf, key })
    }

    pub(crate) fn close(&self, content: &Value) -> String {
        let content = encode(content.to_string().as_bytes());
        let tag = self.tag(&content);
        format!("{VERSION}.{content}.{tag}")
    }

    /// Returns the content; `None` unless it was closed with this seal. Nothing is parsed before the tag is
    /// verified, in its only valid spelling.
    pub(crate) fn open(&self, sealed: &str) -> Option<Value> {
        let (content, tag) = sealed
            .strip_prefix(VERSION)?
            .strip_prefix('.')?
            .split_once('.')?;
        if !is_same(self.tag(content).as_bytes(), tag.as_bytes()) {
            return None;
        }
        serde_json::from_slice(&decode(content)?).ok()
    }

    fn tag(&self, content: &str) -> String {
        let message = format!("{VERSION}.{content}");
        encode(self.hkdf.hmac_sign(&self.key, message.as_bytes()).as_ref())
    }
}

/// Compares in a time that does not depend on where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let pairs = one.iter().zip(other);
    let difference = pairs.fold(0, |found, (one, other)| black_box(found | (one ^ other)));
    one.len() == other.len() && difference == 0
}

/// Encodes `bytes` in base64url without padding (RFC 4648, section 5).
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0, |group, index| {
            group << 8 | u32::from(chunk.get(index).copied().unwrap_or_default())
        });
        for index in 0..=chunk.len() {
            let digit = group >> (18 - 6 * index) & 63;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}

/// The bytes that [`encode`] makes exactly `text` of.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut group = 0;
        for index in 0..4 {
            let digit = match chunk.get(index) {
                Some(byte) => ALPHABET.iter().position(|digit| digit == byte)?,
                None => 0,
            };
            group = group << 6 | u32::try_from(digit).ok()?;
        }
        bytes.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seal(secret: &str, purpose: &str) -> Seal {
        Seal::new(&Secret::new(secret.to_owned()), purpose).expect("the provider has SHA-256")
    }

    #[test]
    fn opens_contents_sealed_with_the_same_secret_for_the_same_purpose() {
        let content = json!({ "u": "UPID:…", "n": 1 });
        let sealed = seal("secret", "purpose").close(&content);
        assert_eq!(seal("secret", "purpose").open(&sealed), Some(content));
        assert_eq!(seal("Secret", "purpose").open(&sealed), None);
        assert_eq!(seal("secret", "another").open(&sealed), None);
        assert_eq!(seal("", "purpose").open(&sealed), None);
        let long = "x".repeat(1000);
        let sealed = seal(&long, "purpose").close(&json!(1));
        assert_eq!(seal(&long, "purpose").open(&sealed), Some(json!(1)));
    }

    #[test]
    fn rejects_any_change() {
        let seal = seal("secret", "purpose");
        let sealed = seal.close(&json!({ "u": "UPID:pve1:", "n": "abc" }));
        for index in 0..sealed.len() {
            for new in [b'A', b'B', b'.', b'=', b'/', b' '] {
                let mut bytes = sealed.clone().into_bytes();
                if bytes[index] != new {
                    bytes[index] = new;
                    let changed = String::from_utf8(bytes).expect("it is ASCII");
                    assert_eq!(seal.open(&changed), None, "{changed}");
                }
            }
            assert_eq!(seal.open(&sealed[..index]), None, "{index}");
            assert_eq!(seal.open(&sealed[index + 1..]), None, "{index}");
        }
        for added in ["A", "=", "==", ".", "\n", " ", "\0"] {
            assert_eq!(seal.open(&format!("{sealed}{added}")), None, "{added:?}");
            assert_eq!(seal.open(&format!("{added}{sealed}")), None, "{added:?}");
        }
        for foreign in ["", ".", "v1", "v1.", "v1..", "v1.e30.", "v2.e30.e30", "ü"] {
            assert_eq!(seal.open(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn accepts_only_one_encoding() {
        let seal = seal("secret", "purpose");
        let sealed = seal.close(&json!({}));
        // Of the last digit of 32 bytes only four bits count, so three more digits would decode alike.
        let (rest, last) = sealed.split_at(sealed.len() - 1);
        let spellings = ALPHABET.iter().filter(|digit| {
            seal.open(&format!("{rest}{}", char::from(**digit)))
                .is_some()
        });
        assert_eq!(spellings.copied().collect::<Vec<u8>>(), last.as_bytes());
    }

    #[test]
    fn encodes_and_decodes_the_examples_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(encode(&[0xFB, 0xFF, 0xFE]), "-__-");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
    }

    #[test]
    fn decodes_only_canonical_base64() {
        for text in [
            "Zg==", "Zh", "Zm9", "Z", "Zm9vY", "Zm9v\n", " Zm9v", "+//+", "Zm.v", "Zmü",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn compares_the_whole() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"abc", b"abd"));
        assert!(!is_same(b"abc", b"ab"));
        assert!(!is_same(b"abc", b""));
        assert!(is_same(b"", b""));
    }
}
