//! The fields of an X.509 certificate, only for error texts: no decision depends on them.
//!
//! The bytes come from a server that is not trusted yet: every read is bounds-checked, nothing recurses, and
//! returned texts are short and hold no control characters.

/// The DER tags (X.690) of the parts of a certificate.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OCTETS: u8 = 0x04;
    pub(super) const OID: u8 = 0x06;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const BMP_STRING: u8 = 0x1e;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    pub(super) const DNS_NAME: u8 = 0x82;
    pub(super) const IP_ADDRESS: u8 = 0x87;
    pub(super) const VERSION: u8 = 0xa0;
    pub(super) const EXTENSIONS: u8 = 0xa3;
}

const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// How many parts of a name, or names of a certificate, are shown.
const MOST: usize = 12;
/// How many characters of each are shown.
const LONGEST: usize = 64;

/// The readable parts of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// `CN=pve1, O=Proxmox Virtual Environment`
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// `2026-11-20 10:00:00Z`
    pub(crate) not_before: String,
    pub(crate) not_after: String,
    /// The names and addresses that the certificate is valid for; the common name does not count.
    pub(crate) names: Vec<String>,
    /// Whether subject and issuer are the same.
    pub(crate) self_issued: bool,
}

impl Certificate {
    /// Parses a certificate; `None` if it is not valid.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut body = Der(Der(Der(der).expect(tag::SEQUENCE)?).expect(tag::SEQUENCE)?);
        let _version = body.optional(tag::VERSION)?;
        let _serial = body.expect(tag::INTEGER)?;
        let _algorithm = body.expect(tag::SEQUENCE)?;
        let issuer = body.expect(tag::SEQUENCE)?;
        let mut validity = Der(body.expect(tag::SEQUENCE)?);
        let subject = body.expect(tag::SEQUENCE)?;
        let _key = body.expect(tag::SEQUENCE)?;
        let mut extensions = None;
        while let Some((tag, content)) = body.next() {
            if tag == tag::EXTENSIONS {
                extensions = Some(content);
            }
        }
        Some(Self {
            subject: name(subject)?,
            issuer: name(issuer)?,
            not_before: time(validity.next()?)?,
            not_after: time(validity.next()?)?,
            names: extensions.map_or(Some(Vec::new()), alternative_names)?,
            self_issued: subject == issuer,
        })
    }
}

/// The rest of a sequence of DER elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Returns the next element; `None` at the end or if the encoding is invalid.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            ..0x80 => (usize::from(first), rest),
            // Up to four bytes of length.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                (usize::try_from(length).ok()?, rest)
            }
            // The indefinite form, which DER forbids, and absurd lengths.
            0x80 | 0x85.. => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(tag, _)| *tag == wanted)
            .map(|(_, content)| content)
    }

    /// Returns the next element if it has this tag, and `Some(None)` if it has another.
    fn optional(&mut self, wanted: u8) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&wanted) {
            self.expect(wanted).map(Some)
        } else {
            Some(None)
        }
    }
}

/// Formats a distinguished name in the order of its encoding, without rare attributes.
fn name(der: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut sets = Der(der);
    while !sets.0.is_empty() && parts.len() < MOST {
        let mut set = Der(sets.expect(tag::SET)?);
        while !set.0.is_empty() && parts.len() < MOST {
            let mut attribute = Der(set.expect(tag::SEQUENCE)?);
            let key = match attribute.expect(tag::OID)? {
                [0x55, 0x04, 0x03] => "CN",
                [0x55, 0x04, 0x06] => "C",
                [0x55, 0x04, 0x07] => "L",
                [0x55, 0x04, 0x08] => "ST",
                [0x55, 0x04, 0x0a] => "O",
                [0x55, 0x04, 0x0b] => "OU",
                _ => continue,
            };
            let (tag, value) = attribute.next()?;
            let value = if tag == tag::BMP_STRING {
                let units = value
                    .chunks_exact(2)
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                printable(char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')))
            } else {
                printable(String::from_utf8_lossy(value).chars())
            };
            parts.push(format!("{key}={value}"));
        }
    }
    Some(parts.join(", "))
}

/// Parses `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, the two forms that RFC 5280 allows.
fn time((tag, text): (u8, &[u8])) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = match (tag, digits.len()) {
        // RFC 5280, 4.1.2.5.1: 50 and above is the last century.
        (tag::UTC_TIME, 12) if digits < "5" => format!("20{digits}"),
        (tag::UTC_TIME, 12) => format!("19{digits}"),
        (tag::GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let part = |range| &digits[range];
    Some(format!(
        "{}-{}-{} {}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        part(10..12),
        part(12..14)
    ))
}

/// Returns the DNS names and addresses of the subjectAltName extension.
fn alternative_names(der: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut extensions = Der(Der(der).expect(tag::SEQUENCE)?);
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.expect(tag::SEQUENCE)?);
        if extension.expect(tag::OID)? != SUBJECT_ALT_NAME {
            continue;
        }
        // A boolean `critical` may precede the value.
        let (mut tag, mut value) = extension.next()?;
        if tag != tag::OCTETS {
            (tag, value) = extension.next()?;
        }
        if tag != tag::OCTETS {
            return None;
        }
        let mut general = Der(Der(value).expect(tag::SEQUENCE)?);
        while !general.0.is_empty() && names.len() < MOST {
            match general.next()? {
                (tag::DNS_NAME, name) => {
                    names.push(printable(String::from_utf8_lossy(name).chars()))
                }
                (tag::IP_ADDRESS, bytes) => names.extend(address(bytes)),
                _ => {}
            }
        }
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        Some(std::net::Ipv4Addr::from(bytes).to_string())
    } else {
        let bytes = <[u8; 16]>::try_from(bytes).ok()?;
        Some(std::net::Ipv6Addr::from(bytes).to_string())
    }
}

/// Returns a text that cannot break out of its line: anything but letters, digits and printable ASCII is
/// escaped, as is the comma, which separates the parts of a name.
fn printable(text: impl Iterator<Item = char>) -> String {
    let mut safe = String::new();
    for (index, char) in text.enumerate() {
        match char {
            _ if index == LONGEST => {
                safe.push('…');
                break;
            }
            ',' | '\\' => safe.extend(['\\', char]),
            ' '..='~' => safe.push(char),
            _ if char.is_alphanumeric() => safe.push(char),
            _ => safe.extend(char.escape_unicode()),
        }
    }
    safe
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    fn fixture(name: &str) -> Vec<u8> {
        let path = format!("{}/fixtures/tls/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        CertificateDer::from_pem_file(path).unwrap().to_vec()
    }

    /// Encodes a value as a DER element.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    fn common_name(tag: u8, value: &[u8]) -> Vec<u8> {
        let attribute = [der(tag::OID, &[0x55, 0x04, 0x03]), der(tag, value)].concat();
        der(tag::SET, &der(tag::SEQUENCE, &attribute))
    }

    #[test]
    fn reads_names_dates_and_addresses() {
        let read = Certificate::read(&fixture("server")).unwrap();
        assert_eq!(
            read,
            Certificate {
                subject: "O=Proxmox Virtual Environment, OU=PVE Cluster Node, CN=localhost".into(),
                issuer: "CN=Proxmox Virtual Environment, \
                         OU=00000000-0000-0000-0000-000000000000, O=PVE Cluster Manager CA"
                    .into(),
                not_before: "2020-01-01 00:00:00Z".into(),
                not_after: "2126-01-01 00:00:00Z".into(),
                names: vec!["127.0.0.1".into(), "::1".into(), "localhost".into()],
                self_issued: false,
            }
        );
    }

    #[test]
    fn reads_a_certificate_without_extensions() {
        let read = Certificate::read(&fixture("v1")).unwrap();
        assert_eq!(read.subject, "CN=localhost");
        assert!(read.self_issued && read.names.is_empty());
    }

    #[test]
    fn rejects_a_truncated_certificate() {
        let whole = fixture("server");
        for length in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn any_flipped_bit_leaves_a_short_plain_text() {
        let whole = fixture("elsewhere");
        for bit in 0..whole.len() * 8 {
            let mut broken = whole.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            if let Some(read) = Certificate::read(&broken) {
                let text = format!("{}{}{}", read.subject, read.issuer, read.names.concat());
                assert!(!text.contains(char::is_control), "bit {bit}: {text:?}");
                assert!(text.len() < 1000, "bit {bit}: {text:?}");
            }
        }
    }

    #[test]
    fn survives_every_value_of_every_byte() {
        let whole = fixture("v1");
        for index in 0..whole.len() {
            for byte in 0..=255 {
                let mut broken = whole.clone();
                broken[index] = byte;
                let _ = Certificate::read(&broken);
            }
        }
    }

    #[test]
    fn escapes_what_could_break_a_line_or_a_name() {
        let name = |tag, value: &[u8]| name(&common_name(tag, value)).unwrap();
        assert_eq!(name(0x0c, b"a\nb\x1b[31m"), "CN=a\\u{a}b\\u{1b}[31m");
        assert_eq!(name(0x0c, "a\u{202e}é".as_bytes()), "CN=a\\u{202e}é");
        assert_eq!(name(0x0c, b"a, O=b"), "CN=a\\, O=b");
        assert_eq!(name(0x13, b"\xff"), "CN=\\u{fffd}");
        assert_eq!(name(tag::BMP_STRING, b"\0p\0v\0e\xd8\0"), "CN=pve\\u{fffd}");
    }

    #[test]
    fn truncates_long_names() {
        let long = name(&common_name(0x0c, &[b'a'; 5000])).unwrap();
        assert_eq!(long.chars().count(), "CN=".len() + LONGEST + 1);
        let many = name(&common_name(0x0c, b"a").repeat(100)).unwrap();
        assert_eq!(many.matches("CN=").count(), MOST);
    }

    #[test]
    fn reads_both_centuries() {
        let read = |tag, text: &[u8]| time((tag, text));
        assert_eq!(
            read(tag::UTC_TIME, b"491231235959Z").unwrap(),
            "2049-12-31 23:59:59Z"
        );
        assert_eq!(
            read(tag::UTC_TIME, b"500101000000Z").unwrap(),
            "1950-01-01 00:00:00Z"
        );
        assert_eq!(read(tag::UTC_TIME, b"5001010000Z"), None);
        assert_eq!(
            read(tag::GENERALIZED_TIME, "2126010100000é".as_bytes()),
            None
        );
    }
}
