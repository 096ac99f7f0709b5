//! One-time codes of a second factor (RFC 6238), as authenticator apps show them, and what they are made
//! of: base32, SHA-1 and HMAC.
//!
//! SHA-1 serves these codes alone; what else is hashed takes the SHA-256 of rustls.

use std::fmt;

/// How long a code is valid, in seconds, and how many digits it has: the defaults, which Proxmox and all
/// apps use.
const PERIOD: u64 = 30;
const DIGITS: usize = 6;

/// The alphabet of base32 (RFC 4648, section 6).
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The length of a block of SHA-1.
const BLOCK: usize = 64;

/// The secret of a second factor, which is never shown.
#[derive(Clone)]
pub(crate) struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Creates a key from bytes.
    #[cfg(test)]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// Reads base32 as people keep it: in groups, in lower case, with or without padding. `None` if it is
    /// anything else, or shorter than the 80 bits that the shortest secrets have.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = Vec::new();
        let (mut bits, mut count) = (0_u32, 0);
        for byte in text.trim_end_matches('=').bytes() {
            if byte == b' ' || byte == b'-' {
                continue;
            }
            let upper = byte.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|known| *known == upper)?;
            bits = bits << 5 | u32::try_from(digit).ok()?;
            count += 5;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
            }
        }
        (bytes.len() >= 10).then_some(Self(bytes))
    }

    /// Returns the key in base32.
    #[cfg(test)]
    pub(crate) fn base32(&self) -> String {
        let digits = self.0.chunks(5).flat_map(|chunk| {
            let group = (0..5).fold(0_u64, |group, index| {
                group << 8 | u64::from(chunk.get(index).copied().unwrap_or_default())
            });
            let count = (chunk.len() * 8).div_ceil(5);
            (0..count).map(move |index| ALPHABET[(group >> (35 - 5 * index) & 31) as usize])
        });
        digits.map(char::from).collect()
    }

    /// Returns the code that is valid at `time`, in seconds since 1970.
    pub(crate) fn code(&self, time: u64) -> String {
        let tag = hmac(&self.0, &(time / PERIOD).to_be_bytes());
        let offset = usize::from(tag[19] & 15);
        let number = tag[offset..offset + 4]
            .iter()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let number = (number & 0x7fff_ffff) % 10_u32.pow(DIGITS as u32);
        format!("{number:0DIGITS$}")
    }
}

/// Returns the HMAC of a message (RFC 2104), with SHA-1.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut block = [0; BLOCK];
    match key.len() > BLOCK {
        true => block[..20].copy_from_slice(&sha1(key)),
        false => block[..key.len()].copy_from_slice(key),
    }
    let inner = sha1(&[&block.map(|byte| byte ^ 0x36), message].concat());
    sha1(&[&block.map(|byte| byte ^ 0x5c)[..], &inner].concat())
}

/// Returns the SHA-1 of a message (RFC 3174).
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % BLOCK != BLOCK - 8 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());

    let mut state = [
        0x6745_2301_u32,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded.chunks(BLOCK) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks(4)) {
            *word = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for index in 16..80 {
            let mixed = [3, 8, 14, 16]
                .iter()
                .fold(0, |mixed, back| mixed ^ words[index - back]);
            words[index] = mixed.rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (index, word) in words.iter().enumerate() {
            let (mixed, constant) = match index / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let sum = [mixed, e, *word, constant]
                .iter()
                .fold(a.rotate_left(5), |sum, part| sum.wrapping_add(*part));
            (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut hash = [0; 20];
    for (bytes, word) in hash.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 3174, section 7.3, and FIPS 180 for the empty message.
    #[test]
    fn sha1_is_that_of_its_rfc() {
        for (part, count, expected) in [
            ("abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                1,
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            ),
            ("a", 1_000_000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
            (
                "0123456701234567012345670123456701234567012345670123456701234567",
                10,
                "dea356a2cddd90c7a7ecedc5ebb563934f460452",
            ),
            ("", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ] {
            assert_eq!(hex(&sha1(part.repeat(count).as_bytes())), expected);
        }
    }

    /// RFC 2202, section 3.
    #[test]
    fn hmac_is_that_of_its_rfc() {
        let counted: Vec<u8> = (1..=25).collect();
        let cases: [(&[u8], &[u8], &str); 7] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b617318655057264e28bc0b6fb378c8ef146be00",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
            ),
            (
                &counted,
                &[0xcd; 50],
                "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
            ),
            (
                &[0x0c; 20],
                b"Test With Truncation",
                "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04",
            ),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
                "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(hex(&hmac(key, message)), expected);
        }
    }

    /// RFC 6238, appendix B: the last six of the eight digits there.
    #[test]
    fn codes_are_those_of_their_rfc() {
        let key = Key::new(b"12345678901234567890");
        for (time, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(key.code(time), expected, "{time}");
        }
    }

    #[test]
    fn base32_is_read_as_people_keep_it() {
        let key = Key::new(b"12345678901234567890");
        assert_eq!(key.base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "gezd gnbv gy3t qojq gezd gnbv gy3t qojq",
            "GEZDGNBV-GY3TQOJQ-GEZDGNBV-GY3TQOJQ======",
        ] {
            let read = Key::parse(text).expect("it is base32");
            assert_eq!(read.0, key.0, "{text}");
        }
        for length in 10..20 {
            let key = Key::new(&b"12345678901234567890"[..length]);
            let read = Key::parse(&key.base32()).expect("it is base32");
            assert_eq!(read.0, key.0);
        }
        for text in [
            "",
            "GEZDGNBVGY3TQOJ0",
            "GEZDGNBVGY3T",
            "otpauth://totp/x?secret=GEZDGNBV",
        ] {
            assert!(Key::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_output_hides_the_key() {
        assert_eq!(
            format!("{:?}", Key::new(b"12345678901234567890")),
            "Key(..)"
        );
    }
}
