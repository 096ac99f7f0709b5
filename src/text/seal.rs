//! Sealed contents, which a client stores for this server but can neither forge nor change.
//!
//! `v1.{content}.{tag}`: JSON and its HMAC-SHA256, both in base64url. The content is not secret.

use std::hint::black_box;

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::{Hkdf, OkmBlock};
use serde_json::Value;

use crate::text::base64::URL;
use crate::text::secret::Secret;

const VERSION: &str = "v1";

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
        let content = URL.encode(content.to_string().as_bytes());
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
        serde_json::from_slice(&URL.decode(content)?).ok()
    }

    fn tag(&self, content: &str) -> String {
        let message = format!("{VERSION}.{content}");
        URL.encode(self.hkdf.hmac_sign(&self.key, message.as_bytes()).as_ref())
    }
}

/// Compares in a time that does not depend on where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let pairs = one.iter().zip(other);
    let difference = pairs.fold(0, |found, (one, other)| black_box(found | (one ^ other)));
    one.len() == other.len() && difference == 0
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
        let spellings = URL.digits().iter().filter(|digit| {
            seal.open(&format!("{rest}{}", char::from(**digit)))
                .is_some()
        });
        assert_eq!(spellings.copied().collect::<Vec<u8>>(), last.as_bytes());
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
